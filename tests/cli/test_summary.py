"""What is said at the end of a session."""

from __future__ import annotations

from rtmedia.cli.summary import STATIONS, summary_rows
from rtmedia.rooms.ledger import TERMS
from rtmedia.stats import Stats


def test_the_delay_of_the_chain_is_told_effect_by_effect_and_what_is_off_is_marked():
    late = {"spectral_gate": 10.0, "gain": 0.0, "gain 2": 0.0, "resampler": 1.5, "limiter": 1.5}
    rows = dict(summary_rows(Stats(chain_ms=late, bypassed=("gain", "spectral_gate"))))
    assert rows["chain"] == "spectral gate (off) 10.0 + gain (off) 0.0 + gain 2 (off) 0.0 + resampler 1.5 + limiter 1.5 = 13.0 ms"


def test_an_effect_whose_own_name_ends_in_a_number_is_marked_too():
    rows = dict(summary_rows(Stats(chain_ms={"eq_2": 1.0, "eq": 0.0}, bypassed=("eq_2",))))
    assert rows["chain"] == "eq 2 (off) 1.0 + eq 0.0 = 1.0 ms"


def test_before_there_is_a_chain_nothing_is_said_about_it():
    assert "chain" not in dict(summary_rows(Stats()))


def test_the_latency_is_a_table_with_a_line_for_each_station():
    assert tuple(STATIONS) == TERMS
    figures = {"mean": 0.0312, "p50": 0.004, "p95": 1.5, "p99": 12.34, "p99.9": 123.4, "max": 1234.5}
    rows = summary_rows(Stats(latency_ms=dict.fromkeys(TERMS, figures)))
    begin = [name for name, _ in rows].index("latency")
    table = [text for _, text in rows[begin : begin + 11]]
    assert table[0].split() == ["in", "ms", "mean", "p50", "p95", "p99", "p99.9", "max"]
    assert [line.split()[0] for line in table[1:]] == list(TERMS)
    assert table[1].split()[1:7] == ["0.031", "0.004", "1.50", "12.3", "123.4", "1234.5"]
    assert len({line.index("1234.5") for line in table[1:]}) == 1


def test_before_a_packet_was_heard_there_is_no_table():
    assert "latency" not in dict(summary_rows(Stats()))
