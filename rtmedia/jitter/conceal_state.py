"""The memory of one stream's concealment: one record, a fixed header and arrays found by their offsets.

The sizes depend on rate and channels, compiled code must not: kernels read `HEADER` at the state's address and make
views of the arrays at ``address + header.at_…``. `conceal_state` makes the record.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError
from rtmedia.rt.memory import aligned_zeros

#: What is analysed, and the least that `conceal_begin` should be given.
HISTORY_S = 0.060
#: Longest cross-fade of `conceal_merge`.
MAX_FADE_S = 0.020
MIN_LAG_S = 0.0025
MAX_LAG_S = 0.015
#: Lags are multiples of 1/64 frame.
PHASES = 64
TAPS = 8
#: Order of the background's spectrum, as NetEQ's.
BACKGROUND_ORDER = 8
#: Noise memories are rings of this length (a power of two, more than any order).
RING = 32

HEADER = np.dtype(
    [
        ("rate_hz", "i8"),
        ("channels", "i8"),
        ("order", "i8"),
        ("history_frames", "i8"),  # length of `work` and `mono`: the longest analysis
        ("past_frames", "i8"),  # of the copy that is repeated: the history and what the interpolation reaches beyond it
        ("continuation_frames", "i8"),
        ("window_frames", "i8"),  # of the background's analysis: 10 ms
        ("muted", "i8"),  # nobody listens: concealment is silence, and nothing is learnt for it
        ("active", "i8"),
        ("position", "i8"),  # frames made since conceal_begin
        ("lag64", "i8"),  # pitch lag in 1/64 frame
        # the loop through the last periods (rtmedia.jitter.periods); places are 1/64 frames before the gap, so negative
        ("place64", "i8"),
        ("periods", "i8"),  # how many are gone through
        ("most_periods", "i8"),
        ("wider_at", "i8"),  # frame from which one more is
        ("fading_place64", "i8"),  # the narrower loop that fades out, and for how many frames yet
        ("fading_left", "i8"),
        ("quarter", "i8"),  # of a period, in frames: every cross-fade's length
        ("ring_frames", "i8"),
        ("hold_frames", "i8"),
        ("end_frames", "i8"),
        ("mix_frames", "i8"),
        ("seed", "u8"),
        ("voicing", "f8"),  # share of the periodic part once mixed, 0 … 1
        ("rho", "f8"),
        ("slope", "f8"),  # gain per frame of a sound that was falling already
        ("slope_gain", "f8"),
        ("ceiling", "f8"),  # gain that keeps the repetition of a loud piece from being louder than any 10 ms heard
        ("gain", "f8"),  # of the last frame made, 1 … 0: what the merge ramps up from
        ("coherence", "f8"),  # correlation of the two channels
        # where the arrays are, as octets from the start of the record; each holds `channels` parts
        ("at_work", "i8"),
        ("at_mono", "i8"),
        ("at_past", "i8"),
        ("at_lpc", "i8"),
        ("at_ring", "i8"),
        ("at_noise", "i8"),
        ("at_level", "i8"),
        ("at_background", "i8"),
        ("at_continuation", "i8"),
        ("at_window", "i8"),
    ]
)

# Per channel: level[0] peak, level[1] noise excitation, level[2] background excitation.
LEVELS = 3
# Per channel of `background`: floor, blocks seen, autocorrelation (order + 1), filter (order + 1), ring.
BACKGROUND = 2 + 2 * (BACKGROUND_ORDER + 1) + RING
AT_R = 2
AT_A = 2 + BACKGROUND_ORDER + 1
AT_RING = 2 + 2 * (BACKGROUND_ORDER + 1)


def prediction_order(rate_hz: int) -> int:
    """Order of the prediction filter: 8 at 8 kHz, 16 at 16 kHz, 24 from 24 kHz on."""
    return max(8, min(24, rate_hz // 1000))


def conceal_dtype(rate_hz: int, channels: int) -> np.dtype[Any]:
    """The record that holds one stream's concealment."""
    history = math.ceil(HISTORY_S * rate_hz)
    return np.dtype(
        [
            ("header", HEADER),
            ("work", "f8", (channels, history)),
            ("mono", "f8", (2, history)),
            ("past", "f8", (channels, history + TAPS)),
            ("lpc", "f8", (channels, prediction_order(rate_hz) + 1)),
            ("ring", "f8", (channels, RING)),
            ("noise", "f8", (channels, RING)),
            ("level", "f8", (channels, LEVELS)),
            ("background", "f8", (channels, BACKGROUND)),
            ("window", "f8", (rate_hz // 100,)),
            ("continuation", "f4", (math.ceil(1.5 * MAX_FADE_S * rate_hz) + 8, channels)),
        ],
        align=True,
    )


def conceal_state(rate_hz: int, channels: int, seed: int = 1) -> npt.NDArray[Any]:
    """Make the state of one stream's concealment.

    Parameters
    ----------
    rate_hz : int
        8000 … 48000.
    channels : int
        1 or 2.
    seed : int
        Of the noise; not 0. Equal seeds and equal calls give equal sound.

    Returns
    -------
    record array, shape (1,)
        Pass ``state.ctypes.data`` to the kernels and keep the array alive.

    Raises
    ------
    ConfigError
        When rate or channels lie outside the limits.

    Notes
    -----
    Thread: any, before the audio starts.   Real-time: no.
    """
    if not 8_000 <= rate_hz <= 48_000:
        raise ConfigError(f"rate_hz is {rate_hz}; concealment works from 8000 to 48000: resample the stream first")
    if channels not in (1, 2):
        raise ConfigError(f"channels is {channels}; concealment takes 1 or 2: mix the others down first")
    dtype = conceal_dtype(rate_hz, channels)
    state = aligned_zeros(1, dtype)
    header = state["header"]
    fields: Any = dtype.fields
    header["rate_hz"] = rate_hz
    header["channels"] = channels
    header["order"] = prediction_order(rate_hz)
    header["history_frames"] = state["work"].shape[2]
    header["past_frames"] = state["past"].shape[2]
    header["continuation_frames"] = state["continuation"].shape[1]
    frames = header["window_frames"] = rate_hz // 100
    state["window"][0] = [math.sin(math.pi * (i + 0.5) / frames) for i in range(frames)]
    header["seed"] = seed * 0x9E3779B97F4A7C15 % 2**64 or 1
    for name in ("work", "mono", "past", "lpc", "ring", "noise", "level", "background", "continuation", "window"):
        header[f"at_{name}"] = fields[name][1]
    return state
