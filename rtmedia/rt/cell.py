"""A cell: the newest version of a few numbers, for many readers, that its writer never waits for.

A sequence lock (Lameter 2005, "Effective synchronization on Linux/NUMA systems"; Boehm 2012, "Can
seqlocks get along with programming language memory models?"): the version is odd while the writer is
inside. A reader copies the words and keeps them only if the version was even and has not changed.

Every word is stored with *release* and loaded with *acquire*, and that is enough, without a fence: a
reader that sees any word of an unfinished version has thereby acquired the odd version stored before
it, so its second look at the version cannot find the old one; and a reader that sees an even version
has acquired all its words. `tests/rt/test_cell_model.py` walks every weak-memory execution of it, with
and without each ordering.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError
from rtmedia.rt.builtin import API_DTYPE, builtin, call_1, call_2, call_3, memory_for, memory_of
from rtmedia.rt.clock import sleep_ns
from rtmedia.rt.kernel import kernel, load_acquire, pointer_void, store_release
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros, view_i8

VERSION = 0
FIRST = 1


@kernel("void(i8, i8[::1])", keep_gil=True)
def cell_write(cell, words):
    """Publish `words`. Thread: the one writer.   Real-time: yes."""
    memory = view_i8(cell, FIRST + words.shape[0])
    version = memory[VERSION]  # ours: a plain load
    store_release(memory, VERSION, version + 1)  # seen before any new word, by whoever acquires that word
    for i in range(words.shape[0]):
        store_release(memory, FIRST + i, words[i])
    store_release(memory, VERSION, version + 2)


@kernel("i8(i8, i8[::1], i8)", keep_gil=True)
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
            words[i] = load_acquire(memory, FIRST + i)  # read before the version is read again
        if load_acquire(memory, VERSION) == before:
            return 1
    return 0


_PYTHON_DTYPE = np.dtype([*API_DTYPE.descr, *((name, "i8") for name in ("cell", "words", "none", "kept"))])
_TRIES = 1000


@kernel("i8(i8, i8, i8)")
def python_read(me, arguments, count):
    """read() -> the words, from one version, or None after many disturbed attempts"""
    p = carray(pointer_void(memory_of(me)), 1, _PYTHON_DTYPE)[0]
    copy = call_2(p.new_bytes, 0, p.words * 8)  # memory of this call's own: any thread may read
    if copy == 0:
        return 0
    words = view_i8(call_1(p.bytes_at, copy), p.words)
    if cell_read(p.cell, words, _TRIES):
        found = call_1(p.new_tuple, p.words)
        if found != 0:
            for i in range(p.words):
                word = call_1(p.from_int64, words[i])
                if word == 0:
                    call_1(p.let_go, found)
                    found = 0
                    break
                call_3(p.set_item, found, i, word)
    else:
        found = p.none
        call_1(p.keep, found)
    call_1(p.let_go, copy)
    return found


class Cell:
    """Memory of one cell of `count` 64-bit integers; floats travel as integers of a stated unit.

    Notes
    -----
    Thread: one writes, any read.   Real-time: yes from compiled code; from Python `write` makes an array, and `read` may rest.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ConfigError(f"a cell's count is {count}; it holds at least 1 word")
        self.count = count
        self.memory: npt.NDArray[np.int64] = aligned_zeros(FIRST + count, np.int64)
        self.address = int(self.memory.ctypes.data)
        memory = memory_for(_PYTHON_DTYPE, {"cell": self.address, "words": count}, none=None, kept=self.memory)
        self._read: Callable[[], tuple[int, ...] | None] = builtin(python_read, memory)

    def write(self, *words: int) -> None:
        """Publish. Thread: the one writer, when that is Python."""
        if len(words) != self.count:
            raise ConfigError(f"{len(words)} words were given; this cell holds {self.count}")
        cell_write(self.address, np.array(words, np.int64))

    def read(self) -> tuple[int, ...]:
        """The newest words, from one version. Thread: any."""
        while (words := self._read()) is None:
            # The writer is inside for nanoseconds; a thousand misses mean that it lost its core there: let it have ours.
            sleep_ns(50_000)
        return words
