"""A look-ahead limiter of true peaks: the last effect, and the one that may never fail.

What must stay under the ceiling is not the samples but the line that a converter draws through them (`rtmedia.dsp.true_peak`).
The gain that each place of that line needs goes through three steps, all on the logarithm of the gain: the least of a
sliding window (the need is seen a window early), an exponential release, and a running mean over nearly the same window (a
straight line in decibels instead of a jump), its corners rounded by a second, shorter mean. The mean of values none of which
exceeds a frame's need cannot exceed it either, so when a frame leaves the delay line its gain has come down in time.

How sure that is. Under a gain that rests, the line through the output is the line through the input times the gain, and stays under
the ceiling exactly. Under a gain that moves, the twelve frames of which a place of the line is made are turned down a little
differently, and the line moves by at most the sum of ``|weight| * |sample| * |difference of gains|``. At a peak that the
gain came down for these differences are small, because it arrives `COVER` frames before and leaves as many after. What
remains are peaks just under the ceiling where the gain begins to move for the sake of others; rounded corners
make that small, and a margin covers it: the limiter works to a ceiling lower by `margin_db`. Slopes are steep where the window
has few frames, hence 0.03 dB at 48 kHz and 0.8 dB at 8 kHz. That is at least twice what ten hours of hostile sound needed
(``benchmarks/dsp_limiter.py``), not what the sum could reach if someone composed every sample against it.

At rest (all gains in the window are 1) a block whose peaks need nothing is moved through the delay line and nothing else happens.
The logarithms are integers, so that sums never drift and rest is reached exactly: from then on each output is the delayed
input to the bit, and any division of the stream into blocks gives the same bits.
Source of the scheme: window minimum and smoothing FIR as in U. Zölzer, *DAFX*, 2nd ed. 2011, section 4.2.2;
minimum by doubling widths: the sparse table of M. Bender, M. Farach-Colton, *The LCA problem revisited*, LATIN 2000, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.lanes import LANES, abs8, all8, largest8, load8, load8_even, load8_odd, store8, store8_pairs, sum8, where_less
from rtmedia.dsp.simd import exp2_8, log2_8, log2_f4
from rtmedia.dsp.state import check_range, header_dtype, make_state
from rtmedia.dsp.true_peak import AHEAD, MOST, TAPS, true_peak8
from rtmedia.ports import Format
from rtmedia.rt.kernel import EFFECT_SIGNATURE, callback, kernel, move_octets, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_f4, view_i8
from rtmedia.rt.plugin import TAKEN_FIELDS, WISH_FIELDS, Instance, take_wishes
from rtmedia.units import frames_of_ms, gain_of_db

LOOK_AHEAD_MS = 2.0
RAMP_MS = 10.0  # of the ceiling, when it is changed
LOW_DB, HIGH_DB = -40.0, 0.0
LOW_RELEASE_MS, HIGH_RELEASE_MS = 1.0, 5000.0

#: Frames on each side of a peak over which its gain rests.
COVER = 3
_LEAST_WINDOW = 4  # where 2 ms are but a few frames

_PIECE = 512  # frames at a time: all that is in between stays in the nearest cache
_OCTAVE = float(1 << 28)  # a factor of two of gain, as an integer
_SHARE = 1 << 24  # the whole way, of the release
_SHARE_BITS = 24
_HUGE = 1e30  # what is louder is this loud: twelve such samples still have a sum
_SAFE = 1.001 * MOST  # of the bound: more than rounding adds
_DB_PER_OCTAVE = 20.0 * math.log10(2.0)

HEADER = header_dtype(
    [
        *WISH_FIELDS,
        *TAKEN_FIELDS,
        ("delay_frames", "i8"),
        ("window_frames", "i8"),  # of the mean
        ("corner_frames", "i8"),  # of the second mean
        ("least_frames", "i8"),  # of the minimum
        ("ramp_frames", "i8"),
        ("rate_hz", "f8"),
        ("margin", "f8"),  # what the limiter works to, as a part of the ceiling
        ("reduction_db", "f4"),  # meter: the least gain of the last call, at most 0
        ("cleaned_total", "i8"),  # samples that were not finite
        ("share", "i8"),  # of the way back per frame
        ("gain", "i8"),  # all gains are octaves, at most 0
        ("sum", "i8"),  # of the window
        ("corner_sum", "i8"),  # of such sums; 0: at rest
        ("left_frames", "i8"),  # of the ceiling's ramp
        ("step", "f8"),
        ("target", "f8"),
    ],
    ("delayed", "needs", "gains", "sums", "peaks", "scratch"),
)


@kernel("i8(i8, i8, i8, i8, i8)")
def _take(block_address, frames, channels, target, row):
    """A block to the delay lines at `target`, finite, and zeros behind it; how many samples were not."""
    zero, one, huge, minus_huge = all8(np.float32(0)), all8(np.float32(1)), all8(np.float32(_HUGE)), all8(np.float32(-_HUGE))
    endless = all8(np.float32(np.inf))
    broken = zero
    whole = frames & -LANES
    for i in range(0, whole, LANES):
        for c in range(channels):
            if channels == 1:
                value = load8(block_address + 4 * i)
            elif c == 0:
                value = load8_even(block_address + 8 * i)
            else:
                value = load8_odd(block_address + 8 * i)
            size = abs8(value)
            broken = broken + where_less(size, endless, zero, one)
            value = where_less(size, endless, value, zero)
            value = where_less(value, huge, value, huge)
            store8(target + c * row + 4 * i, where_less(minus_huge, value, value, minus_huge))
    total = np.int64(sum8(broken))
    block = view_f4(block_address, frames * channels)
    for c in range(channels):
        line = view_f4(target + c * row, frames + LANES)
        for i in range(whole, frames):
            value = block[i * channels + c]
            if not abs(value) < np.float32(np.inf):
                value = np.float32(0)
                total += 1
            line[i] = min(max(value, np.float32(-_HUGE)), np.float32(_HUGE))
        for i in range(LANES):  # what lies behind is never heard, but it is measured
            line[frames + i] = np.float32(0)
    return total


@kernel("void(i8, i8, i8, i8, i8, i8)")
def _give(block_address, frames, channels, source, row, gains_address):
    """The delay lines at `source` to a block, each frame times its gain; without gains where their address is 0."""
    whole = frames & -LANES
    one = all8(np.float32(1))
    for i in range(0, whole, LANES):
        gain = load8(gains_address + 4 * i) if gains_address else one
        if channels == 1:
            store8(block_address + 4 * i, load8(source + 4 * i) * gain)
        else:
            store8_pairs(block_address + 8 * i, load8(source + 4 * i) * gain, load8(source + row + 4 * i) * gain)
    block = view_f4(block_address, frames * channels)
    gains = view_f4(gains_address, frames)
    for c in range(channels):
        line = view_f4(source + c * row, frames)
        for i in range(whole, frames):
            block[i * channels + c] = line[i] * (gains[i] if gains_address else np.float32(1))


@callback(EFFECT_SIGNATURE)
def limiter_process(block_address, all_frames, channels, state_address):
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    delay, window, corner, least = head.delay_frames, head.window_frames, head.corner_frames, head.least_frames
    row = 4 * (delay + _PIECE + LANES)  # octets of a channel's delay line: what was, then the piece
    delayed = state_address + head.at_delayed
    peaks_address = state_address + head.at_peaks
    scratch_address = state_address + head.at_scratch
    needs_address, gains_address, sums_address = state_address + head.at_needs, state_address + head.at_gains, state_address + head.at_sums
    # What was, then the piece. Views that begin where they are used: plain indices from 0.
    needs = view_f4(needs_address + 4 * (least - 1), _PIECE)
    old_gains, gains = view_i8(gains_address, _PIECE), view_i8(gains_address + 8 * window, _PIECE)
    old_sums, sums = view_i8(sums_address, _PIECE), view_i8(sums_address + 8 * corner, _PIECE)
    peaks = view_f4(peaks_address, _PIECE)
    scratch = view_f4(scratch_address, least - 1 + _PIECE)

    left, step, target = head.left_frames, head.step, head.target
    if take_wishes(state_address):
        now = target - step * left
        wish_db, wish_ms = head.taken[0], head.taken[1]
        wish_db = min(wish_db, np.float32(HIGH_DB)) if wish_db > np.float32(LOW_DB) else np.float32(LOW_DB)
        wish_ms = min(wish_ms, np.float32(HIGH_RELEASE_MS)) if wish_ms > np.float32(LOW_RELEASE_MS) else np.float32(LOW_RELEASE_MS)
        target = head.margin * 10.0 ** (wish_db / 20.0)
        left = head.ramp_frames
        step = (target - now) / left
        head.step, head.target = step, target
        head.share = np.int64(_SHARE * (1.0 - math.exp(-1000.0 / (wish_ms * head.rate_hz))))

    share, gain, total, corner_total = head.share, head.gain, head.sum, head.corner_sum
    octave = 1.0 / (window * corner * _OCTAVE)
    lowest = 0
    start = 0
    while start < all_frames:
        frames = min(_PIECE, all_frames - start)
        block_address_now = block_address + 4 * start * channels
        head.cleaned_total += _take(block_address_now, frames, channels, delayed + 4 * delay, row)
        before, now = target - step * left, target - step * max(left - frames, 0)
        ceiling = np.float32(min(before, now))

        # First a bound on the peaks, then the peaks themselves: most blocks need no more than that.
        most = all8(np.float32(0))
        for c in range(channels):
            first = delayed + c * row + 4 * (delay - TAPS + 1)
            for i in range(0, frames + TAPS - 1, LANES):
                value = abs8(load8(first + 4 * i))
                most = where_less(most, value, value, most)
        moving = corner_total != 0
        if moving or largest8(most) * np.float32(_SAFE) > ceiling:
            most = all8(np.float32(0))
            first = delayed + 4 * (delay - TAPS + 1)
            for i in range(0, frames, LANES):
                value = true_peak8(first + 4 * i)
                if channels == 2:
                    other = true_peak8(first + row + 4 * i)
                    value = where_less(value, other, other, value)
                store8(peaks_address + 4 * i, value)
                most = where_less(most, value, value, most)
            moving = moving or largest8(most) > ceiling

        if moving:
            ramp = min(left, frames)
            for i in range(ramp):
                ceiling = np.float32(target - step * (left - 1 - i))
                peak = peaks[i]
                octaves = log2_f4(ceiling / peak)
                needs[i] = octaves if peak > ceiling else np.float32(0)
            rest = all8(np.float32(target))
            for i in range(ramp, frames, LANES):  # what is written beyond the piece is overwritten by the next
                value = load8(peaks_address + 4 * i)
                store8(needs_address + 4 * (least - 1 + i), where_less(rest, value, log2_8(rest / value), np.float32(0)))
            # The least of `width` neighbours, `width` doubling in place; then of two such that cover the window.
            end = least - 1 + frames
            source, width = needs_address, 1
            while 2 * width <= least:
                for i in range(0, end - width, LANES):
                    one, other = load8(source + 4 * i), load8(source + 4 * (i + width))
                    store8(scratch_address + 4 * i, where_less(other, one, other, one))
                source, width = scratch_address, 2 * width
            for i in range(0, frames, LANES):
                one, other = load8(source + 4 * i), load8(source + 4 * (i + least - width))
                store8(scratch_address + 4 * i, where_less(other, one, other, one))
            for i in range(frames):
                goal = np.int64(scratch[i] * np.float32(_OCTAVE))
                gain -= (gain * share) >> _SHARE_BITS  # rounds down: at least one unit closer to 0
                gain = min(gain, goal)
                total += gain - old_gains[i]
                gains[i] = gain
                corner_total += total - old_sums[i]
                sums[i] = total
                lowest = min(lowest, corner_total)
                scratch[i] = np.float32(corner_total * octave)
            for i in range(0, frames, LANES):
                store8(peaks_address + 4 * i, exp2_8(load8(scratch_address + 4 * i)))
            move_octets(needs_address, needs_address + 4 * frames, 4 * (least - 1))
            move_octets(gains_address, gains_address + 8 * frames, 8 * window)
            move_octets(sums_address, sums_address + 8 * frames, 8 * corner)
        _give(block_address_now, frames, channels, delayed, row, peaks_address if moving else 0)
        for c in range(channels):
            move_octets(delayed + c * row, delayed + c * row + 4 * frames, 4 * delay)
        left = max(left - frames, 0)
        start += frames

    head.left_frames = left
    head.gain, head.sum, head.corner_sum = gain, total, corner_total
    head.reduction_db = np.float32(lowest * octave * _DB_PER_OCTAVE)


def margin_db(rate_hz: int) -> float:
    """How far below the ceiling the limiter works, in dB: so much a gain that moves may lift the peaks."""
    # The curve of the gain's corners goes with the square of the window. Ten hours of hostile sound lifted peaks by 0.27 dB at
    # 8 kHz, 0.04 dB at 16 and 24 kHz, 0.008 dB at 32 kHz and 0.003 dB at 44.1 and 48 kHz: the margin is at least twice that.
    return max(0.03, 200.0 / frames_of_ms(LOOK_AHEAD_MS, rate_hz) ** 2)


@dataclass(frozen=True)
class Limiter:
    """Keep the true peak of whatever comes in under a ceiling; what is not finite becomes 0.

    Parameters
    ----------
    ceiling_db : float
        -40 to 0 dB of full scale.
    release_ms : float
        Time constant of the recovery, 1 to 5000: of the gain in decibels.

    Notes
    -----
    Thread: the instance belongs to one.   Real-time: yes.   Latency: 2 ms (`LOOK_AHEAD_MS`).
    Channels share one gain. Peaks are measured at four times the rate, as ITU-R BS.1770-4 has it, and at the samples. Sound
    whose true peak stays `margin_db` (0.03 dB at 44.1 and 48 kHz, 0.2 dB at 16 kHz, 0.8 dB at 8 kHz) under the ceiling comes
    out as the delayed input, to the bit. The state's ``reduction_db`` is the least gain of the last call.
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
        rate_hz = format.rate_hz
        # A peak after frame n is known AHEAD + 1 frames later; COVER more and the mean lie before that.
        delay = max(frames_of_ms(LOOK_AHEAD_MS, rate_hz), AHEAD + COVER + _LEAST_WINDOW)
        both = delay - AHEAD - COVER  # the two means together, as one window
        corner = both // 4
        window = both + 1 - corner
        least = both + 2 * COVER + 1
        margin = gain_of_db(-margin_db(rate_hz))
        arrays: dict[str, npt.NDArray[Any]] = {
            "delayed": np.zeros((format.channels, delay + _PIECE + LANES), np.float32),
            "needs": np.zeros(least - 1 + _PIECE + 2 * LANES, np.float32),
            "gains": np.zeros(window + _PIECE, np.int64),
            "sums": np.zeros(corner + _PIECE, np.int64),
            "peaks": np.zeros(_PIECE + LANES, np.float32),
            "scratch": np.zeros(least - 1 + _PIECE + 2 * LANES, np.float32),
        }
        state = make_state(HEADER, arrays)
        state["delay_frames"] = delay
        state["window_frames"] = window
        state["corner_frames"] = corner
        state["least_frames"] = least
        state["ramp_frames"] = frames_of_ms(RAMP_MS, rate_hz)
        state["rate_hz"] = rate_hz
        state["margin"] = margin
        state["share"] = int(_SHARE * (1.0 - math.exp(-1000.0 / (self.release_ms * rate_hz))))
        state["target"] = margin * gain_of_db(self.ceiling_db)
        state["wish"][0, : len(self.values())] = self.values()
        return Instance(limiter_process, state, format, max_frames, latency_frames=delay)
