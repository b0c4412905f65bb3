"""Frames become the same messages however the octets are cut, and the same as another parser makes of them."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import hypothesis.strategies as st
import pytest
import websocket
from hypothesis import example, given

from rtmedia.io.frames import BINARY, CLOSE, CONTINUED, PING, PONG, TEXT, Control, FramingError, MessageReader
from tests.io.websocket_peer import frame

LIMIT = 20_000
LARGE = 9_000  # more than a small reader's buffer


def copied(message: Any) -> Any:
    return bytes(message) if type(message) is memoryview else message


def read(pieces: list[bytes], *, limit: int = LIMIT, buffer_octets: int = 8_192) -> list[Any]:
    """All messages, copied, and last the error if there is one."""
    reader = MessageReader(limit, buffer_octets)
    found: list[Any] = []
    try:
        for piece in pieces:
            rest = memoryview(piece)
            while True:
                rest = rest[reader.feed(rest) :]
                while (message := reader.next()) is not None:
                    found.append(copied(message))
                if not rest:
                    break
    except FramingError as exc:
        found.append((exc.code, str(exc)))
    return found


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(octets) + 1) for place in places}), len(octets)]
    return [octets[a:b] for a, b in itertools.pairwise(edges)]


def library_reads(octets: bytes) -> list[Any]:
    """What websocket-client makes of it; its frames are put together as RFC 6455 section 5.4 says."""
    at = 0

    def recv(count: int) -> bytes:
        nonlocal at
        piece = octets[at : at + count]
        at += len(piece)
        if not piece:
            raise EOFError
        return piece

    frames = websocket._abnf.frame_buffer(recv, skip_utf8_validation=True)
    found: list[Any] = []
    parts, kind = b"", 0
    while True:
        try:
            one = frames.recv_frame()
        except EOFError:
            return found
        if one.opcode >= CLOSE:
            found.append(Control(one.opcode, bytes(one.data)))
            continue
        parts, kind = parts + one.data, one.opcode or kind
        if one.fin:
            found.append(parts.decode("utf-8", "replace") if kind == TEXT else parts)
            parts = b""


payloads = st.one_of(st.binary(max_size=200), st.integers(0, LARGE).map(lambda size: bytes(range(256)) * (size // 256) + bytes(size % 256)))
controls = st.builds(frame, st.sampled_from((PING, PONG)), st.binary(max_size=125)) | st.builds(
    lambda code, reason: frame(CLOSE, struct.pack("!H", code) + reason), st.sampled_from((1000, 1001, 3000, 4999)), st.binary(max_size=123)
)


@st.composite
def proper(draw: Any) -> bytes:
    """Messages in one to four frames, with control frames between them."""
    octets = b""
    for _ in range(draw(st.integers(0, 6))):
        opcode = draw(st.sampled_from((TEXT, BINARY)))
        parts = draw(st.lists(payloads, min_size=1, max_size=4))
        while sum(map(len, parts)) > LIMIT:
            parts.pop()
        for place, part in enumerate(parts):
            octets += draw(st.just(b"") | controls)
            octets += frame(CONTINUED if place else opcode, part, fin=place == len(parts) - 1)
    return octets


@st.composite
def improper(draw: Any) -> bytes:
    """Anything that begins like frames."""
    octets = draw(proper())
    for _ in range(draw(st.integers(1, 4))):
        opcode, rsv = draw(st.integers(0, 15)), draw(st.sampled_from((0, 0, 0, 1, 4)))
        length = draw(st.none() | st.sampled_from((125, 126, LIMIT, LIMIT + 1, 65_536, 2**62)))
        mask = draw(st.sampled_from((b"", b"", b"", b"mask")))
        octets += frame(opcode, draw(st.binary(max_size=130)), fin=draw(st.booleans()), rsv=rsv, mask=mask, length=length)
    return octets


places = st.lists(st.integers(0, 1 << 16), max_size=12)


@given(octets=proper(), places=places, buffer_octets=st.sampled_from((8_192, 65_536)))
@example(octets=frame(BINARY, bytes(LIMIT)) + frame(TEXT, b"after"), places=[1, 9_000], buffer_octets=8_192)
def test_any_cut_gives_what_the_whole_gives_and_what_the_library_gives(octets: bytes, places: list[int], buffer_octets: int):
    whole = read([octets])
    assert read(cut(octets, places), buffer_octets=buffer_octets) == whole
    assert library_reads(octets) == whole


@given(octets=improper(), places=places)
def test_what_is_wrong_is_found_at_the_same_place_and_for_the_same_reason_however_it_is_cut(octets: bytes, places: list[int]):
    assert read(cut(octets, places)) == read([octets])


@given(octets=st.binary(max_size=300))
def test_any_octets_at_all_give_the_same_one_by_one(octets: bytes):
    assert read([octets[i : i + 1] for i in range(len(octets))]) == read([octets])


def test_a_binary_message_is_a_slice_of_what_was_read():
    reader = MessageReader(LIMIT)
    room = reader.room()
    octets = frame(BINARY, bytes(640)) + frame(BINARY, b"second")
    room[: len(octets)] = octets
    reader.filled(len(octets))
    first, second = reader.next(), reader.next()
    room[4], room[646] = 7, 8  # the first octets of both
    assert (first[0], second[0]) == (7, 8)
    assert reader.next() is None


def test_the_part_of_a_frame_is_moved_only_when_the_rest_would_not_fit():
    reader = MessageReader(LIMIT, 16_384)
    octets = frame(BINARY, bytes(656))
    reader.feed(octets + octets[:100])
    assert reader.next() is not None
    assert reader.next() is None
    assert len(reader.room()) == 16_384 - len(octets) - 100, "behind it is room enough"
    reader.feed(octets[100:] + octets * 22 + octets[:100])
    while reader.next() is not None:
        pass
    assert len(reader.room()) == 16_384 - 100, "in front"
    reader.feed(octets[100:])
    assert copied(reader.next()) == bytes(656)


def test_a_large_message_has_a_buffer_of_its_own_for_as_long_as_it_takes():
    reader = MessageReader(1 << 20, 8_192)
    octets = frame(BINARY, b"x" * 300_000)
    reader.feed(octets[:1_000])
    assert reader.next() is None
    assert len(reader.room()) == len(octets) - 1_000
    rest = octets[1_000:]
    while rest:
        rest = rest[reader.feed(rest) :]
    assert copied(reader.next()) == b"x" * 300_000
    assert len(reader.room()) == 8_192


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"\x82\x7f" + struct.pack("!Q", LIMIT + 1), 1009),
        (b"\x82\x7f" + struct.pack("!Q", 2**64 - 1), 1009),
        (frame(BINARY, bytes(LIMIT), fin=False) + b"\x80\x01", 1009),
        (b"\x82\x80", 1002),
        (b"\x83\x7f" + struct.pack("!Q", LIMIT + 1), 1002),
        (b"\x89\x7e" + struct.pack("!H", 126), 1002),
    ],
)
def test_a_header_is_judged_before_its_payload_has_come(octets: bytes, code: int):
    assert read([octets])[-1][0] == code


def test_a_message_at_the_limit_is_taken_whole_or_in_pieces():
    octets = frame(BINARY, bytes(LIMIT)) + frame(BINARY, bytes(LIMIT - 1), fin=False) + frame(CONTINUED, b"\0")
    assert read([octets]) == [bytes(LIMIT)] * 2
