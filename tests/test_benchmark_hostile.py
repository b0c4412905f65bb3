"""The hostile host's own arithmetic: gaps in a recording that is known, causes that are known, targets that are met or not."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rtmedia.rooms.doorways import MARK_DTYPE, TICK_DTYPE
from tests.sound_server import RATE_HZ, Recording

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
MS = 1_000_000


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module("hostile_host")
    for name in set(sys.modules) - before:
        if name == "hostile_host" or name.startswith(("_bench", "_report", "_plot", "_hostile")):
            del sys.modules[name]


def recorded(tmp_path, samples):
    """A recording that came evenly, frame 0 at 1 s of the clock."""
    path = tmp_path / "monitor.f32"
    np.asarray(samples, np.float32).tofile(path)
    found = Recording(path)
    found.stamps = [(int(1e9 + frame * 1e9 / RATE_HZ), frame) for frame in range(0, len(samples) + 1, RATE_HZ // 100)]
    return found


def test_silence_counts_from_the_first_sound_to_the_moment_of_the_stop(bench, tmp_path):
    samples = np.full(2 * RATE_HZ, 0.1)
    samples[: RATE_HZ // 10] = 0.0  # not begun
    samples[RATE_HZ : RATE_HZ + 480] = 0.0  # 10 ms
    samples[RATE_HZ + 4800 : RATE_HZ + 4800 + 48] = 0.0  # 1 ms is no gap
    samples[-RATE_HZ // 10 :] = 0.0  # cut off by the stop
    found = bench.of_recording(recorded(tmp_path, samples), 3e9)
    assert found["gaps"] == 1
    assert found["silent_ms"] == found["worst_gap_ms"] == pytest.approx(10.0, abs=0.1)
    assert found["plays_on"]


def test_who_falls_silent_for_good_is_not_taken_for_one_who_has_finished(bench, tmp_path):
    samples = np.full(3 * RATE_HZ, 0.1)
    samples[RATE_HZ:] = 0.0
    found = bench.of_recording(recorded(tmp_path, samples), 4e9)
    assert found["worst_gap_ms"] == pytest.approx(1900.0, abs=0.1)
    assert not found["plays_on"]


def test_who_is_never_heard_is_silent_all_the_time(bench, tmp_path):
    found = bench.of_recording(recorded(tmp_path, np.zeros(RATE_HZ)), 2e9)
    assert found["silent_ms"] == pytest.approx(900.0)


def test_a_call_is_late_when_a_block_more_than_due_has_passed(bench):
    times_ns = np.cumsum([10] * 50 + [15] + [10] * 20 + [35] + [10] * 20) * MS
    found = bench.of_calls(times_ns)
    assert found["late_calls"] == 1
    assert found["late_worst_ms"] == pytest.approx(25.0)
    assert bench.of_calls(np.zeros(1))["late_calls"] is None


def test_the_cause_of_an_underrun_is_told_apart(bench):
    asked = RATE_HZ // 100
    calls = np.zeros(100, MARK_DTYPE)
    calls["time_ns"] = 10 * MS * np.arange(100)
    calls["asked"] = calls["frames"] = asked
    ticks = np.zeros(100, TICK_DTYPE)
    ticks["time_ns"] = 10 * MS * np.arange(100) - 3 * MS
    late = np.delete(ticks, [47, 48, 49, 50])
    calls["frames"][50] = 0
    assert bench.causes(SimpleNamespace(marks=calls, ticks=late)) == "render late: 1"
    calls["time_ns"][47:50] = calls["time_ns"][50] - 1 * MS  # four at once
    assert bench.causes(SimpleNamespace(marks=calls, ticks=ticks)) == "device in haste: 1"
    calls["frames"] = asked
    assert bench.causes(SimpleNamespace(marks=calls, ticks=ticks)) == ""


def row(bench, condition, peer, silent_ms, underrun_frames=0):
    return {"comparison": condition, "peer": peer, "silent_ms": silent_ms, "underrun_frames": underrun_frames}


def test_targets_are_met_missed_or_not_measured(bench):
    good = [row(bench, name, bench.OURS, 0.0) for name in bench.CONDITIONS]
    theirs = [row(bench, name, peer, 50.0) for name in bench.CONDITIONS for peer in (bench.PYAUDIO, bench.RTMIXER)]
    assert {target.met for target in bench.targets_of(good + theirs)} == {True}
    assert {target.met for target in bench.targets_of(good)} == {True, None}
    (missed, *_) = bench.targets_of([*good, row(bench, "garbage collections", bench.OURS, 3.0, 480), *theirs])
    assert missed.met is False
    assert missed.found == "480 (garbage collections) frames"
    neighbours = [target for target in bench.targets_of([*good, row(bench, "all cores busy", bench.OURS, 51.0), *theirs]) if not target.met]
    assert [target.found for target in neighbours] == ["51 ms"]
