"""Backoff and Retry-After."""

from __future__ import annotations

import random
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmedia.errors import ConfigError
from rtmedia.protocol.retry import Backoff, parse_retry_after


def most(low: float, high: float) -> float:
    return high


def least(low: float, high: float) -> float:
    return low


def test_the_ceiling_doubles_from_half_a_second_to_thirty():
    backoff = Backoff("forever", most)
    assert [backoff.next_delay_s() for _ in range(9)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_the_jitter_is_full_from_nothing_to_the_ceiling():
    backoff = Backoff("forever", least)
    assert [backoff.next_delay_s() for _ in range(4)] == [0.0] * 4
    chance = random.Random(1)
    backoff = Backoff("forever", chance.uniform, base_s=8, cap_s=8)
    waits = sorted(backoff.next_delay_s() or 0.0 for _ in range(1000))
    assert waits[0] < 0.1
    assert 3.5 < waits[500] < 4.5
    assert waits[-1] > 7.9


def test_the_attempts_are_counted_and_only_good_audio_ends_a_series():
    backoff = Backoff(2, most)
    assert [backoff.next_delay_s() for _ in range(4)] == [0.5, 1.0, None, None]
    backoff.good_audio()
    assert [backoff.next_delay_s() for _ in range(3)] == [0.5, 1.0, None]
    assert Backoff(0, most).next_delay_s() is None


def test_forever_is_forever():
    backoff = Backoff("forever", most)
    for _ in range(5000):
        assert backoff.next_delay_s() is not None


def test_what_the_peer_asks_is_a_floor_with_a_little_jitter():
    backoff = Backoff("forever", most)
    assert backoff.next_delay_s(retry_after_s=7.0) == 7.5
    assert backoff.next_delay_s(retry_after_s=0.0) == 1.0
    assert Backoff("forever", least).next_delay_s(retry_after_s=7.0) == 7.0
    assert Backoff("forever", least).next_delay_s(retry_after_s=1e9) == 30.0


@pytest.mark.parametrize("limit", [-1, True, 1.5, "always", None])
def test_an_impossible_limit_is_the_callers_mistake(limit: Any):
    with pytest.raises(ConfigError, match="forever"):
        Backoff(limit, most)


NOW_S = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5.0),
        (" 5 ", 5.0),
        ("0", 0.0),
        ("31", 30.0),
        ("99999999999999999999", 30.0),
        (formatdate(NOW_S + 12, usegmt=True), 12.0),
        (formatdate(NOW_S - 12, usegmt=True), 0.0),
        (formatdate(NOW_S + 3600, usegmt=True), 30.0),
        (formatdate(NOW_S + 12), 12.0),  # "-0000": no zone, still not local time
        (None, 2.0),
        ("", 2.0),
        ("-5", 2.0),
        ("1.5", 2.0),
        ("²", 2.0),
        ("soon", 2.0),
        ("Tue, 99 Nov 2023 99:99:99 GMT", 2.0),
        ("NaN", 2.0),
        ("1e9", 2.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_long(value: str | None, seconds: float):
    assert parse_retry_after(value, NOW_S, default_s=2.0) == seconds


@pytest.mark.parametrize("zone", ["UTC0", "EST+5", "CET-1"])
def test_a_date_does_not_depend_on_where_the_kiosk_stands(zone: str, monkeypatch: pytest.MonkeyPatch):
    import time

    if not hasattr(time, "tzset"):
        pytest.skip("the system has no tzset")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        assert parse_retry_after(formatdate(NOW_S + 12), NOW_S) == 12.0
        assert parse_retry_after("Tue, 14 Nov 2023 22:13:32", NOW_S) == 12.0
    time.tzset()


@settings(deadline=None)
@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,9} \d\d:\d\d:\d\d( GMT| [+-]\d{4})?", fullmatch=True))
def test_any_header_gives_a_wait_between_none_and_the_cap(value: str):
    seconds = parse_retry_after(value, NOW_S, default_s=1.0)
    assert seconds is not None
    assert 0.0 <= seconds <= 30.0
