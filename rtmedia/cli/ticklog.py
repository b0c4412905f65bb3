"""What the jitter buffer did at each tick of a simulation or a replay, as a table in a file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.cli.files import replacing
from rtmedia.jitter.state import OP_NAMES
from rtmedia.simulation import EPOCH_NS, SimulationReport
from rtmedia.units import NS_PER_MS


def columns(result: SimulationReport, rate_hz: int) -> dict[str, npt.NDArray[Any]]:
    """One array for each column, one row a tick.

    Parameters
    ----------
    rate_hz
        Of the stream: what media positions are counted at.

    Returns
    -------
    dict
        ``time_ms`` since the stream began; ``media_ms`` of the frame that the tick's block begins with; ``op``, the
        operation's name; ``playout_ms``, the delay above the fastest packet of the whole stream, which the report's
        means are of (NaN while nothing plays, and a sender's pauses take their time); then the buffer's own figures,
        relative to the fastest packet of the last two seconds: ``delay_ms``, ``control_ms`` it steers for, ``target_ms``
        that would have been cheapest so far, ``spike_ms`` that the last spike still asks for, ``relative_ms`` of the
        newest packet; ``buffered_ms``; ``concealed_frames`` in the block.
    """
    ticks = result.ticks
    place = _place(ticks, rate_hz, EPOCH_NS)
    return place | {"playout_ms": result.playout_ms} | _figures(ticks)


def session_columns(result: SimulationReport, rate_hz: int) -> dict[str, npt.NDArray[Any]]:
    """`columns` of a replayed session: time counts from its first tick.

    Without ``playout_ms``, because a session may have many connections, each with a clock and a fastest packet of its
    own; with ``resample_ratio``, frames given to the device as a share of what the rates say.
    """
    ticks = result.ticks
    start_ns = int(ticks["time_ns"][0]) if len(ticks) else 0
    return _place(ticks, rate_hz, start_ns) | _figures(ticks) | {"resample_ratio": ticks["resample_ratio"]}


def _place(ticks: npt.NDArray[Any], rate_hz: int, start_ns: int) -> dict[str, npt.NDArray[Any]]:
    return {
        "time_ms": (ticks["time_ns"] - start_ns) / NS_PER_MS,
        "media_ms": ticks["media_pos"] * 1000.0 / rate_hz,
        "op": np.array(OP_NAMES)[ticks["op"]],
    }


def _figures(ticks: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    names = ("delay_ms", "control_ms", "target_ms", "spike_ms", "relative_ms", "buffered_ms")
    return {name: ticks[name] for name in names} | {"concealed_frames": ticks["concealed"]}


def write_ticks(path: Path, found: dict[str, npt.NDArray[Any]]) -> None:
    """Write `columns` as CSV, or where the name ends in ``.npz``, as an array for each column."""
    with replacing(path) as temporary:
        if path.suffix.lower() == ".npz":
            with temporary.open("wb") as file:  # a name would get a second suffix
                np.savez_compressed(file, **found)  # type: ignore[arg-type]
            return
        texts = [_texts(values, 6 if name.endswith("_ratio") else 3) for name, values in found.items()]
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(found)
            writer.writerows(zip(*texts, strict=True))


def _texts(values: npt.NDArray[Any], digits: int) -> list[str]:
    if values.dtype.kind != "f":
        return [str(value) for value in values.tolist()]
    return ["" if np.isnan(value) else f"{value:.{digits}f}" for value in values]
