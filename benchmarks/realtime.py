"""What do the real-time settings change, on a machine that is loaded from outside and in a process that is busy inside?

The same stream is played into the null sink, whose clock is a compiled loop, by an engine with and without a setting, in turns:
while other processes keep every core busy (four for each core, at normal priority), and while three Python threads keep the
interpreter busy. What the machine does not grant is left out and named.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from _bench import arguments, fact_table, machine_facts

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.live.hostility import neighbour  # noqa: E402
from tests.live.player import Played, arrival_spread_ms, play  # noqa: E402

PERIOD_MS = 10.0
PROCESSES_PER_CORE = 4
#: condition: its load from outside, its load inside, and what is compared
CONDITIONS: dict[str, tuple[bool, dict[str, Any], dict[str, dict[str, Any]]]] = {
    "calm": (False, {}, {"nothing": {}, "scheduling": {"scheduling": "auto"}}),
    "every core busy": (True, {}, {"nothing": {}, "scheduling": {"scheduling": "auto"}, "one core": {"cpus": [0]}}),
    "three busy threads": (False, {"busy": 3}, {"nothing": {}, "switch_interval_ms 0.5": {"switch_interval_ms": 0.5}}),
}


@contextmanager
def busy_cores(wanted: bool) -> Iterator[None]:
    """Other processes that never rest."""
    count = PROCESSES_PER_CORE * (os.cpu_count() or 1) if wanted else 0
    children = [neighbour() for _ in range(count)]
    try:
        yield
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.communicate()


def measure(seconds: float, busy: bool, hostility: dict[str, Any], realtime: dict[str, Any]) -> Played:
    with tempfile.TemporaryDirectory(prefix="rtmedia-bench-") as name, busy_cores(busy):
        return play(
            dict(os.environ),
            Path(name),
            seconds=seconds,
            hostility=hostility,
            timeout_s=300.0,
            source="loopback:?loop=1",
            sink="null",
            realtime=realtime,
        )


def figures(played: Played) -> dict[str, Any]:
    """How late the device's calls came, and what was heard of it."""
    times_ns = played.marks["time_ns"][20:-2]
    late_ms = (times_ns - times_ns[0]) / 1e6 - PERIOD_MS * np.arange(len(times_ns)) if len(times_ns) else np.zeros(1)
    late_ms -= late_ms.min()  # since the one that was soonest
    stats = played.stats
    return {
        "late p50 ms": float(np.percentile(late_ms, 50)),
        "p99 ms": float(np.percentile(late_ms, 99)),
        "worst ms": float(late_ms.max()),
        "underruns": stats["underruns_total"],
        "underrun frames": stats["underrun_frames_total"],
        "concealed %": stats["concealed_pct"],
        "arrivals spread ms": arrival_spread_ms(played),
        "p95 latency ms": stats["latency_ms"].get("total", {}).get("p95", 0.0),
    }


def main() -> None:
    assert __doc__ is not None
    asked = arguments(__doc__)
    seconds, rounds = (1.5, 1) if asked.tiny else (10.0, 3)
    rows: list[dict[str, Any]] = []
    refused: set[str] = set()
    for turn in range(rounds):
        for condition, (busy, hostility, settings) in CONDITIONS.items():
            for place in range(len(settings)):
                name = list(settings)[(turn + place) % len(settings)]
                played = measure(seconds, busy and not asked.tiny, hostility, settings[name])
                answers = played.stats["realtime"]
                if any(answer.startswith("refused") for answer in answers.values()):
                    refused.add(f"{name}: {next(answer for answer in answers.values() if answer.startswith('refused'))}")
                    continue
                rows.append({"comparison": condition, "setting": name, "round": turn, **figures(played)})
    rows.sort(key=lambda row: (list(CONDITIONS).index(row["comparison"]), list(CONDITIONS[row["comparison"]][2]).index(row["setting"])))
    question = __doc__.strip().splitlines()[0]
    machine = machine_facts()
    print(question)
    print(", ".join(f"{name} {value}" for name, value in machine.items() if value is not None))
    print(fact_table(rows))
    for line in sorted(refused):
        print(f"left out: {line}")
    if asked.json:
        result = {"question": question, "machine": machine, "tiny": asked.tiny, "rows": rows, "refused": sorted(refused)}
        asked.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
