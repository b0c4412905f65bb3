"""RealtimeKit: the service that makes a desktop user's threads real-time, on its own terms.

Its terms (``rtkit-daemon --help``): the process limits itself by RLIMIT_RTTIME, hard limit included, to 200 ms; priority
at most 20; no child inherits it; 25 threads a user. It watches the machine with a canary and takes everything back when
the canary starves. Whom it serves polkit decides: by default users with a session on the machine, not services.

Those terms are an order: it looks at the limit first, which no process can raise again, and may refuse all the same. So there is
a look at what polkit would say, through ``pkcheck``, before anything is changed.

It is asked through ``busctl``, which comes with systemd, as RealtimeKit does in practice: a D-Bus library for three calls
at a start would be a dependency for nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence

from rtmedia.realtime.system import Refused

_PLACE = ("org.freedesktop.RealtimeKit1", "/org/freedesktop/RealtimeKit1", "org.freedesktop.RealtimeKit1")
_RIGHT = "org.freedesktop.RealtimeKit1.acquire-real-time"
_LIMIT_S = 3.0


class NotInstalled(Refused):
    """There is no such program, so nobody has said no."""


def _run(words: Sequence[str]) -> str:
    """What a program says; `Refused` with its complaint otherwise."""
    program = shutil.which(words[0])
    if program is None:
        raise NotInstalled(f"{words[0]} is not installed")
    try:
        done = subprocess.run([program, *words[1:]], capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Refused(f"{words[0]} did not answer ({type(exc).__name__})") from exc
    if done.returncode:
        complaint = done.stderr.strip().splitlines()
        raise Refused(complaint[-1] if complaint else f"{words[0]} ended with {done.returncode}")
    return done.stdout


class RealtimeKit:
    """The service, called through a program.

    Parameters
    ----------
    run
        Takes words, returns what the program printed, raises `Refused`.

    Notes
    -----
    Thread: any; a call may take seconds where the bus is stuck.   Real-time: no.
    """

    def __init__(self, run: Callable[[Sequence[str]], str] = _run) -> None:
        self._run = run

    def _busctl(self, *words: str) -> str:
        address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")
        bus = f"--address={address}" if address else "--system"
        try:
            return self._run(["busctl", bus, "--timeout=2", *words])
        except Refused as exc:
            raise Refused(f"RealtimeKit: {exc}") from exc

    def _property(self, name: str) -> int:
        said = self._busctl("get-property", *_PLACE, name).split()
        if len(said) != 2 or not said[1].lstrip("-").isdigit():
            raise Refused(f"RealtimeKit: {name} is {' '.join(said)!r}")
        return int(said[1])

    def terms(self) -> tuple[int, int]:
        """The highest priority that it gives, and the most that RLIMIT_RTTIME may be, in µs."""
        return self._property("MaxRealtimePriority"), self._property("RTTimeUSecMax")

    def look(self) -> None:
        """`Refused` where polkit would not let this process be served; nothing where it would, or where that cannot be known."""
        try:
            self._run(["pkcheck", "--action-id", _RIGHT, "--process", str(os.getpid())])
        except NotInstalled:
            return
        except Refused as exc:
            raise Refused(f"RealtimeKit: was not asked, polkit would not allow it ({exc})") from exc

    def make_realtime(self, thread: int, priority: int) -> None:
        """Make a thread of this process real-time (SCHED_RR, the service's own choice)."""
        self._busctl("call", *_PLACE, "MakeThreadRealtimeWithPID", "ttu", str(os.getpid()), str(thread), str(priority))
