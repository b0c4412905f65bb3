"""Hosts that treat the interpreter badly, on purpose: what an audio path must not hear.

``busy``       threads of pure Python that never rest; the interpreter switches between them every 5 ms
``collect``    a garbage collection over a large heap, again and again, each of which keeps the GIL throughout
``hold_ms``    C code that keeps the GIL for so long at a time (an extension that does not release it)
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from dataclasses import dataclass, field

HEAP_OBJECTS = 400_000  # about 0.1 s for each collection


@dataclass
class Hostility:
    """Starts with `begin`, ends with `end`.

    Parameters
    ----------
    busy
        Number of busy threads.
    collect
        Whether to collect garbage without end.
    hold_ms
        How long to keep the GIL at a time; 0 is never.
    """

    busy: int = 0
    collect: bool = False
    hold_ms: int = 0
    longest_ms: float = 0.0  # without the GIL for a thread that only wanted to wake up
    holds: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _heap: list[list[object]] = field(default_factory=list)

    def begin(self) -> None:
        bodies = [self._spin] * self.busy + [self._watch]
        if self.collect:
            self._heap = [[number, {}] for number in range(HEAP_OBJECTS)]
            bodies.append(self._collect)
        if self.hold_ms:
            bodies.append(self._hold)
        self._threads = [threading.Thread(target=body, name=f"hostile-{body.__name__}", daemon=True) for body in bodies]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
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

    def _watch(self) -> None:
        """What any Python thread of the process suffers: the longest time that a sleep of 1 ms took."""
        while not self._over.is_set():
            began = time.monotonic()
            time.sleep(0.001)
            self.longest_ms = max(self.longest_ms, 1000.0 * (time.monotonic() - began))
