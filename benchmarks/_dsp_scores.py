"""Scores of noise suppression: DNSMOS, PESQ, STOI, what is left in the pauses, musical noise, time to follow a step.

All take float32 arrays at 16 kHz, full scale ±1.0, and all need a *processed* sound that lies on the time of the clean one
(take the processor's latency away first). The optional packages are loaded when first asked; what is missing ends in a
`MissingScore` that names it, so that a benchmark can go on without that column.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]
T = TypeVar("T")
RATE_HZ = 16_000
FRAME = RATE_HZ // 100  # of the activity marks: 10 ms
_DNSMOS_S = 9.01

_sessions: dict[str, Any] = {}


@dataclass(frozen=True)
class Score:
    """All scores of one sound. What could not be had is NaN."""

    ovrl: float
    sig: float
    bak: float
    pesq: float
    stoi: float
    pause_db: float
    lkr: float


class MissingScore(RuntimeError):
    """A score cannot be had: a package is not installed."""


@dataclass(frozen=True)
class Dnsmos:
    """The three answers of DNSMOS P.835, 1 ... 5: how the voice, the background and the whole sound."""

    sig: float
    bak: float
    ovrl: float


def score(clean: Sound, noisy: Sound, sound: Sound, *, segments: int | None = None) -> Score:
    """Everything about a processed sound that lies on the time of the clean and the noisy one.

    Parameters
    ----------
    segments
        Of DNSMOS, see there.

    Notes
    -----
    Put the noisy sound in as `sound` for the scores of doing nothing.
    """
    marks = pauses(clean)
    mos = _or_nan(lambda: dnsmos(sound, segments=segments), Dnsmos(math.nan, math.nan, math.nan))
    return Score(
        ovrl=mos.ovrl,
        sig=mos.sig,
        bak=mos.bak,
        pesq=_or_nan(lambda: pesq_wb(clean, sound), math.nan),
        stoi=_or_nan(lambda: stoi(clean, sound), math.nan),
        pause_db=pause_attenuation_db(noisy, sound, marks),
        lkr=log_kurtosis_ratio(noisy, sound, marks),
    )


def _or_nan(compute: Callable[[], T], missing: T) -> T:
    try:
        return compute()
    except MissingScore:
        return missing


def dnsmos(sound: Sound, *, segments: int | None = None) -> Dnsmos:
    """Mean of DNSMOS P.835 over windows of 9.01 s that begin a second apart, as ``speechmos.dnsmos.run`` gives it.

    The package imports librosa for its second model (P.808), which is not used here: the file of the first model is opened
    directly, and the loop, the polynomials and the means are the package's.

    Parameters
    ----------
    segments
        At most so many windows, those in the middle: for quick comparisons. None: all, as the package does.

    Source: C. Reddy, V. Gopal, R. Cutler, "DNSMOS P.835: a non-intrusive perceptual objective speech quality metric to evaluate
    noise suppressors", ICASSP 2022. Model: package ``speechmos`` (MIT), ``dnsmos_models/sig_bak_ovr.onnx``.
    """
    audio = np.clip(np.asarray(sound, np.float32), -1.0, 1.0)  # the package refuses more than full scale
    return Dnsmos(*_once(f"dnsmos {segments}", (audio,), lambda: _dnsmos(audio, segments)))


def _dnsmos(audio: Sound, segments: int | None) -> tuple[float, ...]:
    session = _dnsmos_session()
    size = int(_DNSMOS_S * RATE_HZ)
    while len(audio) < size:
        audio = np.append(audio, audio)
    hops = int(len(audio) // RATE_HZ - _DNSMOS_S) + 1
    chosen = list(range(hops))
    if segments is not None and segments < hops:
        first = (hops - segments) // 2
        chosen = chosen[first : first + segments]
    found = []
    for hop in chosen:
        window = audio[int(hop * RATE_HZ) : int((hop + _DNSMOS_S) * RATE_HZ)]
        if len(window) < size:
            continue
        sig, bak, ovrl = session.run(None, {"input_1": window[np.newaxis]})[0][0]
        found.append(
            (
                np.polyval([-0.08397278, 1.22083953, 0.0052439], sig),
                np.polyval([-0.13166888, 1.60915514, -0.39604546], bak),
                np.polyval([-0.06766283, 1.11546468, 0.04602535], ovrl),
            )
        )
    return tuple(float(mean) for mean in np.mean(found, axis=0))


def _dnsmos_session() -> Any:
    if "dnsmos" not in _sessions:
        try:
            import onnxruntime
        except ImportError as exc:
            raise MissingScore(f"DNSMOS needs the package {exc.name}: pip install rtmedia[bench]") from None
        package = importlib.util.find_spec("speechmos")  # found, not imported: importing it would ask for librosa
        if package is None or not package.submodule_search_locations:
            raise MissingScore("DNSMOS needs the package speechmos: pip install rtmedia[bench]")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # equal on all machines, and kind to the others on this one
        model = Path(package.submodule_search_locations[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"
        _sessions["dnsmos"] = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return _sessions["dnsmos"]


_known: dict[str, tuple[float, ...]] = {}


def _known_file() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rtmedia-benchmarks"
    return cache / "dsp-scores.txt"


def _once(what: str, sounds: tuple[Sound, ...], compute: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
    """What `compute` gives, or gave in an earlier run for the very same samples: the scores cost up to a second each."""
    if not _known:
        _known[""] = ()
        try:
            lines = _known_file().read_text("utf-8").splitlines()
        except OSError:
            lines = []
        for line in lines:
            key, *words = line.split()
            _known[key] = tuple(map(float, words))
    digest = sha256(what.encode())
    for sound in sounds:
        digest.update(np.ascontiguousarray(sound, np.float32).tobytes())
    key = digest.hexdigest()[:32]
    if key not in _known:
        _known[key] = compute()
        try:
            _known_file().parent.mkdir(parents=True, exist_ok=True)
            with _known_file().open("a", encoding="utf-8") as file:  # one short line: whole, even where two runs write
                file.write(" ".join([key, *(f"{value:.6f}" for value in _known[key])]) + "\n")
        except OSError:
            pass  # a cache that cannot be written costs time, nothing else
    return _known[key]


def pesq_wb(clean: Sound, sound: Sound) -> float:
    """Wideband PESQ of the whole clip, 1.04 ... 4.64. Source: ITU-T P.862.2 (package ``pesq``, MIT)."""
    try:
        from pesq import NoUtterancesError, pesq
    except ImportError:
        raise MissingScore("PESQ needs the package pesq: pip install rtmedia[bench]") from None

    def compute() -> tuple[float]:
        try:
            return (float(pesq(RATE_HZ, clean, sound, "wb")),)
        except NoUtterancesError:
            return (math.nan,)

    return _once("pesq", (clean, sound), compute)[0]


def stoi(clean: Sound, sound: Sound) -> float:
    """Short-time objective intelligibility, 0 ... 1.

    Source: C. Taal et al., "An algorithm for intelligibility prediction of time-frequency weighted noisy speech", IEEE TASLP
    19(7), 2011 (package ``pystoi``, MIT).
    """
    try:
        from pystoi import stoi as score
    except ImportError:
        raise MissingScore("STOI needs the package pystoi: pip install pystoi") from None
    return _once("stoi", (clean, sound), lambda: (float(score(clean, sound, RATE_HZ, extended=False)),))[0]


def pauses(clean: Sound, *, after_s: float = 0.2, before_s: float = 0.1) -> npt.NDArray[np.bool_]:
    """Marks for each frame of 10 ms: in a pause, with a margin to the words on either side.

    A frame holds speech when it is less than 40 dB below the mean of the loudest tenth of all frames.
    """
    count = len(clean) // FRAME
    energy = np.mean(np.square(clean[: count * FRAME].reshape(count, FRAME), dtype=np.float64), axis=1)
    loud = np.mean(np.sort(energy)[-max(1, count // 10) :])
    spoken = np.asarray(energy > 1e-4 * loud)
    marks: npt.NDArray[np.bool_] = ~spoken
    for frame in np.flatnonzero(spoken):
        marks[max(0, frame - round(before_s * 100)) : frame + round(after_s * 100) + 1] = False
    return marks


def pause_attenuation_db(noisy: Sound, sound: Sound, marks: npt.NDArray[np.bool_]) -> float:
    """By how much the frames marked as pauses became quieter."""
    if not marks.any():
        return math.nan
    chosen = np.repeat(marks, FRAME)
    before, after = (float(np.mean(np.square(x[: len(chosen)][chosen], dtype=np.float64))) for x in (noisy, sound))
    return float(10 * np.log10(max(before, 1e-12) / max(after, 1e-12)))


def log_kurtosis_ratio(noisy: Sound, sound: Sound, marks: npt.NDArray[np.bool_], *, from_s: float = 2.0) -> float:
    """Musical noise in the pauses: 0 means none added; about 0.5 is plainly audible as twitter, below 0 is smoother than before.

    Kurtosis of each bin's power over all frames in pauses, after processing against before, as a logarithm, mean over the bins:
    bins that stand out for a moment are what twitters. Frames of 20 ms every 10; below 200 Hz nothing counts (a high-pass
    decides there, not the suppressor), nor do pauses before `from_s`, where a suppressor still learns; NaN where less than
    0.3 s of pauses is left, or where the output is digital silence.

    Source: Y. Uemura et al., "Automatic optimization scheme of spectral subtraction based on musical noise assessment via
    higher-order statistics", IWAENC 2008; "Musical noise generation analysis for noise reduction methods based on spectral
    subtraction and MMSE STSA estimation", ICASSP 2009. Taken bin by bin here: over all bins at once a single bin of a
    single frame decides.
    """
    size = 2 * FRAME
    window = np.hanning(size + 1)[:size]
    counted = marks & (np.arange(len(marks)) >= from_s * 100)
    starts = np.flatnonzero(counted[:-1] & counted[1:]) * FRAME
    if len(starts) < 30:
        return math.nan
    kurtoses = []
    for x in (noisy, sound):
        power = np.abs(np.fft.rfft(np.stack([x[first : first + size] for first in starts]) * window)) ** 2
        if np.mean(power) < 1e-12:
            return math.nan
        away = power[:, 4:-2] - np.mean(power[:, 4:-2], axis=0)
        kurtoses.append(np.log(np.mean(away**4, axis=0) + 1e-40) - 2 * np.log(np.mean(away**2, axis=0) + 1e-20))
    return float(np.mean(kurtoses[1] - kurtoses[0]))


def settling_s(noisy: Sound, sound: Sound, step_s: float, *, within_db: float = 3.0) -> float:
    """How long after `step_s` the attenuation of a noise comes back, to within `within_db` of where it ends up.

    For a noise without speech whose level makes one step. The attenuation is taken over 100 ms every 10 ms and held against its
    median over the last 2 s; it is back when it stays for 0.3 s. Never back: infinite.
    """
    before, after = (_levels_db(x) for x in (noisy, sound))
    got = before - after
    enough = got[round(step_s * 100) :] >= np.median(got[-200:]) - within_db
    stays = np.convolve(enough, np.ones(30), "valid") > 29.5
    found = np.flatnonzero(stays)
    return float(found[0]) / 100 if len(found) else math.inf


def _levels_db(x: Sound) -> npt.NDArray[np.float64]:
    """Level over 100 ms, each 10 ms."""
    count = len(x) // FRAME
    energy = np.mean(np.square(x[: count * FRAME].reshape(count, FRAME), dtype=np.float64), axis=1)
    return np.asarray(10 * np.log10(np.convolve(energy, np.ones(10) / 10, "valid") + 1e-12))
