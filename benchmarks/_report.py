"""What a benchmark says in the end: tables for the reader, JSON for whoever compares, pictures where they are asked for.

A result is one JSON object: `question`, `machine`, `tiny`, `rows` (times first, then facts, each with the name of its table as
``comparison``), and where there are any `targets`, `missing` (peers that are not installed) and whatever else belongs
to it. ``rtmedia bench`` makes its Markdown report out of these alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Facts = Mapping[str, Sequence[Mapping[str, Any]]]
Draw = Callable[[Path], Sequence[Path]]


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


@dataclass(frozen=True)
class Target:
    """What a figure should be, and what it was found to be. Missed targets are reported, never a failure of the run.

    Parameters
    ----------
    name
        The figure, in words.
    wanted, found
        As they are shown, with their units: ``"≤ 3"``, ``"2.1"``.
    met
        Whether; None where this run cannot tell (a peer is missing).
    """

    name: str
    wanted: str
    found: str
    met: bool | None

    @classmethod
    def at_most(cls, name: str, limit: float, found: float | None, unit: str = "") -> Target:
        """A figure that must not lie above `limit`; None was not found."""
        behind = f" {unit}" if unit else ""
        if found is None:
            return cls(name, f"≤ {limit:g}{behind}", "not measured", None)
        return cls(name, f"≤ {limit:g}{behind}", f"{figure(found)}{behind}", found <= limit)

    @classmethod
    def at_least(cls, name: str, limit: float, found: float | None, unit: str = "") -> Target:
        """A figure that must not lie below `limit`; None was not found."""
        behind = f" {unit}" if unit else ""
        if found is None:
            return cls(name, f"≥ {limit:g}{behind}", "not measured", None)
        return cls(name, f"≥ {limit:g}{behind}", f"{figure(found)}{behind}", found >= limit)


def figure(value: float) -> str:
    """Four digits that count, and no exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def machine_facts() -> dict[str, Any]:
    """What the numbers depend on. No names of machines or people."""
    import rtmedia  # not above: a benchmark may say first where it lies

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
        **{name: _version(name) for name in ("numpy", "numba", "llvmlite")},
        "rtmedia": rtmedia.__version__,  # of the very package that runs, which need not be the installed one
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


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
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def report(
    question: str,
    rows: Sequence[Row],
    asked: argparse.Namespace,
    facts: Facts | None = None,
    *,
    targets: Sequence[Target] = (),
    missing: Sequence[str] = (),
    draw: Draw | None = None,
    **more: Any,
) -> None:
    """Print the tables, write the JSON and draw the pictures, each where it was asked for.

    Parameters
    ----------
    rows
        Times.
    facts
        Other rows by the name of their table; all rows of one table have the same keys. In the JSON they follow
        the times, each with its table's name as ``comparison``.
    targets
        What should come out, beside what did.
    missing
        Peers that were left out, each with what would bring it.
    draw
        Makes the benchmark's own pictures in a folder and returns their paths; otherwise `_plot.draw_rows` draws the rows.
    more
        For the JSON.
    """
    facts = facts or {}
    machine = machine_facts()
    result = {
        "question": question.strip().splitlines()[0],
        "machine": machine,
        "tiny": asked.tiny,
        "rows": [asdict(row) for row in rows] + [{"comparison": name, **row} for name, found in facts.items() for row in found],
        **({"targets": [asdict(target) for target in targets]} if targets else {}),
        **({"missing": list(missing)} if missing else {}),
        **more,
    }
    print(result["question"])
    print(", ".join(f"{name} {value}" for name, value in machine.items() if value is not None))
    for name, found in facts.items():
        print(f"\n{name}\n{fact_table(found)}")
    if rows:
        print(table(rows))
    if missing:
        print(f"\nnot here, left out: {'; '.join(missing)}")
    for target in targets:
        verdict = {True: "met", False: "MISSED", None: "not measured"}[target.met]
        print(f"\ntarget {verdict}: {target.name}: {target.found} (wanted {target.wanted})", end="")
    if targets:
        print()
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    folder = getattr(asked, "plot", None)
    if folder is not None:
        for path in pictures(result, folder, draw):
            print(path)


def pictures(result: Mapping[str, Any], folder: Path, draw: Draw | None = None, name: str = "") -> list[Path]:
    """A result's pictures, in `folder`: the benchmark's own, or its rows drawn. Without matplotlib there are none, and it is said."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no pictures: matplotlib is not installed (pip install 'rtmedia[plot]')")
        return []
    from _plot import draw_rows

    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    name = name or Path(sys.argv[0]).stem
    return list(draw(folder)) if draw is not None else draw_rows(folder, name, result)
