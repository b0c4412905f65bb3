"""A second-order high-pass over whole pieces of one channel, in double precision.

How to think about it: in a recursive filter each sample waits for the one before it. With numerator and denominator
both multiplied by ``A(-z)``, what remains recursive reaches back two and four samples only, so that even and odd ones
are reckoned side by side; the rest is a plain sum over the input, which becomes vectors. The response is the same.
Source: K. K. Parhi, D. G. Messerschmitt, *Pipeline interleaving and parallelism in recursive digital filters, part I*,
IEEE TASSP 37(7), 1989 (scattered look-ahead).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rtmedia.rt.kernel import kernel
from rtmedia.rt.memory import view_f4, view_f8

#: Samples that the filter looks back, in its input and in its output.
PAST = 4
#: 24 dB over full scale: more cannot be sound, and would be remembered for long.
_MOST = np.float32(16.0)
#: Under this an output is forgotten, before it becomes a number that processors are slow with.
_LEAST = 1e-30


@kernel("void(i8, i8, i8, i8, i8, i8)")
def high_pass(coefficients, past_outputs, sound, work, out, frames):
    """Filter `frames` float32 at address `sound` into those at `out`.

    `PAST` earlier ones lie before `sound`; `past_outputs` holds as many earlier outputs as float64, the latest
    first; `work` is scratch memory for `frames` float64.
    """
    c = view_f8(coefficients, 7)
    c0, c1, c2, c3, c4, back2, back4 = c[0], c[1], c[2], c[3], c[4], c[5], c[6]
    x0, x1, x2 = view_f4(sound, frames), view_f4(sound - 4, frames), view_f4(sound - 8, frames)
    x3, x4 = view_f4(sound - 12, frames), view_f4(sound - 16, frames)
    ahead, y = view_f8(work, frames), view_f4(out, frames)
    for i in range(frames):
        total = c0 * min(max(x0[i], -_MOST), _MOST) + c1 * min(max(x1[i], -_MOST), _MOST)
        total += c2 * min(max(x2[i], -_MOST), _MOST) + c3 * min(max(x3[i], -_MOST), _MOST)
        ahead[i] = total + c4 * min(max(x4[i], -_MOST), _MOST)
    past = view_f8(past_outputs, PAST)
    y1, y2, y3, y4 = past[0], past[1], past[2], past[3]
    for i in range(frames):
        y1, y2, y3, y4 = (ahead[i] - back4 * y4) - back2 * y2, y1, y2, y3
        y[i] = np.float32(y1)
    past[0] = y1 if abs(y1) > _LEAST else 0.0
    past[1] = y2 if abs(y2) > _LEAST else 0.0
    past[2] = y3 if abs(y3) > _LEAST else 0.0
    past[3] = y4 if abs(y4) > _LEAST else 0.0


def butterworth_high_pass(corner_hz: float, rate_hz: int) -> tuple[float, float, float]:
    """``b0, a1, a2`` of the second-order high-pass by the bilinear transform; ``b1 = -2 b0``, ``b2 = b0``."""
    w = 2 * math.pi * corner_hz / rate_hz
    alpha = math.sin(w) / math.sqrt(2)
    a0 = 1 + alpha
    return (1 + math.cos(w)) / 2 / a0, -2 * math.cos(w) / a0, (1 - alpha) / a0


def coefficients(corner_hz: float, rate_hz: int) -> npt.NDArray[np.float64]:
    """What `high_pass` takes: five factors of the input, then those of the outputs two and four samples back."""
    b0, a1, a2 = butterworth_high_pass(corner_hz, rate_hz)
    mirrored = [1.0, -a1, a2]  # A(-z)
    denominator = np.convolve([1.0, a1, a2], mirrored)
    return np.array([*np.convolve([b0, -2 * b0, b0], mirrored), denominator[2], denominator[4]])
