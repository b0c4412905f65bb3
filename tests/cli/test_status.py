"""The status line fits into every terminal, and its meter moves like a meter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmedia.cli.meter import FALL_DB_PER_S, FLOOR_DB, HOLD_S, Meter, decibels
from rtmedia.cli.status import status_line
from rtmedia.cli.terminal import ASCII, Glyphs
from rtmedia.stats import Stats

STATES = ["idle", "starting", "running", "paused", "stopping", "closed", "failed"]


def loud(level_db=-18.0):
    meter = Meter()
    meter.feed(level_db, level_db + 6, 0.0)
    return meter


def running(**changes):
    values = {
        "state": "running",
        "uptime_s": 83.0,
        "delay_ms": 76.4,
        "target_delay_ms": 71.0,
        "buffered_ms": 60.0,
        "connected": True,
        "rtt_ms": 0.6,
    }
    return Stats(**values | changes)


@given(
    width=st.integers(1, 250),
    state=st.sampled_from(STATES),
    figure=st.floats(0, 1e7),
    connected=st.booleans(),
    said=st.sampled_from(["", "reconnecting in 12.5 s"]),
    flash=st.sampled_from(["", "gain +12 dB"]),
    glyphs=st.sampled_from([Glyphs(), ASCII]),
)
def test_the_line_is_never_wider_than_the_terminal(width, state, figure, connected, said, flash, glyphs):
    stats = running(state=state, uptime_s=figure, delay_ms=figure, target_delay_ms=figure, buffered_ms=figure, connected=connected)
    line = status_line(stats, loud(), glyphs, width, connection=said, flash=flash)
    assert line.cell_len <= max(1, width - 1)
    assert "\n" not in line.plain


def test_a_wide_terminal_shows_everything():
    line = status_line(running(), loud(), Glyphs(), 140).plain
    for part in ("► playing", "1:23", "−18 dB", "delay 76→71 ms", "buffer 60 ms", "concealed 0.0 %", "● online 0.6 ms", "█"):
        assert part in line


def test_a_narrow_terminal_keeps_state_level_and_meter():
    line = status_line(running(), loud(), Glyphs(), 34).plain
    assert "playing" in line
    assert "−18 dB" in line
    assert "█" in line
    assert "buffer" not in line


def test_figures_that_gain_a_digit_do_not_move_the_meter():
    lines = [
        status_line(running(delay_ms=value, target_delay_ms=value, buffered_ms=value), loud(), Glyphs(), 120).plain
        for value in (5.0, 55.0, 555.0)
    ]
    assert len({line.index("delay") for line in lines}) == 1
    assert len({line.index("concealed") for line in lines}) == 1


def test_what_is_said_about_the_connection_replaces_its_state():
    assert "reconnecting in 0.4 s" in status_line(running(connected=False), loud(), Glyphs(), 140, connection="reconnecting in 0.4 s").plain
    assert "no connection" in status_line(running(connected=False), loud(), Glyphs(), 140).plain


def test_before_the_engine_runs_only_that_is_said():
    assert status_line(Stats(state="starting", uptime_s=2.0), Meter(), Glyphs(), 100).plain.split() == ["◌", "opening", "0:02"]


def test_the_meter_rises_at_once_and_falls_slowly():
    meter = loud(-10.0)
    meter.feed(-60.0, -60.0, 0.5)
    assert meter.level_db == pytest.approx(-10.0 - 0.5 * FALL_DB_PER_S)
    meter.feed(-5.0, -5.0, 0.6)
    assert meter.level_db == -5.0


def test_a_peak_is_held_and_then_let_go():
    meter = Meter()
    meter.feed(-20.0, -3.0, 0.0)
    meter.feed(-20.0, -15.0, HOLD_S * 0.9)
    assert meter.peak_db == -3.0
    meter.feed(-20.0, -15.0, HOLD_S * 1.1)
    assert meter.peak_db == -15.0


@pytest.mark.parametrize("glyphs", [Glyphs(), ASCII])
@pytest.mark.parametrize("level_db", [-120.0, -60.0, -33.3, -3.0, 0.0, 12.0])
def test_a_bar_has_its_width_at_every_level(glyphs, level_db):
    for width in (1, 8, 31):
        assert loud(level_db).bar(width, glyphs).cell_len == width


def test_silence_has_no_number():
    assert decibels(FLOOR_DB, Glyphs()) == "  --"
    assert decibels(-7.6, Glyphs()) == "  −8"


def test_a_wide_line_tells_the_latency_and_a_narrow_one_keeps_what_matters_more():
    latency_ms = {"total": {"mean": 47.0, "p50": 46.9, "p95": 48.4, "p99": 53.6, "p99.9": 56.9, "max": 56.9}}
    wide = status_line(running(latency_ms=latency_ms), loud(), Glyphs(), 160).plain
    assert "latency p95 48 ms" in wide
    assert "latency" not in status_line(running(latency_ms=latency_ms), loud(), Glyphs(), 100).plain
