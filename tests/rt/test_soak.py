"""Two threads, millions of elements, every one checked. Both loops are compiled and hold no GIL."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from rtmedia.rt.cell import Cell
from rtmedia.rt.ring import BASE, LOOK, STRETCH, FrameRing, RecordRing
from tests.rt import soak_kernels as k

PATIENCE_NS = 120 * 10**9


def side_by_side(*loops):
    """Run the loops in a thread each; their results, none of them a failure."""
    results = [None] * len(loops)

    def run(index, loop, arguments):
        results[index] = loop(*arguments)

    threads = [threading.Thread(target=run, args=(index, *loop), daemon=True) for index, loop in enumerate(loops)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE_NS / 1e9)
    assert k.WRONG not in results, "a reader met an element that was not the next, whole"
    assert k.TIMED_OUT not in results
    assert None not in results
    return results


@pytest.mark.parametrize(("capacity", "channels", "longest"), [(1024, 1, 480), (64, 2, 100), (2, 1, 3)])
def test_frames_cross_between_threads_in_order_and_whole(capacity, channels, longest):
    ring = FrameRing(capacity, channels)
    total = {1024: 10_000_000, 64: 500_000, 2: 20_000}[capacity]
    deadline_ns = time.monotonic_ns() + PATIENCE_NS
    blocks = [np.zeros((longest, channels), np.float32) for _ in range(2)]
    side_by_side(
        (k.write_frames, (ring.address, blocks[0], total, 1, deadline_ns)),
        (k.read_frames, (ring.address, blocks[1], total, 2, deadline_ns)),
    )
    assert ring.written_total == total
    assert ring.readable == 0


@pytest.mark.parametrize(("capacity", "total"), [(256, 1_000_000), (2, 20_000)])
def test_records_cross_between_threads_in_order_and_whole(capacity, total):
    ring = RecordRing(capacity, k.RECORD)
    deadline_ns = time.monotonic_ns() + PATIENCE_NS
    scratches = np.zeros((2, 128), np.uint8)
    side_by_side(
        (k.write_records, (ring.address, scratches[0].ctypes.data, total, 3, deadline_ns)),
        (k.read_records, (ring.address, scratches[1].ctypes.data, total, 4, deadline_ns)),
    )
    assert ring.written_total == total
    assert ring.readable == 0


@pytest.mark.parametrize("stretch", [1, 64, 1_000])
def test_a_ring_that_rewinds_whenever_it_may_hands_on_every_frame(stretch):
    """A reader that sleeps, and one that waits at an empty ring: both threads meet the rewind from all sides."""
    ring = FrameRing(4_096, 1)
    ring.control[[STRETCH, LOOK]] = stretch
    total = 6_000_000
    deadline_ns = time.monotonic_ns() + PATIENCE_NS
    blocks = [np.zeros((count, 1), np.float32) for count in (97, 480)]
    side_by_side(
        (k.write_frames, (ring.address, blocks[0], total, 5, deadline_ns)),
        (k.read_frames, (ring.address, blocks[1], total, 6, deadline_ns)),
    )
    assert ring.written_total == total
    assert ring.control[BASE] > total // 100  # it did rewind, again and again


@pytest.mark.parametrize("stretch", [1, 8])
def test_a_ring_of_records_that_rewinds_whenever_it_may_hands_on_every_record(stretch):
    ring = RecordRing(64, k.RECORD)
    ring.control[[STRETCH, LOOK]] = stretch
    total = 300_000
    deadline_ns = time.monotonic_ns() + PATIENCE_NS
    scratches = np.zeros((2, 128), np.uint8)
    side_by_side(
        (k.write_records, (ring.address, scratches[0].ctypes.data, total, 7, deadline_ns)),
        (k.read_records, (ring.address, scratches[1].ctypes.data, total, 8, deadline_ns)),
    )
    assert ring.written_total == total
    assert ring.control[BASE] > 0


@pytest.mark.parametrize("count", [1, 3, 12])
def test_a_cell_never_shows_a_mixture_of_versions(count):
    cell = Cell(count)
    total = 5_000_000
    deadline_ns = time.monotonic_ns() + PATIENCE_NS
    words = np.zeros((5, count), np.int64)
    results = side_by_side(
        (k.write_cell, (cell.address, words[0], total, 5_000)),
        (k.read_cell, (cell.address, words[1], words[2], total, deadline_ns)),
        (k.read_cell, (cell.address, words[3], words[4], total, deadline_ns)),
    )
    assert min(results[1:]) >= 1
