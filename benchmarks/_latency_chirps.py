"""Chirps that can be told apart, in a file to be sent and in a recording to be searched.

Eight of them take turns, each at the beginning of a packet: a player that is late by less than two seconds is not taken
for one that is early.
"""

from __future__ import annotations

import json
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import correlate

from tests.live.alignment import band_limited
from tests.sound_server import RATE_HZ, Recording

SOURCE_HZ = 16_000
PACKET_MS, EVERY_MS, CHIRP_MS = 20, 280, 40
BANDS_HZ = ((400, 2_400), (1_400, 3_400), (2_400, 4_400), (4_000, 6_400))
KINDS = 2 * len(BANDS_HZ)
#: Of a chirp's shape that must be there; effects change it a little.
LIKENESS = 0.7

Sound = npt.NDArray[np.float64]


def chirp(kind: int) -> Sound:
    """One of the `KINDS`: up or down through a band; its autocorrelation has one narrow peak."""
    low, high = BANDS_HZ[kind // 2]
    t = np.arange(SOURCE_HZ * CHIRP_MS // 1000) / SOURCE_HZ
    sweep = np.sin(2 * np.pi * (low * t + (high - low) / (2 * CHIRP_MS / 1000) * t**2))
    sound: Sound = 0.5 * sweep[:: 1 if kind % 2 == 0 else -1] * np.hanning(len(t))
    return sound


def write_chirps(path: Path, seconds: float) -> None:
    """A WAV of them, as long as a whole number of turns."""
    every = SOURCE_HZ * EVERY_MS // 1000
    turns = int(np.ceil(seconds * 1000 / EVERY_MS / KINDS))
    sound = 1e-3 * np.random.default_rng(1).standard_normal(turns * KINDS * every)  # nothing here is digital silence
    for number in range(turns * KINDS):
        one = chirp(number % KINDS)
        sound[number * every : number * every + len(one)] += one
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SOURCE_HZ)
        file.writeframes(np.rint(sound * 32767).astype("<i2").tobytes())


@dataclass(frozen=True)
class Heard:
    """One chirp that was found."""

    number: int
    sent_ns: int
    recorded_ns: float


def sends(path: Path) -> list[int]:
    """When each packet was sent, on the monotonic clock: the server's log of its only connection, in order."""
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [record["sent_ns"] for record in sorted(records, key=lambda record: int(record["due_ns"]))]


def chirps_heard(recording: Recording, sent_ns: list[int], *, settle_s: float = 2.0) -> list[Heard]:
    """Every chirp in the recording, with the time at which its packet had been sent; the first seconds are not counted."""
    sound = recording.samples().astype(np.float64)
    wanted = [band_limited(chirp(kind).astype(np.float32), SOURCE_HZ, RATE_HZ) for kind in range(KINDS)]
    origin_ns = recording.time_ns_of(0)
    found = []
    for number, at_ns in enumerate(sent_ns[:: EVERY_MS // PACKET_MS]):
        if at_ns - sent_ns[0] < settle_s * 1e9:
            continue
        # Half a turn of room before, nearly a whole one after: another of the same kind is not in there.
        low = int((at_ns - origin_ns) * RATE_HZ / 1e9) - RATE_HZ // 20
        window = sound[max(0, low) : low + RATE_HZ * EVERY_MS * (KINDS - 1) // 1000]
        if low < 0 or len(window) < RATE_HZ * EVERY_MS // 1000:
            continue
        place, alike = _find(window, wanted[number % KINDS])
        if alike > LIKENESS:
            found.append(Heard(number, at_ns, recording.time_ns_of(low + place)))
    return found


def _find(sound: Sound, wanted: Sound) -> tuple[float, float]:
    """Where it fits best, to a part of a frame, and how well."""
    match = correlate(sound, wanted, mode="valid", method="fft")
    energy = np.cumsum(np.concatenate([[0.0], sound**2]))
    own = float(wanted @ wanted)
    # Where next to nothing sounds nothing fits.
    likeness = match / np.sqrt(np.maximum(energy[len(wanted) :] - energy[: -len(wanted)], 1e-2 * own) * own)
    best = int(np.argmax(likeness))
    if not 0 < best < len(likeness) - 1:
        return float(best), 0.0
    before, here, after = likeness[best - 1 : best + 2]
    return best + 0.5 * (before - after) / (before - 2 * here + after), float(here)
