"""What does it cost to hand a 10 ms block, or a record, to another room through a ring?

Peers: the ring from Python, the ring from compiled code (where the rooms run), ``queue.SimpleQueue`` and
``collections.deque`` with a copy on each side as the ring makes it, and the least that any of them can cost:
two plain copies. One thread shows the cost of the calls, two threads what crosses between cores, and the
round trip how long an answer takes when both sides are waiting for it.
"""

from __future__ import annotations

import collections
import queue
import threading
import time
from collections.abc import Callable

import numpy as np
from _bench import Row, arguments, compare, interleaved, report

from rtmedia.rt.clock import now_ns, sleep_ns
from rtmedia.rt.kernel import copy_octets, kernel
from rtmedia.rt.ring import FrameRing, RecordRing, ring_claim, ring_commit, ring_front, ring_read, ring_release, ring_write

BLOCK_MS = 10.0
RECORD = np.dtype([("arrival_ns", "i8"), ("seq", "i8"), ("media_time", "i8"), ("flags", "i8")])

# Compiled peers. Blocks come from and go to memory that is as warm in all of them.


@kernel("void(i8, i8, i8, i8, i8)")
def through_ring(ring, source, target, frames, times):
    for _ in range(times):
        ring_write(ring, source, frames)
        ring_read(ring, target, frames)


@kernel("void(i8, i8, i8, i8, i8)")
def two_copies(between, source, target, octets, times):
    for i in range(times):
        place = between + (i & 7) * octets  # as the ring moves on through its store
        copy_octets(place, source, octets)
        copy_octets(target, place, octets)


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


PATIENCE = 20_000  # looks at a full or empty ring before a thread gives its core away: the two sides may share one


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


def beside(other: Callable[[], None], mine: Callable[[], None]) -> None:
    """Run `other` on a second thread and `mine` here; returns when both are done."""
    thread = threading.Thread(target=other)
    thread.start()
    mine()
    thread.join()


def repeated(times: int, call: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            call()

    return run


def one_thread(frames: int, rounds: int, times: int) -> list[Row]:
    ring = FrameRing(4096)
    block, out = np.ones((frames, 1), np.float32), np.zeros((frames, 1), np.float32)
    between = np.zeros((8 * frames, 1), np.float32)
    at = (block.ctypes.data, out.ctypes.data)
    simple: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()
    double: collections.deque[np.ndarray] = collections.deque()
    part = between[:frames]

    def by_ring() -> None:
        ring.write(block)
        ring.read(out)

    def by_address() -> None:
        ring_write(ring.address, at[0], frames)
        ring_read(ring.address, at[1], frames)

    def by_queue() -> None:
        simple.put(block.copy())
        np.copyto(out, simple.get())

    def by_deque() -> None:
        double.append(block.copy())
        np.copyto(out, double.popleft())

    def by_copies() -> None:
        np.copyto(part, block)
        np.copyto(out, part)

    python = interleaved(
        {
            "two numpy.copyto": repeated(times, by_copies),
            "FrameRing.write + read": repeated(times, by_ring),
            "ring_write + ring_read by address": repeated(times, by_address),
            "SimpleQueue put + get, copied": repeated(times, by_queue),
            "deque append + popleft, copied": repeated(times, by_deque),
        },
        rounds=rounds,
        operations=times,
    )
    many = times * 10
    compiled = interleaved(
        {
            "two memcpy": lambda: two_copies(between.ctypes.data, *at, frames * 4, many),
            "ring_write + ring_read": lambda: through_ring(ring.address, *at, frames, many),
        },
        rounds=rounds,
        operations=many,
    )
    return [
        *compare(f"{frames} frames, one thread, from Python", python, "two numpy.copyto", block_ms=BLOCK_MS),
        *compare(f"{frames} frames, one thread, compiled", compiled, "two memcpy", block_ms=BLOCK_MS),
    ]


def two_threads(frames: int, rounds: int, times: int) -> list[Row]:
    ring = FrameRing(16_384)
    block, out = np.ones((frames, 1), np.float32), np.zeros((frames, 1), np.float32)
    between = np.zeros((8 * frames, 1), np.float32)
    at = (block.ctypes.data, out.ctypes.data)
    simple: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()
    double: collections.deque[np.ndarray] = collections.deque()

    def ring_writer() -> None:
        left = frames * times
        while left:
            sent = ring.write(block[: min(frames, left)])
            left -= sent
            if not sent:
                time.sleep(0)

    def ring_reader() -> None:
        left = frames * times
        while left:
            taken = ring.read(out[: min(frames, left)])
            left -= taken
            if not taken:
                time.sleep(0)

    def deque_reader() -> None:
        left = times
        while left:
            if double:
                np.copyto(out, double.popleft())
                left -= 1
            else:
                time.sleep(0)

    many = times * 100

    def timed(call: Callable[[], None], operations: int) -> Callable[[], float]:
        def run() -> float:
            before = time.perf_counter_ns()
            call()
            return (time.perf_counter_ns() - before) / operations

        return run

    peers = {
        "two memcpy on one thread, compiled": timed(lambda: two_copies(between.ctypes.data, *at, frames * 4, many), many),
        "ring, compiled": timed(
            lambda: beside(lambda: write_blocks(ring.address, at[0], frames, many), lambda: read_blocks(ring.address, at[1], frames, many)),
            many,
        ),
        "FrameRing, from Python": timed(lambda: beside(ring_writer, ring_reader), times),
        "SimpleQueue, copied, from Python": timed(
            lambda: beside(repeated(times, lambda: simple.put(block.copy())), repeated(times, lambda: np.copyto(out, simple.get()))), times
        ),
        "deque, copied, from Python": timed(lambda: beside(repeated(times, lambda: double.append(block.copy())), deque_reader), times),
    }
    measured = interleaved(peers, rounds=rounds)
    return compare(f"{frames} frames, two threads, per block", measured, "two memcpy on one thread, compiled", block_ms=BLOCK_MS)


def records(rounds: int, times: int) -> list[Row]:
    ring = RecordRing(64, RECORD)
    record, scratch = np.zeros(1, RECORD), np.zeros(8, np.int64)
    simple: queue.SimpleQueue[tuple[int, int, int, int]] = queue.SimpleQueue()
    double: collections.deque[tuple[int, int, int, int]] = collections.deque()

    def by_ring() -> None:
        ring.write(record)
        ring.read(1)

    def by_queue() -> None:
        simple.put((1, 2, 3, 4))
        simple.get()

    def by_deque() -> None:
        double.append((1, 2, 3, 4))
        double.popleft()

    many = times * 10

    def in_place() -> float:
        before = now_ns()
        records_in_place(ring.address, scratch.ctypes.data, many)
        return (now_ns() - before) / many

    times_of = interleaved(
        {
            "deque of tuples": repeated(times, by_deque),
            "SimpleQueue of tuples": repeated(times, by_queue),
            "RecordRing.write + read": repeated(times, by_ring),
            "claim, commit, front, release, compiled": in_place,
        },
        rounds=rounds,
        operations=times,
    )
    return compare("one record, one thread", times_of, "deque of tuples")


def round_trips(rounds: int, times: int) -> list[Row]:
    there, back = RecordRing(4, RECORD), RecordRing(4, RECORD)
    scratches = np.zeros((2, 16), np.int64)
    mine, other = (int(row.ctypes.data) for row in scratches)
    question: queue.SimpleQueue[int] = queue.SimpleQueue()
    reply: queue.SimpleQueue[int] = queue.SimpleQueue()

    def by_queue() -> float:
        def echo() -> None:
            for _ in range(times):
                reply.put(question.get())

        took = 0

        def call() -> None:
            nonlocal took
            before = time.perf_counter_ns()
            for number in range(times):
                question.put(number)
                reply.get()
            took = time.perf_counter_ns() - before

        beside(echo, call)
        return took / times

    def by_ring(patience: int) -> float:
        took = 0

        def call() -> None:
            nonlocal took
            took = ask(there.address, back.address, mine, patience, times)

        beside(lambda: answer(there.address, back.address, other, patience, times), call)
        return took / times

    times_of = interleaved(
        {
            "two SimpleQueues, from Python": by_queue,
            "two rings, compiled, sleeping 1 us": lambda: by_ring(0),
            "two rings, compiled, spinning first": lambda: by_ring(PATIENCE),
        },
        rounds=rounds,
    )
    return compare("one record there and back between two threads", times_of, "two SimpleQueues, from Python")


def main() -> None:
    asked = arguments(__doc__ or "")
    rounds, times = (2, 3) if asked.tiny else (200, 200)
    rows: list[Row] = []
    for frames in (160, 480):
        rows += one_thread(frames, rounds, times)
        rows += two_threads(frames, max(2, rounds // 8), times)
    rows += records(rounds, times)
    rows += round_trips(max(2, rounds // 8), times)
    report(__doc__ or "", rows, asked)


if __name__ == "__main__":
    main()
