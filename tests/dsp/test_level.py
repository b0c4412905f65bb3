"""The meter against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.dsp.level import measure


def measured(block):
    out = np.zeros(2, np.float32)
    measure(block.ctypes.data, block.shape[0], block.shape[1], out.ctypes.data)
    return out


@pytest.mark.parametrize("shape", [(160, 1), (441, 2), (1, 1)])
def test_peak_and_mean_square_are_numpys(shape):
    x = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    peak, mean_square = measured(x)
    assert peak == np.abs(x).max()
    assert mean_square == pytest.approx(np.mean(x.astype(float) ** 2), rel=1e-6)


def test_what_is_not_finite_counts_as_zero():
    assert np.allclose(measured(np.array([[np.nan], [np.inf], [0.5], [0.5]], np.float32)), [0.5, 0.125])


def test_an_empty_block_measures_zero():
    assert np.array_equal(measured(np.zeros((0, 1), np.float32)), [0, 0])
