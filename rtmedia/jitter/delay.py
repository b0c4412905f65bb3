"""How late packets come, and how much delay that is worth: the target of the jitter buffer.

How to think about it. Each packet has a *transit* ``D = arrival - media time``, both in milliseconds
of the device's clock; only differences of D mean anything. The *base* B is the smallest D of the last
two seconds of media: the fast path of the network as it is now. The *relative delay* ``r = D - B`` is
how much later than the fast path a packet came. A frame is in time when the playout delay d is at
least its packet's r.

Two things are told from r. How late packets *usually* are, a quantile of the largest r of each block of 250 ms (block
maxima, because lateness comes in clumps; exact, without buckets, with exponential weights): what is overdue by more is
the beginning of a stall. And the *target*: which playout delay would have been cheapest (`rtmedia.jitter.target`).

The *margin*: where packets are lost for good, a little more delay pays for itself. Of a gap nothing need be made up for as
much as d is above the target: the gap is closed instead, and the time won back by stretching what is there. Hiding loss by
stretching its surroundings: H. Sanneck et al., "A new technique for audio packet loss concealment", GLOBECOM 1996; Y. Liang,
N. Farber, B. Girod, "Adaptive playout scheduling and loss concealment for voice communication over IP networks", IEEE Trans.
Multimedia 5, 2003.

The *lead*: a sender that runs ahead of real time makes D fall without end. A packet more than `LEAD_MS` earlier than the
base *was* proves that: no path gets faster by so much. From then on the stream is buffered playback: the base goes back to
what it was before the fall, and what comes earlier counts as just in time, until the sender has not been ahead for
`LEAD_FORGET_MS`. What the base was is a reference that follows it by 10 ms a second, faster than any clock drifts. If it
fell with B, a burst would pull B down packet by packet, look like five seconds of delay, and be skipped; if it rose with
B, which a stall of more than two seconds lifts, the stall's backlog would be taken as sent early, and the delay stay.
"""

from __future__ import annotations

import math

import numpy as np

from rtmedia.jitter.target import PAUSE_MS, TARGET_DTYPE, set_target, target_constant, target_rebase, target_spike, target_update
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros

BLOCKS = 256  # 64 s, more than two time constants of the weights
DEQUE = 1024  # candidates for the base: 2 s of 2 ms packets
BASE_WINDOW_MS = 2_000.0
BLOCK_MS = 250.0
FORGET_MS = 30_000.0
#: Of the weight of block maxima lies at or under "usual".
USUAL = 0.6
#: Until so much is known, the target is at least the one to start with.
START_MS = 2_000.0
#: Gaps are counted with this time constant. From `GAPS_FEW` a second on they are worth a margin, at `GAPS_MANY` all of it.
GAPS_FORGET_MS = 20_000.0
GAPS_FEW = 0.1
GAPS_MANY = 0.4
MARGIN_MS = 20.0
LEAD_MS = 500.0
LEAD_FORGET_MS = 10_000.0
LEAD_FOLLOW = 0.01  # ms the reference moves per ms: 10 000 ppm

DELAY_DTYPE = np.dtype(
    [
        # settings
        ("min_ms", "f8"),
        ("max_ms", "f8"),
        ("start_ms", "f8"),  # least target until `START_MS` are known
        # results
        ("base_ms", "f8"),  # B
        ("has_base", "i8"),
        ("relative_ms", "f8"),  # r of the newest packet
        ("usual_ms", "f8"),
        ("early", "i8"),  # packets taken as sent ahead of time
        ("lead_base_ms", "f8"),  # what the base was, for telling a lead
        ("lead_at_ms", "f8"),
        ("leading_until_ms", "f8"),
        ("begun_ms", "f8"),  # arrival of the first packet
        # block maxima, newest at `newest`; order[:known] sorts them by value, descending
        ("newest", "i8"),
        ("known", "i8"),
        ("open_until_ms", "f8"),
        ("open_max", "f8"),
        ("maxima", "f8", (BLOCKS,)),
        ("order", "i8", (BLOCKS,)),
        # gaps of late: their discounted count
        ("gaps", "f8"),
        ("gaps_at_ms", "f8"),
        # monotonic deque of (media time, D): its front is the base
        ("first", "i8"),
        ("count", "i8"),
        ("deque_media", "f8", (DEQUE,)),
        ("deque_transit", "f8", (DEQUE,)),
        ("target", TARGET_DTYPE),
    ]
)
_TARGET_AT = DELAY_DTYPE.fields["target"][1]  # type: ignore[index]


def make_delay(price_ms: float, min_ms: float, max_ms: float, start_ms: float) -> np.ndarray:
    """The estimator's memory, one `DELAY_DTYPE` record."""
    state = aligned_zeros(1, DELAY_DTYPE)
    state["min_ms"] = min_ms
    state["max_ms"] = max(max_ms, min_ms)
    state["start_ms"] = start_ms
    set_target(state["target"][0], price_ms, min_ms, max(max_ms, min_ms))
    return state


@kernel("void(i8)")
def delay_rebase(address):
    """Forget the base (a new connection, or a sender that paused); keep what is known of the jitter."""
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    s.first = 0
    s.count = 0
    s.has_base = 0
    s.leading_until_ms = 0.0
    target_rebase(address + _TARGET_AT)


@kernel("void(i8, f8)")
def _close_block(address, value):
    """Put one block's maximum into the history, keeping `order` sorted."""
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
    """The smallest value that at most ``1 - USUAL`` of the weight exceeds; the open block counts fully."""
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    per_block = math.exp(-BLOCK_MS / FORGET_MS)
    # closed form of the geometric sum of weights, ages 1..known, plus the open block of age 0
    total = 1.0 + per_block * (1.0 - per_block**s.known) / (1.0 - per_block)
    allowed = (1.0 - USUAL) * total
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


@kernel("f8(i8, f8, f8, f8)")
def delay_update(address, arrival_ms, media_ms, packet_ms):
    """Take in one packet's arrival; returns its relative delay r.

    Parameters
    ----------
    arrival_ms
        Arrival in milliseconds of the device's clock.
    media_ms
        Media time of the packet's first frame.
    packet_ms
        Its length.

    Notes
    -----
    Thread: render.   Real-time: yes; some 150 short steps, and up to 2 500 where a block of maxima ends.
    """
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    transit = arrival_ms - media_ms
    if s.has_base != 0:
        reach = LEAD_FOLLOW * max(0.0, arrival_ms - s.lead_at_ms)
        s.lead_base_ms += min(reach, max(-reach, s.base_ms - s.lead_base_ms))
        s.lead_at_ms = max(arrival_ms, s.lead_at_ms)
    if s.has_base != 0 and transit < s.lead_base_ms - LEAD_MS:
        s.leading_until_ms = arrival_ms + LEAD_FORGET_MS
        while s.count > 0 and s.deque_transit[s.first] < s.lead_base_ms:  # the fall so far was the lead's
            s.first = (s.first + 1) & (DEQUE - 1)
            s.count -= 1
    if s.has_base != 0 and transit < s.lead_base_ms and arrival_ms < s.leading_until_ms:
        s.early += 1
        transit = s.lead_base_ms
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
    target_update(address + _TARGET_AT, arrival_ms, media_ms, packet_ms, s.base_ms, relative)

    # block maxima
    changed = False
    if s.open_until_ms == 0.0:
        s.begun_ms = arrival_ms
        s.open_until_ms = arrival_ms + BLOCK_MS
    if arrival_ms - s.open_until_ms > PAUSE_MS:  # nothing came: that says nothing about how late packets are
        _close_block(address, s.open_max)
        s.open_max = 0.0
        s.open_until_ms = arrival_ms + BLOCK_MS
        changed = True
    while arrival_ms >= s.open_until_ms:
        _close_block(address, s.open_max)
        s.open_max = 0.0
        s.open_until_ms += BLOCK_MS
        changed = True
    clamped = min(relative, s.max_ms)
    if clamped > s.open_max:
        s.open_max = clamped
        changed = True
    if changed:
        s.usual_ms = _weighted_quantile(address)
    return relative


@kernel("void(i8, f8)")
def delay_gap(address, now_ms):
    """Packets are proven lost: one gap more."""
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    s.gaps = s.gaps * math.exp(-(now_ms - s.gaps_at_ms) / GAPS_FORGET_MS) + 1.0
    s.gaps_at_ms = now_ms


@kernel("f8(i8, f8)")
def delay_margin(address, now_ms):
    """Delay on top of the target, to close gaps with."""
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    per_s = s.gaps * math.exp(-(now_ms - s.gaps_at_ms) / GAPS_FORGET_MS) * 1000.0 / GAPS_FORGET_MS
    return MARGIN_MS * min(1.0, max(0.0, (per_s - GAPS_FEW) / (GAPS_MANY - GAPS_FEW)))


@kernel("f8(i8, f8)")
def delay_target(address, now_ms):
    """The cheapest constant delay, within the limits; in the first two seconds at least the one to start with."""
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    target = target_constant(address + _TARGET_AT)
    if now_ms - s.begun_ms < START_MS:
        target = max(target, s.start_ms)
    return min(max(target, s.min_ms), s.max_ms)


@kernel("f8(i8, f8)")
def delay_spike(address, now_ms):
    """The delay that the last spike still asks for."""
    return target_spike(address + _TARGET_AT, now_ms)


@kernel("f8(i8, f8)")
def delay_wanted(address, now_ms):
    """The delay that protects: the target, or a fresh spike's if that is more."""
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    return min(max(delay_target(address, now_ms), delay_spike(address, now_ms)), s.max_ms)


@kernel("f8(i8, f8)")
def delay_control(address, now_ms):
    """The playout delay to steer for: what protects, and the margin, within the limits."""
    s = carray(pointer_void(address), 1, DELAY_DTYPE)[0]
    return min(delay_wanted(address, now_ms) + delay_margin(address, now_ms), s.max_ms)
