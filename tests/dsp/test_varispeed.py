"""The resampler of changing ratio against the sinc sum itself, evaluated in double precision at the exact places."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rtmedia.dsp.resample import BETA, cut_for, make_resampler, taps_for
from rtmedia.dsp.varispeed import MOST, make_varispeed, varispeed, varispeed_frames
from rtmedia.errors import ConfigError

ONE = 2**32


def positions(count_in, in_hz, out_hz, ratios, every):
    """Input times of all output frames, in 2^-32 frames: `ratios[i]` is set before input frame ``i * every``."""
    places, at = [], 0
    for i, ratio in enumerate(ratios):
        end = min(count_in, (i + 1) * every) * ONE
        step = int(in_hz / out_hz / ratio * ONE + 0.5)
        while at < end:
            places.append(at)
            at += step
    return np.array(places, object)


def reference(x, in_hz, out_hz, places):
    """Each output frame a sum over the input, weighted with the windowed sinc at the exact distance."""
    taps = taps_for(in_hz / out_hz)
    cut = cut_for(in_hz / out_hz) / max(1.0, in_hz / out_hz)
    y = np.zeros(len(places))
    for k, place in enumerate(places):
        newest = int(place) // ONE
        n = np.arange(newest - taps + 1, newest + 1)
        t = (int(place) - newest * ONE) / ONE + (newest - n) - taps / 2
        weight = np.sinc(cut * t) * np.i0(BETA * np.sqrt(np.maximum(0.0, 1 - (2 * t / taps) ** 2)))
        known = n >= 0
        y[k] = weight[known] / weight.sum() @ x[n[known]]
    return y


def play(made, x, ratios, every, sizes=None):
    """The ratio changes before every `every`-th input frame, however the stream is cut."""
    pieces, start, cuts = [], 0, sorted({0, len(x), *range(0, len(x), every), *(np.cumsum(sizes) if sizes is not None else ())})
    for start, end in itertools.pairwise(cuts):
        if end > len(x):
            break
        if start % every == 0:
            made.set_ratio(ratios[start // every])
        pieces.append(made.process(np.ascontiguousarray(x[start:end])))
    return np.concatenate(pieces)


def wandering(count, most=0.005):
    return 1.0 + most * np.sin(np.arange(count) * 0.7)


@pytest.mark.parametrize(("in_hz", "out_hz"), [(16_000, 16_000), (16_000, 48_000), (48_000, 16_000), (16_000, 44_100), (44_100, 8_000)])
def test_it_equals_the_sinc_sum_at_the_exact_places(in_hz, out_hz):
    x = np.random.default_rng(1).uniform(-1, 1, 1_200).astype(np.float32)
    ratios = wandering(12)
    got = play(make_varispeed(in_hz, out_hz, 1, 160), x[:, None], ratios, 100)[:, 0]
    places = positions(len(x), in_hz, out_hz, ratios, 100)
    assert len(got) == len(places)
    assert (
        np.abs(got - reference(x.astype(float), in_hz, out_hz, places)).max() < 2e-5
    )  # noise up to the Nyquist frequency: what the straight line between two phases costs


@pytest.mark.parametrize(("in_hz", "out_hz"), [(16_000, 16_000), (16_000, 48_000), (48_000, 16_000), (16_000, 44_100)])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_division_into_blocks_gives_the_same_bits_for_the_same_ratios(in_hz, out_hz, channels):
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (3_000, channels)).astype(np.float32)
    ratios = wandering(30)
    whole = play(make_varispeed(in_hz, out_hz, channels, 160), x, ratios, 100)
    for largest in (7, 90, 700):
        sizes = rng.integers(1, largest + 1, 3_000)
        assert np.array_equal(play(make_varispeed(in_hz, out_hz, channels, 480), x, ratios, 100, sizes), whole)


def test_two_channels_are_two_streams():
    x = np.random.default_rng(3).uniform(-1, 1, (1_000, 2)).astype(np.float32)
    ratios = wandering(10)
    both = play(make_varispeed(16_000, 48_000, 2, 160), x, ratios, 100)
    for c in (0, 1):
        assert np.array_equal(both[:, [c]], play(make_varispeed(16_000, 48_000, 1, 160), x[:, [c]].copy(), ratios, 100))


def fit_tone(y, f_hz, rate_hz):
    n = np.arange(len(y))
    basis = np.c_[np.sin(2 * np.pi * f_hz * n / rate_hz), np.cos(2 * np.pi * f_hz * n / rate_hz)]
    keep = slice(len(y) // 4, None)
    weights = np.linalg.lstsq(basis[keep], y[keep], rcond=None)[0]
    error = y[keep] - basis[keep] @ weights
    return weights, 10 * np.log10(np.mean((basis[keep] @ weights) ** 2) / np.mean(error**2))


@pytest.mark.parametrize(("in_hz", "out_hz"), [(16_000, 16_000), (48_000, 48_000), (16_000, 48_000), (48_000, 16_000), (16_000, 44_100)])
def test_at_ratio_1_a_tone_of_1_khz_keeps_100_db_of_distance_and_its_delay_is_the_stated_one(in_hz, out_hz):
    tone = np.sin(2 * np.pi * 1000 * np.arange(in_hz) / in_hz).astype(np.float32)
    made = make_varispeed(in_hz, out_hz, 1, 480)
    (sine, cosine), snr_db = fit_tone(made.process(tone[:, None])[:, 0].astype(float), 1000, out_hz)
    assert snr_db > 100
    assert abs(20 * np.log10(np.hypot(sine, cosine))) < 0.01
    lag = -np.arctan2(cosine, sine) / (2 * np.pi * 1000) * out_hz
    period = out_hz / 1000
    assert abs((made.delay_frames - lag + period / 2) % period - period / 2) < 1e-3


@pytest.mark.parametrize("ratio", [0.995, 0.99993, 1.0005, 1.005])
@pytest.mark.parametrize("f_hz", [1_000, 7_000])
def test_images_of_any_tone_lie_90_db_down_at_any_ratio(ratio, f_hz):
    """All that is not the tone at its new pitch: images, interpolation, rounding."""
    tone = np.sin(2 * np.pi * f_hz * np.arange(16_000) / 16_000).astype(np.float32)
    made = make_varispeed(16_000, 16_000, 1, 160)
    made.set_ratio(ratio)
    step = int(ONE / ratio + 0.5) / ONE  # what fixed point makes of it
    y = made.process(tone[:, None])[:, 0].astype(float)
    assert fit_tone(y, f_hz * step, 16_000)[1] > (100 if f_hz == 1_000 else 90)


def test_what_would_alias_is_stopped_by_90_db():
    tone = np.sin(2 * np.pi * 8_700 * np.arange(48_000) / 48_000).astype(np.float32)
    y = make_varispeed(48_000, 16_000, 1, 480).process(tone[:, None])[:, 0]
    assert 20 * np.log10(np.abs(y[1_000:]).max()) < -90


def test_at_ratio_1_it_is_the_fixed_resampler():
    x = np.random.default_rng(4).uniform(-1, 1, (2_000, 1)).astype(np.float32)
    a = make_varispeed(16_000, 48_000, 1, 160).process(x)
    b = make_resampler(16_000, 48_000, 1, 160).process(x)
    assert len(a) - len(b) in (0, 1)  # a third has no end in binary places
    assert np.abs(a[: len(b)] - b).max() < 2e-5


def test_a_tone_through_a_wandering_ratio_has_no_jump_in_its_phase():
    """Its phase is that of the input at the summed-up steps, to a millionth of a turn, and smooth in between."""
    rate, f_hz, every = 16_000, 1_000, 160
    ratios = 1.0 + 0.005 * np.sin(2 * np.pi * 0.2 * np.arange(500) / 100)
    n = np.arange(500 * every)
    x = np.sin(2 * np.pi * f_hz * n / rate).astype(np.float32)
    y = play(make_varispeed(rate, rate, 1, every), x[:, None], ratios, every)[:, 0].astype(float)
    places = positions(len(x), rate, rate, ratios, every).astype(float) / ONE - taps_for(1.0) / 2
    turns = f_hz * places / rate
    # Down to 0 Hz with the phase that it should have: what remains is the error, slowly changing.
    window = np.hanning(801) / np.hanning(801).sum()
    error = np.convolve(y * np.exp(-2j * np.pi * turns), window, "valid") * 2j
    assert np.abs(np.abs(error[100:]) - 1).max() < 2e-5
    assert np.abs(np.angle(error[100:])).max() / (2 * np.pi) < 1e-6
    assert np.abs(y[100:] - np.sin(2 * np.pi * turns)[100:]).max() < 3e-5


def test_the_promised_number_of_frames_is_what_comes_and_never_exceeds_the_most():
    made = make_varispeed(16_000, 44_100, 1, 160)
    x = np.zeros((160, 1), np.float32)
    out = np.zeros((made.max_out_frames, 1), np.float32)
    for ratio in (1.0, 1.0 + MOST, 1.0 - MOST, 1.005):
        made.set_ratio(ratio)
        total = 0
        for _ in range(100):
            promised = varispeed_frames(made.state_address, 160)
            assert varispeed(made.state_address, x.ctypes.data, 160, out.ctypes.data) == promised <= made.max_out_frames
            total += promised
        assert total == pytest.approx(44_100 * ratio, abs=1.5)


@pytest.mark.parametrize(("asked", "got"), [(2.0, 1.0 + MOST), (0.0, 1.0 - MOST), (-1.0, 1.0 - MOST), (np.inf, 1.0 + MOST), (np.nan, 1.0)])
def test_an_absurd_ratio_is_held_within_its_limits(asked, got):
    made = make_varispeed(16_000, 16_000, 1, 160)
    made.set_ratio(asked)
    assert made.process(np.zeros((16_000, 1), np.float32)).shape[0] == pytest.approx(16_000 * got, abs=1.0)


def test_what_is_not_finite_counts_as_zero():
    x = np.random.default_rng(5).uniform(-1, 1, (400, 1)).astype(np.float32)
    broken, mended = x.copy(), x.copy()
    broken[[50, 60, 70]] = [[np.nan], [np.inf], [-np.inf]]
    mended[[50, 60, 70]] = 0
    assert np.array_equal(make_varispeed(16_000, 16_000, 1, 160).process(broken), make_varispeed(16_000, 16_000, 1, 160).process(mended))


def test_reset_equals_new():
    x = np.random.default_rng(6).uniform(-1, 1, (333, 1)).astype(np.float32)
    made = make_varispeed(16_000, 44_100, 1, 160)
    first = made.process(x)
    made.set_ratio(1.003)
    made.process(x)
    made.reset()
    assert np.array_equal(made.process(x), first)


@pytest.mark.parametrize("arguments", [(11_025, 48_000, 1, 160), (16_000, 48_000, 3, 160), (16_000, 48_000, 1, 0)])
def test_an_impossible_order_is_refused_with_the_limit(arguments):
    with pytest.raises(ConfigError):
        make_varispeed(*arguments)


def test_a_block_of_another_type_is_refused():
    with pytest.raises(ConfigError, match="ascontiguousarray"):
        make_varispeed(16_000, 48_000, 1, 160).process(np.zeros((10, 1)))
