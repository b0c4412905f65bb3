"""The lead: how much rendered sound waits in the audio ring, and for how long more of it than was asked for.

Two blocks outlast any mixture of the device's calls. A device that asks for more at once gets as much more, and each underrun
makes the lead a block longer, up to `LEAD_RISE_MS`: this machine needs more in hand. All of that is delay, and a box that plays
for months must not keep it because of one bad minute. So what raised the lead passes: after `LEAD_KEEP_S` of sound without
need of it, it is a block shorter. Where that was too early, it waits twice as long the next time, so that a machine that
cannot do with less is not tried every few minutes.
"""

from __future__ import annotations

import numpy as np

from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros

LEAD_RISE_MS = 40.0
LEAD_KEEP_S, LEAD_KEEP_MOST_S = 600, 86_400
_TICKS_PER_S = 100

LEAD_DTYPE = np.dtype(
    [
        ("frames", "i8"),  # device frames that shall wait
        ("block", "i8"),  # device frames of one
        ("least", "i8"),  # what was asked for
        ("most", "i8"),  # to which underruns may raise it
        ("tight", "i8"),  # one block of it, where that is enough
        ("underruns", "i8"),  # that have raised it
        ("tick", "i8"),  # when it last changed, or was needed
        ("keep", "i8"),  # ticks that a raised one is kept
        ("tried", "i8"),  # it has been lowered since the last underrun
    ]
)


class Lead:
    """The memory of one.

    Parameters
    ----------
    frames, block
        Device frames that were asked for, and of one block.
    rate_hz
        Of the device.
    even
        Whether every block has just `block` frames.

    Notes
    -----
    Thread: render; `frames` may be read by any.   Real-time: `keep_lead` is.
    """

    def __init__(self, frames: int, block: int, rate_hz: int, *, even: bool) -> None:
        self.state = aligned_zeros(1, LEAD_DTYPE)
        state = self.state[0]
        state["frames"] = state["least"] = frames
        state["block"] = block
        state["most"] = frames + int(LEAD_RISE_MS * rate_hz / 1000)
        # Who asks for less than two blocks gets one, where calls and blocks meet at the same frames.
        state["tight"] = even and frames < 2 * block
        state["keep"] = LEAD_KEEP_S * _TICKS_PER_S
        self.address = int(self.state.ctypes.data)

    @property
    def frames(self) -> int:
        """Device frames that shall wait."""
        return int(self.state["frames"][0])


@kernel("i8(i8, i8, i8, i8, i8)")
def keep_lead(lead, tick, largest, underruns, room):
    """Look once before blocks are made; returns the frames that shall wait.

    Parameters
    ----------
    tick
        Blocks made so far.
    largest, underruns
        What the device asked for at the most, lately; how often it ran short.
    room
        Frames that the audio ring can hold beside a block in the making.

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    k = carray(pointer_void(lead), 1, LEAD_DTYPE)[0]
    if k.tight != 0 and largest > 0 and (largest % k.block == 0 or k.block % largest == 0):
        least = max(largest, k.block)
    else:
        least = largest + k.block
    least = min(max(least, k.least), room)
    if least > k.frames:  # the device asks for more at once than we keep ready
        k.frames = least
        k.tick = tick
    if underruns > k.underruns:  # a device that stalls asks for several blocks at once
        k.underruns = underruns
        k.frames = max(k.frames, min(k.frames + k.block, k.most))
        k.tick = tick
        if k.tried:
            k.keep = min(2 * k.keep, LEAD_KEEP_MOST_S * _TICKS_PER_S)
            k.tried = 0
    elif k.frames - k.block >= least and tick - k.tick >= k.keep:
        k.frames -= k.block
        k.tick = tick
        k.tried = 1
    return k.frames
