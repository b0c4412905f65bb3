"""The jitter buffer: packets in at any time, one block of sound out whenever the device has room.

How to think about it. All decoded audio lies on one *timeline*, a circular store indexed by position in
source frames; `m` is the next frame to play. The device's clock, not the network, moves `m`. At every
tick the *playout delay* ``d = now - m - B`` says how far behind the fast path we play (B: see
`rtmedia.jitter.delay`), and the control delay C how far behind we want to be:

===========  ==============================================================================
NORMAL       the block at m is there, and d is near C
ACCELERATE   d is above C: cut out one pitch period when the budget allows
DECELERATE   d is below C: repeat one pitch period
DRAIN        the next packet is overdue: repeat periods *before* the store runs dry
HOLD         nothing newer than m: conceal and wait; the words will come (m stands, d grows)
ADVANCE      m is missing but newer audio is here: it is lost; conceal for its own length
PAUSE        the sender said nothing here: silence, and time may be skipped for free
WAIT, IDLE   prefill before the first block; nothing has ever arrived
ENDED        the stream is over and played out
===========  ==============================================================================

m goes back or forth only through a *splice* (a cross-fade between two similar periods), a skip inside
a sender's pause or a proven gap, or a counted *resync* when d exceeds what the profile allows. Audio that is here is
never flushed. A new connection's audio is laid on the timeline right behind the old one's.

The store has one owner, the render thread: no lock, no atomics.
"""

from __future__ import annotations

import numpy as np

from rtmedia.dsp.level import add_squares
from rtmedia.dsp.stretch import noise_floor_update
from rtmedia.jitter.conceal import background_update, conceal_next
from rtmedia.jitter.delay import delay_control, delay_gap, delay_wanted
from rtmedia.jitter.plan import ROUNDING_MS, is_draining, mean_square, noise_is_quiet, plan_splice, playout_delay, steering_error
from rtmedia.jitter.splice_map import recall_mean_square
from rtmedia.jitter.state import (
    ACCELERATE,
    ADVANCE,
    BUFFER_DTYPE,
    DECELERATE,
    DRAIN,
    EMPTY,
    END_FADE_MS,
    ENDED,
    ENTRY_DTYPE,
    FLAG_PAUSE_BEFORE,
    HOLD,
    IDLE,
    NORMAL,
    PAUSE,
    PLAYING,
    PREFILL,
    STALL_MS,
    WAIT,
)
from rtmedia.jitter.timeline import buffer_available, merge_at_m, next_entry, ring_out, splice_now, store_read, wait_was_pause
from rtmedia.rt.kernel import copy_octets, kernel, move_octets, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_block, view_f4, view_f8

#: Of a backlog that is skipped, so much stays at least: two packets.
KEEP_MS = 40.0
#: For so long silence alone is left out of a backlog; then comes the jump.
PATIENCE_TICKS = 30
#: Without order, a packet is given so long to be overtaken before it counts as lost: one packet.
OVERTAKING_MS = 20.0
#: Without order, after a stop: part of the delay that must be there (NetEQ: half).
RESUME_SHARE = 0.5


@kernel("void(i8, i8, i8)")
def _make_up(address, filled, frames):
    """Make up `frames` of the block being made, after `filled`; counted by whoever knows what they are."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    ring_out(address, filled)
    conceal_next(b.conceal, b.history + (b.history_frames + filled) * b.channels * 4, frames)


@kernel("void(i8, i8, i8)")
def _conceal(address, filled, frames):
    """Make up for audio that is missing."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    _make_up(address, filled, frames)
    if b.conceal_run == 0:
        b.conceal_events += 1
        b.longest_before = b.longest_stall
    before = b.conceal_run
    b.conceal_run += frames
    b.concealed += frames
    b.tick_concealed += frames
    stall = int(STALL_MS * b.frames_per_ms)
    if b.conceal_run >= stall:
        b.silent_concealed += min(frames, b.conceal_run - stall)
        if before < stall:
            b.stalls += 1
        b.longest_stall = max(b.longest_stall, b.conceal_run)


@kernel("i8(i8, i8, b1)")
def _hold(address, filled, may_be_lost):
    """Wait through the rest of the block; returns the operation. `may_be_lost`: then what is missing at m has had this time already."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    rest = b.block - filled
    _conceal(address, filled, rest)
    b.held += rest
    if may_be_lost:
        b.hold_credit += rest
    return HOLD


@kernel("i8(i8, i8, i8, i8)")
def _pause(address, filled, rest, gap):
    """The sender said nothing for `gap` frames: silence, and time may pass for free. Returns the frames made."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    wait_was_pause(address, min(b.hold_credit, gap))
    spare = int((b.d_ms - b.control_ms) * b.frames_per_ms)
    skip = min(max(0, spare), gap)
    b.m += skip
    b.skipped += skip
    b.d_ms -= skip / b.frames_per_ms
    made = min(rest, gap - skip)
    if made > 0:
        _make_up(address, filled, made)
        b.paused += made
        b.m += made
    b.run_start = b.m
    return made


@kernel("void(i8, i8, i8)")
def _end(address, filled, rest):
    """The stream is over: whatever rings fades in 10 ms, then silence."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    _make_up(address, filled, rest)
    out = view_block(b.history + (b.history_frames + filled) * b.channels * 4, rest, b.channels)
    fade = int(END_FADE_MS * b.frames_per_ms)
    for i in range(rest):
        gain = np.float32(max(0.0, 1.0 - (b.ended_run + i) / fade))
        for c in range(b.channels):
            out[i, c] *= gain
    b.ended_run += rest


@kernel("i8(i8, f8)")
def _mind_the_backlog(address, error_ms):
    """Far too late: leave out silence at once; after 300 ms of that, jump, counted and cross-faded. Returns the frames left out."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    if b.d_ms <= b.cap_ms:
        b.over_cap_ticks = 0
        return 0
    b.over_cap_ticks += 1
    keep = int(max(b.control_ms, KEEP_MS) * b.frames_per_ms)
    most = b.newest_end - b.m - keep
    if most < b.block:
        return 0
    jump = 0
    if b.over_cap_ticks > PATIENCE_TICKS:
        jump = min(int(error_ms * b.frames_per_ms), most)
        b.over_cap_ticks = 0
    else:
        # a look at the coming second: whole silent blocks go
        known = min(most, b.rate_hz, buffer_available(address, b.m))
        while jump + b.block <= known and noise_is_quiet(address, mean_square(address, b.m + jump, b.block)):
            jump += b.block
        jump -= b.block  # keep one, so that words do not run into each other
    if jump <= 0:
        return 0
    ring_out(address, 0)
    b.splice = 0
    b.m += jump
    b.run_start = b.m
    b.resync += jump
    return jump


@kernel("i8(i8, i8, i8)")
def _close_gap(address, filled, gap):
    """What is lost need not be made up for as far as we are late anyway; returns the frames that m went on."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    now_ms = b.last_tick_ms
    spare_ms = playout_delay(address, now_ms) - delay_wanted(b.delay, now_ms)
    delay_gap(b.delay, now_ms)
    closed = min(int(spare_ms * b.frames_per_ms), gap)
    if closed <= 0:
        return 0
    ring_out(address, filled)
    b.m += closed
    b.closed += closed
    return closed


@kernel("b1(i8)")
def _waits_for_more(address):
    """Without order: after a long silence the first packet is no promise of the next. Half the delay shall be there (NetEQ's rule)."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    if b.ordered or b.ended or b.conceal_run < int(STALL_MS * b.frames_per_ms):
        return False
    waiting_ms = (b.newest_end - b.m) / b.frames_per_ms + max(0.0, b.last_tick_ms - b.last_arrival_ms)
    return waiting_ms < RESUME_SHARE * b.control_ms


@kernel("i8(i8)")
def _fill(address):
    """Make one block in the tail of the history; returns the operation."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    entries = carray(pointer_void(b.entries), b.entries_capacity, ENTRY_DTYPE)
    width = b.channels * 4
    op = NORMAL
    filled = 0
    while filled < b.block:
        if b.splice != 0 and b.m >= b.splice_at:
            op = ACCELERATE if b.splice > 0 else DECELERATE
            splice_now(address)
        target = b.history + (b.history_frames + filled) * width
        run = min(b.block - filled, buffer_available(address, b.m))
        if b.splice != 0:
            run = min(run, b.splice_at - b.m)
        if run > 0 and b.concealing and _waits_for_more(address):
            return _hold(address, filled, False)
        if run > 0:
            b.hold_credit = 0
            b.ended_run = 0
            if b.concealing:
                merge_at_m(address)
            store_read(address, b.m, target, run)
            b.m += run
            filled += run
            continue
        rest = b.block - filled
        following = next_entry(address, b.m)
        if following < 0:
            if b.ended:
                _end(address, filled, rest)
                return ENDED
            return _hold(address, filled, True)
        entry = entries[following]
        gap = entry.position - b.m
        if entry.flags & FLAG_PAUSE_BEFORE:
            filled += _pause(address, filled, rest, gap)
            op = PAUSE
            continue
        waited = b.last_tick_ms - entry.arrival_ms
        if b.ordered == 0 and waited < OVERTAKING_MS:
            return _hold(address, filled, True)
        # lost: what was concealed while waiting for it has already filled its place
        credit = min(b.hold_credit, gap)
        b.hold_credit -= credit
        b.m += credit
        gap -= credit
        if b.gap_end != entry.position:
            b.gap_end = entry.position
            gap -= _close_gap(address, filled, gap)
        made = min(rest, gap)
        if made > 0:
            _conceal(address, filled, made)
        b.m += made
        b.run_start = b.m
        b.advanced += made
        filled += made
        op = ADVANCE
    return op


@kernel("b1(i8)")
def _can_begin(address):
    """Whether the first block is there, or as much of it as there will ever be (packets may be shorter than a block)."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    return buffer_available(address, b.m) >= b.block or next_entry(address, b.m) >= 0


@kernel("i8(i8, f8, i8)")
def buffer_tick(address, now_ms, out):
    """Make the next block.

    Parameters
    ----------
    now_ms
        This tick on the device's clock.
    out
        Address of float32 ``(block, channels)``.

    Returns
    -------
    int
        The operation, an index into `OP_NAMES`.

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    width = b.channels * 4
    if b.splice_map == 0:  # where nobody listens, nobody looks back
        move_octets(b.history, b.history + b.block * width, b.history_frames * width)
    target = b.history + b.history_frames * width
    m_before = b.m
    b.last_tick_ms = now_ms
    b.tick_concealed = 0
    b.control_ms = delay_control(b.delay, now_ms)
    b.d_ms = playout_delay(address, now_ms)
    b.buffered_ms = max(0.0, (b.newest_end - b.m) / b.frames_per_ms) if b.phase != EMPTY else 0.0

    if b.phase == PREFILL and (b.ended or (b.d_ms >= b.control_ms - ROUNDING_MS and _can_begin(address))):
        b.phase = PLAYING
        b.run_start = b.m
    if b.phase != PLAYING:
        if b.concealing:
            op = _hold(address, 0, True)
            b.total += b.block
        else:
            tail = view_f4(target, b.block * b.channels)
            for i in range(b.block * b.channels):
                tail[i] = np.float32(0.0)
            if b.phase == EMPTY and b.ended:  # a stream without any sound
                b.ended_run += b.block
                op = ENDED
            else:
                op = IDLE if b.phase == EMPTY else WAIT
    else:
        available = buffer_available(address, b.m)
        if available >= b.block and not b.ended:
            if _mind_the_backlog(address, b.d_ms - b.control_ms) > 0:
                b.d_ms = playout_delay(address, now_ms)
                available = buffer_available(address, b.m)
            draining = is_draining(address, available)
            plan_splice(address, steering_error(address), 1 if draining else 0, available)
            op = _fill(address)
            if draining and (op in (DECELERATE, NORMAL)):
                op = DRAIN
        else:
            op = _fill(address)
        if op != ENDED:
            b.total += b.block
        if b.tick_concealed == 0 and op != PAUSE and op != ENDED:
            if b.splice_map != 0:
                noise_floor_update(view_f8(b.noise, 8), recall_mean_square(address, m_before, b.block))
            else:
                background_update(b.conceal, target, b.block)
                energy = add_squares(target, b.block * b.channels, 0.0)
                noise_floor_update(view_f8(b.noise, 8), energy / (b.block * b.channels))
    copy_octets(out, target, b.block * width)
    b.op = op
    return op


@kernel("void(i8, f8, i8)")
def buffer_hold(address, now_ms, limit_frames):
    """Playback stands still on purpose for one tick: m stays; past the limit, the oldest audio is skipped."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    b.last_tick_ms = now_ms
    if b.phase == EMPTY:
        return
    b.held_ms += b.block / b.frames_per_ms
    excess = b.newest_end - b.m - limit_frames
    if excess > 0:
        b.m += excess
        b.run_start = b.m
        b.splice = 0
        b.resync += excess
        b.held_ms = max(0.0, b.held_ms - excess / b.frames_per_ms)
