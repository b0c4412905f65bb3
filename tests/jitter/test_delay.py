"""The delay estimator against a slow reference, and its rules one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmedia.jitter.delay import (
    BLOCK_MS,
    BLOCKS,
    MARGIN_MS,
    USUAL,
    delay_control,
    delay_gap,
    delay_margin,
    delay_rebase,
    delay_spike,
    delay_target,
    delay_update,
    make_delay,
)

START_MS = 1_000.0


def made(**changes):
    values = {"price_ms": 10_000.0, "min_ms": 10.0, "max_ms": 1_000.0, "start_ms": 0.0} | changes
    state = make_delay(**values)
    return state, int(state.ctypes.data)


def update(address, arrival_ms, media_ms):
    return delay_update(address, arrival_ms, media_ms, 20.0)


def reference_usual(relative, arrivals, high):
    """Block maxima in plain Python, then the weighted quantile by sorting: no incremental anything."""
    closed, opened = [], 0.0
    until = arrivals[0] + BLOCK_MS
    for r, arrival in zip(relative, arrivals, strict=True):
        while arrival >= until:
            closed.append(opened)
            opened = 0.0
            until += BLOCK_MS
        opened = max(opened, min(r, high))
    values = [*closed[-BLOCKS:], opened]
    ages = np.arange(len(values))[::-1]
    weights = np.exp(-ages * BLOCK_MS / 30_000.0)
    order = np.argsort(values)[::-1]
    above = np.cumsum(weights[order])
    at = int(np.argmax(above > (1 - USUAL) * weights.sum() * (1 + 1e-12)))
    return values[order[at]]


@settings(max_examples=60)
@given(st.lists(st.floats(0.0, 800.0), min_size=1, max_size=400), st.sampled_from([20.0, 60.0, 170.0]))
def test_what_is_usual_is_the_weighted_quantile_of_block_maxima(lateness, packet_ms):
    state, address = made()
    relative, arrivals = [], []
    for i, late in enumerate(lateness):
        arrival = START_MS + i * packet_ms + late
        if arrivals and arrival < arrivals[-1]:
            arrival = arrivals[-1]  # in order
        relative.append(delay_update(address, arrival, i * packet_ms, packet_ms))
        arrivals.append(arrival)
    assert state["usual_ms"][0] == pytest.approx(reference_usual(relative, arrivals, 1_000.0), abs=1e-9)


@settings(max_examples=60)
@given(st.lists(st.floats(0.0, 400.0), min_size=1, max_size=300))
def test_the_relative_delay_is_the_transit_above_its_least_in_two_seconds_of_media(lateness):
    _, address = made()
    transits = []
    for i, late in enumerate(lateness):
        transits.append(START_MS + late)
        got = update(address, i * 20.0 + transits[-1], i * 20.0)
        recent = transits[max(0, i - 100) :]
        assert got == pytest.approx(transits[-1] - min(recent), abs=1e-9)


def feed(address, count, packet_ms=20.0, transit=50.0, first=0):
    for i in range(first, first + count):
        update(address, i * packet_ms + transit, i * packet_ms)


def target(state):
    """Long after the start."""
    return delay_target(state.ctypes.data, 1e7)


def test_a_perfect_network_needs_the_least_target():
    state, address = made()
    feed(address, 500)
    assert target(state) == 10.0
    assert delay_control(address, 10_000.0) == 10.0


def test_one_spike_a_minute_does_not_raise_the_target_and_frequent_ones_do():
    state, address = made()
    feed(address, 3_000)
    update(address, 3_000 * 20.0 + 350.0, 3_000 * 20.0)
    feed(address, 100, first=3_001)
    assert target(state) == 10.0
    for i in range(3_101, 6_000):
        update(address, i * 20.0 + 50.0 + (300.0 if i % 50 == 0 else 0.0), i * 20.0)
    # enough to last, stretched, through a stall of 300 ms
    assert 150.0 <= delay_control(address, 120_000.0) <= 200.0


def test_the_target_comes_down_again():
    state, address = made()
    for i in range(1_000):
        update(address, i * 20.0 + 50.0 + (200.0 if i % 20 == 0 else 0.0), i * 20.0)
    assert delay_control(address, 20_000.0) > 80.0
    feed(address, 8_000, first=1_000)
    assert target(state) == delay_control(address, 180_000.0) == 10.0


def test_a_higher_price_never_asks_for_less_delay():
    rng = np.random.default_rng(7)
    late = rng.exponential(25.0, 3_000)
    arrivals = np.maximum.accumulate(np.arange(3_000) * 20.0 + 50.0 + late)
    targets = []
    for price_ms in (300.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0, 100_000.0):
        state, address = made(price_ms=price_ms)
        for i, at in enumerate(arrivals):
            update(address, at, i * 20.0)
        targets.append(target(state))
    assert targets == sorted(targets)
    assert targets[-1] > 2 * targets[0]


def test_stalls_that_come_in_pairs_are_answered_by_a_memory_and_not_by_standing_delay():
    """A stall of 250 ms every 20 s, always followed by a second one 600 ms later."""
    state, address = made()
    late = np.zeros(9_000)
    late[500::1_000] = 250.0
    late[530::1_000] = 250.0
    for i in range(9_000):
        update(address, i * 20.0 + 50.0 + late[i], i * 20.0)
    assert target(state) < 100.0
    at = 9_000 * 20.0
    update(address, at + 300.0, at)
    assert delay_spike(address, at + 400.0) > 100.0
    assert delay_control(address, at + 400.0) > 100.0
    assert delay_spike(address, at + 30_000.0) < 20.0


def test_a_step_of_the_path_is_one_event_and_not_a_habit():
    state, address = made()
    feed(address, 1_000)
    feed(address, 500, transit=200.0, first=1_000)
    assert state["base_ms"][0] == 200.0
    assert target(state) <= 20.0


def test_delays_beyond_the_limit_are_clamped_not_forgotten():
    _, address = made(max_ms=300.0)
    arrivals = [i * 20.0 + 50.0 + (700.0 if i % 250 == 10 else 0.0) for i in range(4_000)]
    for i, at in enumerate(np.maximum.accumulate(arrivals)):
        update(address, float(at), i * 20.0)
    assert 100.0 < delay_control(address, 80_000.0) <= 300.0


def test_what_no_delay_within_the_limits_can_catch_is_not_waited_for():
    _, address = made(max_ms=500.0)
    for i in range(500):  # overtaken by two seconds: lost, whatever the delay
        update(address, i * 20.0 + 50.0 + (2_500.0 if i % 20 == 10 else 0.0), i * 20.0)
    assert delay_control(address, 10_000.0) == 10.0


def test_gaps_that_come_often_are_worth_a_margin_and_rare_ones_are_not():
    _, address = made()
    feed(address, 100)
    delay_gap(address, 2_000.0)
    assert delay_margin(address, 2_001.0) == 0.0
    for i in range(60):
        delay_gap(address, 2_000.0 + i * 1_000.0)
    assert delay_margin(address, 61_000.0) == MARGIN_MS
    assert delay_margin(address, 200_000.0) == 0.0


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_clock_that_drifts_costs_no_delay(ppm):
    state, address = made()
    for i in range(30_000):
        update(address, i * 20.0 * (1 + ppm * 1e-6) + 50.0, i * 20.0)
    assert target(state) == 10.0
    assert state["early"][0] == 0
    assert state["base_ms"][0] == pytest.approx(50.0 + 600_000 * ppm * 1e-6, abs=1.0)


def test_a_sender_ahead_of_real_time_is_early_and_moves_nothing():
    state, address = made()
    feed(address, 100)
    for i in range(100, 350):  # five seconds at once
        assert update(address, 2_050.0, i * 20.0) == 0.0 or i == 100
    base = float(state["base_ms"][0])
    assert base >= 50.0 - 500.0 - 20.0
    assert state["early"][0] >= 220
    for i in range(350, 5_000):  # and a steady lead from then on
        update(address, 2_050.0 + (i - 349) * 20.0, i * 20.0)
    assert state["base_ms"][0] == base
    assert target(state) == 10.0


def test_the_backlog_of_a_long_stall_is_no_lead():
    state, address = made()
    feed(address, 100)
    for i in range(100, 600):  # ten seconds, all at once
        update(address, 12_050.0, i * 20.0)
    feed(address, 100, first=600)
    assert state["early"][0] == 0
    assert state["base_ms"][0] == 50.0


def test_a_faster_path_is_no_lead():
    state, address = made()
    feed(address, 100, transit=450.0)
    feed(address, 100, transit=50.0, first=100)
    assert state["base_ms"][0] == 50.0
    assert state["early"][0] == 0


def test_a_new_connection_forgets_the_base_and_keeps_the_jitter():
    state, address = made()
    for i in range(500):
        update(address, i * 20.0 + 50.0 + (200.0 if i % 20 == 0 else 0.0), i * 20.0)
    before = state["target"]["cost"].copy()
    delay_rebase(address)
    assert state["has_base"][0] == 0
    assert update(address, 99_999.0, 0.0) == 0.0
    assert state["base_ms"][0] == 99_999.0
    delay_rebase(address)
    assert update(address, 10_020.0, 10_020.0 - 5_000.0) == 0.0
    assert np.array_equal(state["target"]["cost"], before)


def test_the_start_target_holds_for_two_seconds():
    _, address = made(start_ms=80.0)
    for i in range(300):
        update(address, i * 20.0 + 50.0, i * 20.0)
        assert delay_control(address, i * 20.0 + 50.0) == (80.0 if i * 20.0 < 2_000.0 else 10.0)


def test_ten_hours_of_silence_cost_bounded_work_and_leave_sane_numbers():
    state, address = made()
    feed(address, 300)
    update(address, 36_000_000.0, 36_000_000.0 - 50.0)
    assert np.isfinite(target(state))
    assert state["known"][0] <= BLOCKS
    feed(address, 10, first=2_000_000)
    assert np.isfinite(delay_control(address, 4e7))


def test_after_an_outage_of_seconds_packets_in_time_again_are_not_taken_as_sent_early():
    state = make_delay(10_000.0, 20.0, 1_000.0, 20.0)
    address = state.ctypes.data
    # 5 s without a packet, then the backlog at three times real time: for seconds of media everything comes late
    late_ms = [0.0] * 500 + [max(0.0, 5_000.0 - 40.0 / 3 * k) for k in range(500)] + [0.0] * 200
    for k, extra_ms in enumerate(late_ms):
        update(address, 40.0 + 20.0 * k + extra_ms, 20.0 * k)
    assert state["base_ms"][0] == 40.0
    assert state["early"][0] == 0
