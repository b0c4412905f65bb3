"""What every benchmark here shares: its options, interleaved timing, and what is done with the times (`_report.py`).

A benchmark states its question, warms up, and times all its peers in one run, a little of each in turn:
whatever else the machine does then hits them all alike, and their *ratios* can be compared between runs and
machines where the nanoseconds cannot. ``--tiny`` does everything once, so that the test suite can see that
it still runs; ``--json FILE`` keeps the numbers, ``--plot FOLDER`` draws them.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _report import Row, Target, fact_table, figure, machine_facts, report, table

__all__ = (
    "Row",
    "Target",
    "arguments",
    "compare",
    "fact_table",
    "figure",
    "interleaved",
    "machine_facts",
    "optional",
    "parser_for",
    "report",
    "table",
)


def parser_for(question: str) -> argparse.ArgumentParser:
    """A parser of the options that every benchmark has; `question` is the benchmark's docstring."""
    # resolve: a benchmark may say better than this what one of them does there.
    parser = argparse.ArgumentParser(description=question, formatter_class=argparse.RawDescriptionHelpFormatter, conflict_handler="resolve")
    parser.add_argument("--tiny", action="store_true", help="do everything once, measure nothing worth keeping")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the numbers and the machine's facts there")
    parser.add_argument("--plot", "--plots", metavar="FOLDER", type=Path, help="draw NAME.png, NAME-….png there (needs matplotlib)")
    return parser


def arguments(question: str) -> argparse.Namespace:
    """The options that every benchmark has, from the command line."""
    return parser_for(question).parse_args()


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
