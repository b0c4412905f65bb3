"""Several runs as one table: as many columns as the terminal has room for, and the means under each price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rtmedia.cli.batch import Outcome
from rtmedia.cli.figures import Report, above_pct, groups, means, number


@dataclass(frozen=True, slots=True)
class _Column:
    """`title` over `unit`; of those that do not fit, all of the highest `rank` go first; 0 stays."""

    title: str
    unit: str
    rank: int
    text: Callable[[Report], str]


def _plain(name: str, digits: int) -> Callable[[Report], str]:
    def text(report: Report) -> str:
        value = report.get(name)
        if value is None:
            return ""
        return number(value) if digits == 0 else f"{value:.{digits}f}"

    return text


def _stretched(report: Report) -> str:
    return "" if report.get("accelerated_pct") is None else f"{report['accelerated_pct']:.1f}/{report['decelerated_pct']:.1f}"


def _gap(name: str) -> Callable[[Report], str]:
    def text(report: Report) -> str:
        gap = above_pct(report.get("cost_j"), report.get(name))
        return "" if gap is None else f"{gap:+.0f}"

    return text


_COLUMNS = (
    _Column("mean", "ms", 0, _plain("mean_delay_ms", 0)),
    _Column("95 %", "ms", 3, _plain("p95_delay_ms", 0)),
    _Column("concealed", "%", 0, _plain("concealed_pct", 2)),
    _Column("in speech", "%", 5, _plain("speech_concealed_pct", 2)),
    _Column("stops", "", 4, lambda report: "" if report.get("stops_150ms") is None else f"{report['stops_150ms']:.3g}"),
    _Column("acc/dec", "%", 6, _stretched),
    _Column("J", "ms", 0, _plain("cost_j", 0)),
    _Column("constant", "ms", 8, _plain("oracle_constant_j", 0)),
    _Column("+const", "%", 7, _gap("oracle_constant_j")),
    _Column("schedule", "ms", 8, _plain("oracle_schedule_j", 0)),
    _Column("+sched", "%", 1, _gap("oracle_schedule_j")),
    _Column("stretching", "ms", 8, _plain("oracle_stretch_j", 0)),
    _Column("+stretch", "%", 2, _gap("oracle_stretch_j")),
)
_LEAST_NAME = 16
_PRICE_WIDTH = 7  # of a million
_GAP = 2


def print_table(console: Console, outcomes: Sequence[Outcome]) -> None:
    """One row for each run that has figures, all traces of one price together, their means below.

    Where there is no terminal nothing is left out or cut off.
    """
    reports = [outcome.report for outcome in outcomes if outcome.report]
    if not reports:
        return
    by_price = groups(reports)
    one_trace = len({report["run"] for report in reports}) == 1
    blocks: list[list[tuple[str, float, Report, str]]] = []  # name, price, figures, style
    if one_trace:
        blocks.append([(report["run"], price_ms, report, "") for price_ms, group in by_price for report in group])
    else:
        for price_ms, group in by_price:
            block = [(report["run"], price_ms, report, "") for report in group]
            if len(group) > 1:
                found = means(group)
                block.append(("mean", price_ms, found["arithmetic"], "bold"))
                block.append(("geometric mean", price_ms, found["geometric"], "bold"))
            blocks.append(block)
    prices = len(by_price) > 1
    cells = {id(row): [column.text(row[2]) for column in _COLUMNS] for block in blocks for row in block}
    name_width = max(len(row[0]) for block in blocks for row in block)
    width = console.width if console.is_terminal else None
    shown, room = _that_fit(list(cells.values()), width, name_width, prices)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    # Held to its room, or rich would take from the figures what a long name wants.
    table.add_column("trace\n", overflow="ellipsis", no_wrap=True, max_width=room)
    if prices:
        table.add_column("price\nms", justify="right", no_wrap=True)
    for column in shown:
        table.add_column(f"{_COLUMNS[column].title}\n{_COLUMNS[column].unit}", justify="right", no_wrap=True)
    for block in blocks:
        for row in block:
            name, price_ms, _, style = row
            texts = [Text(name, style), *([Text(number(price_ms), style)] if prices else [])]
            table.add_row(*texts, *(Text(cells[id(row)][column], style) for column in shown))
        if block is not blocks[-1]:
            table.add_row()
    if console.is_terminal:
        console.print(table)
        _legend(console, shown, len(shown) < sum(map(any, zip(*cells.values(), strict=True))))
    else:
        # A pipe has no width; without one rich assumes that of a small terminal.
        lines = console.render_lines(table, console.options.update(width=10_000), pad=False)
        for line in lines:
            console.print(Text("".join(segment.text for segment in line).rstrip()), soft_wrap=True)


def _that_fit(rows: Sequence[Sequence[str]], width: int | None, name_width: int, prices: bool) -> tuple[list[int], int]:
    """Which columns have anything to say, and room; and how much room is left for names."""
    shown = [i for i in range(len(_COLUMNS)) if any(row[i] for row in rows)]
    if width is None:
        return shown, name_width
    widths = [max(len(column.title), len(column.unit), *(len(row[i]) for row in rows)) for i, column in enumerate(_COLUMNS)]
    # A long name is cut before a figure is left out, but stays long enough to be known again.
    least = min(name_width, max(_LEAST_NAME, width // 4))
    room = width - (_PRICE_WIDTH + _GAP if prices else 0)
    while sum(widths[i] + _GAP for i in shown) > room - least and any(_COLUMNS[i].rank for i in shown):
        last = max(_COLUMNS[i].rank for i in shown)
        shown = [i for i in shown if _COLUMNS[i].rank < last]
    return shown, max(least, min(name_width, room - sum(widths[i] + _GAP for i in shown)))


def _legend(console: Console, shown: Sequence[int], left_out: bool) -> None:
    titles = [_COLUMNS[i].title for i in shown]
    said = ["J: mean delay, plus concealment at its price."]
    known = {"+const": "with one delay", "+sched": "with any schedule", "+stretch": "with stretching too"}
    bests = [f"{title} {text}" for title, text in known.items() if title in titles]
    if bests:
        said.append(f"J above the best in hindsight: {', '.join(bests)}.")
    if left_out:
        said.append("A wider terminal shows more.")
    console.print(Text(" ".join(said), "dim"))


def summary(outcomes: Sequence[Outcome], took_s: float, jobs: int) -> str:
    """How much was simulated, and how fast."""
    seconds = sum(float(outcome.report.get("seconds", 0.0)) for outcome in outcomes)
    failed = sum(bool(outcome.error) for outcome in outcomes)
    text = f"{len(outcomes)} runs, {seconds / 60.0:.0f} min of sound, in {took_s:.1f} s"
    text += f" on {jobs} cores" if jobs > 1 else ""
    text += f", {seconds / max(took_s, 1e-9):.0f} times faster than real time"
    return text + (f"; {failed} failed" if failed else "")


def as_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All runs and the means, for programs."""
    runs = [
        outcome.report or {"run": outcome.run.name, "trace": outcome.run.trace, "price_ms": outcome.run.price_ms, "error": outcome.error}
        for outcome in outcomes
    ]
    found = [outcome.report for outcome in outcomes if outcome.report]
    return {"runs": runs, "means": [{"price_ms": price_ms, "runs": len(group), **means(group)} for price_ms, group in groups(found)]}
