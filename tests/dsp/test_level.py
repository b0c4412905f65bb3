"""The meter against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.dsp.level import add_squares, measure


def measured(block):
    out = np.zeros(2, np.float32)
    measure(block.ctypes.data, block.shape[0], block.shape[1], out.ctypes.data)
    return out


@pytest.mark.parametrize("shape", [(160, 1), (441, 2), (1, 1), (7, 1), (513, 1), (48_000, 2)])
def test_peak_and_mean_square_are_numpys(shape):
    """Squares are added up as float32 in eight lanes, 64 to a lane at most: 1e-5 is more than that can lose."""
    x = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    peak, mean_square = measured(x)
    assert peak == np.abs(x).max()
    assert mean_square == pytest.approx(np.mean(x.astype(float) ** 2), rel=1e-5)


@pytest.mark.parametrize("place", [0, 6, 8, 500, 511, 512, 1022])
def test_one_loud_sample_is_found_wherever_it_lies(place):
    x = np.zeros((1023, 1), np.float32)
    x[place] = -0.75
    assert np.array_equal(measured(x), np.array([0.75, 0.75**2 / 1023], np.float32))


def test_squares_of_two_pieces_are_the_squares_of_both_to_the_bit():
    x = np.random.default_rng(2).uniform(-1, 1, 1000).astype(np.float32)
    whole = add_squares(x.ctypes.data, 1000, 0.0)
    assert add_squares(x[333:].ctypes.data, 667, add_squares(x.ctypes.data, 333, 0.0)) == whole
    assert whole == pytest.approx(np.sum(x.astype(float) ** 2), rel=1e-7)


def test_what_is_not_finite_counts_as_zero():
    assert np.allclose(measured(np.array([[np.nan], [np.inf], [0.5], [0.5]], np.float32)), [0.5, 0.125])


def test_an_empty_block_measures_zero():
    assert np.array_equal(measured(np.zeros((0, 1), np.float32)), [0, 0])
