"""The true peak of a recording that comes in pieces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.lanes import LANES, all8, largest8, where_less
from rtmedia.dsp.true_peak import TAPS, true_peak8
from rtmedia.ports import Block
from rtmedia.rt.kernel import kernel
from rtmedia.units import db_of_gain


@kernel("f4(i8, i8)")
def largest_true_peak(address, frames):
    """The largest of `frames` true peaks (a multiple of `LANES`); so many float32 and ``TAPS - 1`` more are read at `address`."""
    largest = all8(np.float32(0))
    for i in range(0, frames, LANES):
        found = true_peak8(address + 4 * i)
        largest = where_less(largest, found, found, largest)
    return largest8(largest)


class TruePeakMeter:
    """The largest true peak of all that was fed, over all channels.

    Notes
    -----
    Thread: one.   Real-time: no (makes arrays).
    Source: ITU-R BS.1770-4, annex 2 (`rtmedia.dsp.true_peak`). Samples count too; what is not finite counts as 0.
    """

    def __init__(self, channels: int) -> None:
        self._rest: npt.NDArray[np.float32] = np.zeros((channels, TAPS - 1), np.float32)
        self._largest = 0.0

    def feed(self, block: Block) -> None:
        """The next piece, shape ``(frames, channels)``."""
        self._largest, self._rest = self._measured(block.T)

    @property
    def db(self) -> float:
        """In dB of full scale (dBTP), -120 for silence. What was fed last counts as if silence followed."""
        return db_of_gain(self._measured(np.zeros((len(self._rest), TAPS + LANES), np.float32))[0])

    def _measured(self, more: npt.NDArray[np.float32]) -> tuple[float, npt.NDArray[np.float32]]:
        """The largest with `more`, shape ``(channels, frames)``, and what is left for the next time."""
        rows = np.concatenate([self._rest, np.nan_to_num(more, nan=0.0, posinf=0.0, neginf=0.0)], axis=1, dtype=np.float32)
        count = (rows.shape[1] - (TAPS - 1)) // LANES * LANES
        largest = max(self._largest, *(float(largest_true_peak(row.ctypes.data, count)) for row in rows))
        return largest, rows[:, count:].copy()
