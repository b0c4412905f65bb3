"""Sound from files, at the rate and with the channels that a stream wants."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtmedia.errors import ConfigError
from rtmedia.ports import Block
from rtmedia.sim.wav import decode_wav, is_wav
from rtmedia.units import ms_of_frames


@dataclass(frozen=True, eq=False)
class Speech:
    """A recording: `block` is float32 ``(frames, channels)``, full scale ±1.0."""

    block: Block
    rate_hz: int

    @property
    def duration_ms(self) -> float:
        """Length in milliseconds."""
        return ms_of_frames(self.block.shape[0], self.rate_hz)

    def at(self, rate_hz: int, channels: int = 1) -> Speech:
        """The same sound at another rate and with another number of channels.

        Mono becomes stereo by doubling, anything becomes mono by the mean of its channels; of more than two
        channels the first two make stereo. The rate is changed by soxr at its "HQ" setting (passband to 0.91 of
        the lower Nyquist frequency, aliases under -100 dB).
        """
        block = self.block
        if channels == 1 and block.shape[1] > 1:
            block = block.mean(axis=1, keepdims=True, dtype=np.float32)
        elif channels == 2 and block.shape[1] != 2:
            block = np.repeat(block, 2, axis=1) if block.shape[1] == 1 else block[:, :2]
        elif channels not in (1, 2):
            raise ConfigError(f"channels is {channels}; speech can be made mono (1) or stereo (2)")
        if rate_hz != self.rate_hz:
            block = _resample(block, self.rate_hz, rate_hz)
        return Speech(np.ascontiguousarray(block, np.float32), rate_hz)


def _resample(block: Block, from_hz: int, to_hz: int) -> Block:
    try:
        import soxr
    except ImportError as exc:
        raise ConfigError(
            f"speech at {from_hz} Hz must be resampled to {to_hz} Hz, which needs soxr: pip install soxr, or give a file at {to_hz} Hz"
        ) from exc
    resampled: Block = soxr.resample(block, from_hz, to_hz, "HQ")
    return resampled


def read_speech(path: str | Path) -> Speech:
    """Read a sound file: any WAV; FLAC, Ogg, MP3 and AIFF where the optional package ``soundfile`` is installed.

    Raises
    ------
    ConfigError
        The file is missing, unreadable, damaged, empty or of an unknown kind.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as exc:
        raise ConfigError(f"speech file {path} cannot be read ({exc.strerror}); check the path") from exc
    if not data:
        raise ConfigError(f"speech file {path} is empty; choose another file")
    if is_wav(data):
        block, rate_hz = decode_wav(data, f"speech file {path}")
        return Speech(block, rate_hz)
    return _read_other(data, path)


def _read_other(data: bytes, path: str | Path) -> Speech:
    try:
        import soundfile
    except (ImportError, OSError) as exc:  # OSError: the package is there, its library is not
        raise ConfigError(
            f"speech file {path} is no WAV file; pip install soundfile reads FLAC, Ogg and MP3, or convert it to WAV"
        ) from exc
    try:
        block, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except (RuntimeError, TypeError) as exc:  # TypeError: headerless data
        why = str(exc).rpartition(">: ")[2]  # without the name of an object in memory
        raise ConfigError(f"speech file {path} cannot be decoded ({why}); convert it to WAV") from exc
    if block.shape[0] == 0:
        raise ConfigError(f"speech file {path} holds no sound; choose another file")
    if not 1_000 <= rate_hz <= 384_000:
        raise ConfigError(f"speech file {path} has a rate of {rate_hz} Hz; 1000 to 384000 can be read")
    return Speech(np.ascontiguousarray(block, np.float32), int(rate_hz))
