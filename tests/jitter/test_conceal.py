"""What must hold of every concealment: no step, no noise out of silence, no growth, no end."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from rtmedia.dsp.lpc import autocorrelate, levinson
from rtmedia.errors import ConfigError
from rtmedia.jitter.conceal import background_update, conceal_begin, conceal_merge, conceal_next, conceal_state

RATES_HZ = (8_000, 16_000, 24_000, 32_000, 44_100, 48_000)


class Stream:
    """One stream's concealment, in arrays instead of addresses."""

    def __init__(self, rate_hz=16_000, channels=1, seed=1):
        self.rate_hz, self.channels = rate_hz, channels
        self.state = conceal_state(rate_hz, channels, seed)

    def frames(self, ms):
        return int(ms * self.rate_hz / 1000)

    def shaped(self, sound):
        sound = np.asarray(sound, np.float32)
        return np.ascontiguousarray(np.repeat(sound[:, None], self.channels, 1) if sound.ndim == 1 else sound)

    def begin(self, history):
        history = self.shaped(history)
        conceal_begin(self.state.ctypes.data, history.ctypes.data, len(history))
        return self

    def next(self, frames):
        out = np.full((frames, self.channels), np.nan, np.float32)
        conceal_next(self.state.ctypes.data, out.ctypes.data, frames)
        return out

    def merge(self, good, fade_ms=7.5):
        good = self.shaped(good).copy()
        conceal_merge(self.state.ctypes.data, good.ctypes.data, len(good), self.frames(fade_ms))
        return good

    def learn(self, sound):
        sound = self.shaped(sound)
        step = self.frames(10)
        for start in range(0, len(sound) - step + 1, step):
            background_update(self.state.ctypes.data, sound[start:].ctypes.data, step)


def power(x):
    return float(np.mean(np.square(x, dtype=np.float64)))


def step(x):
    return np.abs(np.diff(x, axis=0)).max()


def voice(rate_hz, ms, pitch_hz=140.0, start_ms=0.0):
    """A steady vowel: pulses of a pitch through two formants, as harmonics."""
    t = (np.arange(int(ms * rate_hz / 1000)) + int(start_ms * rate_hz / 1000)) / rate_hz
    x = np.zeros(len(t))
    for k in range(1, int(3600 / pitch_hz)):
        f = k * pitch_hz
        gain = math.exp(-(((f - 600) / 300) ** 2)) + 0.5 * math.exp(-(((f - 1800) / 400) ** 2)) + 0.02
        x += gain * np.sin(2 * np.pi * f * t + k * k)
    return (0.1 * x).astype(np.float32)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_sine_goes_on_for_20_ms_within_one_percent(rate_hz, channels):
    stream = Stream(rate_hz, channels)
    history, length = stream.frames(60), stream.frames(20)
    for pitch_hz in range(100, 351, 25):
        x = 0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(history + length) / rate_hz + 0.3)
        out = stream.begin(x[:history]).next(length)
        error = out - stream.shaped(x[history:])
        assert power(error) < 0.01**2 * power(x)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("pitch_hz", [83.0, 140.0, 231.0, 330.0])
def test_no_step_at_the_beginning_of_the_concealment(rate_hz, pitch_hz):
    stream = Stream(rate_hz)
    x = voice(rate_hz, 60, pitch_hz)
    out = stream.begin(x).next(stream.frames(10))[:, 0]
    assert step(np.concatenate([x[-1:], out])) <= 1.15 * step(x)


@pytest.mark.parametrize("seed", range(6))
def test_no_step_at_the_beginning_where_the_sound_is_noise(seed):
    x = np.convolve(np.random.default_rng(seed).normal(size=1000), np.hanning(9), "valid")[-960:] * 0.05
    out = Stream(16_000).begin(x).next(160)[:, 0]
    assert abs(out[0] - x[-1]) <= 1.15 * step(x)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("gap_ms", [10, 20, 60, 120, 400])
def test_no_step_at_the_merge_and_the_good_audio_keeps_its_place(rate_hz, gap_ms):
    stream = Stream(rate_hz)
    x = voice(rate_hz, 60)
    gap = stream.begin(x).next(stream.frames(gap_ms))
    good = voice(rate_hz, 40, start_ms=60 + gap_ms + 2.7)  # and out of phase
    merged = stream.merge(good)
    whole = np.concatenate([gap[-1:], merged])
    assert step(whole) <= 1.3 * step(x)
    tail = len(good) // 4
    assert np.allclose(merged[-tail:, 0], good[-tail:], rtol=0.35)  # the end of the ramp
    assert merged[-1, 0] == pytest.approx(good[-1], rel=0.01, abs=1e-6)


def test_after_a_short_gap_the_merge_touches_only_its_cross_fade():
    stream = Stream(16_000)
    x = voice(16_000, 400)
    stream.begin(x[:960]).next(320)
    merged = stream.merge(x[1280:1600])
    assert (merged[120:, 0] == x[1400:1600]).all()


def test_a_merge_out_of_phase_runs_in_step_and_does_not_dip():
    quietest = []
    for late_ms in np.arange(0, 5, 0.5):
        stream = Stream(16_000)
        stream.begin(voice(16_000, 60, 200.0)).next(320)
        merged = stream.merge(voice(16_000, 20, 200.0, start_ms=80 + late_ms), 10)
        quietest.append(min(power(merged[k : k + 80]) for k in range(0, 240, 16)))
    assert min(quietest) > 0.25 * power(voice(16_000, 60, 200.0))  # -6 dB over any 5 ms, at the worst phase


def test_after_a_long_gap_the_good_audio_rises_instead_of_breaking_in():
    stream = Stream(16_000)
    stream.begin(voice(16_000, 60)).next(4800)
    good = voice(16_000, 30, 200.0)
    merged = stream.merge(good)
    level = [power(merged[k : k + 80]) / power(good[k : k + 80]) for k in range(0, 480, 80)]
    assert level == sorted(level)
    assert level[0] < 0.02
    assert level[-1] > 0.75


def test_a_merge_without_concealment_changes_nothing():
    stream = Stream(16_000)
    good = voice(16_000, 20)
    assert (stream.merge(good)[:, 0] == good).all()
    stream.begin(good).next(160)
    stream.merge(good)
    assert (stream.merge(good)[:, 0] == good).all()  # the first merge ended it


@pytest.mark.parametrize("channels", [1, 2])
def test_silence_stays_exact_silence(channels):
    stream = Stream(16_000, channels)
    stream.learn(0.003 * np.random.default_rng(1).normal(size=16_000))
    assert not stream.begin(np.zeros(960)).next(8000).any()
    assert not stream.merge(np.zeros(320)).any()


def test_nothing_comes_before_begin():
    assert not Stream(16_000).next(320).any()


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("sound", ["voice", "noise", "rising", "falling", "onset", "impulse", "square"])
def test_the_concealment_is_never_louder_than_what_was_heard(rate_hz, sound):
    rng = np.random.default_rng(2)
    n = int(0.06 * rate_hz)
    ramp = np.linspace(0.05, 1, n)
    x = {
        "voice": voice(rate_hz, 60),
        "noise": 0.1 * rng.normal(size=n),
        "rising": ramp * voice(rate_hz, 60),
        "falling": ramp[::-1] * voice(rate_hz, 60),
        "onset": np.where(np.arange(n) > 0.8 * n, voice(rate_hz, 60), 0),
        "impulse": np.eye(1, n, n // 2)[0],
        "square": np.sign(np.sin(2 * np.pi * 130 * np.arange(n) / rate_hz)),
    }[sound].astype(np.float32)
    stream = Stream(rate_hz)
    out = stream.begin(x).next(stream.frames(300))
    block = stream.frames(10)
    loudest = max(power(x[k : k + block]) for k in range(0, n - block + 1, block // 4))
    # noise: 10 ms of a random sound vary by about a decibel
    assert max(power(out[k : k + block]) for k in range(0, len(out) - block, block // 4)) <= 1.26 * loudest
    assert np.abs(out).max() <= np.abs(x).max()


@pytest.mark.parametrize("pitch_hz", [90.0, 140.0, 300.0])
def test_a_voiced_sound_holds_for_20_ms_and_has_faded_to_the_background_after_80_ms(pitch_hz):
    stream = Stream(16_000)
    room = 0.002 * np.random.default_rng(3).normal(size=32_000)
    stream.learn(room)
    x = voice(16_000, 60, pitch_hz)
    out = stream.begin(x).next(16_000)
    assert power(out[:160]) == pytest.approx(power(x), rel=0.3)
    levels = [power(out[k : k + 320]) for k in range(0, 1600, 320)]
    # 20 ms are no whole number of periods: a tenth more or less
    assert all(after < 1.1 * before for before, after in itertools.pairwise(levels))
    assert 10 * math.log10(power(out[1280:]) / power(room)) == pytest.approx(0, abs=1.5)
    assert 10 * math.log10(power(out[-4000:]) / power(room)) == pytest.approx(0, abs=1.5)


@pytest.mark.parametrize("pitch_hz", [90.0, 140.0, 300.0])
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_no_step_where_the_repetition_takes_in_more_periods(rate_hz, pitch_hz):
    rng = np.random.default_rng(13)
    n = int(0.06 * rate_hz)
    level = 1.0 + 0.3 * np.repeat(rng.normal(size=12), n // 12 + 1)[:n]  # periods that are not alike
    x = voice(rate_hz, 60, pitch_hz) * np.convolve(np.pad(level, n // 24, "edge"), np.ones(n // 12) / (n // 12), "same")[n // 24 :][:n]
    out = Stream(rate_hz).begin(x).next(int(0.08 * rate_hz))
    assert step(out) <= 1.3 * step(x)


def test_a_steady_vowel_is_continued_through_all_its_periods():
    whole = voice(16_000, 130, 150.0)
    out = Stream(16_000).begin(whole[:960]).next(1120)[:, 0]
    want = whole[960:2080]
    rho = [
        np.dot(out[k : k + 160], want[k : k + 160]) / math.sqrt(power(out[k : k + 160]) * power(want[k : k + 160])) / 160
        for k in range(0, 1120, 160)
    ]
    assert min(rho) > 0.9  # in step over 70 ms, whatever the loop's length


def test_a_background_that_nobody_hears_is_not_made():
    stream = Stream(16_000)
    stream.learn(1e-4 * np.random.default_rng(14).normal(size=16_000))  # -80 dBFS
    assert not stream.begin(voice(16_000, 60)).next(8000)[1280:].any()


def test_without_a_known_background_the_end_is_silence():
    assert not Stream(16_000).begin(voice(16_000, 60)).next(8000)[2400:].any()


def test_the_background_has_the_spectrum_of_the_room():
    rng = np.random.default_rng(4)
    room = np.convolve(0.004 * rng.normal(size=48_000), np.hanning(12), "valid")
    stream = Stream(16_000)
    stream.learn(np.concatenate([room[:24_000], voice(16_000, 500), room[24_000:32_000]]))
    out = stream.begin(voice(16_000, 60)).next(40_000)[4_000:, 0]
    want, got = (np.abs(np.fft.rfft(s[:32_000].reshape(-1, 256) * np.hanning(256), axis=1)) ** 2 for s in (room, out))
    want_db, got_db = (10 * np.log10(np.mean(s, axis=0)[2:60]) for s in (want, got))  # up to where the room has sound
    audible = want_db > want_db.max() - 30
    assert np.sqrt(np.mean((want_db - got_db)[audible] ** 2)) < 3.0


def test_the_background_is_learnt_in_pauses_and_not_from_speech():
    stream = Stream(16_000)
    room = 0.002 * np.random.default_rng(5).normal(size=16_000)
    stream.learn(np.concatenate([room, voice(16_000, 3000)]))
    out = stream.begin(voice(16_000, 60)).next(8000)[2400:]
    assert 10 * math.log10(power(out) / power(room)) == pytest.approx(0, abs=1.5)


def test_noise_is_concealed_by_noise_of_the_same_level_and_spectrum():
    rng = np.random.default_rng(6)
    want = np.zeros(129)
    got = np.zeros(129)
    levels = []
    for seed in range(1, 60):
        x = np.convolve(rng.normal(size=1000), [1, 0.8, 0.3], "same")[-960:] * 0.05
        out = Stream(16_000, seed=seed).begin(x).next(256)[:, 0]
        levels.append(power(out[:128]) / power(x))
        want += np.abs(np.fft.rfft(x[-256:] * np.hanning(256))) ** 2
        got += np.abs(np.fft.rfft(out * np.hanning(256))) ** 2
    assert 10 * math.log10(np.mean(levels)) == pytest.approx(0, abs=1.5)
    smooth = np.ones(9) / 9
    difference = 10 * np.log10(np.convolve(got, smooth, "valid") / np.convolve(want, smooth, "valid"))
    assert np.std(difference) < 1.5


def test_noise_does_not_turn_into_a_tone():
    x = 0.1 * np.random.default_rng(7).normal(size=960)
    out = Stream(16_000).begin(x).next(960)[160:, 0].astype(float)
    r = np.correlate(out, out, "full")[len(out) - 1 :]
    assert np.abs(r[40:240]).max() / r[0] < 0.5


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("channels", [1, 2])
def test_any_division_into_calls_gives_the_same_output_to_the_bit(rate_hz, channels):
    rng = np.random.default_rng(8)
    room = 0.002 * rng.normal(size=(rate_hz, channels))
    x = rng.normal(size=(rate_hz // 10, channels)) * 0.01 + voice(rate_hz, 100)[: rate_hz // 10, None]
    whole = Stream(rate_hz, channels)
    whole.learn(room)
    want = whole.begin(x).next(rate_hz // 4)
    for sizes in ((1,), (7, 64, 3), (rate_hz // 100,)):
        parts = Stream(rate_hz, channels)
        parts.learn(room)
        parts.begin(x)
        got, k = [], 0
        made = 0
        while made < rate_hz // 4:
            got.append(parts.next(min(sizes[k % len(sizes)], rate_hz // 4 - made)))
            made += len(got[-1])
            k += 1
        assert np.concatenate(got).tobytes() == want.tobytes()


def test_equal_seeds_give_equal_sound_and_others_do_not():
    x = 0.1 * np.random.default_rng(9).normal(size=960)
    one, same, other = (Stream(16_000, seed=seed).begin(x).next(800) for seed in (1, 1, 2))
    assert (one == same).all()
    assert not (one == other).all()


def test_equal_channels_stay_equal():
    x = voice(16_000, 60) + 0.02 * np.random.default_rng(10).normal(size=960).astype(np.float32)
    stream = Stream(16_000, 2)
    out = stream.begin(x).next(1600)
    assert np.allclose(out[:, 0], out[:, 1], atol=1e-5)


def test_stereo_keeps_one_lag_and_each_channel_its_level():
    x = np.stack([voice(16_000, 60), 0.1 * voice(16_000, 60)], axis=1)
    out = Stream(16_000, 2).begin(x).next(160)
    assert np.allclose(out[:, 1], 0.1 * out[:, 0], atol=0.02 * np.abs(out[:, 1]).max())


def test_a_channel_that_is_silent_stays_silent():
    x = np.stack([voice(16_000, 60), np.zeros(960, np.float32)], axis=1)
    assert not Stream(16_000, 2).begin(x).next(1600)[:, 1].any()


def test_channels_that_cancel_are_concealed_like_any_other():
    x = np.stack([voice(16_000, 60), -voice(16_000, 60)], axis=1)
    out = Stream(16_000, 2).begin(x).next(320)
    assert power(out) > 0.5 * power(x)
    assert np.allclose(out[:, 0], -out[:, 1], atol=1e-5)


HOSTILE = {
    "zeros": np.zeros(960),
    "offset": np.full(960, 0.7),
    "full-scale square": np.sign(np.sin(np.arange(960) * 0.05) + 1e-9),
    "impulse at the end": np.eye(1, 960, 959)[0],
    "impulse": np.eye(1, 960, 400)[0],
    "nan": np.full(960, np.nan),
    "some nan": np.where(np.arange(960) % 7 == 0, np.nan, 0.1),
    "infinite": np.where(np.arange(960) % 50 == 0, np.inf, -0.1),
    "huge": np.full(960, 3e38),
    "denormal": np.full(960, 1e-40),
    "alternating": np.where(np.arange(960) % 2, 1.0, -1.0),
    "short": np.ones(5),
    "one frame": np.ones(1),
    "nothing": np.zeros(0),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_hostile_history_gives_finite_sound(name, rate_hz, channels):
    x = HOSTILE[name]
    stream = Stream(rate_hz, channels)
    stream.learn(np.tile(x, 4))
    out = np.concatenate([stream.begin(x).next(rate_hz // 10), stream.next(2 * rate_hz)])
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 4.0
    assert not ((out != 0) & (np.abs(out) < 1e-30)).any()
    assert np.isfinite(stream.merge(voice(rate_hz, 20))).all()


def test_the_state_holds_no_denormals_after_a_long_time():
    stream = Stream(16_000)
    stream.learn(0.002 * np.random.default_rng(11).normal(size=16_000))
    stream.begin(voice(16_000, 60)).next(160_000)
    for name in ("noise", "ring", "background"):
        values = np.abs(stream.state[name])
        assert not ((values > 0) & (values < 1e-300)).any()


def test_a_merge_of_nothing_or_of_one_frame_does_no_harm():
    for frames in (0, 1, 2, 3):
        stream = Stream(16_000)
        stream.begin(voice(16_000, 60)).next(160)
        assert np.isfinite(stream.merge(voice(16_000, 10)[:frames])).all()


def test_impossible_formats_are_refused():
    with pytest.raises(ConfigError, match="4000"):
        conceal_state(4_000, 1)
    with pytest.raises(ConfigError, match="channels is 3"):
        conceal_state(16_000, 3)


def test_levinson_solves_the_normal_equations():
    rng = np.random.default_rng(12)
    x = np.convolve(rng.normal(size=500), [1, 0.9, 0.4], "same")
    r, a = np.zeros(9), np.zeros(9)
    autocorrelate(x, 500, 8, r)
    assert np.allclose(r, [x[: 500 - k] @ x[k:] for k in range(9)])
    residual = levinson(r, 8, 16_000, a)  # r is conditioned in place
    matrix = np.array([[r[abs(i - j)] for j in range(8)] for i in range(8)])
    assert np.allclose(a[1:], np.linalg.solve(matrix, -r[1:]), atol=1e-9)
    assert residual == pytest.approx((r @ a) / r[0])
    assert np.abs(np.roots(a)).max() < 1


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_the_window_of_the_background_is_half_a_sine(rate_hz):
    """It is kept, not reckoned for each block: a block of 10 ms and one of another length must be weighted alike."""
    window = conceal_state(rate_hz, 1)["window"][0]
    assert len(window) == rate_hz // 100
    assert np.allclose(window, np.sin(np.pi * (np.arange(len(window)) + 0.5) / len(window)), rtol=0, atol=1e-15)
