"""What does an hour of clocks that differ do to the delay and to the sound, by splices and by speed?

A chord, without an end, is sent by a clock that is 500 ppm fast or slow and played through all rooms in simulated time
(`rtmedia.simulate`), with ``Jitter(drift="splice")`` and ``"resample"``; without jitter, and with 3 ms of it (exponential).

``first`` and ``last`` are the mean playout delay of the second minute and of the last one; ``ppm`` the mean speed of the last
minute, ``glide`` its range over all but the first two minutes; ``impure`` what lies further than 2 Hz from the chord's tones
in half a minute before the end, in dB against all (the 16 bits that the sender writes are at -90).
"""

from __future__ import annotations

import tempfile
import time
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _bench import arguments, report

from rtmedia.config import Config, Jitter
from rtmedia.jitter.state import ACCELERATE, DECELERATE, DRAIN, ENDED, IDLE, WAIT
from rtmedia.sim.trace import Trace, write_trace
from rtmedia.simulation import simulate

RATE_HZ = 16_000
PACKET_MS = 20.0
PPM = 500.0
CHORD_HZ = (220.0, 277.5, 330.0, 440.0)
TICKS_A_MINUTE = 6_000


def write_chord(path: Path) -> Path:
    """Two seconds after which every tone is where it began."""
    t = np.arange(2 * RATE_HZ) / RATE_HZ
    chord = np.rint(6_500 * np.sum([np.sin(2 * np.pi * f_hz * t) for f_hz in CHORD_HZ], axis=0)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(chord.tobytes())
    return path


def write_arrivals(path: Path, ppm: float, jitter_ms: float, seconds: int) -> Path:
    """A trace of a sender that is faster by `ppm`."""
    seq = np.arange(int(seconds * 1000 / PACKET_MS))
    send_ms = seq * PACKET_MS
    late_ms = np.random.default_rng(1).exponential(jitter_ms, len(seq)) if jitter_ms else 0.0
    arrival_ms = np.maximum.accumulate(40.0 + send_ms / (1.0 + ppm * 1e-6) + late_ms)
    write_trace(Trace("drift", seq, send_ms, np.round(arrival_ms, 3)), path)
    return path


def impurity_db(sound: np.ndarray[Any, Any]) -> float:
    """Power beside the chord's tones over all power."""
    power = np.abs(np.fft.rfft(sound * np.kaiser(len(sound), 14))) ** 2
    f_hz = np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
    pure = np.any([np.abs(f_hz - tone_hz) < 2.0 for tone_hz in CHORD_HZ], axis=0)
    return float(10 * np.log10(power[~pure].sum() / power.sum()))


def row(folder: Path, drift: str, ppm: float, jitter_ms: float, seconds: int) -> Mapping[str, Any]:
    """One run."""
    trace = write_arrivals(folder / "arrivals.csv", ppm, jitter_ms, seconds)
    config = Config(effects=(), jitter=Jitter(drift=drift))  # type: ignore[arg-type]
    began_s = time.perf_counter()
    result = simulate(config, trace, write_chord(folder / "chord.wav"))
    took_s = time.perf_counter() - began_s
    ticks = result.ticks[~np.isin(result.ticks["op"], (IDLE, WAIT, ENDED))][:-100]
    minute = min(TICKS_A_MINUTE, len(ticks) // 3)
    speed_ppm = (1.0 - ticks["resample_ratio"]) * 1e6
    half_minute = result.audio[-(min(35, seconds - 4)) * RATE_HZ : -3 * RATE_HZ, 0].astype(float)
    return {
        "drift": drift,
        "sender": f"{ppm:+.0f} ppm, {jitter_ms:.0f} ms",
        "first ms": float(ticks["delay_ms"][minute : 2 * minute].mean()),
        "last ms": float(ticks["delay_ms"][-minute:].mean()),
        "splices": int(np.isin(ticks["op"], (ACCELERATE, DECELERATE, DRAIN)).sum()),
        "concealed ms": result.stats.concealed_ms_total,
        "ppm": float(speed_ppm[-minute:].mean()),
        "glide ppm": float(np.ptp(speed_ppm[2 * minute :])),
        "impure dB": impurity_db(half_minute),
        "times real time": seconds / took_s,
    }


def main() -> None:
    asked = arguments(__doc__ or "")
    seconds = 10 if asked.tiny else 3_600
    cases = [(PPM, 0.0), (-PPM, 0.0), (PPM, 3.0), (-PPM, 3.0)]
    with tempfile.TemporaryDirectory() as folder:
        found = [
            row(Path(folder), drift, ppm, jitter_ms, seconds)
            for ppm, jitter_ms in (cases[:1] if asked.tiny else cases)
            for drift in ("splice", "resample")
        ]
    report(__doc__ or "", [], asked, {f"{seconds} s of a chord, device at 16 kHz": found})


if __name__ == "__main__":
    main()
