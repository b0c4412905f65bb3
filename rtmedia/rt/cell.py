"""A cell: the newest version of a few numbers, for many readers, that its writer never waits for.

A sequence lock (Lameter 2005, "Effective synchronization on Linux/NUMA systems"; Boehm 2012, "Can
seqlocks get along with programming language memory models?"): the version is odd while the writer is
inside. A reader copies the words and keeps them only if the version was even and has not changed.
The words themselves are read and written atomically, so that no compiler may tear or invent them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rtmedia.rt.kernel import fence, kernel, load_acquire, store_release
from rtmedia.rt.memory import aligned_zeros, view_i8

VERSION = 0
FIRST = 1


@kernel("void(i8, i8[::1])")
def cell_write(cell, words):
    """Publish `words`. Thread: the one writer.   Real-time: yes."""
    memory = view_i8(cell, FIRST + words.shape[0])
    version = memory[VERSION]
    store_release(memory, VERSION, version + 1)
    fence()  # the odd version is seen before any new word
    for i in range(words.shape[0]):
        store_release(memory, FIRST + i, words[i])
    store_release(memory, VERSION, version + 2)


@kernel("i8(i8, i8[::1], i8)")
def cell_read(cell, words, tries):
    """Copy the newest words; 1 when they are from one version, 0 after `tries` disturbed attempts.

    Thread: any.   Real-time: yes.
    """
    memory = view_i8(cell, FIRST + words.shape[0])
    for _ in range(tries):
        before = load_acquire(memory, VERSION)
        if before & 1:
            continue
        for i in range(words.shape[0]):
            words[i] = load_acquire(memory, FIRST + i)
        fence()  # the words are read before the version is read again
        if load_acquire(memory, VERSION) == before:
            return 1
    return 0


class Cell:
    """Memory of one cell of `count` 64-bit integers; floats travel as integers of a stated unit."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.memory: npt.NDArray[np.int64] = aligned_zeros(FIRST + count, np.int64)
        self.address = int(self.memory.ctypes.data)
        self._words = np.zeros(count, np.int64)

    def write(self, *words: int) -> None:
        """Publish. Thread: the one writer, when that is Python."""
        cell_write(self.address, np.array(words, np.int64))

    def read(self) -> tuple[int, ...]:
        """The newest words, from one version. Thread: one Python reader (it owns the scratch)."""
        while not cell_read(self.address, self._words, 1000):
            pass  # the writer is inside for nanoseconds; a thousand misses in a row mean we were preempted
        return tuple(int(word) for word in self._words)
