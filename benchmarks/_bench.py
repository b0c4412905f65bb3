"""What every benchmark here shares: the machine's facts, interleaved timing, one table, one JSON.

A benchmark states its question, warms up, and times all its peers in one run, a little of each in turn:
whatever else the machine does then hits them all alike, and their *ratios* can be compared between runs and
machines where the nanoseconds cannot. ``--tiny`` does everything once, so that the test suite can see that
it still runs; ``--json FILE`` keeps the numbers.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Row:
    """Times of one peer in one comparison, in nanoseconds for one operation.

    Notes
    -----
    `ratio` compares medians: this peer's over the baseline's. `share_pct` is the median as a part of the time
    that one block lasts; None where the operation belongs to no block.
    """

    comparison: str
    peer: str
    p50_ns: float
    p99_ns: float
    worst_ns: float
    ratio: float
    share_pct: float | None


def parser_for(question: str) -> argparse.ArgumentParser:
    """A parser of ``--tiny`` and ``--json``; `question` is the benchmark's docstring."""
    parser = argparse.ArgumentParser(description=question, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="do everything once, measure nothing worth keeping")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the numbers and the machine's facts there")
    return parser


def arguments(question: str) -> argparse.Namespace:
    """Read ``--tiny`` and ``--json`` from the command line."""
    return parser_for(question).parse_args()


def machine_facts() -> dict[str, Any]:
    """What the numbers depend on. No names of machines or people."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: _version(name) for name in ("numpy", "numba", "llvmlite", "rtmedia")},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def optional(module: str) -> Any:
    """A peer's module, or None where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def interleaved(peers: Mapping[str, Callable[[], Any]], *, rounds: int, operations: int = 1, warm_up: int = 3) -> dict[str, np.ndarray]:
    """Time each peer once a round, beginning with another one each round.

    Parameters
    ----------
    peers : dict of callables
        Each does `operations` operations, or returns the nanoseconds for one (when it has timed itself).
    rounds, warm_up : int
        Rounds that count, and rounds before them that do not.

    Returns
    -------
    dict of arrays, shape (rounds,)
        Nanoseconds for one operation. The garbage collector rests meanwhile.
    """
    names = list(peers)
    times = {name: np.empty(rounds) for name in names}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(-warm_up, rounds):
            for place in range(len(names)):
                name = names[(turn + place) % len(names)]
                before = time.perf_counter_ns()
                own = peers[name]()
                took = (time.perf_counter_ns() - before) / operations
                if turn >= 0:
                    times[name][turn] = took if own is None else own
    finally:
        if collecting:
            gc.enable()
    return times


def compare(comparison: str, times: Mapping[str, np.ndarray], baseline: str, *, block_ms: float | None = None) -> list[Row]:
    """One row for each peer."""
    base = float(np.median(times[baseline]))
    rows = []
    for peer, values in times.items():
        p50, p99, worst = (float(value) for value in np.percentile(values, (50, 99, 100)))
        share = p50 / (block_ms * 1e4) if block_ms else None
        rows.append(Row(comparison, peer, p50, p99, worst, p50 / base, share))
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows as text, one paragraph for each comparison."""
    lines: list[str] = []
    comparison = ""
    for row in rows:
        if row.comparison != comparison:
            comparison = row.comparison
            lines += ["", comparison, f"  {'':44}{'p50':>15}{'p99':>15}{'worst':>15}{'ratio':>8}{'of block':>10}"]
        share = "" if row.share_pct is None else f"{row.share_pct:.4f}%"
        times = "".join(f"{value:>12,.0f} ns" for value in (row.p50_ns, row.p99_ns, row.worst_ns))
        lines.append(f"  {row.peer:44}{times}{row.ratio:>8.2f}{share:>10}")
    return "\n".join(lines)


def fact_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows that are no times, as text: a line for each, a column for each key."""
    cells = [[_shown(value) for value in row.values()] for row in rows]
    columns = [list(map(str, rows[0])), *cells] if rows else []
    widths = [max(map(len, column)) for column in zip(*columns, strict=True)]
    lines = []
    for row in columns:
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  " + "  ".join([first, *others]))
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def report(
    question: str,
    rows: Sequence[Row],
    asked: argparse.Namespace,
    facts: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    **more: Any,
) -> None:
    """Print the tables, and write the JSON where it was asked for.

    Parameters
    ----------
    rows
        Times.
    facts
        Other rows by the name of their table; all rows of one table have the same keys. In the JSON they follow
        the times, each with its table's name as ``comparison``.
    more
        For the JSON.
    """
    facts = facts or {}
    machine = machine_facts()
    print(question.strip().splitlines()[0])
    print(", ".join(f"{name} {value}" for name, value in machine.items() if value is not None))
    for name, found in facts.items():
        print(f"\n{name}\n{fact_table(found)}")
    if rows:
        print(table(rows))
    if asked.json:
        result = {
            "question": question.strip().splitlines()[0],
            "machine": machine,
            "tiny": asked.tiny,
            "rows": [asdict(row) for row in rows] + [{"comparison": name, **row} for name, found in facts.items() for row in found],
            **more,
        }
        asked.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
