"""Pictures of `cold_start.py`: each player's starts, and what ours is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_OURS, _OTHERS = "#c0392b", "#5d8aa8"


def draw(folder: Path, times_ms: Mapping[str, Sequence[float]], phases: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Two pictures in `folder`. Needs matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("drawing needs matplotlib: pip install rtmedia[bench]") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / "cold_start.png", folder / "cold_start-phases.png"]

    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.6 * len(times_ms)), layout="constrained")
    for place, (name, values) in enumerate(times_ms.items()):
        colour = _OURS if name.startswith("rtmedia") else _OTHERS
        axes.scatter(values, np.full(len(values), place), s=14, alpha=0.5, color=colour)
        axes.plot([np.median(values)] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=3)
    axes.set_yticks(range(len(times_ms)), list(times_ms))
    axes.invert_yaxis()
    axes.set(xlim=(0, None), xlabel="ms from the start of the process to the first sample at the device (bar: median)")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(made[0], dpi=120)
    pyplot.close(figure)

    figure, axes = pyplot.subplots(figsize=(8, 1.8), layout="constrained")
    at = 0.0
    for number, row in enumerate(phases):
        axes.barh([0], [row["p50_ms"]], left=at, color=pyplot.get_cmap("tab10")(number), label=f"{row['phase']} {row['p50_ms']:.0f}")
        at += float(row["p50_ms"])
    axes.set_yticks([])
    axes.set(xlabel="ms, medians of each phase")
    axes.legend(ncols=4, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    figure.savefig(made[1], dpi=120)
    pyplot.close(figure)
    return made
