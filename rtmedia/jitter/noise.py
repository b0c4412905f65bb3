"""Noise of a given spectrum: a seeded generator and the prediction filter that shapes it."""

from __future__ import annotations

import math

import numpy as np

from rtmedia.jitter.conceal_state import RING
from rtmedia.rt.kernel import kernel


@kernel("u8(u8)", inline=True)
def xorshift(seed):
    """Next state of a 64-bit xorshift (G. Marsaglia, "Xorshift RNGs", J. Stat. Software 8, 2003)."""
    seed ^= seed << np.uint64(13)
    seed ^= seed >> np.uint64(7)
    seed ^= seed << np.uint64(17)
    return seed


@kernel("f8(u8)", inline=True)
def gauss(seed):
    """A nearly normal value of variance one: four 16-bit numbers of one 64-bit word added up."""
    low = np.uint64(0xFFFF)
    total = (
        float(seed & low)
        + float((seed >> np.uint64(16)) & low)
        + float((seed >> np.uint64(32)) & low)
        + float((seed >> np.uint64(48)) & low)
    )
    return (total - 131070.0) * (math.sqrt(3.0) / 65536.0)


@kernel("f8(f8[::1], f8[::1], i8, i8, f8)", inline=True)
def resonate(a, ring, order, index, excitation):
    """One value of the filter ``1 / A(z)``; `ring` keeps the last 32 of them."""
    value = excitation
    for k in range(1, order + 1):
        value -= a[k] * ring[(index - k) & (RING - 1)]
    if abs(value) < 1e-15:  # no denormals
        value = 0.0
    ring[index & (RING - 1)] = value
    return value
