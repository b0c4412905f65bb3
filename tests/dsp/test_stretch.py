"""Splices against an exhaustive search, and what must hold of every splice."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rtmedia.dsp.stretch import (
    FLOOR_LEAST,
    FLOOR_START,
    SILENCE_MEAN_SQUARE,
    crossfade,
    find_splice,
    noise_floor_update,
    quiet_limit,
    splice_scratch_size,
)

RATES_HZ = (8_000, 16_000, 24_000, 32_000, 44_100, 48_000)
FASTER, SLOWER = 1, -1


def lags(rate_hz):
    return int(0.0025 * rate_hz), int(0.015 * rate_hz)


def search(x, direction, rate_hz, history_ms=15.0, quiet=0.0, first=0, last=None, limits=None):
    """(splice point, lag, correlation, mean square), or None."""
    x = np.ascontiguousarray(x, np.float32)
    history = int(history_ms * rate_hz / 1000)
    low, high = limits or lags(rate_hz)
    result = np.full(4, np.nan)
    scratch = np.full(splice_scratch_size(len(x)), np.nan)
    last = len(x) if last is None else last
    found = find_splice(x, history, len(x) - history, low, high, first, last, direction, rate_hz, quiet, scratch, result)
    return (int(result[0]), int(result[1]), result[2], result[3]) if found else None


def spliced(x, point, lag, direction):
    """What the jitter buffer does with a splice: `x` is (frames, channels)."""
    out = np.empty((lag, x.shape[1]), np.float32)
    ahead = np.ascontiguousarray(x[point : point + lag])
    if direction == FASTER:
        crossfade(ahead, np.ascontiguousarray(x[point + lag : point + 2 * lag]), out)
        return np.concatenate([x[:point], out, x[point + 2 * lag :]])
    crossfade(ahead, np.ascontiguousarray(x[point - lag : point]), out)
    return np.concatenate([x[:point], out, x[point:]])


def exhaustive(x, history, low, high, direction):
    """Every lag, every point, full rate: the obvious way."""
    y = x.astype(float) - x.astype(float).mean()
    best = -2.0
    for lag in range(low, high + 1):
        shift = 0 if direction == FASTER else lag
        for start in range(max(0, history - shift), min(len(x) - shift, len(x) - 2 * lag) + 1):
            a, b = y[start : start + lag], y[start + lag : start + 2 * lag]
            ea, eb = a @ a, b @ b
            if ea <= 4 * eb and eb <= 4 * ea:
                best = max(best, a @ b / math.sqrt(ea * eb))
    return best


def voice(rng, rate_hz, frames):
    """Harmonics of a gliding pitch under a little noise."""
    t = np.arange(frames) / rate_hz
    pitch_hz = rng.uniform(80, 350) * (1 + rng.uniform(-0.1, 0.1) * t / t[-1])
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    count = int(min(3500, 0.45 * rate_hz) / pitch_hz.max())
    x = sum(np.cos(k * phase + rng.uniform(0, 6)) * rng.uniform(0.2, 1) / k**1.5 for k in range(1, count))
    return (0.1 * x * (1 + rng.uniform(-0.4, 0.4) * t / t[-1]) + 0.002 * rng.normal(size=frames)).astype(np.float32)


@pytest.mark.parametrize("direction", [FASTER, SLOWER])
def test_the_splice_found_is_nearly_as_good_as_the_best_of_all(direction):
    rng = np.random.default_rng(5)
    lack = []
    for _ in range(12):
        x = voice(rng, 8_000, 400)
        found = search(x, direction, 8_000)
        best = exhaustive(x, 120, *lags(8_000), direction)
        assert found is not None
        lack.append(best - found[2])
    assert np.median(lack) < 0.005
    assert max(lack) < 0.03


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_the_correlation_reported_is_that_of_the_two_pieces(rate_hz):
    rng = np.random.default_rng(rate_hz)
    for direction in (FASTER, SLOWER):
        x = voice(rng, rate_hz, int(0.06 * rate_hz))
        point, lag, rho, mean_square = search(x, direction, rate_hz)
        start = point if direction == FASTER else point - lag
        y = x.astype(float) - x.astype(float).mean()
        a, b = y[start : start + lag], y[start + lag : start + 2 * lag]
        assert rho == pytest.approx(a @ b / math.sqrt((a @ a) * (b @ b)), abs=1e-6)
        assert mean_square == pytest.approx(np.mean(x[start : start + 2 * lag].astype(float) ** 2), rel=1e-6)
        assert rho > 0.9


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("direction", [FASTER, SLOWER])
@pytest.mark.parametrize("pitch_hz", [80, 125, 200, 320])
def test_a_periodic_sound_changes_by_whole_periods_and_stays_continuous(rate_hz, direction, pitch_hz):
    period = rate_hz // pitch_hz  # a whole number of frames: the sound is exactly periodic
    t = np.arange(int(0.08 * rate_hz))
    one = sum(np.cos(2 * np.pi * k * t / period + k * k) / k for k in range(1, 6) if k * pitch_hz < 0.4 * rate_hz)
    x = (0.1 * one).astype(np.float32)[:, None]
    point, lag, rho, _ = search(x[:, 0], direction, rate_hz)
    assert rho > 0.999
    assert lag % period == 0
    out = spliced(x, point, lag, direction)
    assert len(out) == len(x) - direction * lag
    assert np.allclose(out[:, 0], np.resize(x[:period, 0], len(out)), atol=1e-6)
    assert np.abs(np.diff(out[:, 0])).max() <= np.abs(np.diff(x[:, 0])).max() + 1e-6


def test_a_period_between_two_frames_leaves_no_larger_step_than_the_sound_has():
    t = np.arange(960) / 16_000
    for pitch_hz in (83.3, 147.1, 211.7, 333.3):
        x = (0.4 * np.sin(2 * np.pi * pitch_hz * t)).astype(np.float32)[:, None]
        for direction in (FASTER, SLOWER):
            point, lag, rho, _ = search(x[:, 0], direction, 16_000)
            assert rho > 0.99
            out = spliced(x, point, lag, direction)
            assert np.abs(np.diff(out[:, 0])).max() <= 1.05 * np.abs(np.diff(x[:, 0])).max()


def test_silence_is_spliced_with_ten_milliseconds_and_stays_exact_silence():
    x = np.zeros((960, 2), np.float32)
    for direction in (FASTER, SLOWER):
        point, lag, rho, mean_square = search(x[:, 0], direction, 16_000)
        assert (lag, rho, mean_square) == (160, 1.0, 0.0)
        out = spliced(x, point, lag, direction)
        assert len(out) == 960 - direction * 160
        assert not out.any()


def test_a_pause_wins_over_the_best_vowel():
    rng = np.random.default_rng(2)
    t = np.arange(960) / 16_000
    x = 0.3 * np.sin(2 * np.pi * 200 * t)
    x[500:] = 0
    x += 3e-3 * rng.normal(size=960)  # a room at -50 dBFS
    point, lag, _, mean_square = search(x, FASTER, 16_000, quiet=8e-5)
    assert point >= 500
    assert lag == 160
    assert mean_square < 2e-5
    assert search(x, FASTER, 16_000, quiet=0.0)[2] > 0.99  # without knowing the floor: the vowel


def test_a_short_pause_is_used_with_a_shorter_lag():
    t = np.arange(960) / 16_000
    x = 0.3 * np.sin(2 * np.pi * 200 * t)
    x[500:620] = 0
    point, lag, _, mean_square = search(x, FASTER, 16_000)
    assert 40 <= lag <= 60
    assert point >= 500
    assert point + 2 * lag <= 620
    assert mean_square == 0


def test_no_splice_crosses_an_onset():
    rng = np.random.default_rng(3)
    x = 0.004 * rng.normal(size=960)
    x[480:] += 0.5 * np.sin(2 * np.pi * 210 * np.arange(480) / 16_000)
    for direction in (FASTER, SLOWER):
        point, lag, rho, _ = search(x, direction, 16_000)
        start = point if direction == FASTER else point - lag
        a, b = x[start : start + lag], x[start + lag : start + 2 * lag]
        assert 0.25 <= (a @ a) / (b @ b) <= 4
        assert rho > 0.99


def test_played_frames_are_read_but_never_changed():
    rng = np.random.default_rng(4)
    for _ in range(20):
        x = voice(rng, 16_000, 960)
        for direction in (FASTER, SLOWER):
            point, lag, _, _ = search(x, direction, 16_000, history_ms=20)
            assert point >= 320
            if direction == FASTER:
                assert point + 2 * lag <= 960
            else:
                assert point - lag >= 0
                assert point + lag <= 960


def test_the_limits_of_the_splice_point_and_of_the_lag_hold():
    rng = np.random.default_rng(6)
    for _ in range(20):
        x = voice(rng, 16_000, 960)
        for direction in (FASTER, SLOWER):
            found = search(x, direction, 16_000, first=400, last=430, limits=(50, 90))
            if found:
                assert 400 <= found[0] <= 430
                assert 50 <= found[1] <= 90


@pytest.mark.parametrize(("frames", "first", "last"), [(70, 0, 70), (960, 950, 960), (960, 500, 400), (1, 0, 1), (0, 0, 0)])
def test_a_window_without_room_has_no_splice(frames, first, last):
    x = voice(np.random.default_rng(7), 16_000, 960)[:frames]
    assert search(x, FASTER, 16_000, history_ms=0, first=first, last=last) is None


def test_a_constant_offset_does_not_make_noise_look_periodic():
    noise = 0.05 * np.random.default_rng(8).normal(size=960)
    plain = search(noise, FASTER, 16_000)
    raised = search(noise + 0.3, FASTER, 16_000)
    assert raised[2] == pytest.approx(plain[2], abs=0.02)
    assert raised[2] < 0.8


def test_nan_and_too_little_scratch_give_no_splice_and_no_crash():
    assert search(np.full(960, np.nan), FASTER, 16_000) is None
    x = np.zeros(960, np.float32)
    assert find_splice(x, 240, 720, 40, 240, 0, 960, FASTER, 16_000, 0.0, np.zeros(100), np.zeros(4)) == 0


def test_crossfade_is_a_raised_cosine_and_equal_sounds_pass_to_the_bit():
    rng = np.random.default_rng(9)
    a, b = rng.normal(size=(2, 100, 2)).astype(np.float32)
    out = np.empty_like(a)
    crossfade(a, b, out)
    weight = (0.5 - 0.5 * np.cos(np.pi * (np.arange(100) + 0.5) / 100))[:, None]
    assert np.allclose(out, (1 - weight) * a + weight * b, atol=1e-6)
    crossfade(a, a, out)
    assert (out == a).all()


def test_crossfade_works_in_place():
    rng = np.random.default_rng(10)
    a, b = rng.normal(size=(2, 100, 1)).astype(np.float32)
    want = np.empty_like(a)
    crossfade(a, b, want)
    crossfade(a, b, b)
    assert (b == want).all()


def test_the_noise_floor_falls_at_once_and_rises_fourfold_in_four_seconds():
    state = np.zeros(1)
    assert noise_floor_update(state, 0.01) == FLOOR_START
    assert noise_floor_update(state, 1e-6) == 1e-6
    for _ in range(400):
        floor = noise_floor_update(state, 0.01)
    assert floor == pytest.approx(4e-6, rel=1e-6)
    for _ in range(20_000):
        floor = noise_floor_update(state, 1e-4)
    assert floor == 1e-4


@pytest.mark.parametrize("strange", [0.0, FLOOR_LEAST / 2, math.nan, -1.0])
def test_digital_silence_and_nan_leave_the_floor(strange):
    state = np.array([1e-5])
    assert noise_floor_update(state, strange) == 1e-5


def test_silence_is_eight_times_the_floor_but_at_least_minus_60_dbfs():
    assert quiet_limit(1e-5) == 8e-5
    assert quiet_limit(0.0) == SILENCE_MEAN_SQUARE
