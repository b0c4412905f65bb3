"""How much a signal looks like itself a little later: every start against eight neighbouring lags at once.

For start ``s`` and lag ``L`` the piece ``x[s, s+L)`` is compared with ``x[s+L, s+2L)``. From one start to the next
both pieces' energies and their product change by a few terms only, so the sums roll along; eight lags roll side by
side in one vector (`rtmedia.dsp.lanes`). Channels lie one after the other in memory and share the sums: all
channels are spliced with one lag, and no channel can cancel another.

Rolling sums of float32 forget nothing that they rounded: over the few thousand steps of a window they are good to
1e-4 of the loudest piece. Enough to find a place, not to judge it: `likeness` sums anew.
"""

from __future__ import annotations

import math

import numpy as np

from rtmedia.dsp.lanes import abs8, all8, count8, load8, load8_even, load8_same, store8, sum8, where_less
from rtmedia.dsp.simd import dot_f4
from rtmedia.rt.kernel import kernel
from rtmedia.rt.memory import view_f4

#: Energies of the two pieces may differ by this much (6 dB): more is an onset or a decay.
ENERGY_RATIO = 4.0
#: A piece this much weaker than the whole window (mean square) is lost in the rounding of the rolling sums.
LEAST_PART = 1e-5
#: Frames of zeros that must follow each channel: the lanes of a vector read ahead.
PADDING = 32
#: Lags that are looked at together.
LANES = 8


@kernel("f8(i8, i8, i8)")
def dot(first, second, count):
    """Sum of products of `count` float32 at two addresses.

    Notes
    -----
    Thread: any.   Real-time: yes.
    """
    whole = count & -8
    total = float(dot_f4(first, second, whole))
    a = view_f4(first + 4 * whole, 8)
    b = view_f4(second + 4 * whole, 8)
    for i in range(count - whole):
        total += a[i] * b[i]
    return total


@kernel("f8(i8, i8)")
def total_of(values, count):
    """Sum of `count` float32 at an address.

    Notes
    -----
    Thread: any.   Real-time: yes.
    """
    totals = all8(np.float32(0.0))
    whole = count & -8
    for i in range(0, whole, 8):
        totals = totals + load8(values + 4 * i)
    total = float(sum8(totals))
    rest = view_f4(values + 4 * whole, 8)
    for i in range(count - whole):
        total += rest[i]
    return total


@kernel("f8(i8, i8, i8, i8, i8)")
def likeness(x, pitch, channels, start, lag):
    """Normalised correlation of the pieces of `lag` frames at `start` and right after it, over all channels.

    Parameters
    ----------
    x
        Address of float32, one channel after the other.
    pitch
        From one channel's first frame to the next one's, in frames.

    Returns
    -------
    float
        -1 … 1; 1 for two silent pieces; -1 where the energies differ by more than `ENERGY_RATIO`.

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    cross = 0.0
    energy_a = 0.0
    energy_b = 0.0
    for c in range(channels):
        a = x + 4 * (c * pitch + start)
        b = a + 4 * lag
        cross += dot(a, b, lag)
        energy_a += dot(a, a, lag)
        energy_b += dot(b, b, lag)
    if energy_a + energy_b <= 1e-12 * lag * channels:
        return 1.0
    if not (energy_a <= ENERGY_RATIO * energy_b and energy_b <= ENERGY_RATIO * energy_a):
        return -1.0
    return max(-1.0, min(1.0, cross / math.sqrt(energy_a * energy_b)))


@kernel("void(i8, i8, i8, i8, i8, i8, i8, i8, i8, i8, i8)")
def scan_lags(x, pitch, channels, lag, first, last, begin, end, direction, stride, best):
    """The best start for each of the lags ``lag … lag + 7`` among all whose two pieces lie in ``[begin, end)``.

    Parameters
    ----------
    x, pitch, channels
        As in `likeness`; mean square near 1, `PADDING` zeros after each channel.
    lag
        The shortest of eight.
    first, last
        Limits of the splice point (``s`` for `direction` 1, ``s + L`` for -1), both included.
    begin, end
        No piece reaches out of them.
    stride
        From one judged start to the next, in frames.
    best
        Address of 16 float32: the best so far (signed square of the correlation) and its start, for each lag.
        Only what is better is written.

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    lanes = count8()
    lags = all8(np.float32(lag)) + lanes
    high = all8(np.float32(end)) - lags - lags
    highest = end - 2 * lag
    if direction > 0:
        lowest = max(first, begin)
        low = all8(np.float32(lowest))
        late = all8(np.float32(last))
        highest = min(highest, last)
    else:
        lowest = max(first - lag - (LANES - 1), begin)
        low = all8(np.float32(first)) - lags
        late = all8(np.float32(last)) - lags
        highest = min(highest, last - lag)
    high = where_less(late, high, late, high)
    if highest < lowest:
        return

    none = all8(np.float32(0.0))
    cross = none
    energy_a = none
    energy_b = none
    for i in range(lag + LANES - 1):
        inside = all8(np.float32(i))  # the longer lags have terms of their own at the end
        change = none
        change_a = none
        change_b = none
        for c in range(channels):
            at = x + 4 * (c * pitch + lowest + i)
            old = where_less(inside, lags, load8_same(at), none)
            new = where_less(inside, lags, load8(at + 4 * lag), none)
            change = change + old * new
            change_a = change_a + old * old
            change_b = change_b + new * new
        cross = cross + change
        energy_a = energy_a + change_a
        energy_b = energy_b + change_b

    ratio = all8(np.float32(ENERGY_RATIO))
    no = all8(np.float32(-2.0))
    least = lags * all8(np.float32(LEAST_PART * channels))
    best_score = load8(best)
    best_start = load8(best + 32)
    start = lowest
    while True:
        starts = all8(np.float32(start))
        score = cross * abs8(cross) / (energy_a * energy_b)
        score = where_less(energy_b * ratio, energy_a, no, score)
        score = where_less(energy_a * ratio, energy_b, no, score)
        score = where_less(energy_a, least, no, score)
        score = where_less(energy_b, least, no, score)
        score = where_less(starts, low, no, score)
        score = where_less(high, starts, no, score)
        best_start = where_less(best_score, score, starts, best_start)
        best_score = where_less(best_score, score, score, best_score)
        if start + stride > highest:
            break
        # The sums roll on: the oldest terms leave, new ones enter.
        for i in range(start, start + stride):
            change = none
            change_a = none
            change_b = none
            for c in range(channels):
                at = x + 4 * (c * pitch + i)
                old = load8_same(at)
                mid = load8(at + 4 * lag)
                new = load8_even(at + 8 * lag)
                square = mid * mid
                change = change + mid * (new - old)
                change_a = change_a + (square - old * old)
                change_b = change_b + (new * new - square)
            cross = cross + change
            energy_a = energy_a + change_a
            energy_b = energy_b + change_b
        start += stride
    store8(best, best_score)
    store8(best + 32, best_start)
