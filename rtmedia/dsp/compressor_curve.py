"""The compressor's static curve: how much each level is turned down, frame by frame without memory.

Below the threshold nothing; from there to the knee's end an exponential; beyond it a straight line in decibels.
The constants are found once per change of settings, one number at a time; the curve itself is drawn for eight frames at a time.

All of it is float32 in a fixed order of operations, because the recorded output it is compared with was computed so (see
`rtmedia.dsp.compressor`). A bare ``0.05 * x`` would silently compute in double: every literal is wrapped.
"""

from __future__ import annotations

import math

import numpy as np

from rtmedia.dsp.lanes import abs8, all8, load8, load8_even, smallest8, store8, where_less
from rtmedia.dsp.simd_f8 import log10_8, power8
from rtmedia.rt.kernel import kernel
from rtmedia.rt.memory import view_f4

_F = np.float32
_0, _1, _2, _10, _20 = _F(0), _F(1), _F(2), _F(10), _F(20)
_DB = _F(0.05)
_SILENT = _F(0.0001)  # 80 dB down: no attenuation is derived from it
_LOW_K, _HIGH_K, _FIRST_K = _F(0.1), _F(10000.0), _F(5.0)
_INFINITE = _F(np.inf)
_LOG2_E, _LOG2_10 = math.log2(math.e), math.log2(10.0)
#: A little above -2 dB, from where on the detector recovers at its slowest.
_NEARLY_ONE = _F(0.7944)
_OCTETS = 32  # of eight float32


@kernel("f4(f4)")
def to_db(linear):
    return _20 * math.log10(linear)


@kernel("f4(f4)")
def to_linear(level_db):
    return _10 ** (_DB * level_db)


@kernel("f4(f4, f4, f4)")
def knee(x, threshold, k):
    if x < threshold:
        return x
    return threshold + (_1 - _F(math.exp(np.float64(-k * (x - threshold))))) / k


@kernel("f4(f4, f4, f4, f4)")
def _knee_slope(x, threshold, k, x_db):
    """Slope in dB per dB, as a difference over 0.1 %: its rounding decides the last bisections."""
    if x < threshold:
        return _1
    further = _F(np.float64(x) * 1.001)
    return (to_db(knee(further, threshold, k)) - to_db(knee(x, threshold, k))) / (to_db(further) - x_db)


@kernel("f4(f4, f4, f4)")
def find_sharpness(threshold, end, slope):
    """The k at which the knee ends with `slope`, by exactly 15 bisections: as far from converged as Chromium's."""
    low, high, k = _LOW_K, _HIGH_K, _FIRST_K
    for _ in range(15):
        if _knee_slope(end, threshold, k, to_db(end)) < slope:
            high = k
        else:
            low = k
        k = _F(math.sqrt(low * high))
    return k


@kernel("void(i8, i8, i8)")
def copy_clean(source, target, count):
    """Copy `count` float32; what is NaN or infinite becomes silence, so that nothing remembers it."""
    whole = count & ~7
    for i in range(0, whole, 8):
        x = load8(source + 4 * i)
        store8(target + 4 * i, where_less(abs8(x), all8(_INFINITE), x, all8(_0)))
    raw, clean = view_f4(source, count), view_f4(target, count)
    for i in range(whole, count):
        clean[i] = raw[i] if abs(raw[i]) < _INFINITE else _0


@kernel("f4(i8, i8, i8, i8)")
def loudest_channel(sound, loud, groups, channels):
    """For each frame the greater magnitude of its channels; returns the greatest of all. Reads one float32 more than it is told."""
    quietest = all8(_0)
    for group in range(groups):
        if channels == 1:
            m = abs8(load8(sound + _OCTETS * group))
        else:
            left, right = abs8(load8_even(sound + 2 * _OCTETS * group)), abs8(load8_even(sound + 2 * _OCTETS * group + 4))
            m = where_less(left, right, right, left)
        store8(loud + _OCTETS * group, m)
        turned = all8(_0) - m
        quietest = where_less(turned, quietest, turned, quietest)
    return -smallest8(quietest)


@kernel("f4(i8, i8, i8, f4, f4, f4, f4, f4, f4, f4)")
def draw_curve(loud, wanted, groups, loudest, threshold, k, knee_end, knee_end_db, knee_out_db, slope):
    """The attenuation that each frame asks for, 1 or less (`loudest`: none of `loud` is greater); returns the least."""
    least = all8(_1)
    if loudest <= _SILENT or loudest < threshold:
        for group in range(groups):
            store8(wanted + _OCTETS * group, least)
        return _1
    bent = threshold < knee_end
    straight = loudest >= knee_end
    one = all8(_1)
    if straight:
        for group in range(groups):  # apart from what follows: the processor keeps more turns of a short loop in flight
            store8(wanted + _OCTETS * group, log10_8(load8(loud + _OCTETS * group)))
    for group in range(groups):
        m = load8(loud + _OCTETS * group)
        out = m
        if bent:
            curved = power8(all8(-k) * (m - all8(threshold)), _LOG2_E)
            out = where_less(m, all8(threshold), m, all8(threshold) + (one - curved) / all8(k))
        if straight:
            over_db = all8(_20) * load8(wanted + _OCTETS * group) - all8(knee_end_db)
            line = power8(all8(_DB) * (all8(knee_out_db) + all8(slope) * over_db), _LOG2_10)
            out = where_less(m, all8(knee_end), out, line)
        a = where_less(all8(_SILENT), m, out / m, one)
        store8(wanted + _OCTETS * group, a)
        least = where_less(a, least, a, least)
    return smallest8(least)


@kernel("void(i8, i8, i8, f4, f4, f4)")
def draw_shares(wanted, share, groups, least, detector_frames, slowest):
    """By which part of the way the detector recovers in each frame: the faster, the more that frame is turned down.

    `slowest`: the part at 2 dB and less.
    """
    if least >= _NEARLY_ONE:
        for group in range(groups):
            store8(share + _OCTETS * group, all8(slowest))
        return
    for group in range(groups):
        store8(share + _OCTETS * group, all8(_0) - all8(_20) * log10_8(load8(wanted + _OCTETS * group)))
    for group in range(groups):
        attenuation_db = load8(share + _OCTETS * group)
        fast = power8(all8(_DB) * (attenuation_db / all8(detector_frames)), _LOG2_10) - all8(_1)
        store8(share + _OCTETS * group, where_less(all8(_2), attenuation_db, fast, all8(slowest)))
