"""Change of sampling rate in a stream: a polyphase windowed sinc with continuous state.

Output frame ``m`` lies at input time ``m M / L`` (``L / M`` the reduced ratio). It is a dot product of the
newest ``taps`` input frames with phase ``m M mod L`` of one low-pass of ``L taps`` coefficients. History
and phase stay in the state, so any division of the stream into blocks gives the same bits.
Source: R. E. Crochiere, L. R. Rabiner, *Multirate Digital Signal Processing*, 1983, chapter 3; window: J. F. Kaiser, 1974.
"""

from __future__ import annotations

import math

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


def design(up: int, down: int) -> npt.NDArray[np.float32]:
    """The phases, shape ``(up, taps)``, each in the order of rising input time and each summing to 1.

    The prototype is centred on a whole number of steps, ``up * taps / 2``, so that the delay of the common ratios
    is a whole number of output frames.
    """
    taps = math.ceil(TAPS * max(1.0, down / up) / LANES) * LANES
    length = up * taps
    centre = length // 2
    t = np.arange(length) - centre
    cut = CUT / max(up, down)
    window = np.i0(BETA * np.sqrt(np.maximum(0.0, 1 - (t / centre) ** 2))) / np.i0(BETA)
    prototype = cut * np.sinc(cut * t) * window
    phases = prototype.reshape(taps, up).T[:, ::-1]  # phase p, newest frame last
    # Each phase passes direct current alike, or it would be modulated at the input rate.
    return np.ascontiguousarray(phases / phases.sum(axis=1, keepdims=True), np.float32)


class ResamplerInstance:
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
        self.state = make_state(HEADER, {"table": table, "work": work})
        for name, value in (("channels", channels), ("up", up), ("down", down), ("taps", taps), ("max_frames", max_in_frames)):
            self.state[name] = value
        self.in_hz, self.out_hz, self.channels, self.max_in_frames = in_hz, out_hz, channels, max_in_frames
        self.delay_frames = 0.0 if same else up * taps / 2 / down
        self.max_out_frames = -(-max_in_frames * up // down)
        self._initial = self.state.tobytes()

    @property
    def state_address(self) -> int:
        return int(self.state.ctypes.data)

    def process(self, block: Block) -> Block:
        """A new block at the other rate; `block` may have any length."""
        if block.dtype != np.float32 or block.ndim != 2 or block.shape[1] != self.channels or not block.flags.c_contiguous:
            raise ConfigError(
                f"block is {block.dtype} {block.shape}; this resampler takes C-ordered float32 (frames, {self.channels}): "
                "convert with numpy.ascontiguousarray(block, numpy.float32)"
            )
        out = np.zeros((out_frames_for(self.state_address, block.shape[0]), self.channels), np.float32)
        resample(self.state_address, block.ctypes.data, block.shape[0], out.ctypes.data)
        return out

    def reset(self) -> None:
        """Forget the stream."""
        self.state.view(np.uint8).reshape(-1)[:] = np.frombuffer(self._initial, np.uint8)


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
    rates = (*RATES_HZ, 96_000)
    for name, rate in (("in_hz", in_hz), ("out_hz", out_hz)):
        if rate not in rates:
            raise ConfigError(f"{name} is {rate}; the supported rates are {rates}: choose one of them")
    if channels not in (1, 2):
        raise ConfigError(f"channels is {channels}; mono (1) and stereo (2) are supported: mix the others down first")
    if max_in_frames < 1:
        raise ConfigError(f"max_in_frames is {max_in_frames}; it must be at least 1: give the length of a block")
    return ResamplerInstance(in_hz, out_hz, channels, max_in_frames)
