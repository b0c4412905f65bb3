"""A capture as read: checked, so that nothing in it can lead compiled code astray."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.capture.settings import layout_of
from rtmedia.errors import ConfigError
from rtmedia.io.capture import CaptureContents, read_capture
from rtmedia.rooms.recorder import TABLES
from rtmedia.rooms.render import MAX_EFFECTS, MOST_BLOCKS, SWITCH_PLACE
from rtmedia.rt.plugin import MAX_WISHES
from rtmedia.units import NS_PER_S

_MOST_CALL = 1 << 20  # frames that a device asks for at once
_MOST_OCTETS = 1 << 24  # of a message
_MOST_FRAMES = 1 << 31  # of a session: twelve hours at 48 kHz
_LONGEST_NS = 30 * 86_400 * NS_PER_S


@dataclass(frozen=True, eq=False)
class Session:
    """A capture, checked: nothing in it can lead compiled code astray.

    Attributes
    ----------
    settings : dict
        `rtmedia.capture.settings_of` the captured engine.
    wire, changes, marks, steps, ticks : record arrays
        `rtmedia.rooms.doorways`. `ticks` is empty where another version of rtmedia recorded other fields.
    payloads : uint8 array
    times : int64 array
        When each message was decoded; its arrival where that is not known.
    transcripts : list of dict
    end : dict
        What the last chunk says; empty where the session did not end in order.
    cut : str
        What is missing, in words.
    """

    settings: dict[str, Any]
    wire: npt.NDArray[Any]
    payloads: npt.NDArray[np.uint8]
    times: npt.NDArray[np.int64]
    changes: npt.NDArray[Any]
    marks: npt.NDArray[Any]
    steps: npt.NDArray[Any]
    ticks: npt.NDArray[Any]
    transcripts: list[dict[str, Any]]
    end: dict[str, Any] = field(default_factory=dict)
    cut: str = ""


def read_session(path: str | Path) -> Session:
    """Read a capture and check every number that compiled code will rely on.

    Raises
    ------
    ConfigError
        The file is no capture, was written by another version, or holds what no session leaves behind.
    """
    contents = read_capture(path)
    name = f"capture {path}"
    settings = contents.header.get("settings")
    if not isinstance(settings, dict):
        raise ConfigError(f"{name} does not say how it was made; it cannot be replayed")
    tables = {table: _table(contents, table, name) for table in TABLES}
    payloads = np.frombuffer(contents.tables["payloads"], np.uint8)
    wire = tables["wire"]
    _check(wire, name, "wire", "length", 0, _MOST_OCTETS)
    _check(wire, name, "wire", "seq", 0, 2**32 - 1)
    wire = wire[: int(np.searchsorted(np.cumsum(wire["length"]), len(payloads), "right"))]  # the others' octets were cut off
    times = wire["arrival_ns"].copy()
    decoded = tables["decoded"]
    decoded = decoded[(decoded["number"] >= 0) & (decoded["number"] < len(wire))]
    times[decoded["number"]] = decoded["time_ns"]
    changes, marks, steps = tables["changes"], tables["marks"], tables["steps"]
    _check(changes, name, "changes", "place", 0, SWITCH_PLACE + MAX_EFFECTS - 1)
    _check(changes, name, "changes", "count", 0, MAX_WISHES)
    _check(marks, name, "marks", "asked", 0, _MOST_CALL)
    _check(marks, name, "marks", "frames", 0, _MOST_CALL)
    _check(marks, name, "marks", "sink_pos", 0, 2**48)
    _check(steps, name, "steps", "tries", 0, 100_000)
    _check(steps, name, "steps", "blocks", 0, MOST_BLOCKS)
    _check(steps, name, "steps", "changes", 0, 256)
    for column, limit in (("sink_pos", 2**48), ("largest", _MOST_CALL), ("underruns", 2**48)):
        _check(steps, name, "steps", column, 0, limit)
    if int(marks["asked"].sum()) > _MOST_FRAMES:
        raise ConfigError(f"{name} holds {int(marks['asked'].sum())} frames of sound; at most {_MOST_FRAMES} can be replayed")
    began_ns = int(steps["time_ns"][0]) if len(steps) else 0
    _check(steps, name, "steps", "time_ns", max(0, began_ns), min(began_ns + _LONGEST_NS, 2**62))
    for records, table, column in ((steps, "steps", "device_ns"), (wire, "wire", "arrival_ns"), (marks, "marks", "time_ns")):
        _check(records, name, table, column, 0, began_ns + _LONGEST_NS)
    cut = contents.cut
    whole = int(np.argmax(np.append(steps["number"] != np.arange(len(steps)), True)))
    if whole < len(steps):
        cut, steps = f"step {whole} found no room in its ring", steps[:whole]
    used = int(np.searchsorted(np.cumsum(steps["changes"]), len(changes), "right"))
    if used < len(steps):
        cut, steps = cut or "a change of settings is missing", steps[:used]
    if contents.end is None and not cut:
        cut = "the session did not end in order"
    transcripts = _transcripts(contents.tables["transcripts"], name)
    return Session(
        settings, wire, payloads, times, changes, marks, steps, tables["ticks"], transcripts, contents.end or {}, cut or _problem(contents)
    )


def _problem(contents: CaptureContents) -> str:
    return str((contents.end or {}).get("problem", ""))


def _table(contents: CaptureContents, table: str, name: str) -> npt.NDArray[Any]:
    dtype = TABLES[table]
    layouts = contents.header.get("tables")
    if not isinstance(layouts, dict) or layouts.get(table) != layout_of(dtype):
        if table == "ticks":  # only compared, never used
            return np.zeros(0, dtype)
        raise ConfigError(f"{name} was written by another version of rtmedia: its table of {table} has other columns; replay it there")
    octets = contents.tables[table]
    return np.frombuffer(octets[: len(octets) // dtype.itemsize * dtype.itemsize], dtype).copy()


def _check(records: npt.NDArray[Any], name: str, table: str, column: str, low: int, high: int) -> None:
    wrong = np.flatnonzero((records[column] < low) | (records[column] > high))
    if len(wrong):
        row = int(wrong[0])
        raise ConfigError(f"{name}: {column} is {records[column][row]} in row {row} of {table}; it must lie between {low} and {high}")


def _transcripts(octets: bytes, name: str) -> list[dict[str, Any]]:
    try:
        return [_transcript(json.loads(line)) for line in octets.splitlines()]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise ConfigError(f"{name} holds a damaged transcript; it cannot be used") from None


def _transcript(said: Any) -> dict[str, Any]:
    return {
        "text": str(said["text"]),
        "confidence": float(said["confidence"]),
        "timestamp_ms": int(said["timestamp_ms"]),
        "epoch": int(said["epoch"]),
        "arrival_ns": int(said["arrival_ns"]),
        "speaker": str(said["speaker"]),
    }
