"""The timeline: where packets lie until they are played, and how m is spliced through them."""

from __future__ import annotations

import math

import numpy as np

from rtmedia.dsp.level import add_squares
from rtmedia.jitter.conceal import conceal_begin, conceal_merge
from rtmedia.jitter.delay import delay_rebase, delay_update
from rtmedia.jitter.state import (
    BUFFER_DTYPE,
    CONCEAL_FADE_MS,
    DUPLICATE,
    EMPTY,
    ENTRY_DTYPE,
    FLAG_END,
    FLAG_PAUSE_BEFORE,
    GUARD_MS,
    INSERTED,
    JOINT_FADE_MS,
    LATE,
    MOST_MOVED_MS,
    NO_ROOM,
    PLAYING,
    PREFILL,
    STALL_MS,
    STRETCH_ENTRIES,
    STRETCH_MS,
)
from rtmedia.rt.kernel import copy_octets, kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_block

_ENTRY_OCTETS = ENTRY_DTYPE.itemsize


@kernel("void(i8, i8, i8, f4)")
def _fade_store(address, position, frames, direction):
    """Fade a stretch of the store: in for ``direction > 0``, out for ``direction < 0``."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    store = view_block(b.store, b.capacity, b.channels)
    for i in range(frames):
        gain = np.float32((i + 0.5) / frames)
        if direction < 0:
            gain = np.float32(1.0) - gain
        at = (position - b.base + i) & (b.capacity - 1)
        for c in range(b.channels):
            store[at, c] *= gain


@kernel("void(i8, i8, i8, i8)")
def _store_write(address, position, source, frames):
    """Copy `frames` from address `source` to the timeline at `position`."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    width = b.channels * 4
    at = (position - b.base) & (b.capacity - 1)
    first = min(frames, b.capacity - at)
    copy_octets(b.store + at * width, source, first * width)
    if frames > first:
        copy_octets(b.store, source + first * width, (frames - first) * width)


@kernel("void(i8, i8, i8, i8)")
def store_read(address, position, target, frames):
    """Copy `frames` of the timeline from `position` to address `target`."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    width = b.channels * 4
    at = (position - b.base) & (b.capacity - 1)
    first = min(frames, b.capacity - at)
    copy_octets(target, b.store + at * width, first * width)
    if frames > first:
        copy_octets(target + first * width, b.store, (frames - first) * width)


@kernel("void(i8, i8)")
def ring_out(address, filled):
    """What was heard up to `filled` goes on by itself: concealment, if only of no length, that fades into wherever m is next."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    if b.concealing == 0:
        conceal_begin(b.conceal, b.history + filled * b.channels * 4, b.history_frames)
        b.concealing = 1
        b.conceal_run = 0


@kernel("void(i8, i8, i8)")
def _begin_epoch(address, epoch, media_pos):
    """Lay a new connection's timeline right behind what is there."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    b.epoch = epoch
    b.ended = 0
    if b.phase == EMPTY:
        b.shift = -media_pos
        return
    joint = max(b.newest_end, b.m)
    b.shift = joint - media_pos
    delay_rebase(b.delay)
    # What was held on purpose and still waits stays held; what the gap between the connections used up is not.
    b.held_ms = min(b.held_ms, max(0.0, (joint - b.m) / b.frames_per_ms))
    fade = int(JOINT_FADE_MS * b.frames_per_ms)
    if b.m < b.newest_end:
        fade_out = min(fade, b.newest_end - b.m)
        _fade_store(address, b.newest_end - fade_out, fade_out, np.float32(-1.0))
    else:
        if b.phase == PLAYING and b.concealing == 0:
            # The store ran dry with the block just played: ring out, or the prefill's silence would begin with a click.
            ring_out(address, b.block)
            b.conceal_events += 1
        b.phase = PREFILL
    b.newest_end = joint


@kernel("void(i8, i8)")
def wait_was_pause(address, waited):
    """What was waited for, for so many frames, was the sender's silence: no stall, no concealment."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    if waited <= 0:
        return
    b.hold_credit = 0
    b.concealed -= waited
    b.held -= waited
    b.paused += waited
    stall = int(STALL_MS * b.frames_per_ms)
    if b.conceal_run >= stall:
        b.stalls -= 1
        b.silent_concealed -= min(waited, b.conceal_run - stall)
        b.longest_stall = b.longest_before
    if waited >= b.conceal_run:
        b.conceal_events -= 1
    b.conceal_run = 0


@kernel("i8(i8, i8, i8, i8, i8, i8, i8, i8, i8, i8, i8, f8)")
def buffer_insert(address, samples, frames, media_pos, seq, epoch, flags, arrival_ns, written_ns, taken_ns, decoded_ns, arrival_ms):
    """Lay one packet on the timeline.

    Parameters
    ----------
    samples
        Address of float32 ``(frames, channels)``.
    media_pos
        Position of the first frame on the sender's clock, in frames.
    arrival_ns, written_ns, taken_ns, decoded_ns
        Of the stations before; kept for the ledger.
    arrival_ms
        Arrival on the device's clock.

    Returns
    -------
    int
        `INSERTED`, `LATE` (its time is over), `DUPLICATE` (that place is taken) or `NO_ROOM`
        (too far ahead: offer it again later).

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    room = b.capacity - int(GUARD_MS * b.frames_per_ms)
    # Before anything is noted: the packet will be offered again.
    if b.entries_count == b.entries_capacity:
        return NO_ROOM
    if epoch != b.epoch and b.phase != EMPTY and max(b.newest_end, b.m) + frames > b.m + room:
        return NO_ROOM
    if epoch != b.epoch:
        new_epoch = True
        _begin_epoch(address, epoch, media_pos)
    else:
        new_epoch = False
    if flags & FLAG_END:
        b.ended = 1
        return INSERTED
    position = media_pos + b.shift
    end = position + frames
    if b.phase == EMPTY or (b.phase == PREFILL and position < b.m and b.entries_count > 0 and b.m - position < 5 * b.rate_hz):
        if b.phase == EMPTY:
            b.newest_end = position
            b.phase = PREFILL
        b.m = position
        b.run_start = position
    if end > b.m + room:
        if b.newest_end > b.m:
            return NO_ROOM
        if flags & FLAG_PAUSE_BEFORE:  # a long one: most of it has been waited through
            waited = min(b.hold_credit, position - b.m)
            wait_was_pause(address, waited)
            b.m += waited
            b.run_start = b.m
    if end > b.m + room:
        b.resync += position - b.m  # nothing is waiting: go to where the audio is
        b.m = position
        b.run_start = position
    b.last_arrival_ms = arrival_ms
    delay_update(b.delay, arrival_ms, position / b.frames_per_ms, frames / b.frames_per_ms)
    if end <= b.m:
        b.late += 1
        return LATE

    # the place in the table: nearly always the end
    entries = carray(pointer_void(b.entries), b.entries_capacity, ENTRY_DTYPE)
    mask = b.entries_capacity - 1
    at = b.entries_count
    while at > 0 and entries[(b.first_entry + at - 1) & mask].position > position:
        at -= 1
    if at > 0:
        before = entries[(b.first_entry + at - 1) & mask]
        if before.position == position or before.position + before.frames >= end:
            b.duplicate += 1
            return DUPLICATE
    index = b.entries_count
    while index > at:
        to = (b.first_entry + index) & mask
        source = (b.first_entry + index - 1) & mask
        entries[to] = entries[source]
        index -= 1
    b.entries_count += 1
    entry = entries[(b.first_entry + at) & mask]
    entry.position = position
    entry.frames = frames
    entry.seq = seq
    entry.media_pos = media_pos
    entry.epoch = epoch
    entry.flags = flags
    entry.arrival_ns = arrival_ns
    entry.written_ns = written_ns
    entry.taken_ns = taken_ns
    entry.decoded_ns = decoded_ns
    entry.arrival_ms = arrival_ms
    entry.heard = 0

    skip = max(0, b.m - position)  # partly late: the tail is still good
    _store_write(address, position + skip, samples + skip * b.channels * 4, frames - skip)
    if new_epoch and b.inserted > 0:
        _fade_store(address, position, min(frames, int(JOINT_FADE_MS * b.frames_per_ms)), np.float32(1.0))
    b.newest_end = max(b.newest_end, end)
    b.packet_frames = frames
    b.inserted += 1
    return INSERTED


@kernel("i8(i8, i8)")
def buffer_available(address, position):
    """Frames that are there without a hole from `position` on."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    entries = carray(pointer_void(b.entries), b.entries_capacity, ENTRY_DTYPE)
    reached = position
    for i in range(b.entries_count):
        entry = entries[(b.first_entry + i) & (b.entries_capacity - 1)]
        if entry.position > reached:
            break
        reached = max(reached, entry.position + entry.frames)
    return reached - position


@kernel("i8(i8, i8)")
def next_entry(address, position):
    """Index of the first packet that begins after `position`, or -1."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    entries = carray(pointer_void(b.entries), b.entries_capacity, ENTRY_DTYPE)
    for i in range(b.entries_count):
        index = (b.first_entry + i) & (b.entries_capacity - 1)
        if entries[index].position > position:
            return index
    return -1


@kernel("void(i8)")
def _rewind(address):
    """Move what the table and the store hold back to their fronts, where that is little and has come far enough.

    They would go through all of their memory otherwise, and keep it, for the sake of a few packets. What is moved does not
    change, nor any position: only where in memory it lies.
    """
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    count, at = b.entries_count, b.first_entry
    if count <= STRETCH_ENTRIES <= at and at + count <= b.entries_capacity:
        copy_octets(b.entries, b.entries + at * _ENTRY_OCTETS, count * _ENTRY_OCTETS)
        b.first_entry = 0
    if b.phase != PLAYING:  # a packet that was overtaken may still set m back
        return
    kept = b.m - int(GUARD_MS * b.frames_per_ms)
    frames = max(b.newest_end, b.m) - kept
    at = (kept - b.base) & (b.capacity - 1)
    far = max(frames, int(STRETCH_MS * b.frames_per_ms))  # from there to the front nothing overlaps
    if far <= at <= b.capacity - frames and frames <= int(MOST_MOVED_MS * b.frames_per_ms):
        width = b.channels * 4
        copy_octets(b.store, b.store + at * width, frames * width)
        b.base = kept


@kernel("void(i8)")
def buffer_retire(address):
    """Drop the table's entries that lie wholly before m (their audio stays until it is overwritten), and note what is at m."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    entries = carray(pointer_void(b.entries), b.entries_capacity, ENTRY_DTYPE)
    mask = b.entries_capacity - 1
    for i in range(b.entries_count):
        entry = entries[(b.first_entry + i) & mask]
        if entry.position > b.m:
            break
        b.heard_epoch = entry.epoch
        b.heard_media_pos = entry.media_pos + b.m - entry.position
    # The one before m stays for as long as it is the last word on where in the stream m is: a gap may be long.
    kept = b.m - int(20 * b.frames_per_ms)  # an inserted period may step back
    while b.entries_count > 1 and entries[(b.first_entry + 1) & mask].position <= kept:
        b.first_entry = (b.first_entry + 1) & mask
        b.entries_count -= 1
    _rewind(address)


@kernel("void(i8)")
def merge_at_m(address):
    """End the concealment: its continuation is blended into the timeline's next frames, wherever in a block they begin.

    In the store and not in the block being made: a gap that ends a few frames before the block does would leave
    no room for the cross-fade, and be heard as a click.
    """
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    frames = min(b.block, buffer_available(address, b.m))
    store_read(address, b.m, b.window, frames)
    conceal_merge(b.conceal, b.window, frames, min(frames, int(CONCEAL_FADE_MS * b.frames_per_ms)))
    _store_write(address, b.m, b.window, frames)
    b.run_start = b.m  # it no longer goes on from what lies before it
    b.concealing = 0
    b.conceal_run = 0


@kernel("f8(i8, i8, i8)")
def mean_square_at(address, position, frames):
    """Mean square of a stretch of the timeline, over all channels."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    at = (position - b.base) & (b.capacity - 1)
    first = min(frames, b.capacity - at)
    total = add_squares(b.store + 4 * at * b.channels, first * b.channels, 0.0)
    if frames > first:
        total = add_squares(b.store, (frames - first) * b.channels, total)
    return total / (frames * b.channels)


@kernel("void(i8)")
def splice_now(address):
    """M has reached the splice: mix the two periods in the store, and jump."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    store = view_block(b.store, b.capacity, b.channels)
    mask = b.capacity - 1
    lag = b.splice_lag
    q = b.splice_at
    at = q - b.base
    # removing: [q, q+L) fades into [q+L, q+2L), kept in the latter's place
    # inserting: [q, q+L) fades into [q-L, q), kept in the latter's place
    step = lag if b.splice > 0 else -lag
    # A turning pointer instead of a cosine for each frame, as in `rtmedia.dsp.stretch.crossfade`.
    turn_x = math.cos(math.pi / lag)
    turn_y = math.sin(math.pi / lag)
    x = math.cos(0.5 * math.pi / lag)
    y = math.sin(0.5 * math.pi / lag)
    for i in range(lag):
        weight = np.float32(0.5 - 0.5 * x)
        x, y = x * turn_x - y * turn_y, x * turn_y + y * turn_x
        for c in range(b.channels):
            old = store[(at + i) & mask, c]
            new = store[(at + step + i) & mask, c]
            store[(at + step + i) & mask, c] = old + weight * (new - old)
    b.m = q + step
    if b.splice > 0:
        b.accelerated += lag
        b.run_start = max(b.run_start, b.m)
    else:
        b.decelerated += lag
    b.splice = 0
