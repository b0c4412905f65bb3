"""What the end of a connection means."""

from __future__ import annotations

import pytest

from rtmedia.errors import AuthError, SourceError, WireError
from rtmedia.protocol.session import (
    Action,
    ConnectionEnded,
    TokenRefused,
    Verdict,
    action_of,
    close_action,
    refusal,
    upgrade_action,
)


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015, 3008, 3999, 4000, 4999, 2222, 0, None])
def test_a_close_that_time_can_heal_is_tried_again(code: int | None):
    assert close_action(code).action is Action.RETRY


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010, 3003])
def test_a_close_that_blames_us_is_final(code: int):
    verdict = close_action(code)
    assert verdict.action is Action.FINAL
    assert "check" in verdict.meaning


def test_unauthorised_asks_for_a_fresh_token():
    assert close_action(3000).action is Action.REFRESH


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1011, 4000, None])
def test_after_the_end_of_the_stream_every_close_is_the_end(code: int | None):
    assert close_action(code, ended=True).action is Action.END


def test_a_servers_own_table_wins():
    table = {4401: Verdict(Action.REFRESH, "expired"), 1000: Verdict(Action.END, "this server ends so")}
    assert close_action(4401, overrides=table).action is Action.REFRESH
    assert close_action(1000, overrides=table).action is Action.END
    assert close_action(1001, overrides=table).action is Action.RETRY
    assert action_of(ConnectionEnded(4401, ""), overrides=table) is Action.REFRESH


@pytest.mark.parametrize(
    ("status", "action"),
    [
        (401, Action.REFRESH),
        (403, Action.FINAL),
        (404, Action.FINAL),
        (400, Action.FINAL),
        (426, Action.FINAL),
        (408, Action.RETRY),
        (425, Action.RETRY),
        (429, Action.RETRY),
        (500, Action.RETRY),
        (503, Action.RETRY),
        (599, Action.RETRY),
        (301, Action.FINAL),
        (307, Action.FINAL),
        (200, Action.RETRY),
        (None, Action.RETRY),
    ],
)
def test_a_refused_upgrade_has_one_meaning(status: int | None, action: Action):
    assert upgrade_action(status).action is action
    assert action_of(refusal(status)) is action


def test_a_refusal_says_what_to_do():
    assert isinstance(refusal(401), TokenRefused)
    forbidden = refusal(403, scopes=("media:streaming:read", "platform:media:streaming"))
    assert isinstance(forbidden, AuthError)
    assert not forbidden.retryable
    assert "media:streaming:read and platform:media:streaming" in str(forbidden)
    assert "URL" in str(refusal(404))
    assert "wss://other/path" in str(refusal(302, location="wss://other/path"))
    busy = refusal(503, retry_after_s=7.0)
    assert (busy.retryable, busy.retry_after_s) == (True, 7.0)


def test_an_ended_connection_tells_code_reason_and_meaning():
    ended = ConnectionEnded(1013, "full house")
    assert (ended.close_code, ended.reason, ended.retryable) == (1013, "full house", True)
    assert str(ended) == "the connection ended with code 1013, reason 'full house': the server is overloaded"
    assert not ConnectionEnded(1008, "").retryable


def test_any_other_error_says_itself_whether_it_may_heal():
    assert action_of(SourceError("x")) is Action.RETRY
    assert action_of(WireError("x")) is Action.FINAL
    assert action_of(WireError("x", retryable=True)) is Action.RETRY
    assert action_of(AuthError("x")) is Action.FINAL
    assert action_of(ConnectionEnded(1006, ""), ended=True) is Action.END
