"""Splices as the jitter buffer carries them out: in its store, around the store's corner, with every channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rtmedia.data
from rtmedia.jitter.state import PLAYING, Buffer
from rtmedia.jitter.timeline import splice_now
from rtmedia.sim.speech import read_speech
from tests.jitter.buffer_driver import drive, make_packets

RATES_HZ = (8_000, 16_000, 24_000, 32_000, 48_000)


def speech(rate_hz, channels):
    sound = read_speech(Path(rtmedia.data.__file__).parent / "conversation.wav").at(rate_hz).block[: 6 * rate_hz]
    if channels == 2:  # opposite phases: a mean of the channels would be next to nothing
        sound = np.column_stack([sound[:, 0], -0.9 * sound[:, 0]])
    return np.ascontiguousarray(sound, np.float32)


def late_then_even(rate_hz, channels, sound, jolt_ms):
    """20 ms packets; the first second comes evenly, the next packets with a stall of `jolt_ms`, then all is even again."""
    frames = rate_hz // 50
    rows = []
    for seq in range(len(sound) // frames):
        at_ms = 20.0 * seq
        if 1_000 <= at_ms < 1_000 + jolt_ms:
            at_ms = 1_000.0 + jolt_ms
        rows.append({"seq": seq, "arrival_ms": at_ms, "epoch": 1})
    return drive(Buffer(rate_hz, channels, start_ms=40.0), make_packets(rows, frames), sound, len(rows) * 2)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(RATES_HZ),
    st.sampled_from([1, 2]),
    st.sampled_from([1, -1]),
    st.floats(2.5, 15.0),
    st.floats(-0.02, 0.02),
    st.integers(0, 2**31),
)
def test_the_store_is_spliced_as_the_formula_says_also_around_its_corner(rate_hz, channels, direction, lag_ms, off_corner_s, seed):
    buffer = Buffer(rate_hz, channels, store_ms=300.0)
    store, state = buffer.store, buffer.state[0]
    before = np.random.default_rng(seed).uniform(-1, 1, store.shape).astype(np.float32)
    store[:] = before
    size = len(store)
    lag = int(lag_ms * rate_hz / 1000)
    q = 3 * size + int(off_corner_s * rate_hz)
    state["phase"], state["m"], state["run_start"] = PLAYING, q, q - lag
    state["splice"], state["splice_at"], state["splice_lag"] = direction, q, lag
    splice_now(buffer.address)

    there = q + direction * lag
    weight = (0.5 - 0.5 * np.cos(np.pi * (np.arange(lag) + 0.5) / lag))[:, None]
    old, new = before[(q + np.arange(lag)) % size], before[(there + np.arange(lag)) % size]
    touched = (there + np.arange(lag)) % size
    assert np.allclose(store[touched], old + weight * (new - old), atol=1e-6)
    untouched = np.setdiff1d(np.arange(size), touched)
    assert (store[untouched] == before[untouched]).all()
    assert state["m"] == there
    assert state["splice"] == 0
    assert state["accelerated" if direction > 0 else "decelerated"] == lag


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_after_a_stall_speech_is_shortened_and_every_frame_is_accounted_for(rate_hz, channels):
    sound = speech(rate_hz, channels)
    walked = late_then_even(rate_hz, channels, sound, 200.0)
    state = walked.state
    assert state["accelerated"] + state["skipped"] > 0
    assert np.isfinite(walked.audio).all()
    if channels == 2:
        assert np.abs(walked.audio[:, 1] + 0.9 * walked.audio[:, 0]).max() < 1e-3  # the channels stay together, made-up sound too
    # What was played for certain: m moved by what was made from the store, plus what was cut, minus what was repeated.
    moved = walked.notes["after"].astype(int) - walked.notes["before"]
    made_elsewhere = walked.notes["concealed"]
    playing = walked.notes["before"] > 0
    from_store = (buffer_block(rate_hz) - made_elsewhere)[playing].sum()
    spliced = state["accelerated"] - state["decelerated"] + state["skipped"] + state["resync"] + state["advanced"]
    idle = (walked.notes["op"][playing] >= 6).sum()
    assert idle > 0 or abs(moved[playing].sum() - from_store - spliced) <= 15 * rate_hz // 1000


def buffer_block(rate_hz):
    return rate_hz // 100


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_opposite_channels_are_spliced_as_often_as_one_alone(rate_hz):
    one = late_then_even(rate_hz, 1, speech(rate_hz, 1), 200.0).state
    two = late_then_even(rate_hz, 2, speech(rate_hz, 2), 200.0).state
    assert one["accelerated"] > 0
    assert two["accelerated"] == pytest.approx(one["accelerated"], rel=0.2)


@pytest.mark.parametrize("rate_hz", [8_000, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_silence_is_spliced_and_stays_silence(rate_hz, channels):
    walked = late_then_even(rate_hz, channels, np.zeros((4 * rate_hz, channels), np.float32), 200.0)
    assert walked.state["accelerated"] > 0
    assert not walked.audio.any()


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_equal_channels_come_out_equal_to_the_bit_and_like_one(rate_hz):
    sound = speech(rate_hz, 1)
    one = late_then_even(rate_hz, 1, sound, 200.0)
    two = late_then_even(rate_hz, 2, np.repeat(sound, 2, axis=1), 200.0)
    assert (two.audio[:, 0] == two.audio[:, 1]).all()
    assert one.state["accelerated"] == two.state["accelerated"]
