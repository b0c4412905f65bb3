"""A recording before and after: two spectrograms on one scale, and the course of the loudness under them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.cli.hearing import HOP_S, Heard, Hearing, Spectrogram
from rtmedia.cli.plots import BLUE, INK, ORANGE, SOFT, STYLE, new_figure, save
from rtmedia.cli.terminal import clock

RANGE_DB = 75.0  # from the loudest cells down: what lies under it is black
_ROWS = 320
_TICKS_HZ = (100, 300, 1_000, 2_000, 4_000, 8_000, 16_000)
_LEAST_LUFS = -70.0
_MOST_POINTS, _COLUMNS = 1_500, 240  # of a curve: beyond, it is drawn in columns
#: Steps of the time axis, s.
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600)
_BEFORE, _AFTER = ORANGE, BLUE


def plot_before_after(path: Path, title: str, subtitle: str, seconds: float, before: Hearing, after: Hearing) -> None:
    """Draw it."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = new_figure(12.5, 8.6, w_pad=0.1, h_pad=0.06, hspace=0.0, wspace=0.02)
        grid = figure.add_gridspec(3, 2, height_ratios=(3, 3, 2.1), width_ratios=(90, 1))
        upper = figure.add_subplot(grid[0, 0])
        middle, lower = (figure.add_subplot(grid[row, 0], sharex=upper) for row in (1, 2))
        for axes in (upper, middle):
            axes.tick_params(labelbottom=False)
        upper.set_title(title, loc="left", fontsize=15, fontweight="bold", color=INK, pad=26)
        upper.annotate(subtitle, (0, 1), (0, 9), xycoords="axes fraction", textcoords="offset points", fontsize=9.5, color=SOFT)
        levels = [_spectrum(hearing) for hearing in (before, after)]
        top_db = 5.0 * np.ceil(max(np.percentile(found, 99.8) for found in levels) / 5.0)
        for axes, found, hearing, name in ((upper, levels[0], before, "before"), (middle, levels[1], after, "after")):
            image = _draw_spectrogram(axes, found, hearing, top_db)
            axes.text(
                0.008, 0.95, name, transform=axes.transAxes, va="top", color="white", fontsize=11, fontweight="bold",
                bbox={"facecolor": "black", "alpha": 0.45, "edgecolor": "none", "boxstyle": "round,pad=0.3"},
            )  # fmt: skip
        bar = figure.colorbar(image, cax=figure.add_subplot(grid[:2, 1]))
        bar.set_label("level of a sine, dB of full scale")
        bar.outline.set_visible(False)
        _draw_loudness(lower, seconds, before, after)
        lower.set_xlim(0.0, seconds)
        step_s = next((step for step in _STEPS_S if seconds / step <= 12), 3_600.0 * np.ceil(seconds / 12 / 3_600))
        if seconds >= 5:
            lower.xaxis.set_major_locator(matplotlib.ticker.MultipleLocator(step_s))
        lower.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(_clock if seconds >= 120 else _seconds))
        lower.set_xlabel("time, s" if seconds < 120 else "time, min:s" if seconds < 3_600 else "time, h:min:s", loc="right")
        save(figure, path)


def _spectrum(hearing: Hearing) -> npt.NDArray[np.float64]:
    assert hearing.spectrogram is not None
    return hearing.spectrogram.levels_db()


def _mel(frequency_hz: Any) -> Any:
    """O'Shaughnessy (1987): equal steps are about equal steps to the ear. A voice then fills the picture at 48 kHz too."""
    return 2595.0 * np.log10(1.0 + np.asarray(frequency_hz) / 700.0)


def _draw_spectrogram(axes: Any, levels_db: npt.NDArray[np.float64], hearing: Hearing, top_db: float) -> Any:
    spectrogram: Spectrogram = hearing.spectrogram  # type: ignore[assignment]
    top_hz = spectrogram.rate_hz / 2.0
    top_mel = float(_mel(top_hz))
    rows_hz = 700.0 * (10.0 ** ((np.arange(_ROWS) + 0.5) / _ROWS * top_mel / 2595.0) - 1.0)
    bins_hz = np.linspace(0.0, top_hz, levels_db.shape[1])
    picture = np.stack([np.interp(rows_hz, bins_hz, column) for column in levels_db], axis=1)
    image = axes.imshow(
        picture,
        origin="lower",
        aspect="auto",
        extent=(0.0, len(levels_db) * spectrogram.column_s, 0.0, top_mel),
        cmap="magma",
        vmin=top_db - RANGE_DB,
        vmax=top_db,
        interpolation="nearest",
    )
    ticks = [hz for hz in _TICKS_HZ if hz < 0.95 * top_hz]
    axes.set_yticks(_mel(ticks), [f"{hz} Hz" if hz < 1_000 else f"{hz / 1000:g} kHz" for hz in ticks])
    axes.grid(False)
    axes.tick_params(axis="x", length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return image


def _draw_loudness(axes: Any, seconds: float, before: Hearing, after: Hearing) -> None:
    sides = ((before, before.found(), _BEFORE, "before"), (after, after.found(), _AFTER, "after"))
    shown: list[tuple[Heard, str, str]] = []
    dense = len(before.momentary_lufs) > _MOST_POINTS
    heard: list[npt.NDArray[np.float64]] = []
    for hearing, found, colour, name in sides:
        curve = np.array(hearing.momentary_lufs)
        curve = np.where(curve < _LEAST_LUFS, np.nan, curve)
        # Each value is about the 400 ms before it: drawn in their middle.
        time_s = (np.arange(len(curve)) + 1) * HOP_S - 0.2
        if dense:
            _draw_dense(axes, time_s, curve, colour)
        else:
            axes.plot(time_s, curve, color=colour, linewidth=1.1, alpha=0.9)
        heard.append(curve[np.isfinite(curve)])
        shown.append((found, colour, name))
    all_heard = np.concatenate(heard)
    integrated = [found.loudness_lufs for found, _, _ in shown if found.loudness_lufs is not None]
    top = float(max([*all_heard, *integrated], default=-20.0)) + 3.0
    low = max(float(np.percentile(all_heard, 2)) - 3.0 if len(all_heard) else -60.0, _LEAST_LUFS)
    low = min(low, top - 20.0)
    axes.set_ylim(low, top)
    axes.set_ylabel("loudness, LUFS")
    axes.yaxis.set_label_coords(-0.052, 0.5)
    _name_the_lines(axes, shown, (low, top))
    axes.annotate(
        f"momentary{', median and middle 80 %' if dense else ''}; dashed: integrated over all of it",
        (0.0, 1.0),
        (4, -4),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=8.5,
        color=SOFT,
        bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0.0, "pad": 1.5},
    )


def _draw_dense(axes: Any, time_s: npt.NDArray[Any], curve: npt.NDArray[Any], colour: str) -> None:
    """More values than the picture can tell apart: what lies between most of them."""
    each = -(-len(curve) // _COLUMNS)
    whole = len(curve) // each
    rows = np.sort(np.nan_to_num(curve[: whole * each], nan=_LEAST_LUFS).reshape(whole, each), axis=1)
    at_s = time_s[: whole * each].reshape(whole, each).mean(axis=1)
    axes.fill_between(at_s, rows[:, each // 10], rows[:, -1 - each // 10], color=colour, alpha=0.28, linewidth=0)
    axes.plot(at_s, rows[:, each // 2], color=colour, linewidth=1.2)


def _name_the_lines(axes: Any, shown: list[tuple[Heard, str, str]], limits: tuple[float, float]) -> None:
    """The integrated loudness of each side as a line, named at its right end; two names never lie over each other."""
    known = sorted((found.loudness_lufs, name, colour) for found, colour, name in shown if found.loudness_lufs is not None)
    apart = 0.19 * (limits[1] - limits[0])  # of two names with two lines of text each
    places = [float(level) for level, _, _ in known]
    if len(places) == 2 and places[1] - places[0] < apart:
        middle = (places[0] + places[1]) / 2.0
        places = [middle - apart / 2.0, middle + apart / 2.0]
    for (level, name, colour), place in zip(known, places, strict=True):
        axes.axhline(level, color=colour, linewidth=1.4, linestyle=(0, (5, 3)), zorder=3)
        axes.annotate(
            f"{name}\n{level:.1f}".replace("-", "−"),
            (1.0, level),
            (1.012, (place - limits[0]) / (limits[1] - limits[0])),
            xycoords=("axes fraction", "data"),
            textcoords="axes fraction",
            va="center",
            color=colour,
            fontsize=9.5,
            fontweight="bold",
            annotation_clip=False,
        ).set_in_layout(False)  # there is room under the scale of the colours


def _clock(seconds: float, _: object = None) -> str:
    return clock(seconds)


def _seconds(seconds: float, _: object = None) -> str:
    return f"{seconds:g}"
