"""Change of sampling rate in a stream: a polyphase windowed sinc with continuous state.

Output frame ``m`` lies at input time ``m M / L`` (``L / M`` the reduced ratio). It is a dot product of the
newest ``taps`` input frames with phase ``m M mod L`` of one low-pass of ``L taps`` coefficients. History
and phase stay in the state, so any division of the stream into blocks gives the same bits.

1.5 ms of delay at 16 kHz are 48 taps, and 48 taps with 90 dB of rejection need a quarter of the Nyquist frequency to come down.
Where that quarter lies is the one choice. When the rate rises it lies around the Nyquist frequency: what is
just below is kept (-1.4 dB at 7.5 of 8 kHz) at the price of its weak mirror image just above, where there was nothing to disturb; noise
of all frequencies keeps 19 dB of distance instead of the 14 dB that a cut-off as low as below would leave, and the best filter
of this length, by least squares, 22 dB, but with ripples of 0.1 dB. When the rate falls it lies lower, because what comes
through from above would be folded onto what is there.
Source: R. E. Crochiere, L. R. Rabiner, *Multirate Digital Signal Processing*, 1983, chapter 3; window: J. F. Kaiser, 1974.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.lanes import all8, load8, load8_same, store8_apart
from rtmedia.dsp.simd import LANES, dot_f4, four_dots_f4
from rtmedia.dsp.state import header_dtype, make_state
from rtmedia.errors import ConfigError
from rtmedia.ports import RATES_HZ, Block
from rtmedia.rt.builtin import (
    API_DTYPE,
    CHANGEABLE,
    READABLE,
    builtin,
    call_0,
    call_1,
    call_2,
    call_7,
    data_of,
    is_array,
    length_of,
    memory_for,
    memory_of,
)
from rtmedia.rt.kernel import kernel, move_octets, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import is_block, view_block, view_f4, view_i8

#: Taps per phase at the lower of the two rates: 1.5 ms of delay at 16 kHz.
TAPS = 48
#: Kaiser's beta: 90 dB.
BETA = 9.5
#: Cut-off as a share of the lower Nyquist frequency, where the rate rises: 90 dB from 1.105 times that frequency on,
#: which are the images of everything below 0.895 times it.
CUT_UP = 0.98
#: Where it falls: 90 dB from 1.065 times that frequency on.
CUT_DOWN = 0.94

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


@kernel("i8(i8, i8, i8, i8)")
def _outputs(up, down, phase, frames):
    """Output frames before the input frame `frames` from where the next one lies, at `phase`."""
    room = frames * up - phase
    return (room + down - 1) // down if room > 0 else 0


@kernel("UniTuple(i8, 2)(i8, i8, i8, i8, i8)", inline=True)
def _next(n, phase, step, fraction, up):
    """Where the next output frame lies: input frame and phase."""
    phase += fraction
    return (n + step, phase) if phase < up else (n + step + 1, phase - up)


@kernel("void(i8, i8, i8, i8, i8, i8, i8)")
def _rise(x, frames, table, up, taps, out, channels):
    """All output frames of `frames` input frames (a multiple of `LANES`), where each gives `up` of them; one channel.

    Eight frames of one phase at a time: each tap is one multiplication, and nothing is left to be added up across lanes. The
    sums of every eighth tap and their order are those of `dot_f4`, to the bit.
    """
    for phase in range(up):
        row = table + phase * taps * 4
        for n in range(0, frames, LANES):
            zero = all8(np.float32(0))
            t0, t1, t2, t3, t4, t5, t6, t7 = zero, zero, zero, zero, zero, zero, zero, zero
            for k in range(0, taps, LANES):
                at, weight = x + 4 * (n + k), row + 4 * k
                t0 = t0 + load8(at) * load8_same(weight)
                t1 = t1 + load8(at + 4) * load8_same(weight + 4)
                t2 = t2 + load8(at + 8) * load8_same(weight + 8)
                t3 = t3 + load8(at + 12) * load8_same(weight + 12)
                t4 = t4 + load8(at + 16) * load8_same(weight + 16)
                t5 = t5 + load8(at + 20) * load8_same(weight + 20)
                t6 = t6 + load8(at + 24) * load8_same(weight + 24)
                t7 = t7 + load8(at + 28) * load8_same(weight + 28)
            total = ((t0 + t4) + (t2 + t6)) + ((t1 + t5) + (t3 + t7))
            store8_apart(out + 4 * (n * up + phase) * channels, up * channels, total)


@kernel("i8(i8, i8)")
def out_frames_for(state_address, in_frames):
    """Frames that `resample` will give for the next `in_frames`."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    if head.up == head.down:
        return in_frames
    return _outputs(head.up, head.down, head.phase, in_frames - head.wait_frames)


@kernel("i8(i8, i8, i8, i8)")
def resample(state_address, in_address, in_frames, out_address):
    """Take `in_frames` frames, write what they complete, return how many that is."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    channels, up, taps = head.channels, head.up, head.taps
    if up == head.down:
        move_octets(out_address, in_address, in_frames * channels * 4)
        return in_frames

    count = out_frames_for(state_address, in_frames)
    out = view_block(out_address, count, channels)
    table = state_address + head.at_table
    past = taps - 1
    row = past + head.max_frames
    work_address = state_address + head.at_work
    row_octets = taps * 4
    step, fraction = head.down // up, head.down % up
    phase, n = head.phase, head.wait_frames
    written = 0
    start = 0
    while start < in_frames:
        frames = min(head.max_frames, in_frames - start)
        for c in range(channels):
            # Views that begin where they are used: with plain indices from 0, the loop becomes vectors.
            given = view_f4(in_address + 4 * (start * channels + c), frames * channels)
            taken = view_f4(work_address + 4 * (c * row + past), frames)
            for i in range(frames):
                value = given[i * channels]
                # Not finite: v - v is NaN. It would be heard for `taps` frames, as loud as can be.
                taken[i] = value if value - value == np.float32(0) else np.float32(0)
        if head.down == 1 and phase == 0:
            whole = (frames - n) & -LANES
            for c in range(channels):
                _rise(work_address + 4 * (c * row + n), whole, table, up, taps, out_address + 4 * (written * channels + c), channels)
            n += whole
            written += whole * up
        # Four sums at a time, as long as there are four: of four frames, or of two frames' two channels.
        together = 4 // channels
        for _ in range(_outputs(up, head.down, phase, frames - n) // together):
            x0, t0 = work_address + n * 4, table + phase * row_octets
            n, phase = _next(n, phase, step, fraction, up)
            x1, t1 = work_address + n * 4, table + phase * row_octets
            n, phase = _next(n, phase, step, fraction, up)
            here = out_address + written * channels * 4
            if channels == 2:
                four_dots_f4(x0, x0 + row * 4, x1, x1 + row * 4, t0, t0, t1, t1, taps, here)
            else:
                x2, t2 = work_address + n * 4, table + phase * row_octets
                n, phase = _next(n, phase, step, fraction, up)
                x3, t3 = work_address + n * 4, table + phase * row_octets
                n, phase = _next(n, phase, step, fraction, up)
                four_dots_f4(x0, x1, x2, x3, t0, t1, t2, t3, taps, here)
            written += together
        while n < frames:
            for c in range(channels):
                out[written, c] = dot_f4(work_address + (c * row + n) * 4, table + phase * row_octets, taps)
            written += 1
            n, phase = _next(n, phase, step, fraction, up)
        n -= frames
        for c in range(channels):
            move_octets(work_address + 4 * c * row, work_address + 4 * (c * row + frames), 4 * past)
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


def cut_for(step: float) -> float:
    """Cut-off for that step, as a share of the lower Nyquist frequency."""
    return CUT_UP if step <= 1.0 else CUT_DOWN


def design(up: int, down: int) -> npt.NDArray[np.float32]:
    """The phases of a rational ratio, shape ``(up, taps)``.

    The prototype is centred on a whole number of steps, ``up * taps / 2``, so that the delay of the common ratios
    is a whole number of output frames.
    """
    return polyphase(up, up, taps_for(down / up), cut_for(down / up) / max(up, down))


def check_block(block: Block, channels: int) -> None:
    """Refuse what is no block of `channels`."""
    if not is_block(block) or block.shape[1] != channels:
        raise ConfigError(
            f"block is {getattr(block, 'dtype', type(block).__name__)} {getattr(block, 'shape', '')}; "
            f"this resampler takes C-ordered float32 (frames, {channels}): convert with numpy.ascontiguousarray(block, numpy.float32)"
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


@kernel("i8(i8, f4[:, ::1], f4[:, ::1])")
def resample_over(state_address, block, out):
    """`resample` over arrays: Python is slow to tell their addresses."""
    return resample(state_address, block.ctypes.data, block.shape[0], out.ctypes.data)


_PROCESS_DTYPE = np.dtype(
    [
        *API_DTYPE.descr,
        *((name, "i8") for name in ("frames_for", "change", "state", "channels", "array_class", "dtype", "kept")),
    ]
)


@kernel("b1(i8, i8, i8)", inline=True)
def _is_block(given, memory, flags):
    p = carray(pointer_void(memory), 1, _PROCESS_DTYPE)[0]
    return is_array(given, p.array_class, p.dtype, 2, flags) and length_of(given, 1) == p.channels


@kernel("i8(i8, i8, i8)")
def python_frames_for(me, arguments, count):
    """frames_for(block) -> frames that it will give, or -1"""
    p = carray(pointer_void(memory_of(me)), 1, _PROCESS_DTYPE)[0]
    frames = -1
    if count == 1:
        block = view_i8(arguments, 1)[0]
        if _is_block(block, memory_of(me), READABLE):
            frames = call_2(p.frames_for, p.state, length_of(block, 0))
    return call_1(p.from_int64, frames)


@kernel("i8(i8, i8, i8)")
def python_change(me, arguments, count):
    """change(block, out) -> frames given, or -1; `out` must hold what `python_frames_for` said; without the interpreter's lock"""
    p = carray(pointer_void(memory_of(me)), 1, _PROCESS_DTYPE)[0]
    given = -1
    if count == 2:
        arrays = view_i8(arguments, 2)
        block, out = arrays[0], arrays[1]
        fits = _is_block(block, memory_of(me), READABLE) and _is_block(out, memory_of(me), CHANGEABLE)
        if fits and length_of(out, 0) >= call_2(p.frames_for, p.state, length_of(block, 0)):
            source, target, frames, room = data_of(block), data_of(out), length_of(block, 0), length_of(out, 0)
            thread = call_0(p.save_thread)
            given = call_7(p.change, p.state, source, frames, p.channels, target, room, p.channels)
            call_1(p.restore_thread, thread)
    return call_1(p.from_int64, given)


class RateInstance:
    """One stream's change of rate at work: its record of state, as it was made, and the two kernels that work on it.

    Parameters
    ----------
    state : record array, shape (1,)
        What `reset` goes back to.
    channels : int
    frames_for, change : kernels
        ``frames_for(state_address, in_frames)`` says how many frames the other one will give;
        ``change(state_address, block, out)`` gives them.

    Notes
    -----
    Thread: one.   Real-time: the kernels, yes; `process` makes a new array.
    """

    def __init__(
        self,
        state: npt.NDArray[Any],
        channels: int,
        frames_for: Any,
        change: Any,
    ) -> None:
        self.state = state
        self.channels = channels
        self.state_address = int(state.ctypes.data)
        self._initial = state.tobytes()
        memory = memory_for(
            _PROCESS_DTYPE,
            {"frames_for": frames_for.address, "change": change.address, "state": self.state_address, "channels": channels},
            array_class=np.ndarray,
            dtype=np.dtype(np.float32),
            kept=(frames_for, change, state),
        )
        self._frames_for: Callable[[Block], int] = builtin(python_frames_for, memory)
        self._change: Callable[[Block, Block], int] = builtin(python_change, memory)

    def process(self, block: Block) -> Block:
        """A new block at the other rate; `block` may have any length."""
        frames = self._frames_for(block)
        if frames < 0:  # another class of array, or one that is not aligned, may be right all the same
            check_block(block, self.channels)
            block = np.array(block, np.float32, order="C")
            frames = self._frames_for(block)
        out: Block = np.empty((frames, self.channels), np.float32)
        given = self._change(block, out)
        assert given == frames, f"{given} frames were made of {len(block)}, not {frames}"
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
        super().__init__(state, channels, out_frames_for, resample_over)
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
