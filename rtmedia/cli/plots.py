"""One run as a picture: when the packets came, when they were played, and what was done in between.

Everything is drawn above one zero, the fastest packet of the stream. A dot under the line was in time; a dot above
it was not there when its turn came. Matplotlib is used without pyplot: no window, no state that others could see.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.cli.figures import above_pct, duration, number
from rtmedia.cli.files import replacing
from rtmedia.sim.oracle import lateness_ms, media_place_ms
from rtmedia.sim.trace import Trace

# Okabe and Ito (2008): told apart by the colour-blind too.
INK, SOFT, RULE = "#1d2733", "#66717e", "#e3e7ec"
BLUE, SKY, GREEN, ORANGE, RED, PURPLE = "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7"

#: The rows under the picture, from above: title, then (operations, colour, name) of what may stand in it.
LANES: tuple[tuple[str, tuple[tuple[tuple[str, ...], str, str], ...]], ...] = (
    ("concealing", ((("hold",), RED, "hold, waiting"), (("advance",), ORANGE, "advance, lost"))),
    ("slower", ((("decelerate",), SKY, "decelerate"), (("drain",), PURPLE, "drain"))),
    ("faster", ((("accelerate",), GREEN, "accelerate"),)),
    ("pause", ((("pause",), SOFT, "pause"),)),
)

STYLE: Any = {  # matplotlib's own names
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "svg.hashsalt": "rtmedia",  # equal pictures are equal files
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


def new_figure(width: float, height: float, **pads: Any) -> Any:
    """A figure of so many inches that belongs to nobody else; `pads` as for matplotlib's constrained layout."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(**pads))


def save(figure: Any, path: Path) -> None:
    """Write a figure whole or not at all, without the time of day in it."""
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)


def spans(time_ms: npt.NDArray[Any], marked: npt.NDArray[Any], tick_ms: float) -> list[tuple[float, float]]:
    """Begin and length, in seconds, of each stretch of ticks that are marked."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], marked, [False])).astype(np.int8)))
    return [
        (float(time_ms[first]) / 1000.0, float(time_ms[last - 1] - time_ms[first] + tick_ms) / 1000.0)
        for first, last in edges.reshape(-1, 2)
    ]


def headline(report: Mapping[str, Any]) -> str:
    """A run's figures in a line."""
    parts = [
        f"mean {report['mean_delay_ms']:.0f} ms",
        f"95 % {report['p95_delay_ms']:.0f} ms",
        f"concealed {report['concealed_pct']:.2f} %",
    ]
    if report["lost_pct"]:
        parts.append(f"lost {report['lost_pct']:.2f} %")
    if report["longest_stop_ms"]:
        parts.append(f"longest stop {duration(report['longest_stop_ms'])}")
    parts.append(f"J {number(report['cost_j'])} ms at the price {number(report['price_ms'])}")
    best = report.get("oracle_schedule_j")
    gap = above_pct(report["cost_j"], best)
    if best is not None and gap is not None:
        parts.append(f"{gap:+.0f} % against the best schedule")
    return "   ·   ".join(parts)


def plot_run(path: Path, report: Mapping[str, Any], ticks: Mapping[str, npt.NDArray[Any]], arrivals: Trace) -> None:
    """Draw one run.

    Parameters
    ----------
    ticks
        `rtmedia.cli.ticklog.columns`.
    arrivals
        Of every packet sent, in ms from the stream's beginning.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = new_figure(12.5, 6.6, w_pad=0.14, h_pad=0.08, hspace=0.0)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(5.2, 1))
        upper.set_title(str(report["run"]), loc="left", fontsize=15, fontweight="bold", color=INK, pad=46)
        upper.text(0.0, 1.0, headline(report), transform=_above(upper, 30), fontsize=9.5, color=SOFT)
        _draw_delays(upper, report, ticks, arrivals)
        _draw_operations(lower, ticks)
        seconds = max(float(ticks["time_ms"][-1]), float(np.nanmax(arrivals.arrival_ms))) / 1000.0
        lower.set_xlim(0.0, seconds)
        lower.set_xlabel("seconds since the stream began", loc="right")
        save(figure, path)


def _above(axes: Any, points: float) -> Any:
    """Where (0, 1) is so many points above the upper left corner."""
    from matplotlib.transforms import ScaledTranslation

    return axes.transAxes + ScaledTranslation(0.0, points / 72.0, axes.figure.dpi_scale_trans)


def _draw_delays(axes: Any, report: Mapping[str, Any], ticks: Mapping[str, npt.NDArray[Any]], arrivals: Trace) -> None:
    time_ms, playout_ms = ticks["time_ms"], ticks["playout_ms"]
    tick_ms = float(np.median(np.diff(time_ms))) if len(time_ms) > 1 else 10.0
    seconds = time_ms / 1000.0
    # The buffer counts from the fastest packet of the last two seconds; we from the fastest of all.
    base_ms = playout_ms - ticks["delay_ms"]
    came = np.isfinite(arrivals.arrival_ms)
    transit_ms = lateness_ms(arrivals)
    top_ms = _top(playout_ms, ticks["control_ms"] + base_ms, transit_ms[came])
    for operation, colour in (("hold", RED), ("advance", ORANGE)):
        for begin_s, length_s in spans(time_ms, ticks["op"] == operation, tick_ms):
            axes.axvspan(begin_s, begin_s + length_s, color=colour, alpha=0.14, linewidth=0.6, zorder=0.5)
    shown = came & (transit_ms <= top_ms)
    size = float(np.clip(24_000.0 / max(1, int(came.sum())), 1.5, 9.0))
    axes.scatter(
        arrivals.arrival_ms[shown] / 1000.0,
        transit_ms[shown],
        s=size,
        color=SOFT,
        alpha=0.55,
        linewidths=0,
        label="packet came",
        rasterized=len(came) > 20_000,
        zorder=2,
    )
    beyond = came & (transit_ms > top_ms)
    if beyond.any():
        label = f"{number(int(beyond.sum()))} came later, up to {duration(float(transit_ms[beyond].max()))}"
        # Clear of the frame, or half of each mark is cut off.
        axes.scatter(
            arrivals.arrival_ms[beyond] / 1000.0,
            np.full(int(beyond.sum()), top_ms * 0.985),
            s=16,
            marker="^",
            color=RED,
            linewidths=0,
            label=label,
        )
    if (~came).any():
        axes.scatter(
            (media_place_ms(arrivals)[~came] + report["fastest_ms"]) / 1000.0,
            np.full(int((~came).sum()), -0.022 * top_ms),
            s=15,
            marker="x",
            color=ORANGE,
            linewidths=0.9,
            label=f"packet lost ({number(int((~came).sum()))})",
        )
    axes.plot(seconds, ticks["target_ms"] + base_ms, color=GREEN, linewidth=1.0, linestyle=(0, (4, 2)), label="target", zorder=3)
    axes.plot(seconds, ticks["control_ms"] + base_ms, color=PURPLE, linewidth=1.0, label="control", zorder=3.5)
    axes.plot(seconds, playout_ms, color=BLUE, linewidth=1.9, label="playout", zorder=4)
    axes.axhline(report["mean_delay_ms"], color=BLUE, linewidth=0.8, linestyle=(0, (1, 3)), label="its mean", zorder=1)
    axes.set_ylim(-0.05 * top_ms, top_ms)
    axes.set_ylabel("delay above the fastest packet (ms)")
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.008, 1.005), ncols=7, borderaxespad=0.1, handlelength=1.5, columnspacing=1.5, markerscale=1.8
    )


def _top(playout_ms: npt.NDArray[Any], control_ms: npt.NDArray[Any], transit_ms: npt.NDArray[Any]) -> float:
    """How far up to draw: all that matters, but no outage of a minute that would press the rest to the floor."""
    played = playout_ms[np.isfinite(playout_ms)]
    usual = float(np.percentile(played, 95.0)) if len(played) else 0.0
    wanted = max(
        float(np.nanmax(control_ms)) if np.isfinite(control_ms).any() else 0.0,
        float(played.max()) if len(played) else 0.0,
        float(np.percentile(transit_ms, 99.5)),
    )
    return max(40.0, 1.06 * min(wanted, max(4.0 * usual, 1_000.0)))


def _draw_operations(axes: Any, ticks: Mapping[str, npt.NDArray[Any]]) -> None:
    from matplotlib.patches import Patch

    time_ms = ticks["time_ms"]
    tick_ms = float(np.median(np.diff(time_ms))) if len(time_ms) > 1 else 10.0
    patches: list[Any] = []
    names: list[str] = []
    lanes = [lane for lane in LANES if lane[0] != "pause" or np.isin(ticks["op"], ("pause",)).any()]
    for row, (title, kinds) in enumerate(reversed(lanes)):
        names.append(title)
        for operations, colour, label in kinds:
            found = spans(time_ms, np.isin(ticks["op"], operations), tick_ms)
            # An edge as wide as a hair: 10 ms of two minutes would be thinner than any pixel.
            axes.broken_barh(found, (row - 0.36, 0.72), facecolors=colour, edgecolors=colour, linewidth=0.7)
            if found:
                patches.append(Patch(color=colour, label=f"{label} ({duration(sum(length_s for _, length_s in found) * 1000.0)})"))
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_ylim(-0.6, len(names) - 0.4)
    if patches:
        axes.legend(
            handles=patches,
            loc="upper left",
            bbox_to_anchor=(-0.008, -0.34),
            ncols=6,
            borderaxespad=0.0,
            handlelength=0.9,
            columnspacing=1.5,
        )
