"""Eight lanes against NumPy."""

from __future__ import annotations

import numpy as np

from rtmedia.dsp.lanes import (
    abs8,
    all8,
    count8,
    largest8,
    load8,
    load8_even,
    load8_odd,
    load8_same,
    store8,
    store8_pairs,
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
