"""The store and the packet table go back to their fronts, and nothing that they hold changes by it."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.jitter.buffer import buffer_tick
from rtmedia.jitter.state import GUARD_MS, INSERTED, MOST_MOVED_MS, NO_ROOM, PLAYING, STRETCH_ENTRIES, STRETCH_MS, Buffer
from rtmedia.jitter.timeline import buffer_insert, buffer_retire


class Stream:
    """Packets of numbered frames into one buffer, whose store is held against what was sent."""

    def __init__(self, rate_hz=16_000, channels=1, **settings):
        self.buffer = Buffer(rate_hz, channels, **settings)
        self.state = self.buffer.state[0]
        self.packet = rate_hz // 50
        self.channels = channels
        self.out = np.zeros((rate_hz // 100, channels), np.float32)
        self.now_ms = 0.0

    def sent(self, position, frames):
        """What every frame holds: noise that depends on its position alone."""
        number = (np.arange(position, position + frames)[:, None] * 2 + np.arange(self.channels)) * 2_654_435_761 % (1 << 32)
        return np.ascontiguousarray(number / (1 << 33), np.float32)

    def insert(self, seq):
        block = self.sent(seq * self.packet, self.packet)
        address = self.buffer.address
        return buffer_insert(address, block.ctypes.data, self.packet, seq * self.packet, seq, 1, 0, 0, 0, 0, 0, self.now_ms)

    def play(self, ticks=1):
        for _ in range(ticks):
            buffer_retire(self.buffer.address)
            buffer_tick(self.buffer.address, self.now_ms, self.out.ctypes.data)
            self.now_ms += 10.0

    def check(self):
        """All that waits is there, whole, and in the table."""
        m, end = int(self.state["m"]), int(self.state["newest_end"])
        held = self.buffer.store[(np.arange(m, end) - self.state["base"]) % len(self.buffer.store)]
        np.testing.assert_array_equal(held, self.sent(m, end - m))
        entries = self.buffer.entries[(self.state["first_entry"] + np.arange(self.state["entries_count"])) % len(self.buffer.entries)]
        assert (np.diff(entries["seq"]) == 1).all()
        assert (entries["position"] == entries["seq"] * self.packet).all()


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (16_000, 1), (48_000, 2)])
def test_an_even_stream_stays_at_the_front_of_its_store(rate_hz, channels):
    stream = Stream(rate_hz, channels, start_ms=60.0, splice_above_ms=1_000.0)
    for seq in range(1_500):  # 30 s through a store of 8
        assert stream.insert(seq) == INSERTED
        stream.play(2)
        stream.check()
    assert stream.state["concealed"] == 0
    assert stream.state["base"] > 28 * rate_hz
    # What is kept may come as far as itself, or STRETCH_MS, before it goes back.
    kept_ms = GUARD_MS + 200
    used = np.flatnonzero(stream.buffer.store.any(axis=1))[-1] * 1000 / rate_hz
    assert used < kept_ms + max(kept_ms, STRETCH_MS)
    assert np.flatnonzero(stream.buffer.entries["frames"])[-1] < 2 * STRETCH_ENTRIES


def test_a_burst_stays_where_it_is_until_little_of_it_is_left():
    stream = Stream(start_ms=40.0, splice_above_ms=100_000.0)
    stream.state["cap_ms"] = 100_000.0
    seq = 0
    for _ in range(50):
        stream.insert(seq)
        stream.play(2)
        seq += 1
    base = int(stream.state["base"])
    waiting = 0
    while stream.insert(seq) != NO_ROOM:
        seq, waiting = seq + 1, waiting + 1
    assert waiting > 350  # more than seven seconds
    for _ in range(100):
        stream.play()
        stream.check()
    assert stream.state["base"] == base  # too much to copy between two blocks
    while stream.state["newest_end"] - stream.state["m"] > (MOST_MOVED_MS - GUARD_MS - 100) * 16:
        stream.play()
        stream.check()
    for _ in range(200):  # it may lie around the store's corner, and is moved only in one piece
        seq += stream.insert(seq) == INSERTED
        stream.play(2)
        stream.check()
    assert stream.state["base"] > base


def test_a_splice_finds_what_lies_behind_m_also_right_after_the_store_went_back():
    """At least GUARD_MS behind m goes back with it."""
    stream = Stream(start_ms=60.0, splice_above_ms=1_000.0)
    returns = 0
    for tick in range(600):
        if tick % 2 == 0:
            stream.insert(tick // 2)
        before = int(stream.state["base"])
        buffer_retire(stream.buffer.address)
        if stream.state["base"] != before:
            returns += 1
            m, behind = int(stream.state["m"]), GUARD_MS * 16
            held = stream.buffer.store[(np.arange(m - behind, m) - stream.state["base"]) % len(stream.buffer.store)]
            np.testing.assert_array_equal(held, stream.sent(m - behind, behind))
        stream.play()
    assert stream.state["phase"] == PLAYING
    assert returns > 8
