"""Does anything grow while one stream plays, 50 packets a second, for half an hour?

One engine in a process of its own, fed over the loopback network at 50 packets a second, into the null sink. Every few
seconds it notes its resident memory, the blocks that Python has allocated (``sys.getallocatedblocks``, after a collection), the
octets that the C library has given out (``mallinfo2``), and the allocations of compiled code (numba's own count: compiled rooms must not
have any). The slopes are those of least squares over the time after a warm-up, in which histories fill to the size they keep.

What grows is found in a second, shorter run under ``tracemalloc`` (``--trace-s``), which the figures are not taken from.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import json
import logging
import os
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from _bench import Target, parser_for, report
from _child import Child
from _process import rss_kib

PACKETS_PER_S = 50
#: Blocks and device calls are remembered for up to 164 s (twice 8192 of 10 ms), which is the longest of all histories.
WARM_UP_S = 240.0
COLUMNS = ("time_s", "packets", "rss_kib", "python_blocks", "malloc_kib", "compiled_allocations", "underrun_frames", "concealed_ms")


class Mallinfo2(ctypes.Structure):
    """``struct mallinfo2`` of glibc 2.33 and later."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]


@functools.cache
def _mallinfo2() -> Any:
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except (OSError, TypeError, AttributeError):
        return None
    ask.restype = Mallinfo2
    return ask


def malloc_kib() -> float | None:
    """What the C library has given out and not got back: main arena and mapped blocks; None where it does not tell."""
    ask = _mallinfo2()
    if ask is None:
        return None
    found = ask()
    return float(found.uordblks + found.hblkhd) / 1024


class Allocations:
    """Numba's count of what compiled code has allocated in this process."""

    def __init__(self) -> None:
        from numba.core.runtime import _nrt_python, rtsys

        _nrt_python.memsys_enable_stats()
        self._ask = rtsys.get_allocation_stats
        self._before = self._ask().alloc

    def count(self) -> int:
        return int(self._ask().alloc - self._before)


def play(asked: dict[str, Any]) -> None:
    """The child: one engine, and a note of everything every now and then."""
    from rtmedia.config import Config
    from rtmedia.engine import Engine

    logging.getLogger("rtmedia").setLevel(logging.ERROR)
    trace = asked["trace"]
    with Engine(Config(source=f"ws://127.0.0.1:{asked['port']}/", sink="null")) as engine:
        print(json.dumps({"ready": True}), flush=True)
        first_ns = json.loads(sys.stdin.readline())["first_ns"]
        allocations = Allocations()
        notes = max(2, int(asked["seconds"] / asked["every_s"]) + 1)
        rows = np.full((notes, len(COLUMNS)), 0.0)  # all at once: a list would be what grows
        if trace:
            import tracemalloc

            tracemalloc.start(1)
        snapshots = []
        for note in range(notes):
            due_ns = first_ns + int(note * asked["every_s"] * 1e9)
            time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
            for _ in engine.events(timeout_s=0):  # as an application does; unread ones are kept
                pass
            stats = engine.stats()
            gc.collect()
            rows[note] = (
                (time.monotonic_ns() - first_ns) / 1e9,
                stats.packets_received_total,
                rss_kib() or np.nan,
                sys.getallocatedblocks(),
                malloc_kib() or np.nan,
                allocations.count(),
                stats.underrun_frames_total,
                stats.concealed_ms_total,
            )
            if trace and not snapshots and rows[note, 0] >= asked["warm_up_s"]:
                snapshots.append(tracemalloc.take_snapshot())
        if trace:
            snapshots.append(tracemalloc.take_snapshot())
    grown = _grown(snapshots) if trace and len(snapshots) == 2 else []
    print(json.dumps({"notes": np.where(np.isnan(rows), None, rows).tolist(), "grown": grown}), flush=True)


def _grown(snapshots: list[Any]) -> list[dict[str, Any]]:
    """Lines that hold more than before, the most first; those of the measurement itself left out."""
    rows = []
    for found in snapshots[1].compare_to(snapshots[0], "lineno"):
        frame = found.traceback[0]
        if found.size_diff > 0 and "tracemalloc" not in frame.filename and Path(frame.filename).name != Path(__file__).name:
            rows.append({"where": f"{_short(frame.filename)}:{frame.lineno}", "octets": found.size_diff, "blocks": found.count_diff})
    return sorted(rows, key=lambda row: -row["octets"])[:15]


def _short(path: str) -> str:
    return "/".join(Path(path).parts[-3:])


def run(asked: Namespace, seconds: float, trace: bool) -> dict[str, Any]:
    children: list[Child] = []
    try:
        children.append(Child(sys.executable, "_density_sender.py", {"wire": "ws", "streams": 1}))
        sender = children[0]
        port = sender.hear()["port"]
        wanted = {
            "port": port,
            "seconds": seconds,
            "every_s": asked.every_s,
            "warm_up_s": min(asked.warm_up_s, seconds / 2),
            "trace": trace,
        }
        children.append(Child(sys.executable, Path(__file__).name, wanted))
        engine = children[1]
        engine.hear()
        sender.hear()
        first_ns = time.monotonic_ns() + 200_000_000
        for child in children:
            child.tell(first_ns=first_ns)
        found = engine.hear()
        sender.let_go()
        return {**found, "sender": sender.hear()}
    finally:
        for child in children:
            child.end()


def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Of the line of least squares, and its standard error (as if the residuals were independent)."""
    x = x - x.mean()
    spread = float(x @ x)
    if len(x) < 3 or spread == 0.0:
        return float("nan"), float("nan")
    found = float(x @ (y - y.mean()) / spread)
    rest = y - y.mean() - found * x
    return found, float(np.sqrt(rest @ rest / (len(x) - 2) / spread))


def figures(notes: list[list[Any]], warm_up_s: float) -> list[dict[str, Any]]:
    """Slopes after the warm-up."""
    columns = {name: np.array([np.nan if row[i] is None else row[i] for row in notes], float) for i, name in enumerate(COLUMNS)}
    kept = columns["time_s"] >= min(warm_up_s, columns["time_s"][-1] / 2)
    hours, packets = columns["time_s"][kept] / 3600, columns["packets"][kept]
    rows = []
    for name, unit, x, target in (
        ("rss_kib", "KiB/h", hours, 100.0),
        ("malloc_kib", "KiB/h", hours, None),
        ("python_blocks", "blocks/packet", packets, None),
        ("compiled_allocations", "per packet", packets, 0.0),
    ):
        values = columns[name][kept]
        found, error = slope(x, values)
        rows.append(
            {
                "what": name,
                "slope": None if np.isnan(found) else found,
                "standard_error": None if np.isnan(error) else error,
                "unit": unit,
                "first": None if np.isnan(values[0]) else float(values[0]),
                "last": None if np.isnan(values[-1]) else float(values[-1]),
                "target": target,
            }
        )
    return rows


def plot(folder: Path, notes: list[list[Any]], warm_up_s: float) -> list[Path]:
    """Resident memory and Python's blocks against time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
    minutes = [row[0] / 60 for row in notes]
    for axis, column, title in ((axes[0], 2, "resident memory, MiB"), (axes[1], 3, "blocks that Python has allocated")):
        values = [float("nan") if row[column] is None else row[column] / (1024 if column == 2 else 1) for row in notes]
        axis.plot(minutes, values, linewidth=1)
        axis.axvspan(0, warm_up_s / 60, alpha=0.1, color="grey")
        axis.set(xlabel="minutes (grey: warm-up)", title=title)
        axis.grid(True, alpha=0.2)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "steady_state.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return [path]


def main() -> None:
    parser = parser_for(__doc__ or "")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long, after the warm-up")
    parser.add_argument("--warm-up-s", type=float, default=WARM_UP_S)
    parser.add_argument("--every-s", type=float, default=5.0, help="between two notes")
    parser.add_argument("--trace-s", type=float, default=0.0, help="a second run of so long under tracemalloc, to see where it grows")
    asked = parser.parse_args()
    if asked.tiny:
        asked.minutes, asked.warm_up_s, asked.every_s = 1.0 / 60, 0.5, 0.25
    done = run(asked, asked.warm_up_s + 60.0 * asked.minutes, trace=False)
    notes = done["notes"]
    rows = figures(notes, asked.warm_up_s)
    grown = run(asked, asked.trace_s, trace=True)["grown"] if asked.trace_s else []
    played = dict(zip(COLUMNS, notes[-1], strict=True))
    slopes = {row["what"]: row["slope"] for row in rows}
    tables = {
        "growth": [{name: "-" if value is None else value for name, value in row.items()} for row in rows],
        "played": [
            {
                "minutes": played["time_s"] / 60,
                "packets": played["packets"],
                "underrun_frames": played["underrun_frames"],
                "concealed_ms": played["concealed_ms"],
            }
        ],
    }
    if grown:
        tables["what grew, under tracemalloc"] = grown
    targets = [
        Target.at_most("growth of resident memory", 100.0, None if asked.tiny else slopes["rss_kib"], "KiB/h"),
        Target.at_most("blocks allocated by compiled code, per packet", 0.0, None if asked.tiny else slopes["compiled_allocations"]),
    ]
    report(
        __doc__ or "",
        [],
        asked,
        tables,
        targets=targets,
        draw=lambda folder: plot(folder, notes, asked.warm_up_s),
        warm_up_s=asked.warm_up_s,
        columns=COLUMNS,
        notes=notes,
    )


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("{"):
        sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        play(json.loads(sys.argv[1]))
    else:
        main()
