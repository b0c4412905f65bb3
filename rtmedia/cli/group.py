"""A process and whatever it begins: one group, begun apart from us and ended as a whole.

How to think about it. A process that is only told to end leaves its children behind: a sound server, busy processes. So it
gets a group of its own (POSIX: a session, which also keeps a terminal's Ctrl-C for us; Windows: a process group), and `end`
goes in steps, each with its time: the process is interrupted, so that it takes apart in its own order what it has begun;
then all of the group are asked to end; then they are killed. A process that has ended by itself may have left others, and
goes through the same. Whoever puts a child into a session of its own must have it end with its parent, as
`rtmedia.sim.loopback` does by the end of its input.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO

LEAVE_S = 5.0  # for a process to take apart what it has begun
_ASKED_S = 2.0  # for what has not gone with it
_LOOK_S = 0.02


class Group:
    """A process begun in a group of its own.

    Parameters
    ----------
    command, environ
        What runs, and its environment.
    output
        Where all that it says goes; it reads nothing.

    Notes
    -----
    Thread: any one at a time.   Real-time: no.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], output: IO[bytes]) -> None:
        apart = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows's
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            start_new_session=True,  # ignored on Windows
            creationflags=apart,
        )

    def end(self, leave_s: float = LEAVE_S) -> None:
        """End all of them. Repeatable; who is interrupted in it (Ctrl-C once more) has had enough: they are killed at once."""
        try:
            if self.process.poll() is None:
                self._interrupt()
                self._wait(leave_s)
            self._ask()
        finally:
            self._kill()
            self.process.wait()

    def _wait(self, timeout_s: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)

    if sys.platform == "win32":

        def _interrupt(self) -> None:
            # To all of the group, and Python's answer is to end: Windows has no Ctrl-C for one process alone.
            with contextlib.suppress(OSError):  # no console
                self.process.send_signal(signal.CTRL_BREAK_EVENT)

        def _ask(self) -> None:
            pass  # that was it

        def _kill(self) -> None:
            if self.process.poll() is None:  # its children are found through it, while it is there
                with contextlib.suppress(OSError):
                    subprocess.run(["taskkill", "/F", "/T", "/PID", str(self.process.pid)], capture_output=True, check=False)
                self.process.kill()

    else:

        def _interrupt(self) -> None:
            self.process.send_signal(signal.SIGINT)

        def _ask(self) -> None:
            deadline_s = time.monotonic() + _ASKED_S
            left = self._signal(signal.SIGTERM)
            while left and time.monotonic() < deadline_s:
                self.process.poll()  # one that has ended and was not asked for counts as there
                time.sleep(_LOOK_S)
                left = self._signal(0)

        def _kill(self) -> None:
            self._signal(signal.SIGKILL)

        def _signal(self, number: int) -> bool:
            """Whether anybody is there to hear it. (macOS refuses to signal a group of which only the dead are left.)"""
            try:
                os.killpg(self.process.pid, number)
            except OSError:
                return False
            return True
