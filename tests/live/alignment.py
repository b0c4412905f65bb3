"""Holds a recording against what should have been heard, segment by segment, to a fraction of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import correlate

Sound = npt.NDArray[np.float64]
SEGMENT_MS = 250
QUIET = 10 ** (-45 / 20)  # segments with less are not compared: there is nothing to align


@dataclass(frozen=True)
class Segment:
    """One stretch of the reference, found in the recording.

    Attributes
    ----------
    at_ms
        Where it begins in the reference.
    offset_frames
        Recording minus reference, with its fraction.
    gain
        By which the recording differs.
    snr_db
        Of the reference against what remains after offset and gain.
    """

    at_ms: float
    offset_frames: float
    gain: float
    snr_db: float


def band_limited(sound: npt.NDArray[np.float32], from_hz: int, to_hz: int) -> Sound:
    """`sound` at another rate, by padding its spectrum: no filter of anybody's, the exact band-limited signal."""
    padded = np.concatenate([sound.astype(np.float64), np.zeros(-len(sound) % from_hz)])
    frames = len(padded) // from_hz * to_hz
    spectrum = np.fft.rfft(padded)
    return np.fft.irfft(spectrum, frames)[: len(sound) * to_hz // from_hz] * (to_hz / from_hz)


def find(recording: Sound, reference: Sound) -> tuple[int, float]:
    """Frame of `recording` at which all of `reference` fits best, and how well: 1 is the same shape."""
    match = correlate(recording, reference, mode="valid", method="auto")
    energy = np.cumsum(np.concatenate([[0.0], recording**2]))
    here = energy[len(reference) :] - energy[: -len(reference)]
    # Where nothing sounds, nothing fits: a thousandth of the reference's own energy.
    own = float(reference @ reference)
    likeness = match / np.sqrt(np.maximum(here, 1e-3 * own) * own)
    best = int(np.argmax(likeness))
    return best, float(likeness[best])


def delayed(sound: Sound, frames: float) -> Sound:
    """`sound` later by a part of a frame (circular; give it margins)."""
    f = np.fft.rfftfreq(len(sound))
    return np.fft.irfft(np.fft.rfft(sound) * np.exp(-2j * np.pi * f * frames), len(sound))


def compare(recording: Sound, reference: Sound, rate_hz: int, *, search_ms: float = 60.0) -> list[Segment]:
    """Every segment of `reference` that holds sound, as it is found in `recording`."""
    frames, search = SEGMENT_MS * rate_hz // 1000, int(search_ms * rate_hz / 1000)
    margin = rate_hz // 50
    found: list[Segment] = []
    base: int | None = None
    for at in range(margin, len(reference) - frames - margin, frames):
        part = reference[at : at + frames]
        if np.sqrt(np.mean(part**2)) < QUIET:
            continue
        if base is None:
            base = find(recording, reference[at : at + 4 * frames])[0] - at
        low, high = at + base - search, at + base + frames + search
        if low < 0 or high > len(recording):
            continue
        place = low + find(recording[low:high], part)[0]
        heard = recording[place : place + frames]
        wide = reference[at - margin : at + frames + margin]
        # Gauss-Newton on the delay: the residual's slope is the derivative of the delayed reference.
        fraction = 0.0
        for _ in range(4):
            moved = delayed(wide, fraction)
            slope = -np.gradient(moved)[margin:-margin]
            moved = moved[margin:-margin]
            gain = float(heard @ moved / (moved @ moved))
            fraction += float((heard - gain * moved) @ slope / (gain * (slope @ slope)))
            fraction = min(1.0, max(-1.0, fraction))
        moved = delayed(wide, fraction)[margin:-margin]
        gain = float(heard @ moved / (moved @ moved))
        rest = heard - gain * moved
        snr_db = 10 * np.log10(float(moved @ moved) * gain**2 / max(1e-20, float(rest @ rest)))
        found.append(Segment(1000 * at / rate_hz, place - at + fraction, gain, snr_db))
    return found
