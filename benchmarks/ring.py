"""What does it cost to hand a 10 ms block, or a record, to another room through a ring?

Peers: the ring from Python and from compiled code (where the rooms run), ``queue.SimpleQueue`` and ``collections.deque``
with a copy on each side as a ring makes it, pa-ringbuffer (PortAudio's ring in C: from Python through cffi, and its
functions called from compiled code), ringbuf (boost's lock-free queue), and the least that any of them can cost: memcpy.
One thread shows the cost of the calls, two threads what crosses between cores, and the round trip how long an answer takes
when both sides are waiting for it. The target: a block written and read by compiled code costs at most three times the
memcpy of its octets and 50 ns.

``--plot FOLDER`` draws the figures. Peers that are not installed are named.
"""

from __future__ import annotations

import collections
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _bench import Row, Target, compare, interleaved, parser_for, report
from _ring_kernels import (
    PATIENCE,
    answer,
    ask,
    move_blocks,
    one_copy,
    read_blocks,
    records_in_place,
    through_c_ring,
    through_ring,
    two_copies,
    write_blocks,
)
from _ring_peers import MISSING, Peer, c_ring, python_peers

from rtmedia.rt.clock import now_ns
from rtmedia.rt.ring import FrameRing, RecordRing, ring_read, ring_write

BLOCK_MS = 10.0
RECORD = np.dtype([("arrival_ns", "i8"), ("seq", "i8"), ("media_time", "i8"), ("flags", "i8")])
#: At most so many times a memcpy of the octets, and so much besides.
LIMIT_TIMES, LIMIT_NS = 3.0, 50.0


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


def blocks_of(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """What is handed over, and where it arrives."""
    return np.ones((frames, 1), np.float32), np.zeros((frames, 1), np.float32)


def from_python(frames: int, rounds: int, times: int) -> list[Row]:
    """One thread, each call made by the interpreter."""
    ring = FrameRing(4_096)
    block, out = blocks_of(frames)
    part = np.zeros((frames, 1), np.float32)
    at = block.ctypes.data, out.ctypes.data

    def by_copies() -> None:
        np.copyto(part, block)
        np.copyto(out, part)

    def by_ring() -> None:
        ring.write(block)
        ring.read(out)

    def by_address() -> None:
        ring_write(ring.address, at[0], frames)
        ring_read(ring.address, at[1], frames)

    def by(peer: Peer) -> Callable[[], None]:
        def call() -> None:
            peer.give(block)
            peer.take(out)

        return call

    peers = {"two numpy.copyto": by_copies, "FrameRing.write + read": by_ring, "ring_write + ring_read by address": by_address}
    peers |= {name: by(peer) for name, peer in python_peers(frames).items()}
    measured = interleaved({name: repeated(times, call) for name, call in peers.items()}, rounds=rounds, operations=times)
    return compare(f"{frames} frames, one thread, from Python", measured, "two numpy.copyto", block_ms=BLOCK_MS)


def compiled(frames: int, rounds: int, times: int) -> tuple[list[Row], dict[str, Any]]:
    """One thread, each call made by compiled code; and whether the ring keeps to the limit."""
    ring, theirs = FrameRing(4_096), c_ring(4_096)
    block, out = blocks_of(frames)
    between = np.zeros((8 * frames, 1), np.float32)
    at = block.ctypes.data, out.ctypes.data
    peers: dict[str, Callable[[], Any]] = {
        "one memcpy": lambda: one_copy(between.ctypes.data, at[0], frames * 4, times),
        "two memcpy": lambda: two_copies(between.ctypes.data, *at, frames * 4, times),
        "ring_write + ring_read": lambda: through_ring(ring.address, *at, frames, times),
    }
    if theirs is not None:
        peers["pa-ringbuffer's C functions"] = lambda: through_c_ring(theirs.write, theirs.read, theirs.ring, *at, frames, times)
    measured = interleaved(peers, rounds=rounds, operations=times)
    rows = compare(f"{frames} frames, one thread, compiled", measured, "two memcpy", block_ms=BLOCK_MS)
    copy_ns, ring_ns = (float(np.median(measured[name])) for name in ("one memcpy", "ring_write + ring_read"))
    limit_ns = LIMIT_TIMES * copy_ns + LIMIT_NS
    kept = "yes" if ring_ns <= limit_ns else "NO"
    return rows, {"frames": frames, "memcpy_ns": copy_ns, "ring_ns": ring_ns, "limit_ns": limit_ns, "kept": kept}


def two_threads(frames: int, rounds: int, times: int) -> list[Row]:
    """A writer and a reader on a thread each, for one block."""
    ring, theirs = FrameRing(16_384), c_ring(16_384)
    block, out = blocks_of(frames)
    between = np.zeros((8 * frames, 1), np.float32)
    at = block.ctypes.data, out.ctypes.data
    many = times * 100

    def by_frame_ring() -> None:
        def write() -> None:
            left = frames * times
            while left:
                sent = ring.write(block[: min(frames, left)])
                left -= sent
                if not sent:
                    time.sleep(0)

        def read() -> None:
            left = frames * times
            while left:
                taken = ring.read(out[: min(frames, left)])
                left -= taken
                if not taken:
                    time.sleep(0)

        beside(write, read)

    def by(peer: Peer) -> Callable[[], None]:
        def read() -> None:
            left = times
            while left:
                if peer.take(out):
                    left -= 1
                else:
                    time.sleep(0)

        return lambda: beside(repeated(times, lambda: peer.give(block)), read)

    def by_ring() -> None:
        beside(lambda: write_blocks(ring.address, at[0], frames, many), lambda: read_blocks(ring.address, at[1], frames, many))

    def timed(call: Callable[[], None], operations: int) -> Callable[[], float]:
        def run() -> float:
            before = time.perf_counter_ns()
            call()
            return (time.perf_counter_ns() - before) / operations

        return run

    peers = {
        "two memcpy on one thread, compiled": timed(lambda: two_copies(between.ctypes.data, *at, frames * 4, many), many),
        "ring, compiled": timed(by_ring, many),
    }
    if theirs is not None:

        def by_c_ring() -> None:
            beside(
                lambda: move_blocks(theirs.write, theirs.ring, at[0], frames, many),
                lambda: move_blocks(theirs.read, theirs.ring, at[1], frames, many),
            )

        peers["pa-ringbuffer's C functions, compiled"] = timed(by_c_ring, many)
    peers["FrameRing, from Python"] = timed(by_frame_ring, times)
    peers |= {f"{name}, from Python": timed(by(peer), times) for name, peer in python_peers(frames).items()}
    measured = interleaved(peers, rounds=rounds)
    return compare(f"{frames} frames, two threads, per block", measured, "two memcpy on one thread, compiled", block_ms=BLOCK_MS)


def records(rounds: int, times: int) -> list[Row]:
    """One record of four numbers, one thread."""
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
    """A record there and an answer back, between two threads that wait for each other."""
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
    parser = parser_for(__doc__ or "")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="draw the figures there")
    asked = parser.parse_args()
    rounds, times = (2, 3) if asked.tiny else (200, 200)
    rows: list[Row] = []
    limits = []
    for frames in (160, 480):
        rows += from_python(frames, rounds, times)
        found, limit = compiled(frames, rounds, times * 10)
        rows += found
        limits.append(limit)
        rows += two_threads(frames, max(2, rounds // 8), times)
    rows += records(rounds, times)
    rows += round_trips(max(2, rounds // 8), times)
    title = f"the limit: {LIMIT_TIMES:g} memcpy + {LIMIT_NS:g} ns"
    targets = [
        Target.at_most(
            f"{limit['frames']} frames through the ring, of {LIMIT_TIMES:g} memcpy + {LIMIT_NS:g} ns",
            1.0,
            limit["ring_ns"] / limit["limit_ns"],
        )
        for limit in limits
    ]
    report(__doc__ or "", rows, asked, {title: limits}, targets=targets, missing=MISSING)
    if asked.plot:
        from _ring_plots import plot

        print(plot(asked.plot, rows))


if __name__ == "__main__":
    main()
