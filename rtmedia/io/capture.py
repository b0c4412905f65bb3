r"""A capture's file: chunks one after another, each with its own checksum, written by a thread that nobody waits for.

::

    "RTMCAP1\n"                                   8 octets
    kind, stored, raw, crc                       four octets of name, three little-endian u4; then `stored` octets, zlib

The first chunk (``HEAD``) is a JSON object, the last (``END``) too; those between carry pieces of tables, whose records
the header describes. A file that was cut anywhere (a crash, a full disk) is whole up to its last whole chunk.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rtmedia.errors import ConfigError

MAGIC = b"RTMCAP1\n"
VERSION = 1
PERIOD_S = 0.25
#: Of one chunk, before it is compressed: what is longer is written as several.
LONGEST = 1 << 24
#: Of one capture as read, unpacked: four hours of 48 kHz stereo, and no small file can ask for more.
MOST = 4 << 30
_FRAME = struct.Struct("<4sIII")
#: Tables by name and by the four octets in the file.
KINDS = {
    "payloads": b"PAYL",
    "wire": b"WIRE",
    "decoded": b"DECO",
    "changes": b"CHAN",
    "transcripts": b"TEXT",
    "marks": b"MARK",
    "ticks": b"TICK",
    "steps": b"STEP",
}
_HEAD, _END = b"HEAD", b"END "
_NAMES = {kind: name for name, kind in KINDS.items()}


class CaptureFile:
    """Writes what `collect` gives, four times a second.

    Parameters
    ----------
    path
        Overwritten.
    header
        Of plain values.
    collect
        Returns pieces of tables, in the order in which they must be written.
    end
        What stands in the last chunk; asked once.

    Raises
    ------
    ConfigError
        The file cannot be written.

    Attributes
    ----------
    problem : str
        Why nothing is written any more; empty while all is well.

    Notes
    -----
    Thread: ``rtm-capture`` writes; any may look at `problem`.   Real-time: no.
    """

    def __init__(
        self,
        path: str | Path,
        header: Mapping[str, Any],
        collect: Callable[[], list[tuple[str, bytes]]],
        end: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.path = Path(path)
        self.problem = ""
        self._collect, self._end = collect, end
        self._done = threading.Event()
        try:
            # The sound of a call is nobody's but its owner's.
            self._file: BinaryIO = open(self.path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115  (`_run`)
        except OSError as exc:
            raise ConfigError(f"capture {self.path} cannot be written ({exc.strerror}); choose another path") from exc
        self._write(lambda: self._file.write(MAGIC + _chunk(_HEAD, json.dumps(header).encode())))
        self._thread = threading.Thread(target=self._run, name="rtm-capture", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> bool:
        """Write what is left, and the end; False when the disk did not take it in time. Any number of times."""
        self._done.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        ending = False
        while not ending:
            ending = self._done.wait(PERIOD_S)
            pieces = self._collect()  # also after a failure: what is left lying would fill the memory
            self._write(lambda: self._write_pieces(pieces))  # noqa: B023  (called at once)
        self._write(lambda: self._file.write(_chunk(_END, json.dumps(self._end()).encode())))
        self._write(self._file.flush)
        with contextlib.suppress(OSError):
            self._file.close()

    def _write_pieces(self, pieces: list[tuple[str, bytes]]) -> None:
        for table, octets in pieces:
            for at in range(0, len(octets), LONGEST):
                self._file.write(_chunk(KINDS[table], octets[at : at + LONGEST]))
        self._file.flush()  # to the system: a crash of this process loses a quarter of a second

    def _write(self, work: Callable[[], object]) -> None:
        """Do it, unless something failed before: a hole in a capture would be worse than its end."""
        if self.problem:
            return
        try:
            work()
        except Exception as exc:
            self.problem = f"{self.path} cannot be written any further ({getattr(exc, 'strerror', None) or exc})"


def _chunk(kind: bytes, octets: bytes) -> bytes:
    stored = zlib.compress(octets, 1)
    return _FRAME.pack(kind, len(stored), len(octets), zlib.crc32(stored)) + stored


@dataclass(frozen=True)
class CaptureContents:
    """A capture as read.

    Attributes
    ----------
    header : dict
    tables : dict
        By the names of `KINDS`.
    end : dict or None
        None where the session did not end in order.
    cut : str
        Where and why reading stopped before the end of the file; empty where it did not.
    """

    header: dict[str, Any]
    tables: dict[str, bytes]
    end: dict[str, Any] | None
    cut: str = ""


def read_capture(path: str | Path) -> CaptureContents:
    """Read all whole chunks.

    Raises
    ------
    ConfigError
        The file cannot be read, is no capture, or was written by a later version.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _read(file, str(path))
    except OSError as exc:
        raise ConfigError(f"capture {path} cannot be read ({exc.strerror}); check the path") from exc


def _read(file: BinaryIO, name: str) -> CaptureContents:
    if file.read(len(MAGIC)) != MAGIC:
        raise ConfigError(f"{name} is no capture: it does not begin with {MAGIC!r}; captures are written with --capture FILE")
    first = _next(file, MOST)
    header = _object(first[1]) if not isinstance(first, str) and first[0] == _HEAD else None
    if header is None:
        raise ConfigError(
            f"capture {name} has no header ({first if isinstance(first, str) else 'another chunk comes first'}); it holds nothing to replay"
        )
    if header.get("format") != VERSION:
        raise ConfigError(f"capture {name} has format {header.get('format')!r}; this version of rtmedia reads {VERSION}")
    pieces: dict[str, list[bytes]] = {table: [] for table in KINDS}
    end, cut, left = None, "", MOST
    while True:
        at = file.tell()
        chunk = _next(file, left)
        if isinstance(chunk, str):
            cut = f"{chunk} at octet {at}" if chunk else ""
            break
        kind, octets = chunk
        left -= len(octets)
        if kind == _END:
            end = _object(octets)
            break
        if kind in _NAMES:  # what a later version adds is passed over
            pieces[_NAMES[kind]].append(octets)
    return CaptureContents(header, {table: b"".join(found) for table, found in pieces.items()}, end, cut)


def _next(file: BinaryIO, left: int) -> tuple[bytes, bytes] | str:
    """The next chunk, or why there is none: empty at the end of the file."""
    frame = file.read(_FRAME.size)
    if len(frame) < _FRAME.size:
        return "a chunk is cut" if frame else ""
    kind, stored, raw, crc = _FRAME.unpack(frame)
    if raw > min(LONGEST, left) or stored > LONGEST + (LONGEST >> 6) + 64:
        return "a chunk is too long"
    data = file.read(stored)
    if len(data) < stored:
        return "a chunk is cut"
    if zlib.crc32(data) != crc:
        return "a chunk's checksum is wrong"
    unpacker = zlib.decompressobj()
    try:
        octets = unpacker.decompress(data, raw + 1)
    except zlib.error:
        return "a chunk cannot be unpacked"
    if len(octets) != raw or not unpacker.eof:
        return "a chunk has another length than it says"
    return kind, octets


def _object(octets: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
