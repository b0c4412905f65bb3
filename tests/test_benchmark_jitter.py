"""The jitter benchmark's own arithmetic: peers on networks whose answer is known, and parts that do not mix."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from rtmedia.sim.trace import Trace

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if name in ("_bench", "jitter") or name.startswith("_jitter"):
            del sys.modules[name]


def regular(delay_ms):
    seq = np.arange(len(delay_ms))
    return Trace("made", seq, seq * 20.0, seq * 20.0 + np.array(delay_ms, float))


def test_what_is_held_out_is_not_tuned_on(load):
    sets = load("_jitter_sets")
    cases = [*sets.recorded(), *sets.seeded()]
    for part in (sets.TUNING, sets.HELD_OUT):
        names = {case.name for case in cases if case.part == part}
        assert any(name.startswith("5g") for name in names)
        assert {"ws_stall", "cellular", "tcp 1 %, 80 ms"} & names
    assert not set(sets.TUNING_SEEDS) & set(sets.HELD_OUT_SEEDS)
    assert len({case.source for case in cases}) == len(cases)
    assert set(sets.neteq()) <= {case.name for case in sets.recorded()}
    assert {case.trace().packet_ms for case in sets.seeded() if case.name == "60 ms packets"} == {60.0}


def test_a_constant_delay_conceals_what_is_later(load):
    peers = load("_jitter_peers")
    delay_ms = [40.0] * 100
    delay_ms[50] = 239.0
    delay_ms[60] = 245.0  # its first 10 ms are too late, its second are not
    delay_ms[70] = 255.0
    delay_ms[80] = np.nan
    played = peers.fixed(regular(delay_ms))
    assert played.delay_ms == 200.0
    assert played.concealed_pct == pytest.approx(100.0 * 5 / 200)
    assert played.events == 3


def test_aiortc_holds_four_frames(load):
    pytest.importorskip("aiortc")
    peers = load("_jitter_peers")
    played = peers.aiortc(regular([40.0] * 400))
    assert (played.delay_ms, played.concealed_pct) == (80.0, 0.0)


def test_a_curve_is_read_at_the_other_ones_figures(load):
    jitter = load("jitter")
    curve = [(20.0, 3.0), (40.0, 1.0), (80.0, 0.5)]
    assert jitter.least(curve, 30.0, 0) == pytest.approx(2.0)
    assert jitter.least(curve, 0.75, 1) == pytest.approx(60.0)
    assert jitter.least(curve, 500.0, 0) == 0.5
    assert jitter.least(curve, 10.0, 0) is None
    assert jitter.least(curve, 0.1, 1) is None
    assert [jitter.mark(value, 1.0, 0.1) for value in (None, 0.5, 0.95, 1.5)] == ["worse", "better", "=", "worse"]


def test_ratios_average_like_ratios(load):
    jitter = load("jitter")
    assert jitter.mean_ratio([(2.0, 1.0), (1.0, 2.0)]) == pytest.approx(1.0)
    assert jitter.mean_ratio([]) is None
