"""What a noise sounds like, as a thing to keep: learnt from a recording, given to a gate, stored as text.

A profile is the noise's density at every 31.25 Hz. It belongs to no rate: a gate at another one reads it at
its own bins. It is measured with the gate's own window, hence lies as a gate would have learnt it, partials included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError

#: Distance of a profile's values.
GRID_HZ = 31.25
FRAME_S, HOP_S = 0.02, 0.01
_LEAST_S = 0.1
_NOTHING_DB = -200.0
#: Above this share of a recording's band its own anti-aliasing filter is heard, not the noise.
_BAND = 0.9


@dataclass(frozen=True)
class NoiseProfile:
    """The spectrum of a noise. Made by `learn_noise`, by a gate's ``noise_profile()``, or from text.

    Parameters
    ----------
    density_db : tuple of float
        Mean power per hertz, in dB relative to full scale squared per hertz, at 0, 31.25, 62.5 ... Hz. Where a gate's band is
        wider, the values near the top of the profile's go on.

    Notes
    -----
    Thread: any; it never changes.   Real-time: no; a gate takes its numbers over when it is made.
    """

    density_db: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.density_db) < 2 or not all(-1000.0 < value < 100.0 for value in self.density_db):
            raise ConfigError(
                f"a noise profile needs at least 2 densities between -1000 and 100 dB; {len(self.density_db)} were given: "
                "make it with learn_noise(audio, rate_hz)"
            )

    @property
    def text(self) -> str:
        """Words of one line: the densities in tenths of a decibel; `from_text` reads them again."""
        return " ".join(f"{value:.1f}" for value in self.density_db)

    @classmethod
    def from_text(cls, text: str) -> NoiseProfile:
        """The profile whose `text` it is.

        Raises
        ------
        ConfigError
            A word is no number.
        """
        try:
            return cls(tuple(float(word) for word in text.split()))
        except ValueError:
            raise ConfigError(
                f"a noise profile is a line of numbers in dB, not {text[:40]!r}: make it with learn_noise(audio, rate_hz)"
            ) from None

    def density(self, frequencies_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Power per hertz at any frequencies, full scale squared."""
        grid_hz = GRID_HZ * np.arange(len(self.density_db))
        top = max(2, round(_BAND * len(self.density_db)))
        inside = np.interp(frequencies_hz, grid_hz, self.density_db)
        beyond = float(np.mean(self.density_db[top * 9 // 10 : top]))
        found_db = np.where(frequencies_hz <= grid_hz[top - 1], inside, beyond)
        return np.asarray(np.where(found_db > _NOTHING_DB, 10 ** (found_db / 10), 0.0))


def learn_noise(audio: npt.NDArray[Any], rate_hz: int) -> NoiseProfile:
    """The profile of a recording that holds noise alone.

    Parameters
    ----------
    audio : float array, shape (frames,) or (frames, channels)
        At least 0.1 s, full scale ±1.0; half a second and more says what the noise is on average. Channels are averaged. Digital
        silence in it does not count.
    rate_hz : int
        Of the recording; the gate may have another.

    Raises
    ------
    ConfigError
        Integers, too short, silent throughout, or not finite.

    Notes
    -----
    Thread: any.   Real-time: no.
    Frames of 20 ms every 10, sine window; P. Welch, IEEE Trans. Audio Electroacoustics 15(2), 1967.
    """
    given: npt.NDArray[Any] = np.asarray(audio)
    if given.dtype.kind != "f":
        raise ConfigError(f"the noise is {given.dtype}; give floats of full scale ±1.0: divide integers by their full scale")
    sound = given.astype(np.float64)
    sound = sound[:, None] if sound.ndim == 1 else sound
    if sound.ndim != 2 or not np.all(np.isfinite(sound)):
        raise ConfigError(f"the noise is an array of shape {np.shape(audio)}; give finite samples of shape (frames,) or (frames, channels)")
    size, hop = round(FRAME_S * rate_hz), round(HOP_S * rate_hz)
    if len(sound) < _LEAST_S * rate_hz:
        raise ConfigError(f"the noise lasts {len(sound) / rate_hz:.3f} s; {_LEAST_S} s are the least, half a second is better: record more")
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size)
    frames = np.lib.stride_tricks.sliding_window_view(sound, size, axis=0)[::hop] * window
    frames = frames[np.sum(frames**2, axis=(1, 2)) > 1e-12]
    if not len(frames):
        raise ConfigError("the noise is digital silence throughout: record it where it can be heard")
    length = round(rate_hz / GRID_HZ)
    power = np.mean(np.abs(np.fft.rfft(frames, length, axis=2)) ** 2, axis=(0, 1))
    density = power / (rate_hz / 2 * np.sum(window**2))
    density_db = np.maximum(10 * np.log10(np.maximum(density, 1e-30)), _NOTHING_DB)
    grid_hz = np.arange(int(rate_hz / 2 / GRID_HZ) + 1) * GRID_HZ
    on_grid_db = np.interp(grid_hz, np.arange(len(power)) * rate_hz / length, density_db)
    return NoiseProfile(tuple(round(float(value), 1) for value in on_grid_db))
