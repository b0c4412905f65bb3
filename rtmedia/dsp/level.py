"""Peak and mean square of a block."""

from __future__ import annotations

import numpy as np

from rtmedia.dsp.lanes import LANES, abs8, all8, finite_or, largest8, load8, max8, sum8
from rtmedia.rt.kernel import kernel
from rtmedia.rt.memory import view_f4

#: Samples whose squares are added up as float32: few enough that rounding stays under 1e-5 of the sum, whatever the signal.
_PIECE = 512


@kernel("void(i8, i8, i8, i8)")
def measure(block_address, frames, channels, out_address):
    """Write the largest magnitude and the mean square of a block, over all channels, as two float32.

    Samples that are not finite count as 0. An empty block measures 0, 0. The mean square is good to 1e-5 of itself.
    """
    count = frames * channels
    whole = count & -LANES
    zero = all8(np.float32(0))
    peaks = zero
    total = 0.0
    for start in range(0, whole, _PIECE):
        squares = zero
        for i in range(start, min(start + _PIECE, whole), LANES):
            value = finite_or(load8(block_address + 4 * i), zero)
            peaks = max8(peaks, abs8(value))
            squares = squares + value * value
        total += float(sum8(squares))
    peak = largest8(peaks)
    rest = view_f4(block_address + 4 * whole, LANES)
    for i in range(count - whole):
        value = rest[i]
        value = value if value - value == np.float32(0) else np.float32(0)
        peak = max(peak, abs(value))
        total += float(value) * float(value)
    out = view_f4(out_address, 2)
    out[0] = peak
    out[1] = np.float32(total / max(count, 1))


@kernel("f8(i8, i8, f8)")
def add_squares(samples_address, count, total):
    """`total` and the squares of `count` float32 behind it, one after the other.

    In order, so that a stretch in two pieces has the same sum as in one; in float64, so that it is what it says.

    Notes
    -----
    Thread: any.   Real-time: yes.
    """
    samples = view_f4(samples_address, count)
    for i in range(count):
        total += samples[i] * samples[i]
    return total
