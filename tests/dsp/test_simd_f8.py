"""Functions of eight lanes against NumPy in double and extended precision."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.dsp.lanes import LANES, load8, store8
from rtmedia.dsp.simd_f8 import log10_8, power8, sine8
from rtmedia.rt.kernel import kernel


@kernel("void(i8, i8, i8, i8, f8)")
def over(function, x, out, count, log2_base):
    for at in range(0, 4 * count, 4 * LANES):
        if function == 0:
            store8(out + at, power8(load8(x + at), log2_base))
        elif function == 1:
            store8(out + at, log10_8(load8(x + at)))
        else:
            store8(out + at, sine8(load8(x + at)))


def run(function, x, log2_base=0.0):
    x = np.ascontiguousarray(x, np.float32)
    out = np.zeros_like(x)
    over(function, x.ctypes.data, out.ctypes.data, x.size, log2_base)
    return out


def ulps(got, wanted):
    return np.abs(got.astype(float) - wanted) / np.spacing(np.abs(wanted).astype(np.float32))


@pytest.mark.parametrize("base", [2.0, np.e, 10.0])
def test_powers_are_rounded_once(rng, base):
    x = rng.uniform(-37, 37, 80_000).astype(np.float32)
    wanted = np.power(np.longdouble(base), x.astype(np.longdouble)).astype(float)
    assert ulps(run(0, x, np.log2(base)), wanted).max() < 0.5001


def test_powers_out_of_range_are_infinite_or_nothing():
    got = run(0, [1e4, -1e4, np.inf, -np.inf, 0, -0.0, 39, -50], np.log2(10))
    assert got.tolist() == [np.inf, 0, np.inf, 0, 1, 1, np.inf, 0]


def test_the_decimal_logarithm_is_fdlibms(rng):
    """Which computes ``n lo + ln(y) / ln(10) + n hi`` in float32."""
    x = np.exp2(rng.uniform(-120, 120, 80_000)).astype(np.float32)
    n = np.floor(np.log2(x.astype(float)))
    n = (n + (n < 0)).astype(np.float32)
    y = (x.astype(float) / np.exp2(n.astype(float))).astype(np.float32)
    natural = np.log(y.astype(float)).astype(np.float32)
    wanted = (n * np.float32(7.9034151668e-07) + np.float32(0.43429449201) * natural) + n * np.float32(0.30102920532)
    got = run(1, x)
    assert np.mean(got == wanted) > 0.999
    assert ulps(got, np.log10(x.astype(float))).max() < 2.5


def test_the_logarithm_of_one_is_nothing_and_of_nothing_finite():
    got = run(1, [1, 0, 10, 100, 1e-4, 1, 1, 1])
    assert got[0] == 0
    assert -39 < got[1] < -37
    assert got[2:5] == pytest.approx([1, 2, -4], rel=1e-6)


def test_the_sine_is_rounded_once(rng):
    x = rng.uniform(-np.pi / 2, np.pi / 2, 80_000).astype(np.float32)
    assert ulps(run(2, x), np.sin(x.astype(float))).max() < 0.5001


def test_every_lane_gives_the_same_bits(rng):
    for function, x in (
        (0, rng.uniform(-9, 9, 8)),
        (1, rng.uniform(0.01, 2, 8)),
        (2, rng.uniform(0, 1.5, 8)),
    ):
        lanes = run(function, x, np.log2(10))
        for value, lane in zip(x, lanes, strict=True):
            assert (run(function, np.full(8, value), np.log2(10)) == lane).all()
