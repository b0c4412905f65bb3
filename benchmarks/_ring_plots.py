"""Picture of `ring.py`'s tables: what one hand-over costs, peer beside peer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from _bench import Row


def plot(folder: Path, rows: Sequence[Row]) -> Path:
    """Bars of the medians with their p99, one panel a comparison. Needs matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("drawing needs matplotlib: pip install rtmedia[bench]") from None
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    panels: dict[str, list[Row]] = {}
    for row in rows:
        panels.setdefault(row.comparison, []).append(row)
    figure = Figure(figsize=(9.0, sum(0.7 + 0.32 * len(panel) for panel in panels.values())), layout="constrained")
    heights = [len(panel) + 1.5 for panel in panels.values()]
    for axes, (title, panel) in zip(figure.subplots(len(panels), height_ratios=heights, squeeze=False)[:, 0], panels.items(), strict=True):
        names = [row.peer for row in panel]
        ours = [
            "#c0392b" if "ring_" in name or "Ring." in name or name.startswith(("ring", "claim", "two rings")) else "#5d8aa8"
            for name in names
        ]
        axes.barh(names, [row.p50_ns for row in panel], color=ours)
        axes.plot([row.p99_ns for row in panel], names, "k|", markersize=9)
        axes.set_xscale("log")
        axes.invert_yaxis()
        axes.set_title(title, fontsize=10, loc="left")
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8)
    axes.set_xlabel("ns for one write and one read (bar: median, mark: p99)")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "ring.png"
    figure.savefig(file, dpi=130)
    return file
