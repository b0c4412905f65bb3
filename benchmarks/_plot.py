"""The picture of a benchmark that draws none of its own: a bar for each peer, a panel for each comparison.

Times are drawn as ratios to the comparison's baseline, because ratios are what can be compared; facts as they are, a panel for each
column of numbers. Where the values of a panel lie far apart its scale is logarithmic. Drawn from a result alone, so that
pictures can be made again from an old JSON file: ``python benchmarks/_plot.py ring.json FOLDER``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Okabe and Ito (2008): told apart by the colour-blind too.
INK, SOFT, RULE = "#1d2733", "#66717e", "#e3e7ec"
BLUE, SKY, GREEN, ORANGE, RED, PURPLE = "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7"
COLOURS = (BLUE, RED, ORANGE, GREEN, PURPLE, SKY, SOFT)
STYLE: Any = {
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": RULE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "xtick.color": SOFT,
    "ytick.color": INK,
}
#: Beyond this factor between its bars a panel is logarithmic.
FAR_APART = 20.0
_MOST_BARS, _MOST_PANELS, _COLUMNS = 24, 12, 2


@dataclass(frozen=True)
class Panel:
    """Bars of one kind: what they are of, their unit, and each with its name."""

    title: str
    unit: str
    bars: Sequence[tuple[str, float]]


def draw_rows(folder: Path, name: str, result: Mapping[str, Any]) -> list[Path]:
    """Draw a result's rows as ``NAME.png``, ``NAME-2.png``, …; none where no row holds a number."""
    found = list(panels(result.get("rows", ())))
    paths = []
    for start in range(0, len(found), _MOST_PANELS):
        path = folder / f"{name}{'' if start == 0 else f'-{start // _MOST_PANELS + 1}'}.png"
        draw_panels(path, str(result.get("question", "")), found[start : start + _MOST_PANELS])
        paths.append(path)
    return paths


def panels(rows: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    """What there is to draw: ratios where rows are times, otherwise each column of numbers."""
    tables: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        tables.setdefault(str(row.get("comparison", "")), []).append(row)
    for title, found in tables.items():
        if all("ratio" in row and "p50_ns" in row for row in found):
            if len(found) > 1:  # one bar of length 1 says nothing
                yield Panel(title, "times the baseline's median", [(str(row["peer"]), float(row["ratio"])) for row in found][:_MOST_BARS])
            continue
        keys = [key for row in found for key in row if key != "comparison"]
        for key in dict.fromkeys(keys):
            bars = [(_label(row), float(row[key])) for row in found if _is_number(row.get(key))]
            # The same everywhere is a setting or a constant: the tables have it.
            if 1 < len(bars) <= _MOST_BARS and len({value for _, value in bars}) > 1 and key != "round":
                yield Panel(title, key.replace("_", " "), bars)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _label(row: Mapping[str, Any]) -> str:
    words = [str(value) for key, value in row.items() if key != "comparison" and isinstance(value, str) and value]
    return ", ".join(words[:3]) or str(next((value for key, value in row.items() if key != "comparison"), ""))


def draw_panels(path: Path, question: str, found: Sequence[Panel]) -> None:
    """One picture of all of them, two beside each other, the question above."""
    import matplotlib
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(found))
    lines = [found[start : start + columns] for start in range(0, len(found), columns)]
    heights = [0.9 + 0.26 * max(len(panel.bars) for panel in line) for line in lines]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2 * columns, 0.5 + sum(heights)), layout="constrained")
        figure.suptitle(question, x=0.01, ha="left", fontsize=11)
        grid = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
        for place, panel in enumerate(found):
            line = lines[place // columns]
            draw_bars(grid.flat[place], panel, places=max(len(other.bars) for other in line))
        for axes in grid.flat[len(found) :]:
            axes.axis("off")
        figure.savefig(path, dpi=110)


def draw_bars(axes: Any, panel: Panel, places: int) -> None:
    """One panel with room for so many bars, from above to below, each with its value behind it."""
    names, values = [name for name, _ in panel.bars], [value for _, value in panel.bars]
    known = [value for value in values if value > 0]
    far = bool(known) and min(values) >= 0 and max(known) / min(known) > FAR_APART
    ours = [name.startswith("rtmedia") for name in names]
    # Where ours can be told by its name it stands out; otherwise all are ours, or none is.
    colours = [BLUE if our or not any(ours) else SOFT for our in ours]
    at = range(len(values))
    axes.barh(at, values, height=0.7, color=colours)
    if far:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        # A bar of 0 has no place on this scale: its number stands at the left end.
        axes.set_xlim(min(known) / 3.0, max(known) * 4.0)
    elif known:
        axes.set_xlim(min(0.0, *values), 1.15 * max(known))
    left, _ = axes.get_xlim()
    for place, value in zip(at, values, strict=True):
        axes.annotate(shown(value), (max(left, value), place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(at, [name if len(name) <= 56 else name[:55] + "…" for name in names])
    axes.set_ylim(places - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_title(panel.title if len(panel.title) <= 90 else panel.title[:89] + "…")
    axes.set_xlabel(f"{panel.unit}{' (logarithmic)' if far else ''}", loc="right")


def shown(value: float) -> str:
    """Three digits, and no exponent where there are more before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def main() -> None:
    """Draw a result that was kept: JSON FOLDER."""
    import matplotlib as mpl

    mpl.use("Agg")
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for path in draw_rows(folder, source.stem, json.loads(source.read_text("utf-8"))):
        print(path)


if __name__ == "__main__":
    main()
