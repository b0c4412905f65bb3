"""Compiled loops for the soak tests and the allocation test: writers and readers that run without the GIL.

Every loop draws its block sizes from a linear congruential generator (Knuth's MMIX constants), gives its core
away when the ring is full or empty, and ends with a negative number at its deadline instead of hanging a test.
"""

from __future__ import annotations

import numba
import numpy as np

from rtmedia.rt.cell import cell_read, cell_write
from rtmedia.rt.clock import now_ns, sleep_ns
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.ring import (
    ring_claim,
    ring_commit,
    ring_front,
    ring_peek,
    ring_read,
    ring_readable,
    ring_release,
    ring_skip,
    ring_writable,
    ring_write,
)

TIMED_OUT = -1
WRONG = -2

RECORD = np.dtype([("number", "i8"), ("check", "i8"), ("flags", "u1"), ("half", "f4")])  # 21 octets: no element lies aligned


@kernel("u8(u8)")
def lcg(state):
    return state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)


@kernel("i8(u8, i8)")
def below(state, limit):
    """A number from 0 to limit - 1 out of the generator's high bits."""
    return np.int64((state >> np.uint64(33)) % np.uint64(limit))


@kernel("f4(i8, i8)")
def sample_of(frame, channel):
    """What frame `frame` holds in `channel`: exact in float32, and different for 8 million frames in a row."""
    return np.float32((frame & 0x7FFFFF) * (1 - 2 * channel))


@kernel("i8(i8, f4[:, ::1], i8, u8, i8)")
def write_frames(ring, block, total, seed, deadline_ns):
    """Write `total` numbered frames in blocks of random size; returns how often the ring was full."""
    state, frame, full = seed, np.int64(0), 0
    channels = block.shape[1]
    while frame < total:
        state = lcg(state)
        count = min(total - frame, 1 + below(state, block.shape[0]))
        for i in range(count):
            for channel in range(channels):
                block[i, channel] = sample_of(frame + i, channel)
        sent = 0
        while sent < count:
            fitted = ring_write(ring, block.ctypes.data + sent * channels * 4, count - sent)
            sent += fitted
            if fitted == 0:
                full += 1
                if now_ns() > deadline_ns:
                    return TIMED_OUT
                sleep_ns(1_000)
        frame += count
    return full


@kernel("i8(i8, f4[:, ::1], i8, u8, i8)")
def read_frames(ring, block, total, seed, deadline_ns):
    """Read `total` frames in blocks of random size, each checked; returns how often the ring was empty."""
    state, frame, empty = seed, np.int64(0), 0
    channels = block.shape[1]
    while frame < total:
        state = lcg(state)
        taken = ring_read(ring, block.ctypes.data, 1 + below(state, block.shape[0]))
        for i in range(taken):
            for channel in range(channels):
                if block[i, channel] != sample_of(frame + i, channel):
                    return WRONG
        frame += taken
        if taken == 0:
            empty += 1
            if now_ns() > deadline_ns:
                return TIMED_OUT
            sleep_ns(1_000)
    return empty


@kernel("i8(i8)")
def check_of(number):
    return np.int64(lcg(np.uint64(number)))


@kernel("void(i8, i8)")
def fill_record(at, number):
    record = carray(pointer_void(at), 1, RECORD)[0]
    record.number = number
    record.check = check_of(number)
    record.flags = np.uint8(number)
    record.half = np.float32(number & 0xFFFF) / np.float32(2)


@kernel("b1(i8, i8)")
def is_record(at, number):
    record = carray(pointer_void(at), 1, RECORD)[0]
    return (
        record.number == number
        and record.check == check_of(number)
        and record.flags == np.uint8(number)
        and record.half == np.float32(number & 0xFFFF) / np.float32(2)
    )


@kernel("i8(i8, i8, i8, u8, i8)")
def write_records(ring, scratch, total, seed, deadline_ns):
    """Write `total` numbered records, some in place and some copied from the record at `scratch`."""
    state, number, full = seed, np.int64(0), 0
    while number < total:
        state = lcg(state)
        done = 0
        if below(state, 4) == 0:
            fill_record(scratch, number)
            done = ring_write(ring, scratch, 1)
        else:
            at = ring_claim(ring)
            if at != 0:
                fill_record(at, number)
                ring_commit(ring)
                done = 1
        number += done
        if done == 0:
            full += 1
            if now_ns() > deadline_ns:
                return TIMED_OUT
            sleep_ns(1_000)
    return full


@kernel("i8(i8, i8, i8, u8, i8)")
def read_records(ring, scratch, total, seed, deadline_ns):
    """Take `total` records in place, copied to `scratch`, or looked at from afar and skipped; each is checked."""
    state, number, empty = seed, np.int64(0), 0
    while number < total:
        state = lcg(state)
        way = below(state, 4)
        done = np.int64(0)
        if way == 0:
            done = ring_read(ring, scratch, 1)
            if done == 1 and not is_record(scratch, number):
                return WRONG
        elif way == 1:
            at = ring_peek(ring, 2)
            if at != 0:
                if not is_record(at, number + 2):
                    return WRONG
                done = ring_skip(ring, 2)
                if done != 2:
                    return WRONG
        if done == 0:
            at = ring_front(ring)
            if at != 0:
                if not is_record(at, number):
                    return WRONG
                ring_release(ring)
                done = np.int64(1)
        number += done
        if done == 0:
            empty += 1
            if now_ns() > deadline_ns:
                return TIMED_OUT
            sleep_ns(1_000)
    return empty


@kernel("void(i8[::1], i8)")
def fill_words(words, number):
    words[0] = number
    for i in range(1, words.shape[0]):
        words[i] = words[i - 1] * 3 + i


@kernel("i8(i8, i8[::1], i8, i8)")
def write_cell(cell, words, total, pause_every):
    """Publish versions 1 to `total`; gives the core away now and then, so that readers meet it everywhere."""
    for number in range(1, total + 1):
        fill_words(words, number)
        cell_write(cell, words)
        if number % pause_every == 0:
            sleep_ns(1_000)
    return total


@kernel("i8(i8, i8[::1], i8[::1], i8, i8)")
def read_cell(cell, words, due, total, deadline_ns):
    """Read until version `total` comes, checking each; returns how many different versions were met."""
    newest, met = np.int64(0), 0
    while newest < total:
        if cell_read(cell, words, 100) and words[0] != newest:
            if words[0] < newest:
                return WRONG
            newest = words[0]
            met += 1
            fill_words(due, newest)
            for i in range(words.shape[0]):
                if words[i] != due[i]:
                    return WRONG
        elif now_ns() > deadline_ns:
            return TIMED_OUT
    return met


@kernel("i8(i8, i8, i8, i8[::1], i8)")
def every_operation(frames, records, cell, words, times):
    """All that rings and cells offer, `times` times on one thread; returns a sum so that nothing is optimised away."""
    total = np.int64(0)
    block = words.ctypes.data
    for i in range(times):
        total += ring_writable(frames) + ring_write(frames, block, 1 + i % 7) + ring_readable(frames)
        total += ring_read(frames, block, 1 + i % 5) + ring_skip(frames, i % 3)
        at = ring_claim(records)
        if at != 0:
            fill_record(at, i)
            ring_commit(records)
        at = ring_peek(records, 0)
        if i % 2 == 0 and at != 0 and ring_front(records) == at:
            ring_release(records)
        cell_write(cell, words)
        total += cell_read(cell, words, 1)
    return total + now_ns() % 2


@numba.njit("i8(i8)")  # a kernel could not: it does not link
def an_allocation(count):
    return np.empty(count, np.int64).shape[0]
