"""Vector arithmetic against NumPy in double precision."""

from __future__ import annotations

import numpy as np

from rtmedia.dsp.lanes import load8, store8
from rtmedia.dsp.simd import LANES, dot_f4, exp2_8, exp2_f4, four_dots_f4, log2_8, log2_f4
from rtmedia.rt.kernel import kernel


@kernel("f4(i8, i8, i8)")
def dot(first, second, count):
    return dot_f4(first, second, count)


@kernel("void(i8, i8, i8, i8, i8)")
def four_dots(first, second, row, count, out):
    a, b = (first, first + row, first + 2 * row, first + 3 * row), (second, second + row, second + 2 * row, second + 3 * row)
    four_dots_f4(a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], count, out)


@kernel("void(f4[::1], f4[::1])")
def log2_of(x, out):
    for i in range(x.size):
        out[i] = log2_f4(x[i])


@kernel("void(f4[::1], f4[::1])")
def exp2_of(x, out):
    for i in range(x.size):
        out[i] = exp2_f4(x[i])


@kernel("void(i8, i8, i8)")
def of_lanes(x, log2, exp2):
    store8(log2, log2_8(load8(x)))
    store8(exp2, exp2_8(load8(x)))


def test_lanes_and_single_numbers_have_the_same_bits():
    x = np.exp2(np.random.default_rng(4).uniform(-126, 127, 8)).astype(np.float32)
    single, lanes = np.zeros((2, 2, 8), np.float32)
    log2_of(x, single[0])
    exp2_of(x, single[1])
    of_lanes(x.ctypes.data, lanes[0].ctypes.data, lanes[1].ctypes.data)
    assert (single == lanes).all()


def test_the_dot_product_is_numpys():
    rng = np.random.default_rng(1)
    for count in (0, LANES, 6 * LANES, 72 * LANES):
        a, b = rng.uniform(-1, 1, (2, count + 1)).astype(np.float32)
        a, b = a[1:], b[1:]  # not aligned
        assert abs(dot(a.ctypes.data, b.ctypes.data, count) - a.astype(float) @ b) < 1e-5


def test_four_dot_products_at_once_are_the_same_bits():
    rng = np.random.default_rng(1)
    for count in (0, LANES, 6 * LANES):
        a, b = rng.uniform(-1, 1, (2, 4, count + 1)).astype(np.float32)
        out = np.zeros(4, np.float32)
        four_dots(a.ctypes.data + 4, b.ctypes.data + 4, 4 * (count + 1), count, out.ctypes.data)
        assert [dot(a[i, 1:].ctypes.data, b[i, 1:].ctypes.data, count) for i in range(4)] == list(out)


def test_the_logarithm_is_right_over_the_whole_range():
    x = np.exp2(np.random.default_rng(2).uniform(-126, 127, 100_000)).astype(np.float32)
    got = np.zeros_like(x)
    log2_of(x, got)
    assert np.all(np.abs(got - np.log2(x.astype(float))) < 1e-6 + 1e-7 * np.abs(got))


def test_the_logarithm_of_zero_is_finite():
    got = np.zeros(1, np.float32)
    log2_of(np.zeros(1, np.float32), got)
    assert -128 < got[0] < -126


def test_the_exponential_is_right_and_bounded_outside_of_its_range():
    x = np.random.default_rng(3).uniform(-126, 126, 100_000).astype(np.float32)
    got = np.zeros_like(x)
    exp2_of(x, got)
    assert np.abs(got / np.exp2(x.astype(float)) - 1).max() < 4e-7
    wild = np.array([-1e30, -np.inf, np.nan, 1e30, np.inf], np.float32)
    got = np.zeros_like(wild)
    exp2_of(wild, got)
    assert np.allclose(got, np.exp2(np.array([-126, -126, -126, 126, 126.0])), rtol=1e-6)
