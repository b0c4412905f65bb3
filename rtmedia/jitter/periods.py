"""The periodic part of the concealment: the last pitch periods, gone through again and again.

First the last period alone, as it is the most like what comes next. Alone it would soon be heard as a buzz, so after
20 ms the loop becomes the last two periods, and after 40 ms the last three. A loop enters a new round by a cross-fade
over a quarter of a period into what lies before its beginning, and the narrower loop fades into the wider one at the
same place within the period.

Places are counted in 1/64 frames before the gap: the lag has a fraction, so that the pitch is kept over many rounds.

Source: ITU-T G.711 Appendix I, 2.3 (there the second period is added after 10 ms; up to 20 ms one alone is closer to what
was lost).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rtmedia.jitter.conceal_state import HEADER, PHASES, TAPS
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_f8

#: The loop takes in one more period each time so much has been played.
WIDER_EVERY_S = 0.020
MOST_PERIODS = 3


def _interpolation_table() -> npt.NDArray[np.float64]:
    """Windowed sinc, one row of taps per phase; row 0 is the sample itself, every row adds up to one."""
    phase = np.arange(PHASES)[:, None] / PHASES
    k = np.arange(TAPS)[None, :] - (TAPS // 2 - 1)
    distance = k - phase
    window = np.cos(np.pi * distance / (TAPS + 1)) ** 2
    table = np.sinc(distance) * window
    return np.ascontiguousarray(table / table.sum(axis=1, keepdims=True))


INTERPOLATION = _interpolation_table()


@kernel("f8(f8[::1], i8, i8)", inline=True)
def heard_at(past, history, place64):
    """What was heard at a place, between the samples; `history` is the index of place 0."""
    whole = history + place64 // PHASES
    phase = place64 % PHASES
    if phase == 0:
        return past[whole]
    value = 0.0
    for k in range(TAPS):
        value += INTERPOLATION[phase, k] * past[whole - (TAPS // 2 - 1) + k]
    return value


@kernel("f8(f8[::1], i8, i8, i8, i8)", inline=True)
def _loop_at(past, history, place64, round64, quarter):
    """What the loop of length `round64` plays at a place: its end fades into what lies before its beginning."""
    value = heard_at(past, history, place64)
    into = place64 // PHASES + quarter
    if into >= 0:
        value += (into + 0.5) / quarter * (heard_at(past, history, place64 - round64) - value)
    return value


@kernel("void(i8, i8)")
def periods_begin(state_address, frames):
    """Start with the last period; `frames` were heard."""
    header = carray(pointer_void(state_address), 1, HEADER)[0]
    header.quarter = max(1, header.lag64 // (4 * PHASES))
    header.place64 = -header.lag64
    header.periods = 1
    header.wider_at = int(WIDER_EVERY_S * header.rate_hz)
    header.fading_left = 0
    header.most_periods = 1
    while header.most_periods < MOST_PERIODS and (header.most_periods + 1) * header.lag64 // PHASES + header.quarter + TAPS <= frames:
        header.most_periods += 1


@kernel("f8(i8, i8)", inline=True)
def periods_value(state_address, channel):
    """The repetition's value for the frame that is being made."""
    header = carray(pointer_void(state_address), 1, HEADER)[0]
    past = view_f8(state_address + header.at_past + channel * header.past_frames * 8, header.past_frames)
    value = _loop_at(past, header.history_frames, header.place64, header.periods * header.lag64, header.quarter)
    if header.fading_left > 0:
        round64 = (header.periods - 1) * header.lag64
        narrow = _loop_at(past, header.history_frames, header.fading_place64, round64, header.quarter)
        value += header.fading_left / (header.quarter + 1.0) * (narrow - value)
    return value


@kernel("void(i8, i8)", inline=True)
def periods_step(state_address, position):
    """Go on by one frame; `position` is the frame that comes next."""
    header = carray(pointer_void(state_address), 1, HEADER)[0]
    header.place64 += PHASES
    if header.place64 >= 0:
        header.place64 -= header.periods * header.lag64
    if header.fading_left > 0:
        header.fading_left -= 1
        header.fading_place64 += PHASES
        if header.fading_place64 >= 0:
            header.fading_place64 -= (header.periods - 1) * header.lag64
    elif position >= header.wider_at and header.periods < header.most_periods:
        header.wider_at = position + int(WIDER_EVERY_S * header.rate_hz)
        header.fading_place64 = header.place64
        header.fading_left = header.quarter
        header.periods += 1
        # The same place within a period, in the oldest of them.
        header.place64 = header.place64 % header.lag64 - header.periods * header.lag64
