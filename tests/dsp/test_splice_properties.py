"""What must hold of every splice: in speech, in stereo, at all rates, and in what is no sound at all."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import rtmedia.data
from rtmedia.dsp.stretch import crossfade, find_splice, splice_scratch_size, splice_window
from rtmedia.sim.speech import read_speech
from tests.dsp.splice_reference import best_correlation, correlation, crosses_an_onset

RATES_HZ = (8_000, 16_000, 24_000, 32_000, 48_000)
FASTER, SLOWER = 1, -1
BOTH = (FASTER, SLOWER)
HISTORY_MS, WINDOW_MS = 20, 80

rates = st.sampled_from(RATES_HZ)
directions = st.sampled_from(BOTH)
places = st.floats(0, 1, exclude_max=True)


@functools.cache
def conversation(rate_hz, channels=1):
    """The embedded conversation; as stereo with a quieter, late, inverted right channel."""
    sound = read_speech(Path(rtmedia.data.__file__).parent / "conversation.wav").at(rate_hz).block
    if channels == 2:
        sound = np.column_stack([sound[:, 0], -0.5 * np.roll(sound[:, 0], rate_hz // 50)])
    return np.ascontiguousarray(sound, np.float32)


def window_of(sound, rate_hz, place):
    frames = WINDOW_MS * rate_hz // 1000
    at = int(place * (len(sound) - frames))
    return np.ascontiguousarray(sound[at : at + frames])


def lags(rate_hz):
    return int(0.0025 * rate_hz), int(0.015 * rate_hz)


def search(x, rate_hz, direction, quiet=0.0):
    """(splice point, lag, correlation, mean square), or None; `x` is (frames, channels)."""
    history = HISTORY_MS * rate_hz // 1000
    result = np.full(4, np.nan)
    scratch = np.full(splice_scratch_size(x.size), np.nan)
    low, high = lags(rate_hz)
    window = np.ascontiguousarray(x.T, np.float32).ravel()
    if not find_splice(window, history, len(x) - history, low, high, history, len(x), direction, rate_hz, quiet, scratch, result):
        return None
    return int(result[0]), int(result[1]), float(result[2]), float(result[3])


def start_of(point, lag, direction):
    return point if direction == FASTER else point - lag


def spliced(x, point, lag, direction):
    out = np.empty((lag, x.shape[1]), np.float32)
    ahead = np.ascontiguousarray(x[point : point + lag])
    other = x[point + lag : point + 2 * lag] if direction == FASTER else x[point - lag : point]
    crossfade(ahead, np.ascontiguousarray(other), out)
    rest = point + 2 * lag if direction == FASTER else point
    return np.concatenate([x[:point], out, x[rest:]])


def stretched(x, rate_hz, direction, count):
    """`count` splices, one every 60 ms."""
    frames, hop = WINDOW_MS * rate_hz // 1000, 60 * rate_hz // 1000
    at = 0
    done = 0
    while done < count and at + frames <= len(x):
        found = search(x[at : at + frames], rate_hz, direction)
        if found and found[2] > 0.9:
            x = np.concatenate([x[:at], spliced(x[at : at + frames], found[0], found[1], direction), x[at + frames :]])
            done += 1
        at += hop
    return x, done


@pytest.mark.parametrize("direction", BOTH)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_the_search_finds_what_trying_everything_finds(rate_hz, channels, direction):
    sound = conversation(rate_hz, channels)
    history = HISTORY_MS * rate_hz // 1000
    shares = []
    for place in np.arange(0.01, 0.99, 0.014 if rate_hz <= 16_000 else 0.03):
        x = window_of(sound, rate_hz, place)
        if np.mean(x**2) < 1e-5:
            continue
        found = search(x, rate_hz, direction)
        best, _, _ = best_correlation(x, rate_hz, *lags(rate_hz), history, len(x), direction)
        if found is None:
            shares.append(0.0 if best > 0.5 else 1.0)
            continue
        point, lag, rho, mean_square = found
        if mean_square <= 1e-6:  # silence wins over everything
            continue
        start = start_of(point, lag, direction)
        assert not crosses_an_onset(x.astype(float), rate_hz, start, lag)
        assert rho == pytest.approx(correlation(x.astype(float), start, lag), abs=1e-4)
        shares.append(rho / best)
    shares = np.array(shares)
    assert len(shares) >= 15
    assert np.mean(shares >= 0.98) >= 0.95 - 0.5 / len(shares)
    assert shares.min() > 0.4  # hiss: some short lag that nobody would take
    assert shares.max() <= 1.0001


@settings(max_examples=80)
@given(rates, st.sampled_from([1, 2]), directions, places)
def test_a_splice_changes_the_length_by_its_lag_and_leaves_no_larger_step_than_there_was(rate_hz, channels, direction, place):
    x = window_of(conversation(rate_hz, channels), rate_hz, place)
    found = search(x, rate_hz, direction)
    if found is None:
        return
    point, lag, rho, _ = found
    low, high = lags(rate_hz)
    assert low <= lag <= high
    assert HISTORY_MS * rate_hz // 1000 <= point
    start = start_of(point, lag, direction)
    assert start >= 0
    assert start + 2 * lag <= len(x)
    assert -1 <= rho <= 1
    out = spliced(x, point, lag, direction)
    assert len(out) == len(x) - direction * lag
    # Nothing but the cross-fade is touched.
    assert (out[:point] == x[:point]).all()
    tail = len(out) - point - lag
    assert (out[point + lag :] == x[len(x) - tail :]).all()
    # A step of the cross-fade is one of the two pieces' steps, and what the weight's own step moves: pi/2L of their difference.
    begin, end = max(0, start - 1), min(len(x), start + 2 * lag + 1)
    own = np.abs(np.diff(x[begin:end], axis=0)).max()
    apart = np.abs(x[start : start + lag] - x[start + lag : start + 2 * lag]).max()
    after = np.abs(np.diff(out[max(0, point - 1) : point + lag + 1], axis=0)).max()
    assert after <= own + np.pi / (2 * lag) * apart + 1e-6


@settings(max_examples=40)
@given(rates, directions, places)
def test_equal_channels_are_spliced_like_one_and_stay_equal(rate_hz, direction, place):
    x = window_of(conversation(rate_hz), rate_hz, place)
    one = search(x, rate_hz, direction)
    two = search(np.repeat(x, 2, axis=1), rate_hz, direction)
    assert (one is None) == (two is None)
    if one:
        assert one[:2] == two[:2]
        assert one[2:] == pytest.approx(two[2:], rel=1e-6, abs=1e-12)
        out = spliced(np.repeat(x, 2, axis=1), *two[:2], direction)
        assert (out[:, 0] == out[:, 1]).all()


@settings(max_examples=40)
@given(rates, directions, places, st.sampled_from([-1.0, -0.25, 0.0]))
def test_opposite_phase_and_a_silent_channel_cancel_nothing(rate_hz, direction, place, gain):
    x = window_of(conversation(rate_hz), rate_hz, place)
    if np.mean(x**2) < 1e-4:
        return
    one = search(x, rate_hz, direction)
    two = search(np.column_stack([x[:, 0], gain * x[:, 0]]).astype(np.float32), rate_hz, direction)
    if one and one[3] > 1e-5:
        assert two is not None
        assert two[2] == pytest.approx(one[2], abs=0.02) or two[3] <= 1e-6


@given(rates, st.sampled_from([1, 2]), directions)
@settings(max_examples=20)
def test_exact_zeros_stay_zeros(rate_hz, channels, direction):
    x = np.zeros((WINDOW_MS * rate_hz // 1000, channels), np.float32)
    point, lag, rho, mean_square = search(x, rate_hz, direction)
    assert (rho, mean_square) == (1.0, 0.0)
    assert abs(lag - 0.010 * rate_hz) <= 1
    assert not spliced(x, point, lag, direction).any()


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_constant_is_silence_with_an_offset(rate_hz):
    x = np.full((WINDOW_MS * rate_hz // 1000, 1), 0.1, np.float32)
    for direction in BOTH:
        point, lag, rho, _ = search(x, rate_hz, direction)
        assert rho == pytest.approx(1.0)
        assert (spliced(x, point, lag, direction) == np.float32(0.1)).all()


@settings(max_examples=60)
@given(rates, directions, st.integers(1, 30), st.integers(0, 2**31))
def test_identical_pieces_come_out_to_the_bit(rate_hz, direction, period_tenth_ms, seed):
    period = rate_hz * (25 + period_tenth_ms * 4) // 10_000
    one = np.random.default_rng(seed).uniform(-0.5, 0.5, (period, 1)).astype(np.float32)
    x = np.resize(one, (WINDOW_MS * rate_hz // 1000, 1))
    a = np.ascontiguousarray(x[:period])
    out = np.empty_like(a)
    crossfade(a, np.ascontiguousarray(x[period : 2 * period]), out)
    assert (out == a).all()


@settings(max_examples=80)
@given(rates, directions, st.floats(9, 79), st.sampled_from(["tone", "noise", "speech"]), st.integers(0, 2**31))
@example(16_000, FASTER, 40.0, "tone", 0)
def test_a_burst_after_silence_is_in_no_cross_fade(rate_hz, direction, at_ms, kind, seed):
    rng = np.random.default_rng(seed)
    frames = WINDOW_MS * rate_hz // 1000
    begins = int(at_ms * rate_hz / 1000)
    x = 1e-3 * rng.normal(size=frames)
    rest = frames - begins
    if kind == "tone":
        x[begins:] += 0.4 * np.cos(2 * np.pi * rng.uniform(100, 400) * np.arange(rest) / rate_hz)
    elif kind == "noise":
        x[begins:] += 0.2 * rng.normal(size=rest)
    else:
        vowel = conversation(rate_hz)[:, 0]
        loud = int(np.argmax(np.abs(vowel[: len(vowel) // 2])))
        x[begins:] += vowel[loud : loud + rest]
    x = x.astype(np.float32)[:, None]
    for quiet in (0.0, 1e-5):
        found = search(x, rate_hz, direction, quiet)
        if found:
            start = start_of(*found[:2], direction)
            assert not start < begins < start + 2 * found[1] - 1


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
@pytest.mark.parametrize("direction", BOTH)
def test_a_chord_has_no_good_place_and_says_so(rate_hz, direction):
    t = np.arange(WINDOW_MS * rate_hz // 1000) / rate_hz
    notes_hz = (196.0, 233.1, 277.2, 311.1, 370.0, 466.2, 523.3, 698.5, 1046.5, 1174.7)
    x = sum(0.05 * np.sin(2 * np.pi * f * t + i * i) for i, f in enumerate(notes_hz)).astype(np.float32)[:, None]
    history = HISTORY_MS * rate_hz // 1000
    best, _, _ = best_correlation(x, rate_hz, *lags(rate_hz), history, len(x), direction)
    found = search(x, rate_hz, direction)
    assert best < 0.9
    assert found is None or found[2] <= best + 1e-4


@settings(max_examples=80)
@given(
    rates,
    st.sampled_from([1, 2]),
    directions,
    places,
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e20, 1e5, 1e-40])),
        min_size=1,
        max_size=4,
    ),
)
def test_what_is_no_sound_neither_hangs_nor_escapes(rate_hz, channels, direction, place, strange):
    x = window_of(conversation(rate_hz, channels), rate_hz, place).copy()
    for at, value in strange:
        x.reshape(-1)[int(at * x.size)] = value
    found = search(x, rate_hz, direction)
    if not np.isfinite(x).all() or np.abs(x).max() > 1e15:
        assert found is None
    elif found:
        assert np.isfinite(found).all()
        assert -1 <= found[2] <= 1


@settings(max_examples=60)
@given(
    st.integers(-5, 5_000), st.integers(-5, 5_000), st.integers(-5, 900), st.integers(-5, 900),
    st.integers(-9, 5_000), st.integers(-9, 5_000), directions, st.sampled_from([0, 999, 8_000, 22_050, 192_000]), st.integers(0, 20_000),
)  # fmt: skip
def test_any_numbers_give_a_splice_inside_of_the_limits_or_none(history, future, low, high, first, last, direction, rate_hz, size):
    window = np.resize(conversation(16_000)[16_000:24_000, 0], size).astype(np.float32)
    scratch = np.zeros(splice_scratch_size(size))
    result = np.zeros(4)
    if find_splice(window, history, future, low, high, first, last, direction, rate_hz, 0.0, scratch, result):
        point, lag = int(result[0]), int(result[1])
        start = start_of(point, lag, direction)
        assert max(low, 2) <= lag <= high
        assert max(first, history) <= point <= min(last, history + future)
        assert start >= 0
        assert start + 2 * lag <= history + future


def test_too_little_scratch_is_no_splice():
    x = conversation(16_000)[16_000:17_280, 0].copy()
    assert find_splice(x, 320, 960, 40, 240, 0, 1280, FASTER, 16_000, 0.0, np.zeros(500), np.zeros(4)) == 0


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("direction", BOTH)
@pytest.mark.parametrize("pitch_hz", [92.0, 131.0, 217.0, 305.0])
def test_a_vowel_keeps_its_pitch_and_its_colour(rate_hz, direction, pitch_hz):
    t = np.arange(rate_hz) / rate_hz
    count = int(0.45 * min(rate_hz, 9_000) / pitch_hz)
    x = sum(np.exp(-(((k * pitch_hz - 650) / 400) ** 2)) * np.cos(2 * np.pi * k * pitch_hz * t + k * k) for k in range(1, count))
    x = (0.2 * x / np.abs(x).max()).astype(np.float32)[:, None]
    y, splices = stretched(x, rate_hz, direction, 10)
    assert splices == 10
    assert (len(y) < len(x)) == (direction == FASTER)

    def measured(sound):
        size = rate_hz // 2
        spectrum = np.abs(np.fft.rfft(sound[:size, 0] * np.hanning(size), 4 * size)) ** 2
        hz = np.fft.rfftfreq(4 * size, 1 / rate_hz)
        near = (hz > 0.8 * pitch_hz) & (hz < 1.2 * pitch_hz)
        return hz[near][np.argmax(spectrum[near])], float((hz * spectrum).sum() / spectrum.sum())

    (pitch, colour), (pitch_after, colour_after) = measured(x), measured(y)
    assert pitch_after == pytest.approx(pitch, rel=0.01)
    assert colour_after == pytest.approx(colour, rel=0.02)


@given(st.integers(0, 10_000), st.integers(0, 64), st.sampled_from([1, 2, 3]))
@settings(max_examples=30)
def test_the_window_is_the_stores_own_frames_around_the_corner_too(position, frames, channels):
    store = np.arange(64 * channels, dtype=np.float32).reshape(64, channels)
    window = np.full(frames * channels + 1, np.nan, np.float32)
    splice_window(store, position, frames, window)
    assert (window[:-1].reshape(channels, frames) == store[(position + np.arange(frames)) % 64].T).all()
    assert np.isnan(window[-1])
