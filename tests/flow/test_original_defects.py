"""The whole line against what the browser player that it replaces did wrong. None of it may come back."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.jitter.state import HOLD
from rtmedia.ports import FLAG_END_OF_STREAM, NO_MEDIA_TIME
from rtmedia.rooms.control import Control
from rtmedia.rooms.doorways import MESSAGE_DTYPE
from tests.rooms.line_driver import Bench
from tests.rooms.test_line import steps, voice


def watched(bench, calls, control=None):
    """Sound, ticks and, at the end, figures."""
    control = control or Control(bench.line)
    control.keep_ticks = []
    out = []
    for _ in range(calls // 50):
        out.append(bench.run(50))
        control.poll(bench.now_ns)
    return np.concatenate(out), np.concatenate(control.keep_ticks), control.snapshot()


def test_every_frame_that_is_sent_is_played_not_sixty_percent():
    samples = voice(20)
    sound, ticks, figures = watched(Bench().load(samples), 2_000)
    assert figures["concealed_pct"] < 0.2
    assert np.count_nonzero(sound) > 0.97 * np.count_nonzero(samples)
    assert ticks["delay_ms"].max() < 60.0  # and the delay does not grow


def test_the_sound_has_no_cuts_between_packets():
    samples = voice(10)
    sound, _, _ = watched(Bench().load(samples), 950)
    assert steps(sound) <= 1.02 * steps(samples / 32768)


def test_a_gap_costs_its_own_length_and_nothing_that_was_received():
    lost = set(range(250, 255))
    _, ticks, figures = watched(Bench().load(voice(10), lost=lost), 950)
    assert figures["packets_lost_total"] == 5
    assert figures["concealed_ms_total"] == pytest.approx(100.0, abs=40.0)
    assert figures["resync_ms_total"] == 0.0
    assert ticks["delay_ms"][-1] < 60.0


def test_a_gap_of_more_than_three_packets_does_not_starve_the_rest():
    sound, _, _ = watched(Bench().load(voice(10), lost=set(range(100, 110))), 950)
    after = np.abs(sound[4 * 16_000 : 9 * 16_000, 0]).reshape(-1, 1_600).max(axis=1)
    assert (after > 0.05).all()


@pytest.mark.parametrize("first", [4, 1_000, 2**32 - 20])
def test_a_stream_joined_in_the_middle_is_played(first):
    bench = Bench().load(voice(5))
    bench.packets["seq"] = (bench.packets["seq"] + first) & 0xFFFFFFFF
    sound, _, figures = watched(bench, 450)
    assert figures["concealed_pct"] == 0.0
    assert np.abs(sound).max() > 0.2


def test_delay_goes_up_with_jitter_and_comes_down_again(rng):
    arrivals = np.arange(4_500) * 20.0 + 15.0
    arrivals[250:750] += rng.gamma(1.0, 40.0, 500)
    bench = Bench().load(voice(90), arrivals_ms=np.maximum.accumulate(arrivals))
    _, ticks, _ = watched(bench, 8_900)
    assert ticks["delay_ms"][1_200:1_500].mean() > 90.0
    assert ticks["delay_ms"][-100:].mean() < 60.0


def test_loss_is_counted_from_the_numbers_and_is_zero_on_a_perfect_network():
    _, _, figures = watched(Bench().load(voice(20)), 1_950)
    assert figures["packets_lost_total"] == 0
    assert figures["jitter_ms"] < 0.01
    _, _, figures = watched(Bench().load(voice(20), lost=set(range(5, 1_000, 10))), 1_950)
    assert figures["packets_lost_total"] / figures["packets_expected_total"] == pytest.approx(0.1, abs=0.01)


def test_duplicates_old_ones_too_are_played_once():
    bench = Bench().load(voice(5))
    copies = bench.packets[100:130].copy()
    copies["arrival_ns"] = bench.packets["arrival_ns"][160:190] + 1
    octets = bench.payloads[100:130]
    every = np.concatenate([bench.packets, copies])
    order = np.argsort(every["arrival_ns"], kind="stable")
    plain, _, _ = watched(Bench().load(voice(5)), 450)
    bench.packets = every[order].astype(MESSAGE_DTYPE)
    bench.payloads = np.ascontiguousarray(np.concatenate([bench.payloads, octets])[order])
    sound, _, figures = watched(bench, 450)
    assert figures["packets_duplicate_total"] == 30
    assert np.array_equal(sound, plain)


def test_packets_out_of_order_are_put_in_order():
    arrivals = np.arange(250) * 20.0 + 15.0
    arrivals[50::4] += 25.0
    samples = voice(5)
    bench = Bench(transport="udp", start_ms=80.0, min_ms=80.0).load(samples, arrivals_ms=arrivals)
    sound, _, figures = watched(bench, 450)
    assert figures["packets_reordered_total"] >= 40
    assert figures["concealed_ms_total"] == 0.0
    assert steps(sound) <= 1.02 * steps(samples / 32768)


def test_timestamp_zero_and_late_bursts_leave_captions_with_their_sound():
    arrivals = np.arange(250) * 20.0 + 15.0
    arrivals[100:150] = arrivals[150]
    bench = Bench().load(voice(5), arrivals_ms=arrivals)
    control = Control(bench.line)
    for at in (0, 2_000, 4_000):
        control.captions.add(text=str(at), confidence=1.0, timestamp_ms=at, epoch=1, arrival_ns=bench.now_ns)
    seen = {}
    for _ in range(600):
        bench.run(1)
        for event in control.poll(bench.now_ns)[0]:
            if hasattr(event, "text"):
                seen[event.timestamp_ms] = event
    assert list(seen) == [0, 2_000, 4_000]
    assert all(abs(event.skew_ms) <= 20.0 and not event.late for event in seen.values())


def test_the_last_frames_of_a_stream_are_played():
    samples = np.zeros((16_000, 1), np.int16)
    samples[15_900] = 20_000
    bench = Bench().load(samples)
    bench.run(102)
    assert bench.line.decode.write(bench.now_ns, 0, NO_MEDIA_TIME, FLAG_END_OF_STREAM, b"")
    assert np.abs(bench.run(40)).max() > 0.5


def test_broken_payloads_cost_themselves_only():
    bench = Bench().load(voice(5))
    bench.packets["length"][100] = 639
    rest = bench.payloads.reshape(-1).copy()
    bench.payloads = np.delete(rest, 100 * 640 + 639).reshape(1, -1)
    bench.payloads = np.concatenate([bench.payloads.reshape(-1), np.zeros(640, np.uint8)]).reshape(1, -1)

    # one call: the payloads no longer have one length
    sound = bench.run(450)
    figures = Control(bench.line).snapshot()
    assert figures["packets_undecodable_total"] == 1
    assert figures["concealed_ms_total"] == pytest.approx(20.0, abs=15.0)
    assert np.abs(sound[-16_000:]).max() > 0.1


def test_a_pause_does_not_pile_up_delay():
    bench = Bench().load(voice(30))
    watched(bench, 300)
    bench.line.pause(True)
    watched(bench, 1_000)
    bench.line.pause(False)
    _, ticks, _ = watched(bench, 500)
    assert ticks["delay_ms"][-1] < 60.0
    assert bench.line.buffer.state["resync"][0] == 0


def test_memory_of_a_hold_is_bounded():
    bench = Bench(hold_on_pause=True, hold_limit_ms=5_000.0).load(voice(60))
    bench.run(200)
    bench.line.pause(True)
    bench.run(4_000)
    bench.line.pause(False)
    sound = bench.run(400)
    assert bench.next == np.searchsorted(bench.packets["arrival_ns"], bench.now_ns, "right")
    assert bench.line.buffer.state["buffered_ms"][0] <= 5_200.0
    assert np.abs(sound).max() > 0.1


def test_nothing_arriving_any_more_fades_and_is_told():
    bench = Bench().load(voice(3))
    sound, ticks, figures = watched(bench, 600)
    assert ticks["op"][-1] == HOLD
    assert figures["stalls_total"] == 1
    assert not np.abs(sound[-16_000:]).max() > 0.01


@pytest.mark.parametrize("ppm", [-100, 100])
def test_a_clock_of_a_hundred_ppm_neither_over_nor_underruns(ppm):
    count = 6_000
    arrivals = np.arange(count) * 20.0 * (1 + ppm * 1e-6) + 15.0
    _, ticks, figures = watched(Bench().load(voice(120), arrivals_ms=arrivals), 11_900)
    assert figures["underruns_total"] == 0
    assert figures["concealed_ms_total"] < 30.0
    assert ticks["delay_ms"][-1] < 60.0
