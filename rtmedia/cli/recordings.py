"""Recordings of any length, block by block: read from a file, resampled on the way, written to another."""

from __future__ import annotations

import contextlib
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtmedia.cli.files import replacing
from rtmedia.errors import ConfigError, SinkError
from rtmedia.ports import Block
from rtmedia.sim.speech import read_speech
from rtmedia.sim.wav import WavReader, is_wav

WAV_SUFFIXES = (".wav", ".wave")
#: What is looked for in a folder.
SUFFIXES = (*WAV_SUFFIXES, ".flac", ".ogg", ".mp3", ".aif", ".aiff")
_MOST_WAV_OCTETS = 2**32 - 4096  # a WAV file says its length in 32 bits


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording under way.

    Attributes
    ----------
    frames : int
        About how many frames the blocks will have together, for bars and pictures.
    blocks : iterator of float32 arrays, shape (frames, channels)
        All of it, a second or less at a time; they may be written to.
    """

    rate_hz: int
    channels: int
    frames: int
    blocks: Iterator[Block]

    @property
    def seconds(self) -> float:
        return self.frames / self.rate_hz


@contextlib.contextmanager
def open_recording(path: str | Path, rate_hz: int | None = None) -> Iterator[Recording]:
    """Open any WAV; FLAC, Ogg, MP3 and AIFF where the optional package ``soundfile`` is installed.

    Parameters
    ----------
    rate_hz
        Resample to this rate, with soxr at its "HQ" setting.

    Raises
    ------
    ConfigError
        The file is missing, unreadable, damaged, empty or of an unknown kind, or there is no soxr.
    """
    with contextlib.ExitStack() as stack:
        found = _opened(Path(path), stack)
        if rate_hz is not None and rate_hz != found.rate_hz:
            found = _resampled(found, rate_hz)
        yield found


def _opened(path: Path, stack: contextlib.ExitStack) -> Recording:
    name = f"recording {path}"
    if path.is_dir():
        raise ConfigError(f"{name} is a folder; give a file")
    try:
        file = stack.enter_context(path.open("rb"))
        seekable = file.seekable()
        head = file.read(12) if seekable else b""
    except OSError as exc:
        raise ConfigError(f"{name} cannot be read ({exc.strerror}); check the path") from exc
    if is_wav(head):
        file.seek(0)
        wav = WavReader(file, name)
        return Recording(wav.rate_hz, wav.channels, wav.frames, wav.blocks(wav.rate_hz))
    other = _soundfile(path, stack) if seekable and head else None
    if other is not None:
        return other
    whole = read_speech(path)  # a pipe; or it says what is wrong with the file
    return Recording(whole.rate_hz, whole.block.shape[1], len(whole.block), _pieces(whole.block, whole.rate_hz))


def _pieces(block: Block, frames: int) -> Iterator[Block]:
    for start in range(0, len(block), frames):
        yield block[start : start + frames]


def _soundfile(path: Path, stack: contextlib.ExitStack) -> Recording | None:
    try:
        import soundfile

        file = stack.enter_context(soundfile.SoundFile(path))
    except (ImportError, OSError, RuntimeError, TypeError):
        return None
    if not file.frames or not 1_000 <= file.samplerate <= 384_000:
        return None

    def blocks() -> Iterator[Block]:
        while True:
            try:
                block = file.read(file.samplerate, dtype="float32", always_2d=True)
            except RuntimeError as exc:
                raise ConfigError(f"recording {path} cannot be decoded ({exc}); convert it to WAV") from exc
            if not len(block):
                return
            yield np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)

    return Recording(int(file.samplerate), int(file.channels), int(file.frames), blocks())


def _resampled(found: Recording, rate_hz: int) -> Recording:
    try:
        import soxr
    except ImportError as exc:
        raise ConfigError(
            f"a recording at {found.rate_hz} Hz must be resampled to {rate_hz} Hz, which needs soxr: "
            f"pip install soxr, or give a file at {rate_hz} Hz"
        ) from exc
    if not 1_000 <= rate_hz <= 384_000:
        raise ConfigError(f"--rate is {rate_hz}; it must lie between 1000 and 384000")
    stream: Any = soxr.ResampleStream(found.rate_hz, rate_hz, found.channels, dtype="float32", quality="HQ")

    def blocks() -> Iterator[Block]:
        for block in found.blocks:
            yield stream.resample_chunk(block)
        yield stream.resample_chunk(np.zeros((0, found.channels), np.float32), last=True)

    return Recording(rate_hz, found.channels, -(-found.frames * rate_hz // found.rate_hz), blocks())


class WavWriter:
    """A 16-bit WAV file that grows block by block."""

    def __init__(self, file: wave.Wave_write, path: Path) -> None:
        self._file, self._path = file, path
        self._room = _MOST_WAV_OCTETS

    def write(self, block: Block) -> None:
        octets = np.clip(np.rint(block * np.float32(32768)), -32768, 32767).astype("<i2").tobytes()
        self._room -= len(octets)
        if self._room < 0:
            raise SinkError(
                f"{self._path} would be longer than the 4 GiB that a WAV file can be",
                kind="file",
                device=str(self._path),
                hint="cut the recording, or give a lower --rate",
            )
        self._file.writeframesraw(octets)


@contextlib.contextmanager
def wav_writer(path: Path, rate_hz: int, channels: int, frames: int) -> Iterator[WavWriter]:
    """Write a WAV file: whole or, where the block ends by an exception, not at all.

    Parameters
    ----------
    frames
        How many are expected: where the file is a pipe, they cannot be counted afterwards.

    Raises
    ------
    SinkError
        The file cannot be written.
    """
    # Opened here: a wave.open that fails leaves a half-made object behind, which complains when it is collected.
    with replacing(path) as temporary, temporary.open("wb") as raw, contextlib.closing(wave.open(raw, "wb")) as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.setnframes(min(frames, _MOST_WAV_OCTETS // (2 * channels)))
        yield WavWriter(file, path)
