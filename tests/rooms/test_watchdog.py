"""Latecomers are told once in a while, with how late they are."""

from __future__ import annotations

from rtmedia.rooms.watchdog import Watchdog

S = 1_000_000_000


def test_who_comes_round_is_never_told():
    watchdog = Watchdog(100 * S)
    assert all(watchdog.late({"render": now * S}, now * S + S // 2) == [] for now in range(100, 130))


def test_who_stays_away_is_told_every_ten_seconds():
    watchdog = Watchdog(100 * S)
    told = [now for now in range(100, 125) if watchdog.late({"render": 100 * S, "play": now * S}, now * S)]
    assert told == [102, 113, 124]


def test_who_never_came_is_late_since_the_beginning():
    assert Watchdog(100 * S).late({"play": 0}, 103 * S) == [("play", 3.0)]
