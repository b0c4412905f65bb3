"""Change of sampling rate in a stream: a polyphase windowed sinc with continuous state.

Output frame ``m`` lies at input time ``m M / L`` (``L / M`` the reduced ratio). It is a dot product of the
newest ``taps`` input frames with phase ``m M mod L`` of one low-pass of ``L taps`` coefficients. History
and phase stay in the state, so any division of the stream into blocks gives the same bits.
Source: R. E. Crochiere, L. R. Rabiner, *Multirate Digital Signal Processing*, 1983, chapter 3; window: J. F. Kaiser, 1974.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import carray

from rtmedia.dsp.simd import LANES, dot_f4
from rtmedia.dsp.state import header_dtype, make_state
from rtmedia.errors import ConfigError
from rtmedia.ports import RATES_HZ, Block
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.memory import view_block

#: Taps per phase at the lower of the two rates: 1.5 ms of delay at 16 kHz.
TAPS = 48
#: Kaiser's beta and the cut-off as a share of the lower Nyquist frequency: images 90 dB down, -0.5 dB at 7/8 of it.
BETA = 9.5
CUT = 0.94

HEADER = header_dtype(
    [
        ("channels", "i8"),
        ("up", "i8"),
        ("down", "i8"),
        ("taps", "i8"),
        ("max_frames", "i8"),
        ("phase", "i8"),  # of the next output frame
        ("wait_frames", "i8"),  # input frames to skip before the newest one that the next output frame needs
    ],
    ("table", "work"),
)


@kernel("i8(i8, i8)")
def out_frames_for(state_address, in_frames):
    """Frames that `resample` will give for the next `in_frames`."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    if head.up == head.down:
        return in_frames
    room = (in_frames - head.wait_frames) * head.up - head.phase
    return (room + head.down - 1) // head.down if room > 0 else 0


@kernel("i8(i8, i8, i8, i8)")
def resample(state_address, in_address, in_frames, out_address):
    """Take `in_frames` frames, write what they complete, return how many that is."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    channels, up, taps = head.channels, head.up, head.taps
    block = view_block(in_address, in_frames, channels)
    if up == head.down:
        out = view_block(out_address, in_frames, channels)
        for i in range(in_frames):
            for c in range(channels):
                out[i, c] = block[i, c]
        return in_frames

    count = out_frames_for(state_address, in_frames)
    out = view_block(out_address, count, channels)
    table = state_address + head.at_table
    past = taps - 1
    row = past + head.max_frames
    work = view_block(state_address + head.at_work, channels, row)
    work_address = state_address + head.at_work
    step, fraction = head.down // up, head.down % up
    phase, n = head.phase, head.wait_frames
    written = 0
    start = 0
    while start < in_frames:
        frames = min(head.max_frames, in_frames - start)
        for c in range(channels):
            for i in range(frames):
                value = block[start + i, c]
                # Not finite: v - v is NaN. It would be heard for `taps` frames, as loud as can be.
                work[c, past + i] = value if value - value == np.float32(0) else np.float32(0)
        while n < frames:
            for c in range(channels):
                out[written, c] = dot_f4(work_address + (c * row + n) * 4, table + phase * taps * 4, taps)
            written += 1
            n += step
            phase += fraction
            if phase >= up:
                phase -= up
                n += 1
        n -= frames
        for c in range(channels):
            for i in range(past):
                work[c, i] = work[c, frames + i]
        start += frames
    head.phase = phase
    head.wait_frames = n
    return written


def polyphase(phases: int, rows: int, taps: int, cut: float) -> npt.NDArray[np.float32]:
    """Rows of a windowed sinc, shape ``(rows, taps)``, row ``p`` being ``p / phases`` of an input frame after row 0.

    Each lies in the order of rising input time and sums to 1. `cut` is the cut-off as a share of the Nyquist frequency
    of ``phases`` times the input rate; the centre lies ``taps / 2`` input frames behind the newest one.
    """
    centre = phases * taps / 2
    age = np.arange(taps)[::-1] * phases  # of the input frames, the newest last
    t = np.arange(rows)[:, None] + age - centre
    window = np.i0(BETA * np.sqrt(np.maximum(0.0, 1 - (t / centre) ** 2))) / np.i0(BETA)
    table = cut * np.sinc(cut * t) * window
    # Each phase passes direct current alike, or it would be modulated at the input rate.
    return np.ascontiguousarray(table / table.sum(axis=1, keepdims=True), np.float32)


def taps_for(step: float) -> int:
    """Taps of a phase where one output frame is `step` input frames after the one before."""
    return math.ceil(TAPS * max(1.0, step) / LANES) * LANES


def design(up: int, down: int) -> npt.NDArray[np.float32]:
    """The phases of a rational ratio, shape ``(up, taps)``.

    The prototype is centred on a whole number of steps, ``up * taps / 2``, so that the delay of the common ratios
    is a whole number of output frames.
    """
    return polyphase(up, up, taps_for(down / up), CUT / max(up, down))


def check_block(block: Block, channels: int) -> None:
    """Refuse what is no block of `channels`."""
    if block.dtype != np.float32 or block.ndim != 2 or block.shape[1] != channels or not block.flags.c_contiguous:
        raise ConfigError(
            f"block is {block.dtype} {block.shape}; this resampler takes C-ordered float32 (frames, {channels}): "
            "convert with numpy.ascontiguousarray(block, numpy.float32)"
        )


def check_order(in_hz: int, out_hz: int, channels: int, max_in_frames: int) -> None:
    """Refuse what no resampler is made for."""
    rates = (*RATES_HZ, 96_000)
    for name, rate in (("in_hz", in_hz), ("out_hz", out_hz)):
        if rate not in rates:
            raise ConfigError(f"{name} is {rate}; the supported rates are {rates}: choose one of them")
    if channels not in (1, 2):
        raise ConfigError(f"channels is {channels}; mono (1) and stereo (2) are supported: mix the others down first")
    if max_in_frames < 1:
        raise ConfigError(f"max_in_frames is {max_in_frames}; it must be at least 1: give the length of a block")


class RateInstance:
    """One stream's change of rate at work: its record of state, as it was made, and the two kernels that work on it.

    Parameters
    ----------
    state : record array, shape (1,)
        What `reset` goes back to.
    channels : int
    frames_for, change : kernels
        ``frames_for(state_address, in_frames)`` says how many frames the other one will give;
        ``change(state_address, in_address, in_frames, out_address)`` gives them.

    Notes
    -----
    Thread: one.   Real-time: the kernels, yes; `process` makes a new array.
    """

    def __init__(
        self,
        state: npt.NDArray[Any],
        channels: int,
        frames_for: Callable[[int, int], int],
        change: Callable[[int, int, int, int], int],
    ) -> None:
        self.state = state
        self.channels = channels
        self._frames_for, self._change = frames_for, change
        self._initial = state.tobytes()

    @property
    def state_address(self) -> int:
        return int(self.state.ctypes.data)

    def process(self, block: Block) -> Block:
        """A new block at the other rate; `block` may have any length."""
        check_block(block, self.channels)
        out = np.zeros((self._frames_for(self.state_address, block.shape[0]), self.channels), np.float32)
        self._change(self.state_address, block.ctypes.data, block.shape[0], out.ctypes.data)
        return out

    def reset(self) -> None:
        """Forget the stream, and what was set since the instance was made."""
        self.state.view(np.uint8).reshape(-1)[:] = np.frombuffer(self._initial, np.uint8)


class ResamplerInstance(RateInstance):
    """One stream's change of rate. Built by `make_resampler`.

    Attributes
    ----------
    state : record array, shape (1,)
    delay_frames : float
        Output frames by which the output lags the input.
    max_out_frames : int
        Most frames that ``max_in_frames`` can give.

    Notes
    -----
    Thread: one.   Real-time: `resample`, yes; `process` makes a new array.
    """

    def __init__(self, in_hz: int, out_hz: int, channels: int, max_in_frames: int) -> None:
        divisor = math.gcd(in_hz, out_hz)
        up, down = out_hz // divisor, in_hz // divisor
        same = up == down
        table = np.ones((1, LANES), np.float32) if same else design(up, down)
        taps = table.shape[1]
        work = np.zeros((channels, taps - 1 + max_in_frames), np.float32)
        state = make_state(HEADER, {"table": table, "work": work})
        for name, value in (("channels", channels), ("up", up), ("down", down), ("taps", taps), ("max_frames", max_in_frames)):
            state[name] = value
        super().__init__(state, channels, out_frames_for, resample)
        self.in_hz, self.out_hz, self.max_in_frames = in_hz, out_hz, max_in_frames
        self.delay_frames = 0.0 if same else up * taps / 2 / down
        self.max_out_frames = -(-max_in_frames * up // down)


def make_resampler(in_hz: int, out_hz: int, channels: int, max_in_frames: int) -> ResamplerInstance:
    """A resampler between two of the supported rates (and 96 kHz).

    Parameters
    ----------
    in_hz, out_hz : int
        Equal rates make a plain copy without delay.
    channels : int
        1 or 2.
    max_in_frames : int
        The longest block that is usual; longer ones are taken in pieces.
    """
    check_order(in_hz, out_hz, channels, max_in_frames)
    return ResamplerInstance(in_hz, out_hz, channels, max_in_frames)
