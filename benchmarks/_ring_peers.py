"""Other people's queues and rings, each as two calls: hand a block over, take one into an array.

Each copies on both sides, as a ring must: the block that was handed over may be filled again at once, and what is
taken lies where the taker wants it. A peer that is not installed is left out and named.
"""

from __future__ import annotations

import collections
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _bench import optional

#: pa-ringbuffer binds PortAudio's ring in C through cffi and needs a library that holds it: rtmixer is one.
MISSING = tuple(
    name
    for name, modules in (("pa-ringbuffer", ("pa_ringbuffer", "_rtmixer")), ("ringbuf", ("ringbuf",)))
    if not all(map(optional, modules))
)


@dataclass(frozen=True)
class Peer:
    """`give` takes a whole block; `take` fills `out` and returns whether a block was there."""

    give: Callable[[Any], object]
    take: Callable[[Any], bool]


@dataclass(frozen=True)
class CRing:
    """PortAudio's ring by the addresses of its functions, for compiled code."""

    ring: int
    write: int
    read: int
    kept: Any  # alive


def _simple() -> Peer:
    waiting: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()

    def take(out: np.ndarray) -> bool:
        np.copyto(out, waiting.get())  # waits, as it is meant to be used
        return True

    return Peer(lambda block: waiting.put(block.copy()), take)


def _deque() -> Peer:
    waiting: collections.deque[np.ndarray] = collections.deque()

    def take(out: np.ndarray) -> bool:
        if not waiting:
            return False
        np.copyto(out, waiting.popleft())
        return True

    return Peer(lambda block: waiting.append(block.copy()), take)


def _pa_ring(capacity: int) -> Any:
    binding, library = optional("pa_ringbuffer"), optional("_rtmixer")
    return binding.init(library.ffi, library.lib)(4, capacity)


def _portaudio(frames: int) -> Peer:
    ring = _pa_ring(4_096)

    def give(block: np.ndarray) -> None:
        while ring.write_available < frames:
            time.sleep(0)
        ring.write(block)

    def take(out: np.ndarray) -> bool:
        if ring.read_available < frames:
            return False
        ring.readinto(out)
        return True

    return Peer(give, take)


def _ringbuf(frames: int) -> Peer:
    ring = optional("ringbuf").RingBuffer(format="f", capacity=4_096)

    def give(block: np.ndarray) -> None:
        while ring.write_available < frames:
            time.sleep(0)
        ring.push(block.reshape(-1))

    def take(out: np.ndarray) -> bool:
        if ring.read_available < frames:
            return False
        np.copyto(out, np.asarray(ring.pop(frames)).reshape(-1, 1))
        return True

    return Peer(give, take)


def python_peers(frames: int) -> dict[str, Peer]:
    """All that are installed, for blocks of `frames` mono frames."""
    peers = {"SimpleQueue, copied": _simple(), "deque, copied": _deque()}
    if "pa-ringbuffer" not in MISSING:
        peers["pa-ringbuffer"] = _portaudio(frames)
    if "ringbuf" not in MISSING:
        peers["ringbuf"] = _ringbuf(frames)
    return peers


def c_ring(capacity: int) -> CRing | None:
    """PortAudio's ring of float32 for compiled callers, or None where it is not installed."""
    if "pa-ringbuffer" in MISSING:
        return None
    ring, library = _pa_ring(capacity), optional("_rtmixer")

    def address(thing: Any) -> int:
        return int(library.ffi.cast("intptr_t", thing))

    write, read = (library.ffi.addressof(library.lib, f"PaUtil_{name}RingBuffer") for name in ("Write", "Read"))
    return CRing(address(ring._ptr), address(write), address(read), ring)
