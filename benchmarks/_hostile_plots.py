"""The picture of `hostile_host.py`: how long the sound was away, and its longest gap, by what the host did and who played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _plot import BLUE, COLOURS, STYLE, shown

_PANELS = (("silent_ms", "silence in what was heard, ms"), ("worst_gap_ms", "longest gap in what was heard, ms"))
_FLOOR_MS = 1.0  # from 0 to here the scale is even, above it logarithmic: 0 is what everybody wants to see


def draw(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """``hostile_host.png``; none where nothing was recorded."""
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure

    heard = [row for row in rows if row["silent_ms"] is not None]
    if not heard:
        return []
    conditions = list(dict.fromkeys(row["comparison"] for row in heard))
    peers = list(dict.fromkeys(row["peer"] for row in heard))
    colours = dict(zip(peers, [BLUE, *(colour for colour in COLOURS if colour != BLUE)] * 2, strict=False))
    height = 0.8 / len(peers)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(13.5, 1.6 + 0.24 * len(peers) * len(conditions)), layout="constrained")
        for axes, (key, title) in zip(figure.subplots(1, 2, sharey=True), _PANELS, strict=True):
            for place, peer in enumerate(peers):
                own = [_worst(heard, condition, peer, key) for condition in conditions]
                at = np.arange(len(conditions)) + (place - (len(peers) - 1) / 2) * height
                known = [(y, value) for y, value in zip(at, own, strict=True) if value is not None]
                axes.barh([y for y, _ in known], [value for _, value in known], height, color=colours[peer], label=peer)
                for y, value in known:
                    axes.annotate(shown(value), (value, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7)
            axes.set_xscale("symlog", linthresh=_FLOOR_MS, linscale=0.4)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.set_xlim(0, 4.0 * max(_FLOOR_MS, *(row[key] for row in heard)))
            axes.set_yticks(range(len(conditions)), conditions)
            axes.set_ylim(len(conditions) - 0.4, -0.6)
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
            axes.set_title(title)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(peers)))
        path = folder / "hostile_host.png"
        figure.savefig(path, dpi=110)
    return [path]


def _worst(rows: Sequence[Mapping[str, Any]], condition: str, peer: str, key: str) -> float | None:
    """Of all rounds."""
    found = [float(row[key]) for row in rows if row["comparison"] == condition and row["peer"] == peer]
    return max(found) if found else None
