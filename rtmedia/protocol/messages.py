"""What a protocol understands of the octets it is fed, whatever the dialect on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Media(NamedTuple):
    """One piece of audio as it came.

    Attributes
    ----------
    seq : int or None
        The 32-bit number from the wire; None where the message carries none.
    timestamp_ms : int or None
        Media time on the sender's clock, less than `MEDIA_TIME_LIMIT_MS` either way; 0 is a time like any other.
    payload : bytes or memoryview
        Encoded audio, never empty. A view shows a part of the message it came in, and is good as long as that is: a
        connection overwrites it at the next read. Whoever keeps it copies it.
    """

    seq: int | None
    timestamp_ms: int | None
    payload: bytes | memoryview


class TranscriptMessage(NamedTuple):
    """A piece of text, never empty, for the audio of its timestamp; confidence is 0..1, speaker empty where not told."""

    text: str
    confidence: float
    timestamp_ms: int
    speaker: str = ""


class Ack(NamedTuple):
    """The subscription was taken."""


class End(NamedTuple):
    """The stream is over; what follows is only the close."""

    reason: str


Message = Media | TranscriptMessage | Ack | End

#: 278 years either way. 2**43 ms are 8.8e18 ns: the largest power of two that fits 64-bit nanoseconds.
MEDIA_TIME_LIMIT_MS = 1 << 43


class MediaProtocol(Protocol):
    """A dialect without I/O: it says what to send first and makes messages of what comes.

    ``accepted`` and ``rejected`` have a fixed set of keys and are written by one thread only, so that any
    other thread may copy them.
    """

    @property
    def accepted(self) -> Mapping[str, int]: ...
    @property
    def rejected(self) -> Mapping[str, int]: ...
    def subscribe(self) -> str: ...
    def feed(self, message: str | bytes | memoryview) -> Message | None: ...
