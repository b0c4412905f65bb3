"""A gain that is changed by a ramp, so that nobody hears it move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtmedia.dsp.state import check_range, header_dtype, make_state
from rtmedia.ports import Format
from rtmedia.rt.kernel import EFFECT_SIGNATURE, callback, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_block, view_f4
from rtmedia.rt.plugin import TAKEN_FIELDS, WISH_FIELDS, Instance, take_wishes
from rtmedia.units import frames_of_ms, gain_of_db

RAMP_MS = 10.0
LOW_DB, HIGH_DB = -60.0, 40.0

HEADER = header_dtype(
    [
        *WISH_FIELDS,
        *TAKEN_FIELDS,
        ("ramp_frames", "i8"),
        ("left_frames", "i8"),  # of the ramp under way
        ("step", "f8"),  # towards the target, per frame
        ("target", "f8"),
    ]
)


@callback(EFFECT_SIGNATURE)
def gain_process(block_address, frames, channels, state_address):
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    block = view_block(block_address, frames, channels)
    left, step, target = head.left_frames, head.step, head.target
    if take_wishes(state_address):
        now = target - step * left
        # A wish that is not a number fails both comparisons and becomes the lower limit.
        wish_db = head.taken[0]
        wish_db = min(wish_db, np.float32(HIGH_DB)) if wish_db > np.float32(LOW_DB) else np.float32(LOW_DB)
        target = 10.0 ** (wish_db / 20.0)
        left = head.ramp_frames
        step = (target - now) / left
        head.step, head.target = step, target
    ramp = min(left, frames)
    for i in range(ramp):
        gain = np.float32(target - step * (left - 1 - i))
        for c in range(channels):
            block[i, c] *= gain
    head.left_frames = left - ramp
    gain = np.float32(target)
    if gain == np.float32(1):  # as most are, for most of their life
        return
    rest = view_f4(block_address + 4 * ramp * channels, (frames - ramp) * channels)
    for i in range((frames - ramp) * channels):
        rest[i] *= gain


@dataclass(frozen=True)
class Gain:
    """Multiply by a constant; a change takes 10 ms, linear in amplitude.

    Parameters
    ----------
    gain_db : float
        -60 to 40.

    Notes
    -----
    Thread: the instance belongs to one.   Real-time: yes.   Latency: none.
    """

    gain_db: float = 0.0

    def __post_init__(self) -> None:
        check_range("Gain", "gain_db", self.gain_db, LOW_DB, HIGH_DB)

    @property
    def name(self) -> str:
        return "gain"

    def values(self) -> tuple[float, ...]:
        """What ``update`` takes: ``(gain_db,)``."""
        return (self.gain_db,)

    def make(self, format: Format, max_frames: int) -> Instance:
        """An instance for `format`."""
        state = make_state(HEADER, {})
        state["ramp_frames"] = frames_of_ms(RAMP_MS, format.rate_hz)
        state["target"] = gain_of_db(self.gain_db)
        state["wish"][0, : len(self.values())] = self.values()
        return Instance(gain_process, state, format, max_frames)
