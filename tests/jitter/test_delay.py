"""The delay estimator against a slow reference, and its rules one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmedia.jitter.delay import BLOCKS, delay_control, delay_rebase, delay_spike, delay_update, make_delay, quantile_of_price

START_MS = 1_000.0


def made(**changes):
    values = {"price_ms": 10_000.0, "transport": "tcp", "min_ms": 20.0, "max_ms": 1_000.0, "start_ms": 0.0} | changes
    state = make_delay(**values)
    return state, int(state.ctypes.data)


def reference_target(relative, arrivals, block_ms, quantile, start_ms, low, high):
    """Block maxima in plain Python, then the weighted quantile by sorting: no incremental anything."""
    closed, opened = [], 0.0
    until = arrivals[0] + block_ms
    for r, arrival in zip(relative, arrivals, strict=True):
        while arrival >= until:
            closed.append(opened)
            opened = 0.0
            until += block_ms
        opened = max(opened, min(r, high))
    values = [*closed[-BLOCKS:], opened]
    ages = np.arange(len(values))[::-1]
    weights = np.exp(-ages * block_ms / 30_000.0)
    order = np.argsort(values)[::-1]
    above = np.cumsum(weights[order])
    at = int(np.argmax(above > (1 - quantile) * weights.sum() * (1 + 1e-12)))
    target = values[order[at]]
    if len(closed) * block_ms < 2_000.0:
        target = max(target, start_ms)
    return min(max(target, low), high)


@settings(max_examples=60)
@given(
    st.lists(st.floats(0.0, 800.0), min_size=1, max_size=400),
    st.sampled_from([20.0, 60.0, 170.0]),
    st.sampled_from(["tcp", "udp"]),
    st.sampled_from([3_000.0, 10_000.0, 30_000.0]),
)
def test_the_target_is_the_weighted_quantile_of_block_maxima(lateness, packet_ms, transport, price_ms):
    state, address = made(transport=transport, price_ms=price_ms, start_ms=40.0)
    relative, arrivals = [], []
    for i, late in enumerate(lateness):
        arrival = START_MS + i * packet_ms + late
        if arrivals and arrival < arrivals[-1]:
            arrival = arrivals[-1]  # in order
        relative.append(delay_update(address, arrival, i * packet_ms))
        arrivals.append(arrival)
    block_ms = float(state["block_ms"][0])
    quantile = quantile_of_price(price_ms, block_ms, transport)
    wanted = reference_target(relative, arrivals, block_ms, quantile, 40.0, 20.0, 1_000.0)
    assert state["target_ms"][0] == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=60)
@given(st.lists(st.floats(0.0, 400.0), min_size=1, max_size=300))
def test_the_relative_delay_is_the_transit_above_its_least_in_two_seconds_of_media(lateness):
    _, address = made()
    transits = []
    for i, late in enumerate(lateness):
        transits.append(START_MS + late)
        got = delay_update(address, i * 20.0 + transits[-1], i * 20.0)
        recent = transits[max(0, i - 100) :]
        assert got == pytest.approx(transits[-1] - min(recent), abs=1e-9)


def test_the_quantile_follows_the_price():
    assert quantile_of_price(10_000, 250, "tcp") == pytest.approx(0.95)
    assert quantile_of_price(3_000, 250, "tcp") == pytest.approx(1 - 500 / 3000)
    assert quantile_of_price(10_000, 500, "udp") == pytest.approx(0.97)
    assert quantile_of_price(100, 250, "tcp") == 0.5
    assert quantile_of_price(1e9, 250, "tcp") == 0.999


def feed(address, count, packet_ms=20.0, transit=50.0, first=0):
    for i in range(first, first + count):
        delay_update(address, i * packet_ms + transit, i * packet_ms)


def test_a_perfect_network_needs_the_least_target():
    state, address = made()
    feed(address, 500)
    assert state["target_ms"][0] == 20.0
    assert delay_control(address, 10_000.0) == 20.0


def test_a_spike_is_held_for_a_second_and_then_fades_with_three():
    _, address = made()
    feed(address, 50)
    delay_update(address, 1_000.0 + 50.0 + 300.0, 1_000.0)
    at = 1_350.0
    assert delay_spike(address, at + 999.0) == 300.0
    assert delay_spike(address, at + 1_000.0 + 3_000.0) == pytest.approx(300.0 / math.e)
    assert delay_control(address, at) == pytest.approx(320.0)  # and one packet


def test_one_spike_a_minute_does_not_raise_the_target_and_frequent_ones_do():
    state, address = made()
    feed(address, 500)
    delay_update(address, 500 * 20.0 + 350.0, 500 * 20.0)
    feed(address, 100, first=501)
    assert state["target_ms"][0] < 30.0
    for i in range(601, 3_000):
        late = 300.0 if i % 50 == 0 else 0.0
        delay_update(address, i * 20.0 + 50.0 + late, i * 20.0)
    assert state["target_ms"][0] == pytest.approx(300.0)


def test_the_target_comes_down_again():
    state, address = made()
    for i in range(1_000):
        delay_update(address, i * 20.0 + 50.0 + (200.0 if i % 20 == 0 else 0.0), i * 20.0)
    assert state["target_ms"][0] == pytest.approx(200.0)
    feed(address, 5_000, first=1_000)
    assert state["target_ms"][0] == 20.0


def test_delays_beyond_the_limit_are_clamped_not_forgotten():
    state, address = made(max_ms=500.0)
    for i in range(500):
        delay_update(address, i * 20.0 + 50.0 + (2_500.0 if i % 20 == 10 else 0.0), i * 20.0)
    assert state["target_ms"][0] == 500.0
    assert delay_control(address, 10_000.0) == 500.0


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_clock_that_drifts_costs_no_delay(ppm):
    state, address = made()
    for i in range(30_000):
        delay_update(address, i * 20.0 * (1 + ppm * 1e-6) + 50.0, i * 20.0)
    assert state["target_ms"][0] == 20.0
    assert state["early"][0] == 0
    assert state["base_ms"][0] == pytest.approx(50.0 + 600_000 * ppm * 1e-6, abs=1.0)


def test_a_sender_ahead_of_real_time_is_early_and_moves_nothing():
    state, address = made()
    feed(address, 100)
    for i in range(100, 350):  # five seconds at once
        assert delay_update(address, 2_050.0, i * 20.0) == 0.0 or i == 100
    base = float(state["base_ms"][0])
    assert base >= 50.0 - 500.0 - 20.0
    assert state["early"][0] >= 220
    for i in range(350, 5_000):  # and a steady lead from then on
        delay_update(address, 2_050.0 + (i - 349) * 20.0, i * 20.0)
    assert state["base_ms"][0] == base
    assert state["target_ms"][0] == 20.0


def test_the_backlog_of_a_long_stall_is_no_lead():
    state, address = made()
    feed(address, 100)
    for i in range(100, 600):  # ten seconds, all at once
        delay_update(address, 12_050.0, i * 20.0)
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
        delay_update(address, i * 20.0 + 50.0 + (200.0 if i % 20 == 0 else 0.0), i * 20.0)
    target = float(state["target_ms"][0])
    delay_rebase(address)
    assert state["has_base"][0] == 0
    assert delay_update(address, 99_999.0, 0.0) == 0.0
    assert state["base_ms"][0] == 99_999.0
    delay_rebase(address)
    assert delay_update(address, 10_020.0, 10_020.0 - 5_000.0) == 0.0
    assert target > 100.0


def test_the_start_target_holds_for_two_seconds():
    state, address = made(start_ms=80.0)
    assert state["target_ms"][0] == 80.0
    for i in range(300):
        delay_update(address, i * 20.0 + 50.0, i * 20.0)
        assert state["target_ms"][0] == (80.0 if i * 20.0 < 2_000.0 else 20.0)


def test_ten_hours_of_silence_cost_bounded_work_and_leave_sane_numbers():
    state, address = made()
    feed(address, 300)
    delay_update(address, 36_000_000.0, 36_000_000.0 - 50.0)
    assert np.isfinite(state["target_ms"][0])
    assert state["known"][0] <= BLOCKS
    feed(address, 10, first=2_000_000)
    assert np.isfinite(delay_control(address, 4e7))


def test_after_an_outage_of_seconds_packets_in_time_again_are_not_taken_as_sent_early():
    state = make_delay(10_000.0, "tcp", 20.0, 1_000.0, 20.0)
    address = state.ctypes.data
    # 5 s without a packet, then the backlog at three times real time: for seconds of media everything comes late
    late_ms = [0.0] * 500 + [max(0.0, 5_000.0 - 40.0 / 3 * k) for k in range(500)] + [0.0] * 200
    for k, extra_ms in enumerate(late_ms):
        delay_update(address, 40.0 + 20.0 * k + extra_ms, 20.0 * k)
    assert state["base_ms"][0] == 40.0
    assert state["early"][0] == 0
