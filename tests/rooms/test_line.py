"""The whole line on one thread: what goes in comes out, and nothing is allocated on the way."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

from rtmedia.codec import codec_named
from rtmedia.dsp.gain import Gain
from rtmedia.dsp.limiter import Limiter
from rtmedia.errors import ConfigError
from rtmedia.presets import LIVE, preset
from rtmedia.rooms.line import Line
from tests.rooms.line_driver import Bench


def voice(seconds, rate=16_000, channels=1, level=0.3):
    t = np.arange(int(seconds * rate)) / rate
    wave = level * np.sin(2 * np.pi * 210 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 2 * t))
    return np.repeat(np.rint(wave * 32767).astype(np.int16)[:, None], channels, axis=1)


def impulse(seconds, at, rate=16_000, channels=1):
    samples = np.zeros((int(seconds * rate), channels), np.int16)
    samples[at] = 16_384
    return samples


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (16_000, 1), (16_000, 2), (44_100, 1), (48_000, 2)])
def test_a_perfect_network_gives_the_input_delayed_to_the_bit(rate, channels):
    samples = voice(4, rate, channels)
    bench = Bench(rate, channels, min_ms=20.0).load(samples)  # with less to fall to, a splice would follow
    got = bench.run(390)
    wanted = samples / np.float32(32768)
    first = int(np.flatnonzero(np.abs(got[:, 0]) > 0)[0]) - int(np.flatnonzero(wanted[:, 0])[0])
    # the device's fade-in covers the first milliseconds
    start = rate // 10
    assert np.array_equal(got[first + start : first + 3 * rate], wanted[start : 3 * rate])
    assert bench.line.buffer.state["concealed"][0] == 0
    assert bench.line.play.cell.read()[4] == 0  # underruns


def test_ten_thousand_blocks_with_the_default_effects_allocate_nothing(rng):
    lost = set(rng.choice(6_000, 180, replace=False).tolist()) - {0}
    arrivals = np.maximum.accumulate(np.arange(6_000) * 20.0 + 15.0 + rng.gamma(1.0, 12.0, 6_000))
    bench = Bench(effects=preset(LIVE), device_rate_hz=48_000).load(voice(100), arrivals_ms=arrivals, lost=lost)
    bench.run(200)
    out = np.zeros((11_000 * 480, 1), np.float32)
    _nrt_python.memsys_enable_stats()
    gc.collect()
    gc.disable()
    try:
        bench.run(1, out)
        few = rtsys.get_allocation_stats()
        bench.run(1, out)
        one = rtsys.get_allocation_stats()
        tracemalloc.start()
        before = tracemalloc.take_snapshot()
        bench.run(10_000, out)
        after = tracemalloc.take_snapshot()
        many = rtsys.get_allocation_stats()
    finally:
        tracemalloc.stop()
        gc.enable()
        _nrt_python.memsys_disable_stats()
    # The call from Python makes what it makes, once; ten thousand blocks add nothing to it.
    assert (many.alloc - one.alloc, many.mi_alloc - one.mi_alloc) == (one.alloc - few.alloc, one.mi_alloc - few.mi_alloc)
    grown = [item for item in after.compare_to(before, "filename") if "rtmedia" in item.traceback[0].filename]
    assert sum(item.size_diff for item in grown) < 1_000
    state = bench.line.buffer.state
    assert state["conceal_events"][0] > 50
    assert state["closed"][0] > 0


@pytest.mark.parametrize("device_rate", [16_000, 48_000, 44_100])
@pytest.mark.parametrize("effects", [(), (Gain(0.0),), (Limiter(-1.0),)], ids=["none", "gain", "limiter"])
def test_the_chain_is_as_late_as_it_says(device_rate, effects):
    at = 16_000
    plain = Bench(device_rate_hz=device_rate, effects=effects).load(impulse(3, at))
    got = plain.run(300)[:, 0]
    ticks = plain.line.render.ticks.read(8_192)
    tick = ticks[np.flatnonzero((ticks["media_pos"] <= at) & (ticks["media_pos"] > 0))[-1]]
    wanted = int(tick["sink_pos"]) + (at - int(tick["media_pos"])) * device_rate / 16_000 + plain.line.chain_latency_frames
    # What the ring held when the device first asked, and what it asked for in vain, are the same here: nothing.
    assert abs(int(np.argmax(np.abs(got))) - wanted) <= 1


def test_the_default_effects_are_as_late_as_they_say():
    noise = np.random.default_rng(1).standard_normal(48_000) * np.sin(np.arange(48_000) * 0.001) ** 4  # syllables
    samples = (6_000 * noise).astype(np.int16)[:, None]
    bench, plain = Bench(effects=preset(LIVE)).load(samples), Bench().load(samples)
    late = bench.line.chain_latency_frames - plain.line.chain_latency_frames
    a, b = plain.run(280)[16_000:32_000, 0], bench.run(280)[16_000:32_000, 0]
    spectrum = np.fft.irfft(np.fft.rfft(b, 65_536) * np.conj(np.fft.rfft(a, 65_536)))
    near = spectrum[max(0, late - 30) : late + 31]
    assert abs(int(np.argmax(near)) + max(0, late - 30) - late) <= 2


def test_effects_run_in_their_order():
    # A limiter before a gain lets more through than one behind it.
    loud = voice(2, level=0.9)
    first = Bench(effects=(Limiter(-20.0), Gain(12.0)), ceiling_db=0.0).load(loud).run(180)
    last = Bench(effects=(Gain(12.0), Limiter(-20.0)), ceiling_db=0.0).load(loud).run(180)
    assert np.abs(first).max() == pytest.approx(10 ** (-8 / 20), rel=0.04)
    assert np.abs(last).max() == pytest.approx(10 ** (-20 / 20), rel=0.04)


def test_the_ceiling_is_kept_whatever_the_gain():
    got = Bench(gain_db=30.0, ceiling_db=-3.0).load(voice(2, level=0.9)).run(180)
    assert np.abs(got).max() <= 10 ** (-3 / 20) + 1e-6


def steps(block):
    return float(np.abs(np.diff(block[:, 0])).max())


def test_a_pause_fades_and_live_goes_on_unheard():
    samples = voice(6)
    bench, through = Bench().load(samples), Bench().load(samples)
    wanted = through.run(500)
    got = [bench.run(150)]
    bench.line.pause(True)
    got.append(bench.run(100))
    bench.line.pause(False)
    got.append(bench.run(250))
    assert not got[1][800:].any()
    whole = np.concatenate(got)
    assert steps(whole) <= steps(wanted) + 0.3 / 160
    assert np.array_equal(whole[300 * 160 :], wanted[300 * 160 :])  # live: where it would have been


def test_a_hold_waits_at_the_frame_and_is_not_late_afterwards():
    samples = voice(12)
    bench, through = Bench(hold_on_pause=True).load(samples), Bench().load(samples)
    wanted = through.run(700)
    got = [bench.run(150)]
    bench.line.pause(True)
    got.append(bench.run(200))
    m = int(bench.line.buffer.state["m"][0])
    bench.run(50)
    assert bench.line.buffer.state["m"][0] == m
    bench.line.pause(False)
    got.append(bench.run(300))
    resumed = np.concatenate([got[0], got[2]])[:, 0]
    late = resumed[200 * 160 : 400 * 160]
    # The same sound as without the pause, some whole number of frames later in this cut.
    ref = wanted[:, 0]
    window = late[:64]
    candidates = np.flatnonzero(ref == window[0])
    assert any(np.array_equal(ref[c : c + len(late)], late) for c in candidates)
    assert bench.line.buffer.state["resync"][0] == 0
    assert bench.line.buffer.state["concealed"][0] == 0
    assert steps(np.concatenate(got)) <= steps(wanted) + 0.3 / 160


def test_pausing_twice_and_resuming_twice_is_once():
    bench = Bench().load(voice(4))
    for paused in (True, True, False, False):
        bench.line.pause(paused)
        bench.run(20)
    assert np.abs(bench.run(20)).max() > 0.05


def test_an_update_of_gain_does_not_click():
    samples = voice(4)
    bench = Bench().load(samples)
    quiet = bench.run(150)
    bench.line.update(gain_db=-20.0)
    moving = bench.run(100)
    bench.line.update(gain_db=0.0)
    back = bench.run(100)
    assert np.abs(moving[-1_600:]).max() <= 0.3 * 0.1 * 1.05
    whole = np.concatenate([quiet, moving, back])
    assert steps(whole) <= 1.3 * steps(samples / 32768)


def test_an_update_of_effects_is_taken_over_and_others_are_refused():
    bench = Bench(effects=(Gain(0.0),)).load(voice(4))
    bench.run(100)
    bench.line.update(effects=(Gain(-30.0),))
    bench.run(60)
    assert np.abs(bench.run(20)).max() < 0.02
    with pytest.raises(ConfigError, match="keeps"):
        bench.line.update(effects=(Limiter(),))
    with pytest.raises(ConfigError, match="keeps"):
        bench.line.update(effects=())


def test_more_effects_than_there_are_places_are_refused():
    with pytest.raises(ConfigError, match="limit is 16"):
        Bench(effects=(Gain(0.0),) * 17)


def test_a_line_says_what_it_is_made_of():
    line = Line(rate_hz=16_000, channels=1, device_rate_hz=48_000, codec=codec_named("pcmu"), effects=())
    assert line.chain_latency_frames > 0
    assert line.lead_frames == 960
