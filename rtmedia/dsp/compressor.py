"""The compressor as a browser's audio graph has it: settings, memory, description.

The arithmetic is in `rtmedia.dsp.compressor_frames` and `rtmedia.dsp.compressor_curve`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rtmedia.dsp.compressor_frames import HEADER, LIMITS, QUANTUM, compressor_process
from rtmedia.dsp.state import check_range, make_state
from rtmedia.ports import Format
from rtmedia.rt.plugin import Instance

LOOK_AHEAD_S = 0.006
METER_RELEASE_S = 0.325


@dataclass(frozen=True)
class Compressor:
    """The compressor of a browser's audio graph: soft knee, adaptive release, automatic makeup.

    Parameters
    ----------
    threshold_db, knee_db, ratio, attack_s, release_s : float
        As DynamicsCompressorNode's: -100..0, 0..40, 1..20, 0..1, 0..1.
    lookahead : bool
        Delay the sound by 6 ms (48 frames at 8 kHz, 96 at 16, 144 at 24, 192 at 32, 264 at 44.1, 288 at 48), so that the gain has
        moved when a loud onset arrives: the browser's behaviour. Without it the gain is the same and nothing is delayed.
    warm_start : bool
        Begin settled, as after a second of silence. False is the browser's behaviour: a fade-in of 300 ms from 13 dB down, once.

    Notes
    -----
    Thread: the instance belongs to one.   Real-time: yes.   Latency: 6 ms, or none without look-ahead.

    Quiet sound comes out louder by the makeup: 3.66 dB with the default settings. Two channels share one gain, made by the louder
    one at each frame; mono is the same to the bit as two equal channels. New settings take effect at the next multiple of 128 frames.

    The state's ``reduction_db`` is the node's ``reduction`` after the last call: 0 dB or less, without the makeup; it falls at once
    and rises with 325 ms.

    Time is frames: between calls the state stands still. An engine makes one instance and keeps it over pauses and reconnections
    (silence, while it lasts, is processed as sound is); whoever makes a new one in mid-stream hears the fade-in again, or takes
    `warm_start`.
    """

    threshold_db: float = -24.0
    knee_db: float = 30.0
    ratio: float = 12.0
    attack_s: float = 0.003
    release_s: float = 0.25
    lookahead: bool = True
    warm_start: bool = False
    #: New settings move the makeup at once, as in the browser: whoever switches them while it plays cross-fades (`rtmedia.dsp.switch`).
    fade_settings: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, low, high in LIMITS:
            check_range("Compressor", name, getattr(self, name), low, high)

    @property
    def name(self) -> str:
        return "compressor"

    def values(self) -> tuple[float, ...]:
        """What ``update`` takes: ``(threshold_db, knee_db, ratio, attack_s, release_s)``."""
        return (self.threshold_db, self.knee_db, self.ratio, self.attack_s, self.release_s)

    def make(self, format: Format, max_frames: int) -> Instance:
        """An instance for `format`."""
        delay = int(np.float32(LOOK_AHEAD_S) * np.float32(format.rate_hz)) if self.lookahead else 0
        delay = min(delay, 1023)
        quantum = np.zeros(QUANTUM, np.float32)
        arrays = dict.fromkeys(("loud", "wanted", "share", "gains", "level"), quantum)
        wide = np.zeros((QUANTUM + 8) * format.channels, np.float32)  # `loudest_channel` reads beyond the end
        delayed = np.zeros(delay * format.channels, np.float32)
        state = make_state(HEADER, {**arrays, "delayed": delayed, "sound": wide, "total": wide})
        state["rate_hz"] = format.rate_hz
        state["channels"] = format.channels
        state["delay_frames"] = delay
        state["meter_share"] = 1 - math.exp(-1 / (METER_RELEASE_S * format.rate_hz))
        # No frame has been: the meter, a division behind, passes over levels that leave it where it is.
        state["meter_db"] = state["level"] = 0.0 if self.warm_start else 1.0
        state["detector"] = 1.0 if self.warm_start else 0.0
        state["gain"] = 1.0
        state["greatest_db"] = -1.0
        state["seen_version"] = -1  # the curve is drawn at the first frame
        state["ratio"] = -1.0
        state["wish"][0, : len(self.values())] = self.values()
        return Instance(compressor_process, state, format, max_frames, latency_frames=delay)
