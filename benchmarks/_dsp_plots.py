"""Pictures of `dsp_quality.py`'s tables: gain by noise, and quality against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Table = Sequence[Mapping[str, Any]]
#: One colour for each peer, the same in all pictures; ours stand out.
_COLOURS = ("#c0392b", "#e59866", "#2c3e50", "#5d8aa8", "#7fb069", "#b5a642", "#a9a9a9")


def plot(folder: Path, tables: Mapping[str, Table]) -> list[Path]:
    """For each set of clips: bars by noise, and quality against time. Needs matplotlib."""
    made = []
    for name, table in tables.items():
        subject, _, what = name.partition(": ")
        words = "-".join(subject.replace(",", "").replace("'", "").split())
        file = folder / f"dsp_quality-{words}-{'time' if what.startswith('gain') else 'noise'}.png"
        if what == "dOVRL by noise":
            _bars(file, f"DNSMOS overall gained over the noisy input: {subject}", table)
        elif what.startswith("gain over"):
            if not _against_time(file, f"Quality against time: {subject}", table):
                continue
        else:
            continue
        made.append(file)
    return made


def _bars(file: Path, title: str, table: Table) -> None:
    from matplotlib.figure import Figure

    first, *peers = table[0]
    figure = Figure(figsize=(max(7.0, 1.0 + 1.15 * len(table)), 4.2), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(table))
    width = 0.84 / len(peers)
    for i, peer in enumerate(peers):
        heights = [row[peer] if row[peer] != "" else 0.0 for row in table]
        axes.bar(places + (i - (len(peers) - 1) / 2) * width, heights, width, label=peer, color=_COLOURS[i % len(_COLOURS)])
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_xticks(places, [str(row[first]) for row in table])
    axes.set_ylabel("ΔOVRL")
    axes.set_title(title)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.savefig(file, dpi=130)


def _against_time(file: Path, title: str, table: Table) -> bool:
    """Those that work frame by frame; False where there is nothing to draw."""
    from matplotlib.figure import Figure

    shown = [(i, row) for i, row in enumerate(table) if row["time ratio"] != "" and row["dOVRL"] != ""]
    if not shown:
        return False
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for i, row in shown:
        label = f"{row['peer']} ({row['delay ms']:g} ms late)"
        axes.scatter(row["time ratio"], row["dOVRL"], s=70, color=_COLOURS[i % len(_COLOURS)], zorder=3, label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.25, y=0.15)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set_xlabel("time of 10 ms, WebRTC's = 1, called frame by frame from Python (logarithmic)")
    axes.set_ylabel("ΔOVRL over the noisy input")
    axes.set_title(title)
    axes.legend(loc="lower right", fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=130)
    return True
