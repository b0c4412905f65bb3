"""Clocks that differ: ten minutes of the whole line, by splices and by speed (an hour: ``benchmarks/drift.py``)."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia import Config, Jitter, simulate
from rtmedia.jitter.drift import MOST
from rtmedia.jitter.state import ACCELERATE, DECELERATE, DRAIN, HOLD
from rtmedia.rooms.play import UNDERRUNS
from tests.rooms.line_driver import Bench

SPLICES = (ACCELERATE, DECELERATE, DRAIN)
CHORD_HZ = (220.0, 277.5, 330.0, 440.0)


def chord(seconds, rate=16_000):
    t = np.arange(seconds * rate) / rate
    return np.rint(26_000 * sum(np.sin(2 * np.pi * f * t) for f in CHORD_HZ) / len(CHORD_HZ))[:, None]


def listen(bench, seconds):
    """Play so long; all ticks, and the sound."""
    ticks, sound = [], []
    for start in range(0, seconds * 100, 5_000):
        sound.append(bench.run(min(5_000, seconds * 100 - start)))
        ticks.append(bench.line.render.ticks.read(8_192))
        bench.line.render.ledger.read(8_192)
        bench.line.play.marks.read(8_192)
    return np.concatenate(ticks), np.concatenate(sound)


def drifting(ppm, seconds, material, *, jitter_ms=0.0, **settings):
    """A line whose sender's clock is faster by `ppm` than its device's."""
    bench = Bench(**settings)
    sent_ms = np.arange(seconds * 50) * 20.0
    late_ms = np.random.default_rng(7).exponential(jitter_ms, len(sent_ms)) if jitter_ms else 0.0
    arrivals_ms = np.maximum.accumulate(40.0 + sent_ms / (1 + ppm * 1e-6) + late_ms)
    return bench.load(np.resize(material, (seconds * bench.rate_hz, bench.channels)), arrivals_ms=arrivals_ms)


def minute_ms(ticks, first_s):
    return float(ticks["delay_ms"][first_s * 100 : (first_s + 60) * 100].mean())


def impurity_db(sound, rate=16_000):
    """What is not within 2 Hz of the chord's tones, against all; half a minute from the end."""
    part = sound[-32 * rate : -2 * rate, 0].astype(float)
    power = np.abs(np.fft.rfft(part * np.kaiser(len(part), 14))) ** 2
    f_hz = np.fft.rfftfreq(len(part), 1 / rate)
    pure = np.zeros(len(f_hz), bool)
    for tone_hz in CHORD_HZ:
        pure |= np.abs(f_hz - tone_hz) < 2.0
    return 10 * np.log10(power[~pure].sum() / power.sum())


@pytest.mark.parametrize("ppm", [-500, 500])
@pytest.mark.parametrize("least_ms", [10.0, 20.0])
def test_splices_keep_the_delay_where_it_began(ppm, least_ms):
    bench = drifting(ppm, 605, chord(5), min_ms=least_ms)
    ticks, _ = listen(bench, 600)
    assert abs(minute_ms(ticks, 539) - minute_ms(ticks, 30)) < 2.5  # it falls by a splice of up to 15 ms at a time, then creeps
    assert bench.line.buffer.state["concealed"][0] == 0
    splices = np.isin(ticks["op"], SPLICES).sum()
    assert 20 < splices < 120  # 0.5 ms a second in splices of 2.5 to 15 ms
    assert (ticks["resample_ratio"] == 1.0).all()


@pytest.mark.parametrize("ppm", [-500, 500])
@pytest.mark.parametrize("device_rate_hz", [16_000, 48_000])
def test_speed_keeps_the_delay_where_it_began_without_a_splice(ppm, device_rate_hz):
    bench = drifting(ppm, 605, chord(5), drift="resample", device_rate_hz=device_rate_hz)
    ticks, _ = listen(bench, 600)
    assert abs(minute_ms(ticks, 539) - minute_ms(ticks, 30)) < 2.0
    settled = ticks[6_000:]
    assert np.abs(settled["delay_ms"] - settled["control_ms"]).max() < 2.0
    assert not np.isin(ticks["op"], (*SPLICES, HOLD)).any()
    assert bench.line.buffer.state["concealed"][0] == 0
    assert np.abs((settled["resample_ratio"] - 1) * 1e6 + ppm).max() < 20.0
    assert bench.line.render.drift["drift"][0] * 1e6 == pytest.approx(ppm, abs=5.0)
    # The device's frames are what was made: the media's clock has run at the sender's pace.
    made = settled["frames"].sum() / (len(settled) * device_rate_hz // 100)
    assert (made - 1) * 1e6 == pytest.approx(-ppm, abs=20.0)
    assert bench.line.play.cell.read()[UNDERRUNS] == 0


@pytest.mark.parametrize("ppm", [-500, 500])
def test_a_device_whose_own_clock_is_off_is_followed_too(ppm):
    """The other side of the same thing, seen through the loop that follows the device's calls."""
    bench = Bench(drift="resample")
    bench.tick_ns = round(10_000_000 * (1 + ppm * 1e-6))  # longer: the device is slow, and the sender fast against it
    bench.load(np.resize(chord(5), (305 * 16_000, 1)))
    ticks, _ = listen(bench, 300)
    settled = ticks[9_000:]
    assert not np.isin(settled["op"], (*SPLICES, HOLD)).any()
    assert np.abs(settled["delay_ms"] - settled["control_ms"]).max() < 2.0
    assert np.abs((settled["resample_ratio"] - 1) * 1e6 + ppm).max() < 20.0


def test_a_chord_stays_pure_by_speed_and_does_not_by_splices():
    purity = {}
    for drift in ("splice", "resample"):
        _, sound = listen(drifting(500, 125, chord(2), drift=drift), 120)
        purity[drift] = impurity_db(sound)
    assert purity["resample"] < -85.0  # 16 bit, and the resampler's images
    assert purity["splice"] > purity["resample"] + 30.0


def test_on_a_jittery_network_the_pitch_does_not_wander_audibly():
    bench = drifting(300, 185, chord(5), drift="resample", jitter_ms=3.0)
    ticks, _ = listen(bench, 180)
    settled = ticks[6_000:]
    assert np.ptp(settled["control_ms"]) > 8.0
    assert np.ptp(settled["resample_ratio"]) < 0.003  # a glide of less is not heard
    # What the delay grew by while playback waited was worked off, too.
    lasted_ms = (settled["time_ns"][-1] - settled["time_ns"][0]) / 1e6
    held_ms = settled["concealed"][settled["op"] == HOLD].sum() / 16
    shrunk_ms = held_ms - (settled["delay_ms"][-1] - settled["delay_ms"][0])
    assert held_ms <= 40.0
    assert settled["resample_ratio"].mean() == pytest.approx(1 - 300e-6 - shrunk_ms / lasted_ms, abs=20e-6)
    assert not np.isin(settled["op"], (ACCELERATE, DECELERATE)).any()


@pytest.mark.parametrize("step_ms", [-30.0, 30.0])
def test_a_step_of_the_network_is_worked_off_at_half_a_percent_at_most(step_ms):
    bench = Bench(drift="resample")
    sent_ms = np.arange(125 * 50) * 20.0
    arrivals_ms = np.maximum.accumulate(60.0 + sent_ms + np.where(sent_ms >= 60_000, step_ms, 0.0))
    bench.load(np.resize(chord(5), (125 * 16_000, 1)), arrivals_ms=arrivals_ms)
    ticks, _ = listen(bench, 120)
    assert np.abs(ticks["resample_ratio"] - 1).max() <= MOST + 1e-12
    assert np.abs(ticks["resample_ratio"] - 1).max() > 0.9 * MOST
    after = ticks[11_000:11_800]
    assert np.abs(after["delay_ms"] - after["control_ms"]).max() < 2.0
    steered = ticks[6_300:]  # the gap of a later network is drained at once, whatever the setting; and C is 50 ms for 3 s
    assert np.isin(steered["op"], SPLICES).sum() <= (0 if step_ms < 0 else 3)
    assert bench.line.buffer.state["concealed"][0] <= (0 if step_ms < 0 else 320)


def test_a_long_stall_is_still_worked_off_by_splices():
    bench = Bench(drift="resample")
    sent_ms = np.arange(65 * 50) * 20.0
    arrivals_ms = 40.0 + sent_ms
    stalled = (sent_ms >= 30_000) & (sent_ms < 30_400)
    arrivals_ms[stalled] = 30_440.0
    bench.load(np.resize(chord(5), (65 * 16_000, 1)), arrivals_ms=arrivals_ms)
    ticks, _ = listen(bench, 60)
    assert ticks["delay_ms"].max() > 300.0
    assert np.isin(ticks["op"], (ACCELERATE,)).sum() > 10
    assert ticks["delay_ms"][4_500:].max() - ticks["control_ms"][4_500:].max() < 45.0


def test_captions_come_with_their_words_while_the_speed_changes():
    config = Config(source="loopback:?drift_ppm=500&jitter_ms=2&transcript_lead_ms=300", effects=(), jitter=Jitter(drift="resample"))
    result = simulate(config)
    assert abs(result.report["caption_skew_ms"]) < 20.0
    assert result.stats.captions_late_total == 0
    assert result.stats.underruns_total == 0
    assert result.stats.resample_ratio < 1.0
    assert result.stats.drift_ppm == pytest.approx(500, abs=200)
    assert simulate(config.with_(jitter=Jitter())).stats.resample_ratio == 1.0


@pytest.mark.parametrize("rate_hz", [8_000, 24_000, 48_000])
@pytest.mark.parametrize("device_rate_hz", [16_000, 44_100, 48_000])
def test_every_pair_of_rates_runs_without_an_underrun(rate_hz, device_rate_hz):
    bench = drifting(-400, 35, chord(5, rate_hz), drift="resample", rate_hz=rate_hz, device_rate_hz=device_rate_hz)
    ticks, sound = listen(bench, 30)
    assert bench.line.play.cell.read()[UNDERRUNS] == 0
    assert bench.line.buffer.state["concealed"][0] == 0
    assert 0.6 < np.abs(sound).max() < 0.9
    assert (ticks["resample_ratio"][2_000:] > 1.0).all()


def test_the_ring_is_never_emptier_than_with_blocks_of_one_length():
    """Blocks of a frame less or more drift past the device's calls; the block kept on top pays for that."""
    least = {}
    for drift in ("splice", "resample"):
        bench = drifting(500, 65, chord(5), drift=drift)
        seen = []
        for _ in range(1_000):
            bench.run(6)
            seen.append(bench.line.audio.readable)
        least[drift] = min(seen)
        assert max(seen) <= bench.line.lead_frames + 2
    assert least["resample"] >= least["splice"] == 320
