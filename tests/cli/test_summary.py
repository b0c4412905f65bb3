"""What is said at the end of a session."""

from __future__ import annotations

from rtmedia.cli.summary import summary_rows
from rtmedia.stats import Stats


def test_the_delay_of_the_chain_is_told_effect_by_effect_and_what_is_off_is_marked():
    late = {"spectral_gate": 10.0, "gain": 0.0, "gain 2": 0.0, "resampler": 1.5, "limiter": 1.5}
    rows = dict(summary_rows(Stats(chain_ms=late, bypassed=("gain", "spectral_gate"))))
    assert rows["chain"] == "spectral gate (off) 10.0 + gain (off) 0.0 + gain 2 (off) 0.0 + resampler 1.5 + limiter 1.5 = 13.0 ms"


def test_before_there_is_a_chain_nothing_is_said_about_it():
    assert "chain" not in dict(summary_rows(Stats()))
