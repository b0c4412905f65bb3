"""A captured session again: the same rooms, given what they once found, step by step.

A live session cannot be repeated by giving the same packets at the same times: when its threads ran and when the
device asked decided which packet came into which block. A capture holds all of that, so that a replay makes the same
decisions, tick by tick, and the same sound, to the bit. What it is for: hear a fault of last night at the desk, and see
what another version of the jitter buffer would have made of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.assembly import make_line
from rtmedia.capture import check_settings, config_of, layout_of
from rtmedia.config import Config
from rtmedia.errors import ConfigError
from rtmedia.events import Event
from rtmedia.io.capture import CaptureContents, read_capture
from rtmedia.jitter.state import ENDED, IDLE, WAIT
from rtmedia.ports import FLAG_END_OF_STREAM, Block
from rtmedia.rooms.control import Control
from rtmedia.rooms.line import Line
from rtmedia.rooms.recorder import TABLES
from rtmedia.rooms.render import GAIN_PLACE, LIMITER_PLACE, MOST_BLOCKS
from rtmedia.rooms.replay import Replay
from rtmedia.rt.plugin import MAX_WISHES

#: Steps between two looks of the control side.
POLL_STEPS = 64
_MOST_CALL = 1 << 20  # frames that a device asks for at once


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
    _check(wire, name, "wire", "length", 0, len(payloads))
    _check(wire, name, "wire", "seq", 0, 2**32 - 1)
    wire = wire[: int(np.searchsorted(np.cumsum(wire["length"]), len(payloads), "right"))]  # the others' octets were cut off
    times = wire["arrival_ns"].copy()
    decoded = tables["decoded"]
    decoded = decoded[(decoded["number"] >= 0) & (decoded["number"] < len(wire))]
    times[decoded["number"]] = decoded["time_ns"]
    changes, marks, steps = tables["changes"], tables["marks"], tables["steps"]
    _check(changes, name, "changes", "place", 0, LIMITER_PLACE)
    _check(changes, name, "changes", "count", 0, MAX_WISHES)
    _check(marks, name, "marks", "asked", 0, _MOST_CALL)
    _check(marks, name, "marks", "frames", 0, _MOST_CALL)
    _check(marks, name, "marks", "sink_pos", 0, 2**48)
    _check(steps, name, "steps", "tries", 0, len(wire) + 1_000_000)
    _check(steps, name, "steps", "blocks", 0, MOST_BLOCKS)
    _check(steps, name, "steps", "changes", 0, 256)
    for column, limit in (("sink_pos", 2**48), ("largest", _MOST_CALL), ("underruns", 2**48)):
        _check(steps, name, "steps", column, 0, limit)
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
    found = []
    for line in octets.splitlines():
        try:
            said = json.loads(line)
            found.append(
                {
                    "text": str(said["text"]),
                    "confidence": float(said["confidence"]),
                    "timestamp_ms": int(said["timestamp_ms"]),
                    "epoch": int(said["epoch"]),
                    "arrival_ns": int(said["arrival_ns"]),
                    "speaker": str(said["speaker"]),
                }
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise ConfigError(f"{name}: transcript {len(found)} is damaged; the capture cannot be used") from None
    return found


@dataclass(frozen=True, eq=False)
class Replayed:
    """What a replay found; see `rtmedia.simulation.SimulationReport` for the fields."""

    report: dict[str, Any]
    audio: Block
    rate_hz: int
    events: tuple[Event, ...]
    counted: dict[str, Any]
    ticks: npt.NDArray[Any]


def replay(path: str | Path, config: Config | None = None) -> Replayed:
    """Play a captured session again.

    Parameters
    ----------
    path
        Written by an engine with ``Config(capture=…)``.
    config
        Must describe the captured line; None takes the description from the capture.

    Raises
    ------
    ConfigError
        The file cannot be used, or a setting differs: its name is told.
    """
    session = read_session(path)
    if config is not None:
        check_settings(config, session.settings)
    config = config_of(session.settings) if config is None else config
    device_rate_hz = session.settings.get("device_rate_hz")
    line = make_line(config, config.device_rate_hz or int(device_rate_hz or config.rate_hz))
    wanted = session.changes["place"]
    if np.any((wanted >= len(line.effects)) & (wanted < GAIN_PLACE)):
        raise ConfigError(f"capture {path}: a change is for effect {int(wanted.max())}, but there are {len(line.effects)}; the file is damaged")
    control = Control(line)
    control.tell_the_end = not session.end.get("drained", False)
    found: list[npt.NDArray[Any]] = []
    control.keep_ticks = found
    quiet_ns = session.end.get("quiet_ns", 0)
    again = Replay(
        line,
        wire=session.wire,
        payloads=session.payloads,
        times=session.times,
        changes=session.changes,
        steps=session.steps,
        marks=session.marks,
        quiet_ns=quiet_ns if isinstance(quiet_ns, int) and 0 <= quiet_ns < 2**63 else 0,
    )
    events = _run(again, control, session, config.on_pause == "hold")
    ticks = np.concatenate(found) if found else np.zeros(0, TABLES["ticks"])
    return Replayed(
        _report(line, control, session, ticks, again.steps_done), again.out, line.device_rate_hz, tuple(events), control.snapshot(), ticks
    )


def _run(again: Replay, control: Control, session: Session, hold: bool) -> list[Event]:
    events: list[Event] = []
    transcripts = sorted(session.transcripts, key=lambda transcript: int(transcript["arrival_ns"]))
    said, now_ns = 0, 0
    while True:
        done = again.run(POLL_STEPS)
        if done:
            step = again.steps[again.steps_done - 1]
            now_ns = int(step["time_ns"])
            control.hold(hold and bool(step["paused"]))
        while said < len(transcripts) and transcripts[said]["arrival_ns"] <= now_ns:
            control.captions.add(**transcripts[said])
            said += 1
        events.extend(control.poll(now_ns)[0])
        if done < POLL_STEPS:
            break
    again.finish()
    events.extend(control.poll(now_ns)[0])
    return events


def _report(line: Line, control: Control, session: Session, ticks: npt.NDArray[Any], steps: int) -> dict[str, Any]:
    b = line.buffer.state[0]
    counted = control.snapshot()
    playing = ticks[~np.isin(ticks["op"], (IDLE, WAIT, ENDED))]
    delay_ms = playing["delay_ms"] if len(playing) else np.zeros(1)
    frames = int(b["total"])
    percent = 100.0 / max(1, frames)
    per_packet = 100.0 / max(1, counted["packets_expected_total"])
    compared, different, first = _differences(session.ticks, ticks)
    return {
        "ticks": len(ticks),
        "ticks_compared": compared,
        "ticks_different": different,
        "first_difference": first,
        "steps": steps,
        "steps_missing": len(session.steps) - steps,
        "cut": session.cut,
        "mean_delay_ms": float(delay_ms.mean()),
        "p50_delay_ms": float(np.percentile(delay_ms, 50)),
        "p95_delay_ms": float(np.percentile(delay_ms, 95)),
        "concealed_pct": int(b["concealed"]) * percent,
        "concealment_events": int(b["conceal_events"]),
        "accelerated_pct": int(b["accelerated"]) * percent,
        "decelerated_pct": int(b["decelerated"]) * percent,
        "late_pct": int(b["late"]) * per_packet,
        "lost_pct": counted["packets_lost_total"] * per_packet,
        "duplicate_pct": counted["packets_duplicate_total"] * per_packet,
        "resync_ms": int(b["resync"]) * 1000.0 / line.rate_hz,
        "stalls": int(b["stalls"]),
        "longest_stall_ms": int(b["longest_stall"]) * 1000.0 / line.rate_hz,
        "packets": int(np.sum(session.wire["flags"] & FLAG_END_OF_STREAM == 0)),
        "underruns": counted["underruns_total"],
        "frames": frames,
        "seconds": frames / line.rate_hz,
        "captions": control.captions.released,
        "caption_skew_ms": control.captions.skew_ms,
    }


def _differences(live: npt.NDArray[Any], again: npt.NDArray[Any]) -> tuple[int, int, int]:
    """How many ticks both have, how many differ in any bit, and the number of the first that does (-1: none)."""
    _, mine, theirs = np.intersect1d(live["tick"], again["tick"], return_indices=True)
    width = live.dtype.itemsize
    one = np.ascontiguousarray(live[mine]).view(np.uint8).reshape(-1, width)
    other = np.ascontiguousarray(again[theirs]).view(np.uint8).reshape(-1, width)
    differ = np.flatnonzero(np.any(one != other, axis=1))
    return len(mine), len(differ), int(live["tick"][mine][differ[0]]) if len(differ) else -1
