"""The figures of a report, from records made by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from rtmedia.errors import ConfigError
from rtmedia.jitter.state import ACCELERATE, ADVANCE, BUFFER_DTYPE, DECELERATE, DRAIN, ENDED, HOLD, IDLE, NORMAL
from rtmedia.rooms.doorways import TICK_DTYPE
from rtmedia.sim.measures import PRICES_MS, measure, playout, recoveries, relative_delay_s, stretch_peak_pct, through_pauses
from rtmedia.sim.trace import Trace

RATE = 16_000
BLOCK = RATE // 100
START_NS = 7_000_000_000


def arrivals(delays_ms, packet_ms=20.0):
    seq = np.arange(len(delays_ms))
    delays = np.array([np.nan if delay is None else delay for delay in delays_ms], float)
    return Trace("made up", seq, seq * packet_ms, seq * packet_ms + delays)


def run_of(ops, *, delay_ms=30.0, concealed=(HOLD, ADVANCE), moved_ms=None, start_media_ms=0.0, fastest_ms=5.0):
    """Ticks with these operations: media moves 10 ms a tick, not at all while it waits, or as told."""
    ticks = np.zeros(len(ops), TICK_DTYPE)
    ticks["tick"] = np.arange(len(ops))
    ticks["op"] = ops
    moved = np.where(ticks["op"] == HOLD, 0.0, 10.0) if moved_ms is None else np.array(moved_ms)
    media_ms = np.concatenate([[0.0], np.cumsum(moved)[:-1]])
    ticks["media_ms"] = media_ms
    ticks["media_pos"] = np.rint((media_ms + start_media_ms) * RATE / 1000)
    ticks["time_ns"] = START_NS + ((np.arange(len(ops)) * 10 + delay_ms + fastest_ms) * 1e6).astype(np.int64)
    ticks["concealed"] = np.where(np.isin(ticks["op"], concealed), BLOCK, 0)
    return ticks


def totals_of(ticks, **more):
    totals = np.zeros(1, BUFFER_DTYPE)[0]
    totals["total"] = BLOCK * (~np.isin(ticks["op"], (IDLE, ENDED))).sum()
    totals["concealed"] = ticks["concealed"].sum()
    totals["held"] = ticks["concealed"][ticks["op"] == HOLD].sum()
    totals["advanced"] = ticks["concealed"][ticks["op"] == ADVANCE].sum()
    for name, value in more.items():
        totals[name] = value
    return totals


def report_of(ticks, packets=None, *, speech=(True,), totals=None, **more):
    start_media_ms = more.pop("start_media_ms", 0.0)
    settings = {"rate_hz": RATE, "price_ms": 5_000.0, "oracles": False} | more
    came = arrivals([5.0] * 50) if packets is None else packets
    heard = playout(ticks, came, rate_hz=RATE, start_ns=START_NS, start_media_ms=start_media_ms)
    return measure(ticks, totals_of(ticks) if totals is None else totals, came, heard, speech=np.array(speech), **settings)


def test_the_delay_is_above_the_fastest_packet_and_counts_only_what_plays():
    report = report_of(run_of([IDLE] * 40 + [NORMAL] * 100 + [ENDED] * 30))
    assert report["mean_delay_ms"] == report["p50_delay_ms"] == report["p99_delay_ms"] == pytest.approx(30.0)
    assert report["concealed_pct"] == 0.0
    later = report_of(run_of([NORMAL] * 100, start_media_ms=123_456.0), start_media_ms=123_456.0)
    assert later["mean_delay_ms"] == pytest.approx(30.0, abs=0.1)


def test_the_cost_is_delay_plus_price_times_share():
    ticks = run_of([NORMAL] * 90 + [ADVANCE] * 10)
    report = report_of(ticks)
    assert report["concealed_pct"] == report["concealed_advance_pct"] == pytest.approx(10.0)
    assert report["concealed_hold_pct"] == report["closed_pct"] == 0.0


def test_what_of_gaps_was_left_out_is_told_beside_what_was_made_up():
    ticks = run_of([NORMAL] * 90 + [ADVANCE] * 10)
    report = report_of(ticks, totals=totals_of(ticks, closed=5 * BLOCK))
    assert report["closed_pct"] == pytest.approx(5.0)
    assert report["concealed_pct"] == pytest.approx(10.0)
    for price in PRICES_MS:
        assert report[f"cost_j_{price}"] == pytest.approx(30.0 + 0.1 * price)
    assert report["cost_j"] == pytest.approx(30.0 + 500.0)


def test_concealment_in_speech_is_counted_by_the_media_that_it_stands_for():
    ops = [NORMAL] * 50 + [ADVANCE] * 10 + [NORMAL] * 40  # lost media from 500 to 600 ms
    speech = np.zeros(100, bool)
    speech[40:60] = True
    assert report_of(run_of(ops), speech=speech)["speech_concealed_pct"] == pytest.approx(50.0)
    assert report_of(run_of(ops), speech=~speech)["speech_concealed_pct"] == 0.0
    assert report_of(run_of(ops), speech=np.zeros(100, bool))["speech_concealed_pct"] is None
    # 10 ticks of waiting at 500 ms belong to what is said there
    held = run_of([NORMAL] * 50 + [HOLD] * 10 + [NORMAL] * 40)
    at_500 = np.zeros(100, bool)
    at_500[50:55] = True
    assert report_of(held, speech=at_500)["speech_concealed_pct"] == pytest.approx(100.0 * 10 / 15)


def test_the_recording_repeats():
    ops = [NORMAL] * 150 + [ADVANCE] * 10 + [NORMAL] * 40
    speech = np.zeros(100, bool)
    speech[50:60] = True  # twice within 2 s
    assert report_of(run_of(ops), speech=speech)["speech_concealed_pct"] == pytest.approx(50.0)


def test_losses_and_doubles_are_shares_of_what_was_sent():
    report = report_of(run_of([NORMAL] * 100), arrivals([5.0, None, 5.0, 5.0]), duplicates=2)
    assert (report["packets"], report["lost_pct"], report["duplicate_pct"]) == (4, 25.0, 50.0)


def test_packets_that_found_no_room_are_a_share_of_what_was_sent():
    report = report_of(run_of([NORMAL] * 100), arrivals([5.0] * 4), overflow=1)
    assert (report["overflow_pct"], report["lost_pct"]) == (25.0, 0.0)


def test_the_fastest_packet_is_the_zero_of_the_delay():
    ticks, came = run_of([IDLE] * 2 + [NORMAL] * 20), arrivals([7.0, 5.0, 9.0])
    heard = playout(ticks, came, rate_hz=RATE, start_ns=START_NS, start_media_ms=0.0)
    assert report_of(ticks, came)["fastest_ms"] == heard.fastest_ms == 5.0
    assert np.isnan(heard.of_ticks()).tolist() == [True] * 2 + [False] * 20
    assert heard.of_ticks()[2:] == pytest.approx(30.0)


def test_pauses_are_found_as_by_looking_through_all_ticks_for_each():
    chance = np.random.default_rng(5)
    send_ms = np.cumsum(chance.choice([20.0, 20.0, 20.0, 400.0], 80))
    came = Trace("talk", np.arange(80), send_ms, send_ms + 5.0, np.full(80, 20.0))
    time_ms = np.arange(0.0, send_ms[-1] - send_ms[0], 10.0)
    media_ms = time_ms + chance.choice([-6.0, 0.0, 4.0], time_ms.size)  # not in order
    begin_ms, length_ms = came.timeline()
    moved_ms, silent = media_ms.copy(), np.zeros(media_ms.size, bool)
    for end, begin in zip((begin_ms + length_ms)[:-1], begin_ms[1:], strict=True):
        inside = np.flatnonzero((media_ms > end - 1e-3) & (media_ms < begin - 1e-3)) if begin > end else np.empty(0, int)
        for at in inside:
            passed_ms = media_ms[inside[0]] + time_ms[at] - time_ms[inside[0]]
            moved_ms[at] = max(media_ms[at], min(begin, passed_ms))
            silent[at] = moved_ms[at] < begin
    found_ms, found_silent = through_pauses(time_ms, media_ms, came)
    assert silent.any()
    assert np.array_equal(found_ms, moved_ms)
    assert np.array_equal(found_silent, silent)


def test_rates_are_per_minute_played():
    ticks = run_of([NORMAL] * 3_000)
    report = report_of(ticks, totals=totals_of(ticks, conceal_events=3, accelerated=480, decelerated=240))
    assert report["events_per_min"] == pytest.approx(6.0)
    assert report["accelerated_pct"] == pytest.approx(0.1)
    assert report["decelerated_pct"] == pytest.approx(0.05)


def test_the_busiest_second_of_stretching_counts_both_directions_and_no_jumps():
    ops = np.full(400, NORMAL)
    moved = np.full(400, 10.0)
    for at, op, ms in ((100, ACCELERATE, 15.0), (150, DECELERATE, 4.0), (190, DRAIN, 8.0), (195, DRAIN, 10.0), (201, ACCELERATE, 20.0)):
        ops[at], moved[at] = op, ms
    moved[120] = 900.0  # a resync
    ticks = run_of(ops, moved_ms=moved)
    # the second from tick 101 to 200: 6 + 2; from 102 to 201: 6 + 2 + 10 ms
    assert stretch_peak_pct(ticks) == pytest.approx(1.8)
    assert stretch_peak_pct(run_of([NORMAL] * 300)) == 0.0
    assert stretch_peak_pct(run_of([NORMAL])) == 0.0


def test_a_spike_recovers_from_its_top():
    rise, fall = np.arange(40.0, 340.0, 10.0), np.arange(340.0, 40.0, -2.0)
    delay = np.concatenate([np.full(300, 40.0), rise, np.full(50, 340.0), fall, np.full(500, 40.0)])
    # half: 150 ms below the top at 2 ms a tick, after 50 ticks on it; 90 %: 270 ms
    assert recoveries(delay) == [(500.0 + 750.0, 500.0 + 1_350.0)]


def test_each_of_two_spikes_is_measured_from_its_own_base():
    one = np.concatenate([np.arange(0.0, 200.0, 10.0), np.arange(200.0, 0.0, -1.0)])
    delay = np.concatenate([np.zeros(200), one, one + 0.0, np.zeros(200)])
    assert recoveries(delay) == [(1_000.0, 1_800.0)] * 2


def test_a_second_stop_on_the_way_down_is_a_spike_of_its_own():
    down, again = np.arange(400.0, 250.0, -1.0), np.arange(250.0, 450.0, 10.0)
    delay = np.concatenate([np.zeros(200), np.arange(0.0, 400.0, 10.0), down, again, np.arange(450.0, 0.0, -1.0)])
    (half, gone), (half_2, gone_2) = recoveries(delay)
    assert (half_2, gone_2) == (1_000.0, 1_800.0)  # 200 ms, down to 250
    assert half == 1_500.0 + 200.0 + 2_500.0  # down to 200 ms
    assert gone > half


def test_a_rise_that_stays_never_recovers():
    delay = np.concatenate([np.zeros(200), np.arange(0.0, 200.0, 10.0), np.full(4_000, 200.0)])
    assert recoveries(delay) == [(math.inf, math.inf)]


def test_small_and_slow_rises_are_no_spikes():
    assert recoveries(np.concatenate([np.zeros(200), np.full(300, 149.0)])) == []
    assert recoveries(np.arange(0.0, 1_000.0, 1.4)) == []
    assert recoveries(np.zeros(1)) == []


def test_what_there_was_none_of_is_none():
    report = report_of(run_of([NORMAL] * 100))
    assert report["spikes"] == 0
    assert report["recover50_ms"] is None
    stopped = report_of(run_of([NORMAL] * 100 + [HOLD] * 30 + [NORMAL] * 100))
    assert stopped["spikes"] == 1
    assert stopped["recover90_ms"] is None  # nothing made it shorter again
    json.dumps([report, stopped], allow_nan=False)


def test_the_relative_delay_is_above_the_fastest_of_two_seconds():
    delays = [30.0] + [50.0] * 150
    # for 99 packets the first one is within two seconds
    assert relative_delay_s(arrivals(delays)) == pytest.approx(99 * 0.020)
    assert relative_delay_s(arrivals([None, 30.0, None, 40.0])) == pytest.approx(0.010)


def test_the_oracles_are_those_of_the_arrivals():
    report = report_of(run_of([NORMAL] * 100), arrivals([5.0, 25.0] * 25), oracles=True)
    assert report["oracle_constant_ms"] == 20.0
    assert report["oracle_stretch_j"] <= report["oracle_schedule_j"] <= 30.0


def test_a_run_without_sound_is_an_error():
    with pytest.raises(ConfigError, match="nothing was played"):
        report_of(run_of([IDLE] * 10))
    with pytest.raises(ConfigError, match="nothing was played"):
        report_of(run_of([NORMAL] * 10), arrivals([None] * 10))
