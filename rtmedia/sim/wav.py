"""RIFF/WAVE into float32, with NumPy alone.

The standard library's ``wave`` reads linear PCM only. This reads 8, 16, 24 and 32 bit PCM, 32 and 64 bit float,
µ-law and A-law, plain or ``WAVE_FORMAT_EXTENSIBLE``. Streamed files, whose writer never came back to fill in the
length of the data, are read to their end.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from rtmedia.codec.tables import values
from rtmedia.errors import ConfigError

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_UNKNOWN = 0xFFFFFFFF  # as is 0: the length in files that were written to a pipe, and in RF64
_HINT = "convert it with e.g. `sox IN -b 16 OUT.wav`"


@dataclass(frozen=True, slots=True)
class _Layout:
    tag: int
    channels: int
    rate_hz: int
    bits: int


def is_wav(data: bytes) -> bool:
    """Whether `data` begins like a RIFF/WAVE file."""
    return data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE"


def decode_wav(data: bytes, name: str) -> tuple[npt.NDArray[np.float32], int]:
    """Samples and rate of the WAV file `data`.

    Parameters
    ----------
    data
        The whole file.
    name
        What error messages call it.

    Returns
    -------
    samples : float32 array, shape (frames, channels)
    rate_hz : int

    Raises
    ------
    ConfigError
        The file is damaged, holds no sound, or is coded in a way that this reader does not know.
    """
    wav = WavReader(io.BytesIO(data), name)
    return next(wav.blocks(wav.frames)), wav.rate_hz


class WavReader:
    """A WAV file, block by block: the same samples as from `decode_wav`, in memory that does not grow with the file.

    Parameters
    ----------
    file
        Open for reading, seekable, at its beginning.
    name
        What error messages call it.

    Attributes
    ----------
    rate_hz, channels, frames : int

    Raises
    ------
    ConfigError
        As `decode_wav`, here already where the header says so.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        head = file.read(12)
        if not is_wav(head):
            raise ConfigError(f"{name} is no WAV file (it begins with {head!r}); {_HINT}")
        length = file.seek(0, os.SEEK_END)
        self._layout, start, end = self._find(length)
        octets = self._layout.bits // 8 * self._layout.channels
        self.rate_hz, self.channels = self._layout.rate_hz, self._layout.channels
        self.frames = (end - start) // octets if octets else 0
        self._octets, self._left = octets, self.frames
        file.seek(start)
        _samples(file.read(min(octets, end - start)), self._layout, name)  # says now what would be wrong with all of them
        file.seek(start)

    def _find(self, length: int) -> tuple[_Layout, int, int]:
        """Layout, first octet and end of the data."""
        layout: _Layout | None = None
        at = 12
        while at + 8 <= length:
            self._file.seek(at)
            kind, size = struct.unpack("<4sI", self._file.read(8))
            body = at + 8
            if kind == b"fmt ":
                layout = _layout(self._file.read(min(size, 64)), self._name)
            elif kind == b"data":
                if layout is None:
                    raise ConfigError(f"{self._name} has its data before its format; {_HINT}")
                return layout, body, length if size in (0, _UNKNOWN) else min(length, body + size)
            at = body + size + (size & 1)  # chunks begin on even octets
        raise ConfigError(f"{self._name} has no {'data' if layout else 'fmt'} chunk: it is damaged or cut off; copy it again")

    def blocks(self, frames: int) -> Iterator[npt.NDArray[np.float32]]:
        """All of it, in blocks of at most so many frames."""
        while self._left > 0:
            raw = self._file.read(min(frames, self._left) * self._octets)
            if len(raw) < self._octets:  # it was cut while we read
                return
            block = _samples(raw, self._layout, self._name)
            self._left -= len(block)
            yield block


def _layout(chunk: bytes, name: str) -> _Layout:
    if len(chunk) < 16:
        raise ConfigError(f"{name} has a fmt chunk of {len(chunk)} octets; it needs 16: the file is damaged")
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        (tag,) = struct.unpack_from("<H", chunk, 24)  # the first two octets of the sub-format's GUID
    if not 1 <= channels <= 64:
        raise ConfigError(f"{name} has {channels} channels; 1 to 64 can be read: the file is damaged")
    if not 1_000 <= rate_hz <= 384_000:
        raise ConfigError(f"{name} has a rate of {rate_hz} Hz; 1000 to 384000 can be read: the file is damaged")
    return _Layout(tag, channels, rate_hz, bits)


def _samples(raw: bytes, layout: _Layout, name: str) -> npt.NDArray[np.float32]:
    octets = layout.bits // 8
    frames = len(raw) // (octets * layout.channels) if octets else 0
    if layout.bits % 8 == 0 and frames == 0:
        raise ConfigError(f"{name} holds no sound; choose another file")
    raw = raw[: frames * octets * layout.channels]
    decoded = _decode(raw, layout.tag, layout.bits)
    if decoded is None:
        raise ConfigError(f"{name} is coded as WAVE format {layout.tag} with {layout.bits} bits, which is not supported; {_HINT}")
    # A float file may hold anything; one NaN would silence every filter behind it.
    return np.nan_to_num(decoded.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0).reshape(-1, layout.channels)


def _decode(raw: bytes, tag: int, bits: int) -> npt.NDArray[Any] | None:
    """One flat array, full scale ±1.0; ``None`` for a coding that is not known."""
    scaled: npt.NDArray[Any]
    if (tag, bits) == (_PCM, 8):
        scaled = (np.frombuffer(raw, np.uint8).astype(np.float32) - 128.0) / 128.0
    elif (tag, bits) == (_PCM, 16):
        scaled = np.frombuffer(raw, "<i2").astype(np.float32) / 32768.0
    elif (tag, bits) == (_PCM, 24):
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)  # the upper three octets: the sign comes by itself
        scaled = wide.view("<i4")[:, 0] / 2147483648.0
    elif (tag, bits) == (_PCM, 32):
        scaled = np.frombuffer(raw, "<i4") / 2147483648.0
    elif tag == _FLOAT and bits in (32, 64):
        scaled = np.frombuffer(raw, f"<f{bits // 8}")
    elif tag in (_MULAW, _ALAW) and bits == 8:
        scaled = values("ulaw" if tag == _MULAW else "alaw")[np.frombuffer(raw, np.uint8)] / 32768.0
    else:
        return None
    return scaled
