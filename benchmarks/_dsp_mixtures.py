"""Speech in noise for the benchmarks of the gate, made by seed: which voices and noises were tuned on, and which kept aside.

A clip is 12 s of telephone prompts (see `_speech.py`) at -26 dBov with half a second of noise before the first word and
pauses of 0.3 to 0.9 s, in a noise at a stated ratio. Noises are computed from random numbers, the talking ones from other prompts.

Tuned on (split ``dev``): half 0 of the voices "en", "it" and "ru", in the noises of `DEV_NOISES`. Kept aside (split ``held-out``): half 1
of these three and everything of "fr", in the same noises with other seeds and in `HELD_OUT_NOISES`, never listened to or
looked at while anything was tuned. Babble never holds the clip's own voice: in the dev split it is made of the dev halves of the other
voices, in the held-out split of their halves 1, and "other babble" of "fr" alone wherever "fr" is not the one who speaks.

Without the prompts (`synthetic=True`) a buzzing vowel sequence stands in for a voice: enough to run everything, no sound to judge by.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt
from _speech import each_prompt

Sound = npt.NDArray[np.float32]
Wave = npt.NDArray[np.float64]
RATE_HZ = 16_000
CLIP_S = 12.0
SPEECH_DBOV = -26.0
#: Where the noise of the kind "… step" becomes 12 dB louder, and by how much.
STEP_S, STEP_DB = 6.0, 12.0
SNRS_DB = (0, 5, 10, 20)
CLEAN_SNR_DB = 40

DEV_VOICES = (("en", 0), ("it", 0), ("ru", 0))
HELD_OUT_VOICES = (("fr", 0), ("fr", 1), ("en", 1), ("it", 1), ("ru", 1))
STEADY = ("white", "pink", "fan", "hum")
DEV_NOISES = (*STEADY, "fan step", "pub", "babble", "keyboard")
HELD_OUT_NOISES = ("street", "train", "air conditioner", "vacuum cleaner", "other babble")


@dataclass(frozen=True)
class Spec:
    """What a clip is made of; equal specs give the same samples."""

    split: str
    voice: str
    half: int
    number: int  # of the clip within its voice and half
    noise: str
    snr_db: float
    synthetic: bool = False

    @property
    def seed(self) -> int:
        words = f"{self.split}/{self.voice}{self.half}/{self.number}/{self.noise}/{self.snr_db}"
        return zlib.crc32(words.encode())


@dataclass(frozen=True)
class Clip:
    """One mixture. ``noisy`` is ``clean + noise``, all the same length."""

    spec: Spec
    clean: Sound
    noise: Sound
    noisy: Sound


def specs(split: str = "dev", *, each: int = 1, snrs_db: tuple[float, ...] = SNRS_DB, noises: tuple[str, ...] | None = None) -> list[Spec]:
    """The clips of a split: every noise at every ratio, `each` times, the voices taking turns.

    Parameters
    ----------
    split : str
        ``dev``: what was tuned on. ``held-out``: other voices and halves in the noises of `DEV_NOISES` and in `HELD_OUT_NOISES`.
    each : int
        ``specs(snrs_db=(0, 10))`` is 16 clips; ``specs(each=3)`` is 96, each voice in each noise at each ratio.
    """
    if split not in ("dev", "held-out"):
        raise ValueError(f"split is {split!r}; choose dev or held-out")
    voices = DEV_VOICES if split == "dev" else HELD_OUT_VOICES
    if noises is None:
        noises = DEV_NOISES if split == "dev" else DEV_NOISES + HELD_OUT_NOISES
    made = []
    for (i, noise), (j, snr_db), turn in product(enumerate(noises), enumerate(snrs_db), range(each)):
        voice, half = voices[(i + j + turn) % len(voices)]
        made.append(Spec(split, voice, half, (2 * i + j + 3 * turn) % 6, noise, float(snr_db)))
    return made


def tiny_specs() -> list[Spec]:
    """Two clips that need nothing but NumPy."""
    return [Spec("dev", "synthetic", 0, 0, noise, 10.0, synthetic=True) for noise in ("white", "fan step")]


@lru_cache(maxsize=256)
def make(spec: Spec) -> Clip:
    """The samples of one clip."""
    clean = _synthetic_clip(spec.seed) if spec.synthetic else _clip_of(spec.voice, spec.half)[spec.number % 6]
    noise = noise_of(spec.noise, CLIP_S, spec.seed, split=spec.split, but=spec.voice).astype(np.float64)
    level = 10 ** ((SPEECH_DBOV - spec.snr_db) / 20)
    noise *= level / np.sqrt(np.mean(noise**2))
    noisy = np.clip(clean + noise, -1, 1).astype(np.float32)
    return Clip(spec, clean, noise.astype(np.float32), noisy)


def noise_of(kind: str, seconds: float, seed: int, *, split: str = "dev", but: str = "") -> Sound:
    """One noise with an RMS of about 0.05.

    Parameters
    ----------
    split, but
        For the noises made of talk: which halves of the prompts may be used, and the voice that must not be among them.
    """
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE_HZ)
    if kind in _TALKING:
        wave = _TALKING[kind](rng, n, _talkers(kind, split, but, rng, n))
    else:
        wave = _NOISES[kind](rng, n)
    return np.asarray(0.05 * wave / np.sqrt(np.mean(wave**2)), np.float32)


def step_noise(kind: str = "fan", seed: int = 0, *, dbov: float = -38.0) -> Sound:
    """Noise alone for 12 s that becomes `STEP_DB` louder at `STEP_S`; `dbov` is its level before."""
    wave = noise_of(kind, CLIP_S, seed) * np.float32(10 ** (dbov / 20) / 0.05)
    wave[round(STEP_S * RATE_HZ) :] *= np.float32(10 ** (STEP_DB / 20))
    return wave


# Speech


@lru_cache(maxsize=10)
def _clip_of(voice: str, half: int) -> list[Sound]:
    """Six clips of clean speech, no prompt in two of them."""
    rng = np.random.default_rng(zlib.crc32(f"{voice}{half}".encode()))
    size = round(CLIP_S * RATE_HZ)
    clips: list[Sound] = []
    prompts = each_prompt(voice, half)
    while len(clips) < 6:
        parts = [np.zeros(RATE_HZ // 2, np.float32)]
        while sum(map(len, parts)) < size:
            parts += [_faded(next(prompts)), np.zeros(round(rng.uniform(0.3, 0.9) * RATE_HZ), np.float32)]
        clips.append(_at_level(np.concatenate(parts)[:size]))
    return clips


def _faded(prompt: Sound) -> Sound:
    """5 ms of fade at both ends: a prompt's own noise floor must not begin with a click."""
    ramp = np.linspace(0, 1, 80, dtype=np.float32)
    faded = prompt.copy()
    faded[:80] *= ramp
    faded[-80:] *= ramp[::-1]
    return faded


def _at_level(sound: Sound) -> Sound:
    """At -26 dBov while somebody speaks: the mean over frames of 10 ms less than 25 dB under the loudest tenth."""
    frames = sound[: len(sound) // 160 * 160].reshape(-1, 160).astype(np.float64)
    energy = np.mean(frames**2, axis=1)
    loud = np.mean(np.sort(energy)[-len(energy) // 10 :])
    active = np.mean(energy[energy > 10**-2.5 * loud])
    return np.asarray(sound * (10 ** (SPEECH_DBOV / 20) / np.sqrt(active)), np.float32)


def _synthetic_clip(seed: int) -> Sound:
    """Vowels from a pulse train through three resonances, in syllables with pauses."""
    rng = np.random.default_rng(seed)
    n = round(CLIP_S * RATE_HZ)
    wave = np.zeros(n)
    at = RATE_HZ // 2
    while at < n - RATE_HZ:
        for _ in range(int(rng.integers(2, 6))):
            length = int(rng.uniform(0.12, 0.3) * RATE_HZ)
            t = np.arange(length) / RATE_HZ
            pitch_hz = rng.uniform(95, 220) * (1 + 0.1 * np.sin(2 * np.pi * 3 * t))
            phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
            formants_hz = (rng.uniform(300, 800), rng.uniform(900, 2200), rng.uniform(2300, 3200))
            vowel = np.zeros(length)
            for h in range(1, 36):
                level = sum(1 / (1 + ((h * pitch_hz.mean() - f) / 90) ** 2) for f in formants_hz) + 0.02
                vowel += level * np.sin(h * phase)
            end = min(n, at + length)
            wave[at:end] += (vowel * np.abs(np.sin(np.pi * t / t[-1])) ** 0.5)[: end - at]
            at += length
            if at >= n:
                break
        at += int(rng.uniform(0.3, 0.9) * RATE_HZ)
    return _at_level(wave.astype(np.float32))


# Noises


def _shaped(rng: np.random.Generator, n: int, response: Callable[[Wave], Wave]) -> Wave:
    """Gaussian noise whose amplitude spectrum is `response` of the frequency in Hz."""
    size = 1 << (n - 1).bit_length()
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequency_hz = np.arange(len(spectrum)) * RATE_HZ / size
    wave = np.fft.irfft(spectrum * response(np.maximum(frequency_hz, 1.0)), size)[:n]
    return np.asarray(wave / np.std(wave))


def _slow(rng: np.random.Generator, n: int, hz: float) -> Wave:
    """Random walk without a direction: noise below `hz`, standard deviation 1."""
    return _shaped(rng, n, lambda f: 1 / (1 + (f / hz) ** 4))


def _harmonics(rng: np.random.Generator, n: int, hz: float, count: int, slope: float, wobble: float = 0.0) -> Wave:
    """Partials of a fundamental with random phases, amplitude falling as ``h ** -slope``; `wobble` as share of the pitch."""
    phase = 2 * np.pi * np.cumsum(hz * (1 + wobble * _slow(rng, n, 1.0))) / RATE_HZ
    wave = sum(h**-slope * rng.uniform(0.6, 1.4) * np.sin(h * phase + rng.uniform(0, 2 * np.pi)) for h in range(1, count + 1))
    return np.asarray(wave / np.std(wave))


def _white(rng: np.random.Generator, n: int) -> Wave:
    return rng.standard_normal(n)


def _pink(rng: np.random.Generator, n: int) -> Wave:
    return _shaped(rng, n, lambda f: np.maximum(f, 20) ** -0.5)


def _fan(rng: np.random.Generator, n: int) -> Wave:
    """Air past blades: noise that falls by 6 dB an octave from 250 Hz, and the blades' partials under it."""
    air = _shaped(rng, n, lambda f: 1 / (1 + f / 250) * f / (f + 40))
    return air + 0.35 * _harmonics(rng, n, rng.uniform(85, 140), 12, 0.8, wobble=0.002)


def _fan_step(rng: np.random.Generator, n: int) -> Wave:
    wave = _fan(rng, n)
    wave[round(STEP_S * RATE_HZ) :] *= 10 ** (STEP_DB / 20)
    return wave


def _hum(rng: np.random.Generator, n: int) -> Wave:
    """Mains at 50 Hz: strong low partials, a buzz of odd ones, a little hiss."""
    low = _harmonics(rng, n, 50, 8, 0.7)
    buzz = _harmonics(rng, n, 100, 30, 0.9)
    return low + 0.5 * buzz + 0.05 * rng.standard_normal(n)


def _keyboard(rng: np.random.Generator, n: int) -> Wave:
    """Someone types: clicks of a few ms, down and up, in bursts, over a quiet room."""
    wave = 0.004 * _pink(rng, n)
    at = rng.uniform(0.05, 0.4)
    while at < n / RATE_HZ:
        for delay, level in ((0.0, 1.0), (rng.uniform(0.06, 0.11), rng.uniform(0.3, 0.6))):
            first = int((at + delay) * RATE_HZ)
            length = min(int(0.03 * RATE_HZ), n - first)
            if length > 0:
                t = np.arange(length) / RATE_HZ
                click = rng.standard_normal(length) * np.exp(-t / rng.uniform(0.002, 0.005))
                thud = np.sin(2 * np.pi * rng.uniform(150, 500) * t) * np.exp(-t / 0.008)
                wave[first : first + length] += level * rng.uniform(0.5, 1.0) * (click + 0.7 * thud)
        at += rng.uniform(0.09, 0.3) if rng.random() < 0.85 else rng.uniform(0.5, 1.2)
    return wave


def _street(rng: np.random.Generator, n: int) -> Wave:
    """Cars pass: low roar that swells and fades, tyres above it, now and then a horn."""
    t = np.arange(n) / RATE_HZ
    wave = 0.3 * _shaped(rng, n, lambda f: 1 / (1 + f / 120))
    for _ in range(max(1, round(n / RATE_HZ / 2.5))):
        middle, width = rng.uniform(0, t[-1]), rng.uniform(0.6, 1.8)
        swell = 1 / (1 + ((t - middle) / width) ** 2) ** 1.5
        tyres_hz = rng.uniform(600, 1200)
        wave += rng.uniform(0.5, 1.2) * swell * _shaped(rng, n, lambda f, c=tyres_hz: 1 / (1 + f / 150) + 0.25 / (1 + (f / c) ** 2))
    if rng.random() < 0.5:
        at, length = rng.uniform(1, t[-1] - 1), rng.uniform(0.2, 0.6)
        horn = sum(np.sin(2 * np.pi * f * h * t) / h for f in (415.0, 520.0) for h in range(1, 6))
        wave += 0.5 * horn * ((t > at) & (t < at + length))
    return np.asarray(wave)


def _train(rng: np.random.Generator, n: int) -> Wave:
    """Inside a carriage: rumble, air, motor whine, and joints of the rails two by two."""
    wave = _shaped(rng, n, lambda f: 1 / (1 + (f / 90) ** 1.3)) * (1 + 0.2 * _slow(rng, n, 0.7))
    wave += 0.15 * _harmonics(rng, n, rng.uniform(180, 420), 6, 1.0, wobble=0.01)
    knock = _shaped(rng, n, lambda f: 1 / (1 + (f / 500) ** 2))
    every = int(rng.uniform(0.9, 1.4) * RATE_HZ)
    for first in range(int(rng.uniform(0, every)), n, every):
        for delay in (0, int(0.13 * RATE_HZ)):
            part = slice(first + delay, min(n, first + delay + RATE_HZ // 10))
            wave[part] += 1.5 * knock[part] * np.exp(-np.arange(len(wave[part])) / (0.02 * RATE_HZ))
    return wave


def _air_conditioner(rng: np.random.Generator, n: int) -> Wave:
    """Broad hiss that breathes by some dB over seconds, with a compressor's hum."""
    air = _shaped(rng, n, lambda f: f / (f + 150) / (1 + (f / 900) ** 1.2))
    breath_db = 3 * np.sin(2 * np.pi * rng.uniform(0.15, 0.35) * np.arange(n) / RATE_HZ + rng.uniform(0, 6)) + _slow(rng, n, 0.5)
    return air * 10 ** (breath_db / 20) + 0.4 * _harmonics(rng, n, 98.5, 6, 1.0)


def _vacuum_cleaner(rng: np.random.Generator, n: int) -> Wave:
    """A turbine: strong partials of a few hundred Hz that wander, over a loud broad rush."""
    rush = _shaped(rng, n, lambda f: f / (f + 400) / (1 + (f / 3500) ** 2))
    return rush * (1 + 0.1 * _slow(rng, n, 2.0)) + 0.8 * _harmonics(rng, n, rng.uniform(280, 420), 16, 0.5, wobble=0.004)


_NOISES: dict[str, Callable[[np.random.Generator, int], Wave]] = {
    "white": _white,
    "pink": _pink,
    "fan": _fan,
    "fan step": _fan_step,
    "hum": _hum,
    "keyboard": _keyboard,
    "street": _street,
    "train": _train,
    "air conditioner": _air_conditioner,
    "vacuum cleaner": _vacuum_cleaner,
}


# Noises of people


@lru_cache(maxsize=10)
def _talk(voice: str, half: int) -> Sound:
    """All prompts of a half of a voice behind each other, at most two minutes, no pauses."""
    parts: list[Sound] = []
    for prompt in each_prompt(voice, half):
        parts.append(prompt / np.sqrt(np.mean(prompt**2)))
        if sum(map(len, parts)) > 120 * RATE_HZ:
            break
    return np.concatenate(parts)


def _talkers(kind: str, split: str, but: str, rng: np.random.Generator, n: int) -> list[Wave]:
    """Twelve stretches of talk at random places; pitch and formants are moved so that few voices become many people."""
    if split == "dev":
        halves = [(voice, half) for voice, half in DEV_VOICES if voice != but]
    else:
        # Dev's noises over held-out words: the same kind of people, other words; "other babble": the voice that was never used.
        held_out = [("fr", 0), ("fr", 1)] if kind == "other babble" else [("en", 1), ("it", 1), ("ru", 1)]
        halves = [pair for pair in held_out if pair[0] != but] or [("en", 1), ("it", 1), ("ru", 1)]
    talkers = []
    for _ in range(12):
        talk = _talk(*halves[int(rng.integers(len(halves)))])
        speed = rng.uniform(0.8, 1.2)
        first = int(rng.integers(0, len(talk) - int(n * speed) - 2))
        talkers.append(np.interp(first + speed * np.arange(n), np.arange(len(talk)), talk))
    return talkers


def _babble(rng: np.random.Generator, n: int, talkers: list[Wave]) -> Wave:
    """People talk nearby: six of them, at levels some dB apart."""
    return np.asarray(sum(10 ** (rng.uniform(-3, 3) / 20) * talk for talk in talkers[:6]))


def _other_babble(rng: np.random.Generator, n: int, talkers: list[Wave]) -> Wave:
    """Eight people in a small hard room."""
    return _in_a_room(rng, np.asarray(sum(10 ** (rng.uniform(-4, 4) / 20) * talk for talk in talkers[:8])), 0.08)


def _pub(rng: np.random.Generator, n: int, talkers: list[Wave]) -> Wave:
    """Twelve people far away in a reverberant room, its ventilation, glasses."""
    wave = _in_a_room(rng, np.asarray(sum(talkers)), 0.25)
    wave = wave / np.std(wave) + 0.5 * _shaped(rng, n, lambda f: 1 / (1 + f / 300))
    for _ in range(rng.poisson(n / RATE_HZ / 2)):
        first = int(rng.integers(0, n))
        t = np.arange(min(n - first, RATE_HZ // 4)) / RATE_HZ
        glass = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(1800, 5500, 3)) * np.exp(-t / 0.04)
        wave[first : first + len(t)] += rng.uniform(0.3, 1.0) * glass
    return wave


def _in_a_room(rng: np.random.Generator, wave: Wave, decay_s: float) -> Wave:
    """With the exponential tail of a room, by which the power falls to 1/e² in `decay_s`."""
    t = np.arange(int(4 * decay_s * RATE_HZ)) / RATE_HZ
    tail = rng.standard_normal(len(t)) * np.exp(-t / decay_s)
    tail[0] = 5.0
    size = 1 << (len(wave) + len(tail)).bit_length()
    return np.asarray(np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(tail, size), size)[: len(wave)])


_TALKING: dict[str, Callable[[np.random.Generator, int, list[Wave]], Wave]] = {
    "babble": _babble,
    "pub": _pub,
    "other babble": _other_babble,
}
