"""The jitter benchmark's figures: curves of delay against concealment, J of every peer, and the ratio to the oracle over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from _jitter_peers import Played
from _jitter_sets import HELD_OUT, Case
from matplotlib.axes import Axes

from rtmedia.sim.oracle import Bound

#: One colour a peer everywhere: Okabe and Ito's, which are told apart with any eyes.
COLOURS = {
    "rtmedia": "#0072B2",
    "NetEQ (recorded)": "#D55E00",
    "aiortc": "#CC79A7",
    "fixed 200 ms": "#E69F00",
    "schedule oracle": "#009E73",
    "schedule oracle, 10 % stretch": "#56B4E9",
}
MARKERS = {"NetEQ (recorded)": "*", "aiortc": "s", "fixed 200 ms": "^"}
STYLE = {"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110}

Found = Mapping[Case, Mapping[str, Played]]
Bounds = Mapping[Case, Mapping[int, Mapping[str, Bound]]]


def draw(folder: Path, on_record: Found, on_models: Found, curves: Mapping[Case, list[tuple[float, float]]], bounds: Bounds) -> list[Path]:
    """Write the PNGs; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with plt.rc_context(STYLE):
        if curves:
            paths.append(_save(_curves(on_record, curves, bounds), folder / "jitter-curves.png"))
            paths.append(_save(_costs(on_record), folder / "jitter-j.png"))
        if on_models:
            paths.append(_save(_seeds(on_record, on_models), folder / "jitter-seeds.png"))
    return paths


def _save(figure: plt.Figure, path: Path) -> Path:
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)
    return path


def _curves(on_record: Found, curves: Mapping[Case, list[tuple[float, float]]], bounds: Bounds) -> plt.Figure:
    columns = min(4, len(curves))
    lines = -(-len(curves) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(3.6 * columns, 2.7 * lines + 0.6), squeeze=False, layout="constrained")
    for axes, (case, curve) in zip(grid.flat, curves.items(), strict=False):
        _curve(axes, case, curve, on_record[case], bounds[case])
    for axes in grid.flat[len(curves) :]:
        axes.axis("off")
    for axes in grid[:, 0]:
        axes.set_ylabel("concealed %")
    for axes in grid[-1]:
        axes.set_xlabel("mean playout delay, ms")
    handles: dict[str, object] = {}
    for axes in grid.flat:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True) if label not in handles}
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=len(handles), frameon=False)  # type: ignore[arg-type]
    return figure


def _curve(
    axes: Axes, case: Case, curve: list[tuple[float, float]], played: Mapping[str, Played], bounds: Mapping[int, Mapping[str, Bound]]
) -> None:
    for name in ("schedule oracle", "schedule oracle, 10 % stretch"):
        points = sorted((found[name].delay_ms, found[name].concealed_pct) for found in bounds.values())
        axes.plot(*zip(*points, strict=True), ".--", color=COLOURS[name], markersize=4, linewidth=1.2, label=name, zorder=2)
    axes.plot(
        *zip(*curve, strict=True),
        "o-",
        color=COLOURS["rtmedia"],
        markersize=3,
        linewidth=1.4,
        label="rtmedia, price 300 to 300 000",
        zorder=4,
    )
    default = played["rtmedia"]
    axes.plot(
        default.delay_ms,
        default.concealed_pct,
        "o",
        color=COLOURS["rtmedia"],
        markersize=8,
        mfc="none",
        mew=1.6,
        label="at the default price",
        zorder=5,
    )
    for name, marker in MARKERS.items():
        if name in played:
            size = 13 if marker == "*" else 6
            axes.plot(
                played[name].delay_ms,
                played[name].concealed_pct,
                marker,
                color=COLOURS[name],
                markersize=size,
                label=name,
                zorder=6,
                linestyle="none",
            )
    axes.set_title(f"{case.name}{' (held out)' if case.part == HELD_OUT else ''}", fontsize=9)
    # Logarithmic, but with a place for 0: a hundredth of a percent is one tick in 100 s.
    axes.set_yscale("symlog", linthresh=0.05, linscale=0.6)
    everything = [pct for _, pct in curve] + [one.concealed_pct for one in played.values()]
    top = max(0.1, *everything)
    axes.set_ylim(-0.01, top * 1.6)
    ticks = [tick for tick in (0.0, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0) if tick <= top * 1.6]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(left=0)


def _costs(on_record: Found) -> plt.Figure:
    # Dots and not bars: a bar on a logarithmic axis has no honest length.
    names = ["schedule oracle, 10 % stretch", "schedule oracle", "fixed 200 ms", "aiortc", "NetEQ (recorded)", "rtmedia"]
    cases = sorted(on_record, key=lambda case: on_record[case]["rtmedia"].cost_ms())
    figure, axes = plt.subplots(figsize=(8.5, 0.32 * len(cases) + 1.4), layout="constrained")
    for name in names:
        found = [(on_record[case][name].cost_ms(), at) for at, case in enumerate(cases) if name in on_record[case]]
        found = [(max(1.0, cost), at) for cost, at in found]  # 0 has no place on this axis
        oracle = name.startswith("schedule")
        marker = MARKERS.get(name, "|" if oracle else "o")
        size = {"|": 12, "*": 11}.get(marker, 7)
        if found:
            axes.plot(*zip(*found, strict=True), marker, color=COLOURS[name], markersize=size, mew=2.5 if oracle else 0.5, label=name)
    axes.set_yticks(range(len(cases)), [f"{case.name}{' (held out)' if case.part == HELD_OUT else ''}" for case in cases])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("J = mean delay + 10 000 ms × concealed share, in ms (logarithmic; left is better)")
    axes.set_ylim(-0.7, len(cases) - 0.3)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def _seeds(on_record: Found, on_models: Found) -> plt.Figure:
    bound = "schedule oracle"
    names = list(dict.fromkeys(case.name for case in on_models))
    figure, axes = plt.subplots(figsize=(8.5, 0.34 * len(names) + 1.4), layout="constrained")
    recorded = {case.name: played for case, played in on_record.items()}
    labelled: set[str] = set()

    def put(x: float, y: float, label: str, **how: object) -> None:
        axes.plot(x, y, linestyle="none", label=None if label in labelled else label, **how)  # type: ignore[arg-type]
        labelled.add(label)

    for place, name in enumerate(reversed(names)):
        for case, played in on_models.items():
            if case.name == name and bound in played:
                held = case.part == HELD_OUT
                put(
                    played["rtmedia"].cost_ms() / max(1.0, played[bound].cost_ms()),
                    place + (-0.15 if held else 0.15),
                    "held-out seeds" if held else "tuning seeds",
                    marker="o",
                    color=COLOURS["rtmedia"] if held else "#999999",
                    markersize=5,
                )
        if name in recorded and bound in recorded[name]:
            oracle_ms = max(1.0, recorded[name][bound].cost_ms())
            put(
                recorded[name]["rtmedia"].cost_ms() / oracle_ms,
                place,
                "recorded trace of the model",
                marker="D",
                color="#000000",
                markersize=6,
                mfc="none",
            )
            if "NetEQ (recorded)" in recorded[name]:
                put(
                    recorded[name]["NetEQ (recorded)"].cost_ms() / oracle_ms, place, "NetEQ on the recorded trace",
                    marker="*", color=COLOURS["NetEQ (recorded)"], markersize=11,
                )  # fmt: skip
    axes.axvline(1.0, color=COLOURS["schedule oracle"], linewidth=1.2, linestyle="--")
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    axes.set_xticks(
        [tick for tick in (0.5, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0) if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    )
    axes.set_xlabel("J over that of the schedule oracle without stretching (logarithmic; left is better)")
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return figure
