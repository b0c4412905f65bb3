"""What a capture keeps in memory until it is written, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.dsp.gain import Gain
from rtmedia.errors import ConfigError, StateError
from rtmedia.rooms import recorder
from rtmedia.rooms.control import Control
from rtmedia.rooms.doorways import TICK_DTYPE, captured_ticks
from rtmedia.rooms.recorder import TABLES, Recorder
from tests.rooms.line_driver import Bench


@pytest.fixture
def bench():
    return Bench(effects=(Gain(),))


def test_a_disk_that_takes_nothing_ends_the_capture_and_not_the_memory(bench, monkeypatch):
    monkeypatch.setattr(recorder, "MOST_WAITING", 1_000)
    kept = Recorder(bench.line, Control(bench.line))
    for seq in range(5):
        assert bench.line.decode.write(0, seq, 0, 0, bytes(640)), "the session goes on"
    assert "wait for the disk" in kept.problem
    assert len(dict(kept.collect())["payloads"]) == 2 * 640
    assert bench.line.decode.write(0, 5, 0, 0, bytes(640))
    assert "wire" not in dict(kept.collect())
    assert kept.end()["problem"] == kept.problem


def test_settings_that_an_effect_takes_in_its_own_way_are_refused(bench):
    Recorder(bench.line, Control(bench.line))

    class Own(type(bench.line.gain)):
        def update(self, values):
            raise AssertionError("never reached")

    bench.line.gain.__class__ = Own
    with pytest.raises(ConfigError, match="cannot be changed while a capture runs"):
        bench.line.update(gain_db=-3.0)


def test_changes_that_render_does_not_take_up_are_not_lost_in_silence(bench):
    Recorder(bench.line, Control(bench.line))
    for _ in range(256):
        bench.line.update(gain_db=-3.0)
    with pytest.raises(StateError, match="does not come round"):
        bench.line.update(gain_db=-3.0)
    bench.run(2)
    bench.line.update(gain_db=-6.0)


def test_a_step_that_found_nothing_new_leaves_no_record(bench):
    kept = Recorder(bench.line, Control(bench.line))
    bench.line.step(bench.now_ns)
    before = kept.steps.written_total
    for _ in range(100):
        bench.line.step(bench.now_ns)
    assert kept.steps.written_total == before
    bench.run(1)
    assert kept.steps.written_total > before


def test_captures_do_not_hold_the_ledgers_stamps_so_those_of_before_can_still_be_read():
    assert TABLES["wire"].names == ("arrival_ns", "seq", "media_time_ns", "flags", "length")
    assert TABLES["ticks"].names[-2:] == ("peak", "mean_square")
    ticks = np.zeros(3, TICK_DTYPE)
    ticks["tick"], ticks["mean_square"], ticks["made_ns"] = (1, 2, 3), 0.5, 7
    kept = captured_ticks(ticks)
    assert kept.dtype == TABLES["ticks"]
    assert kept["tick"].tolist() == [1, 2, 3]
    assert kept["mean_square"].tolist() == [0.5] * 3
