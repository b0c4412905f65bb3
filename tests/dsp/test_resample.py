"""The streaming resampler against zero-stuffing, filtering and picking in double precision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rtmedia.dsp.resample import design, make_resampler, out_frames_for, resample
from rtmedia.errors import ConfigError

RATES = (8_000, 16_000, 24_000, 32_000, 44_100, 48_000, 96_000)

every_pair = pytest.mark.parametrize(("in_hz", "out_hz"), [p for p in itertools.product(RATES, RATES) if p[0] != p[1]])


def reference(x, in_hz, out_hz):
    """Stuff with zeros, filter, keep every M-th: slow, obvious, double precision."""
    divisor = np.gcd(in_hz, out_hz)
    up, down = out_hz // divisor, in_hz // divisor
    prototype = design(up, down)[:, ::-1].T.reshape(-1).astype(float)
    stuffed = np.zeros(len(x) * up)
    stuffed[::up] = x
    size = len(stuffed) + len(prototype)
    return np.fft.irfft(np.fft.rfft(stuffed, size) * np.fft.rfft(prototype, size), size)[: len(stuffed)][::down]


def split(rng, total, largest):
    left = total
    while left:
        n = int(min(left, rng.integers(1, largest + 1)))
        yield n
        left -= n


@every_pair
def test_every_pair_of_rates_equals_the_slow_reference(in_hz, out_hz):
    x = np.random.default_rng(1).uniform(-1, 1, in_hz // 50).astype(np.float32)
    got = make_resampler(in_hz, out_hz, 1, 160).process(x[:, None])[:, 0]
    wanted = reference(x, in_hz, out_hz)
    assert len(got) == len(wanted)
    assert np.abs(got - wanted).max() < 3e-6


@pytest.mark.parametrize(("in_hz", "out_hz"), [(16_000, 48_000), (48_000, 16_000), (16_000, 44_100), (44_100, 16_000), (8_000, 8_000)])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_division_into_blocks_gives_the_same_bits(in_hz, out_hz, channels):
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (3000, channels)).astype(np.float32)
    whole = make_resampler(in_hz, out_hz, channels, 480).process(x)
    pieces, start = [], 0
    streamed = make_resampler(in_hz, out_hz, channels, 480)
    for n in split(rng, len(x), 700):  # longer than max_in_frames too
        pieces.append(streamed.process(np.ascontiguousarray(x[start : start + n])))
        start += n
    assert np.array_equal(np.concatenate(pieces), whole)


def test_the_promised_number_of_frames_is_what_comes_and_never_exceeds_the_most():
    made = make_resampler(16_000, 44_100, 1, 160)
    x = np.zeros((160, 1), np.float32)
    out = np.zeros((made.max_out_frames, 1), np.float32)
    total = 0
    for _ in range(100):
        promised = out_frames_for(made.state_address, 160)
        assert resample(made.state_address, x.ctypes.data, 160, out.ctypes.data) == promised <= made.max_out_frames
        total += promised
    assert total == 44_100


def fit_tone(y, f_hz, rate_hz):
    n = np.arange(len(y))
    basis = np.c_[np.sin(2 * np.pi * f_hz * n / rate_hz), np.cos(2 * np.pi * f_hz * n / rate_hz)]
    keep = slice(len(y) // 4, None)
    weights = np.linalg.lstsq(basis[keep], y[keep], rcond=None)[0]
    error = y[keep] - basis[keep] @ weights
    return weights, 10 * np.log10(np.mean((basis[keep] @ weights) ** 2) / np.mean(error**2))


@every_pair
def test_a_tone_of_1_khz_keeps_100_db_of_distance_and_its_delay_is_the_stated_one(in_hz, out_hz):
    tone = np.sin(2 * np.pi * 1000 * np.arange(in_hz // 2) / in_hz).astype(np.float32)
    made = make_resampler(in_hz, out_hz, 1, 480)
    (sine, cosine), snr_db = fit_tone(made.process(tone[:, None])[:, 0].astype(float), 1000, out_hz)
    assert snr_db > 100
    assert abs(20 * np.log10(np.hypot(sine, cosine))) < 0.01
    lag = -np.arctan2(cosine, sine) / (2 * np.pi * 1000) * out_hz
    period = out_hz / 1000
    assert abs((made.delay_frames - lag + period / 2) % period - period / 2) < 1e-3
    # 24 frames of the lower rate; taps come in eights, which is up to 4 frames of the input more.
    assert made.delay_frames / out_hz <= 24 / min(in_hz, out_hz) + 4 / in_hz


def response_db(in_hz, out_hz):
    """Frequencies in Hz, and the low-pass there in dB of its level at 0."""
    divisor = np.gcd(in_hz, out_hz)
    up, down = out_hz // divisor, in_hz // divisor
    prototype = design(up, down)[:, ::-1].T.reshape(-1).astype(float) / up
    spectrum = np.abs(np.fft.rfft(prototype, 1 << int(np.ceil(np.log2(8 * len(prototype))))))
    return np.linspace(0, up * in_hz / 2, len(spectrum)), 20 * np.log10(spectrum + 1e-12)


@every_pair
def test_images_and_aliases_lie_90_db_down_and_seven_eighths_of_the_band_are_kept(in_hz, out_hz):
    """A rising rate leaves images of what is below 7/8 of the band; with a falling one, that is where aliases must not land."""
    f_hz, level_db = response_db(in_hz, out_hz)
    lower = min(in_hz, out_hz)
    assert level_db[f_hz >= lower * 9 / 16].max() < -90
    kept = level_db[f_hz <= lower * 7 / 16]
    assert kept.min() > (-0.03 if out_hz > in_hz else -0.6)
    assert kept.max() < 0.001


@pytest.mark.parametrize(("in_hz", "out_hz", "tone_hz", "found_hz"), [(16_000, 48_000, 7_000, 9_000), (48_000, 16_000, 9_000, 7_000)])
def test_a_tone_leaves_no_image_and_no_alias_in_the_output(in_hz, out_hz, tone_hz, found_hz):
    tone = np.sin(2 * np.pi * tone_hz * np.arange(in_hz) / in_hz).astype(np.float32)
    y = make_resampler(in_hz, out_hz, 1, 480).process(tone[:, None])[out_hz // 2 :, 0].astype(float)
    level = np.abs(np.fft.rfft(y * np.blackman(len(y)))) / np.blackman(len(y)).sum() * 2
    assert 20 * np.log10(level[found_hz // 2 - 20 : found_hz // 2 + 20].max()) < -90


def test_noise_up_to_the_nyquist_frequency_keeps_18_db_of_distance_when_the_rate_rises():
    """What the width of the transition costs: the last eighth of the band, and its image."""
    f_hz, level_db = response_db(16_000, 48_000)
    through = 10 ** (level_db / 20)
    below = f_hz[f_hz < 8_000]
    error = (1 - through[f_hz < 8_000]) ** 2 + np.interp(16_000 - below, f_hz, through) ** 2
    assert -10 * np.log10(error.mean()) > 18


def test_from_16_to_48_khz_the_delay_is_at_most_1_5_ms():
    assert make_resampler(16_000, 48_000, 1, 160).delay_frames / 48 <= 1.5


def test_equal_rates_copy_without_delay():
    x = np.random.default_rng(3).uniform(-1, 1, (100, 2)).astype(np.float32)
    made = make_resampler(16_000, 16_000, 2, 64)
    assert made.delay_frames == 0
    assert np.array_equal(made.process(x), x)


def test_what_is_not_finite_counts_as_zero():
    x = np.random.default_rng(4).uniform(-1, 1, (400, 1)).astype(np.float32)
    broken, mended = x.copy(), x.copy()
    broken[[50, 60, 70]] = [[np.nan], [np.inf], [-np.inf]]
    mended[[50, 60, 70]] = 0
    assert np.array_equal(make_resampler(16_000, 48_000, 1, 160).process(broken), make_resampler(16_000, 48_000, 1, 160).process(mended))


def test_reset_equals_new():
    x = np.random.default_rng(5).uniform(-1, 1, (333, 1)).astype(np.float32)
    made = make_resampler(16_000, 44_100, 1, 160)
    first = made.process(x)
    made.reset()
    assert np.array_equal(made.process(x), first)


@pytest.mark.parametrize("arguments", [(11_025, 48_000, 1, 160), (16_000, 48_000, 3, 160), (16_000, 48_000, 1, 0)])
def test_an_impossible_order_is_refused_with_the_limit(arguments):
    with pytest.raises(ConfigError):
        make_resampler(*arguments)


def test_a_block_that_may_only_be_read_is_welcome():
    x = np.random.default_rng(6).uniform(-1, 1, (160, 1)).astype(np.float32)
    wanted = make_resampler(16_000, 48_000, 1, 160).process(x)
    x.flags.writeable = False
    assert np.array_equal(make_resampler(16_000, 48_000, 1, 160).process(x), wanted)


def test_a_block_of_other_channels_is_refused():
    with pytest.raises(ConfigError, match="frames, 1"):
        make_resampler(16_000, 48_000, 1, 160).process(np.zeros((10, 2), np.float32))


def test_a_block_of_another_type_is_refused():
    with pytest.raises(ConfigError, match="ascontiguousarray"):
        make_resampler(16_000, 48_000, 1, 160).process(np.zeros((10, 1)))


@pytest.mark.parametrize("block", [None, 3, [[0.0]], np.zeros((4, 1), ">f4"), np.zeros((8, 1), np.float32)[::2], np.zeros(4, np.float32)])
def test_what_is_no_block_is_refused(block):
    with pytest.raises(ConfigError, match="this resampler takes"):
        make_resampler(16_000, 48_000, 1, 160).process(block)


def test_a_block_of_another_class_or_that_lies_oddly_gives_the_same():
    class Named(np.ndarray):
        pass

    block = np.linspace(-1, 1, 160, dtype=np.float32).reshape(160, 1)
    odd = np.zeros(641, np.uint8)[1:].view(np.float32).reshape(160, 1)
    odd[:] = block
    expected = make_resampler(16_000, 48_000, 1, 160).process(block)
    for other in (block.view(Named), odd):
        np.testing.assert_array_equal(make_resampler(16_000, 48_000, 1, 160).process(other), expected)


def test_an_output_that_is_too_short_is_never_written():
    made = make_resampler(16_000, 48_000, 1, 160)
    block = np.ones((160, 1), np.float32)
    frames = made._frames_for(block)
    assert made._change(block, np.zeros((frames - 1, 1), np.float32)) == -1
    assert made._change(block, np.zeros((frames, 2), np.float32)) == -1
    assert made._change(block, np.zeros((frames, 1), np.float32)) == frames
