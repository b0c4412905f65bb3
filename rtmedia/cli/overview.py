"""Many runs as one picture: what each trace cost beside what it could have cost, and delay against concealment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtmedia.cli.figures import groups, means, number
from rtmedia.cli.plots import BLUE, GREEN, INK, ORANGE, PURPLE, RED, RULE, SKY, SOFT, STYLE, save

#: Marks of what would have been possible.
BOUNDS = (
    ("oracle_constant_j", "best constant delay", ORANGE, "|"),
    ("oracle_schedule_j", "best schedule", RED, "D"),
    ("oracle_stretch_j", "best schedule that stretches", GREEN, "o"),
)
_LINES = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY)
_MOST_NAMED = 6  # curves that can be told apart


def plot_overview(path: Path, reports: Sequence[Mapping[str, Any]]) -> None:
    """Draw all runs: bars of J for each price, and the curve that the prices make of delay and concealment."""
    import matplotlib
    from matplotlib.figure import Figure

    by_price = groups(reports)
    names = list(dict.fromkeys(str(report["run"]) for report in reports))
    one_trace = len(names) == 1
    columns = 1 if one_trace else len(by_price)
    bars = len(by_price) if one_trace else len(names) + 1
    height = min(40.0, max(4.6, 1.6 + 0.30 * bars))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2 + 4.2 * min(columns, 3) + (1.5 if columns == 1 else 0.0), height), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12, wspace=0.03)
        axes = figure.subplots(1, columns + 1, width_ratios=[1.0] * columns + [1.15 if columns < 3 else 1.3])
        for index, column in enumerate(axes[:columns]):
            _draw_bars(column, reports if one_trace else by_price[index][1], names, one_trace)
            if index:
                column.set_yticklabels([])
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=4, fontsize=9, handlelength=1.4, columnspacing=1.6)
        _draw_curves(axes[-1], reports, names)
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
    limit = 1.16 * max(cost, default=1.0)
    usual = float(np.median(cost)) if len(cost) else 1.0
    if limit > 12.0 * usual:  # one outage of minutes would leave nothing of the rest
        limit = 6.0 * usual
    axes.set_xlim(0.0, limit)
    for row, value in zip(y, cost, strict=True):
        inside = value > 0.86 * limit
        axes.annotate(
            number(value),
            (min(value, limit), row),
            xytext=(-4 if inside else 4, 0),
            textcoords="offset points",
            ha="right" if inside else "left",
            va="center",
            fontsize=8.5,
            color="white" if inside else INK,
            zorder=5,
            bbox=None if inside else {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
        )
    axes.set_yticks(list(places.values()), list(places))
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("J (ms)", loc="right")


def _draw_curves(axes: Any, reports: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    by_name: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names}
    for report in sorted(reports, key=lambda report: float(report["price_ms"])):
        by_name[str(report["run"])].append(report)
    few = len(names) <= _MOST_NAMED
    axes.set_title("delay and concealment", loc="left", fontsize=12, fontweight="bold", color=INK)
    for index, (name, found) in enumerate(by_name.items()):
        x = [float(report["mean_delay_ms"]) for report in found]
        y = [float(report["concealed_pct"]) for report in found]
        colour = _LINES[index] if few else SOFT
        axes.plot(
            x,
            y,
            color=colour,
            linewidth=1.8 if few else 0.9,
            alpha=1.0 if few else 0.45,
            marker="o",
            markersize=4 if few else 2.5,
            label=name,
        )
        if not few and len(found) == 1:
            axes.annotate(name, (x[0], y[0]), xytext=(4, 2), textcoords="offset points", fontsize=7, color=SOFT)
        if few:
            for report in found if len(found) > 1 else ():
                at = (float(report["mean_delay_ms"]), float(report["concealed_pct"]))
                axes.annotate(number(report["price_ms"]), at, xytext=(5, 4), textcoords="offset points", fontsize=8, color=colour)
    by_price = groups(sorted(reports, key=lambda report: float(report["price_ms"])))
    if not few and len(by_price) > 1:
        average = [(price_ms, means(found)["arithmetic"]) for price_ms, found in by_price]
        x = [found["mean_delay_ms"] for _, found in average]
        y = [found["concealed_pct"] for _, found in average]
        axes.plot(x, y, color=BLUE, linewidth=2.4, marker="o", markersize=5, label="mean of all", zorder=5)
        for (price_ms, _), at in zip(average, zip(x, y, strict=True), strict=True):
            axes.annotate(number(price_ms), at, xytext=(6, 5), textcoords="offset points", fontsize=8.5, color=BLUE, zorder=5)
    if few and len(names) > 1:
        axes.legend(loc="upper right", fontsize=8.5)
    axes.set_xlim(left=0.0)
    axes.set_ylim(bottom=0.0)
    axes.margins(x=0.18, y=0.14)
    axes.set_xlabel("mean delay (ms)", loc="right")
    axes.set_ylabel("concealed (%)", loc="top")
    axes.spines["left"].set_color(RULE)
