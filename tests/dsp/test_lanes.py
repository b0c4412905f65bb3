"""Eight lanes against NumPy."""

from __future__ import annotations

import numpy as np

from rtmedia.dsp.lanes import (
    abs8,
    all8,
    count8,
    finite_or,
    largest8,
    load8,
    load8_even,
    load8_odd,
    load8_same,
    max8,
    min8,
    smallest8,
    store8,
    store8_apart,
    store8_pairs,
    store8_twice,
    sum8,
    where_less,
)
from rtmedia.rt.kernel import kernel


@kernel("f4(i8, i8, i8, i8)")
def everything(a, b, turns, out):
    total = all8(np.float32(0.0))
    for i in range(turns):
        total = total + load8(a + 4 * i) * (load8_even(b + 4 * i) - load8_same(a + 4 * i))
    store8(out, total)
    store8(out + 32, where_less(total, all8(np.float32(0.5)), count8(), abs8(total) / load8(a)))
    return sum8(total)


def test_every_operation_is_numpys(rng):
    a, b = rng.uniform(-1, 1, (2, 65)).astype(np.float32)
    a, b = a[1:], b[1:]  # aligned to nothing
    out = np.zeros(16, np.float32)
    total = everything(a.ctypes.data, b.ctypes.data, 40, out.ctypes.data)
    want = np.zeros(8, np.float32)
    for i in range(40):
        want += a[i : i + 8] * (b[i : i + 16 : 2] - a[i])
    assert (out[:8] == want).all()  # to the bit: nothing is reordered or fused
    assert (out[8:] == np.where(want < 0.5, np.arange(8, dtype=np.float32), np.abs(want) / a[:8])).all()
    halves = want[:4] + want[4:]
    assert total == (halves[0] + halves[2]) + (halves[1] + halves[3])


def test_nan_is_less_than_nothing():
    a = np.full(8, np.nan, np.float32)
    out = np.zeros(16, np.float32)
    everything(a.ctypes.data, np.zeros(16, np.float32).ctypes.data, 1, out.ctypes.data)
    assert np.isnan(out[8:]).all()


@kernel("f4(i8, i8)")
def apart_and_together(pairs, out):
    store8_pairs(out, load8_odd(pairs), load8_even(pairs))
    return largest8(load8_odd(pairs))


def test_pairs_come_apart_and_together(rng):
    pairs = rng.uniform(-1, 1, (9, 2)).astype(np.float32)[:8]
    out = np.zeros((8, 2), np.float32)
    assert apart_and_together(pairs.ctypes.data, out.ctypes.data) == pairs[:, 1].max()
    assert (out == pairs[:, ::-1]).all()


@kernel("f4(i8, i8)")
def least_and_twice(x, out):
    store8_twice(out, load8(x))
    return smallest8(load8(x))


def test_the_smallest_lane_and_lanes_twice(rng):
    x = rng.uniform(-1, 1, 8).astype(np.float32)
    out = np.zeros(16, np.float32)
    assert least_and_twice(x.ctypes.data, out.ctypes.data) == x.min()
    assert (out == np.repeat(x, 2)).all()


@kernel("void(i8, i8, i8)")
def spread(x, pitch, out):
    store8_apart(out, pitch, load8(x))


def test_lanes_apart_leave_what_lies_between_as_it_was(rng):
    x = rng.uniform(-1, 1, 8).astype(np.float32)
    for pitch in (1, 2, 3, 6, 12):
        out = np.full(8 * pitch, 7, np.float32)
        spread(x.ctypes.data, pitch, out.ctypes.data)
        assert (out[::pitch] == x).all()
        assert (np.delete(out, np.s_[::pitch]) == 7).all()


@kernel("void(i8, i8, i8)")
def choices(a, b, out):
    """Lanes beside lanes, and lanes beside a number."""
    one = np.float32(0.25)
    store8(out, min8(load8(a), load8(b)))
    store8(out + 32, max8(load8(a), load8(b)))
    store8(out + 64, finite_or(load8(a), one))
    store8(out + 96, min8(load8(b), one))
    store8(out + 128, where_less(load8(b), one, one, load8(b)))
    store8(out + 160, (one - load8(b)) / (load8(b) + one))


def test_choices_are_numpys_and_a_number_stands_for_eight_alike(rng):
    a, b = rng.uniform(-1, 1, (2, 8)).astype(np.float32)
    a[:3] = np.nan, np.inf, -np.inf
    out = np.zeros((6, 8), np.float32)
    choices(a.ctypes.data, b.ctypes.data, out.ctypes.data)
    one = np.float32(0.25)
    least, most = np.where(b < a, b, a), np.where(b > a, b, a)
    for got, wanted in zip(
        out,
        [least, most, np.where(np.isfinite(a), a, one), np.minimum(b, one), np.maximum(b, one), (one - b) / (b + one)],
        strict=True,
    ):
        assert np.array_equal(got, wanted, equal_nan=True)
