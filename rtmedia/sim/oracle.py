"""The least that any jitter buffer could have cost on given arrivals: bounds to print beside what one did cost.

How to think about it. A packet's *lateness* is its delay above the fastest packet of the whole stream. A buffer that
knows every arrival in advance still has to choose between playing late and making sound up. The price says how much
delay is worth the same as concealment all the time; the cost of a run is ``J = mean delay + price x concealed share``,
in ms, and an oracle is the schedule with the smallest J among all schedules of a kind:

* the **constant oracle** plays everything with one delay; what is later is missed. Without ticks: a continuous bound.
* the **schedule oracle** may change the delay at every tick of 10 ms: play the next 10 ms of media; conceal and
  *hold* (media waits, the delay grows by 10 ms); conceal and *advance* (media goes on, the delay stays).
* the **stretching oracle** may also play up to ``stretch x 10`` ms more or less of media per tick, at no charge: less than
  real stretching costs, so J of a good real buffer lies between the last two.

The schedule oracles are exact on a grid of 1 ms by dynamic programming over (tick, delay), O(ticks x levels), and keep
two rows of memory. Their ticks lie where those of the simulation lie: at multiples of 10 ms of the clock that the arrivals
are written in, so that a packet that comes just after a tick waits for the next one here and there alike. Where the
clock has another phase against the packets, J moves by less than 10 ms.

No bound for what a buffer does that is not listed: skip media without concealment, or stretch faster.

Sources: S. Moon, J. Kurose, D. Towsley, "Packet audio playout delay adjustment: performance bounds and algorithms",
Multimedia Systems 6, 1998 (bounds per talkspurt; here per tick); R. Bellman, "Dynamic Programming", 1957.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError
from rtmedia.rt.kernel import kernel
from rtmedia.sim.trace import Trace

TICK_MS = 10
#: Levels tried before it is asked whether more would help: traces with outages of minutes must not take minutes.
FIRST_LEVELS_MS = 2_000
#: The most media, in ms, that a tick may take more or less than 10: beyond that, nothing would be left to play.
_MOST_SHIFT_MS = 9
_NEVER = np.iinfo(np.int32).max
_ALWAYS = np.iinfo(np.int32).min


@dataclass(frozen=True, slots=True)
class Bound:
    """The best schedule of one kind.

    Attributes
    ----------
    cost_ms : float
        J, the mean delay plus price times concealed share.
    delay_ms : float
        Mean playout delay above the fastest packet.
    concealed_pct : float
        Share of what is heard that is made up, 0 to 100.
    """

    cost_ms: float
    delay_ms: float
    concealed_pct: float


def media_place_ms(trace: Trace) -> npt.NDArray[np.float64]:
    """Media time of each row's packet, from the first one on, as the simulated server counts it: by number, but for senders that pause."""
    index = trace.seq - trace.seq[0]
    return index * trace.packet_ms if trace.regular else trace.timeline()[0][index].astype(np.float64)


def lateness_ms(trace: Trace) -> npt.NDArray[np.float64]:
    """Delay of each packet above the fastest one, in sequence order; infinite for those that never come.

    Media time: see `media_place_ms`.
    """
    index = trace.seq - trace.seq[0]
    late = np.full(int(index[-1]) + 1, np.inf)
    delay = trace.arrival_ms - media_place_ms(trace)
    if not np.isfinite(delay).any():
        raise ConfigError(f"no packet of trace {trace.name} arrives; check its arrival_ms column")
    late[index] = np.where(np.isnan(delay), np.inf, delay - np.nanmin(delay))
    return late


def constant_oracle(trace: Trace, price_ms: float) -> Bound:
    """The constant delay with the least J: the delay itself plus price times share of packets missed."""
    late = np.sort(lateness_ms(trace))
    came = late[np.isfinite(late)]
    missed = (late.size - np.searchsorted(late, came, side="right")) / late.size
    cost = came + price_ms * missed
    best = int(cost.argmin())
    return Bound(float(cost[best]), float(came[best]), 100.0 * float(missed[best]))


def schedule_oracle(trace: Trace, price_ms: float, *, stretch: float = 0.0, phase_ms: float = 0.0) -> Bound:
    """The schedule with the least J among all that know the future.

    Parameters
    ----------
    trace
        The arrivals.
    price_ms
        Delay worth as much as concealment all the time.
    stretch
        Largest change of speed, 0 to 0.9, rounded down to tenths (1 ms of 10).
    phase_ms
        Ticks lie at ``phase_ms + 10 n`` on the clock of the arrivals; 0 is the simulation's.

    Notes
    -----
    Thread: any.   Real-time: no.
    One tick is counted for every 10 ms of media sent; before the stream's beginning and after its end everything is there.
    The delay is never below 0, nor above what the latest packet and a tick need. Where that is more than
    `FIRST_LEVELS_MS` and one and a half times the best constant delay, the delay is first held below these, and the cap doubled
    for as long as that lowers J: exact for lateness up to 2 s, and beyond it unless a still larger delay would pay where
    twice as much did not.
    """
    shift = int(stretch * TICK_MS + 1e-9)
    if not 0 <= shift <= _MOST_SHIFT_MS:
        raise ConfigError(f"stretch is {stretch}; it must lie between 0 and 0.9")
    late = lateness_ms(trace)
    latest = float(late[np.isfinite(late)].max())
    # With so much, every span of 10 ms and the largest shift is there, or never will be.
    enough = math.ceil(latest) + TICK_MS + shift + 2
    cap = min(enough, max(FIRST_LEVELS_MS, math.ceil(1.5 * constant_oracle(trace, price_ms).delay_ms)))
    best = _best_schedule(trace, late, price_ms, shift, phase_ms, cap)
    while cap < enough:
        cap = min(enough, 2 * cap)
        larger = _best_schedule(trace, late, price_ms, shift, phase_ms, cap)
        if larger.cost_ms >= best.cost_ms:
            break
        best = larger
    return best


def _best_schedule(trace: Trace, late: npt.NDArray[np.float64], price_ms: float, shift: int, phase_ms: float, levels: int) -> Bound:
    """Lay the arrivals out for the kernel, and read its answer.

    The kernel's media time is whole milliseconds: those of the packets' borders. A delay is then ``level + fraction``
    with the same fraction everywhere, the part of a millisecond between the ticks and the fastest packet. Where a sender
    was silent nothing can be missing.
    """
    begin_ms, length_ms = _borders(trace)
    media_ms = round(begin_ms[-1]) + int(length_ms[-1])
    ticks = media_ms // TICK_MS
    if ticks == 0:
        return Bound(0.0, 0.0, 0.0)
    fastest_ms = float(np.nanmin(trace.arrival_ms - media_place_ms(trace)))
    first_tick_ms = phase_ms + TICK_MS * math.ceil((fastest_ms - phase_ms) / TICK_MS - 1e-9)
    newest = math.floor(first_tick_ms - fastest_ms + 1e-6)  # media position of level 0 at the first tick
    fraction = max(0.0, first_tick_ms - fastest_ms - newest)

    # For each millisecond of media the tick from which on it is there.
    arrival_ms = late + fastest_ms + begin_ms
    tick_of = np.ceil((arrival_ms - first_tick_ms) / TICK_MS - 1e-9)
    tick_of = np.where(np.isfinite(tick_of), np.clip(tick_of, 0, _NEVER - 1), _NEVER).astype(np.int32)
    media = np.full(media_ms, _ALWAYS, np.int32)
    within = np.arange(length_ms.sum()) - np.repeat(np.cumsum(length_ms) - length_ms, length_ms)
    media[np.repeat(np.rint(begin_ms).astype(np.int64), length_ms) + within] = np.repeat(tick_of, length_ms)
    end = newest + TICK_MS * ticks + 2 * TICK_MS  # beyond what any schedule can reach
    there = np.full(levels + TICK_MS + end, _ALWAYS, np.int32)  # begins so many ms before the stream
    there[levels + TICK_MS :][:media_ms] = media[:end]
    ready = np.empty((2 * shift + 1, there.size), np.int32)
    for row in range(2 * shift + 1):
        ready[row] = _spans(there, TICK_MS - shift + row)[::-1]  # reversed: a larger delay is older media
    # Column of level 0 at the last tick; each tick before lies 10 columns later.
    column = there.size - 1 - (levels + TICK_MS + newest + TICK_MS * (ticks - 1))

    value = np.full((2, levels + 2 * TICK_MS), np.inf)
    value[0, TICK_MS : TICK_MS + levels] = np.arange(levels)
    concealed = np.zeros_like(value)
    _least_cost(float(price_ms), ticks, levels, shift, column, ready, value, concealed)
    row = value[ticks & 1]
    at = int(row.argmin())
    share = float(concealed[ticks & 1, at]) / ticks
    cost = float(row[at]) / ticks + fraction
    return Bound(cost, cost - price_ms * share, 100.0 * share)


def _borders(trace: Trace) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Begin of every packet on the sender's clock, ms, and how many whole milliseconds it holds."""
    if not trace.regular:
        begin_ms, length_ms = trace.timeline()
        return begin_ms.astype(np.float64), length_ms
    packets = int(trace.seq[-1] - trace.seq[0]) + 1
    borders_ms = np.arange(packets + 1, dtype=np.float64) * trace.packet_ms
    whole_ms = np.rint(borders_ms).astype(np.int64)
    return borders_ms[:-1], whole_ms[1:] - whole_ms[:-1]


def _spans(there: npt.NDArray[np.int32], length: int) -> npt.NDArray[np.int32]:
    """From which tick on all of ``[i, i + length)`` is there; what lies beyond the end always is."""
    # Doubling: the largest of 8 is the larger of two largest of 4.
    covered = 1
    largest = np.append(there, np.full(length, _ALWAYS, np.int32))
    while 2 * covered <= length:
        largest = np.maximum(largest[:-covered], largest[covered:])
        covered *= 2
    rest = length - covered
    return np.maximum(largest[: there.size], largest[rest : rest + there.size])


@kernel("void(f8, i8, i8, i8, i8, i4[:, ::1], f8[:, ::1], f8[:, ::1])")
def _least_cost(price_ms, ticks, levels, shift, column, ready, value, concealed):
    """For every delay the cheapest way there, tick after tick.

    Parameters
    ----------
    price_ms
        Of one concealed tick.
    ticks, levels, shift
        Steps; delays 0, 1, … levels - 1 ms; media that a tick may take more or less.
    column
        See `ready`.
    ready
        Row ``a`` holds, for each place in media, from which tick on the next ``10 - shift + a`` ms are there. Places run
        backwards; level ``j`` of tick ``n`` is in column ``column + 10 (ticks - 1 - n) + j``.
    value, concealed
        Two rows each with 10 spare columns at both ends, `value` infinite there: the cost so far and the concealed ticks
        in it. Row 0 is filled by the caller; the answer is in row ``ticks & 1``.
    """
    for n in range(ticks):
        source = value[n & 1]
        target = value[1 - (n & 1)]
        from_concealed = concealed[n & 1]
        to_concealed = concealed[1 - (n & 1)]
        at = column + 10 * (ticks - 1 - n)
        play = ready[shift]
        for j in range(levels):
            lack = 1.0 if play[at + j] > n else 0.0
            stay = source[10 + j] + lack * price_ms  # played, or concealed while media goes on
            hold = source[j] + price_ms
            better = hold < stay
            target[10 + j] = hold if better else stay
            to_concealed[10 + j] = from_concealed[j] + 1.0 if better else from_concealed[10 + j] + lack
        for s in range(1, shift + 1):
            slow = ready[shift - s]
            fast = ready[shift + s]
            for j in range(s, levels):
                cost = source[10 + j - s] if slow[at + j - s] <= n else np.inf
                better = cost < target[10 + j]
                target[10 + j] = cost if better else target[10 + j]
                to_concealed[10 + j] = from_concealed[10 + j - s] if better else to_concealed[10 + j]
            for j in range(levels - s):
                cost = source[10 + j + s] if fast[at + j + s] <= n else np.inf
                better = cost < target[10 + j]
                target[10 + j] = cost if better else target[10 + j]
                to_concealed[10 + j] = from_concealed[10 + j + s] if better else to_concealed[10 + j]
        if n < ticks - 1:
            for j in range(levels):
                target[10 + j] += j


def oracle_report(trace: Trace, price_ms: float) -> dict[str, float]:
    """The keys of a simulation's report that begin with ``oracle_``, see `rtmedia.simulate`."""
    constant = constant_oracle(trace, price_ms)
    schedule = schedule_oracle(trace, price_ms)
    stretching = schedule_oracle(trace, price_ms, stretch=0.10)
    return {
        "oracle_constant_ms": constant.delay_ms,
        "oracle_constant_j": constant.cost_ms,
        "oracle_constant_concealed_pct": constant.concealed_pct,
        "oracle_schedule_ms": schedule.delay_ms,
        "oracle_schedule_j": schedule.cost_ms,
        "oracle_schedule_concealed_pct": schedule.concealed_pct,
        "oracle_stretch_ms": stretching.delay_ms,
        "oracle_stretch_j": stretching.cost_ms,
        "oracle_stretch_concealed_pct": stretching.concealed_pct,
    }
