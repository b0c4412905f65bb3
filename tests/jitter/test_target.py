"""The candidates against one that is simulated alone, in plain Python, and what their choice is worth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmedia.jitter import target as t
from rtmedia.rt.memory import aligned_zeros


def made(price_ms=10_000.0, min_ms=0.0, max_ms=1_000.0):
    state = aligned_zeros(1, t.TARGET_DTYPE)
    t.set_target(state[0], price_ms, min_ms, max_ms)
    return state


def live(state, packets):
    """Feed ``(arrival, media, base, r)``."""
    for arrival, media, base, late in packets:
        t.target_update(state.ctypes.data, arrival, media, 20.0, base, late)


def covering(spike):
    """The least delay that, with what stretching adds to it, lasts."""
    if spike <= t.DRAIN_AFTER_MS:
        return spike
    return t.DRAIN_AFTER_MS + (spike - t.DRAIN_AFTER_MS) / (1 + t.DRAIN_GAIN)


def reference_cost(packets, constant, memory, price_ms, limit_ms=1_000.0):
    """One candidate's life, told slowly."""
    price = price_ms * t.PRICE_SHARE
    cost, delay, spike, until = constant * t.CALM_MS, constant, 0.0, 0.0
    now, newest, at_base = packets[0][0], packets[0][1], packets[0][2]
    for arrival, media, base, late in packets:
        passed = min(max(0.0, arrival - now), t.PAUSE_MS)
        now = max(now, arrival)
        overtaken, newest = media < newest, max(media, newest)
        delay -= base - at_base
        at_base = base
        held = spike * math.exp(-max(0.0, arrival - until) / t.FORGET_MS[memory])
        wanted = max(constant, covering(held)) if memory else constant
        before = delay
        if delay > wanted:
            delay = max(wanted, delay - passed * (t.SHED_FAST if delay - wanted > t.FAR_MS else t.SHED))
        else:
            delay = min(wanted, delay + passed * t.BUILD)
        cost = cost * math.exp(-passed / t.DISCOUNT_MS) + passed * delay + t.STRETCH_SHARE * price * abs(delay - before)
        short = late - delay
        if short > 0 and overtaken:
            cost += price / t.PRICE_SHARE * min(20.0, short + t.ROUNDING_MS)
        elif short > 0:
            drained = min(short, t.DRAIN_GAIN * max(0.0, delay - t.DRAIN_AFTER_MS))
            cost += t.STRETCH_SHARE * price * drained + (
                price * min(short - drained + t.ROUNDING_MS, t.HOPELESS_MS) if short > drained else 0.0
            )
            delay = min(late, limit_ms)
        if memory and late >= held:
            spike, until = min(late, limit_ms), arrival + t.HOLD_MS[memory]
    return cost


def random_packets(seed, count=400):
    rng = np.random.default_rng(seed)
    late = rng.exponential(8.0, count) + 200.0 * (rng.random(count) < 0.01)
    base = 40.0 + np.cumsum(rng.normal(0, 0.2, count))
    arrivals = np.arange(count) * 20.0 + base + late
    if seed % 2:
        arrivals = np.maximum.accumulate(arrivals)
    order = np.argsort(arrivals, kind="stable")
    return [(float(arrivals[i]), float(i * 20.0), float(base[i]), float(late[i])) for i in order]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1_000.0, 10_000.0, 50_000.0]))
def test_every_candidate_pays_what_it_would_have_paid_alone(seed, price_ms):
    packets = random_packets(seed)
    state = made(price_ms)
    live(state, packets)
    s = state[0]
    steps = int(s["steps"])
    costs = []
    for memory in range(t.MEMORIES):
        for step in range(0, steps, 5):
            wanted = reference_cost(packets, float(s["ladder"][step]), memory, price_ms)
            assert s["cost"][memory * steps + step] == pytest.approx(wanted, rel=1e-9, abs=1e-6)
            costs.append(wanted)
    best = float(s["cost"][s["best"]])
    assert best == s["cost"][: t.MEMORIES * steps].min()
    assert best <= min(costs) + 1e-6


def test_the_best_constant_is_the_best_of_hindsight_where_packets_are_late_by_chance():
    """Against the cost of a constant delay on the very packets, without any model: within a rung of the ladder of the least."""
    rng = np.random.default_rng(3)
    late = rng.gamma(0.6, 30.0, 4_000)
    packets = [(i * 20.0 + 40.0 + late[i], i * 20.0, 40.0, late[i]) for i in np.argsort(np.arange(4_000) * 20.0 + late, kind="stable")]
    state = made()
    live(state, packets)
    recent = late[-2_000:]
    grid = np.arange(0.0, 300.0, 2.5)
    cost = [d + t.PRICE_SHARE * 10_000.0 * (recent > d).mean() for d in grid]
    chosen = t.target_constant(state.ctypes.data)
    at_chosen = chosen + t.PRICE_SHARE * 10_000.0 * (recent > chosen).mean()
    assert at_chosen <= 1.1 * min(cost)


def test_the_limits_hold_for_every_rung():
    state = made(min_ms=33.0, max_ms=144.0)
    ladder = state["ladder"][0][: int(state["steps"][0])]
    assert ladder[0] == 33.0
    assert ladder[-1] == 144.0
    assert (np.diff(ladder) > 0).all()


def test_a_senders_pause_costs_nothing_beyond_a_second():
    state, other = made(), made()
    before = [(i * 20.0, i * 20.0, 0.0, 0.0) for i in range(100)]
    live(state, [*before, (100_000.0, 100_000.0, 0.0, 0.0)])
    live(other, [*before, (2_980.0, 2_980.0, 0.0, 0.0)])
    assert np.array_equal(state["cost"], other["cost"])


def test_a_new_connection_keeps_the_costs_and_begins_its_delays_anew():
    state = made()
    live(state, random_packets(1))
    costs = state["cost"].copy()
    t.target_rebase(state.ctypes.data)
    t.target_update(state.ctypes.data, 1e6, 5.0, 20.0, 1e6 - 5.0, 0.0)
    assert np.array_equal(state["cost"], costs)


def test_there_is_room_for_the_ladder_and_both_limits():
    assert len(t.LADDER_MS) + 2 <= t.STEPS
