"""How late packets come, and how much delay that is worth: the target of the jitter buffer.

How to think about it. Each packet has a *transit* ``D = arrival - media time``, both in milliseconds
of the device's clock; only differences of D mean anything. The *base* B is the smallest D of the last
two seconds of media: the fast path of the network as it is now. The *relative delay* ``r = D - B`` is
how much later than the fast path a packet came. A frame is in time when the playout delay d is at
least its packet's r, so the target is a high quantile of r, and because lateness comes in clumps the
quantile is taken over the *largest* r of each block of 250 ms (block maxima), as NetEQ does over
500 ms, but exactly, without buckets, and with exponential weights.

Which quantile: at the margin, one ms of delay must save as much concealment as it costs. With
`price_ms` being the delay that is worth 100 % concealment, ``1 - q = k * block_ms / price_ms`` (the
newsvendor rule; k = 2 where a stall's raised delay protects for free, as on TCP; 0.6 on UDP).

Beside it the *spike memory* S jumps to a large r at once, holds it for a second and forgets it with a
time constant of three: after one spike another is likely, but not for ever.

The *lead*: a sender that runs ahead of real time makes D fall without end. A packet more than
`LEAD_MS` earlier than the base *was* is taken as sent early: it is never late, and it does not move B.
What the base was is a reference that follows it by 10 ms a second, faster than any clock drifts. If it fell with B,
a burst would pull B down packet by packet, look like five seconds of delay, and be skipped; if it rose with B, which
a stall of more than two seconds lifts, the stall's backlog would be taken as sent early, and the delay stay.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.memory import aligned_zeros

BLOCKS = 256  # of 250 ms: 64 s, more than two time constants of the weights
DEQUE = 1024  # candidates for the base: 2 s of 2 ms packets
BASE_WINDOW_MS = 2_000.0
FORGET_MS = 30_000.0
SPIKE_HOLD_MS = 1_000.0
SPIKE_FORGET_MS = 3_000.0
LEAD_MS = 500.0
LEAD_FOLLOW = 0.01  # ms the reference moves per ms: 10 000 ppm

DELAY_DTYPE = np.dtype(
    [
        # settings
        ("quantile", "f8"),
        ("block_ms", "f8"),
        ("start_ms", "f8"),  # least target until two seconds are known
        ("min_ms", "f8"),
        ("max_ms", "f8"),
        ("guard_ms", "f8"),  # added to a spike: one packet
        # results
        ("base_ms", "f8"),  # B
        ("has_base", "i8"),
        ("target_ms", "f8"),  # T
        ("spike_ms", "f8"),  # S
        ("relative_ms", "f8"),  # r of the newest packet
        ("early", "i8"),  # packets taken as sent ahead of time
        ("lead_base_ms", "f8"),  # what the base was, for telling a lead
        ("lead_at_ms", "f8"),
        # block maxima, newest at `newest`; order[:known] sorts them by value, descending
        ("newest", "i8"),
        ("known", "i8"),
        ("open_until_ms", "f8"),
        ("open_max", "f8"),
        ("maxima", "f8", (BLOCKS,)),
        ("order", "i8", (BLOCKS,)),
        # spike memory
        ("spike_hold_until_ms", "f8"),
        # monotonic deque of (media time, D): its front is the base
        ("first", "i8"),
        ("count", "i8"),
        ("deque_media", "f8", (DEQUE,)),
        ("deque_transit", "f8", (DEQUE,)),
    ]
)


def quantile_of_price(price_ms: float, block_ms: float, transport: str) -> float:
    """The quantile of block maxima at which one more ms of delay costs what it saves."""
    factor = 2.0 if transport == "tcp" else 0.6
    return min(0.999, max(0.5, 1.0 - factor * block_ms / price_ms))


def make_delay(price_ms: float, transport: str, min_ms: float, max_ms: float, start_ms: float) -> np.ndarray:
    """The estimator's memory, one `DELAY_DTYPE` record."""
    state = aligned_zeros(1, DELAY_DTYPE)
    state["block_ms"] = 250.0 if transport == "tcp" else 500.0
    state["quantile"] = quantile_of_price(price_ms, float(state["block_ms"][0]), transport)
    state["min_ms"] = min_ms
    state["max_ms"] = max(max_ms, min_ms)
    state["start_ms"] = start_ms
    state["guard_ms"] = 20.0
    state["target_ms"] = max(min_ms, start_ms)
    return state


@kernel("void(i8)")
def delay_rebase(address):
    """Forget the base (a new connection, or a sender that paused); keep what is known of the jitter."""
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    s.first = 0
    s.count = 0
    s.has_base = 0


@kernel("void(i8, f8)")
def _close_block(address, value):
    """Put one block's maximum into the history, keeping `order` sorted, and compute the target."""
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    maxima = s.maxima
    order = s.order
    s.newest = (s.newest + 1) & (BLOCKS - 1)
    slot = s.newest
    known = s.known
    if known == BLOCKS:  # the oldest leaves
        at = 0
        while order[at] != slot:
            at += 1
        for i in range(at, known - 1):
            order[i] = order[i + 1]
        known -= 1
    maxima[slot] = value
    at = known
    while at > 0 and maxima[order[at - 1]] < value:
        order[at] = order[at - 1]
        at -= 1
    order[at] = slot
    s.known = known + 1


@kernel("f8(i8)")
def _weighted_quantile(address):
    """The smallest value that at most ``1 - quantile`` of the weight exceeds; the open block counts fully."""
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    per_block = math.exp(-s.block_ms / FORGET_MS)
    # closed form of the geometric sum of weights, ages 1..known, plus the open block of age 0
    total = 1.0 + per_block * (1.0 - per_block**s.known) / (1.0 - per_block)
    allowed = (1.0 - s.quantile) * total
    above = 0.0
    open_done = False
    for i in range(s.known):
        slot = s.order[i]
        if not open_done and s.open_max >= s.maxima[slot]:
            above += 1.0
            open_done = True
            if above > allowed:
                return s.open_max
        above += per_block ** (1 + ((s.newest - slot) & (BLOCKS - 1)))
        if above > allowed:
            return s.maxima[slot]
    return s.open_max if not open_done else s.maxima[s.order[s.known - 1]]


@kernel("f8(i8, f8)")
def delay_spike(address, now_ms):
    """S at `now_ms`: held for a second, then forgotten with a time constant of three."""
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    age = now_ms - s.spike_hold_until_ms
    return s.spike_ms if age <= 0.0 else s.spike_ms * math.exp(-age / SPIKE_FORGET_MS)


@kernel("f8(i8, f8, f8)")
def delay_update(address, arrival_ms, media_ms):
    """Take in one packet's arrival; returns its relative delay r.

    Parameters
    ----------
    arrival_ms
        Arrival in milliseconds of the device's clock.
    media_ms
        Media time of the packet's first frame.

    Notes
    -----
    Thread: render.   Real-time: yes; at most 256 steps.
    """
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    transit = arrival_ms - media_ms
    if s.has_base != 0:
        reach = LEAD_FOLLOW * max(0.0, arrival_ms - s.lead_at_ms)
        s.lead_base_ms += min(reach, max(-reach, s.base_ms - s.lead_base_ms))
        s.lead_at_ms = max(arrival_ms, s.lead_at_ms)
    if s.has_base != 0 and transit < s.lead_base_ms - LEAD_MS:
        s.early += 1
        relative = 0.0
    else:
        while s.count > 0 and s.deque_transit[(s.first + s.count - 1) & (DEQUE - 1)] >= transit:
            s.count -= 1
        if s.count == DEQUE:
            s.first = (s.first + 1) & (DEQUE - 1)
            s.count -= 1
        at = (s.first + s.count) & (DEQUE - 1)
        s.deque_media[at] = media_ms
        s.deque_transit[at] = transit
        s.count += 1
        while s.deque_media[s.first] < media_ms - BASE_WINDOW_MS:
            s.first = (s.first + 1) & (DEQUE - 1)
            s.count -= 1
        s.base_ms = s.deque_transit[s.first]
        if s.has_base == 0:
            s.lead_base_ms = s.base_ms
            s.lead_at_ms = arrival_ms
            s.has_base = 1
        relative = max(0.0, transit - s.base_ms)
    s.relative_ms = relative

    # block maxima
    changed = False
    if s.open_until_ms == 0.0:
        s.open_until_ms = arrival_ms + s.block_ms
    skipped = 0
    while arrival_ms >= s.open_until_ms:
        if skipped == BLOCKS:
            s.open_until_ms = arrival_ms + s.block_ms
            break
        _close_block(address, s.open_max)
        s.open_max = 0.0
        s.open_until_ms += s.block_ms
        skipped += 1
        changed = True
    clamped = min(relative, s.max_ms)
    if clamped > s.open_max:
        s.open_max = clamped
        changed = True
    if changed:
        target = _weighted_quantile(address)
        if s.known * s.block_ms < 2_000.0:
            target = max(target, s.start_ms)
        s.target_ms = min(max(target, s.min_ms), s.max_ms)

    # spike memory
    faded = delay_spike(address, arrival_ms)
    if clamped >= faded:
        s.spike_ms = clamped
        s.spike_hold_until_ms = arrival_ms + SPIKE_HOLD_MS
    return relative


@kernel("f8(i8, f8)")
def delay_control(address, now_ms):
    """The playout delay to steer for: the target, or a fresh spike and one packet, within the limits."""
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    wanted = max(s.target_ms, delay_spike(address, now_ms) + s.guard_ms)
    return min(max(wanted, s.min_ms), s.max_ms)
