"""Onto the wire ring from Python: the payload is taken as it lies, and is the caller's again afterwards."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from rtmedia.codec import codec_named
from rtmedia.ports import Format
from rtmedia.rooms.control import Control
from rtmedia.rooms.decode import Decode
from rtmedia.rooms.recorder import Recorder
from rtmedia.rt.memory import aligned_zeros
from rtmedia.rt.ring import ring_read, ring_skip
from tests.rooms.line_driver import Bench

OCTETS = bytes(range(200))


@pytest.fixture
def room():
    return Decode(codec_named("pcm_s16le").make(Format(16_000), 4_000), 16_000, 1)


def taken(room: Decode) -> tuple[tuple[int, ...], bytes]:
    (record,) = room.wire_records.read(1)
    out = aligned_zeros(1_000, np.uint8)
    count = ring_read(room.wire_octets.address, out.ctypes.data, int(record["length"]))
    return tuple(int(record[name]) for name in ("arrival_ns", "seq", "media_time_ns", "flags")), out[:count].tobytes()


@pytest.mark.parametrize(
    "payload",
    [OCTETS, bytearray(OCTETS), memoryview(OCTETS), memoryview(b"\1" + bytearray(OCTETS))[1:], np.frombuffer(OCTETS, np.int16), b""],
    ids=["bytes", "bytearray", "view", "slice", "array", "nothing"],
)
def test_a_payload_may_be_anything_that_lies_in_one_piece(room, payload):
    assert room.write(10**15, 2**32 - 1, -1, 257, payload) is True
    assert taken(room) == ((10**15, 2**32 - 1, -1, 257), bytes(payload))


def test_a_payload_is_copied_and_let_go(room):
    buffer = bytearray(OCTETS)
    view = memoryview(buffer)
    before = sys.getrefcount(view)
    assert room.write(1, 2, 3, 0, view)
    assert sys.getrefcount(view) == before
    view.release()
    buffer[:] = bytes(len(buffer))
    assert taken(room)[1] == OCTETS


@pytest.mark.parametrize("payload", ["text", None, memoryview(OCTETS)[::2]], ids=["text", "none", "gaps"])
def test_what_is_no_payload_is_an_exception_and_leaves_the_ring_as_it_was(room, payload):
    with pytest.raises((TypeError, BufferError)):
        room.write(1, 2, 3, 0, payload)
    assert room.wire_records.readable == room.wire_octets.readable == 0


def test_a_full_ring_takes_a_payload_whole_or_not_at_all_and_the_tap_hears_of_what_it_took(room):
    told = []
    room.tap = lambda *arguments: told.append(arguments)
    written = 0
    while room.write(written, written, 0, 0, OCTETS):
        written += 1
    assert written == len(told) == min(room.wire_records.capacity, room.wire_octets.capacity // len(OCTETS))
    assert room.wire_octets.readable == written * len(OCTETS)
    assert len(room.wire_records.read(1)) == 1
    ring_skip(room.wire_octets.address, len(OCTETS))
    assert room.write(written, written, 0, 0, OCTETS) is True


def test_a_capture_keeps_a_copy_of_what_the_next_read_overwrites():
    bench = Bench()
    kept = Recorder(bench.line, Control(bench.line))
    buffer = bytearray(OCTETS)
    for seq in range(3):
        buffer[:] = bytes([seq]) * len(buffer)
        assert bench.line.decode.write(0, seq, 0, 0, memoryview(buffer))
    assert dict(kept.collect())["payloads"] == b"".join(bytes([seq]) * len(OCTETS) for seq in range(3))
