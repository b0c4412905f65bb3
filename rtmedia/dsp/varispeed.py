"""Change of sampling rate by a ratio that may change at any time: a windowed sinc, read between its phases.

The sibling of `rtmedia.dsp.resample` for a clock that is followed instead of known. Output frame ``k`` lies at input
time ``t_k``; the next one at ``t_k + step``, `step` being the ratio that is set when frame ``k`` is made. So the ratio
changes the speed and never the place: the sound has no jump where it changes, not even in its phase. ``t`` is a
fixed-point number of 32 binary places, so that nothing is lost in summing it up, and any division of the stream
into blocks gives the same bits.

The low-pass is tabulated at `PHASES` places between two input frames and interpolated linearly in between. Its images
lie around multiples of ``PHASES`` times the input rate, where linear interpolation leaves a share of ``(f / PHASES)^2`` of a
tone at ``f`` times the input rate: -111 dB for 7 of 8 kHz, below what the window leaves.
Source: J. O. Smith, P. Gossett, *A flexible sampling-rate conversion method*, ICASSP 1984.
"""

from __future__ import annotations

import numpy as np

from rtmedia.dsp.resample import RateInstance, check_order, cut_for, polyphase, taps_for
from rtmedia.dsp.simd import four_dots_f4
from rtmedia.dsp.state import header_dtype, make_state
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_block, view_f4

#: Places between two input frames at which the low-pass is tabulated, a power of two: 49 kB for equal rates.
PHASES = 256
#: The ratio may be so far from 1; the cut-off is made for 1.
MOST = 0.01

_ONE = 1 << 32  # one input frame
_BELOW_ONE = _ONE - 1
_PHASE_SHIFT = 32 - PHASES.bit_length() + 1
_BELOW_PHASE = (1 << _PHASE_SHIFT) - 1
_PER_PHASE = 1.0 / (1 << _PHASE_SHIFT)

HEADER = header_dtype(
    [
        ("channels", "i8"),
        ("taps", "i8"),
        ("max_frames", "i8"),
        ("nominal", "f8"),  # input frames for one output frame at ratio 1
        ("step", "i8"),  # the same at the present ratio, in 2^-32 frames
        ("position", "i8"),  # of the next output frame, in 2^-32 frames from the next input frame
    ],
    ("table", "work", "dots"),
)


@kernel("void(i8, f8)")
def varispeed_set(state_address, ratio):
    """From the next output frame on: `ratio` times as many output frames as the rates say, within 1 ± `MOST`."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    ratio = min(max(ratio, 1.0 - MOST), 1.0 + MOST) if ratio == ratio else 1.0
    head.step = np.int64(head.nominal / ratio * _ONE + 0.5)


@kernel("f8(i8)")
def varispeed_ahead(state_address):
    """How far, in input frames, the next output frame lies behind the start of the next block: what whole frames hide."""
    return carray(pointer_void(state_address), 1, HEADER)[0].position * (1.0 / _ONE)


@kernel("i8(i8, i8)")
def varispeed_frames(state_address, in_frames):
    """Frames that `varispeed` will give for the next `in_frames`."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    room = in_frames * _ONE - head.position
    return (room + head.step - 1) // head.step if room > 0 else 0


@kernel("i8(i8, i8, i8, i8)")
def varispeed(state_address, in_address, in_frames, out_address):
    """Take `in_frames` frames, write what they complete, return how many that is.

    Thread: one.   Real-time: yes.
    """
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    channels, taps, step = head.channels, head.taps, head.step
    block = view_block(in_address, in_frames, channels)
    out = view_block(out_address, varispeed_frames(state_address, in_frames), channels)
    table = state_address + head.at_table
    past = taps - 1
    row = past + head.max_frames
    work = view_block(state_address + head.at_work, channels, row)
    work_address = state_address + head.at_work
    dots_address = state_address + head.at_dots
    dots = view_f4(dots_address, 4)
    position = head.position
    written = 0
    start = 0
    while start < in_frames:
        frames = min(head.max_frames, in_frames - start)
        for c in range(channels):
            for i in range(frames):
                value = block[start + i, c]
                # Not finite: v - v is NaN. It would be heard for `taps` frames, as loud as can be.
                work[c, past + i] = value if value - value == np.float32(0) else np.float32(0)
        end = frames * _ONE
        while position < end:
            # Four sums at a time: of two frames, each between two phases, or of one frame's two channels.
            fraction = position & _BELOW_ONE
            before = table + (fraction >> _PHASE_SHIFT) * taps * 4
            share = np.float32((fraction & _BELOW_PHASE) * _PER_PHASE)
            newest = work_address + (position >> 32) * 4
            position += step
            if channels == 2:
                beside = newest + row * 4
                four_dots_f4(newest, newest, beside, beside, before, before + taps * 4, before, before + taps * 4, taps, dots_address)
                out[written, 0] = dots[0] + share * (dots[1] - dots[0])
                out[written, 1] = dots[2] + share * (dots[3] - dots[2])
                written += 1
                continue
            # The second frame may lie behind the end; then it is the first one's copy, and the next block's first.
            follows = position < end
            fraction = position & _BELOW_ONE
            before2 = table + (fraction >> _PHASE_SHIFT) * taps * 4 if follows else before
            share2 = np.float32((fraction & _BELOW_PHASE) * _PER_PHASE)
            newest2 = work_address + (position >> 32) * 4 if follows else newest
            four_dots_f4(newest, newest, newest2, newest2, before, before + taps * 4, before2, before2 + taps * 4, taps, dots_address)
            out[written, 0] = dots[0] + share * (dots[1] - dots[0])
            written += 1
            if follows:
                out[written, 0] = dots[2] + share2 * (dots[3] - dots[2])
                written += 1
                position += step
        position -= end
        for c in range(channels):
            for i in range(past):
                work[c, i] = work[c, frames + i]
        start += frames
    head.position = position
    return written


@kernel("i8(i8, f4[:, ::1], f4[:, ::1])")
def varispeed_over(state_address, block, out):
    """`varispeed` over arrays: Python is slow to tell their addresses."""
    return varispeed(state_address, block.ctypes.data, block.shape[0], out.ctypes.data)


class VarispeedInstance(RateInstance):
    """One stream's change of rate with a ratio that follows a clock. Built by `make_varispeed`.

    Attributes
    ----------
    state : record array, shape (1,)
    delay_frames : float
        Output frames by which the output lags the input, at ratio 1.
    max_out_frames : int
        Most frames that ``max_in_frames`` can give.

    Notes
    -----
    Thread: one.   Real-time: `varispeed` and `varispeed_set`, yes; `process` makes a new array.
    """

    def __init__(self, in_hz: int, out_hz: int, channels: int, max_in_frames: int) -> None:
        nominal = in_hz / out_hz
        taps = taps_for(nominal)
        table = polyphase(PHASES, PHASES + 1, taps, cut_for(nominal) / (PHASES * max(1.0, nominal)))
        work = np.zeros((channels, taps - 1 + max_in_frames), np.float32)
        state = make_state(HEADER, {"table": table, "work": work, "dots": np.zeros(4, np.float32)})
        for name, value in (("channels", channels), ("taps", taps), ("max_frames", max_in_frames), ("nominal", nominal)):
            state[name] = value
        varispeed_set(state.ctypes.data, 1.0)
        super().__init__(state, channels, varispeed_frames, varispeed_over)
        self.in_hz, self.out_hz, self.max_in_frames = in_hz, out_hz, max_in_frames
        self.delay_frames = taps / 2 / nominal
        self.max_out_frames = int(max_in_frames * (1.0 + MOST) / nominal) + 2

    def set_ratio(self, ratio: float) -> None:
        """Output frames for each that the rates say: 1.001 makes the sound 0.1 % longer and lower."""
        varispeed_set(self.state_address, ratio)


def make_varispeed(in_hz: int, out_hz: int, channels: int, max_in_frames: int) -> VarispeedInstance:
    """A resampler of changing ratio between two of the supported rates (and 96 kHz); they may be equal.

    Parameters
    ----------
    in_hz, out_hz : int
        What ratio 1 means.
    channels : int
        1 or 2.
    max_in_frames : int
        The longest block that is usual; longer ones are taken in pieces.
    """
    check_order(in_hz, out_hz, channels, max_in_frames)
    return VarispeedInstance(in_hz, out_hz, channels, max_in_frames)
