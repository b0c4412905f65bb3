"""How much of the sound survives a gap? Concealment against silence, repetition and the method of G.711 Appendix I.

For gaps of 20, 60 and 120 ms every 250 ms (120 ms: 400): signal-to-noise ratio and log-spectral distance inside the gap and in
the 10 ms after it (segments of active sound only), and the time of each kernel. Files are 16-bit mono WAV;
without any, a synthetic voice at 8 and 16 kHz. With ``--voice`` a minute of telephone prompts (see `_speech.py`), and
PLCMOS v2 of the whole.
"""

from __future__ import annotations

import wave
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from _bench import Row, compare, interleaved, parser_for, report
from _peers import PEERS, Fill, Sound
from _scores import plcmos
from _speech import VOICES, prompts

from rtmedia.jitter.conceal import background_update, conceal_begin, conceal_merge, conceal_next, conceal_state

GAPS_MS = (20, 60, 120)
EVERY_MS = {20: 250, 60: 250, 120: 400}


def read(path: str) -> tuple[Sound, int]:
    with wave.open(path) as file:
        if file.getnchannels() != 1 or file.getsampwidth() != 2:
            raise SystemExit(f"{path} has {file.getnchannels()} channels of {8 * file.getsampwidth()} bits; give 16-bit mono")
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return (data / 32768.0).astype(np.float32), file.getframerate()


def voice(rate_hz: int, seconds: float = 6.0) -> Sound:
    """Syllables of gliding pitch over two formants, hiss between them, and a quiet room."""
    rng = np.random.default_rng(1)
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    pitch_hz = 150 + 40 * np.sin(2 * np.pi * 0.7 * t) + 10 * np.sin(2 * np.pi * 3.1 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    sound = np.zeros(len(t))
    for k in range(1, 24):
        f = k * pitch_hz
        gain = np.exp(-(((f - 600) / 300) ** 2)) + 0.5 * np.exp(-(((f - 1700) / 400) ** 2)) + 0.02
        sound += gain * np.sin(k * phase + k * k) * (f < 0.45 * rate_hz)
    syllable = np.clip(1.5 * np.sin(2 * np.pi * 2.2 * t), 0, 1)
    hiss = np.clip(-np.sin(2 * np.pi * 2.2 * t) - 0.5, 0, 1)
    return (0.08 * syllable * sound + 0.03 * hiss * rng.normal(size=len(t)) + 1e-4 * rng.normal(size=len(t))).astype(np.float32)


def concealment(rate_hz: int) -> Fill:
    state = conceal_state(rate_hz, 1)
    heard = 0

    def fill(sound: Sound, at: int, gap: int, rate_hz: int) -> None:
        nonlocal heard
        address = state.ctypes.data  # the closure holds the state, and so its memory
        block = rate_hz // 100
        while heard + block <= at:
            background_update(address, sound[heard:].ctypes.data, block)
            heard += block
        history = int(0.06 * rate_hz)
        conceal_begin(address, sound[at - history :].ctypes.data, history)
        conceal_next(address, sound[at:].ctypes.data, gap)
        conceal_merge(address, sound[at + gap :].ctypes.data, block, block * 4 // 5)  # as the jitter buffer does
        heard = at + gap + block

    return fill


def spectra(piece: Sound, rate_hz: int) -> npt.NDArray[np.float64]:
    """Levels in dB of 20 ms windows every 10 ms, smoothed over bands of about 150 Hz, not below -75 dB."""
    size = rate_hz // 50
    frames = np.lib.stride_tricks.sliding_window_view(piece, size)[:: size // 2] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 / size
    width = 3
    bands = power[:, : power.shape[1] // width * width].reshape(len(frames), -1, width).mean(axis=2)
    return np.asarray(10 * np.log10(bands + 10**-7.5))


def measure(sound: Sound, rate_hz: int, gap_ms: int, fill: Fill, judged: bool) -> dict[str, float]:
    damaged = sound.copy()
    gap = gap_ms * rate_hz // 1000
    after = rate_hz // 100
    snr: list[float] = []
    distance: list[float] = []
    for at in range(int(0.3 * rate_hz), len(sound) - gap - rate_hz // 10, EVERY_MS[gap_ms] * rate_hz // 1000):
        fill(damaged, at, gap, rate_hz)
        want, got = sound[at : at + gap + after], damaged[at : at + gap + after]
        if np.mean(want**2) < 1e-5 or np.mean(damaged[at - after : at] ** 2) < 1e-6:  # a pause, or an onset that nothing announces
            continue
        snr.append(10 * np.log10(np.sum(want**2) / (np.sum((want - got) ** 2) + 1e-12)))
        size = rate_hz // 100
        distance.append(
            float(
                np.mean(
                    np.sqrt(
                        np.mean(
                            (
                                spectra(sound[at - size : at + gap + 2 * size], rate_hz)
                                - spectra(damaged[at - size : at + gap + 2 * size], rate_hz)
                            )
                            ** 2,
                            axis=1,
                        )
                    )
                )
            )
        )
    found = {"gaps": len(snr), "snr_db": round(float(np.mean(snr)), 2), "log_spectral_distance_db": round(float(np.mean(distance)), 2)}
    return found | ({"plcmos": round(plcmos(damaged), 2)} if judged else {})


def timing(rate_hz: int, rounds: int) -> list[Row]:
    """Each kernel on one block, beside a plain copy of that block."""
    sound = voice(rate_hz, 1.0)
    state = conceal_state(rate_hz, 1)
    address = state.ctypes.data
    history, block = int(0.06 * rate_hz), rate_hz // 100
    out, copy = np.zeros((3 * block, 1), np.float32), np.zeros(block, np.float32)
    at = 0

    def heard() -> int:
        nonlocal at
        at = (at + 37) % (len(sound) - history)
        return int(sound.ctypes.data) + 4 * at

    def of(call: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            call()

        return run

    def first() -> None:
        conceal_begin(address, heard(), history)
        conceal_next(address, out.ctypes.data, block)

    conceal_begin(address, heard(), history)
    times = interleaved(
        {
            "copy of the block": of(lambda: np.copyto(copy, sound[:block])),
            "begin and first block": of(first),
            "begin (once a gap)": of(lambda: conceal_begin(address, heard(), history)),
            "next (each block of a gap)": of(lambda: conceal_next(address, out.ctypes.data, block)),
            "merge (once a gap)": of(lambda: conceal_merge(address, out.ctypes.data, 2 * block, block)),
            "background (each good block)": of(lambda: background_update(address, heard(), block)),
        },
        rounds=rounds,
    )
    assert state.shape == (1,)  # the state's memory outlives the calls
    return compare(f"{rate_hz // 1000} kHz, 10 ms", times, "copy of the block", block_ms=10.0)


def survival(sounds: list[tuple[Sound, int]], gap_ms: int, judged: bool) -> list[dict[str, object]]:
    """One row for each way to fill gaps of `gap_ms`, over all sounds."""
    found: dict[str, list[dict[str, float]]] = {}
    for sound, rate_hz in sounds:
        for name, fill in {**PEERS, "concealment": concealment(rate_hz)}.items():
            found.setdefault(name, []).append(measure(sound, rate_hz, gap_ms, fill, judged))
    rows = []
    for name, each in found.items():
        weights = [one["gaps"] for one in each]
        means = {key: round(float(np.average([one[key] for one in each], weights=weights)), 2) for key in each[0] if key != "gaps"}
        rows.append({"gap": f"{gap_ms} ms, {name}", "gaps": sum(weights), **means})
    return rows


def main() -> None:
    parser = parser_for(__doc__ or "")
    parser.add_argument("wav", nargs="*", help="16-bit mono files instead of the synthetic voice")
    parser.add_argument("--voice", nargs="*", choices=VOICES, help="telephone prompts instead, and PLCMOS")
    parser.add_argument("--half", type=int, default=1, choices=(0, 1), help="of the prompts; 0: concealment was tuned on it")
    asked = parser.parse_args()
    rates = (16_000,) if asked.tiny else (8_000, 16_000)
    if asked.voice:
        sounds = [(prompts(voice, 60.0, asked.half), 16_000) for voice in asked.voice]
    else:
        sounds = [read(path) for path in asked.wav] or [(voice(rate, 2.0 if asked.tiny else 6.0), rate) for rate in rates]
    facts = {"what survives": [row for gap_ms in GAPS_MS for row in survival(sounds, gap_ms, bool(asked.voice))]}
    rows = [row for rate in ((16_000,) if asked.tiny else (8_000, 16_000, 48_000)) for row in timing(rate, 3 if asked.tiny else 500)]
    report(__doc__ or "", rows, asked, facts)


if __name__ == "__main__":
    main()
