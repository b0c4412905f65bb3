"""The compressor against recorded output of a browser, and against the table of its static curve."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.compressor_frames import LIMITS
from rtmedia.errors import ConfigError
from rtmedia.ports import RATES_HZ, Format
from tests.dsp.compressor_reference import compress

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "data" / "compressor"
CASES = json.loads((FOLDER / "manifest.json").read_text("utf-8"))["cases"]

_spec = importlib.util.spec_from_file_location("compressor_parity", ROOT / "benchmarks" / "compressor_parity.py")
parity = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(parity)


@pytest.fixture(scope="module")
def golden():
    with np.load(FOLDER / "compressor_golden.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_the_output_and_the_meter_are_the_browsers(case, golden):
    result = parity.compare(case, golden)
    assert result["max_error"] < 2e-5
    assert result["meter_error_db"] < 0.01


@pytest.mark.parametrize(
    ("threshold_db", "knee_db", "ratio", "k", "knee_out_db", "makeup"),
    [
        (-24, 30, 12, 1.9361116, -4.92318, 1.524144),
        (-12, 0, 20, 9997.681, -12.0, 2.197860),
        (-50, 40, 12, 12.198689, -21.58304, 4.192676),
        (-30, 10, 4, 27.055304, -24.04465, 3.726830),
        (-18, 12, 2, 2.7201619, -8.848215, 1.497775),
    ],
)
def test_the_static_curve_has_the_known_constants(threshold_db, knee_db, ratio, k, knee_out_db, makeup):
    made = Compressor(threshold_db, knee_db, ratio).make(Format(16_000), 160)
    made.process(np.zeros((1, 1), np.float32))
    assert made.state["sharpness"][0] == pytest.approx(k, rel=2e-7)
    assert made.state["knee_out_db"][0] == pytest.approx(knee_out_db, rel=1e-6)
    assert made.state["makeup"][0] == pytest.approx(makeup, rel=1e-6)


def test_new_settings_take_effect_at_a_multiple_of_128_frames_only():
    x = np.full((384, 1), 0.5, np.float32)
    changed, unchanged = (Compressor(lookahead=False).make(Format(16_000), 128) for _ in range(2))
    a, b = x.copy(), x.copy()
    changed.process(a[:100])
    changed.update((-50.0, 40.0, 12.0, 0.003, 0.25))
    changed.process(a[100:])
    unchanged.process(b)
    assert np.array_equal(a[:128], b[:128])
    assert not np.array_equal(a[128:160], b[128:160])


@pytest.mark.parametrize("largest", [1, 31, 500])
def test_recordings_with_changing_settings_come_out_the_same_in_blocks_of_any_length(golden, rng, largest):
    """Wishes may be uttered up to 127 frames before the quantum that takes them."""
    case = next(case for case in CASES if case.get("automation"))
    x = golden[case["input"]][:, None]
    wanted, meter = parity.render(case, golden[case["input"]])
    settings = dict(case["params"])
    made = Compressor(**{parity.SETTINGS[name]: value for name, value in settings.items()}).make(Format(case["sample_rate"]), 512)
    changes = [(change["frame"] - int(rng.integers(0, 128)), change) for change in case["automation"]]
    y, at = x.copy(), 0
    while at < len(y):
        if changes and changes[0][0] <= at:
            change = changes.pop(0)[1]
            settings[change["param"]] = change["value"]
            made.update(tuple(settings.values()))
        end = min(at + int(rng.integers(1, largest + 1)), changes[0][0] if changes else len(y))
        made.process(y[at:end])
        at = end
        if at in meter:
            assert made.state["reduction_db"][0] == np.float32(meter[at])
    assert np.array_equal(y[:, 0], wanted)


EXTREMES = {
    "usual": (-24.0, 30.0, 12.0, 0.003, 0.25),
    "all there is": (-100.0, 40.0, 20.0, 0.0, 0.0),
    "a straight line from the bottom": (-100.0, 0.0, 20.0, 0.0, 1.0),
    "nothing": (0.0, 0.0, 1.0, 1.0, 1.0),
    "a limiter": (0.0, 0.0, 20.0, 0.0, 0.0),
    "a knee beyond full scale": (0.0, 40.0, 20.0, 0.02, 0.05),
    "hard": (-30.0, 0.0, 8.0, 0.001, 0.1),
}


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("name", EXTREMES)
def test_the_output_is_the_reference_at_the_ends_of_every_range(name, rate_hz, rng):
    settings = dict(zip((limit[0] for limit in LIMITS), EXTREMES[name], strict=True))
    channels = 1 + rate_hz % 3 % 2
    frames = 3000
    loudness = np.repeat(10 ** rng.uniform(-4.5, 0.3, frames // 250), 250)[:, None]
    x = (rng.uniform(-1, 1, (frames, channels)) * loudness).astype(np.float32)
    x[700], x[701:704], x[1500:1800] = np.nan, np.inf, 0
    made = Compressor(**settings).make(Format(rate_hz, channels), frames)
    y = x.copy()
    made.process(y)
    wanted, meter = compress(x, rate_hz, **settings, delay=made.latency_frames)
    assert np.abs(y - wanted).max() < 2e-5 * max(1.0, np.abs(wanted).max())
    assert abs(made.state["reduction_db"][0] - meter[-1]) < 0.01


def test_the_look_ahead_is_six_milliseconds_rounded_down():
    lengths = [Compressor().make(Format(rate_hz), 64).latency_frames for rate_hz in RATES_HZ]
    assert lengths == [48, 96, 144, 192, 264, 288]


@pytest.mark.parametrize("lookahead", [True, False])
def test_the_gain_is_the_same_with_and_without_look_ahead(rng, lookahead):
    """Only the sound waits: what leaves is the input of `latency_frames` ago times the gain of now."""
    x = rng.uniform(-0.9, 0.9, (4000, 1)).astype(np.float32)
    made = Compressor(lookahead=lookahead).make(Format(16_000), 4000)
    y = x.copy()
    made.process(y)
    late = made.latency_frames
    assert late == (96 if lookahead else 0)
    ones = np.full_like(x, np.nan)
    ones[late:] = y[late:] / x[: len(x) - late]
    plain = Compressor(lookahead=False).make(Format(16_000), 4000)
    z = x.copy()
    plain.process(z)
    audible = np.abs(x[late:]) > 0.05
    audible &= np.abs(x[: len(x) - late]) > 0.05
    assert ones[late:][audible] == pytest.approx((z / x)[late:][audible], rel=3e-7)


def test_without_look_ahead_nothing_is_delayed():
    x = np.zeros((64, 1), np.float32)
    x[0] = 0.5
    made = Compressor(lookahead=False).make(Format(16_000), 64)
    made.process(x)
    assert made.latency_frames == 0
    assert x[0] != 0


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("lookahead", [True, False])
def test_two_equal_channels_are_the_mono_signal_to_the_bit(rng, rate_hz, lookahead):
    x = (rng.uniform(-1, 1, (3001, 1)) * rng.uniform(0, 1.5, (3001, 1))).astype(np.float32)
    one, two = (Compressor(lookahead=lookahead).make(Format(rate_hz, channels), 441) for channels in (1, 2))
    mono, stereo = x.copy(), np.repeat(x, 2, axis=1)
    one.process(mono)
    two.process(stereo)
    assert np.array_equal(stereo, np.repeat(mono, 2, axis=1))
    assert one.state["reduction_db"] == two.state["reduction_db"]


def test_a_loud_channel_turns_the_quiet_one_down_as_far(rng):
    """One gain for both, whichever is the louder at the moment: the picture of the room does not move."""
    shape = rng.uniform(-1, 1, (4800, 1)).astype(np.float32)
    factor = np.float32(2.0**-10)
    loud_left = np.repeat(shape, 2, axis=1) * np.array([1, factor], np.float32)
    swapped = loud_left[:, ::-1].copy()
    outputs = []
    for x in (loud_left, swapped):
        made = Compressor().make(Format(48_000, 2), 480)
        y = x.copy()
        made.process(y)
        outputs.append(y)
    assert np.array_equal(outputs[0][:, 1], outputs[0][:, 0] * factor)
    assert np.array_equal(outputs[0], outputs[1][:, ::-1])
    alone = Compressor().make(Format(48_000), 480)
    mono = shape.copy()
    alone.process(mono)
    assert np.array_equal(mono[:, 0], outputs[0][:, 0])


def tone(rate_hz, amplitude, seconds=0.5):
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)[:, None]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_a_warm_start_has_no_fade_in(rate_hz):
    quiet = tone(rate_hz, 0.001)
    made = Compressor(warm_start=True).make(Format(rate_hz), 8000)
    made.process(quiet)
    early, late = np.abs(quiet[rate_hz // 125 : rate_hz // 50]).max(), np.abs(quiet[-200:]).max()
    assert early == pytest.approx(late, rel=1e-3)
    assert late == pytest.approx(0.001 * 1.524144, rel=1e-3)


def test_a_cold_start_fades_in_over_300_ms():
    """The browser's behaviour; its own recording of such a tone is among the cases above."""
    rate_hz = 16_000
    quiet = tone(rate_hz, 0.001)
    made = Compressor().make(Format(rate_hz), 8000)
    made.process(quiet)
    envelope = np.abs(quiet[:, 0]).reshape(-1, 16).max(axis=1)
    down_db = [float(20 * np.log10(envelope[-1] / envelope[ms])) for ms in (7, 20, 50, 100, 300)]
    assert down_db == pytest.approx([13.2, 11.2, 5.8, 2.0, 0], abs=0.4)


def test_warm_and_cold_are_the_same_once_both_have_settled():
    x = np.concatenate([tone(16_000, 0.3, 1.5), tone(16_000, 0.02, 2.5)])
    outputs = []
    for warm in (False, True):
        made = Compressor(warm_start=warm).make(Format(16_000), 160)
        y = x.copy()
        made.process(y)
        outputs.append(y)
    assert outputs[0][-8000:] == pytest.approx(outputs[1][-8000:], abs=1e-6)


def test_the_meter_shows_the_reduction_without_the_makeup():
    made = Compressor(warm_start=True).make(Format(16_000), 160)
    assert made.state["reduction_db"][0] == 0
    made.process(tone(16_000, 0.001))
    assert made.state["reduction_db"][0] == pytest.approx(0, abs=0.01)  # the makeup of 3.66 dB does not show
    x = np.full((16_000, 1), 0.5, np.float32)
    made.process(x)
    reduction_db = 20 * np.log10(x[-1, 0] / 0.5 / 1.524144)
    assert made.state["reduction_db"][0] == pytest.approx(reduction_db, abs=0.01)
    assert reduction_db < -1
    down = made.state["reduction_db"][0]
    for _ in range(4):  # what was deepest fades with 325 ms: slower than the gain comes back
        made.process(np.zeros((1600, 1), np.float32))
        assert down < made.state["reduction_db"][0] < 0
        down = made.state["reduction_db"][0]


def test_the_meter_is_nothing_before_anything_ran():
    assert Compressor().make(Format(16_000), 160).state["reduction_db"][0] == 0


def test_between_calls_no_time_passes(rng):
    """A held engine calls no effect; when it goes on, the compressor is where it was, without a new fade-in."""
    x = rng.uniform(-0.5, 0.5, (3200, 1)).astype(np.float32)
    straight, held = (Compressor().make(Format(16_000), 160) for _ in range(2))
    a, b = x.copy(), x.copy()
    straight.process(a)
    for at in range(0, 3200, 100):
        held.process(b[at : at + 100])
        held.process(b[:0])
    assert np.array_equal(a, b)


def test_settings_that_are_no_numbers_become_the_lowest_and_the_sound_stays_finite(rng):
    made = Compressor().make(Format(16_000), 256)
    made.update((float("nan"),) * 5)
    x = rng.uniform(-1, 1, (4096, 1)).astype(np.float32)
    made.process(x)
    assert np.isfinite(x).all()
    assert made.state["ratio"][0] == 1
    assert made.state["threshold_db"][0] == -100


def test_settings_outside_of_their_range_are_refused():
    with pytest.raises(ConfigError, match=r"ratio is 0\.5"):
        Compressor(ratio=0.5)
    with pytest.raises(ConfigError, match="release_s"):
        Compressor(release_s=float("nan"))
