"""Human speech for the benchmarks that judge sound: telephone prompts at 16 kHz, joined to what is wanted.

The prompts are Debian's packages ``asterisk-core-sounds-*-g722`` (CC BY-SA 3.0 and CC BY 3.0, see each package's copyright
file): wideband recordings of four people. Those of the package ``…-wav`` are the same at 8 kHz, which costs half a point
of PLCMOS before anything is lost. What is not installed is fetched with ``apt-get download`` into a cache and unpacked
there, which needs no root. They are decoded by the package ``G722``.

The prompts of each voice are divided into two halves: concealment was tuned on half 0 of "en", "it" and "ru" alone; half 1
of all and everything of "fr" were kept aside.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]
RATE_HZ = 16_000
VOICES = {"en": "en_US_f_Allison", "fr": "fr_CA_f_June", "it": "it_IT_m_Carlo", "ru": "ru_RU_f_IvrvoiceRU"}
PAUSE_S = 0.25


def prompts(voice: str, seconds: float, half: int) -> Sound:
    """Several prompts of one voice with pauses of 250 ms between them, `seconds` in all.

    Raises
    ------
    SystemExit
        The prompts are neither here nor to be had; the message says what to install.
    """
    pieces: list[Sound] = []
    wanted = int(seconds * RATE_HZ)
    for piece in each_prompt(voice, half):
        pieces += [piece, np.zeros(int(PAUSE_S * RATE_HZ), np.float32)]
        if sum(map(len, pieces)) >= wanted:
            return np.concatenate(pieces)[:wanted]
    raise SystemExit(f"the prompts of {voice!r} last {sum(map(len, pieces)) / RATE_HZ:.0f} s; ask for less than {seconds:.0f} s")


def each_prompt(voice: str, half: int) -> Iterator[Sound]:
    """The prompts of one half of a voice, one by one, always in the same order; none that is nearly silent.

    Raises
    ------
    SystemExit
        As `prompts`.
    """
    files = sorted(path for path in _folder(voice).glob("*.g722") if 16_000 < path.stat().st_size < 200_000 and _is_speech(path.stem))
    random.Random(7).shuffle(files)
    for path in files[half::2]:
        piece = _decode(path)
        if np.mean(piece**2) >= 0.005**2:
            yield piece


def _is_speech(name: str) -> bool:
    return not any(word in name for word in ("tone", "beep", "monkeys"))


def _decode(path: Path) -> Sound:
    try:
        from G722 import G722
    except ImportError:
        raise SystemExit("decoding the prompts needs the package G722: pip install rtmedia[bench]") from None
    samples = np.array(G722(RATE_HZ, 64_000).decode(path.read_bytes()), np.int16)
    return samples[24:].astype(np.float32) / 32768  # 24: the filter bank's delay


def _folder(voice: str) -> Path:
    """Where the prompts of a voice lie, fetched if they must be."""
    if voice not in VOICES:
        raise SystemExit(f"there is no voice {voice!r}; choose from {', '.join(VOICES)}")
    inside = Path("usr/share/asterisk/sounds") / VOICES[voice]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rtmedia-benchmarks"
    for root in (Path("/"), cache):
        if any((root / inside).glob("*.g722")):
            return root / inside
    package = f"asterisk-core-sounds-{voice}-g722"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["apt-get", "download", package], cwd=cache, check=True, capture_output=True, timeout=300)
        (archive,) = cache.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", str(archive), str(cache)], check=True, capture_output=True, timeout=60)
        archive.unlink()
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        raise SystemExit(
            f"the prompts of {voice!r} are not installed and could not be fetched ({type(exc).__name__}): "
            f"install Debian's package {package}, or copy its *.g722 files to {cache / inside}"
        ) from None
    return cache / inside
