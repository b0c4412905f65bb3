"""Rings: the doorways between rooms. One writer, one reader, fixed memory, nobody ever waits.

Two counters, `WRITTEN` and `READ`, only grow (64 bits do not wrap in a machine's life); their
difference is what the ring holds. Each has one writer and a cache line pair of its own. The writer
copies first and then *releases* `WRITTEN`; the reader *acquires* `WRITTEN`, copies, and releases
`READ`. That pairing is the whole protocol (Lamport 1977, "Proving the correctness of multiprocess
programs"); `tests/rt/test_ring_model.py` walks every interleaving of it. Each side keeps a private
copy of the other's counter and looks again only when that copy says full or empty, so that in the
steady state no cache line moves but the data's own.

A ring is made for the worst minute and is almost empty in all others. So that it touches, and keeps
in the caches, only what it uses, it *rewinds*: a writer that has gone on for `REWIND_OCTETS` and finds
the ring empty begins again at the front of the store. `BASE` says which element lies there. It changes
only while the reader holds nothing, between the reader's release of `READ` and the writer's next release
of `WRITTEN`, so those two carry it across like any element.

Compiled code uses the functions, by the address of the control words. Python uses the classes. No
function loops or waits: each ends after a fixed number of its own steps and at most two copies.

=========  ======  =====================================================================
word       writer  meaning
=========  ======  =====================================================================
WRITTEN    writer  elements ever written
SEEN_READ  writer  its private copy of READ
REFUSED    writer  elements that did not fit, counted by the writer
BASE       writer  the element that lies, or lay, at the front of the store
LOOK       writer  from this element on it looks whether it may begin at the front again
READ       reader  elements ever read
SEEN_WRIT  reader  its private copy of WRITTEN
SEEN_BASE  reader  its private copy of BASE; right while SEEN_WRITTEN > READ
CAPACITY   nobody  elements; a power of two
WIDTH      nobody  octets per element
STORE      nobody  address of the elements
STRETCH    nobody  elements from one rewind to the next look
=========  ======  =====================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError
from rtmedia.ports import Block
from rtmedia.rt.builtin import API_DTYPE, CHANGEABLE, READABLE, builtin, call_1, data_of, is_array, length_of, memory_for, memory_of
from rtmedia.rt.kernel import copy_octets, kernel, load_acquire, pointer_void, store_release
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros, reserved_zeros, view_i8

WRITTEN, SEEN_READ, REFUSED, BASE, LOOK = 0, 1, 2, 3, 4
READ, SEEN_WRITTEN, SEEN_BASE = 16, 17, 18
CAPACITY, WIDTH, STORE, STRETCH = 32, 33, 34, 35
WORDS = 48

#: A page: less memory than that cannot be saved, and 64 cache lines between two rewinds make their price nothing.
REWIND_OCTETS = 4_096
#: Of a longer store so much is touched when it is made: the rest only where a reader has stalled, page by page.
READY_OCTETS = 16_384
NEVER = (1 << 63) - 1


@kernel("void(i8[::1], i8)", inline=True)
def _rewind(control, written):
    """Begin at the front of the store again if there is reason to and the ring is empty. Thread: the writer.

    Past LOOK that costs a look at READ before each write until the reader has caught up once.
    """
    if written >= control[LOOK]:
        if control[SEEN_READ] != written:
            control[SEEN_READ] = load_acquire(control, READ)
        if control[SEEN_READ] == written:  # the reader holds nothing, and so looks at BASE only after our next release
            control[BASE] = written
            control[LOOK] = written + control[STRETCH]


@kernel("i8(i8[::1], i8)", inline=True)
def _look_for_written(control, read):
    """Refresh the reader's private copies; returns how many elements wait. Thread: the reader."""
    written = load_acquire(control, WRITTEN)
    control[SEEN_WRITTEN] = written
    if written > read:  # an empty ring's BASE is the writer's to change
        control[SEEN_BASE] = control[BASE]
    return written - read


@kernel("i8(i8)", keep_gil=True)
def ring_readable(ring):
    """Elements waiting, as the reader sees it (never too many)."""
    control = view_i8(ring, WORDS)
    return load_acquire(control, WRITTEN) - control[READ]


@kernel("i8(i8)", keep_gil=True)
def ring_writable(ring):
    """Elements that fit, as the writer sees it (never too many). Thread: the writer."""
    control = view_i8(ring, WORDS)
    control[SEEN_READ] = load_acquire(control, READ)
    return control[CAPACITY] - (control[WRITTEN] - control[SEEN_READ])


@kernel("i8(i8)", keep_gil=True)
def ring_written(ring):
    """Elements ever written; any thread may ask."""
    return load_acquire(view_i8(ring, WORDS), WRITTEN)


@kernel("i8(i8)", keep_gil=True)
def ring_read_total(ring):
    """Elements ever read; any thread may ask."""
    return load_acquire(view_i8(ring, WORDS), READ)


@kernel("i8(i8)", keep_gil=True)
def ring_refused(ring):
    """Elements that did not fit; any thread may ask."""
    return load_acquire(view_i8(ring, WORDS), REFUSED)


@kernel("i8(i8, i8, i8)", keep_gil=True)
def ring_write(ring, source, count):
    """Copy up to `count` elements from address `source`; returns how many fitted.

    Thread: the writer.   Real-time: yes.
    """
    control = view_i8(ring, WORDS)
    written = control[WRITTEN]  # ours: a plain load
    capacity = control[CAPACITY]
    _rewind(control, written)
    free = capacity - (written - control[SEEN_READ])
    if free < count:
        control[SEEN_READ] = load_acquire(control, READ)
        free = capacity - (written - control[SEEN_READ])
    fitted = min(count, free)
    if fitted > 0:
        width = control[WIDTH]
        at = (written - control[BASE]) & (capacity - 1)
        first = min(fitted, capacity - at)
        copy_octets(control[STORE] + at * width, source, first * width)
        if fitted > first:
            copy_octets(control[STORE], source + first * width, (fitted - first) * width)
        store_release(control, WRITTEN, written + fitted)  # publish after the copy
    if fitted < count:
        store_release(control, REFUSED, control[REFUSED] + count - max(fitted, 0))  # others look at it
    return max(fitted, 0)


@kernel("i8(i8, i8, i8)", keep_gil=True)
def ring_read(ring, target, count):
    """Copy up to `count` elements to address `target`; returns how many there were.

    Thread: the reader.   Real-time: yes.
    """
    control = view_i8(ring, WORDS)
    read = control[READ]  # ours: a plain load
    ready = control[SEEN_WRITTEN] - read
    if ready < count:
        ready = _look_for_written(control, read)
    taken = min(count, ready)
    if taken > 0:
        capacity = control[CAPACITY]
        width = control[WIDTH]
        at = (read - control[SEEN_BASE]) & (capacity - 1)
        first = min(taken, capacity - at)
        copy_octets(target, control[STORE] + at * width, first * width)
        if taken > first:
            copy_octets(target + first * width, control[STORE], (taken - first) * width)
        store_release(control, READ, read + taken)  # give the room back after the copy
    return max(taken, 0)


@kernel("i8(i8)", keep_gil=True)
def ring_claim(ring):
    """Address of the next free element, or 0 when the ring is full. Fill it, then `ring_commit`.

    Thread: the writer.   Real-time: yes.
    """
    control = view_i8(ring, WORDS)
    written = control[WRITTEN]
    capacity = control[CAPACITY]
    _rewind(control, written)
    if written - control[SEEN_READ] >= capacity:
        control[SEEN_READ] = load_acquire(control, READ)
        if written - control[SEEN_READ] >= capacity:
            return 0
    return control[STORE] + ((written - control[BASE]) & (capacity - 1)) * control[WIDTH]


@kernel("void(i8)", keep_gil=True)
def ring_commit(ring):
    """Publish the element that `ring_claim` gave out."""
    control = view_i8(ring, WORDS)
    store_release(control, WRITTEN, control[WRITTEN] + 1)


@kernel("i8(i8)", keep_gil=True)
def ring_front(ring):
    """Address of the oldest element, or 0 when the ring is empty. Use it, then `ring_release`.

    Thread: the reader.   Real-time: yes.
    """
    control = view_i8(ring, WORDS)
    read = control[READ]
    if control[SEEN_WRITTEN] - read <= 0 and _look_for_written(control, read) <= 0:
        return 0
    return control[STORE] + ((read - control[SEEN_BASE]) & (control[CAPACITY] - 1)) * control[WIDTH]


@kernel("i8(i8, i8)", keep_gil=True)
def ring_peek(ring, index):
    """Address of the element `index` places behind the oldest, or 0 when there is none. Thread: the reader."""
    control = view_i8(ring, WORDS)
    read = control[READ]
    if control[SEEN_WRITTEN] - read <= index and _look_for_written(control, read) <= index:
        return 0
    return control[STORE] + ((read - control[SEEN_BASE] + index) & (control[CAPACITY] - 1)) * control[WIDTH]


@kernel("void(i8)", keep_gil=True)
def ring_release(ring):
    """Give back the element that `ring_front` showed."""
    control = view_i8(ring, WORDS)
    store_release(control, READ, control[READ] + 1)


@kernel("i8(i8, i8)", keep_gil=True)
def ring_skip(ring, count):
    """Throw away up to `count` of the oldest elements; returns how many went. Thread: the reader."""
    control = view_i8(ring, WORDS)
    read = control[READ]
    ready = control[SEEN_WRITTEN] - read
    if ready < count:
        ready = _look_for_written(control, read)
    gone = min(count, ready)
    if gone > 0:
        store_release(control, READ, read + gone)
    return max(gone, 0)


# Python's side: built-in functions, because ctypes costs several times the whole copy. All of a ring's share one memory.
# -1: look at what was given, it is not what this ring takes.

_PYTHON_DTYPE = np.dtype([*API_DTYPE.descr, *((name, "i8") for name in ("ring", "columns", "array_class", "dtype", "kept"))])


@kernel("b1(i8, i8, i8)", inline=True)
def _fits(given, memory, flags):
    """Whether an object is an array of this ring's elements: frames in rows, all others in a row."""
    p = carray(pointer_void(memory), 1, _PYTHON_DTYPE)[0]
    if p.columns == 0:
        return is_array(given, p.array_class, p.dtype, 1, flags)
    return is_array(given, p.array_class, p.dtype, 2, flags) and length_of(given, 1) == p.columns


@kernel("i8(i8, i8, i8)")
def python_readable(me, arguments, count):
    """readable() -> elements waiting"""
    p = carray(pointer_void(memory_of(me)), 1, _PYTHON_DTYPE)[0]
    return call_1(p.from_int64, ring_readable(p.ring))


@kernel("i8(i8, i8, i8)")
def python_writable(me, arguments, count):
    """writable() -> elements that fit"""
    p = carray(pointer_void(memory_of(me)), 1, _PYTHON_DTYPE)[0]
    return call_1(p.from_int64, ring_writable(p.ring))


@kernel("i8(i8, i8, i8)")
def python_write(me, arguments, count):
    """write(elements) -> how many fitted, or -1"""
    p = carray(pointer_void(memory_of(me)), 1, _PYTHON_DTYPE)[0]
    fitted = -1
    if count == 1:
        given = view_i8(arguments, 1)[0]
        if _fits(given, memory_of(me), READABLE):
            fitted = ring_write(p.ring, data_of(given), length_of(given, 0))
    return call_1(p.from_int64, fitted)


@kernel("i8(i8, i8, i8)")
def python_write_one(me, arguments, count):
    """write_one(array of one element) -> whether it fitted, or -1"""
    p = carray(pointer_void(memory_of(me)), 1, _PYTHON_DTYPE)[0]
    fitted = -1
    if count == 1:
        given = view_i8(arguments, 1)[0]
        if _fits(given, memory_of(me), READABLE) and length_of(given, 0) == 1:
            fitted = ring_write(p.ring, data_of(given), 1)
    return call_1(p.from_int64, fitted)


@kernel("i8(i8, i8, i8)")
def python_read(me, arguments, count):
    """read(out) -> how many elements there were, or -1"""
    p = carray(pointer_void(memory_of(me)), 1, _PYTHON_DTYPE)[0]
    taken = -1
    if count == 1:
        given = view_i8(arguments, 1)[0]
        if _fits(given, memory_of(me), CHANGEABLE):
            taken = ring_read(p.ring, data_of(given), length_of(given, 0))
    return call_1(p.from_int64, taken)


class _Ring:
    """Control words and store of one ring; the memory lives as long as this object."""

    def __init__(self, capacity: int, dtype: Any, columns: int = 0) -> None:
        self.dtype = np.dtype(dtype)
        width = self.dtype.itemsize * max(1, columns)
        if capacity < 2 or capacity & (capacity - 1):
            raise ConfigError(f"a ring's capacity is {capacity}; it must be a power of two and at least 2")
        if self.dtype.hasobject or not self.dtype.itemsize:
            raise ConfigError(f"a ring's elements are {self.dtype}; they must be plain octets, at least one: no Python objects")
        self.capacity = capacity
        self.store = reserved_zeros((capacity, columns) if columns > 1 else (capacity,), self.dtype, READY_OCTETS)
        self.control: npt.NDArray[np.int64] = aligned_zeros(WORDS, np.int64)
        self.control[CAPACITY] = capacity
        self.control[WIDTH] = width
        self.control[STORE] = self.store.ctypes.data
        self.control[STRETCH] = max(1, REWIND_OCTETS // width)
        self.control[LOOK] = self.control[STRETCH] if self.store.nbytes > REWIND_OCTETS else NEVER
        self.address = int(self.control.ctypes.data)
        numbers = {"ring": self.address, "columns": columns}
        self._memory = memory_for(_PYTHON_DTYPE, numbers, array_class=np.ndarray, dtype=self.dtype, kept=(self.control, self.store))
        self._readable: Callable[[], int] = builtin(python_readable, self._memory)

    @property
    def readable(self) -> int:
        """Elements waiting. Thread: the reader."""
        return self._readable()

    @property
    def writable(self) -> int:
        """Elements that fit. Thread: the writer."""
        return int(ring_writable(self.address))

    @property
    def written_total(self) -> int:
        """Elements ever written. Thread: any."""
        return int(ring_written(self.address))

    @property
    def refused_total(self) -> int:
        """Elements that did not fit. Thread: any."""
        return int(ring_refused(self.address))


class FrameRing(_Ring):
    """A ring of frames: float32 ``(frames, channels)``.

    Parameters
    ----------
    capacity_frames : int
        A power of two.
    channels : int

    Notes
    -----
    Thread: one thread writes, one reads.   Real-time: yes; from Python a call is that of a built-in function.
    """

    def __init__(self, capacity_frames: int, channels: int = 1) -> None:
        if channels < 1:
            raise ConfigError(f"channels is {channels}; a ring of frames has at least 1")
        super().__init__(capacity_frames, np.float32, columns=channels)
        self.channels = channels
        self._write: Callable[[Block], int] = builtin(python_write, self._memory)
        self._read: Callable[[Block], int] = builtin(python_read, self._memory)

    def write(self, block: Block) -> int:
        """Append frames; returns how many fitted. What did not fit is counted in `refused_total`."""
        fitted = self._write(block)
        if fitted < 0:  # another class of array, or one that is not aligned, may be right all the same
            self._check(block)
            fitted = ring_write(self.address, block.ctypes.data, block.shape[0])
        return fitted

    def read(self, out: Block) -> int:
        """Fill the start of `out`; returns how many frames there were."""
        taken = self._read(out)
        if taken < 0:
            self._check(out)
            if not out.flags.writeable:
                raise ConfigError("out is read-only; read into a block that may be changed, or a copy")
            taken = ring_read(self.address, out.ctypes.data, out.shape[0])
        return taken

    def _check(self, block: Block) -> None:
        """Say what is wrong with `block`, if it is its layout."""
        if (
            not isinstance(block, np.ndarray)
            or block.dtype != np.float32
            or block.ndim != 2
            or block.shape[1] != self.channels
            or not block.flags.c_contiguous
        ):
            what = f"{block.dtype} {block.shape}" if isinstance(block, np.ndarray) else type(block).__name__
            raise ConfigError(
                f"block is {what}; this ring takes C-ordered float32 (frames, {self.channels}): "
                "convert with numpy.ascontiguousarray(block, numpy.float32)"
            )


class OctetRing(_Ring):
    """A ring of octets: payloads of any length, one after another. Read and written by compiled code.

    Notes
    -----
    Thread: one thread writes, one reads.   Real-time: yes.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity, np.uint8)


class RecordRing(_Ring):
    """A ring of records of one structured dtype.

    Notes
    -----
    Thread: one thread writes, one reads.   Real-time: yes (claim, commit, front, release, from compiled code).
    """

    def __init__(self, capacity: int, dtype: Any) -> None:
        super().__init__(capacity, dtype)
        self._nothing: npt.NDArray[Any] = np.empty(0, self.dtype)
        self._write_one: Callable[[npt.NDArray[Any]], int] = builtin(python_write_one, self._memory)
        self._read: Callable[[npt.NDArray[Any]], int] = builtin(python_read, self._memory)

    def write(self, record: npt.NDArray[Any]) -> bool:
        """Append a copy of a one-record array; False when the ring is full."""
        fitted = self._write_one(record)
        if fitted < 0:  # a record of an array, an equal dtype, another shape: or none
            if (record.dtype is not self.dtype and record.dtype != self.dtype) or record.size != 1:
                raise ConfigError(f"record is {record.dtype} of size {record.size}; this ring takes one {self.dtype}")
            outgoing: npt.NDArray[Any] = np.empty(1, self.dtype)
            outgoing[0] = record if record.ndim == 0 else record.flat[0]
            fitted = self._write_one(outgoing)
        return fitted == 1

    def read(self, limit: int = 1) -> npt.NDArray[Any]:
        """Take up to `limit` records, oldest first. What is empty is one array for ever."""
        waiting = self._readable()
        if not waiting:
            return self._nothing
        out = np.empty(waiting if waiting < limit else limit, self.dtype)
        self._read(out)  # so many are there
        return out
