"""Asks the system to run a thread of the audio path before others. A wish: most systems refuse it without a right."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

#: Among the real-time priorities the lowest few: before all ordinary threads, behind the kernel's own and the sound server.
ROUND_ROBIN_PRIORITY = 5
NICE = -11  # as sound servers do


def raise_this_thread() -> str:
    """Raise the calling thread's priority as far as the system allows.

    Returns
    -------
    str
        ``"realtime"``, ``"nice"`` or ``""`` (refused, or not known here).

    Notes
    -----
    Thread: the one that is to be raised, before it enters its compiled loop.   Real-time: no.
    On Linux both need a right that is given by ``ulimit -r`` or ``-e`` (group ``audio`` on many systems) or to root.
    """
    if not sys.platform.startswith("linux"):
        return ""
    with contextlib.suppress(OSError):
        # On Linux 0 is the calling thread, not the process; what it starts is ordinary again.
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(ROUND_ROBIN_PRIORITY))
        return "realtime"
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        return "nice"
    return ""
