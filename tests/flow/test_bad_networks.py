"""Promises about whole streams over networks that are perfect, stall for seconds, or bring sound ahead of time."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia import Config, simulate
from rtmedia.config import Jitter
from rtmedia.jitter.state import ACCELERATE, DECELERATE, DRAIN, ENDED

EPOCH_S = 1_000.0


def stalled(tmp_path, stall_s, seconds):
    """A regular stream of which `stall_s` seconds, from the 20th on, arrive in one burst."""
    arrivals = np.arange(int(seconds * 50)) * 20.0 + 40.0
    arrivals[(arrivals >= 20_000.0) & (arrivals < 20_000.0 + stall_s * 1000.0)] = 20_000.0 + stall_s * 1000.0
    path = tmp_path / "stall.csv"
    rows = "\n".join(f"{i},{i * 20},{at}" for i, at in enumerate(arrivals))
    path.write_text(f"seq,send_ms,arrival_ms\n{rows}\n")
    return path


def played(trace, **jitter):
    return simulate(Config(effects=(), jitter=Jitter(**jitter)), trace, audio=False, oracles=False)


def seconds_of(ticks):
    return ticks["time_ns"] / 1e9 - EPOCH_S


def test_of_ten_seconds_that_come_at_once_a_listener_hears_every_word(tmp_path):
    result = played(stalled(tmp_path, 10.0, 80.0), profile="listening")
    assert result.report["resync_ms"] == 0.0
    assert result.report["late_pct"] == 0.0
    assert result.report["concealment_events"] == 1
    assert result.stats.neteq["packetsDiscarded"] == 0
    ticks = result.ticks
    back = (seconds_of(ticks) > 70.0) & (ticks["op"] != ENDED)
    assert ticks["delay_ms"][back].max() < 60.0


def test_of_ten_seconds_that_come_at_once_a_conversation_skips_what_is_over_in_one_counted_step(tmp_path):
    result = played(stalled(tmp_path, 10.0, 60.0), profile="conversation")
    assert result.report["concealment_events"] == 1
    assert 9_000.0 < result.report["resync_ms"] < 10_000.0
    ticks = result.ticks
    after = ticks[(seconds_of(ticks) > 35.0) & (seconds_of(ticks) < 59.0)]
    assert (after["delay_ms"] - after["control_ms"]).max() < 20.0
    jumps = np.diff(ticks["media_ms"])
    assert (jumps[np.isfinite(jumps)] > 500.0).sum() == 1


@pytest.mark.parametrize("stall_s", [0.3, 1.0])
def test_a_stall_that_a_conversation_bears_costs_no_word(tmp_path, stall_s):
    result = played(stalled(tmp_path, stall_s, 40.0))
    assert result.report["resync_ms"] == 0.0
    assert result.report["late_pct"] == 0.0


def test_a_perfect_network_is_played_within_25_ms_and_after_five_seconds_untouched():
    result = played("model:perfect?seed=1")
    ticks = result.ticks[(seconds_of(result.ticks) > 5.0) & (result.ticks["op"] != ENDED)]
    assert result.report["concealed_pct"] == 0.0
    assert not np.isin(ticks["op"], (ACCELERATE, DECELERATE, DRAIN)).any()
    assert ticks["delay_ms"].max() <= 25.0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_synthesiser_that_sends_a_second_ahead_loses_nothing(seed):
    result = played(f"model:gauss?sender=tts&lead_ms=1000&seed={seed}")
    assert result.report["resync_ms"] == 0.0
    assert result.report["speech_concealed_pct"] < 0.3


@pytest.mark.parametrize("seed", [5, 6])
@pytest.mark.parametrize("model", ["ge_loss3", "ge_loss10"])
def test_where_packets_are_lost_less_is_made_up_than_was_lost(model, seed):
    result = played(f"model:{model}?seed={seed}")
    assert result.report["concealed_pct"] < 0.8 * result.report["lost_pct"]
    assert result.report["mean_delay_ms"] < 60.0


@pytest.mark.parametrize("pause_s", [2, 8, 30])
def test_a_sender_that_is_silent_is_waited_for_however_long_and_nothing_is_made_up(pause_s):
    result = played(f"model:perfect?sender=talk&pause_s={pause_s}&seed=1")
    assert result.report["concealed_pct"] == 0.0
    assert result.report["resync_ms"] == 0.0
    assert result.report["longest_stop_ms"] == 0.0
    assert result.stats.neteq["silentConcealedSamples"] == 0
    assert result.stats.stream_restarts_total == 0
    assert result.report["mean_delay_ms"] < 20.0
