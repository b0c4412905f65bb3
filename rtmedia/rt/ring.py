"""Rings: the doorways between rooms. One writer, one reader, fixed memory, nobody ever waits.

Two counters, `WRITTEN` and `READ`, only grow (64 bits do not wrap in a machine's life); their
difference is what the ring holds. Each has one writer and a cache line pair of its own. The writer
copies first and then *releases* `WRITTEN`; the reader *acquires* `WRITTEN`, copies, and releases
`READ`. That pairing is the whole protocol (Lamport 1977, "Proving the correctness of multiprocess
programs"); `tests/rt/test_ring_model.py` walks every interleaving of it. Each side keeps a private
copy of the other's counter and looks again only when that copy says full or empty, so that in the
steady state no cache line moves but the data's own.

Compiled code uses the functions, by the address of the control words. Python uses the classes.

=========  ======  =====================================================================
word       writer  meaning
=========  ======  =====================================================================
WRITTEN    writer  elements ever written
SEEN_READ  writer  its private copy of READ
REFUSED    writer  elements that did not fit, counted by the writer
READ       reader  elements ever read
SEEN_WRIT  reader  its private copy of WRITTEN
CAPACITY   nobody  elements; a power of two
WIDTH      nobody  octets per element
STORE      nobody  address of the elements
=========  ======  =====================================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError
from rtmedia.ports import Block
from rtmedia.rt.kernel import copy_octets, kernel, load_acquire, store_release
from rtmedia.rt.memory import aligned_zeros, view_i8

WRITTEN, SEEN_READ, REFUSED = 0, 1, 2
READ, SEEN_WRITTEN = 16, 17
CAPACITY, WIDTH, STORE = 32, 33, 34
WORDS = 48


@kernel("i8(i8)")
def ring_readable(ring):
    """Elements waiting, as the reader sees it (never too many)."""
    control = view_i8(ring, WORDS)
    return load_acquire(control, WRITTEN) - control[READ]


@kernel("i8(i8)")
def ring_writable(ring):
    """Elements that fit, as the writer sees it (never too many)."""
    control = view_i8(ring, WORDS)
    return control[CAPACITY] - (control[WRITTEN] - load_acquire(control, READ))


@kernel("i8(i8)")
def ring_written(ring):
    """Elements ever written; any thread may ask."""
    return load_acquire(view_i8(ring, WORDS), WRITTEN)


@kernel("i8(i8)")
def ring_read_total(ring):
    """Elements ever read; any thread may ask."""
    return load_acquire(view_i8(ring, WORDS), READ)


@kernel("i8(i8, i8, i8)")
def ring_write(ring, source, count):
    """Copy up to `count` elements from address `source`; returns how many fitted.

    Thread: the writer.   Real-time: yes.
    """
    control = view_i8(ring, WORDS)
    written = control[WRITTEN]  # ours: a plain load
    capacity = control[CAPACITY]
    free = capacity - (written - control[SEEN_READ])
    if free < count:
        control[SEEN_READ] = load_acquire(control, READ)
        free = capacity - (written - control[SEEN_READ])
    fitted = min(count, free)
    if fitted > 0:
        width = control[WIDTH]
        at = written & (capacity - 1)
        first = min(fitted, capacity - at)
        copy_octets(control[STORE] + at * width, source, first * width)
        if fitted > first:
            copy_octets(control[STORE], source + first * width, (fitted - first) * width)
        store_release(control, WRITTEN, written + fitted)  # publish after the copy
    if fitted < count:
        control[REFUSED] += count - max(fitted, 0)
    return max(fitted, 0)


@kernel("i8(i8, i8, i8)")
def ring_read(ring, target, count):
    """Copy up to `count` elements to address `target`; returns how many there were.

    Thread: the reader.   Real-time: yes.
    """
    control = view_i8(ring, WORDS)
    read = control[READ]  # ours: a plain load
    ready = control[SEEN_WRITTEN] - read
    if ready < count:
        control[SEEN_WRITTEN] = load_acquire(control, WRITTEN)
        ready = control[SEEN_WRITTEN] - read
    taken = min(count, ready)
    if taken > 0:
        capacity = control[CAPACITY]
        width = control[WIDTH]
        at = read & (capacity - 1)
        first = min(taken, capacity - at)
        copy_octets(target, control[STORE] + at * width, first * width)
        if taken > first:
            copy_octets(target + first * width, control[STORE], (taken - first) * width)
        store_release(control, READ, read + taken)  # give the room back after the copy
    return max(taken, 0)


@kernel("i8(i8)")
def ring_claim(ring):
    """Address of the next free element, or 0 when the ring is full. Fill it, then `ring_commit`.

    Thread: the writer.   Real-time: yes.
    """
    control = view_i8(ring, WORDS)
    written = control[WRITTEN]
    capacity = control[CAPACITY]
    if written - control[SEEN_READ] >= capacity:
        control[SEEN_READ] = load_acquire(control, READ)
        if written - control[SEEN_READ] >= capacity:
            return 0
    return control[STORE] + (written & (capacity - 1)) * control[WIDTH]


@kernel("void(i8)")
def ring_commit(ring):
    """Publish the element that `ring_claim` gave out."""
    control = view_i8(ring, WORDS)
    store_release(control, WRITTEN, control[WRITTEN] + 1)


@kernel("i8(i8)")
def ring_front(ring):
    """Address of the oldest element, or 0 when the ring is empty. Use it, then `ring_release`.

    Thread: the reader.   Real-time: yes.
    """
    control = view_i8(ring, WORDS)
    read = control[READ]
    if control[SEEN_WRITTEN] - read <= 0:
        control[SEEN_WRITTEN] = load_acquire(control, WRITTEN)
        if control[SEEN_WRITTEN] - read <= 0:
            return 0
    return control[STORE] + (read & (control[CAPACITY] - 1)) * control[WIDTH]


@kernel("i8(i8, i8)")
def ring_peek(ring, index):
    """Address of the element `index` places behind the oldest, or 0 when there is none. Thread: the reader."""
    control = view_i8(ring, WORDS)
    read = control[READ]
    if control[SEEN_WRITTEN] - read <= index:
        control[SEEN_WRITTEN] = load_acquire(control, WRITTEN)
        if control[SEEN_WRITTEN] - read <= index:
            return 0
    return control[STORE] + ((read + index) & (control[CAPACITY] - 1)) * control[WIDTH]


@kernel("void(i8)")
def ring_release(ring):
    """Give back the element that `ring_front` showed."""
    control = view_i8(ring, WORDS)
    store_release(control, READ, control[READ] + 1)


@kernel("i8(i8, i8)")
def ring_skip(ring, count):
    """Throw away up to `count` of the oldest elements; returns how many went. Thread: the reader."""
    control = view_i8(ring, WORDS)
    gone = min(count, load_acquire(control, WRITTEN) - control[READ])
    if gone > 0:
        store_release(control, READ, control[READ] + gone)
    return max(gone, 0)


class _Ring:
    """Control words and store of one ring; the memory lives as long as this object."""

    def __init__(self, capacity: int, dtype: Any, columns: int = 0) -> None:
        if capacity < 2 or capacity & (capacity - 1):
            raise ConfigError(f"a ring's capacity is {capacity}; it must be a power of two and at least 2")
        self.dtype = np.dtype(dtype)
        self.capacity = capacity
        self.store = aligned_zeros((capacity, columns) if columns else (capacity,), self.dtype)
        self.control: npt.NDArray[np.int64] = aligned_zeros(WORDS, np.int64)
        self.control[CAPACITY] = capacity
        self.control[WIDTH] = self.dtype.itemsize * max(1, columns)
        self.control[STORE] = self.store.ctypes.data
        self.address = int(self.control.ctypes.data)

    @property
    def readable(self) -> int:
        """Elements waiting. Thread: the reader."""
        return int(ring_readable(self.address))

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
        """Elements that did not fit. Thread: any; exact for the writer."""
        return int(self.control[REFUSED])


class FrameRing(_Ring):
    """A ring of frames: float32 ``(frames, channels)``.

    Parameters
    ----------
    capacity_frames : int
        A power of two.
    channels : int

    Notes
    -----
    Thread: one thread writes, one reads.   Real-time: yes; from Python each call allocates its wrappers.
    """

    def __init__(self, capacity_frames: int, channels: int = 1) -> None:
        super().__init__(capacity_frames, np.float32, columns=channels)
        self.channels = channels

    def _check(self, block: Block) -> None:
        if block.dtype != np.float32 or block.ndim != 2 or block.shape[1] != self.channels or not block.flags.c_contiguous:
            raise ConfigError(f"block is {block.dtype} {block.shape}; this ring takes C-ordered float32 (frames, {self.channels})")

    def write(self, block: Block) -> int:
        """Append frames; returns how many fitted. What did not fit is counted in `refused_total`."""
        self._check(block)
        return int(ring_write(self.address, block.ctypes.data, block.shape[0]))

    def read(self, out: Block) -> int:
        """Fill the start of `out`; returns how many frames there were."""
        self._check(out)
        return int(ring_read(self.address, out.ctypes.data, out.shape[0]))


class OctetRing(_Ring):
    """A ring of octets: payloads of any length, one after another. Read and written by compiled code."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity, np.uint8)


class RecordRing(_Ring):
    """A ring of records of one structured dtype.

    Notes
    -----
    Thread: one thread writes, one reads.   Real-time: yes (claim, commit, front, release, from compiled code).
    """

    def write(self, record: npt.NDArray[Any]) -> bool:
        """Append a copy of a one-record array; False when the ring is full."""
        if record.dtype != self.dtype or record.size != 1:
            raise ConfigError(f"record is {record.dtype} of size {record.size}; this ring takes one {self.dtype}")
        source = np.ascontiguousarray(record)
        return bool(ring_write(self.address, source.ctypes.data, 1))

    def read(self, limit: int = 1) -> npt.NDArray[Any]:
        """Take up to `limit` records, oldest first."""
        out = np.empty(limit, self.dtype)
        return out[: ring_read(self.address, out.ctypes.data, limit)]
