"""The limiter against a slow reference, and at its limits."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.dsp.limiter import Limiter
from rtmedia.errors import ConfigError
from rtmedia.ports import Format


def limited(x, rate_hz=16_000, **settings):
    made = Limiter(**settings).make(Format(rate_hz, x.shape[1]), len(x))
    y = x.copy()
    made.process(y)
    return y, made


def reference(x, rate_hz, ceiling_db, release_ms):
    """Minimum, release and mean by their definitions, in double precision."""
    ahead = round(0.0015 * rate_hz)
    ceiling = 10 ** (ceiling_db / 20)
    need = np.minimum(1, ceiling / np.maximum(np.abs(x.astype(float)).max(axis=1), 1e-30))
    need = np.r_[np.ones(ahead), need]
    lowest = np.array([need[i : i + ahead + 1].min() for i in range(len(x))])
    share = 1 - np.exp(-1000 / (release_ms * rate_hz))
    gain, now = [], 1.0
    for goal in lowest:
        now = goal if goal < now else now + (goal - now) * share
        gain.append(now)
    gain = np.r_[np.ones(ahead), gain]
    smooth = np.array([gain[i : i + ahead + 1].mean() for i in range(len(x))])
    return np.r_[np.zeros((ahead, x.shape[1])), x[: len(x) - ahead]] * smooth[:, None]


@pytest.mark.parametrize("channels", [1, 2])
def test_it_equals_the_slow_reference(channels):
    rng = np.random.default_rng(1)
    loudness = np.repeat(rng.uniform(0, 3, 40), 50)[:, None]
    x = (rng.uniform(-1, 1, (2000, channels)) * loudness).astype(np.float32)
    got, _ = limited(x, ceiling_db=-6, release_ms=20)
    assert np.abs(got - reference(x, 16_000, -6, 20)).max() < 5e-6


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_no_sample_ever_passes_the_ceiling(rate_hz):
    rng = np.random.default_rng(2)
    x = (rng.standard_cauchy((20_000, 2)) * 10 ** rng.uniform(-3, 6, (20_000, 1))).astype(np.float32)
    x[rng.integers(0, 20_000, 200)] = np.nan
    x[rng.integers(0, 20_000, 200)] = np.inf
    x[rng.integers(0, 20_000, 20)] = np.finfo(np.float32).max
    got, made = limited(x, rate_hz, ceiling_db=-1)
    assert np.all(np.isfinite(got))
    assert np.abs(got).max() <= np.float32(10 ** (-1 / 20))
    assert made.state["cleaned_total"][0] == (~np.isfinite(x)).sum()


def test_under_the_ceiling_it_is_a_plain_delay_of_at_most_2_ms():
    x = np.random.default_rng(3).uniform(-0.8, 0.8, (1000, 1)).astype(np.float32)
    got, made = limited(x)
    late = made.latency_frames
    assert 0 < late <= 32
    assert np.array_equal(got[late:], x[:-late])
    assert made.state["reduction_db"][0] == 0


def test_after_a_peak_it_returns_to_a_plain_delay():
    x = np.full((40_000, 1), 0.25, np.float32)
    x[100] = 4.0
    got, _ = limited(x, release_ms=50)
    assert np.array_equal(got[-1000:], x[-1000:])


def test_the_gain_comes_down_in_a_straight_line_and_not_in_a_jump():
    x = np.full((400, 1), 0.1, np.float32)
    x[200:] = 1.0
    got, made = limited(x, ceiling_db=-20, release_ms=80)
    gain = got[made.latency_frames :] / x[: -made.latency_frames]
    assert gain[200] == pytest.approx(0.1, rel=1e-4)
    assert np.abs(np.diff(gain[:, 0])).max() < 0.9 / made.latency_frames


def test_both_channels_get_one_gain():
    x = np.full((600, 2), [1.0, 0.01], np.float32)
    got, _ = limited(x, ceiling_db=-20)
    assert np.allclose(got[100:, 0] / got[100:, 1], 100, rtol=1e-5)


def test_the_meter_shows_the_reduction():
    _, made = limited(np.ones((1000, 1), np.float32), ceiling_db=-12)
    assert made.state["reduction_db"][0] == pytest.approx(-12, abs=0.01)


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
