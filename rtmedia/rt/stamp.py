"""Remembering a hash over many files for as long as none of them is touched.

A module's generation (`rtmedia.rt.cache`) is a hash over the contents of all that it imports. Reading and hashing
them takes a start a tenth of a second, and almost never says anything new. So the answer is kept beside a *stamp*: size, times and
number of every file that was read, and of every folder that was looked into. The time of the last change of status is one of them:
it cannot be set, so a file that is replaced by another of its size and date is noticed.

A file that changes again within the clock's step keeps its times. Nothing is remembered, therefore, of files that are younger than
two seconds (the same reasoning as in git's index: "Racy Git", git's technical documentation).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_YOUNG_NS = 2_000_000_000


class _Shared:
    """What was seen of each file, while many are asked about at one time."""

    def __init__(self) -> None:
        self.looking: set[object] = set()  # one for each that looks: engines may be built on several threads
        self.seen: dict[str, tuple[int, ...]] = {}


_shared = _Shared()


@contextlib.contextmanager
def looking_once() -> Iterator[None]:
    """Look at each file once in here, or until `forget`: fifty modules are asked about when an engine is built, and share most files.

    For what takes a moment: what is edited within it may be noticed only by the next process.
    """
    forget()
    one = object()
    _shared.looking.add(one)
    try:
        yield
    finally:
        _shared.looking.discard(one)
        forget()


def forget() -> None:
    """What was seen is old: something that takes its time is about to be done."""
    _shared.seen = {}


def _status(path: str) -> tuple[int, ...]:
    seen = _shared.seen
    if path in seen:
        return seen[path]
    found = os.stat(path)
    status = found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
    if _shared.looking:
        seen[path] = status
    return status


def _stamp(paths: Iterable[str]) -> str | None:
    """What would be different had one of the files been changed; None where one is gone."""
    try:
        return hashlib.sha256(repr([_status(path) for path in paths]).encode()).hexdigest()
    except OSError:
        return None


def _looked_into(members: Iterable[Path]) -> list[str]:
    """The files, and the folders: a file that is added may be what an import finds from now on."""
    folders = {str(member.parent) for member in members}
    return [*(str(member) for member in members), *sorted(folders)]


def _note(notes: Path, subject: str) -> Path:
    return notes / f"{hashlib.sha256(subject.encode()).hexdigest()[:16]}.json"


def recall(notes: Path, subject: str) -> str | None:
    """The answer about `subject` that was remembered in folder `notes`, if it still holds."""
    try:
        kept = json.loads(_note(notes, subject).read_bytes())
        good = kept["subject"] == subject and kept["stamp"] == _stamp(kept["paths"])
        return str(kept["answer"]) if good else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Remembering:
    """Remember what is found out about `members`. The files are stamped before they are read.

    Notes
    -----
    Thread: any; several processes may keep the same.   Real-time: no: files.
    """

    def __init__(self, notes: Path, subject: str, members: Iterable[Path]) -> None:
        self._file = _note(notes, subject)
        self._subject = subject
        self._paths = _looked_into(list(members))
        self._stamp = _stamp(self._paths)

    def keep(self, answer: str) -> None:
        """Write the note, in one step; a disk that does not want it costs time at the next start."""
        part = self._file.with_name(f"{self._file.name}.{os.getpid()}.part")
        note = {"subject": self._subject, "answer": answer, "stamp": self._stamp, "paths": self._paths}
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(json.dumps(note).encode())
            now_ns = part.stat().st_mtime_ns  # the file system's own clock
            if self._stamp is not None and all(max(_status(path)[1:3]) < now_ns - _YOUNG_NS for path in self._paths):
                part.replace(self._file)
            else:
                part.unlink()
