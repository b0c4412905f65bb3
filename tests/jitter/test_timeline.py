"""The timeline: where packets lie, what is refused, and what happens where two connections meet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmedia.jitter.buffer import buffer_tick
from rtmedia.jitter.state import (
    DUPLICATE,
    EMPTY,
    ENDED,
    FLAG_END,
    INSERTED,
    LATE,
    NO_ROOM,
    PLAYING,
    PREFILL,
    WAIT,
    Buffer,
)
from rtmedia.jitter.timeline import buffer_available, buffer_insert, buffer_retire, next_entry

RATE = 16_000
FRAMES = 320


def insert(buffer, seq, *, frames=FRAMES, media_pos=None, epoch=1, flags=0, at_ms=None, value=0.25):
    block = np.full((frames, buffer.store.shape[1]), value, np.float32)
    media_pos = seq * FRAMES if media_pos is None else media_pos
    at_ms = seq * 20.0 if at_ms is None else at_ms
    return buffer_insert(buffer.address, block.ctypes.data, frames, media_pos, seq, epoch, flags, 0, 0, 0, 0, at_ms)


def tick(buffer, now_ms):
    out = np.zeros((buffer.block_frames, buffer.store.shape[1]), np.float32)
    buffer_retire(buffer.address)
    return buffer_tick(buffer.address, now_ms, out.ctypes.data), out


def test_the_first_packet_defines_the_origin_whatever_its_numbers():
    buffer = Buffer(RATE, 1)
    assert insert(buffer, 4_000_000_000, media_pos=10**15) == INSERTED
    assert buffer.state["m"][0] == 0
    assert buffer.state["phase"][0] == PREFILL
    assert buffer_available(buffer.address, 0) == FRAMES


def test_a_packet_that_was_overtaken_by_the_first_one_is_still_played():
    buffer = Buffer(RATE, 1)
    insert(buffer, 5, at_ms=0.0)
    assert insert(buffer, 4, at_ms=1.0) == INSERTED
    assert buffer_available(buffer.address, int(buffer.state["m"][0])) == 2 * FRAMES


def test_the_same_place_twice_is_a_duplicate():
    buffer = Buffer(RATE, 1)
    for seq in range(4):
        insert(buffer, seq)
    for seq in range(4):
        assert insert(buffer, seq, value=-1.0) == DUPLICATE
    assert buffer.state["duplicate"][0] == 4
    assert buffer.store[: 4 * FRAMES].min() == 0.25


@settings(max_examples=60)
@given(st.permutations(list(range(12))), st.sets(st.integers(0, 11), max_size=5))
def test_what_is_there_does_not_depend_on_the_order_of_arrival(order, lost):
    buffer = Buffer(RATE, 1)
    present = [seq for seq in order if seq not in lost]
    for i, seq in enumerate(present):
        assert insert(buffer, seq, at_ms=float(i), value=seq / 64) == INSERTED
    if not present:
        assert buffer.state["phase"][0] == EMPTY
        return
    first = present[0]
    m = int(buffer.state["m"][0])
    assert m == (min(present) - first) * FRAMES
    for seq in range(12):
        position = (seq - first) * FRAMES
        run = 0
        while seq + run in present:
            run += 1
        assert buffer_available(buffer.address, position) == run * FRAMES
        later = [other for other in present if other > seq]
        following = next_entry(buffer.address, position)
        assert (following >= 0) == bool(later)
        if later:
            assert buffer.entries[following]["seq"] == min(later)
        if seq in present:
            held = buffer.store[np.arange(position, position + FRAMES) % len(buffer.store), 0]
            assert (held == np.float32(seq / 64)).all()


def test_a_packet_whose_time_is_over_is_late_and_a_tail_is_still_good():
    buffer = Buffer(RATE, 1)
    for seq in (0, 1, 3, 4, 5):
        insert(buffer, seq, at_ms=0.0)
    for now in range(0, 70, 10):
        tick(buffer, float(now))
    m = int(buffer.state["m"][0])
    assert 2 * FRAMES < m < 5 * FRAMES
    assert insert(buffer, 1, at_ms=70.0) == LATE
    assert insert(buffer, 2, at_ms=70.0) == (LATE if m >= 3 * FRAMES else INSERTED)
    assert buffer.state["late"][0] >= 1


def test_what_is_beyond_the_store_is_refused_until_there_is_room():
    buffer = Buffer(RATE, 1)
    seq = 0
    while insert(buffer, seq, at_ms=0.0) == INSERTED:
        seq += 1
        assert seq < 10_000
    assert insert(buffer, seq, at_ms=0.0) == NO_ROOM
    assert seq * 20 >= 8_000  # milliseconds
    inserted = int(buffer.state["inserted"][0])
    for now in range(0, 200, 10):
        tick(buffer, 10_000.0 + now)
    assert insert(buffer, seq, at_ms=0.0) == INSERTED
    assert buffer.state["inserted"][0] == inserted + 1


def test_many_tiny_packets_are_refused_not_written_over_each_other():
    buffer = Buffer(RATE, 1)
    seq = 0
    while insert(buffer, seq, frames=16, media_pos=seq * 16, at_ms=0.0) == INSERTED:
        seq += 1
    assert seq == len(buffer.entries)
    assert buffer_available(buffer.address, 0) == seq * 16


def test_after_a_gap_longer_than_the_store_playback_goes_to_where_the_audio_is():
    buffer = Buffer(RATE, 1)
    for seq in range(5):
        insert(buffer, seq, at_ms=seq * 20.0)
    now = 0.0
    while now < 1_000.0:
        tick(buffer, now)
        now += 10.0
    far = 3_000  # a minute of missing numbers
    assert insert(buffer, far, at_ms=now) == INSERTED
    assert insert(buffer, far + 1, at_ms=now) == INSERTED
    assert buffer.state["m"][0] == far * FRAMES
    assert buffer.state["resync"][0] > 55 * RATE


def test_a_short_first_packet_before_a_loss_does_not_wait_for_ever():
    buffer = Buffer(RATE, 1)
    insert(buffer, 0, frames=64, media_pos=0, at_ms=0.0)
    for seq in range(2, 50):
        insert(buffer, seq, frames=64, media_pos=seq * 64, at_ms=seq * 4.0)
    operations = [tick(buffer, now * 10.0)[0] for now in range(12)]
    assert operations[-1] != WAIT
    assert buffer.state["phase"][0] == PLAYING


def test_a_new_connection_is_laid_behind_the_old_ones_audio():
    buffer = Buffer(RATE, 1)
    for seq in range(10):
        insert(buffer, seq, at_ms=0.0)
    assert insert(buffer, 77, epoch=2, media_pos=10**9, at_ms=1.0) == INSERTED
    assert insert(buffer, 78, epoch=2, media_pos=10**9 + FRAMES, at_ms=1.0) == INSERTED
    assert buffer_available(buffer.address, 0) == 12 * FRAMES
    held = buffer.store[9 * FRAMES : 11 * FRAMES, 0]
    assert held[FRAMES - 1] == pytest.approx(0.0, abs=0.01)  # the old goes out
    assert held[FRAMES] == pytest.approx(0.0, abs=0.01)  # the new comes in
    assert np.abs(np.diff(held)).max() < 0.01


def test_a_reconnect_just_as_the_store_ran_dry_does_not_click():
    for ticks in (0, 1):  # right at the dry moment, and one concealed block later
        buffer = Buffer(RATE, 1, start_ms=20.0)
        for seq in range(10):
            insert(buffer, seq, at_ms=seq * 20.0)
        now, heard = 0.0, []
        while buffer.state["m"][0] < 10 * FRAMES and now < 1_000.0:
            heard.append(tick(buffer, now)[1])
            now += 10.0
        assert buffer.state["concealing"][0] == 0
        for _ in range(ticks):
            heard.append(tick(buffer, now)[1])
            now += 10.0
        for seq in range(5):
            insert(buffer, seq, epoch=2, media_pos=10**9 + seq * FRAMES, at_ms=now + seq * 20.0)
        for _ in range(8):
            heard.append(tick(buffer, now)[1])
            now += 10.0
        sound = np.concatenate(heard)[:, 0]
        start = int(np.argmax(sound > 0.2))
        assert np.abs(np.diff(sound[start:])).max() < 0.03


def test_the_end_of_a_stream_plays_what_is_left():
    buffer = Buffer(RATE, 1)
    insert(buffer, 0, at_ms=0.0)
    assert insert(buffer, 1, frames=0, flags=FLAG_END, at_ms=0.0) == INSERTED
    heard = [tick(buffer, now * 10.0) for now in range(6)]
    assert sum(out.sum() for _, out in heard) > 0.9 * 0.25 * FRAMES
    assert heard[-1][0] == ENDED
    assert buffer.state["concealed"][0] == 0


def test_the_end_of_a_stream_that_never_began_is_an_end():
    buffer = Buffer(RATE, 1)
    insert(buffer, 0, frames=0, flags=FLAG_END, epoch=0, at_ms=0.0)
    assert tick(buffer, 0.0)[0] == ENDED


def test_what_is_at_m_is_known_through_a_long_gap():
    buffer = Buffer(RATE, 1)
    for seq in (0, 1, 2, *range(60, 100)):
        insert(buffer, seq, at_ms=0.0)
    seen = []
    for now in range(0, 600, 10):
        tick(buffer, float(now))
        if buffer.state["phase"][0] == PLAYING:
            buffer_retire(buffer.address)
            seen.append(int(buffer.state["heard_media_pos"][0]) - int(buffer.state["m"][0]))
    assert set(seen) == {0}
