"""A look-ahead limiter: the last effect, and the one that may never fail.

The gain that each frame needs goes through three steps: the minimum over a sliding window (the need is seen
a window early), an exponential release, and a running mean over the same window (a straight line instead
of a jump). The mean of values none of which exceeds a frame's need cannot exceed it either, so when the frame leaves the
delay line its gain has come down in time, exactly. The running sum is kept in integers: it never drifts.
Source of the scheme: window minimum and smoothing FIR as in U. Zölzer, *DAFX*, 2nd ed. 2011, section 4.2.2;
streaming minimum: D. Lemire, *Streaming maximum-minimum filter*, 2006.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import carray

from rtmedia.dsp.state import check_range, header_dtype, make_state
from rtmedia.ports import Format
from rtmedia.rt.kernel import EFFECT_SIGNATURE, callback, pointer_void
from rtmedia.rt.memory import view_block, view_f4, view_f8, view_i8
from rtmedia.rt.plugin import TAKEN_FIELDS, WISH_FIELDS, Instance, take_wishes
from rtmedia.units import frames_of_ms, gain_of_db

LOOK_AHEAD_MS = 1.5
RAMP_MS = 10.0  # of the ceiling, when it is changed
LOW_DB, HIGH_DB = -40.0, 0.0
LOW_RELEASE_MS, HIGH_RELEASE_MS = 1.0, 5000.0

_ONE = 1 << 30  # a gain of 1 as an integer
_SNAP = 1e-6  # so close to its goal the release has arrived: at rest the limiter changes no bit

HEADER = header_dtype(
    [
        *WISH_FIELDS,
        *TAKEN_FIELDS,
        ("window_frames", "i8"),
        ("ramp_frames", "i8"),
        ("rate_hz", "f8"),
        ("reduction_db", "f4"),  # meter: the least gain of the last call, at most 0
        ("cleaned_total", "i8"),  # samples that were not finite
        ("frame", "i8"),
        ("place", "i8"),  # in the rings of one window
        ("first", "i8"),  # of the queue of minima
        ("waiting", "i8"),
        ("release", "f8"),  # share of the way per frame
        ("gain", "f8"),
        ("sum", "i8"),
        ("left_frames", "i8"),  # of the ceiling's ramp
        ("step", "f8"),
        ("target", "f8"),
    ],
    ("delayed", "ceilings", "sums", "minima", "minima_frames"),
)


@callback(EFFECT_SIGNATURE)
def limiter_process(block_address, frames, channels, state_address):
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    block = view_block(block_address, frames, channels)
    window = head.window_frames
    delayed = view_block(state_address + head.at_delayed, window, channels)
    ceilings = view_f4(state_address + head.at_ceilings, window)
    sums = view_i8(state_address + head.at_sums, window)
    minima = view_f8(state_address + head.at_minima, window)
    minima_frames = view_i8(state_address + head.at_minima_frames, window)

    left, step, target = head.left_frames, head.step, head.target
    if take_wishes(state_address):
        now = target - step * left
        wish_db, wish_ms = head.taken[0], head.taken[1]
        wish_db = min(wish_db, np.float32(HIGH_DB)) if wish_db > np.float32(LOW_DB) else np.float32(LOW_DB)
        wish_ms = min(wish_ms, np.float32(HIGH_RELEASE_MS)) if wish_ms > np.float32(LOW_RELEASE_MS) else np.float32(LOW_RELEASE_MS)
        target = 10.0 ** (wish_db / 20.0)
        left = head.ramp_frames
        step = (target - now) / left
        head.step, head.target = step, target
        head.release = 1.0 - math.exp(-1000.0 / (wish_ms * head.rate_hz))

    frame, place, first, waiting = head.frame, head.place, head.first, head.waiting
    release, gain, total = head.release, head.gain, head.sum
    least = 1.0
    cleaned = 0
    for i in range(frames):
        if left > 0:
            left -= 1
        ceiling = np.float32(target - step * left)
        peak = np.float32(0)
        for c in range(channels):
            value = block[i, c]
            if value - value != np.float32(0):  # NaN or infinite
                value = np.float32(0)
                cleaned += 1
            delayed[place, c] = value
            peak = max(peak, abs(value))
        ceilings[place] = ceiling
        needed = ceiling / np.float64(peak) if peak > ceiling else 1.0

        # The queue holds the window's minima in rising order: the front is the least.
        last = first + waiting - 1
        while waiting > 0 and minima[last if last < window else last - window] >= needed:
            waiting -= 1
            last -= 1
        if waiting > 0 and minima_frames[first] <= frame - window:
            first = first + 1 if first + 1 < window else 0
            waiting -= 1
        last = first + waiting
        if last >= window:
            last -= window
        minima[last] = needed
        minima_frames[last] = frame
        waiting += 1
        goal = minima[first]

        gain = goal if goal - gain < _SNAP else gain + (goal - gain) * release
        part = np.int64(gain * _ONE)  # rounds down: never above the need
        total += part - sums[place]
        sums[place] = part

        oldest = place + 1 if place + 1 < window else 0
        applied = total / (np.float64(window) * _ONE)
        least = min(least, applied)
        limit = ceilings[oldest]
        for c in range(channels):
            value = np.float32(delayed[oldest, c] * applied)
            block[i, c] = min(max(value, -limit), limit)  # only the last bit's rounding is left to cut
        place = oldest
        frame += 1

    head.left_frames = left
    head.frame, head.place, head.first, head.waiting = frame, place, first, waiting
    head.gain, head.sum = gain, total
    head.cleaned_total += cleaned
    head.reduction_db = np.float32(20.0 * math.log10(max(least, 1e-12)))


@dataclass(frozen=True)
class Limiter:
    """Keep every sample under a ceiling, whatever comes in; what is not finite becomes 0.

    Parameters
    ----------
    ceiling_db : float
        -40 to 0 dB of full scale.
    release_ms : float
        Time constant of the recovery, 1 to 5000.

    Notes
    -----
    Thread: the instance belongs to one.   Real-time: yes.   Latency: 1.5 ms (`LOOK_AHEAD_MS`).
    Channels share one gain. Under the ceiling the output is the delayed input to the bit. The state's ``reduction_db`` is the
    least gain of the last call. Peaks are those of the samples; between them a converter may rise higher, hence the default of -1 dB.
    """

    ceiling_db: float = -1.0
    release_ms: float = 80.0

    def __post_init__(self) -> None:
        check_range("Limiter", "ceiling_db", self.ceiling_db, LOW_DB, HIGH_DB)
        check_range("Limiter", "release_ms", self.release_ms, LOW_RELEASE_MS, HIGH_RELEASE_MS)

    @property
    def name(self) -> str:
        return "limiter"

    def values(self) -> tuple[float, ...]:
        """What ``update`` takes: ``(ceiling_db, release_ms)``."""
        return (self.ceiling_db, self.release_ms)

    def make(self, format: Format, max_frames: int) -> Instance:
        """An instance for `format`."""
        ahead = frames_of_ms(LOOK_AHEAD_MS, format.rate_hz)
        window = ahead + 1
        ceiling = gain_of_db(self.ceiling_db)
        arrays: dict[str, npt.NDArray[Any]] = {
            "delayed": np.zeros((window, format.channels), np.float32),
            "ceilings": np.full(window, ceiling, np.float32),
            "sums": np.full(window, _ONE, np.int64),
            "minima": np.zeros(window, np.float64),
            "minima_frames": np.zeros(window, np.int64),
        }
        state = make_state(HEADER, arrays)
        state["window_frames"] = window
        state["ramp_frames"] = frames_of_ms(RAMP_MS, format.rate_hz)
        state["rate_hz"] = format.rate_hz
        state["release"] = 1.0 - math.exp(-1000.0 / (self.release_ms * format.rate_hz))
        state["gain"] = 1.0
        state["sum"] = window * _ONE
        state["target"] = ceiling
        state["wish"][0, : len(self.values())] = self.values()
        return Instance(limiter_process, state, format, max_frames, latency_frames=ahead)
