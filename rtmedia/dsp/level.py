"""Meters: peak and mean square of a block."""

from __future__ import annotations

import numpy as np

from rtmedia.rt.kernel import kernel
from rtmedia.rt.memory import view_block, view_f4


@kernel("void(i8, i8, i8, i8)")
def measure(block_address, frames, channels, out_address):
    """Write the peak and the mean square (full scale 1) of a block to two float32 at `out_address`.

    Thread: any one.   Real-time: yes.
    """
    block = view_block(block_address, frames, channels)
    out = view_f4(out_address, 2)
    peak = np.float32(0.0)
    total = 0.0
    for i in range(frames):
        for c in range(channels):
            sample = block[i, c]
            peak = max(peak, abs(sample))
            total += sample * sample
    out[0] = peak
    out[1] = np.float32(total / max(1, frames * channels))
