"""The K-weighting of ITU-R BS.1770: how loud a frequency is heard, as two filters in series.

The recommendation prints coefficients for 48 kHz only. They are the bilinear transform of two analogue sections, a high shelf
(+4 dB above some 1.7 kHz: the head) and a high-pass (38 Hz: the ear), and from these sections every other rate's
coefficients follow. Both are prewarped at their corner frequency; elsewhere the bilinear transform squeezes
the shelf's slope below half the rate. Against the response at 48 kHz that is at most 0.51 dB at 8 kHz, 0.16 at 16, 0.07 at 24,
0.035 from 32 to 96 kHz, nearly all of it around 2.5 kHz; for speech, less than a tenth of it.

Sources: ITU-R BS.1770-4, annex 1, tables 1 and 2; the sections' parameters: B. De Man, *Evaluation of Implementations of the
EBU R128 Loudness Measurement*, AES Convention 145, 2018, and libebur128.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError
from rtmedia.rt.kernel import kernel
from rtmedia.rt.memory import view_block, view_f8

LOW_HZ, HIGH_HZ = 8_000, 384_000

#: 24 dB over full scale: more is no sound but a fault, and counts as 0.
MOST = np.float32(16.0)
_TINY = 1e-30  # so small nothing is heard; from there to denormal numbers it is more than a tick

_SHELF_HZ, _SHELF_DB, _SHELF_Q, _SHELF_BEND = 1681.974450955533, 3.999843853973347, 0.7071752369554196, 0.4996667741545416
_PASS_HZ, _PASS_Q = 38.13547087602444, 0.5003270373238773

# The memory of a filter: coefficients, then for each channel what was last and the energy since it was last taken.
_B0, _B1, _B2, _A1, _A2, _C1, _C2 = range(7)
_CHANNELS = 8
_X1, _X2, _Y1, _Y2, _W1, _W2, _ENERGY = range(7)
_ROW = 8


def coefficients(rate_hz: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Shelf and high-pass, each ``(b0, b1, b2, a1, a2)``; the high-pass is not scaled, as in the recommendation.

    Raises
    ------
    ConfigError
        Below 8 kHz there is too little of the shelf's band left.
    """
    if not LOW_HZ <= rate_hz <= HIGH_HZ:
        raise ConfigError(f"rate_hz is {rate_hz}; loudness is defined here from {LOW_HZ} to {HIGH_HZ}: resample before")
    k = math.tan(math.pi * _SHELF_HZ / rate_hz)
    high = 10 ** (_SHELF_DB / 20)
    bend = high**_SHELF_BEND
    a0 = 1 + k / _SHELF_Q + k * k
    shelf = (
        (high + bend * k / _SHELF_Q + k * k) / a0,
        2 * (k * k - high) / a0,
        (high - bend * k / _SHELF_Q + k * k) / a0,
        2 * (k * k - 1) / a0,
        (1 - k / _SHELF_Q + k * k) / a0,
    )
    k = math.tan(math.pi * _PASS_HZ / rate_hz)
    a0 = 1 + k / _PASS_Q + k * k
    return shelf, (1.0, -2.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / _PASS_Q + k * k) / a0)


def make_k_weighting(rate_hz: int, channels: int) -> npt.NDArray[np.float64]:
    """The memory that `k_weight` works on, at rest."""
    shelf, high_pass = coefficients(rate_hz)
    memory = np.zeros(_CHANNELS + _ROW * channels, np.float64)
    memory[: _C2 + 1] = (*shelf, *high_pass[3:])
    return memory


@kernel("i8(i8, i8, i8, i8)")
def k_weight(memory_address, block_address, frames, channels):
    """Add up the K-weighted energy of a block in the memory; returns how many samples were not finite.

    The block is only read; what is not finite or over `MOST` counts as 0. Direct form I: from frame to frame each filter waits
    for one product and one difference, and the two wait at the same time.
    """
    memory = view_f8(memory_address, _CHANNELS + _ROW * channels)
    block = view_block(block_address, frames, channels)
    b0, b1, b2, a1, a2 = memory[_B0], memory[_B1], memory[_B2], memory[_A1], memory[_A2]
    c1, c2 = memory[_C1], memory[_C2]
    broken = 0
    for c in range(channels):
        row = _CHANNELS + _ROW * c
        x1, x2 = memory[row + _X1], memory[row + _X2]
        y1, y2 = memory[row + _Y1], memory[row + _Y2]
        w1, w2 = memory[row + _W1], memory[row + _W2]
        energy = memory[row + _ENERGY]
        for i in range(frames):
            value = block[i, c]
            x = np.float64(value)
            if not abs(value) <= MOST:
                x = 0.0
                broken += value - value != np.float32(0)  # NaN or infinite
            y = (b0 * x + b1 * x1 + b2 * x2 - a2 * y2) - a1 * y1
            w = (y - 2.0 * y1 + y2 - c2 * w2) - c1 * w1
            energy += w * w
            x2, x1 = x1, x
            y2, y1 = y1, y
            w2, w1 = w1, w
        memory[row + _X1], memory[row + _X2] = x1, x2
        memory[row + _Y1], memory[row + _Y2] = y1, y2
        memory[row + _W1], memory[row + _W2] = w1, w2
        memory[row + _ENERGY] = energy
    return broken


@kernel("f8(i8, i8)")
def take_energy(memory_address, channels):
    """The energy of all channels since the last call; to be called every 10 ms, so that no denormal number arises."""
    memory = view_f8(memory_address, _CHANNELS + _ROW * channels)
    total = 0.0
    for c in range(channels):
        row = _CHANNELS + _ROW * c
        total += memory[row + _ENERGY]
        memory[row + _ENERGY] = 0.0
        for i in range(row + _Y1, row + _W2 + 1):
            if abs(memory[i]) < _TINY:
                memory[i] = 0.0
    return total


def response_db(rate_hz: int, frequency_hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The weighting at each frequency, in dB."""
    z: npt.NDArray[Any] = np.exp(-2j * np.pi * np.asarray(frequency_hz, float) / rate_hz)
    shelf, high_pass = ((b0 + b1 * z + b2 * z * z) / (1 + a1 * z + a2 * z * z) for b0, b1, b2, a1, a2 in coefficients(rate_hz))
    weighting: npt.NDArray[np.float64] = 20 * np.log10(np.abs(shelf * high_pass))
    return weighting
