"""Peak and mean square of a block."""

from __future__ import annotations

import numpy as np

from rtmedia.rt.kernel import kernel
from rtmedia.rt.memory import view_f4


@kernel("void(i8, i8, i8, i8)")
def measure(block_address, frames, channels, out_address):
    """Write the largest magnitude and the mean square of a block, over all channels, as two float32.

    Samples that are not finite count as 0. An empty block measures 0, 0.
    """
    samples = view_f4(block_address, frames * channels)
    out = view_f4(out_address, 2)
    peak = np.float32(0)
    total = 0.0
    for i in range(frames * channels):
        value = samples[i]
        value = value if value - value == np.float32(0) else np.float32(0)
        peak = max(peak, abs(value))
        total += np.float64(value) * np.float64(value)
    out[0] = peak
    out[1] = np.float32(total / max(frames * channels, 1))
