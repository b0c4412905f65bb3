"""The media API's own dialect: JSON in text frames, audio in binary frames behind a small header.

===========  =========  ==========================================  =====
header       sequence   timestamp                                   audio
===========  =========  ==========================================  =====
``aligned``  u32 at 0   i64 ms at 8 (4 reserved octets before it)   16
``packed``   u32 at 0   i64 ms at 4                                 12
===========  =========  ==========================================  =====

All little-endian. Text frames are objects with a ``type``: ``media`` (audio in base64), ``transcript``, ``ack``
and ``end``. The peer may send anything at all: what cannot be used is counted under one of `REJECTIONS` and
otherwise forgotten. Nothing here raises because of the peer.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable
from typing import Any, Literal

from rtmedia.errors import ConfigError
from rtmedia.protocol.messages import MEDIA_TIME_LIMIT_MS, Ack, End, Media, Message, TranscriptMessage

#: A speaker's name longer than this is cut: it is a label.
_SPEAKER_CHARS = 64
_HEADERS = {"aligned": struct.Struct("<I4xq"), "packed": struct.Struct("<Iq")}
#: ``Media(...)`` without the call of a Python function in between.
_tuple = tuple.__new__
_AUDIO_KEYS = ("audioData", "audio", "payload")

#: Why a message was not used: the complete list, so that a hostile peer cannot grow the table.
REJECTIONS = (
    "short",  # binary, no room for header and audio
    "oversized",  # more audio, or more text, than the limits allow
    "odd",  # audio that ends inside a frame
    "implausible",  # a media time beyond 2**43 ms
    "foreign",  # neither str nor bytes nor memoryview
    "not_json",  # a text frame that is no JSON, or JSON with NaN or endless numbers
    "nested",  # JSON deeper than the interpreter's stack
    "not_object",  # JSON, but no object with a string as type
    "unknown_type",  # a type that this dialect does not have
    "audio",  # a text frame without audio, or with broken base64
    "seq",  # a sequence number that is no 32-bit integer
    "timestamp",  # a time that is no number, or a transcript without one
    "text",  # a transcript whose text is no string
    "empty",  # a transcript without a word
    "confidence",  # a confidence that is no number
)


class _Rejected(Exception):
    """Inside this module only: why a text frame is of no use."""


def _bounded_int(digits: str) -> int:
    # Making an int of a million digits takes seconds where the interpreter sets no limit itself.
    if len(digits) > 20:
        raise ValueError("an integer of more than 20 digits")
    return int(digits)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_decode_json = json.JSONDecoder(parse_int=_bounded_int, parse_constant=_no_constant).decode


def _number(value: Any, kind: str) -> float | int:
    # bool is an int in Python, and none in JSON; 1e999 is JSON and becomes infinite.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _Rejected(kind)
    return value


def _timestamp_ms(value: Any) -> int:
    time_ms = round(_number(value, "timestamp"))
    if not -MEDIA_TIME_LIMIT_MS < time_ms < MEDIA_TIME_LIMIT_MS:
        raise _Rejected("implausible")
    return time_ms


def _printable(text: str) -> str:
    """`text` without halves of surrogate pairs: they are legal in JSON and break every encoder after it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


class MediaV1:
    """One stream of the media API, without I/O.

    Parameters
    ----------
    header : {"aligned", "packed"}
        Layout of binary frames; see the module.
    conversation_id : str
        Named in the subscription.
    rate_hz : int
        Asked for in the subscription.
    frame_octets : int
        Audio comes in multiples of this: 2 for 16-bit mono PCM, 1 for codecs without a fixed frame.
    audio_limit_octets, text_limit_chars : int
        Larger messages are rejected unread.

    Attributes
    ----------
    accepted, rejected : dict of str to int
        Messages by kind, fixed keys. Thread: written by the one that feeds, copied by any.

    Notes
    -----
    Thread: receive.   Real-time: no (Python), but less than a microsecond for a binary frame.
    """

    def __init__(
        self,
        header: Literal["aligned", "packed"] = "aligned",
        conversation_id: str = "demo",
        rate_hz: int = 16_000,
        *,
        frame_octets: int = 2,
        audio_limit_octets: int = 65_536,
        text_limit_chars: int = 1 << 20,
    ) -> None:
        if header not in _HEADERS:
            raise ConfigError(f"header is {header!r}; choose 'aligned' (audio at octet 16) or 'packed' (at octet 12)")
        if frame_octets < 1 or audio_limit_octets < frame_octets or text_limit_chars < 1:
            raise ConfigError(
                f"frame_octets is {frame_octets}, audio_limit_octets {audio_limit_octets}, text_limit_chars {text_limit_chars}; "
                "all must be positive, and one frame must fit the audio limit"
            )
        self.conversation_id = conversation_id
        self.rate_hz = rate_hz
        self._unpack_from = _HEADERS[header].unpack_from
        self._audio_at = _HEADERS[header].size
        self._frame_octets = frame_octets
        self._audio_limit = audio_limit_octets
        self._text_limit = text_limit_chars
        self.accepted = dict.fromkeys(("media", "transcript", "ack", "end"), 0)
        self.rejected = dict.fromkeys(REJECTIONS, 0)
        self._readers: dict[str, Callable[[dict[str, Any]], Message]] = {
            "media": self._read_media,
            "transcript": _read_transcript,
            "ack": _read_ack,
            "end": _read_end,
        }

    def subscribe(self) -> str:
        """The first message of every connection."""
        return json.dumps(
            {"type": "subscribe", "conversationId": self.conversation_id, "format": "raw", "sampleRate": self.rate_hz},
        )

    def feed(self, message: str | bytes | memoryview) -> Message | None:
        """What `message` means; None for one that is of no use, which is counted in `rejected`.

        The audio of a binary message is a slice of it: where the message lies in a buffer that is used again, so does
        the audio.
        """
        if type(message) is memoryview or type(message) is bytes:
            octets = len(message) - self._audio_at
            if 0 < octets <= self._audio_limit and octets % self._frame_octets == 0:
                seq, time_ms = self._unpack_from(message)
                if -MEDIA_TIME_LIMIT_MS < time_ms < MEDIA_TIME_LIMIT_MS:
                    self.accepted["media"] += 1
                    return _tuple(Media, (seq, time_ms, message[self._audio_at :]))
                self.rejected["implausible"] += 1
            elif octets <= 0:
                self.rejected["short"] += 1
            else:
                self.rejected["oversized" if octets > self._audio_limit else "odd"] += 1
            return None
        if not isinstance(message, str):
            self.rejected["foreign"] += 1
            return None
        try:
            kind, read = self._read_text(message)
        except _Rejected as why:
            self.rejected[str(why)] += 1
            return None
        self.accepted[kind] += 1
        return read

    def _read_text(self, text: str) -> tuple[str, Message]:
        if len(text) > self._text_limit:
            raise _Rejected("oversized")
        try:
            data = _decode_json(text)
        except RecursionError:
            raise _Rejected("nested") from None
        except ValueError:
            raise _Rejected("not_json") from None
        kind = data.get("type") if isinstance(data, dict) else None
        if not isinstance(kind, str):
            raise _Rejected("not_object")
        reader = self._readers.get(kind)
        if reader is None:
            raise _Rejected("unknown_type")
        return kind, reader(data)

    def _read_media(self, data: dict[str, Any]) -> Media:
        audio = next((data[key] for key in _AUDIO_KEYS if data.get(key) is not None), None)
        if not isinstance(audio, str):
            raise _Rejected("audio")
        if len(audio) > 4 * (self._audio_limit // 3 + 1):
            raise _Rejected("oversized")
        try:
            payload = base64.b64decode(audio, validate=True)
        except ValueError:
            raise _Rejected("audio") from None
        if not payload:
            raise _Rejected("audio")
        if len(payload) > self._audio_limit:
            raise _Rejected("oversized")
        if len(payload) % self._frame_octets:
            raise _Rejected("odd")
        seq, timestamp = data.get("seq"), data.get("timestamp")
        if seq is not None:
            seq = _number(seq, "seq")
            if seq != int(seq) or not 0 <= seq < 1 << 32:
                raise _Rejected("seq")
            seq = int(seq)
        return Media(seq, None if timestamp is None else _timestamp_ms(timestamp), payload)


def _read_transcript(data: dict[str, Any]) -> TranscriptMessage:
    text, confidence = data.get("text"), data.get("confidence")
    if not isinstance(text, str):
        raise _Rejected("text")
    if not text.strip():
        raise _Rejected("empty")
    sure = 0.0 if confidence is None else min(1.0, max(0.0, float(_number(confidence, "confidence"))))
    speaker = data.get("speaker")
    shown = _printable(speaker)[:_SPEAKER_CHARS] if isinstance(speaker, str) else ""
    return TranscriptMessage(_printable(text), sure, _timestamp_ms(data.get("timestamp")), shown)


def _read_ack(_: dict[str, Any]) -> Ack:
    return Ack()


def _read_end(data: dict[str, Any]) -> End:
    reason = data.get("reason")
    return End(_printable(reason)[:200] if isinstance(reason, str) else "the server ended the stream")
