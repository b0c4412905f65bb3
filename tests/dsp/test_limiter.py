"""The limiter against a slow reference, and at its limits."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.dsp.limiter import COVER, Limiter, margin_db
from rtmedia.dsp.true_peak import AHEAD, PHASES
from rtmedia.errors import ConfigError
from rtmedia.ports import RATES_HZ, Format


def limited(x, rate_hz=16_000, **settings):
    made = Limiter(**settings).make(Format(rate_hz, x.shape[1]), len(x))
    y = x.copy()
    made.process(y)
    return y, made


def true_peaks(x):
    """For each frame the largest interpolated value that it completes, in double precision."""
    between = [np.abs(np.convolve(x[:, c].astype(float), phase)[: len(x)]) for c in range(x.shape[1]) for phase in PHASES]
    return np.max(between, axis=0)


def ceiling_of(ceiling_db, rate_hz=None):
    """As an amplitude; with a rate, what the limiter works to."""
    return 10 ** ((ceiling_db - (margin_db(rate_hz) if rate_hz else 0)) / 20)


def reference(x, rate_hz, ceiling_db, release_ms):
    """Peak, minimum, release and mean by their definitions, in double precision."""
    delay = round(0.002 * rate_hz)
    both = delay - AHEAD - COVER
    corner = both // 4
    window = both + 1 - corner
    least = both + 2 * COVER + 1
    peak = np.maximum(true_peaks(x), np.r_[np.zeros(AHEAD), np.abs(x).max(axis=1)[:-AHEAD]])
    need = np.minimum(0, np.log(ceiling_of(ceiling_db, rate_hz) / np.maximum(peak, 1e-30)))
    need = np.r_[np.zeros(least - 1), need]
    lowest = np.array([need[i : i + least].min() for i in range(len(x))])
    stays = np.exp(-1000 / (release_ms * rate_hz))
    gain, now = [], 0.0
    for goal in lowest:
        now = min(goal, now * stays)
        gain.append(now)
    smooth = np.exp(np.convolve(np.convolve(gain, np.ones(window) / window), np.ones(corner) / corner)[: len(x)])
    return np.r_[np.zeros((delay, x.shape[1])), x[: len(x) - delay]] * smooth[:, None]


def hostile(rng, rate_hz, channels, seconds):
    """Loud, sudden, near the Nyquist frequency: what lies highest between its samples."""
    t = np.arange(rate_hz // 8)
    pieces = []
    for _ in range(seconds * 8):
        quick = np.sin(np.pi * rng.uniform(0.8, 1) * t) * (t % rng.integers(20, 400) < 20)
        kinds = (
            np.sin(np.pi / 2 * t + np.pi / 4),
            quick,
            np.sign(np.sin(np.pi * rng.uniform(0.01, 1) * t)),
            rng.standard_normal(len(t)) * 3,
            rng.choice([-1.0, 1.0], len(t)),
            np.where(rng.random(len(t)) < 0.01, 3.0, 0.0),
            np.full(len(t), rng.uniform(-1, 1)),
        )
        sides = [kinds[rng.integers(len(kinds))] * 10 ** rng.uniform(-1, 1) for _ in range(channels)]
        pieces.append(np.stack(sides, axis=1))
    return np.concatenate(pieces).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_it_equals_the_slow_reference(rate_hz, channels):
    rng = np.random.default_rng(1)
    loudness = np.repeat(rng.uniform(0, 3, 40), 50)[:, None]
    x = (rng.uniform(-1, 1, (2000, channels)) * loudness).astype(np.float32)
    got, _ = limited(x, rate_hz, ceiling_db=-6, release_ms=20)
    assert np.abs(got - reference(x, rate_hz, -6, 20)).max() < 5e-6


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("channels", [1, 2])
def test_no_true_peak_passes_the_ceiling(rate_hz, channels):
    x = hostile(np.random.default_rng(2), rate_hz, channels, seconds=20)
    got, made = limited(x, rate_hz, ceiling_db=-1)
    assert made.state["reduction_db"][0] < -20
    assert true_peaks(got).max() <= ceiling_of(-1)
    assert np.abs(got).max() <= ceiling_of(-1)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_not_even_where_the_input_is_no_sound(rate_hz):
    rng = np.random.default_rng(3)
    x = (rng.standard_cauchy((20_000, 2)) * 10 ** rng.uniform(-3, 6, (20_000, 1))).astype(np.float32)
    x[rng.integers(0, 20_000, 200)] = np.nan
    x[rng.integers(0, 20_000, 200)] = np.inf
    x[rng.integers(0, 20_000, 20)] = np.finfo(np.float32).max
    got, made = limited(x, rate_hz, ceiling_db=-1)
    assert np.all(np.isfinite(got))
    assert true_peaks(got).max() <= ceiling_of(-1)
    assert np.abs(got).max() <= ceiling_of(-1)
    assert made.state["cleaned_total"][0] == (~np.isfinite(x)).sum()


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_sine_that_only_rises_between_its_samples_is_turned_down(rate_hz):
    x = (0.95 * np.sin(np.pi / 2 * np.arange(4000) + np.pi / 4)).astype(np.float32)[:, None]
    x /= np.abs(x).max() / np.float32(0.95)
    got, _ = limited(x, rate_hz, ceiling_db=0)
    assert true_peaks(x).max() > 1.3
    assert 0.985 * ceiling_of(0, rate_hz) < true_peaks(got).max() <= 1


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("channels", [1, 2])
def test_under_the_ceiling_in_true_peak_it_is_a_plain_delay_of_at_most_2_ms(rate_hz, channels):
    x = np.random.default_rng(4).uniform(-1, 1, (5000, channels)).astype(np.float32)
    peak = max(true_peaks(x).max(), np.abs(x).max())
    x *= np.float32(0.9999 * ceiling_of(-1, rate_hz) / peak)
    got, made = limited(x, rate_hz)
    late = made.latency_frames
    assert 0 < late <= 0.002 * rate_hz + 0.5
    assert np.array_equal(got[late:], x[:-late])
    assert made.state["reduction_db"][0] == 0
    assert limited(x * np.float32(1.0003), rate_hz)[1].state["reduction_db"][0] < 0


def test_after_a_peak_it_returns_to_a_plain_delay():
    x = np.full((40_000, 1), 0.25, np.float32)
    x[100] = 4.0
    got, _ = limited(x, release_ms=50)
    assert np.array_equal(got[-1000:], x[-1000:])


def test_moving_and_at_rest_in_turn_any_division_gives_the_same_bits():
    """The way that skips everything at rest, and the way that does not, in blocks that cut it anywhere."""
    rng = np.random.default_rng(5)
    x = rng.uniform(-0.3, 0.3, (48_000, 2)).astype(np.float32)
    x[rng.integers(0, 48_000, 12)] *= 20
    whole, made = limited(x, 48_000, release_ms=3)
    assert (np.r_[np.zeros((96, 2)), x[:-96]] == whole).all(axis=1).mean() > 0.5
    for largest in (1, 40, 1500):
        made.reset()
        y, start = x.copy(), 0
        while start < len(x):
            n = int(rng.integers(1, largest + 1)) if largest > 1 else 480 if start < 40_000 else 1
            made.process(y[start : start + n])
            start += n
        assert np.array_equal(y, whole)


def test_the_gain_comes_down_in_a_straight_line_of_decibels_and_not_in_a_jump():
    x = np.full((400, 1), 0.05, np.float32)
    x[200:] = 1.0
    got, made = limited(x, ceiling_db=-20, release_ms=80)
    gain_db = 20 * np.log10(got[made.latency_frames :] / x[: -made.latency_frames])[:, 0]
    steps = np.diff(gain_db)
    assert gain_db[170] == 0
    assert gain_db[200] < -20
    assert steps.min() > -1.4 * 21 / (made.latency_frames - AHEAD - COVER)


def test_the_way_back_takes_the_release_time():
    x = np.full((16_000, 1), 0.01, np.float32)
    x[1000] = 1.0
    got, made = limited(x, ceiling_db=-20, release_ms=100)
    gain_db = 20 * np.log10(got[made.latency_frames :] / x[: -made.latency_frames])[:, 0]
    assert gain_db[1050 + 1600] / gain_db[1050] == pytest.approx(np.exp(-1), abs=0.01)


def test_both_channels_get_one_gain():
    x = np.full((600, 2), [1.0, 0.01], np.float32)
    got, _ = limited(x, ceiling_db=-20)
    assert np.allclose(got[100:, 0] / got[100:, 1], 100, rtol=1e-5)


def test_the_meter_shows_the_reduction():
    x = np.sin(2 * np.pi * 100 / 16_000 * np.arange(16_000)).astype(np.float32)[:, None]
    made = Limiter(-12.0).make(Format(16_000), 8_000)
    made.process(x)
    assert made.state["reduction_db"][0] == pytest.approx(-12 - margin_db(16_000), abs=0.05)
    made.process(np.zeros((16_000, 1), np.float32))
    made.process(np.zeros((16_000, 1), np.float32))
    assert made.state["reduction_db"][0] == 0


def test_a_lower_ceiling_is_reached_within_12_ms_without_a_click():
    made = Limiter(0.0).make(Format(16_000), 4000)
    x = np.full((4000, 1), 0.9, np.float32)
    made.process(x[:2000])
    made.update((-20.0, 80.0))
    made.process(x[2000:])
    assert np.abs(x[2000 + 16 * 12 :]).max() <= 0.1 + 1e-7
    assert np.abs(np.diff(x[100:, 0])).max() < 0.05


def test_settings_outside_of_their_range_are_refused():
    with pytest.raises(ConfigError, match=r"ceiling_db is 3.* -40 and 0"):
        Limiter(ceiling_db=3)
