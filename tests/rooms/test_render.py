"""render: the device's clock, the lead, the telemetry it leaves, and the level of what leaves it."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.jitter.state import IDLE, NORMAL, WAIT
from rtmedia.rooms.device_clock import device_ms
from rtmedia.rooms.play import UNDERRUNS, play_pull
from rtmedia.rooms.render import render_step
from tests.rooms.line_driver import EPOCH_NS, Bench
from tests.rooms.test_line import voice


def ticks_of(bench):
    return bench.line.render.ticks.read(8_192)


def test_the_audio_ring_is_kept_at_its_lead():
    bench = Bench(lead_ms=20.0).load(voice(3))
    for _ in range(50):
        bench.run(1)
        assert bench.line.audio.readable == 320


@pytest.mark.parametrize("call", [64, 441, 1_024, 4_096])
def test_a_device_that_asks_for_other_sizes_never_underruns_after_its_first_calls(call):
    bench = Bench(device_rate_hz=48_000)
    line = bench.line
    out = np.zeros((call, 1), np.float32)
    frames, now = 0, EPOCH_NS
    for _ in range(200):
        frames += call
        now = EPOCH_NS + frames * 1_000_000_000 // 48_000
        play_pull(line.play.address, out.ctypes.data, call, now, now, 0)
        while render_step(line.render.address, now):
            pass
        if frames > 4 * call:
            assert line.audio.readable >= call
    assert line.play.cell.read()[4] <= 1


def test_ticks_tell_every_block_in_turn():
    bench = Bench(device_rate_hz=48_000, min_ms=20.0).load(voice(3))
    bench.run(250)
    ticks = ticks_of(bench)
    assert ticks["tick"].tolist() == list(range(len(ticks)))
    assert (np.diff(ticks["sink_pos"]) == ticks["frames"][:-1]).all()
    operations = ticks["op"].tolist()
    assert operations[0] == IDLE
    assert WAIT in operations[:10]
    assert set(operations[20:]) == {NORMAL}
    playing = ticks[20:]
    assert (np.diff(playing["media_pos"]) == 160).all()
    assert ((playing["peak"] > 0) & (playing["peak"] < 0.32)).all()
    assert (playing["mean_square"] <= playing["peak"] ** 2).all()


def test_every_packet_is_in_the_ledger_once_in_order():
    bench = Bench(min_ms=20.0).load(voice(4))
    bench.run(350)
    records = bench.line.render.ledger.read(8_192)
    assert (np.diff(records["seq"]) == 1).all()
    assert (np.diff(records["media_pos"]) == 320).all()
    assert (np.diff(records["sink_pos"]) == 320).all()
    assert (records["rendered_ns"] >= records["decoded_ns"]).all()
    assert (records["decoded_ns"] >= records["arrival_ns"]).all()


def test_telemetry_that_nobody_reads_is_counted_and_costs_no_sound():
    bench = Bench().load(voice(100))
    bench.run(9_000)
    assert bench.line.render.state["ticks_lost"][0] > 700
    assert np.abs(bench.run(50)).max() > 0.05


@pytest.mark.parametrize("ppm", [-300, 0, 300])
def test_the_device_clock_is_followed_through_jitter_and_drift(ppm, rng):
    bench = Bench()
    line = bench.line
    out = np.zeros((160, 1), np.float32)
    at = float(EPOCH_NS)
    for n in range(6_000):
        at = EPOCH_NS + n * 10e6 * (1 + ppm * 1e-6)
        now = int(at + rng.uniform(0, 2e6))
        play_pull(line.play.address, out.ctypes.data, 160, now, now, 0)
        render_step(line.render.address, now)
    # One second of the machine's clock, in milliseconds of the device's frames.
    second = device_ms(line.render.clock.address, int(at) + 10**9) - device_ms(line.render.clock.address, int(at))
    assert second == pytest.approx(1_000.0 / (1 + ppm * 1e-6), abs=0.15)
    assert device_ms(line.render.clock.address, int(at)) == pytest.approx(6_000 * 10.0 - 10.0, abs=3.0)
    assert line.render.clock.state["resets"][0] == 1


def test_a_device_that_stalls_is_no_late_network():
    bench = Bench().load(voice(10))
    bench.run(300)
    target = float(ticks_of(bench)["target_ms"][-1])
    bench.now_ns += 200_000_000  # the device does not ask for 200 ms; packets keep coming
    bench.run(400)
    ticks = ticks_of(bench)
    assert ticks["target_ms"].max() <= target + 30.0
    assert bench.line.render.clock.state["resets"][0] == 2
    assert bench.line.buffer.state["resync"][0] == 0
    assert ticks["delay_ms"][-1] < 80.0


def test_nothing_is_louder_than_the_ceiling_in_the_telemetry_either():
    bench = Bench(gain_db=20.0).load(voice(3, level=0.9))
    bench.run(250)
    assert ticks_of(bench)["peak"].max() <= 10 ** (-1 / 20) + 1e-6


def waits(bench):
    """How long each block waited on the audio ring: most, in ms."""
    blocks, marks = bench.line.render.ticks.read(8_192), bench.line.play.marks.read(8_192)
    call = marks[np.searchsorted(marks["sink_pos"] + marks["frames"], blocks["sink_pos"], "right")[:-4]]
    return np.round((call["time_ns"] - blocks["made_ns"][: len(call)]) / 1e6, 3)


def test_two_blocks_wait_for_the_device_unless_less_was_asked_for():
    for lead_ms, expected in ((20.0, 20.0), (15.0, 10.0), (10.0, 10.0)):
        bench = Bench(lead_ms=lead_ms).load(voice(3))
        got = bench.run(250)
        assert bench.line.play.state["words"][0][UNDERRUNS] == 0
        assert np.unique(waits(bench)[10:]).tolist() == [expected], lead_ms
        assert np.count_nonzero(got) > 0.9 * 2.2 * 16_000


@pytest.mark.parametrize(("asked", "lead"), [(160, 160), (80, 160), (32, 160), (320, 320), (112, 272), (240, 400)])
def test_one_block_is_enough_only_where_calls_and_blocks_meet(asked, lead):
    line = Bench(lead_ms=10.0).line
    out = np.zeros((asked, 1), np.float32)
    now_ns = 1_000_000_000_000
    for _ in range(200):
        line.play.pull(out, now_ns, now_ns)
        line.step(now_ns)
        line.play.state["primed"] = 1  # what the device asks for at once is known after its first call
        now_ns += asked * 62_500
    assert line.render.lead.frames == lead
    assert line.play.state["words"][0][UNDERRUNS] == 0


def test_an_underrun_makes_the_short_lead_longer():
    line = Bench(lead_ms=10.0).line
    out = np.zeros((160, 1), np.float32)
    line.play.state["primed"] = 1
    for call in range(3):
        line.play.pull(out, call * 10_000_000 + 1, call * 10_000_000 + 1)
        line.step(call * 10_000_000 + 1)
    line.play.pull(out, 40_000_000, 40_000_000)
    line.play.pull(out, 40_000_000, 40_000_000)  # again before render came round
    line.play.state["gain"] = 1.0
    line.play.pull(out, 40_000_000, 40_000_000)
    line.step(40_000_000)
    assert line.render.lead.frames > 160
