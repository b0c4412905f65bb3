"""Ctrl-C, Ctrl-Z and SIGTERM as a question to the loop, not as an exception in the middle of something."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

PATIENCE = 3  # the third signal means: now


class Leave:
    """Use as a context manager; `count` says how often we were asked to leave, `suspend_asked` whether to stand aside.

    Notes
    -----
    Thread: main (elsewhere no signal is caught, as Python demands).   Real-time: no.
    """

    def __init__(self) -> None:
        self.count = 0
        self.suspend_asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Leave:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._asked)
            if sys.platform != "win32":
                self._before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._suspend_asked)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, before in self._before.items():
            signal.signal(signum, before)
        self._before.clear()

    def _asked(self, signum: int, frame: object) -> None:
        self.count += 1
        if self.count >= PATIENCE:
            raise KeyboardInterrupt

    def _suspend_asked(self, signum: int, frame: object) -> None:
        self.suspend_asked = True

    def suspend(self) -> None:
        """Stop the process, as Ctrl-Z does by itself; returns when the shell continues it."""
        self.suspend_asked = False
        if sys.platform != "win32":
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTSTP)
            signal.signal(signal.SIGTSTP, self._suspend_asked)
