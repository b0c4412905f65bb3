"""Network models: when each packet arrives, or never (NaN).

Each takes a generator, the times at which the packets leave (ms, never decreasing) and its own settings by name, and
returns the arrivals. ``N``, ``U`` and ``Exp`` are the normal, uniform and exponential distribution; a model *keeps order*
where a packet waits for those before it (`rtmedia.sim.models.parts.in_order`).
"""

from __future__ import annotations

import numpy as np

from rtmedia.errors import ConfigError
from rtmedia.sim.models.parts import (
    BASE_MS,
    BURST_GAP_MS,
    Floats,
    check,
    gilbert_elliott,
    in_order,
    poisson_times,
    stalled,
    stalls,
)

#: 95th percentile of the gamma distribution of shape 0.6 and scale 1 (scipy.stats.gamma.ppf(0.95, 0.6)).
_GAMMA_SHAPE, _GAMMA_P95 = 0.6, 2.159012053847927


def gauss(rng: np.random.Generator, leave_ms: Floats, *, sd_ms: float = 5.0, loss: float = 0.0, burst_packets: float = 1.0) -> Floats:
    """Gaussian jitter with losses, in order: 40 + max(−4 sd, N(0, sd)); `loss` and `burst_packets` as in `gilbert_elliott`."""
    check("sd_ms", sd_ms, 0.0, 1_000.0)
    delay_ms = BASE_MS + np.maximum(-4.0 * sd_ms, rng.normal(0.0, sd_ms, leave_ms.size))
    arrival_ms = leave_ms + delay_ms
    arrival_ms[gilbert_elliott(rng, leave_ms.size, loss, burst_packets)] = np.nan
    return in_order(arrival_ms)


def gamma(rng: np.random.Generator, leave_ms: Floats, *, p95_ms: float = 60.0) -> Floats:
    """Independent heavy-tailed delays without order: 40 + Gamma(0.6), scaled so that its 95th percentile is `p95_ms`."""
    check("p95_ms", p95_ms, 0.0, 10_000.0)
    return leave_ms + BASE_MS + rng.standard_gamma(_GAMMA_SHAPE, leave_ms.size) * (p95_ms / _GAMMA_P95)


def pareto(rng: np.random.Generator, leave_ms: Floats, *, p95_ms: float = 60.0, alpha: float = 2.5, cap_ms: float = 400.0) -> Floats:
    """Heavy-tailed delays into a queue: 40 + min(cap, Lomax(α) with its 95th percentile at `p95_ms`), in order.

    Inverse transform: x = s (u^(−1/α) − 1), s = p95 / (0.05^(−1/α) − 1).
    """
    check("p95_ms", p95_ms, 0.0, 10_000.0)
    check("alpha", alpha, 0.5, 100.0)
    check("cap_ms", cap_ms, 0.0, 60_000.0)
    scale_ms = p95_ms / (0.05 ** (-1.0 / alpha) - 1.0)
    raw_ms = scale_ms * ((1.0 - rng.random(leave_ms.size)) ** (-1.0 / alpha) - 1.0)
    return in_order(leave_ms + BASE_MS + np.minimum(cap_ms, raw_ms))


def head_of_line(
    rng: np.random.Generator,
    leave_ms: Floats,
    *,
    every_s: float = 4.0,
    low_ms: float = 100.0,
    high_ms: float = 400.0,
    jitter_ms: float = 2.0,
) -> Floats:
    """Stalls of a WebSocket: 40 + Exp(jitter); after gaps of Exp(`every_s`) all stands still for U(low, high) ms, then comes at once."""
    _check_stalls(every_s, low_ms, high_ms)
    arrival_ms = in_order(leave_ms + BASE_MS + rng.exponential(jitter_ms, leave_ms.size))
    return stalled(arrival_ms, *stalls(rng, float(arrival_ms[-1]), every_s * 1000.0, lambda n: rng.uniform(low_ms, high_ms, n)))


def spikes(
    rng: np.random.Generator,
    leave_ms: Floats,
    *,
    per_s: float = 0.7,
    high_share: float = 0.1,
    drain: float = 0.5,
    jitter_ms: float = 3.0,
) -> Floats:
    """Wi-Fi: 40 + |N(0, jitter)|, and delay spikes that drain slowly, in order.

    Spikes begin at Poisson times (`per_s`), are U(20, 120) ms high, a `high_share` of them U(120, 250), and lose `drain` ms
    for each ms: at 0.5 their packets arrive at twice the usual rate. Where two overlap, the higher counts.
    """
    check("per_s", per_s, 0.001, 50.0)
    check("high_share", high_share, 0.0, 1.0)
    check("drain", drain, 0.01, 1.0)
    check("jitter_ms", jitter_ms, 0.0, 1_000.0)
    arrival_ms = leave_ms + BASE_MS + np.abs(rng.normal(0.0, jitter_ms, leave_ms.size))
    begin_ms = poisson_times(rng, float(leave_ms[-1]), 1000.0 / per_s)
    high = rng.random(begin_ms.size) < high_share
    height_ms = np.where(high, rng.uniform(120.0, 250.0, begin_ms.size), rng.uniform(20.0, 120.0, begin_ms.size))
    added_ms = np.zeros(leave_ms.size)
    for begin, height in zip(begin_ms.tolist(), height_ms.tolist(), strict=True):
        # From the first packet after it, at full height, until it has drained.
        first = int(np.searchsorted(leave_ms, begin))
        if first < leave_ms.size:
            last = int(np.searchsorted(leave_ms, leave_ms[first] + height / drain))
            added_ms[first:last] = np.maximum(added_ms[first:last], height - drain * (leave_ms[first:last] - leave_ms[first]))
    return in_order(arrival_ms + added_ms)


def step(
    rng: np.random.Generator,
    leave_ms: Floats,
    *,
    step_ms: float = 150.0,
    at_s: float = 25.0,
    back_s: float = 55.0,
    sd_ms: float = 3.0,
) -> Floats:
    """A change of route: 40 + N(0, sd), and `step_ms` more for what leaves from `at_s` until `back_s` (0: for good).

    In order on each route, not between them: after a step down, new packets overtake those still under way.
    """
    check("step_ms", step_ms, -35.0, 10_000.0)
    check("at_s", at_s, 0.0, 1e6)
    check("back_s", back_s, 0.0, 1e6)
    check("sd_ms", sd_ms, 0.0, 1_000.0)
    delay_ms = BASE_MS + np.maximum(-BASE_MS, rng.normal(0.0, sd_ms, leave_ms.size))
    back_ms = back_s * 1000.0 or np.inf
    stepped = (leave_ms >= at_s * 1000.0) & (leave_ms < back_ms)
    arrival_ms = leave_ms + np.maximum(0.0, delay_ms + np.where(stepped, step_ms, 0.0))
    for route in (leave_ms < at_s * 1000.0, stepped, (leave_ms >= at_s * 1000.0) & ~stepped):
        arrival_ms[route] = np.maximum.accumulate(arrival_ms[route]) if route.any() else arrival_ms[route]
    return arrival_ms


def cellular(
    rng: np.random.Generator,
    leave_ms: Floats,
    *,
    median_ms: float = 15.0,
    spread: float = 0.8,
    memory_s: float = 5.7,
    outage_every_s: float = 15.0,
    loss: float = 0.005,
) -> Floats:
    """A cellular mixture, in order.

    Queue: its logarithm is an AR(1) process with standard deviation `spread` and time constant `memory_s` around
    `median_ms`, capped at 120 ms. Scheduling grants lie on a 10 ms grid (+ U(0, 1)); 10 % of the packets come one HARQ round of
    8 ms later, 2 % two. After gaps of Exp(`outage_every_s`) an outage of U(150, 300) ms ends in a burst. `loss` is random.
    """
    check("median_ms", median_ms, 0.0, 1_000.0)
    check("spread", spread, 0.0, 5.0)
    check("memory_s", memory_s, 0.01, 1_000.0)
    size = leave_ms.size
    memory = np.exp(-np.diff(leave_ms, prepend=leave_ms[0]) / (memory_s * 1000.0))
    shocks = rng.normal(0.0, spread, size)
    level = np.empty(size)
    level[0] = shocks[0]
    for i, (kept, fresh) in enumerate(zip(memory[1:].tolist(), (np.sqrt(1.0 - memory[1:] ** 2) * shocks[1:]).tolist(), strict=True)):
        level[i + 1] = kept * level[i] + fresh
    queue_ms = np.minimum(120.0, median_ms * np.exp(level))
    granted_ms = np.ceil((leave_ms + BASE_MS + queue_ms) / 10.0) * 10.0 + rng.random(size)
    fate = rng.random(size)
    arrival_ms = in_order(granted_ms + np.where(fate < 0.02, 16.0, np.where(fate < 0.12, 8.0, 0.0)))
    if outage_every_s:
        _check_stalls(outage_every_s, 150.0, 300.0)
        found = stalls(rng, float(arrival_ms[-1]), outage_every_s * 1000.0, lambda n: rng.uniform(150.0, 300.0, n))
        arrival_ms = stalled(arrival_ms, *found)
    arrival_ms[gilbert_elliott(rng, size, loss, 1.0)] = np.nan
    return arrival_ms


def wifi_udp(
    rng: np.random.Generator,
    leave_ms: Floats,
    *,
    loss: float = 0.01,
    burst_packets: float = 3.0,
    every_s: float = 2.0,
    stall_ms: float = 80.0,
    jitter_ms: float = 3.0,
) -> Floats:
    """UDP over Wi-Fi, in order: 40 + |N(0, jitter)|, bursts of losses, and stalls of Exp(`stall_ms`) after gaps of Exp(`every_s`)."""
    _check_stalls(every_s, stall_ms, stall_ms)
    check("jitter_ms", jitter_ms, 0.0, 1_000.0)
    arrival_ms = in_order(leave_ms + BASE_MS + np.abs(rng.normal(0.0, jitter_ms, leave_ms.size)))
    found = stalls(rng, float(arrival_ms[-1]), every_s * 1000.0, lambda n: rng.exponential(stall_ms, n))
    arrival_ms = stalled(arrival_ms, *found)
    arrival_ms[gilbert_elliott(rng, leave_ms.size, loss, burst_packets)] = np.nan
    return arrival_ms


def outage(
    rng: np.random.Generator,
    leave_ms: Floats,
    *,
    stall_s: float = 1.0,
    at_s: float = 20.0,
    every_s: float = 0.0,
    jitter_ms: float = 2.0,
) -> Floats:
    """40 + Exp(jitter), and a stall of exactly `stall_s` from `at_s` on that ends in one burst; again `every_s`, if that is not 0."""
    check("stall_s", stall_s, 0.0, 600.0)
    check("at_s", at_s, 0.0, 1e6)
    if every_s and every_s <= stall_s:
        raise ConfigError(f"every_s is {every_s} and stall_s is {stall_s}; the stall must be shorter than its period")
    check("jitter_ms", jitter_ms, 0.0, 1_000.0)
    arrival_ms = in_order(leave_ms + BASE_MS + rng.exponential(jitter_ms, leave_ms.size))
    until_ms = float(arrival_ms[-1])
    begin_ms = np.arange(at_s * 1000.0, until_ms, every_s * 1000.0) if every_s else np.array([at_s * 1000.0])
    return stalled(arrival_ms, begin_ms, np.full(begin_ms.size, stall_s * 1000.0))


def tcp(
    rng: np.random.Generator,
    leave_ms: Floats,
    *,
    loss: float = 0.01,
    rtt_ms: float = 80.0,
    jitter_ms: float = 2.0,
    burst_packets: float = 1.0,
    min_rto_ms: float = 200.0,
) -> Floats:
    """One TCP connection that carries a packet a segment: nothing is lost, what is lost on the way holds up the rest.

    A segment takes RTT/2 + Exp(jitter) on a path that keeps order, and is lost with `loss`. Its sender learns of the loss

    * from three segments that arrive behind the hole (fast retransmit, RFC 5681 section 3.2; with SACK each hole
      counts its own, RFC 6675): the retransmission leaves RTT/2 after the third has arrived;
    * or from its timer, RTO = max(`min_rto_ms`, RTT + 4 RTTVAR) after the segment or the last one before it that was acknowledged
      in the meantime (RFC 6298 section 5; Linux's least RTO is 200 ms, the standard's 1 s).

    A retransmission is lost with `loss` too; from then on only the timer helps, doubled each time (RFC 6298 section 5.5).
    The receiver hands over in order: what waited behind a hole arrives in one burst. RTTVAR is the mean deviation of the
    sum of two exponentials, 8 e⁻² jitter. The congestion window never binds: speech is a few small segments in flight.
    Tail loss probes (RFC 8985) are not modelled: speech goes on, so that three later segments nearly always come first.
    """
    check("rtt_ms", rtt_ms, 0.1, 10_000.0)
    check("jitter_ms", jitter_ms, 0.0, 1_000.0)
    check("min_rto_ms", min_rto_ms, 1.0, 60_000.0)
    one_way_ms = rtt_ms / 2.0
    rto_ms = max(min_rto_ms, rtt_ms + 4.0 * 8.0 * np.exp(-2.0) * jitter_ms)
    on_path_ms = np.maximum.accumulate(leave_ms + one_way_ms + rng.exponential(jitter_ms, leave_ms.size))
    lost = gilbert_elliott(rng, leave_ms.size, loss, burst_packets)
    arrival_ms = on_path_ms.copy()
    through = np.flatnonzero(~lost)
    for i in np.flatnonzero(lost).tolist():
        place = int(np.searchsorted(through, i))  # of the first segment behind the hole that comes through
        # The timer runs from the last acknowledgement that moved on, at the latest of the segment just before.
        acknowledged_ms = on_path_ms[through[place - 1]] + one_way_ms if place else -np.inf
        timer_ms = max(leave_ms[i], acknowledged_ms) + rto_ms
        third_ms = on_path_ms[through[place + 2]] + one_way_ms if place + 2 < through.size else np.inf
        resent_ms = min(timer_ms, third_ms)
        wait_ms = rto_ms if third_ms <= timer_ms else 2.0 * rto_ms
        while loss and rng.random() < loss:
            resent_ms += min(60_000.0, wait_ms)
            wait_ms *= 2.0
        arrival_ms[i] = resent_ms + one_way_ms + rng.exponential(jitter_ms)
    delivered_ms = np.maximum.accumulate(arrival_ms)
    # Out of one hole, one after the other.
    waited = delivered_ms > arrival_ms
    run = np.arange(waited.size) - np.maximum.accumulate(np.where(waited, 0, np.arange(waited.size)))
    return in_order(delivered_ms + BURST_GAP_MS * run)


def _check_stalls(every_s: float, low_ms: float, high_ms: float) -> None:
    check("every_s", every_s, 0.05, 3_600.0)
    check("stall_ms", low_ms, 0.0, 600_000.0)
    if high_ms < low_ms:
        raise ConfigError(f"high_ms is {high_ms} and low_ms is {low_ms}; the longest stall cannot be shorter than the shortest")
