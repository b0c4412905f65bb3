"""Compiled loops of the ring's benchmark: the ring, PortAudio's ring, and memcpy, over memory that is as warm in all of them."""

from __future__ import annotations

from rtmedia.rt.clock import now_ns, sleep_ns
from rtmedia.rt.kernel import call_codec, copy_octets, kernel
from rtmedia.rt.ring import ring_claim, ring_commit, ring_front, ring_read, ring_release, ring_write

#: Looks at a full or empty ring before a thread gives its core away: the two sides may share one.
PATIENCE = 20_000


@kernel("void(i8, i8, i8, i8, i8)")
def through_ring(ring, source, target, frames, times):
    for _ in range(times):
        ring_write(ring, source, frames)
        ring_read(ring, target, frames)


@kernel("void(i8, i8, i8, i8, i8, i8, i8)")
def through_c_ring(write, read, ring, source, target, frames, times):
    """The same by two C functions ``(ring, memory, count)`` at addresses."""
    for _ in range(times):
        call_codec(write, ring, source, frames, 0, 0)  # a C function that takes less leaves the rest alone
        call_codec(read, ring, target, frames, 0, 0)


@kernel("void(i8, i8, i8, i8, i8)")
def two_copies(between, source, target, octets, times):
    for i in range(times):
        place = between + (i & 7) * octets  # as the ring moves on through its store
        copy_octets(place, source, octets)
        copy_octets(target, place, octets)


@kernel("void(i8, i8, i8, i8)")
def one_copy(between, source, octets, times):
    for i in range(times):
        copy_octets(between + (i & 7) * octets, source, octets)


@kernel("void(i8, i8, i8)")
def records_in_place(ring, octets, times):
    for _ in range(times):
        at = ring_claim(ring)
        if at != 0:
            copy_octets(at, octets, 8)
            ring_commit(ring)
        at = ring_front(ring)
        if at != 0:
            copy_octets(octets, at, 8)
            ring_release(ring)


@kernel("void(i8, i8, i8, i8)")
def write_blocks(ring, source, frames, times):
    left, looks = frames * times, 0
    while left > 0:
        sent = ring_write(ring, source, min(left, frames))
        left -= sent
        looks = looks + 1 if sent == 0 else 0
        if looks > PATIENCE:
            sleep_ns(1_000)


@kernel("void(i8, i8, i8, i8)")
def read_blocks(ring, target, frames, times):
    left, looks = frames * times, 0
    while left > 0:
        taken = ring_read(ring, target, min(left, frames))
        left -= taken
        looks = looks + 1 if taken == 0 else 0
        if looks > PATIENCE:
            sleep_ns(1_000)


@kernel("void(i8, i8, i8, i8, i8)")
def move_blocks(function, ring, memory, frames, times):
    """One side of a C ring: `function` writes to it or reads from it."""
    left, looks = frames * times, 0
    while left > 0:
        moved = call_codec(function, ring, memory, min(left, frames), 0, 0)
        left -= moved
        looks = looks + 1 if moved == 0 else 0
        if looks > PATIENCE:
            sleep_ns(1_000)


@kernel("i8(i8, i8, i8)")
def wait_and_take(ring, scratch, patience):
    spins = 0
    while ring_read(ring, scratch, 1) == 0:
        spins += 1
        if spins > patience:
            sleep_ns(1_000)
    return spins


@kernel("i8(i8, i8, i8, i8, i8)")
def ask(there, back, scratch, patience, times):
    before = now_ns()
    for _ in range(times):
        ring_write(there, scratch, 1)
        wait_and_take(back, scratch, patience)
    return now_ns() - before


@kernel("void(i8, i8, i8, i8, i8)")
def answer(there, back, scratch, patience, times):
    for _ in range(times):
        wait_and_take(there, scratch, patience)
        ring_write(back, scratch, 1)
