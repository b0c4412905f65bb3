"""Which way the playout delay shall move, and where a splice moves it.

How to think about it. What is steered is not the delay itself but the delay *at which blocks begin with a packet*. A
block is made at once, so if a packet begins in its middle, that packet must be here half a block before it is heard: of
all delays that protect equally, one in ten milliseconds wastes nothing. Splices aim for it (`steering_error`).

While the next packet is overdue by more than packets usually are (`is_draining`), what is left is stretched: speech by
two and a half times at most, a pause without limit, for silence may last.
"""

from __future__ import annotations

import math

from rtmedia.dsp.stretch import find_splice, quiet_limit, splice_window
from rtmedia.jitter.delay import DELAY_DTYPE
from rtmedia.jitter.splice_map import recall_mean_square, recall_splice
from rtmedia.jitter.state import BUDGET_MS, BUFFER_DTYPE, ENTRY_DTYPE, LONGEST_LAG_MS, SHORTEST_LAG_MS, SPLICE_HISTORY_MS, WINDOW_MS
from rtmedia.jitter.timeline import mean_square_at, next_entry
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_block, view_f4, view_f8

#: How far d may be above and below where it should be before a splice is worth hearing: below it, protection is less at once.
DEAD_ABOVE_MS = 4.0
DEAD_BELOW_MS = 0.1
#: A packet may be so much later than it should be able to before delay is built up: the next splice costs more.
SLACK_MS = 2.5
#: Arithmetic of times, not of sounds.
ROUNDING_MS = 0.5
#: Splices, ms of shift per ms played. At 0.6 what is left lasts two and a half times as long.
DRAIN_SPEECH, DRAIN_QUIET = 0.6, 1.0
SHED_SPEECH, SHED_SPEECH_FAR, SHED_QUIET = 0.20, 0.40, 1.0
BUILD_SPEECH, BUILD_QUIET = 0.10, 0.50
FAR_MS = 150.0
#: How alike two pieces must be (NetEQ: 0.9), how much less when the delay is far off, and while draining, when the choice is a hole.
LIKE, LIKE_LESS, LIKE_LEAST_AT_MS = 0.9, 0.4, 200.0
LIKE_DRAINING = 0.7
#: Shift that may be spent at the first sign of a stall.
DRAIN_BUDGET_MS = 5.0
#: A packet that is later than usual by this much is overdue.
OVERDUE_MS = 10.0
#: More than the control delay and this in hand: no need to hurry.
PLENTY_MS = 60.0
#: With so much in hand the stretching is at its full rate; with more it is gentler.
NEAR_MS = 150.0
#: While draining, a splice must come soon: the search looks no further.
SOON_MS = 25.0


@kernel("b1(i8, f8)")
def noise_is_quiet(address, mean_square):
    """Whether a stretch is no more than background."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    return mean_square <= quiet_limit(view_f8(b.noise, 1)[0])


@kernel("f8(i8, f8)")
def playout_delay(address, now_ms):
    """d: how far behind the fast path we play; 0 while no path is known."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    delay = carray(pointer_void(b.delay), 1, DELAY_DTYPE)[0]
    return now_ms - b.m / b.frames_per_ms - delay.base_ms - b.held_ms if delay.has_base else 0.0


@kernel("f8(i8)")
def steering_error(address):
    """How far d is above (+) or below (-) the least delay that protects as C does and lets blocks begin with packets."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    if b.packet_frames % b.block != 0:
        return b.d_ms - b.control_ms
    following = next_entry(address, b.m)
    entries = carray(pointer_void(b.entries), b.entries_capacity, ENTRY_DTYPE)
    boundary = entries[following].position if following >= 0 else b.newest_end
    block_ms = b.block / b.frames_per_ms
    wasted_ms = ((boundary - b.m) % b.block) / b.frames_per_ms
    above_ms = b.d_ms - wasted_ms - b.control_ms
    if above_ms >= -ROUNDING_MS:
        return wasted_ms + block_ms * math.floor((above_ms + ROUNDING_MS) / block_ms)
    if above_ms >= -SLACK_MS:
        return wasted_ms
    return wasted_ms - block_ms * math.ceil(-above_ms / block_ms)


@kernel("b1(i8, i8)")
def is_draining(address, available):
    """Whether the packet after the newest one is overdue, and what is left (`available` frames) not plenty."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    delay = carray(pointer_void(b.delay), 1, DELAY_DTYPE)[0]
    overdue_ms = b.d_ms - (b.newest_end - b.m) / b.frames_per_ms
    return overdue_ms > delay.usual_ms + OVERDUE_MS and available < int((b.control_ms + PLENTY_MS) * b.frames_per_ms)


@kernel("f8(i8, i8, i8)")
def mean_square(address, position, frames):
    """Of a stretch of the timeline, at most a block."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    if b.splice_map != 0:
        return recall_mean_square(address, position, frames)
    return mean_square_at(address, position, frames)


@kernel("i8(i8, i8, i8, i8, i8, i8)")
def _find(address, history, future, shortest, longest, wish):
    """`find_splice` around m; its result lies in ``splice_result``, the point counted from m."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    if b.splice_map != 0:
        return recall_splice(address, history, future, longest, wish)
    window = view_f4(b.window, (history + future) * b.channels)
    splice_window(view_block(b.store, b.capacity, b.channels), b.m - b.base - history, history + future, window)
    result = view_f8(b.splice_result, 8)
    last = history + future - (2 * shortest if wish > 0 else shortest)
    limit = quiet_limit(view_f8(b.noise, 1)[0])
    scratch = view_f8(b.scratch, b.scratch_size)
    found = find_splice(window, history, future, shortest, longest, history, last, wish, b.rate_hz, limit, scratch, result)
    result[0] -= history
    return found


@kernel("void(i8, f8, i8, i8)")
def plan_splice(address, error_ms, draining, available):
    """Fill the budget and, where it allows, choose where the next period is cut out or repeated.

    Parameters
    ----------
    error_ms
        `steering_error`.
    draining
        `is_draining`.
    available
        Frames from m on without a hole.

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    if b.splice != 0 or b.concealing:  # what was heard last is not what lies before m: nothing to splice with yet
        return
    quiet = noise_is_quiet(address, mean_square(address, b.m, b.block))
    if draining:
        wish = -1
        left_ms = available / b.frames_per_ms
        rate = DRAIN_QUIET if quiet else DRAIN_SPEECH * min(1.0, NEAR_MS / max(left_ms, 1.0))
    elif error_ms > max(DEAD_ABOVE_MS, b.splice_above_ms):
        wish = 1
        rate = SHED_QUIET if quiet else (SHED_SPEECH_FAR if error_ms > FAR_MS else SHED_SPEECH)
    elif error_ms < -max(DEAD_BELOW_MS, b.splice_above_ms):
        wish = -1
        rate = BUILD_QUIET if quiet else BUILD_SPEECH
    else:
        b.wish = 0
        return
    aim = 2 * wish if draining else wish
    if aim != b.wish:
        b.wish = aim
        if draining:
            b.drains += 1
            b.budget_ms = max(b.budget_ms, DRAIN_BUDGET_MS)
    b.budget_ms = min(BUDGET_MS, b.budget_ms + rate * b.block / b.frames_per_ms)
    if b.budget_ms < SHORTEST_LAG_MS:
        return
    history = min(int(SPLICE_HISTORY_MS * b.frames_per_ms), b.m - b.run_start)
    future = min(available, int((SOON_MS if draining else WINDOW_MS) * b.frames_per_ms))
    shortest = int(SHORTEST_LAG_MS * b.frames_per_ms)
    if draining:
        longest_ms = LONGEST_LAG_MS
    elif wish > 0:
        longest_ms = min(LONGEST_LAG_MS, error_ms)  # no further than to the boundary: behind it protection is less
    else:
        longest_ms = min(LONGEST_LAG_MS, max(2.0 * SHORTEST_LAG_MS, -error_ms))
    longest = int(longest_ms * b.frames_per_ms)
    if wish > 0:
        longest = min(longest, (future - b.block) // 2)  # a whole block must stay behind the cut
    else:
        longest = min(longest, future)
    if longest < shortest:
        return
    if _find(address, history, future, shortest, longest, wish) == 0:
        return
    result = view_f8(b.splice_result, 8)
    likeness = result[2]
    needed = LIKE - LIKE_LESS * min(1.0, abs(error_ms) / LIKE_LEAST_AT_MS)
    if draining:
        needed = min(needed, LIKE_DRAINING)
    if likeness < needed and not noise_is_quiet(address, result[3]):
        return
    b.splice = wish
    b.splice_at = b.m + int(result[0])
    b.splice_lag = int(result[1])
    b.budget_ms -= b.splice_lag / b.frames_per_ms
