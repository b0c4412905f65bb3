"""control: events and figures from what the rooms leave behind."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest

from rtmedia.events import StallEnded, StallStarted, StreamEnded, Transcript
from rtmedia.ports import FLAG_END_OF_STREAM, NO_MEDIA_TIME
from rtmedia.rooms.control import Control
from rtmedia.rooms.ledger import STATIONS
from rtmedia.stats import Stats
from rtmedia.units import NS_PER_MS
from tests.rooms.line_driver import Bench
from tests.rooms.test_line import voice


def looked_at(bench, control, calls):
    """Run, and look after every call; returns the events."""
    events = []
    for _ in range(calls):
        bench.run(1)
        events += control.poll(bench.now_ns)[0]
    return events


def caption(control, timestamp_ms, text="word", epoch=1, arrival_ns=0):
    control.captions.add(text=text, confidence=1.0, timestamp_ms=timestamp_ms, epoch=epoch, arrival_ns=arrival_ns)


def end(bench):
    assert bench.line.decode.write(bench.now_ns, 0, NO_MEDIA_TIME, FLAG_END_OF_STREAM, b"")


def test_a_caption_comes_out_with_its_sound():
    samples = np.zeros((48_000, 1), np.int16)
    samples[16_000] = 20_000
    bench = Bench().load(samples, start_ms=5_000)
    control = Control(bench.line)
    caption(control, 6_000, arrival_ns=bench.now_ns)
    sounded = None
    for _ in range(250):
        peak = float(np.abs(bench.run(1)).max())
        if peak > 0.1:
            sounded = bench.now_ns
        events, _ = control.poll(bench.now_ns)
        if events:
            assert isinstance(events[0], Transcript)
            assert sounded is not None
            assert 0 <= bench.now_ns - sounded <= 20 * NS_PER_MS
            assert abs(events[0].skew_ms) < 20.0
            return
    pytest.fail("the caption never came")


def test_captions_wait_while_playback_is_held_and_come_with_the_sound_afterwards():
    bench = Bench(hold_on_pause=True).load(voice(6))
    control = Control(bench.line)
    looked_at(bench, control, 100)
    caption(control, 1_500, arrival_ns=bench.now_ns)
    bench.line.pause(True)
    control.hold(True)
    assert not looked_at(bench, control, 1_500)  # longer than any patience
    bench.line.pause(False)
    control.hold(False)
    events = looked_at(bench, control, 100)
    assert [event.text for event in events if isinstance(event, Transcript)] == ["word"]


def test_a_stall_is_told_when_it_begins_and_when_it_ends():
    arrivals = np.arange(200) * 20.0 + 15.0
    arrivals[75:100] = arrivals[100]
    bench = Bench().load(voice(4), arrivals_ms=arrivals)
    control = Control(bench.line)
    events = looked_at(bench, control, 380)
    kinds = [type(event) for event in events]
    assert kinds == [StallStarted, StallEnded]
    assert 300 < events[1].duration_ms < 550
    assert events[1].time_ns - events[0].time_ns < 450 * NS_PER_MS


def test_stops_are_counted_as_neteq_counts_them():
    arrivals = np.arange(200) * 20.0 + 15.0
    arrivals[75:100] = arrivals[100]
    bench = Bench().load(voice(4), arrivals_ms=arrivals, lost=set(range(150, 170)))
    control = Control(bench.line)
    events = looked_at(bench, control, 380)
    neteq = control.snapshot()["neteq"]
    assert neteq["interruptionCount"] == 2
    assert neteq["totalInterruptionDuration"] == pytest.approx(sum(e.duration_ms for e in events if isinstance(e, StallEnded)) / 1000)
    assert neteq["delayedPacketOutageEvents"] == 1  # the other one waited for what never came
    assert 0.3 < neteq["delayedPacketOutageSamples"] / 16_000 < 0.75


def test_waiting_through_a_senders_pause_is_no_interruption():
    bench = Bench().load(voice(4))
    later = bench.packets["seq"] >= 75
    for clock in ("arrival_ns", "media_time_ns"):
        bench.packets[clock][later] += 500 * NS_PER_MS
    control = Control(bench.line)
    looked_at(bench, control, 380)
    neteq = control.snapshot()["neteq"]
    assert neteq["generatedNoiseSamples"] == pytest.approx(16 * 500, abs=16 * 40)
    outage = ("delayedPacketOutageSamples", "delayedPacketOutageEvents")
    kinds = ("interruptionCount", "totalInterruptionDuration", *outage, "concealedSamples")
    assert [neteq[name] for name in kinds] == [0] * 5


def test_the_end_is_told_once_after_all_captions_and_all_sound():
    bench = Bench().load(voice(2))
    control = Control(bench.line)
    looked_at(bench, control, 190)
    caption(control, 1_990, "last words", arrival_ns=bench.now_ns)
    caption(control, 99_000, "never spoken", arrival_ns=bench.now_ns)
    looked_at(bench, control, 15)
    end(bench)
    events = looked_at(bench, control, 60)
    assert [type(event) for event in events].count(StreamEnded) == 1
    assert isinstance(events[-1], StreamEnded)
    assert [event.text for event in events if isinstance(event, Transcript)][-1] == "never spoken"
    assert control.ended
    assert bench.line.play.cell.read()[0] > 2 * 16_000


def test_a_stream_without_a_single_packet_ends_too():
    bench = Bench()
    control = Control(bench.line)
    end(bench)
    events = looked_at(bench, control, 40)
    assert [type(event) for event in events] == [StreamEnded]


def test_the_snapshot_has_only_names_of_stats_and_plain_values():
    bench = Bench(device_rate_hz=48_000).load(voice(4), lost={40, 41, 90})
    control = Control(bench.line)
    looked_at(bench, control, 380)
    snapshot = control.snapshot()
    assert set(snapshot) <= {field.name for field in fields(Stats)}
    stats = Stats(**snapshot)
    json.dumps(stats.as_dict(), allow_nan=False)
    assert stats.packets_lost_total == 3
    assert stats.packets_received_total == stats.packets_expected_total - 3
    assert stats.concealment_events_total == 2
    assert stats.concealed_ms_total == pytest.approx(60.0, abs=20.0)
    assert 0 < stats.peak_dbfs + 12 < 3
    assert stats.underruns_total == 0
    assert stats.neteq["concealedSamples"] == pytest.approx(stats.concealed_ms_total * 16)
    assert stats.neteq["packetsReceived"] == stats.packets_received_total
    assert stats.neteq["jitterBufferDelay"] / stats.neteq["jitterBufferEmittedCount"] == pytest.approx(0.025, abs=0.02)
    terms = stats.latency_ms
    assert sum(terms[name]["mean"] for name in STATIONS) == pytest.approx(terms["total"]["mean"])
    assert stats.latency_residual_ms == 0.0


def test_totals_only_grow(rng):
    arrivals = np.maximum.accumulate(np.arange(300) * 20.0 + 15.0 + rng.gamma(1.0, 40.0, 300))
    bench = Bench().load(voice(6), arrivals_ms=arrivals, lost=set(range(100, 280, 13)))
    control = Control(bench.line)
    before = control.snapshot()
    for _ in range(60):
        looked_at(bench, control, 10)
        after = control.snapshot()
        for name, value in after.items():
            if name.endswith("_total"):
                assert value >= before[name], name
        before = after


def test_a_control_side_that_slept_catches_up():
    bench = Bench().load(voice(60))
    control = Control(bench.line)
    bench.run(5_900)
    for _ in range(3):
        control.poll(bench.now_ns)
    assert control.snapshot()["telemetry_lost_total"] == 0
    assert len(control.line.render.ticks.read(10)) == 0


def test_with_threads_a_look_waits_for_some_blocks_but_no_caption_does():
    bench = Bench().load(voice(6))
    control = Control(bench.line)
    control.ticks_at_once = 5
    looked_at(bench, control, 50)
    control.poll(bench.now_ns, last=True)
    seen = control.last_tick["tick"]
    assert looked_at(bench, control, 4) == []
    assert control.last_tick["tick"] == seen
    looked_at(bench, control, 1)
    assert control.last_tick["tick"] == seen + 5
    caption(control, 700, arrival_ns=bench.now_ns)
    before = control.last_tick["tick"]
    bench.run(1)
    control.poll(bench.now_ns)
    assert control.last_tick["tick"] == before + 1
