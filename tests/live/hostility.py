"""Hosts that treat their audio badly, on purpose: what an audio path must not hear.

In the same process:

``busy``          threads of pure Python that never rest; the interpreter switches between them every 5 ms
``collect``       a garbage collection over a large heap, again and again, each of which keeps the GIL throughout
``hold_ms``       C code that keeps the GIL for so long at a time (an extension that does not release it)
``allocate_mib``  memory that is allocated and written in steps, each of which keeps the GIL, then freed; again and again

Outside of it:

``neighbours``    processes that never rest, with a ``niceness`` of their own; -1 is one for each core
``stop_ms``       the process `pid` is stopped for so long, once every ``stop_every_s`` (POSIX)

None of it outlives the process that does it, however that ends: the others read a pipe from it, and see its end.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HEAP_OBJECTS = 400_000  # about 0.1 s for each collection
STEP_MIB = 16  # about 5 ms for each: how long the GIL is kept is `hold_ms`'s question, this is what taking memory does
#: Ends with the input, which ends with whoever holds the other end; a thread that waits for that takes nothing from the spinning.
_SPIN = """\
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
while True:
    pass
"""
#: What was stopped goes on, also where whoever stopped it is no longer there to say so.
_GO_ON = """\
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM):  # to all of a group: ours is to be the last of them
    signal.signal(number, signal.SIG_IGN)
sys.stdin.buffer.read()
try:
    os.kill({pid}, signal.SIGCONT)
except ProcessLookupError:
    pass
"""


@dataclass
class Hostility:
    """Starts with `begin`, ends with `end`; whatever it does to other processes ends with it, too.

    Parameters
    ----------
    busy
        Number of busy threads.
    collect
        Whether to collect garbage without end.
    hold_ms
        How long to keep the GIL at a time; 0 is never.
    allocate_mib
        How much memory to take at most; less where the machine has not twice as much, see `allocated_mib`.
    neighbours, niceness
        Number of busy processes, and how far they stand back.
    stop_ms, stop_every_s, pid
        How long, how often and which process is stopped.
    """

    busy: int = 0
    collect: bool = False
    hold_ms: int = 0
    allocate_mib: int = 0
    neighbours: int = 0
    niceness: int = 0
    stop_ms: int = 0
    stop_every_s: float = 3.0
    pid: int = 0
    longest_ms: float = 0.0  # without the GIL for a thread that only wanted to wake up
    holds: int = 0  # times that something was held, collected, allocated or stopped
    allocated_mib: int = 0  # the most at one time
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _guard: subprocess.Popen[bytes] | None = None
    _heap: list[list[object]] = field(default_factory=list)

    def begin(self) -> None:
        bodies = [self._spin] * self.busy + [self._watch]
        if self.collect:
            self._heap = [[number, {}] for number in range(HEAP_OBJECTS)]
            bodies.append(self._collect)
        if self.hold_ms:
            bodies.append(self._hold)
        if self.allocate_mib:
            bodies.append(self._allocate)
        if self.stop_ms:
            assert self.pid > 1, "whoever asks for stop_ms names the process"
            bodies.append(self._stop)
            self._guard = _python(_GO_ON.format(pid=self.pid))
        for _ in range(cores() if self.neighbours < 0 else self.neighbours):
            self._processes.append(neighbour(self.niceness))
        self._threads = [threading.Thread(target=body, name=f"hostile-{body.__name__}", daemon=True) for body in bodies]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for process in self._processes:
            process.kill()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            process.communicate()
        if self._guard is not None:
            self._guard.communicate()  # the end of its input
        self._heap.clear()

    def _spin(self) -> None:
        over, number = self._over, 0
        while not over.is_set():
            for _ in range(10_000):
                number = number * 31 % 1_000_003

    def _collect(self) -> None:
        while not self._over.is_set():
            gc.collect()
            self.holds += 1

    def _hold(self) -> None:
        # PyDLL, unlike CDLL, does not release the GIL around the call.
        library = ctypes.PyDLL(None) if sys.platform != "win32" else None
        assert library is not None, "usleep is POSIX"
        while not self._over.is_set():
            library.usleep(self.hold_ms * 1000)
            self.holds += 1
            time.sleep(0)  # one chance for the others, no rest

    def _allocate(self) -> None:
        while not self._over.is_set():
            taken: list[bytes] = []
            for most_mib in _steps(self.allocate_mib):
                if self._over.is_set():
                    break
                # Written, not only promised: every page of it is taken from the system, with the GIL held.
                taken.append(b"\1" * (STEP_MIB << 20))
                self.holds += 1
                self.allocated_mib = max(self.allocated_mib, most_mib)
            while taken:
                taken.pop()  # one by one, as they came
            self._over.wait(0.05)

    def _stop(self) -> None:
        while not self._over.wait(self.stop_every_s):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGSTOP)
                try:
                    self.holds += 1
                    time.sleep(self.stop_ms / 1000.0)
                finally:
                    os.kill(self.pid, signal.SIGCONT)

    def _watch(self) -> None:
        """What any Python thread of the process suffers: the longest time that a sleep of 1 ms took."""
        while not self._over.is_set():
            began = time.monotonic()
            time.sleep(0.001)
            self.longest_ms = max(self.longest_ms, 1000.0 * (time.monotonic() - began))


def neighbour(niceness: int = 0) -> subprocess.Popen[bytes]:
    """A process that never rests, until it is killed or whoever began it ends."""
    return _python(_nicely(niceness) + _SPIN)


def _python(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE)


def put_first(pid: int) -> bool:
    """Let a process run before all others, where the system allows it; whether it does.

    For what stands for the rest of the world, such as a media server: in life it has a machine of its own, and no neighbour of the
    player's keeps it from sending. Linux 6.6 to 6.18 may keep a process that sleeps and wakes from its turn for half a second
    while one of lower priority runs, until that one has had its share.
    """
    try:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
    except (AttributeError, OSError):  # no such call, or no right to it
        return False
    return True


def cores() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_mib() -> int | None:
    """Memory that can be had without swapping, as Linux estimates it; None elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) >> 10
    return None


def _steps(wanted_mib: int) -> Iterator[int]:
    """How much is taken after each step; half of what is available is left to everybody else."""
    available = available_mib()
    most = wanted_mib if available is None else min(wanted_mib, available // 2)
    return iter(range(STEP_MIB, most + 1, STEP_MIB))


def _nicely(niceness: int) -> str:
    return f"import os\nos.nice({niceness})\n" if niceness and hasattr(os, "nice") else ""
