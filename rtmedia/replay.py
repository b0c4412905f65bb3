"""A captured session again: the same rooms, given what they once found, step by step.

A live session cannot be repeated by giving the same packets at the same times: when its threads ran and when the
device asked decided which packet came into which block. A capture holds all of that, so that a replay makes the same
decisions, tick by tick, and the same sound, to the bit. What it is for: hear a fault of last night at the desk, and see
what another version of the jitter buffer would have made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.assembly import make_line
from rtmedia.capture.reading import Session, read_session
from rtmedia.capture.settings import check_settings, config_of, device_rate_of
from rtmedia.config import Config
from rtmedia.errors import ConfigError
from rtmedia.events import Event
from rtmedia.jitter.state import ENDED, IDLE, WAIT
from rtmedia.ports import FLAG_END_OF_STREAM, Block
from rtmedia.rooms.control import Control
from rtmedia.rooms.doorways import TICK_DTYPE, captured_ticks
from rtmedia.rooms.line import Line
from rtmedia.rooms.render import GAIN_PLACE, SWITCH_PLACE
from rtmedia.rooms.replay import Replay
from rtmedia.sim.measures import shares, stops

#: Steps between two looks of the control side, when no caption waits for it.
POLL_STEPS = 64


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
    line = make_line(config, device_rate_of(session.settings))
    wanted = session.changes["place"]
    wanted = np.where(wanted >= SWITCH_PLACE, wanted - SWITCH_PLACE, wanted)[(wanted < GAIN_PLACE) | (wanted >= SWITCH_PLACE)]
    if np.any(wanted >= len(line.effects)):
        raise ConfigError(
            f"capture {path}: a change is for effect {int(wanted.max())}, but there are {len(line.effects)}; the file is damaged"
        )
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
    ticks = np.concatenate(found) if found else np.zeros(0, TICK_DTYPE)
    return Replayed(
        _report(line, control, session, ticks, again.steps_done), again.out, line.device_rate_hz, tuple(events), control.snapshot(), ticks
    )


def _run(again: Replay, control: Control, session: Session, hold: bool) -> list[Event]:
    events: list[Event] = []
    transcripts = sorted(session.transcripts, key=lambda transcript: int(transcript["arrival_ns"]))
    said, now_ns = 0, 0
    while True:
        wanted = 1 if control.captions.waiting else POLL_STEPS
        done = again.run(wanted)
        if done:
            step = again.steps[again.steps_done - 1]
            now_ns = int(step["time_ns"])
            control.hold(hold and bool(step["paused"]))
        while said < len(transcripts) and transcripts[said]["arrival_ns"] <= now_ns:
            control.captions.add(**transcripts[said])
            said += 1
        events.extend(control.poll(now_ns)[0])
        if done < wanted:
            break
    again.finish()
    events.extend(control.poll(now_ns, last=True)[0])
    return events


def _report(line: Line, control: Control, session: Session, ticks: npt.NDArray[Any], steps: int) -> dict[str, Any]:
    b = line.buffer.state[0]
    counted = control.snapshot()
    playing = ticks[~np.isin(ticks["op"], (IDLE, WAIT, ENDED))]
    delay_ms = playing["delay_ms"] if len(playing) else np.zeros(1)
    frames = int(b["total"])
    per_packet = 100.0 / max(1, counted["packets_expected_total"])
    compared, different, first = _differences(session.ticks, captured_ticks(ticks))
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
        **shares(b, frames, line.rate_hz),
        "late_pct": int(b["late"]) * per_packet,
        "lost_pct": counted["packets_lost_total"] * per_packet,
        "duplicate_pct": counted["packets_duplicate_total"] * per_packet,
        **stops(b, line.rate_hz),
        "packets": int(np.sum(session.wire["flags"] & FLAG_END_OF_STREAM == 0)),
        "underruns": counted["underruns_total"],
        "neteq": counted["neteq"],
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
