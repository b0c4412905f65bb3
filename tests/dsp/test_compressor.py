"""The compressor against recorded output of a browser, and against the table of its static curve."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from rtmedia.dsp.compressor import Compressor
from rtmedia.errors import ConfigError
from rtmedia.ports import Format

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


def test_without_look_ahead_nothing_is_delayed():
    x = np.zeros((64, 1), np.float32)
    x[0] = 0.5
    made = Compressor(lookahead=False).make(Format(16_000), 64)
    made.process(x)
    assert made.latency_frames == 0
    assert x[0] != 0


def test_a_warm_start_has_no_fade_in():
    t = np.arange(8000) / 16_000
    quiet = (0.001 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)[:, None]
    made = Compressor(warm_start=True).make(Format(16_000), 8000)
    made.process(quiet)
    early, late = np.abs(quiet[100:300]).max(), np.abs(quiet[-200:]).max()
    assert early == pytest.approx(late, rel=1e-3)
    assert late == pytest.approx(0.001 * 1.524144, rel=1e-3)


def test_settings_outside_of_their_range_are_refused():
    with pytest.raises(ConfigError, match=r"ratio is 0\.5"):
        Compressor(ratio=0.5)
    with pytest.raises(ConfigError, match="release_s"):
        Compressor(release_s=float("nan"))
