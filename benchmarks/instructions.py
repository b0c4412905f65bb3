"""How many instructions does each hot kernel take, and has it become more?

Counted by valgrind's callgrind, from the first to the last instruction of each call, in code that is compiled for one plain
processor: the same figures on every machine of an architecture, however busy it is. They are kept in instructions.json;
``--check`` compares with them (and ends with 1 where something takes a quarter more), ``--update`` writes them anew.

Where there is no valgrind, or none was counted on this architecture, kernels are timed against a plain filter in the same run, and
only a multiple of the ratio that is kept is a finding.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _bench import fact_table, machine_facts, parser_for

HERE = Path(__file__).resolve().parent
KEPT = HERE / "instructions.json"
ALLOWED = 1.25  # of what is kept
OTHER_COMPILER = 1.6  # with another release of LLVM, which may choose other instructions
ALLOWED_RATIO = 4.0  # of times, which depend on the processor
SPARE = 30  # instructions: a handful more in a call of twenty is no finding
ROUNDS = 15

#: What code is compiled for: a processor that valgrind knows, which has no AVX-512.
PROCESSORS = {"x86_64": ("x86-64-v3", "+avx2,+fma,+bmi,+bmi2,+lzcnt,+popcnt,+f16c,+movbe,+sse4.2"), "aarch64": ("generic", "+neon")}


def environment() -> dict[str, str]:
    """For kernels of the plain processor, kept in a cache of their own."""
    from rtmedia.rt.cache import cache_root

    name, features = PROCESSORS[platform.machine()]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]),
        "RTMEDIA_CACHE_DIR": str(cache_root() / "plain"),
        "NUMBA_CPU_NAME": name,
        "NUMBA_CPU_FEATURES": features,
        "PYTHONHASHSEED": "0",
    }


def count(blocks: int) -> dict[str, float]:
    """Instructions by kernel, for one call."""
    environ, child = environment(), [sys.executable, str(Path(__file__).resolve()), "--child", str(blocks)]
    subprocess.run([sys.executable, "-m", "rtmedia", "warmup"], env=environ, check=True, capture_output=True)
    subprocess.run(child, env=environ, check=True, capture_output=True)  # compiles what is left, far faster than under valgrind
    with tempfile.TemporaryDirectory(prefix="rtmedia-count-") as folder:
        tool = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no", "--callgrind-out-file=callgrind.out.%p"]
        done = subprocess.run([*tool, *child], env=environ, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"valgrind ended with {done.returncode}:\n{done.stderr[-2000:]}")
        from _counting import counted

        found = counted(Path(folder))
    times: dict[str, int] = json.loads(done.stdout.strip().splitlines()[-1])
    return {name: round(found[name] / times[name], 1) for name in times}


def child(blocks: int) -> None:
    """Under valgrind: each kernel once, with a dump behind it."""
    from _counting import DUMP_AT, START, ask, words_for
    from _hot import hot_kernels

    kernels = hot_kernels(blocks)
    runs = [hot.make() for hot in kernels]
    start = words_for(START)
    ask(start.ctypes.data)
    for hot, run in zip(kernels, runs, strict=True):
        name = np.frombuffer(hot.name.encode() + b"\0", np.uint8)
        dump = words_for(DUMP_AT, name.ctypes.data)
        run()
        ask(dump.ctypes.data)
    print(json.dumps({hot.name: hot.times for hot in kernels}))


def ratios(blocks: int, rounds: int) -> dict[str, float]:
    """Times by kernel, for one call, as multiples of the reference's: the least of several runs, in turns."""
    from _hot import hot_kernels

    kernels = [hot for hot in hot_kernels(blocks) if hot.timed]
    best = dict.fromkeys((hot.name for hot in kernels), float("inf"))
    for _ in range(rounds):
        for hot in kernels:
            run = hot.make()
            before = time.perf_counter_ns()
            run()
            best[hot.name] = min(best[hot.name], (time.perf_counter_ns() - before) / hot.times)
    reference = best[kernels[0].name]
    return {name: round(took / reference, 3) for name, took in best.items()}


def limit(kept: float, factor: float, spare: float) -> float:
    """The most that is no finding."""
    return max(kept * factor, kept + spare)


def llvmlite_release() -> str:
    """Which decides on the instructions."""
    import llvmlite

    return ".".join(str(llvmlite.__version__).split(".")[:2])


def main() -> None:
    assert __doc__ is not None
    parser = parser_for(__doc__)
    parser.add_argument("--check", action="store_true", help="compare with what is kept; 1 is a finding")
    parser.add_argument("--update", action="store_true", help="keep these figures")
    parser.add_argument("--ratios", action="store_true", help="times instead of counts, as where there is no valgrind")
    asked = parser.parse_args()
    machine = platform.machine()
    kept: dict[str, Any] = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    counts = not (asked.ratios or asked.tiny) and shutil.which("valgrind") is not None and machine in PROCESSORS
    counts = counts and (asked.update or machine in kept.get("instructions", {}))
    if counts:
        unit, found = "instructions", count(100)
        before: dict[str, float] = kept.get("instructions", {}).get(machine, {})
        same = kept.get("made with", {}).get("llvmlite") == llvmlite_release()
        factor, spare = (ALLOWED if same else OTHER_COMPILER), float(SPARE)
    else:
        unit, found = "times the reference", ratios(20 if asked.tiny else 100, 1 if asked.tiny else ROUNDS)
        before, factor, spare = kept.get("ratios", {}), ALLOWED_RATIO, 0.2
    rows = [
        {
            "comparison": name,
            unit: value,
            "kept": before.get(name),
            "share": None if name not in before else round(value / before[name], 3),
            "too much": name in before and value > limit(before[name], factor, spare),
        }
        for name, value in found.items()
    ]
    question, facts = __doc__.strip().splitlines()[0], machine_facts()
    print(question)
    print(", ".join(f"{name} {value}" for name, value in facts.items() if value is not None))
    print(fact_table(rows))
    if asked.json:
        asked.json.write_text(
            json.dumps(
                {"question": question, "machine": facts, "tiny": asked.tiny, "unit": unit, "factor": factor, "rows": rows}, indent=1
            ),
            "utf-8",
        )
    if asked.update:
        if counts:
            kept.setdefault("instructions", {})[machine] = found
            kept["made with"] = {"llvmlite": llvmlite_release()}
        else:
            kept["ratios"] = found
        KEPT.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    if asked.check and any(row["too much"] for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(int(sys.argv[2]))
    else:
        main()
