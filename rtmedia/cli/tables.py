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
    """`title` over `unit`; of those that do not fit, the highest `rank` goes first."""

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


def _best(name: str) -> Callable[[Report], str]:
    def text(report: Report) -> str:
        return "" if report.get(name) is None else number(report[name])

    return text


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
    _Column("constant", "ms", 8, _best("oracle_constant_j")),
    _Column("gap", "%", 7, _gap("oracle_constant_j")),
    _Column("schedule", "ms", 8, _best("oracle_schedule_j")),
    _Column("gap", "%", 1, _gap("oracle_schedule_j")),
    _Column("stretching", "ms", 8, _best("oracle_stretch_j")),
    _Column("gap", "%", 2, _gap("oracle_stretch_j")),
)
_LEAST_NAME = 16
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
    shown = _that_fit(list(cells.values()), console.width if console.is_terminal else None, name_width, prices)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    table.add_column("trace\n", overflow="ellipsis", no_wrap=True, min_width=min(_LEAST_NAME, name_width))
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
        _legend(console, shown)
    else:
        # A pipe has no width; without one rich assumes that of a small terminal.
        lines = console.render_lines(table, console.options.update(width=10_000), pad=False)
        for line in lines:
            console.print(Text("".join(segment.text for segment in line).rstrip()), soft_wrap=True)


def _that_fit(rows: Sequence[Sequence[str]], width: int | None, name_width: int, prices: bool) -> list[int]:
    """Which columns have anything to say, and room."""
    shown = [i for i in range(len(_COLUMNS)) if any(row[i] for row in rows)]
    widths = [max(len(column.title), len(column.unit), *(len(row[i]) for row in rows)) for i, column in enumerate(_COLUMNS)]
    if width is None:
        return shown
    # A long name may be cut before a figure is left out, but must stay a name.
    left = width - min(name_width, max(_LEAST_NAME, width // 3)) - (9 + _GAP if prices else 0)
    while sum(widths[i] + _GAP for i in shown) > left and len(shown) > 1:
        shown.remove(max(shown, key=lambda i: _COLUMNS[i].rank))
    return shown


def _legend(console: Console, shown: Sequence[int]) -> None:
    said = ["J: mean delay and, at the price, what is concealed"]
    names = [_COLUMNS[i].title for i in shown]
    if any(_COLUMNS[i].title in ("constant", "schedule", "stretching", "gap") for i in shown):
        bests = [best for best, i in (("one delay", 8), ("a schedule", 10), ("a schedule that stretches", 12)) if i in shown]
        said.append(f"gap: J above the best in hindsight with {', with '.join(bests)}")
    if len(names) < len([column for column in _COLUMNS if column.rank < 99]):
        said.append("a wider terminal shows more")
    console.print(Text("; ".join(said), "dim"))


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
