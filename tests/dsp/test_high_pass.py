"""The high-pass against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, lfilter

from rtmedia.dsp.high_pass import PAST, butterworth_high_pass, coefficients, high_pass
from rtmedia.ports import RATES_HZ


def filtered(x, rate_hz, piece):
    """`x` filtered piece by piece, as a gate does it."""
    kept, past = coefficients(80, rate_hz), np.zeros(PAST)
    sound, work, out = np.r_[np.zeros(PAST), x].astype(np.float32), np.zeros(piece), np.zeros(len(x), np.float32)
    for start in range(0, len(x), piece):
        place = sound.ctypes.data + 4 * (PAST + start)
        high_pass(kept.ctypes.data, past.ctypes.data, place, work.ctypes.data, out.ctypes.data + 4 * start, min(piece, len(x) - start))
    return out, past


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_the_filter_looking_ahead_equals_the_plain_recursion(rate_hz, rng):
    x = (rng.uniform(-1, 1, rate_hz) + 0.5).astype(np.float32)  # a constant must go, and its rounding must not pile up
    b0, a1, a2 = butterworth_high_pass(80, rate_hz)
    wanted = lfilter([b0, -2 * b0, b0], [1, a1, a2], x.astype(float))
    for piece in (1, 7, rate_hz // 100):
        got, _ = filtered(x, rate_hz, piece)
        assert np.abs(got - wanted).max() < 2e-7


def test_the_coefficients_are_butterworths():
    b0, a1, a2 = butterworth_high_pass(80, 16_000)
    b, a = butter(2, 80, "highpass", fs=16_000)
    assert np.allclose([b0, -2 * b0, b0, 1, a1, a2], [*b, *a])


def test_a_bang_is_limited_and_forgotten():
    x = np.zeros(16_000, np.float32)
    x[5] = 3e38
    got, past = filtered(x, 16_000, 160)
    assert np.abs(got).max() <= 16
    assert np.abs(got[-160:]).max() < 1e-12
    got, past = filtered(np.r_[x, np.zeros(32_000)], 16_000, 160)
    assert not got[-160:].any()
    assert not past.any()
