"""What an engine tells its owner. Frozen facts, delivered in order through ``Engine.events``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events.

    Attributes
    ----------
    time_ns : int
        Monotonic time of the fact (simulated time in a simulation).
    """

    time_ns: int


@dataclass(frozen=True, slots=True)
class Transcript(Event):
    """A piece of text, released when the audio of its timestamp is heard.

    Attributes
    ----------
    text, confidence
        As sent; confidence is 0..1.
    timestamp_ms : int
        Media time on the server's clock of the words.
    late : bool
        True when its audio had already been heard when the text arrived: it is released at once.
    skew_ms : float
        Release minus the moment its audio left the speaker; positive is after the sound.
    speaker : str
        Who says it, where the server tells.
    """

    text: str
    confidence: float
    timestamp_ms: int
    late: bool = False
    skew_ms: float = 0.0
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class StateChanged(Event):
    """The engine moved from one state to another (names as in `rtmedia.engine.TRANSITIONS`)."""

    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Connected(Event):
    """The subscription was sent on an open connection. `attempt` counts from 1 in each series."""

    url: str
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Disconnected(Event):
    """The connection ended; `retry_in_s` is None when no further attempt follows."""

    reason: str
    close_code: int | None
    retry_in_s: float | None


@dataclass(frozen=True, slots=True)
class StreamEnded(Event):
    """The server closed the stream normally, and its last audio has been played."""

    reason: str


@dataclass(frozen=True, slots=True)
class StallStarted(Event):
    """Nothing has been heard but concealment for 150 ms."""

    media_ms: float


@dataclass(frozen=True, slots=True)
class StallEnded(Event):
    """Speech is back after a stall of `duration_ms`."""

    duration_ms: float


@dataclass(frozen=True, slots=True)
class Problem(Event):
    """Something was counted and survived that an operator should know; at most one a second each kind."""

    kind: str
    message: str
