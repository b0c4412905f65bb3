"""What a recording is like, measured while it passes: loudness, true peak, and what a picture of it needs.

Memory does not grow with the recording, but for one number each 100 ms where a curve is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.loudness import SILENT_LUFS
from rtmedia.dsp.meters import Meter
from rtmedia.dsp.true_peak_meter import TruePeakMeter
from rtmedia.ports import Block, Format

HOP_S = 0.1  # a meter's readings are renewed as often
WINDOW_S = 0.032
FLOOR_DB = -140.0
_COLUMNS = 1_400  # of a picture
_MOST_PER_COLUMN = 8  # windows: of a recording of hours, samples are looked at, not all of it


@dataclass(frozen=True, slots=True)
class Heard:
    """What was found; levels that are not there (silence, too short) are None."""

    loudness_lufs: float | None
    true_peak_db: float | None


class Hearing:
    """Measures a recording that comes in blocks.

    Parameters
    ----------
    frames
        How many will come, about.
    curve
        Whether to keep the course of the loudness, and a spectrogram.
    """

    def __init__(self, format: Format, frames: int, curve: bool) -> None:
        self._hop = format.rate_hz // 10
        self._meter = Meter().make(format, self._hop)
        self._peak = TruePeakMeter(format.channels)
        self._fill = 0  # of the present hop
        self.momentary_lufs: list[float] = []
        self._curve = curve
        self.spectrogram = Spectrogram(format, frames) if curve else None

    def feed(self, block: Block) -> None:
        """The next piece; it is not changed."""
        self._peak.feed(block)
        if self.spectrogram is not None:
            self.spectrogram.feed(block)
        start = 0
        while start < len(block):
            stop = min(len(block), start + self._hop - self._fill)
            self._meter.process(np.array(block[start:stop], np.float32, order="C"))
            self._fill = (self._fill + stop - start) % self._hop
            start = stop
            if self._curve and self._fill == 0:
                self.momentary_lufs.append(float(self._meter.state["momentary_lufs"][0]))

    def found(self) -> Heard:
        """So far."""
        loudness = float(self._meter.state["integrated_lufs"][0])
        peak = self._peak.db
        return Heard(loudness if loudness > SILENT_LUFS else None, peak if peak > -120.0 else None)


class Spectrogram:
    """Mean power in cells of time and frequency, no more of them than a picture has room for.

    Notes
    -----
    Hann windows of about 32 ms. Levels are those of a sine in dB of full scale, channels averaged in power.
    """

    def __init__(self, format: Format, frames: int) -> None:
        self.rate_hz = format.rate_hz
        self._size = size = 1 << round(np.log2(WINDOW_S * format.rate_hz))
        self._window = (np.hanning(size + 1)[:-1] / (size / 4)).astype(np.float32)  # a sine of full scale has power 1
        least = size // 4
        column = max(least, -(-max(frames, 1) // _COLUMNS))
        self._per_column = min(_MOST_PER_COLUMN, max(1, column // least))
        self._hop = max(least, column // self._per_column)
        self._power: npt.NDArray[np.float64] = np.zeros((_COLUMNS + 2, size // 2 + 1))
        self._count: npt.NDArray[np.int64] = np.zeros(_COLUMNS + 2, np.int64)
        # Half a window of silence before: the first window is about the first frame.
        self._rest: npt.NDArray[np.float32] = np.zeros((size // 2, format.channels), np.float32)
        self._at = 0  # of the next window, in the rest
        self._windows = 0

    def feed(self, block: Block) -> None:
        sound = np.concatenate([self._rest, block])
        starts = np.arange(self._at, max(self._at, len(sound) - self._size + 1), self._hop)
        if len(starts):
            views = np.lib.stride_tricks.sliding_window_view(sound, self._size, axis=0)[starts]
            power = np.mean(np.abs(np.fft.rfft(views * self._window, axis=2)) ** 2, axis=1)
            columns = np.minimum((self._windows + np.arange(len(starts))) // self._per_column, len(self._count) - 1)
            np.add.at(self._power, columns, power)
            np.add.at(self._count, columns, 1)
            self._windows += len(starts)
            self._at = int(starts[-1]) + self._hop
        drop = min(self._at, len(sound))
        self._rest, self._at = sound[drop:].copy(), self._at - drop

    @property
    def column_s(self) -> float:
        """What a column lasts."""
        return float(self._hop * self._per_column / self.rate_hz)

    def levels_db(self) -> npt.NDArray[np.float64]:
        """Shape ``(columns, frequencies)``, the frequencies in equal steps from 0 to half the rate."""
        used = max(1, int(np.count_nonzero(self._count)))
        power = self._power[:used] / np.maximum(self._count[:used, None], 1)
        levels: npt.NDArray[np.float64] = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
        return levels
