"""Wait for many sockets and read all that have something: one call that gives the interpreter away once.

Read one by one from Python, each of them would give it away and wait for it again; beside a thread that has work of its own
that is a switch interval (5 ms) each time, and two hundred connections fall seconds behind while both cores rest. Here
the octets lie in the connections' own memory, with the time of their arrival, when the interpreter comes back.

Linux only (``epoll``); elsewhere `Selected` does the same with the interpreter's own functions, socket by socket.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
import select
import selectors
from collections.abc import Iterator
from typing import Any

import numpy as np

from rtmedia.rt.builtin import address_of, call_4
from rtmedia.rt.clock import now_ns
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros, view_i8

#: In one call; what is left says so again.
MOST = 512
#: A row for each number of a file.
ROOM, LENGTH, COUNT, READ_NS, ROW = 0, 1, 2, 3, 4
#: There is something to read, for the one who reads himself; or reading failed, and the socket is to be asked why.
ASK = -1
# ``struct epoll_event``, whose data begins with the file's number: packed on x86-64 (include/uapi/linux/eventpoll.h).
_PADDING = [] if platform.machine() == "x86_64" else [("padding", "i4")]
_EVENT_DTYPE = np.dtype([("events", "u4"), *_PADDING, ("file", "i4"), ("rest", "i4")])
_EVENT_OCTETS = _EVENT_DTYPE.itemsize

_DTYPE = np.dtype([(name, "i8") for name in ("epoll_wait", "recv", "file", "events", "table", "ready")])

#: A file, how many octets were read (or `ASK`; 0 is the end), and when.
Found = tuple[int, int, int]


@kernel("i8(i8, i8)")
def gather(memory, timeout_ms):
    """Wait, and read each file that has something into its room; returns how many there are."""
    w = carray(pointer_void(memory), 1, _DTYPE)[0]
    count = call_4(w.epoll_wait, w.file, w.events, MOST, timeout_ms) & 0xFFFFFFFF
    if count > MOST:  # -1: a signal
        return 0
    came_ns = now_ns()
    ready = view_i8(w.ready, MOST)
    for i in range(count):
        file = np.int64(carray(pointer_void(w.events + i * _EVENT_OCTETS), 1, _EVENT_DTYPE)[0].file)
        row = view_i8(w.table + file * 8 * ROW, ROW)
        row[COUNT] = call_4(w.recv, file, row[ROOM], row[LENGTH], 0) if row[ROOM] != 0 else ASK
        row[READ_NS] = came_ns
        ready[i] = file
    return count


def _words(memory: Any) -> memoryview[int]:
    """An array's words, to be read and written one by one: ten times as fast as through the array."""
    return memoryview(memory)


class Gatherer:
    """Sockets that do not block, and where what comes from each of them belongs.

    Notes
    -----
    Thread: one.   Real-time: no; it holds the interpreter neither while it waits nor while it reads.
    """

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._epoll = select.epoll()
        self._events = aligned_zeros(MOST, _EVENT_DTYPE)
        self._ready = aligned_zeros(MOST, np.int64)
        self._table = aligned_zeros(1_024 * ROW, np.int64)
        self._rows = _words(self._table)
        self._files = _words(self._ready)
        self._memory = aligned_zeros(1, _DTYPE)
        self._memory["epoll_wait"], self._memory["recv"] = address_of(library.epoll_wait), address_of(library.recv)
        self._memory["file"] = self._epoll.fileno()
        self._memory["events"], self._memory["ready"] = self._events.ctypes.data, self._ready.ctypes.data
        self._memory["table"] = self._table.ctypes.data
        self._address = int(self._memory.ctypes.data)

    def register(self, file: int) -> None:
        """Watch `file`; until `place` it is not read. Raises `OSError` where the system watches no more."""
        if file * ROW >= len(self._table):
            grown = aligned_zeros(2 * ROW * (file + 1), np.int64)
            grown[: len(self._table)] = self._table
            self._table, self._rows = grown, _words(grown)
            self._memory["table"] = grown.ctypes.data
        self.place(file, 0, 0)
        self._epoll.register(file, select.EPOLLIN)

    def unregister(self, file: int) -> None:
        """Watch it no longer; its room may go. Any number of times."""
        self.place(file, 0, 0)
        with contextlib.suppress(OSError, ValueError):
            self._epoll.unregister(file)

    def place(self, file: int, room: int, length: int) -> None:
        """Where the next octets of `file` belong, by address; 0: nowhere, it is only watched."""
        self._rows[file * ROW + ROOM] = room
        self._rows[file * ROW + LENGTH] = length

    def wait(self, timeout_s: float) -> Iterator[Found]:
        """Everything that has come, or comes within `timeout_s`."""
        rows, files = self._rows, self._files
        for i in range(gather(self._address, max(0, int(timeout_s * 1_000)))):
            file = files[i]
            yield file, rows[file * ROW + COUNT], rows[file * ROW + READ_NS]
            rows = self._rows  # it may have grown meanwhile

    def close(self) -> None:
        """Give the system's memory back."""
        self._epoll.close()

    @staticmethod
    def works_here() -> bool:
        """Whether this system has what it takes."""
        return hasattr(select, "epoll")


class Selected:
    """The same by the interpreter's own functions: whoever has something is to be asked.

    Notes
    -----
    Thread: one.   Real-time: no; waiting gives the interpreter away, and each read does once more.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, file: int) -> None:
        """See `Gatherer.register`."""
        self._selector.register(file, selectors.EVENT_READ)

    def unregister(self, file: int) -> None:
        """See `Gatherer.unregister`."""
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._selector.unregister(file)

    def place(self, file: int, room: int, length: int) -> None:
        """Nothing: whoever has something reads himself."""

    def wait(self, timeout_s: float) -> Iterator[Found]:
        """See `Gatherer.wait`."""
        for key, _ in self._selector.select(timeout_s):
            yield key.fd, ASK, 0

    def close(self) -> None:
        """See `Gatherer.close`."""
        self._selector.close()
