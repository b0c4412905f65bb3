"""Other ways to fill a gap, to hold the concealment against: silence, repetition, ITU-T G.711 Appendix I.

Each is a function of the sound, changed in place: ``fill(sound, at, gap, rate_hz)`` replaces ``gap`` frames from ``at``
on; it may also change what comes right after (a cross-fade), and what came right before where the method's own delay
would allow it. None is real-time code, all are written to be read.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]
Fill = Callable[[Sound, int, int, int], None]

#: Of G.711 Appendix I, in milliseconds (there: 40 to 120 samples, 160 compared, 30, 80, … at 8 kHz).
SHORTEST_MS, LONGEST_MS, COMPARED_MS, HISTORY_MS, FRAME_MS = 5.0, 15.0, 20.0, 48.75, 10.0
JOIN_MS_PER_FRAME, JOIN_MOST_MS = 4.0, 10.0
FALL_PER_FRAME = 0.2


def silence(sound: Sound, at: int, gap: int, rate_hz: int) -> None:
    """What a player without concealment plays."""
    sound[at : at + gap] = 0


def repetition(sound: Sound, at: int, gap: int, rate_hz: int) -> None:
    """The last packet (20 ms) again and again, without any fade (GSM 06.11 without its muting)."""
    last = sound[at - rate_hz // 50 : at].copy()
    sound[at : at + gap] = np.resize(last, gap)


def g711_appendix_1(sound: Sound, at: int, gap: int, rate_hz: int) -> None:
    """The method of ITU-T G.711 Appendix I (1999), its lengths in milliseconds so that it works at any rate.

    Repeats the last pitch period for 10 ms, the last two for the next 10 ms, the last three from then on; each change
    is a cross-fade over a quarter of the period. From 10 ms on the level falls by 20 % per 10 ms, to silence at 60 ms.
    The first good audio is cross-faded with the continuation over a quarter of the period and 4 ms for each 10 ms of
    gap after the first, 10 ms at most. The method delays all sound by 3.75 ms so that the end of the good audio can fade
    into the repetition; here that end is changed after the fact.
    """
    shortest, longest, compared, history = (round(ms * rate_hz / 1000) for ms in (SHORTEST_MS, LONGEST_MS, COMPARED_MS, HISTORY_MS))
    frame = round(FRAME_MS * rate_hz / 1000)
    past = sound[max(0, at - history) : at].astype(np.float64)
    past = np.concatenate([np.zeros(history - len(past)), past])
    period = _period(past, shortest, longest, compared)
    quarter = period // 4

    fade = np.linspace(0.0, 1.0, quarter, endpoint=False) + 0.5 / quarter
    end = past[-quarter:].copy()
    join = min(quarter + round(JOIN_MS_PER_FRAME * rate_hz / 1000) * max(0, -(-gap // frame) - 1), round(JOIN_MOST_MS * rate_hz / 1000))
    made = np.empty(gap + join + quarter)

    def looped(periods: int, count: int, phase: int) -> npt.NDArray[np.float64]:
        """`count` frames of the last `periods` periods, round and round; its own end fades into what lies before it."""
        size = periods * period
        body = past[-size:].copy()
        body[-quarter:] = (1.0 - fade) * end + fade * past[-size - quarter : -size]
        return body[(phase + np.arange(count)) % size]

    # The end of the good audio fades into the repetition (this is what the method's delay is for).
    sound[at - quarter : at] = ((1.0 - fade) * end + fade * past[-period - quarter : -period]).astype(np.float32)
    done, periods, phase, phase_before = 0, 1, 0, 0
    while done < len(made):
        count = min(frame if periods < 3 else len(made), len(made) - done)
        piece = looped(periods, count, phase)
        if done:  # what went before goes on under the first quarter of a period
            under = looped(periods - 1, quarter, phase_before)
            short = min(quarter, count)
            piece[:short] = (1.0 - fade[:short]) * under[:short] + fade[:short] * piece[:short]
        made[done : done + count] = piece
        done += count
        # One more period back, at the same place within it.
        phase_before = (phase + count) % (periods * period)
        phase = phase_before % period
        periods = min(3, periods + 1)
    frames = np.arange(len(made)) / frame
    made *= np.clip(1.0 - FALL_PER_FRAME * np.maximum(0.0, frames - 1.0), 0.0, 1.0) * (frames < 6.0)

    sound[at : at + gap] = made[:gap].astype(np.float32)
    join = min(join, len(sound) - at - gap)
    rise = (np.arange(join) + 0.5) / max(1, join)
    after = sound[at + gap : at + gap + join]
    after[:] = ((1.0 - rise) * made[gap : gap + join] + rise * after).astype(np.float32)


def _period(past: npt.NDArray[np.float64], shortest: int, longest: int, compared: int) -> int:
    """The lag at which the last 20 ms look most like what lies before (there in two passes, coarse and fine)."""
    newest = past[-compared:]
    best, found = -np.inf, shortest
    for lag in range(shortest, longest + 1):
        older = past[len(past) - compared - lag : len(past) - lag]
        likeness = float(newest @ older) / np.sqrt(max(float(older @ older), 1e-9))
        if likeness > best:
            best, found = likeness, lag
    return found


PEERS: dict[str, Fill] = {"silence": silence, "repetition": repetition, "G.711 Appendix I method": g711_appendix_1}
