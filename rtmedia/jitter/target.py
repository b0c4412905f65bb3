"""The target: the playout delay that would have been cheapest so far.

How to think about it. Beside the buffer that is heard run some hundred that are not. Each *candidate* is one way to
choose the delay: a constant T, or a constant T and the memory of the last spike (held for a while, then forgotten).
For every packet each candidate works out what it would have had to conceal, and where its delay would stand now. What
it pays is what the listener pays::

    cost = mean playout delay + price x concealed share (+ a little for stretching)

with older costs forgotten exponentially. The candidate with the least cost steers. So how much a rare spike is worth,
whether spikes come in clumps, and how much a stall's raised delay protects from the next one need no rule: they have
happened to the candidates.

For a constant delay and a linear loss this is the newsvendor's quantile (the least T with P(r > T) <= k x block / price,
which WebRTC's NetEQ approximates by a fixed 0.95). Choosing the best expert by its discounted past is "follow the leader"
with forgetting: N. Cesa-Bianchi, G. Lugosi, "Prediction, Learning, and Games", Cambridge 2006, section 2.11.

A candidate knows that the real buffer slows down while nothing arrives (DRAIN): of a stall it conceals only what its own
waiting audio, stretched, does not cover. It works off what is too much at `SHED` ms per ms, as the real one does.
"""

from __future__ import annotations

import math

import numpy as np

from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray

#: Delays that are tried, ms. Two and a half near the low end, where a packet late by that much is a click more.
LADDER_MS = (
    *(0.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5, 20.0, 22.5, 25.0, 27.5, 30.0, 32.5, 35.0, 37.5, 40.0, 45.0, 50.0, 55.0, 60.0, 65.0),
    *(70.0, 80.0, 90.0, 100.0, 110.0, 120.0, 135.0, 150.0, 170.0, 190.0, 220.0, 250.0, 280.0, 320.0, 360.0, 400.0, 450.0, 500.0),
    *(600.0, 700.0, 800.0, 1_000.0, 1_300.0, 1_700.0, 2_200.0, 3_000.0, 4_000.0, 5_500.0, 7_500.0, 10_000.0),
)
#: Memories of a spike: none, short, long. How long it is held, and the time constant with which it is then forgotten.
HOLD_MS = (0.0, 500.0, 1_000.0)
FORGET_MS = (1.0, 1_500.0, 3_000.0)
MEMORIES = len(HOLD_MS)
STEPS = 64  # room for the ladder and both limits

#: Costs are forgotten with this time constant: two stalls a minute are still one network.
DISCOUNT_MS = 40_000.0
#: Before anything is known, the past counts as calm for so long: one outage in the first seconds is not yet a habit.
CALM_MS = 5_000.0
#: What waiting costs a candidate, as a part of its price: reality is kinder, with pauses and parts of blocks. What was
#: overtaken and comes too late costs all of it: its words are gone.
PRICE_SHARE = 0.7
#: Stretching costs this part of what concealing the same time does.
STRETCH_SHARE = 0.05
#: From the first overdue moment until DRAIN acts, and what it then adds to what is left. In fact it adds more, but not always.
DRAIN_AFTER_MS = 35.0
DRAIN_GAIN = 1.0
#: How fast delay is worked off and built up, ms per ms, speech and pauses taken together.
SHED = 0.30
SHED_FAST = 0.45
FAR_MS = 150.0
BUILD = 0.15
#: Longer without a packet, the sender was silent: that time was not heard, and costs nobody anything.
PAUSE_MS = 1_000.0
#: Of an outage longer than this it makes no difference how much of it a delay would have bridged.
HOPELESS_MS = 600.0
#: Concealment comes in blocks: half a block more than was missing, in the mean.
ROUNDING_MS = 5.0

TARGET_DTYPE = np.dtype(
    [
        # settings
        ("price", "f8"),  # ms of delay that are worth 100 % concealment
        ("limit_ms", "f8"),
        ("steps", "i8"),
        ("ladder", "f8", (STEPS,)),
        # the last spike, one memory each
        ("spike_ms", "f8", (MEMORIES,)),
        ("held_until_ms", "f8", (MEMORIES,)),
        # the candidates, memory by memory
        ("delay_ms", "f8", (MEMORIES * STEPS,)),
        ("cost", "f8", (MEMORIES * STEPS,)),
        ("best", "i8"),
        # where the stream is
        ("begun", "i8"),
        ("at_ms", "f8"),
        ("newest_media_ms", "f8"),
        ("base_ms", "f8"),
    ]
)


def set_target(state: np.void, price_ms: float, min_ms: float, max_ms: float) -> None:
    """Set up one record of `TARGET_DTYPE`."""
    ladder = sorted({min(max(step, min_ms), max_ms) for step in LADDER_MS})
    state["price"] = price_ms
    state["limit_ms"] = max_ms
    state["steps"] = len(ladder)
    state["ladder"][: len(ladder)] = ladder
    for memory in range(MEMORIES):
        state["cost"][memory * len(ladder) : (memory + 1) * len(ladder)] = np.array(ladder) * CALM_MS


@kernel("f8(i8, i8, f8)")
def _spike(address, memory, now_ms):
    """What one memory still holds of the last spike."""
    s = carray(pointer_void(address), 1, TARGET_DTYPE)[0]
    age_ms = now_ms - s.held_until_ms[memory]
    return s.spike_ms[memory] if age_ms <= 0.0 else s.spike_ms[memory] * math.exp(-age_ms / FORGET_MS[memory])


@kernel("f8(f8)", inline=True)
def _covering(spike_ms):
    """The least delay that, stretched while nothing arrives, lasts through a spike."""
    return spike_ms if spike_ms <= DRAIN_AFTER_MS else (spike_ms + DRAIN_GAIN * DRAIN_AFTER_MS) / (1.0 + DRAIN_GAIN)


@kernel("f8(i8)")
def target_constant(address):
    """T of the best candidate."""
    s = carray(pointer_void(address), 1, TARGET_DTYPE)[0]
    return s.ladder[s.best % s.steps]


@kernel("f8(i8, f8)")
def target_spike(address, now_ms):
    """The delay for which the best candidate's memory of the last spike asks; 0 without one."""
    s = carray(pointer_void(address), 1, TARGET_DTYPE)[0]
    memory = s.best // s.steps
    return _covering(_spike(address, memory, now_ms)) if memory > 0 else 0.0


@kernel("void(i8)")
def target_rebase(address):
    """A new connection: the base begins anew, what delay costs is still known."""
    s = carray(pointer_void(address), 1, TARGET_DTYPE)[0]
    s.begun = 0


@kernel("void(i8, f8, f8, f8, f8, f8)")
def target_update(address, arrival_ms, media_ms, packet_ms, base_ms, relative_ms):
    """Let every candidate live through one packet.

    Parameters
    ----------
    arrival_ms, media_ms
        Arrival on the device's clock, and media time of the first frame.
    packet_ms
        Its length.
    base_ms, relative_ms
        The fast path as it is now, and how much later than that the packet came (see `rtmedia.jitter.delay`).

    Notes
    -----
    Thread: render.   Real-time: yes; as many steps as there are candidates.
    """
    s = carray(pointer_void(address), 1, TARGET_DTYPE)[0]
    if s.begun == 0:
        s.begun = 1
        s.at_ms = arrival_ms
        s.newest_media_ms = media_ms
        s.base_ms = base_ms
        for i in range(MEMORIES * s.steps):
            s.delay_ms[i] = s.ladder[i % s.steps]
    passed_ms = min(max(0.0, arrival_ms - s.at_ms), PAUSE_MS)
    s.at_ms = max(arrival_ms, s.at_ms)
    overtaken = media_ms < s.newest_media_ms
    s.newest_media_ms = max(media_ms, s.newest_media_ms)
    moved_base_ms = base_ms - s.base_ms  # delays are counted from the base: it moved, they did not
    s.base_ms = base_ms
    kept = math.exp(-passed_ms / DISCOUNT_MS)
    shed_ms = passed_ms * SHED
    shed_fast_ms = passed_ms * SHED_FAST
    build_ms = passed_ms * BUILD
    price = PRICE_SHARE * s.price
    stretch_price = STRETCH_SHARE * price
    least = math.inf
    for memory in range(MEMORIES):
        asked = _covering(_spike(address, memory, arrival_ms)) if memory > 0 else 0.0
        for step in range(s.steps):
            i = memory * s.steps + step
            wanted = max(s.ladder[step], asked)
            delay = s.delay_ms[i] - moved_base_ms
            error = delay - wanted
            if error > 0.0:
                moved = min(error, shed_fast_ms if error > FAR_MS else shed_ms)
                delay -= moved
            else:
                moved = min(-error, build_ms)
                delay += moved
            cost = s.cost[i] * kept + passed_ms * delay + stretch_price * moved
            short = relative_ms - delay
            if short > 0.0:
                if overtaken:  # newer audio is here: it is not waited for
                    cost += s.price * min(packet_ms, short + ROUNDING_MS)
                else:
                    drained = min(short, DRAIN_GAIN * max(0.0, delay - DRAIN_AFTER_MS))
                    cost += stretch_price * drained
                    if short > drained:
                        cost += price * min(short - drained + ROUNDING_MS, HOPELESS_MS)
                    delay = min(relative_ms, s.limit_ms)  # what is more will be skipped, not played
            s.delay_ms[i] = delay
            s.cost[i] = cost
            if cost < least:
                least = cost
                s.best = i
    for memory in range(1, MEMORIES):
        if relative_ms >= _spike(address, memory, arrival_ms):
            s.spike_ms[memory] = min(relative_ms, s.limit_ms)
            s.held_until_ms[memory] = arrival_ms + HOLD_MS[memory]
