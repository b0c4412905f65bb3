"""A device that starts fills its own memory: it asks for several blocks at once, and only then one by one."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.codec import codec_named
from rtmedia.rooms.lead import LEAD_RISE_MS
from rtmedia.rooms.line import Line
from rtmedia.rooms.play import UNDERRUN_FRAMES, play_pull
from rtmedia.units import NS_PER_MS

RATE_HZ, BLOCK = 16_000, 160
START_MS = 1_000


def play_from_the_start(called_ms, seconds=4.0, first_packet_ms=200, look_between=False):
    """The line of a device that calls at `called_ms` and then every 10 ms, on a perfect network; returns line and ticks."""
    delays = {"start_ms": 20.0, "min_ms": 20.0}  # a delay that stays where it starts
    line = Line(rate_hz=RATE_HZ, channels=1, device_rate_hz=RATE_HZ, codec=codec_named("pcm_s16le"), effects=[], **delays)
    last = called_ms[-1]
    calls = [*called_ms, *(last + 10.0 * (k + 1) for k in range(int(seconds * 100)))]
    voice = (8_000 * np.sin(2 * np.pi * 200 * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype("<i2")
    packets = [(first_packet_ms + 20.0 * k, voice[320 * k : 320 * k + 320].tobytes()) for k in range(int(seconds * 50))]
    out = np.zeros((BLOCK, 1), np.float32)
    ticks = []
    line.step(START_MS * NS_PER_MS)
    turns = sorted([(at, 1, number) for number, at in enumerate(calls)] + [(at, 0, number) for number, (at, _) in enumerate(packets)])
    for at, call, number in turns:
        now_ns = int((START_MS + at) * NS_PER_MS)
        if call:
            play_pull(line.play.address, out.ctypes.data, BLOCK, now_ns, now_ns, 0)
        else:
            line.decode.write(now_ns, number, number * 20 * NS_PER_MS, 257 if number == 0 else 0, packets[number][1])
        if look_between or not (call and number < len(called_ms) - 1):
            line.step(now_ns + 10_000)
            ticks.append(line.render.ticks.read(100))
    return line, np.concatenate(ticks)


@pytest.mark.parametrize("look_between", [True, False], ids=["render keeps up", "render comes after them"])
def test_the_first_calls_of_a_device_are_not_its_pace(look_between):
    line, ticks = play_from_the_start([0.0, 0.4, 0.5, 0.6], look_between=look_between)
    state = line.buffer.state
    assert state["accelerated"][0] == state["decelerated"][0] == state["concealed"][0] == 0
    assert np.ptp(ticks["delay_ms"][100:]) < 1.0
    assert ticks["relative_ms"].max() < 1.0


def test_a_device_that_starts_at_its_pace_is_followed_at_once():
    line, ticks = play_from_the_start([0.0])
    assert line.render.clock.state["resets"][0] == 1
    assert np.ptp(ticks["delay_ms"][100:]) < 0.5
    assert ticks["relative_ms"].max() < 0.5


def test_running_short_of_silence_before_the_first_sound_is_no_underrun():
    line, _ = play_from_the_start([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert line.play.cell.read()[UNDERRUN_FRAMES] == 0


def test_running_short_of_sound_is_an_underrun():
    line, _ = play_from_the_start([0.0])
    out = np.zeros((BLOCK, 1), np.float32)
    for k in range(8):
        play_pull(line.play.address, out.ctypes.data, BLOCK, (START_MS + 5_000 + k) * NS_PER_MS, 0, 0)
    assert line.play.cell.read()[UNDERRUN_FRAMES] > 0


def test_underruns_make_the_lead_longer_up_to_its_limit():
    line, _ = play_from_the_start([0.0])
    out = np.zeros((BLOCK, 1), np.float32)
    lead = line.render.lead.frames
    for k in range(20):
        now_ns = (START_MS + 5_000 + 100 * k) * NS_PER_MS
        for _ in range(12):  # the device stalled, and now asks for all at once
            play_pull(line.play.address, out.ctypes.data, BLOCK, now_ns, now_ns, 0)
        line.step(now_ns)
        play_pull(line.play.address, out.ctypes.data, BLOCK, now_ns, now_ns, 0)
    assert line.render.lead.frames == lead + int(LEAD_RISE_MS * RATE_HZ / 1000)


def go_on(line, since_ms, blocks):
    """The device asks every 10 ms, and render follows; returns when it would ask next."""
    out = np.zeros((BLOCK, 1), np.float32)
    for k in range(blocks):
        now_ns = int((since_ms + 10.0 * k) * NS_PER_MS)
        play_pull(line.play.address, out.ctypes.data, BLOCK, now_ns, now_ns, 0)
        line.step(now_ns + 10_000)
    return since_ms + 10.0 * blocks


def underrun(line, at_ms):
    """The device stalled, and asks for more than there is; returns when it would ask next."""
    out = np.zeros((BLOCK, 1), np.float32)
    for _ in range(12):
        play_pull(line.play.address, out.ctypes.data, BLOCK, int(at_ms * NS_PER_MS), int(at_ms * NS_PER_MS), 0)
    line.step(int(at_ms * NS_PER_MS))
    return at_ms + 10.0


def test_a_lead_that_underruns_raised_comes_down_again_where_it_is_not_needed():
    line, _ = play_from_the_start([0.0])
    lead_now = line.render.lead
    lead = lead_now.frames
    lead_now.state["keep"] = 50
    at_ms = go_on(line, underrun(line, START_MS + 5_000.0), 40)
    assert lead_now.frames == lead + BLOCK
    underruns = int(line.play.cell.read()[UNDERRUN_FRAMES])
    at_ms = go_on(line, at_ms, 200)
    assert lead_now.frames == lead
    assert line.play.cell.read()[UNDERRUN_FRAMES] == underruns
    go_on(line, underrun(line, at_ms), 1)
    assert lead_now.frames == lead + BLOCK
    assert lead_now.state["keep"][0] == 100  # it was too early, so the next time is later


def test_a_large_request_is_not_remembered_for_ever():
    line, _ = play_from_the_start([0.0])
    lead_now = line.render.lead
    lead = lead_now.frames
    lead_now.state["keep"] = 20
    line.play.state["window_frames"] = 100 * BLOCK
    line.play.state["window"] = int(line.play.state["words"][0][0])
    out = np.zeros((5 * BLOCK, 1), np.float32)
    now_ns = (START_MS + 5_000) * NS_PER_MS
    play_pull(line.play.address, out.ctypes.data, 5 * BLOCK, now_ns, now_ns, 0)
    line.step(now_ns)
    assert lead_now.frames == 6 * BLOCK
    go_on(line, START_MS + 5_050.0, 90)
    assert lead_now.frames == 6 * BLOCK
    go_on(line, START_MS + 6_000.0, 400)
    assert lead_now.frames == lead
