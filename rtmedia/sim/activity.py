"""Where in a recording somebody speaks: one mark per 10 ms.

A pause that is concealed is not heard; a word is. So the simulation counts concealment in speech apart.

The threshold is found as ITU-T P.56 (method B) finds it: 15.9 dB below the *active speech level*, which is the level over
just those moments that lie above the threshold, so that neither the pauses nor the recording's gain matter. Two
things differ, because marks are wanted here and P.56 wants a level: the envelope is the power of 10 ms and not a double
exponential mean of 30 ms, and a mark outlasts its sound by 40 ms (the weak end of a word) instead of 200.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rtmedia.ports import Block

MARK_MS = 10
HANGOVER_MARKS = 4
#: P.56: the margin between the active speech level and the threshold, and the hangover of its activity measure.
_MARGIN_DB = 15.9
_LEVEL_HANGOVER_MARKS = 20
#: Below this there is no speech, only what a silent microphone leaves.
_LEAST_DBFS = -75.0


def speech_marks(block: Block, rate_hz: int) -> npt.NDArray[np.bool_]:
    """For each 10 ms of a recording whether it is speech.

    Parameters
    ----------
    block
        Any channels; their powers are averaged.
    rate_hz
        Any; marks begin at the frame nearest to a multiple of 10 ms.

    Notes
    -----
    Thread: any.   Real-time: no.
    A steady sound is all speech, however loud; a silent recording has none.
    """
    marks = -(-block.shape[0] * 1000 // (rate_hz * MARK_MS))
    if marks == 0:
        return np.zeros(0, np.bool_)
    power = np.square(block, dtype=np.float64).mean(axis=1)
    starts = np.minimum(np.rint(np.arange(marks) * (rate_hz * MARK_MS / 1000)).astype(np.int64), block.shape[0] - 1)
    lengths = np.diff(np.append(starts, block.shape[0]))
    level_db = 10.0 * np.log10(np.add.reduceat(power, starts) / np.maximum(lengths, 1) + 1e-20)
    return _held(level_db >= _threshold_db(level_db), HANGOVER_MARKS)


def _threshold_db(level_db: npt.NDArray[np.float64]) -> float:
    """The threshold that lies 15.9 dB below the level of what lies above it, to half a decibel."""
    energy = float(np.sum(10.0 ** (level_db / 10.0)))
    for threshold_db in np.arange(0.0, _LEAST_DBFS, -0.5):
        active = int(_held(level_db >= threshold_db, _LEVEL_HANGOVER_MARKS).sum())
        if active and 10.0 * np.log10(energy / active) - threshold_db >= _MARGIN_DB:
            return float(threshold_db)
    return _LEAST_DBFS


def _held(marks: npt.NDArray[np.bool_], more: int) -> npt.NDArray[np.bool_]:
    """Each mark stays for `more` more."""
    total = np.cumsum(np.concatenate([np.zeros(more + 1, np.int64), marks]))
    held: npt.NDArray[np.bool_] = total[more + 1 :] > total[: -more - 1]
    return held
