"""Windows: the highest priority and a set of cores for a thread that is known by its number.

Windows has no SCHED_FIFO. The nearest is THREAD_PRIORITY_TIME_CRITICAL, 15 in a process of ordinary class, above every ordinary
thread; the Multimedia Class Scheduler gives more, but only to the thread that asks for itself, which compiled loops do not.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rtmedia.realtime.system import Refused, System

_SET_INFORMATION, _QUERY_INFORMATION = 0x20, 0x40  # THREAD_SET_INFORMATION and so on: access rights
_NORMAL, _TIME_CRITICAL, _ERROR = 0, 15, 0x7FFFFFFF


def _kernel32() -> Any:
    library = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    library.OpenThread.restype = ctypes.c_void_p
    library.OpenThread.argtypes = (ctypes.c_ulong, ctypes.c_int, ctypes.c_ulong)
    library.SetThreadPriority.argtypes = (ctypes.c_void_p, ctypes.c_int)
    library.GetThreadPriority.argtypes = (ctypes.c_void_p,)
    library.SetThreadAffinityMask.restype = ctypes.c_size_t
    library.SetThreadAffinityMask.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    library.CloseHandle.argtypes = (ctypes.c_void_p,)
    return library


class Windows(System):
    """As `rtmedia.realtime.system.System`.

    Notes
    -----
    Thread: any.   Real-time: no.
    """

    name = "Windows"

    def __init__(self, library: Any = None) -> None:
        self._library = library if library is not None else _kernel32()

    @contextmanager
    def _opened(self, thread: int) -> Iterator[Any]:
        handle = self._library.OpenThread(_SET_INFORMATION | _QUERY_INFORMATION, 0, thread)
        if not handle:
            raise Refused(f"thread {thread} cannot be opened")
        try:
            yield handle
        finally:
            self._library.CloseHandle(handle)

    def set_fifo(self, thread: int, priority: int) -> str:
        """The highest that an ordinary process has; `priority` has no meaning here."""
        with self._opened(thread) as handle:
            if not self._library.SetThreadPriority(handle, _TIME_CRITICAL):
                raise Refused("SetThreadPriority failed")
        return "THREAD_PRIORITY_TIME_CRITICAL"

    def step_down(self, thread: int) -> None:
        """As `System.step_down`."""
        with self._opened(thread) as handle:
            if not self._library.SetThreadPriority(handle, _NORMAL):
                raise Refused("SetThreadPriority failed")

    def priority_of(self, thread: int) -> int | None:
        """As `System.priority_of`."""
        try:
            with self._opened(thread) as handle:
                found = int(self._library.GetThreadPriority(handle))
        except Refused:
            return None
        return None if found == _ERROR else max(0, found)

    def set_cpus(self, thread: int, cpus: tuple[int, ...]) -> tuple[int, ...]:
        """Within the first group of 64 cores, the one that a process begins in."""
        if max(cpus) > 63:
            raise Refused(f"core {max(cpus)} is beyond the first 64, and Windows counts each further 64 on its own")
        with self._opened(thread) as handle:
            if not self._library.SetThreadAffinityMask(handle, sum(1 << cpu for cpu in cpus)):
                raise Refused(f"none of the cores {','.join(map(str, cpus))} may be used")
        return tuple(sorted(cpus))

    def lock_memory(self) -> str:
        """As `System.lock_memory`."""
        raise Refused("Windows locks ranges of memory, not a process")
