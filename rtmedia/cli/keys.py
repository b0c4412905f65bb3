"""Single keys from a terminal, without waiting for them; the terminal is always given back as it was."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from typing import Any, TextIO

if sys.platform != "win32":
    import termios
    import tty


class Keys:
    """Use as a context manager; `read` answers at once.

    Inactive, and silent about it, where standard input is no terminal, belongs to another job, or on Windows.

    Notes
    -----
    Thread: main.   Real-time: no.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdin
        self._fd = -1
        self._before: list[Any] | None = None
        self._cont_before: Any = None

    @property
    def active(self) -> bool:
        """Whether keys can come."""
        return self._before is not None

    def __enter__(self) -> Keys:
        if sys.platform == "win32":
            return self
        with contextlib.suppress(Exception):  # closed, detached or replaced standard input: no keys then
            fd = self._stream.fileno()
            if os.isatty(fd) and self._foreground(fd):
                self._fd, self._before = fd, termios.tcgetattr(fd)
                tty.setcbreak(fd)
        if self.active and threading.current_thread() is threading.main_thread():
            # The shell has its own mode while we are suspended (Ctrl-Z).
            self._cont_before = signal.signal(signal.SIGCONT, self._continued)
        return self

    def __exit__(self, *_: object) -> None:
        if sys.platform == "win32" or self._before is None:
            return
        before, self._before = self._before, None
        if self._cont_before is not None:
            signal.signal(signal.SIGCONT, self._cont_before)
        if self._foreground(self._fd):
            with contextlib.suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(self._fd, termios.TCSADRAIN, before)

    @staticmethod
    def _foreground(fd: int) -> bool:
        """Whether the terminal is ours: a background job that changes or reads it is stopped by the system."""
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(fd) == os.getpgrp()
        return False

    def _continued(self, signum: int, frame: object) -> None:
        if self._before is not None and self._foreground(self._fd):
            with contextlib.suppress(termios.error):
                tty.setcbreak(self._fd)

    def read(self) -> str:
        """The keys pressed since the last call; ``""`` for none."""
        if self._before is None or not self._foreground(self._fd):
            return ""
        with contextlib.suppress(OSError, ValueError):
            if select.select([self._fd], [], [], 0)[0]:
                return os.read(self._fd, 64).decode("utf-8", "ignore")
        return ""
