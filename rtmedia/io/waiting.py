"""Wait for a socket, read it, and look at the clock: one call that gives the interpreter away once.

From Python these are three calls, and each of the first two lets other threads have the interpreter: beside a busy one
it takes up to a switch interval (5 ms) to get it back, twice for each packet, and the time of arrival is taken after
that. Here the thread comes back with the octets read and the time already taken, however long the interpreter lets it
wait.

With TLS reading is more than a ``recv``; there the call waits and looks at the clock, and reading follows in Python: what
was decrypted has the time at which it came all the same.

POSIX only (``poll`` and ``recv`` of the C library): `Receiver.works_here` says so, and `rtmedia.io.tcp` has the other way.
"""

from __future__ import annotations

import ctypes
import os
import select
from collections.abc import Callable
from typing import Any

import numpy as np

from rtmedia.rt.builtin import API_DTYPE, BUFFER_DTYPE, address_of, builtin, call_0, call_1, call_3, call_4, memory_of, python_api
from rtmedia.rt.clock import now_ns
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_i8

NOTHING = -1  # until the deadline
WOKEN = -2  # by the other file
LOOK = -3  # a signal, an error, the end: whatever the socket itself is to be asked about
READY = -4  # there is something to read, for the one who reads himself

_WRITABLE = 1  # PyBUF_WRITABLE
_IN = getattr(select, "POLLIN", 1)

#: The memory of `receive_into`.
_DTYPE = np.dtype(
    [
        *API_DTYPE.descr,
        *BUFFER_DTYPE.descr,
        ("poll", "i8"),
        ("recv", "i8"),  # 0: only wait
        ("read_ns", "i8"),
        # two of ``struct pollfd``
        ("file", "i4"),
        ("asked", "i2"),
        ("found", "i2"),
        ("wake_file", "i4"),
        ("wake_asked", "i2"),
        ("wake_found", "i2"),
    ]
)
_BUFFER_AT = API_DTYPE.itemsize
_FIELDS: Any = _DTYPE.fields
_WATCHED_AT = int(_FIELDS["file"][1])
_READ_AT = int(_FIELDS["read_ns"][1])
_LONGEST_MS = 1_000_000


@kernel("i8(i8, i8, i8)")
def receive_into(me, arguments, count):
    """receive_into(room, deadline_ns) -> octets read (0 is the end), or one of the negative words of the module."""
    memory = memory_of(me)
    w = carray(pointer_void(memory), 1, _DTYPE)[0]
    if count != 2:
        call_0(w.bad_argument)
        return 0
    given = view_i8(arguments, 2)
    deadline_ns = call_1(w.as_int64, given[1])
    if deadline_ns == -1 and call_0(w.error) != 0:
        return 0
    if call_3(w.get_buffer, given[0], memory + _BUFFER_AT, _WRITABLE) & 0xFFFFFFFF != 0:
        return 0
    thread = call_0(w.save_thread)  # from here on without the interpreter
    wait_ms = min(max(0, deadline_ns - now_ns() + 999_999) // 1_000_000, _LONGEST_MS)
    ready = call_3(w.poll, memory + _WATCHED_AT, 2, wait_ms) & 0xFFFFFFFF
    if ready == 0:
        result = NOTHING
    elif ready > 2:  # -1: a signal
        result = LOOK
    elif w.wake_found != 0:
        result = WOKEN
    elif w.found == _IN and w.recv == 0:
        result = READY
        w.read_ns = now_ns()
    elif w.found == _IN:
        result = call_4(w.recv, w.file, w.address, w.length, 0)
        w.read_ns = now_ns()
        if result < 0:
            result = LOOK
    else:
        result = LOOK
    call_1(w.restore_thread, thread)
    call_1(w.release_buffer, memory + _BUFFER_AT)
    return call_1(w.from_int64, result)


class Receiver:
    """Reads one socket, watching another file meanwhile.

    Parameters
    ----------
    file, wake_file : int
        Numbers of a socket that does not block, and of what ends a wait when there is something to read from it.
    reads : bool
        Whether ``into`` reads, or says `READY`.

    Notes
    -----
    Thread: one. The files must stay open while `into` is called.   Real-time: no; it holds the interpreter neither while it
    waits nor while it reads.
    """

    def __init__(self, file: int, wake_file: int, *, reads: bool = True) -> None:
        library = ctypes.CDLL(None)
        memory = np.zeros(1, _DTYPE)
        python_api(memory)
        memory["poll"], memory["recv"] = address_of(library.poll), address_of(library.recv) if reads else 0
        memory["file"], memory["wake_file"] = file, wake_file
        memory["asked"] = memory["wake_asked"] = _IN
        self._memory = memory
        octets: Any = memory.view(np.uint8)  # a view of a view is read ten times as fast as a record's field
        self._read_ns = memoryview(octets)[_READ_AT : _READ_AT + 8].cast("q")
        #: ``into(room, deadline_ns)``: see `receive_into`.
        self.into: Callable[[memoryview, int], int] = builtin(receive_into, memory)

    @property
    def read_ns(self) -> int:
        """When the last read was done, or could be, on the clock of `rtmedia.rt.clock.now_ns`."""
        return self._read_ns[0]

    @staticmethod
    def works_here() -> bool:
        """Whether this system has what it takes."""
        return os.name == "posix"
