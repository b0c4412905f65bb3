"""The weighting against the recommendation's own numbers, and its kernel against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import freqz, lfilter

from rtmedia.dsp.k_weighting import coefficients, k_weight, make_k_weighting, response_db, take_energy
from rtmedia.errors import ConfigError

RATES_HZ = (8_000, 16_000, 24_000, 32_000, 44_100, 48_000, 96_000)
#: ITU-R BS.1770-4, tables 1 and 2.
SHELF = (1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585)
HIGH_PASS = (1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621)


def energy(x, rate_hz):
    block = np.ascontiguousarray(x, np.float32)
    memory = make_k_weighting(rate_hz, x.shape[1])
    broken = k_weight(memory.ctypes.data, block.ctypes.data, *block.shape)
    return take_energy(memory.ctypes.data, x.shape[1]), broken, memory


def test_at_48_khz_the_coefficients_are_the_recommendations():
    shelf, high_pass = coefficients(48_000)
    assert np.allclose(shelf, SHELF, rtol=0, atol=1e-13)
    assert np.allclose(high_pass, HIGH_PASS, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("rate_hz", "most_db"), [(8_000, 0.51), (16_000, 0.16), (24_000, 0.07), (32_000, 0.035), (44_100, 0.006), (96_000, 0.035)]
)
def test_at_other_rates_the_response_is_that_of_48_khz_within_the_stated_tolerance(rate_hz, most_db):
    f = np.geomspace(20, min(0.49 * rate_hz, 22_000), 500)
    assert np.abs(response_db(rate_hz, f) - response_db(48_000, f)).max() < most_db


def test_the_response_is_that_of_the_coefficients():
    f = np.geomspace(20, 7900, 100)
    wanted = np.ones(100, complex)
    for b0, b1, b2, a1, a2 in coefficients(16_000):
        wanted *= freqz((b0, b1, b2), (1, a1, a2), f, fs=16_000)[1]
    assert np.allclose(response_db(16_000, f), 20 * np.log10(np.abs(wanted)))
    assert response_db(48_000, 997.0) == pytest.approx(0.691, abs=0.002)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("channels", [1, 2])
def test_the_energy_is_that_of_scipys_filters(rate_hz, channels):
    x = np.random.default_rng(1).uniform(-1, 1, (5000, channels)).astype(np.float32)
    wanted = x.astype(float)
    for b0, b1, b2, a1, a2 in coefficients(rate_hz):
        wanted = lfilter((b0, b1, b2), (1, a1, a2), wanted, axis=0)
    got, broken, _ = energy(x, rate_hz)
    assert got == pytest.approx(np.sum(wanted**2), rel=1e-9)
    assert broken == 0


def test_what_is_not_finite_or_far_over_full_scale_counts_as_zero():
    x = np.full((1000, 1), 0.1, np.float32)
    x[500:503, 0] = np.nan, np.inf, -np.inf
    zeroed = np.nan_to_num(x, posinf=0, neginf=0)
    assert energy(x, 16_000)[:2] == (energy(zeroed, 16_000)[0], 3)
    x[500:503] = 1e30
    assert energy(x, 16_000)[:2] == (energy(zeroed, 16_000)[0], 0)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_after_the_sound_no_denormal_number_is_left(rate_hz):
    _, _, memory = energy(np.random.default_rng(2).uniform(-1, 1, (1000, 1)), rate_hz)
    silence = np.zeros((rate_hz // 100, 1), np.float32)
    for _ in range(100):
        k_weight(memory.ctypes.data, silence.ctypes.data, len(silence), 1)
        assert not np.any((np.abs(memory) < 1e-300) & (memory != 0))
        take_energy(memory.ctypes.data, 1)
    assert not memory[8:].any()


@pytest.mark.parametrize("rate_hz", [1_000, 7_999, 400_000])
def test_a_rate_without_the_weightings_band_is_refused(rate_hz):
    with pytest.raises(ConfigError, match=f"rate_hz is {rate_hz}"):
        coefficients(rate_hz)
