"""The discrete Fourier transform of real blocks, for kernels: no allocation, lengths ``2^a 3^b``.

A real block of `length` frames is taken as half as many complex numbers, transformed by Stockham's
self-sorting passes of radix 4, 3 and 2, and unfolded. Real and imaginary parts lie apart, so that the inner loops
are plain vectors. A plan is one record of memory (tables and scratch): one plan serves one thread.
Source: C. Van Loan, *Computational Frameworks for the Fast Fourier Transform*, 1992, sections 1.7 and 4.3.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import carray

from rtmedia.dsp.state import header_dtype, make_state
from rtmedia.errors import ConfigError
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.memory import view_f4

_HALF = np.float32(0.5)
_ROOT_3_4 = np.float32(math.sqrt(0.75))
_MAX_PASSES = 12

PLAN = header_dtype(
    [("length", "i8"), ("passes", "i8"), ("radix", "i8", (_MAX_PASSES,))],
    ("twiddles", "unfold", "scratch"),
)


@kernel("void(i8, i8, i8, i8, i8, i8)")
def radix_2(x_address, y_address, twiddles, half, n, s):
    xr, xi = view_f4(x_address, half), view_f4(x_address + half * 4, half)
    yr, yi = view_f4(y_address, half), view_f4(y_address + half * 4, half)
    w = view_f4(twiddles, n)
    m = n // 2
    for p in range(m):
        cr, ci = w[2 * p], w[2 * p + 1]
        i, o = s * p, s * 2 * p
        for q in range(s):
            ar, ai = xr[i + q], xi[i + q]
            br, bi = xr[i + s * m + q], xi[i + s * m + q]
            yr[o + q] = ar + br
            yi[o + q] = ai + bi
            dr, di = ar - br, ai - bi
            yr[o + s + q] = dr * cr - di * ci
            yi[o + s + q] = dr * ci + di * cr


@kernel("void(i8, i8, i8, i8, i8, i8)")
def radix_3(x_address, y_address, twiddles, half, n, s):
    xr, xi = view_f4(x_address, half), view_f4(x_address + half * 4, half)
    yr, yi = view_f4(y_address, half), view_f4(y_address + half * 4, half)
    m = n // 3
    w = view_f4(twiddles, 4 * m)
    for p in range(m):
        c1r, c1i, c2r, c2i = w[4 * p], w[4 * p + 1], w[4 * p + 2], w[4 * p + 3]
        i, o = s * p, s * 3 * p
        for q in range(s):
            ar, ai = xr[i + q], xi[i + q]
            br, bi = xr[i + s * m + q], xi[i + s * m + q]
            cr, ci = xr[i + 2 * s * m + q], xi[i + 2 * s * m + q]
            tr, ti = br + cr, bi + ci
            ur, ui = ar - _HALF * tr, ai - _HALF * ti
            vr, vi = _ROOT_3_4 * (bi - ci), -_ROOT_3_4 * (br - cr)
            yr[o + q] = ar + tr
            yi[o + q] = ai + ti
            dr, di = ur + vr, ui + vi
            yr[o + s + q] = dr * c1r - di * c1i
            yi[o + s + q] = dr * c1i + di * c1r
            er, ei = ur - vr, ui - vi
            yr[o + 2 * s + q] = er * c2r - ei * c2i
            yi[o + 2 * s + q] = er * c2i + ei * c2r


@kernel("void(i8, i8, i8, i8, i8, i8)")
def radix_4(x_address, y_address, twiddles, half, n, s):
    xr, xi = view_f4(x_address, half), view_f4(x_address + half * 4, half)
    yr, yi = view_f4(y_address, half), view_f4(y_address + half * 4, half)
    m = n // 4
    w = view_f4(twiddles, 6 * m)
    for p in range(m):
        c1r, c1i, c2r, c2i, c3r, c3i = w[6 * p], w[6 * p + 1], w[6 * p + 2], w[6 * p + 3], w[6 * p + 4], w[6 * p + 5]
        i, o = s * p, s * 4 * p
        for q in range(s):
            ar, ai = xr[i + q], xi[i + q]
            br, bi = xr[i + s * m + q], xi[i + s * m + q]
            cr, ci = xr[i + 2 * s * m + q], xi[i + 2 * s * m + q]
            dr, di = xr[i + 3 * s * m + q], xi[i + 3 * s * m + q]
            er, ei, fr, fi = ar + cr, ai + ci, ar - cr, ai - ci
            gr, gi, hr, hi = br + dr, bi + di, br - dr, bi - di
            yr[o + q] = er + gr
            yi[o + q] = ei + gi
            tr, ti = fr + hi, fi - hr
            yr[o + s + q] = tr * c1r - ti * c1i
            yi[o + s + q] = tr * c1i + ti * c1r
            tr, ti = er - gr, ei - gi
            yr[o + 2 * s + q] = tr * c2r - ti * c2i
            yi[o + 2 * s + q] = tr * c2i + ti * c2r
            tr, ti = fr - hi, fi + hr
            yr[o + 3 * s + q] = tr * c3r - ti * c3i
            yi[o + 3 * s + q] = tr * c3i + ti * c3r


@kernel("i8(i8)")
def transform(plan):
    """Complex transform of the first half of the scratch memory; returns the address of the result, re then im."""
    head = carray(pointer_void(plan), 1, PLAN)[0]
    half = head.length // 2
    x = plan + head.at_scratch
    y = x + 2 * half * 4
    twiddles = plan + head.at_twiddles
    n, s = half, 1
    for i in range(head.passes):
        radix = head.radix[i]
        if radix == 4:
            radix_4(x, y, twiddles, half, n, s)
        elif radix == 3:
            radix_3(x, y, twiddles, half, n, s)
        else:
            radix_2(x, y, twiddles, half, n, s)
        n //= radix
        s *= radix
        twiddles += n * (radix - 1) * 8
        x, y = y, x
    return x


@kernel("void(i8, i8, i8, i8)")
def fft_real(plan, block_address, re_address, im_address):
    """``numpy.fft.rfft`` of ``length`` float32: ``length / 2 + 1`` real and as many imaginary parts."""
    head = carray(pointer_void(plan), 1, PLAN)[0]
    half = head.length // 2
    block = view_f4(block_address, 2 * half)
    x = view_f4(plan + head.at_scratch, 2 * half)
    for i in range(half):
        x[i] = block[2 * i]
        x[half + i] = block[2 * i + 1]
    z_address = transform(plan)
    zr, zi = view_f4(z_address, half), view_f4(z_address + half * 4, half)
    w = view_f4(plan + head.at_unfold, 2 * half)
    re, im = view_f4(re_address, half + 1), view_f4(im_address, half + 1)
    re[0], im[0] = zr[0] + zi[0], np.float32(0)
    re[half], im[half] = zr[0] - zi[0], np.float32(0)
    for k in range(1, half):
        ar, ai, br, bi = zr[k], zi[k], zr[half - k], zi[half - k]
        er, ei = ar + br, ai - bi
        dr, di = ar - br, ai + bi
        # even part plus -i w times odd part
        re[k] = _HALF * (er + w[k] * di + w[half + k] * dr)
        im[k] = _HALF * (ei - w[k] * dr + w[half + k] * di)


@kernel("void(i8, i8, i8, i8)")
def ifft_real(plan, re_address, im_address, block_address):
    """``numpy.fft.irfft``: the inverse of `fft_real`."""
    head = carray(pointer_void(plan), 1, PLAN)[0]
    half = head.length // 2
    re, im = view_f4(re_address, half + 1), view_f4(im_address, half + 1)
    x = view_f4(plan + head.at_scratch, 2 * half)
    w = view_f4(plan + head.at_unfold, 2 * half)
    # Real and imaginary parts change places, here and at the end: that turns the transform around.
    x[half] = re[0] + re[half]
    x[0] = re[0] - re[half]
    for k in range(1, half):
        er, ei = re[k] + re[half - k], im[k] - im[half - k]
        dr, di = re[k] - re[half - k], im[k] + im[half - k]
        x[half + k] = er - w[k] * di + w[half + k] * dr
        x[k] = ei + w[k] * dr + w[half + k] * di
    z_address = transform(plan)
    z = view_f4(z_address, 2 * half)
    block = view_f4(block_address, 2 * half)
    scale = np.float32(1.0 / (2 * half))
    for i in range(half):
        block[2 * i] = z[half + i] * scale
        block[2 * i + 1] = z[i] * scale


def make_plan(length: int) -> npt.NDArray[Any]:
    """Tables and scratch memory for one real length; its address is what the kernels take."""
    rest = length // 2
    radices = []
    for radix in (4, 2, 3):
        while rest > 1 and rest % radix == 0:
            radices.append(radix)
            rest //= radix
    if length < 4 or length % 2 or rest != 1 or len(radices) > _MAX_PASSES:
        raise ConfigError(f"the transform's length is {length}; it must be even and have no prime factors but 2 and 3: try 256 or 768")
    half = length // 2
    tables, n = [], half
    for radix in radices:
        angle = -2 * np.pi * np.outer(np.arange(n // radix), np.arange(1, radix)) / n
        tables.append(np.stack([np.cos(angle), np.sin(angle)], axis=-1).reshape(-1))
        n //= radix
    angle = -2 * np.pi * np.arange(half) / length
    plan = make_state(
        PLAN,
        {
            "twiddles": np.concatenate(tables).astype(np.float32),
            "unfold": np.concatenate([np.cos(angle), np.sin(angle)]).astype(np.float32),
            "scratch": np.zeros(4 * half, np.float32),
        },
    )
    plan["length"], plan["passes"] = length, len(radices)
    plan["radix"][0, : len(radices)] = radices
    return plan
