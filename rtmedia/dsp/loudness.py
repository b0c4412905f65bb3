"""From K-weighted power to loudness: blocks, gates, and a programme's loudness without remembering the programme.

Power is the mean square of the K-weighted samples, summed over the channels. A *block* lasts 400 ms and begins every 100 ms.
Integrated loudness is the mean power of the blocks that pass two gates: -70 LUFS, and 10 LU under the mean of
those that pass the first. Live, the second gate is only known later, so the blocks are kept as a histogram of
their loudness, in steps of 0.1 LU, with count and power of each step: the result differs from the exact one by the share
of one step at the gate. What has no loudness is `SILENT_LUFS`.

Sources: ITU-R BS.1770-4, annex 1; EBU Tech 3341, section 2 (M, S, I) and 3342 (range). The histogram is libebur128's idea.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rtmedia.rt.kernel import kernel
from rtmedia.rt.memory import view_f8

TICK_MS = 10  # the grid of all measuring: an engine's block
HOP_TICKS = 10  # 100 ms: a block begins
BLOCK_HOPS = 4  # 400 ms, momentary
SHORT_HOPS = 30  # 3 s, short-term

SILENT_LUFS = -120.0
GATE_LUFS = -70.0
RELATIVE_GATE = 0.1  # of the mean power: -10 LU
_OFFSET_DB = -0.691  # makes a sine of 997 Hz and 0 dB of full scale, in one channel, -3.01 LUFS
_LEAST = 1e-12

_STEPS = 800  # of 0.1 LU, from the gate to +10 LUFS
_PER_LU = 10.0
_TOTAL_COUNT, _TOTAL_POWER = 2 * _STEPS, 2 * _STEPS + 1
HISTOGRAM = 2 * _STEPS + 2


@kernel("f8(f8)")
def lufs(power):
    """Loudness of a power, not below `SILENT_LUFS`."""
    return _OFFSET_DB + 10.0 * math.log10(power) if power > _LEAST else SILENT_LUFS


@kernel("void(i8, f8)")
def histogram_add(histogram_address, power):
    """Count one block, `HISTOGRAM` float64 being there."""
    level = lufs(power)
    if level < GATE_LUFS:
        return
    histogram = view_f8(histogram_address, HISTOGRAM)
    step = min(int((level - GATE_LUFS) * _PER_LU), _STEPS - 1)
    for place, value in ((step, 1.0), (_STEPS + step, power), (_TOTAL_COUNT, 1.0), (_TOTAL_POWER, power)):
        histogram[place] += value


@kernel("f8(i8)")
def histogram_integrated(histogram_address):
    """Integrated loudness of the blocks counted so far, in LUFS."""
    histogram = view_f8(histogram_address, HISTOGRAM)
    if histogram[_TOTAL_COUNT] == 0.0:
        return SILENT_LUFS
    gate = RELATIVE_GATE * histogram[_TOTAL_POWER] / histogram[_TOTAL_COUNT]
    first = min(max(0, int((lufs(gate) - GATE_LUFS) * _PER_LU)), _STEPS - 1)
    count, power = 0.0, 0.0
    for step in range(first, _STEPS):
        # A step that the gate divides is in or out as a whole, by its mean.
        if histogram[_STEPS + step] > gate * histogram[step]:
            count += histogram[step]
            power += histogram[_STEPS + step]
    return lufs(power / count)


@kernel("f8(i8, i8, i8, i8)")
def ring_mean(ring_address, size, place, count):
    """Mean of the last `count` float64 of a ring of `size` whose next to be written is `place`."""
    ring = view_f8(ring_address, size)
    total = 0.0
    for _ in range(count):
        place = place - 1 if place > 0 else size - 1
        total += ring[place]
    return total / count


@kernel("f8(i8, i8, i8, i8)")
def ring_gated(ring_address, size, place, count):
    """The same, of those only that are not 10 LU under their mean."""
    ring = view_f8(ring_address, size)
    gate = RELATIVE_GATE * ring_mean(ring_address, size, place, count)
    total, passed = 0.0, 0.0
    for _ in range(count):
        place = place - 1 if place > 0 else size - 1
        if ring[place] >= gate:
            total += ring[place]
            passed += 1.0
    return total / max(passed, 1.0)


Levels = npt.NDArray[np.float64]


def lufs_of(power: npt.ArrayLike) -> Levels:
    """`lufs` for arrays."""
    return np.maximum(_OFFSET_DB + 10 * np.log10(np.maximum(np.asarray(power, np.float64), _LEAST)), SILENT_LUFS)


def sliding_power(hop_power: Levels, hops: int) -> Levels:
    """Mean power of each run of `hops` hops."""
    # Not by a running sum: what a loud hour leaves behind in its last digits is louder than silence.
    return np.convolve(hop_power, np.full(hops, 1 / hops), "valid") if len(hop_power) >= hops else np.zeros(0)


def gated(power: Levels, below_lu: float) -> Levels:
    """Those powers that are neither under -70 LUFS nor `below_lu` under the mean of the others."""
    loud = power[lufs_of(power) >= GATE_LUFS]
    return loud[loud > np.mean(loud) * 10 ** (-below_lu / 10)] if len(loud) else loud


def integrated_lufs(block_power: Levels) -> float:
    """Integrated loudness of blocks, all at hand: exact."""
    passed = gated(block_power, 10.0)
    return float(lufs_of(np.mean(passed))) if len(passed) else SILENT_LUFS


def range_lu(short_term_power: Levels) -> float:
    """Loudness range of EBU Tech 3342: from the 10th to the 95th percentile, gated at -70 LUFS and -20 LU."""
    passed = gated(short_term_power, 20.0)
    if not len(passed):
        return 0.0
    low, high = np.percentile(lufs_of(passed), (10, 95))
    return float(high - low)
