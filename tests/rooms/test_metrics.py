"""The QA line: figures of an interval from totals that only grow."""

from __future__ import annotations

import json

import pytest

from rtmedia.rooms.metrics import QualityLine


def line(quality, interval_s=2.0, **snapshot):
    return json.loads(quality.line(snapshot, interval_s))


def test_totals_become_what_they_grew_by():
    quality = QualityLine()
    first = line(quality, packets_received_total=100, underruns_total=2)
    second = line(quality, packets_received_total=150, underruns_total=2)
    assert (first["received"], second["received"]) == (100, 50)
    assert (first["underruns"], second["underruns"]) == (2, 0)


def test_the_fraction_lost_is_of_the_interval():
    quality = QualityLine()
    line(quality, packets_expected_total=100, packets_lost_total=50)
    assert line(quality, packets_expected_total=200, packets_lost_total=60)["fraction_lost"] == pytest.approx(0.1)
    assert quality.fraction_lost == pytest.approx(0.1)
    # late copies of lost packets came: less than nothing was lost
    assert line(quality, packets_expected_total=300, packets_lost_total=40)["fraction_lost"] == 0.0
    assert line(quality, packets_expected_total=300, packets_lost_total=40)["fraction_lost"] == 0.0


def test_a_perfect_network_reads_zero():
    quality = QualityLine()
    for i in range(1, 5):
        values = line(quality, packets_expected_total=100 * i, packets_received_total=100 * i, packets_lost_total=0)
        assert values["fraction_lost"] == 0.0


def test_the_concealed_share_is_of_the_interval():
    quality = QualityLine()
    assert line(quality, interval_s=2.0, concealed_ms_total=100.0)["concealed_pct"] == 5.0
    assert line(quality, interval_s=2.0, concealed_ms_total=100.0)["concealed_pct"] == 0.0


def test_a_round_trip_is_told_only_when_one_was_measured():
    quality = QualityLine()
    assert line(quality, rtt_ms=None)["rtt_ms"] is None
    assert line(quality, rtt_ms=12.345)["rtt_ms"] == 12.35 or 12.34


def test_what_is_missing_has_a_default_and_the_line_is_one_line():
    text = QualityLine().line({}, 0.0)
    assert "\n" not in text
    json.loads(text)


def test_the_latency_is_told_by_station_in_few_words():
    term = {"mean": 1.0, "p50": 0.0123456, "p95": 2.0, "p99": 3.0, "p99.9": 4.0, "max": 5.0}
    assert line(QualityLine(), latency_ms={"socket": term, "total": term, "ring": {}})["latency_ms"] == {
        "socket": [0.012, 2.0, 3.0, 4.0, 5.0],
        "total": [0.012, 2.0, 3.0, 4.0, 5.0],
    }
    assert line(QualityLine())["latency_ms"] == {}
