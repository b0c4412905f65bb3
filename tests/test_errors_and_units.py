"""Errors by blame, and the one place where units are converted."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmedia import errors
from rtmedia.units import db_of_gain, frames_of_ms, gain_of_db, ms_of_frames, without_query


def test_every_error_is_an_rtmedia_error():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) >= 8
    assert all(issubclass(kind, errors.RtmediaError) for kind in kinds)


def test_a_callers_mistake_is_a_value_error_and_a_wrong_moment_a_runtime_error():
    assert issubclass(errors.ConfigError, ValueError)
    assert issubclass(errors.StateError, RuntimeError)


def test_whether_trying_again_can_help_is_said():
    assert errors.SourceError("x").retryable
    assert not errors.AuthError("x").retryable
    assert not errors.WireError("x").retryable
    assert errors.AuthError("x", retryable=True, retry_after_s=3.0).retry_after_s == 3.0
    assert isinstance(errors.AuthError("x"), errors.SourceError)


def test_a_sink_error_says_what_to_do():
    error = errors.SinkError("another program uses the device", kind="busy", device="hw:0", hint="close it")
    assert str(error) == "another program uses the device; close it"
    assert (error.kind, error.device, error.hint) == ("busy", "hw:0", "close it")
    assert str(errors.SinkError("gone", kind="lost")) == "gone"
    assert errors.RoomError("x", room="render").room == "render"


@pytest.mark.parametrize("error", [errors.ConfigError("x"), errors.StateError("y"), errors.RtmediaError("z")])
def test_errors_without_extras_travel_between_processes(error):
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@given(st.integers(0, 10**9), st.sampled_from([8_000, 16_000, 44_100, 48_000]))
def test_frames_and_milliseconds_are_inverse(frames, rate_hz):
    assert frames_of_ms(ms_of_frames(frames, rate_hz), rate_hz) == frames


@given(st.floats(-119.0, 60.0))
def test_decibels_and_gains_are_inverse(level_db):
    assert db_of_gain(gain_of_db(level_db)) == pytest.approx(level_db, abs=1e-9)


def test_silence_has_a_floor():
    assert db_of_gain(0.0) == -120.0
    assert db_of_gain(-1.0) == -120.0
    assert db_of_gain(1e-30, floor_db=-200.0) == -200.0


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://host/path?access_token=abc", "wss://host/path"),
        ("wss://user:abc@host:81/path#abc", "wss://host:81/path"),
        ("ws://host", "ws://host"),
        ("wss://[::1]:8/x?y=abc", "wss://[::1]:8/x"),
        ("wss://[abc", "wss:"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_what_it_may_hide(url, shown):
    assert without_query(url) == shown


@given(st.text(max_size=60))
def test_any_text_is_shown_without_its_query(text):
    shown = without_query("wss://user:sentinel@host/p?sentinel" + text)
    assert "sentinel" not in shown or "sentinel" in text
