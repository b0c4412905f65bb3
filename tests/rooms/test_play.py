"""play: what the device gets when the ring is full, short, or empty."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmedia.rooms.play import DAC_NS, FADE_MS, LARGEST, SINK_POS, TIME_NS, UNDERRUN_FRAMES, UNDERRUNS, XRUNS, Play, play_pull
from rtmedia.rt.ring import FrameRing

RATE = 16_000
FADE = int(RATE * FADE_MS / 1000)


class Bench:
    def __init__(self, channels=1, rate=RATE):
        self.ring = FrameRing(1 << 14, channels)
        self.play = Play(self.ring, rate)
        self.channels = channels
        self.now_ns = 10**9

    def feed(self, block):
        block = np.asarray(block, np.float32)
        if block.ndim == 1:
            block = np.repeat(block[:, None], self.channels, axis=1)
        assert self.ring.write(np.ascontiguousarray(block)) == len(block)

    def pull(self, frames=160, flags=0):
        self.now_ns += 10_000_000
        out = np.full((frames, self.channels), 9.0, np.float32)
        play_pull(self.play.address, out.ctypes.data, frames, self.now_ns, self.now_ns + 5_000_000, flags)
        return out

    @property
    def words(self):
        return self.play.cell.read()


def level(frames, value=0.5):
    return np.full(frames, value, np.float32)


def test_what_is_in_the_ring_is_played_to_the_bit_after_the_first_fade(rng):
    bench = Bench(2)
    sound = rng.uniform(-1, 1, (1_600, 2)).astype(np.float32)
    bench.feed(sound)
    got = np.concatenate([bench.pull() for _ in range(10)])
    assert np.array_equal(got[FADE:], sound[FADE:])
    assert np.abs(got[0]).max() <= np.abs(sound[0]).max() / FADE * 1.01
    assert bench.words[UNDERRUNS] == 0


def test_silence_before_the_first_sound_is_no_underrun():
    bench = Bench()
    for _ in range(5):
        assert not bench.pull().any()
    assert bench.words[UNDERRUNS] == 0
    assert bench.words[UNDERRUN_FRAMES] == 0


@settings(max_examples=60)
@given(st.integers(0, 160), st.integers(1, 400))
def test_an_underrun_at_any_frame_never_steps_by_more_than_the_fades_slope(have, pull):
    bench = Bench()
    bench.feed(level(640))
    got = [bench.pull() for _ in range(4)]
    bench.feed(level(have)) if have else None
    got += [bench.pull(pull), bench.pull(pull)]
    rest = bench.ring.readable
    bench.feed(level(800 - rest))
    got += [bench.pull() for _ in range(4)]
    sound = np.concatenate(got)[:, 0]
    slope = 0.5 / min(FADE, pull) * 1.02
    assert np.abs(np.diff(sound)).max() <= max(slope, 0.5 / FADE * 1.02)
    assert (sound[-160:] == 0.5).all()


def test_an_underrun_is_counted_once_however_long_it_lasts():
    bench = Bench()
    bench.feed(level(200))
    for _ in range(10):
        bench.pull()
    assert bench.words[UNDERRUNS] == 1
    bench.feed(level(160))
    bench.pull()
    for _ in range(3):
        bench.pull()
    assert bench.words[UNDERRUNS] == 2
    assert bench.words[UNDERRUN_FRAMES] == 10 * 160 - 200 + 3 * 160


def test_an_empty_ring_at_the_end_is_no_underrun_and_still_fades():
    bench = Bench()
    bench.feed(level(200))
    bench.pull()
    bench.play.expect_silence()
    got = np.concatenate([bench.pull(), bench.pull()])[:, 0]
    assert bench.words[UNDERRUNS] == 0
    assert bench.words[UNDERRUN_FRAMES] == 0
    assert np.abs(np.diff(got)).max() <= 0.5 / FADE * 1.02
    assert not got[40:].any()


def test_the_position_belongs_to_the_time_of_the_same_call():
    bench = Bench()
    bench.feed(level(400))
    for taken in (0, 160, 320, 400, 400):
        bench.pull()
        words = bench.words
        assert words[SINK_POS] == taken
        assert words[TIME_NS] == bench.now_ns
        assert words[DAC_NS] == bench.now_ns + 5_000_000


def test_every_call_leaves_a_mark():
    bench = Bench()
    bench.feed(level(400))
    for frames in (160, 320, 100):
        bench.pull(frames)
    marks = bench.play.marks.read(10)
    assert marks["sink_pos"].tolist() == [0, 160, 400]
    assert marks["frames"].tolist() == [160, 240, 0]
    assert marks["asked"].tolist() == [160, 320, 100]
    assert (np.diff(marks["time_ns"]) == 10_000_000).all()
    assert bench.words[LARGEST] == 320


def test_marks_that_nobody_reads_are_lost_and_counted_and_the_sound_goes_on():
    bench = Bench()
    for _ in range(8_192 + 7):
        bench.pull(1)
    bench.feed(level(200))
    assert bench.pull(160)[-1, 0] == 0.5
    assert bench.words[8] == 8


def test_the_devices_own_complaints_are_counted():
    bench = Bench()
    bench.pull(flags=0x4)
    bench.pull(flags=0x10)
    bench.pull(flags=0x8)
    assert bench.words[XRUNS] == 2


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 64, 4_000])
def test_any_size_of_call_gives_the_same_sound(frames):
    sound = np.sin(np.arange(8_000) / 20).astype(np.float32)
    whole, parts = Bench(), Bench()
    whole.feed(sound)
    parts.feed(sound)
    wanted = whole.pull(8_000)
    got = np.concatenate([parts.pull(frames) for _ in range(8_000 // frames)])
    assert np.array_equal(got, wanted[: len(got)])


def test_the_device_is_known_to_be_alive():
    bench = Bench()
    assert bench.play.alive_ns == 0
    bench.pull()
    assert bench.play.alive_ns == bench.now_ns
