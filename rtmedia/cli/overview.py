"""Many runs as one picture: what each trace cost beside what it could have cost, and delay against concealment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rtmedia.cli.figures import groups, means, number
from rtmedia.cli.plots import BLUE, GREEN, INK, ORANGE, PURPLE, RED, SKY, SOFT, STYLE, new_figure, save

#: Marks of what would have been possible.
BOUNDS = (
    ("oracle_constant_j", "best constant delay", ORANGE, "|"),
    ("oracle_schedule_j", "best schedule", RED, "D"),
    ("oracle_stretch_j", "best schedule that stretches", GREEN, "o"),
)
_LINES = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY)
_MOST_NAMED = 6  # curves that can be told apart


class Label(NamedTuple):
    """Something to write at a point of the curves."""

    text: str
    point: tuple[float, float]
    colour: str
    size: float


def plot_overview(path: Path, reports: Sequence[Mapping[str, Any]]) -> None:
    """Draw all runs: bars of J for each price, and the curve that the prices make of delay and concealment."""
    import matplotlib

    by_price = groups(reports)
    names = list(dict.fromkeys(str(report["run"]) for report in reports))
    one_trace = len(names) == 1
    columns = 1 if one_trace else len(by_price)
    bars = len(by_price) if one_trace else len(names) + 1
    height = min(40.0, max(5.0, 1.6 + 0.30 * bars))
    with matplotlib.rc_context(STYLE):
        width = 5.2 + 4.2 * min(columns, 3) + (1.5 if columns == 1 else 0.0)
        figure = new_figure(width, height, w_pad=0.12, h_pad=0.12, wspace=0.03)
        axes = figure.subplots(1, columns + 1, width_ratios=[1.0] * columns + [1.15 if columns < 3 else 1.3])
        for index, column in enumerate(axes[:columns]):
            _draw_bars(column, reports if one_trace else by_price[index][1], names, one_trace)
            if index:
                column.set_yticklabels([])
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=5, fontsize=9, handlelength=1.4, columnspacing=1.6)
        wanted = _draw_curves(axes[-1], reports, names)
        figure.draw_without_rendering()  # now everything has its place
        _write(axes[-1], wanted)
        save(figure, path)


def _draw_bars(axes: Any, reports: Sequence[Mapping[str, Any]], names: Sequence[str], one_trace: bool) -> None:
    if one_trace:
        rows = [(f"price {number(report['price_ms'])}", report) for report in reports]
        axes.set_title(names[0], loc="left", fontsize=12, fontweight="bold", color=INK)
    else:
        found = {str(report["run"]): report for report in reports}
        geometric = means(reports)["geometric"]
        rows = [(name, found[name]) for name in names if name in found] + [("geometric mean", geometric)]
        axes.set_title(f"price {number(reports[0]['price_ms'])} ms", loc="left", fontsize=12, fontweight="bold", color=INK)
    places = {name: row for row, name in enumerate([name for name, _ in rows] if one_trace else [*names, "geometric mean"])}
    known = [(places[name], report) for name, report in rows if report.get("cost_j") is not None]
    y = np.array([row for row, _ in known])
    cost = np.array([float(report["cost_j"]) for _, report in known])
    # Of J, the part that is delay stands on the left; a mean has no parts that add up.
    delay = np.array([float(report["mean_delay_ms"]) if "run" in report else 0.0 for _, report in known])
    parts = np.array(["run" in report for _, report in known])
    axes.barh(y[parts], delay[parts], height=0.62, color=BLUE, label="mean delay")
    axes.barh(y[parts], (cost - delay)[parts], left=delay[parts], height=0.62, color=SKY, alpha=0.75, label="concealment, at its price")
    axes.barh(y[~parts], cost[~parts], height=0.62, color=SOFT)
    for key, label, colour, marker in BOUNDS:
        at = [(report[key], row) for row, report in known if report.get(key) is not None]
        if at:
            size, edge = (90, 1.8) if marker == "|" else (22, 0.7)
            edges = {} if marker == "|" else {"edgecolors": "white"}
            axes.scatter(*zip(*at, strict=True), s=size, marker=marker, color=colour, linewidths=edge, label=label, zorder=4, **edges)
    ends = [float(report[key]) for key in ("cost_j", *(name for name, *_ in BOUNDS)) for _, report in known if report.get(key)]
    limit = max(ends, default=1.0)
    usual = float(np.median(cost)) if len(cost) else 1.0
    if limit > 12.0 * usual:  # one outage of minutes would leave nothing of the rest
        limit = 6.0 * usual
    axes.set_xlim(0.0, 1.2 * limit)
    # A column at the right, clear of every mark: beside a mark it would be read as the mark's.
    for row, value in zip(y, cost, strict=True):
        axes.text(1.0, row, number(value), transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8.5, zorder=5)
    axes.set_yticks(list(places.values()), list(places))
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("J (ms)", loc="right")


def _draw_curves(axes: Any, reports: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Label]:
    """The curves; what is to be written at them is written when everything has its place, see `_write`."""
    by_name: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names}
    for report in sorted(reports, key=lambda report: float(report["price_ms"])):
        by_name[str(report["run"])].append(report)
    by_price = groups(sorted(reports, key=lambda report: float(report["price_ms"])))
    few = len(names) <= _MOST_NAMED
    labels: list[Label] = []
    if not few and len(by_price) > 1:
        average = [(price_ms, means(found)["arithmetic"]) for price_ms, found in by_price]
        points = [(found["mean_delay_ms"], found["concealed_pct"]) for _, found in average]
        axes.plot(*zip(*points, strict=True), color=BLUE, linewidth=2.4, marker="o", markersize=5, label="mean of all", zorder=5)
        labels += [Label(number(price_ms), point, BLUE, 8.5) for (price_ms, _), point in zip(average, points, strict=True)]
    for index, (name, found) in enumerate(by_name.items()):
        points = [(float(report["mean_delay_ms"]), float(report["concealed_pct"])) for report in found]
        colour = _LINES[index] if few else SOFT
        width, alpha, size = (1.8, 1.0, 4.0) if few else (0.9, 0.5, 2.5)
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=width, alpha=alpha, marker="o", markersize=size, label=name)
        if few and len(points) > 1:
            labels += [Label(number(report["price_ms"]), point, colour, 8.0) for report, point in zip(found, points, strict=True)]
        elif not few:
            labels.append(Label(name, points[-1], SOFT, 7.0))
    axes.set_title("delay and concealment", loc="left", fontsize=12, fontweight="bold", color=INK)
    if few and len(names) > 1:
        axes.legend(loc="best", fontsize=8.5)
    elif not few and len(by_price) > 1:
        axes.legend(handles=axes.lines[:1], loc="upper right", fontsize=8.5)
    axes.set_xlim(0.0, 1.18 * max(float(report["mean_delay_ms"]) for report in reports))
    most_pct = max(0.1, *(float(report["concealed_pct"]) for report in reports))
    if most_pct > 3.0:  # a lossy trace would press the others to the floor: even steps up to 1 %, tenfold ones beyond
        axes.set_yscale("symlog", linthresh=1.0, linscale=1.6)
        ticks = [tick for tick in (0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0) if tick < 2.0 * most_pct]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        axes.minorticks_off()
        axes.set_ylim(-0.02, 1.3 * most_pct)
    else:
        axes.set_ylim(-0.02 * most_pct, 1.18 * most_pct)
    axes.set_xlabel("mean delay (ms)", loc="right")
    axes.set_ylabel("concealed (%)", loc="top")
    return labels


def _write(axes: Any, labels: Sequence[Label]) -> None:
    """Write each label beside its point where nothing is written yet; one that finds no place is left out."""
    taken: list[Any] = [axes.get_legend().get_window_extent()] if axes.get_legend() is not None else []
    frame = axes.get_window_extent()
    for label in labels:
        for offset, ha, va in (
            ((6, 4), "left", "bottom"),
            ((6, -4), "left", "top"),
            ((-6, 4), "right", "bottom"),
            ((-6, -4), "right", "top"),
        ):
            text = axes.annotate(
                label.text,
                label.point,
                xytext=offset,
                textcoords="offset points",
                ha=ha,
                va=va,
                fontsize=label.size,
                color=label.colour,
                zorder=6,
            )
            box = text.get_window_extent()
            if frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and not any(box.overlaps(other) for other in taken):
                text.set_in_layout(False)
                taken.append(box)
                break
            text.remove()
