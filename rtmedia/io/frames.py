"""WebSocket frames, from the octets of one buffer to messages (RFC 6455 section 5), without I/O and without copies.

How to think about it. There is one buffer. The socket writes behind what is in it (`MessageReader.room`,
`MessageReader.filled`), the parser takes frames from its front, and a message that came in one frame is a slice of
it. So a message is good only until the next octets are read: whoever wants to keep it copies it.

What is left of a frame that has not come wholly stays where it is, and moves to the front only when the rest of it
would not fit behind. A frame larger than the buffer gets one of its own size, which is given back after it.

A header is judged as soon as it is there: what is against the rules, or too long, ends the connection before its
payload is waited for.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

#: A kind of frame in a header's first octet: the last fragment, no reserved bit.
_WHOLE = 0x80
_WHOLE_BINARY = _WHOLE | BINARY
#: RFC 6455 section 5.5: of a control frame.
_CONTROL_LIMIT_OCTETS = 125
#: Section 7.4: what a peer may say; 1005, 1006 and 1015 are never sent.
_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
#: Reading less than this at a time, because a part of a frame lies before it, is worth a move.
_LEAST_ROOM_OCTETS = 4_096


class FramingError(Exception):
    """The peer broke the rules; `code` is what the connection is closed with."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(what)
        self.code = code


class Control(NamedTuple):
    """A ping, a pong or a close frame."""

    opcode: int
    payload: bytes


class MessageReader:
    """The receiving half of one connection.

    Parameters
    ----------
    message_limit_octets : int
        A longer message is an error, whatever it is cut into.
    buffer_octets : int
        What is read in one go.

    Notes
    -----
    Thread: one.   Real-time: no (Python); a message in one frame costs about a microsecond.
    """

    def __init__(self, message_limit_octets: int, buffer_octets: int = 65_536) -> None:
        self._limit = message_limit_octets
        self._octets = self._own = bytearray(max(buffer_octets, 2 * _LEAST_ROOM_OCTETS))
        self._view = self._own_view = memoryview(self._own)
        self._addressed: bytearray | None = None  # whose address is known
        self._address = 0
        self._at = 0  # the first octet that was not taken
        self._end = 0  # behind the last that was read
        self._need = 0  # octets of the frame at `_at`, once its header is known
        self._parts: bytearray | None = None  # a fragmented message so far
        self._parts_are_text = False

    # --- octets in -----------------------------------------------------------------------------------------

    def room(self) -> memoryview:
        """Where the next octets belong; never empty. Whatever `next` gave out before is void after it."""
        at, end = self._at, self._end
        if at == end:
            self._at = self._end = self._need = 0
            if self._octets is not self._own:
                self._octets, self._view = self._own, self._own_view
            return self._view
        have, capacity = end - at, len(self._octets)
        if self._need > capacity:
            grown = bytearray(self._need)
            grown[:have] = self._view[at:end]
            self._octets, self._view = grown, memoryview(grown)
            self._at, self._end = 0, have
        elif at and (at + self._need > capacity or capacity - end < _LEAST_ROOM_OCTETS):
            self._view[:have] = self._view[at:end]
            self._at, self._end = 0, have
        return self._view[self._end :]

    def place(self) -> tuple[int, int]:
        """Address and length of `room`, for compiled code; good until anything else is called."""
        room = self.room()
        if self._octets is not self._addressed:
            self._addressed = self._octets
            self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._octets))
        return self._address + self._end, len(room)

    def filled(self, count: int) -> None:
        """`count` octets were written to the front of `room`."""
        self._end += count

    def feed(self, octets: bytes | memoryview) -> int:
        """Copy octets in; returns how many found room. Take the messages out before feeding the rest."""
        room = self.room()
        count = min(len(room), len(octets))
        room[:count] = octets[:count]
        self._end += count
        return count

    # --- messages out --------------------------------------------------------------------------------------

    def next(self) -> memoryview | str | Control | None:
        """The next binary message, text, or control frame; None when octets are missing.

        Ill-formed UTF-8 in a text is replaced.

        Raises
        ------
        FramingError
            The peer broke the framing (1002), or sent a message over the limit (1009). Nothing can be read after it.
        """
        while True:
            at, end = self._at, self._end
            begin = at + 2
            if begin > end:
                return None
            octets = self._octets
            first, length = octets[at], octets[at + 1]
            if length > _CONTROL_LIMIT_OCTETS:
                if length == 126:
                    begin = at + 4
                    if begin > end:
                        return None
                    length = octets[at + 2] << 8 | octets[at + 3]
                elif length == 127:
                    begin = at + 10
                    if begin > end:
                        return None
                    length = int.from_bytes(octets[at + 2 : begin], "big")
                else:
                    raise FramingError(1002, "a masked frame")  # section 5.1: a client must close
            stop = begin + length
            if first != _WHOLE_BINARY or length > self._limit or self._parts is not None:
                self._judge(first, length)
            if stop > end:
                self._need = stop - at
                return None
            self._at = stop
            if first == _WHOLE_BINARY:
                return self._view[begin:stop]
            message = self._take(first, self._view[begin:stop])
            if message is not None:
                return message

    def _judge(self, first: int, length: int) -> None:
        """Raise if a frame with this header may not come now."""
        opcode = first & 0x0F
        if first & 0x70:
            raise FramingError(1002, "a frame with a reserved bit, which no extension was agreed for")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise FramingError(1002, f"a frame of the unknown kind {opcode}")
            if length > _CONTROL_LIMIT_OCTETS or first < _WHOLE:
                raise FramingError(1002, "a control frame that is too long or fragmented")
            return
        if opcode > BINARY:
            raise FramingError(1002, f"a frame of the unknown kind {opcode}")
        if opcode == CONTINUED and self._parts is None:
            raise FramingError(1002, "a continuation of nothing")
        if opcode != CONTINUED and self._parts is not None:
            raise FramingError(1002, "a new message inside a fragmented one")
        if len(self._parts or b"") + length > self._limit:
            raise FramingError(1009, f"a message of more than {self._limit} octets")

    def _take(self, first: int, payload: memoryview) -> memoryview | str | Control | None:
        """Anything but a binary message in one frame; None for a fragment that is not the last."""
        opcode = first & 0x0F
        if opcode >= CLOSE:
            if opcode == CLOSE and len(payload) and int.from_bytes(payload[:2], "big") not in _CLOSE_CODES:
                raise FramingError(1002, "a close frame without a proper code")  # one octet is none either
            return Control(opcode, bytes(payload))
        if first == _WHOLE | TEXT:
            return str(payload, "utf-8", "replace")
        if opcode != CONTINUED:
            self._parts, self._parts_are_text = bytearray(payload), opcode == TEXT
            return None
        assert self._parts is not None
        self._parts += payload
        if first < _WHOLE:
            return None
        whole, self._parts = self._parts, None
        return str(whole, "utf-8", "replace") if self._parts_are_text else memoryview(whole)
