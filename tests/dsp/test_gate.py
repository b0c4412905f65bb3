"""The spectral gate against a slow reference, its reconstruction, and the traps of its arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, lfilter

from rtmedia.dsp import suppress
from rtmedia.dsp.gate import FFT_LENGTH, SpectralGate, windows
from rtmedia.dsp.high_pass import butterworth_high_pass
from rtmedia.errors import ConfigError
from rtmedia.ports import RATES_HZ, Format


def gated(x, rate_hz=16_000, **settings):
    made = SpectralGate(**settings).make(Format(rate_hz, x.shape[1]), 512)
    y = x.copy()
    made.process(y)
    return y, made


def noise(frames, level=0.01, seed=1, channels=1):
    return np.random.default_rng(seed).normal(0, level, (frames, channels)).astype(np.float32)


def tone_bursts(frames, rate_hz, level=0.1):
    t = np.arange(frames) / rate_hz
    wave = sum(np.sin(2 * np.pi * 180 * h * t) / h for h in range(1, 20))
    return (level * wave * (np.sin(2 * np.pi * 1.5 * t) > 0.3)).astype(np.float32)[:, None]


class Reference:
    """IMCRA with short minima and OM-LSA by their formulas: one frame at a time, double precision, no tricks."""

    def __init__(self, depth_db):
        self.floor = 10 ** (-depth_db / 20)
        self.n = 0

    def spread(self, x):
        padded = np.r_[x[0], x, x[-1]]
        return padded[:-2], x, padded[2:]

    def e1(self, v):
        with np.errstate(divide="ignore"):
            low, middle = -2.31 * np.log10(v) - 0.6, -1.544 * np.log10(v) + 0.166
        return np.where(v < 0.1, low, np.where(v <= 1, middle, 10 ** (-0.52 * v - 0.26)))

    def snrs(self, power):
        bias = 1.47 * self.noise
        gamma = np.minimum(power / bias, 1000)
        xi = np.maximum(0.92 * self.speech / bias + 0.08 * np.maximum(gamma - 1, 0), 10**-2.5)
        return xi, np.minimum(gamma * xi / (1 + xi), 80)

    def minimum(self, name, value):
        history = getattr(self, name, [])
        history.append(value)
        setattr(self, name, history)
        # whole sub-windows of 6 frames: the last 8 finished ones and the present one
        keep = 8 * 6 + self.n % 6 + 1
        return np.min(history[-keep:], axis=0)

    def noise_of(self, power):
        left, here, right = self.spread(power)
        over_bins = (left + 2 * here + right) / 4
        self.s = over_bins if self.n == 0 else 0.85 * self.s + 0.15 * over_bins
        least = self.minimum("s_history", self.s)
        quiet = ((power < 4.6 * 1.66 * least) & (self.s < 1.67 * 1.66 * least)).astype(float)
        ql, q, qr = self.spread(quiet)
        weights = ql + 2 * q + qr
        calm = (ql * left + 2 * q * here + qr * right) / np.maximum(weights, 1)
        if self.n == 0:
            self.t = np.where(weights > 0, calm, self.s)
        else:
            self.t = np.where(weights > 0, 0.85 * self.t + 0.15 * calm, self.t)
        calm_least = self.minimum("t_history", self.t)
        if self.n < 8:
            if self.n == 0:
                self.noise, self.speech, self.zeta, self.gain = 0.0, 0 * power, 0 * power, 1 + 0 * power
            self.noise = self.noise + (power / 1.47 - self.noise) / (self.n + 1)
        else:
            xi, v = self.snrs(power)
            r, z = power / (1.66 * calm_least), self.s / (1.66 * calm_least)
            q = np.where(z < 1.67, np.clip((4 - r) / 3, 0, 1), 0)
            likelihood = (1 + xi) * np.exp(-v)
            absence = q * likelihood / (1 - q + q * likelihood)
            self.noise = self.noise + 0.10 * absence * (power - self.noise)
        self.noise = np.maximum(np.minimum(self.noise, 4 * 1.66 * calm_least), 1)
        self.n += 1

    def gain_of(self, power):
        self.noise_of(power)
        xi, v = self.snrs(power)
        g1 = np.minimum(xi / (1 + xi) * np.exp(0.5 * self.e1(v)), 1)
        self.speech = g1**2 * power
        self.zeta = 0.7 * self.zeta + 0.3 * np.minimum(xi, 100)

        def presence(mean):
            return np.clip((10 * np.log10(mean) + 10) / 5, 0, 1)

        near = sum(self.spread(self.zeta)) / 3
        band = np.array([self.zeta[max(0, k - 15) : k + 16].mean() for k in range(len(power))])
        q = np.minimum(1 - presence(near) * presence(band), 0.99)
        p = 1 / (1 + q / (1 - q) * (1 + xi) * np.exp(-v))
        gain = np.maximum(g1**p * self.floor ** (1 - p), self.floor)
        self.gain = np.where(gain < self.gain, 0.3 * self.gain + 0.7 * gain, gain)
        return self.gain


def reference(x, rate_hz, depth_db, overlap_ms):
    """The whole gate over one channel: frames cut out of the whole signal, overlapped back at their place."""
    size, overlap = round(rate_hz / 100), round(rate_hz * overlap_ms / 1000)
    analysis, synthesis = windows(size, overlap)
    b, a = butter(2, 80, "highpass", fs=rate_hz)
    filtered = np.r_[np.zeros(size), lfilter(b, a, x.astype(float))]
    out = np.zeros(len(filtered))
    model = Reference(depth_db)
    for end in range(2 * size, len(filtered) + 1, size):
        frame = filtered[end - 2 * size : end] * analysis
        spectrum = np.fft.rfft(frame * 32768, FFT_LENGTH[rate_hz])
        spectrum *= model.gain_of(np.abs(spectrum) ** 2)
        out[end - size - overlap : end] += np.fft.irfft(spectrum)[size - overlap : 2 * size] / 32768 * synthesis
    return out[size:]


@pytest.mark.parametrize(("rate_hz", "latency"), [(16_000, "10ms"), (16_000, "6ms"), (8_000, "10ms"), (44_100, "10ms"), (48_000, "6ms")])
def test_it_equals_the_slow_reference(rate_hz, latency):
    frames = rate_hz * 3 // 2
    x = noise(frames) + tone_bursts(frames, rate_hz)
    got, made = gated(x, rate_hz, latency=latency)
    late = made.latency_frames
    wanted = reference(x[:, 0], rate_hz, 26, float(latency[:-2]))
    error = got[late:, 0] - wanted[: len(x) - late]
    # A decision (quiet or not) may fall otherwise in single precision: the bound is on the energy.
    assert np.sqrt(np.mean(error**2)) < 1e-3 * np.sqrt(np.mean(wanted**2))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("latency", ["10ms", "6ms"])
def test_with_all_gains_at_one_the_frames_add_up_to_the_filtered_input(rate_hz, latency):
    x = noise(rate_hz // 2, 0.1, channels=2)
    got, made = gated(x, rate_hz, depth_db=1e-6, latency=latency)
    b0, a1, a2 = butterworth_high_pass(80, rate_hz)
    wanted = lfilter([b0, -2 * b0, b0], [1, a1, a2], x.astype(float), axis=0)
    late = made.latency_frames
    assert np.abs(got[late:] - wanted[:-late]).max() < 1e-6


@pytest.mark.parametrize("overlap", [1, 48, 96, 160])
def test_the_windows_product_overlaps_to_one(overlap):
    analysis, synthesis = windows(160, overlap)
    product = analysis[-len(synthesis) :] * synthesis
    assert np.allclose(product[:overlap] + product[-overlap:], 1)
    assert np.allclose(product[overlap:-overlap], 1)


def test_depth_zero_is_the_exact_delayed_input():
    x = noise(4000, 0.3)
    got, made = gated(x, depth_db=0.0)
    assert np.array_equal(got[made.latency_frames :], x[: -made.latency_frames])


def test_turning_it_off_and_on_is_a_cross_fade_without_a_click():
    t = np.arange(16_000) / 16_000
    x = (0.3 * np.sin(2 * np.pi * 400 * t)).astype(np.float32)[:, None]
    made = SpectralGate().make(Format(16_000), 160)
    y = x.copy()
    for third, depth_db in ((0, 26.0), (1, 0.0), (2, 26.0)):
        made.update((depth_db,))
        made.process(y[third * 5333 : (third + 1) * 5333])
    late = made.latency_frames
    steepest = 0.3 * 2 * np.pi * 400 / 16_000
    assert np.abs(np.diff(y[late + 200 :, 0])).max() < 1.2 * steepest
    assert np.array_equal(y[5333 + 1000 : 10_000], x[5333 + 1000 - late : 10_000 - late])


def test_steady_noise_goes_down_and_a_voice_over_it_stays():
    frames = 16_000 * 3
    voice = tone_bursts(frames, 16_000)
    x = noise(frames, 0.005) + voice
    got, made = gated(x)
    late = made.latency_frames
    got, x, voice = got[late:, 0], x[:-late, 0], voice[:-late, 0]
    spoken = np.convolve(voice != 0, np.ones(9), "same") > 0
    voice = lfilter(*butter(2, 80, "highpass", fs=16_000), voice)  # as the gate's own high-pass turns its phases
    settled = np.arange(len(got)) > 16_000
    pause = settled & (np.convolve(spoken, np.ones(3201), "same") == 0)
    loud = settled & (np.convolve(~spoken, np.ones(3201), "same") == 0)
    assert 10 * np.log10(np.mean(x[pause] ** 2) / np.mean(got[pause] ** 2)) > 15
    assert abs(10 * np.log10(np.mean(voice[loud] ** 2) / np.mean(got[loud] ** 2))) < 0.5
    snr_db = [10 * np.log10(np.mean(voice[settled] ** 2) / np.mean((y[settled] - voice[settled]) ** 2)) for y in (x, got)]
    assert snr_db[1] > snr_db[0] + 3


def test_a_stream_that_begins_within_a_word_does_not_take_the_word_for_noise():
    frames = 16_000 * 2
    voice = tone_bursts(frames, 16_000)
    voice[:8000] = np.tile(voice[3000:4000], (8, 1))
    got, made = gated(noise(frames, 0.005) + voice)
    late = made.latency_frames
    second_word = slice(13_000, 15_000)
    kept = np.mean(got[late:][second_word] ** 2) / np.mean(voice[second_word] ** 2)
    assert np.all(voice[second_word].reshape(-1, 100).any(axis=1))
    assert 10 * np.log10(kept) > -3


def test_no_noise_estimate_ever_falls_below_its_least_even_under_loud_bursts():
    """In single precision, one minus the presence probability drives it through zero, and then to NaN for ever."""
    rng = np.random.default_rng(5)
    loudness = np.repeat(10 ** rng.uniform(-4, 0, 500), 160)[:, None]
    x = (rng.uniform(-1, 1, (80_000, 1)) * loudness).astype(np.float32)
    got, made = gated(x)
    estimate = made.state["rows"][0, 0, suppress.NOISE, suppress.GUARD : suppress.GUARD + 257]
    assert np.all(np.isfinite(got))
    assert np.all(estimate >= 1)


@pytest.mark.parametrize("row", [suppress.NOISE, suppress.SPEECH, suppress.SNR, suppress.SMOOTH, suppress.CALM, suppress.GAIN])
def test_a_poisoned_bin_mends_itself(row):
    made = SpectralGate().make(Format(16_000), 160)
    made.process(noise(8000))
    made.state["rows"][0, 0, row, suppress.GUARD + 40] = np.nan
    made.process(noise(1600, seed=2))
    assert np.all(np.isfinite(made.state["rows"][0, 0, :, suppress.GUARD : suppress.GUARD + 257]))


def test_digital_silence_does_not_make_it_forget_the_noise():
    made = SpectralGate().make(Format(16_000), 160)
    made.process(noise(32_000))
    made.process(np.zeros((16_000, 1), np.float32))
    x = noise(1600, seed=2)
    y = x.copy()
    made.process(y)
    assert np.mean(y[800:] ** 2) < 0.05 * np.mean(x**2)


def test_channels_do_not_know_each_other():
    left, right = noise(8000) + tone_bursts(8000, 16_000), noise(8000, 0.1, seed=2)
    both, _ = gated(np.ascontiguousarray(np.hstack([left, right])))
    assert np.array_equal(both[:, :1], gated(left)[0])
    assert np.array_equal(both[:, 1:], gated(right)[0])


@pytest.mark.parametrize(("latency", "frames"), [("10ms", 160), ("6ms", 96)])
def test_with_whole_hops_the_latency_is_the_overlap_alone(latency, frames):
    x = noise(8000)
    patient, made = gated(x, latency=latency)
    whole = SpectralGate(latency=latency, any_block=False).make(Format(16_000), 160)
    y = x.copy()
    for start in range(0, 8000, 160):
        whole.process(y[start : start + 160])
    assert whole.latency_frames == frames
    assert whole.state["starved_frames_total"][0] == 0
    assert np.array_equal(y[frames : 8000 - 159], patient[made.latency_frames :])


def test_a_block_that_is_no_whole_hop_costs_one_gap_and_is_counted():
    made = SpectralGate(0.0, any_block=False).make(Format(16_000), 160)
    x = noise(8000)
    y = x.copy()
    start = 0
    for n in [160, 160, 100, *[160] * 40]:
        made.process(y[start : start + n])
        start += n
    starved = int(made.state["starved_frames_total"][0])
    assert 0 < starved < 160
    late = made.latency_frames + starved
    assert np.array_equal(y[1000:start], x[1000 - late : start - late])


def test_settings_outside_of_their_range_are_refused():
    with pytest.raises(ConfigError, match="depth_db is 31"):
        SpectralGate(31)
    with pytest.raises(ConfigError, match="latency"):
        SpectralGate(latency="3ms")
    with pytest.raises(ConfigError, match="resample"):
        SpectralGate().make(Format(96_000), 960)
