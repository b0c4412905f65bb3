"""Many ticks in one compiled call are the same ticks."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.codec import codec_named
from rtmedia.ports import FLAG_NEW_EPOCH
from rtmedia.rooms.doorways import MESSAGE_DTYPE
from rtmedia.rooms.line import Line
from rtmedia.rooms.walk import walk
from rtmedia.units import NS_PER_MS, NS_PER_S

START_NS = 1_000 * NS_PER_S
TICK_NS = 10 * NS_PER_MS
TICKS = 200


def make_line(device_rate_hz):
    return Line(rate_hz=16_000, channels=1, device_rate_hz=device_rate_hz, codec=codec_named("pcm_s16le"), effects=())


def arrivals(packets, seed):
    """20 ms packets of a tone behind a jittery network, in the order of arrival."""
    rng = np.random.default_rng(seed)
    delays = rng.exponential(20 * NS_PER_MS, packets).astype(np.int64)
    times = START_NS + np.arange(packets) * 20 * NS_PER_MS + delays
    tone = (8_000 * np.sin(np.arange(packets * 320) * 0.1)).astype("<i2").reshape(packets, 320)
    order = np.argsort(times, kind="stable")
    flags = [FLAG_NEW_EPOCH] + [0] * (packets - 1)
    records = [(times[k], k, k * 20 * NS_PER_MS, flag, 640) for k, flag in zip(order, flags, strict=True)]
    return np.array(records, MESSAGE_DTYPE), tone[order].tobytes()


def walked(line, records, octets, ticks, now_ns, out):
    held = np.frombuffer(octets or b"\0", np.uint8)
    decode = line.decode
    rooms = (decode.address, line.render.address, line.play.address)
    messages = (records.ctypes.data, len(records), held.ctypes.data)
    assert walk(*rooms, *messages, out.ctypes.data, line.device_rate_hz // 100, ticks, now_ns, TICK_NS, 0, 0) == ticks
    return int(np.count_nonzero(records["length"] < 0))


@pytest.mark.parametrize("device_rate_hz", [16_000, 48_000])
def test_one_call_for_many_ticks_sounds_like_one_call_for_each(device_rate_hz):
    records, octets = arrivals(TICKS // 2, seed=1)
    frames = device_rate_hz // 100
    once, each = np.empty((TICKS * frames, 1), np.float32), np.empty((TICKS * frames, 1), np.float32)
    assert walked(make_line(device_rate_hz), records, octets, TICKS, START_NS, once) == 0
    line, taken = make_line(device_rate_hz), 0
    for i in range(TICKS):
        now_ns = START_NS + (i + 1) * TICK_NS
        while taken < len(records) and records["arrival_ns"][taken] <= now_ns:
            fields = (int(records[name][taken]) for name in ("arrival_ns", "seq", "media_time_ns", "flags"))
            assert line.decode.write(*fields, octets[taken * 640 : (taken + 1) * 640])
            taken += 1
        line.play.pull(each[i * frames : (i + 1) * frames], now_ns, now_ns)
        line.step(now_ns)
    assert np.abs(once).max() > 0.1
    np.testing.assert_array_equal(once, each)


def test_what_finds_no_room_is_counted_and_marked_and_the_walk_goes_on():
    packets = 4_000  # 80 s in one tick: more than wire ring, packet ring and jitter buffer hold together
    records, octets = arrivals(packets, seed=2)
    records["arrival_ns"] = START_NS + 1
    out = np.empty((20 * 160, 1), np.float32)
    dropped = walked(make_line(16_000), records, octets, 20, START_NS, out)
    assert 0 < dropped < packets
    assert np.count_nonzero(records["length"] == -1) == dropped
    assert np.abs(out).max() > 0.1
