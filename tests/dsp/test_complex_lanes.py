"""Eight complex lanes against NumPy."""

from __future__ import annotations

import numpy as np

from rtmedia.dsp.complex_lanes import (
    conjugate,
    load8c,
    load8c_columns,
    load8c_mirrored,
    load8c_pairs,
    load8c_same,
    store8c,
    store8c_mirrored,
    store8c_pairs,
    times_i,
)
from rtmedia.dsp.lanes import all8
from rtmedia.rt.kernel import kernel


@kernel("void(i8, i8, i8, i8)")
def everything(re, im, pairs, out):
    """Eight results of eight complex numbers, in turn."""
    a, b = load8c(re, im), load8c_pairs(pairs)
    store8c_pairs(out, a + b)
    store8c_pairs(out + 64, a - b)
    store8c_pairs(out + 128, a * b)
    store8c_pairs(out + 192, times_i(a))
    store8c_pairs(out + 256, conjugate(a) * all8(np.float32(3.0)))
    store8c_pairs(out + 320, load8c_mirrored(re, im))
    store8c_pairs(out + 384, load8c_same(pairs + 16))
    store8c(out + 448, out + 480, b)
    store8c_mirrored(out + 512, out + 544, b)


@kernel("void(i8, i8, i8)")
def transposed(re, im, out):
    columns = load8c_columns(re, im)
    for column in columns:
        store8c(out, out + 256, column)
        out += 32


def test_every_operation_is_numpys_to_the_bit(rng):
    memory = rng.uniform(-1, 1, 34).astype(np.float32)[1:]  # aligned to nothing
    re, im, pairs = memory[:8], memory[8:16], memory[16:32]
    out = np.zeros((9, 16), np.float32)
    everything(re.ctypes.data, im.ctypes.data, pairs.ctypes.data, out.ctypes.data)
    a, b = re + 1j * im, pairs[::2] + 1j * pairs[1::2]
    product = (a.real * b.real - a.imag * b.imag) + 1j * (a.real * b.imag + a.imag * b.real)
    for got, wanted in zip(out, [a + b, a - b, product, 1j * a, a.conj() * np.float32(3), a[::-1], np.full(8, b[2])], strict=False):
        assert (got[::2] == wanted.real).all()
        assert (got[1::2] == wanted.imag).all()
    for got, wanted in ((out[7], b), (out[8], b[::-1])):
        assert (got == np.r_[wanted.real, wanted.imag]).all()


def test_columns_become_rows(rng):
    re, im = rng.uniform(-1, 1, (2, 8, 8)).astype(np.float32)
    out = np.zeros((2, 8, 8), np.float32)
    transposed(re.ctypes.data, im.ctypes.data, out.ctypes.data)
    assert (out[0] == re.T).all()
    assert (out[1] == im.T).all()
