"""The token exchange, without a network."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmedia.errors import AuthError, SourceError
from rtmedia.protocol.oauth import Token, build_request, read_response
from rtmedia.units import NS_PER_S

SECRET = "s3cr3t/+:&="
SCOPES = ("media:streaming:read", "platform:media:streaming")


def read(status: int, body: Any = b"", headers: dict[str, str] | None = None, now_ns: int = 0) -> Token:
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_response(status, headers or {}, octets, now_ns=now_ns, now_epoch_s=1_700_000_000.0, scopes=SCOPES)


def test_the_client_travels_in_the_form_with_its_scopes():
    request = build_request("my id", SECRET, scopes=SCOPES)
    assert parse_qs(request.body) == {
        "grant_type": ["client_credentials"],
        "client_id": ["my id"],
        "client_secret": [SECRET],
        "scope": ["media:streaming:read platform:media:streaming"],
    }
    assert "Authorization" not in request.headers


def test_basic_authentication_encodes_each_part_first():
    request = build_request("my:id", SECRET, authentication="basic")
    scheme, _, credentials = request.headers["Authorization"].partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(credentials) == b"my%3Aid:s3cr3t%2F%2B%3A%26%3D"  # RFC 6749 section 2.3.1
    assert parse_qs(request.body) == {"grant_type": ["client_credentials"]}


@pytest.mark.parametrize("authentication", ["body", "basic"])
def test_no_repr_shows_a_secret(authentication: Any):
    request = build_request("my-id", SECRET, authentication=authentication)
    token = Token("t0k3n", 0, 1)
    assert repr(request) == "TokenRequest()"
    assert "t0k3n" not in f"{token!r} {token} {[token]}"


def test_a_token_lives_from_the_moment_it_was_asked_for():
    token = read(200, {"access_token": "abc", "token_type": "Bearer", "expires_in": 3600}, now_ns=5 * NS_PER_S)
    assert (token.value, token.issued_at_ns, token.expires_at_ns) == ("abc", 5 * NS_PER_S, 3605 * NS_PER_S)


@pytest.mark.parametrize(("lifetime_s", "refresh_s"), [(3600, 3540), (300, 240), (100, 80), (10, 8), (2, 1.6)])
def test_renewal_comes_a_minute_early_or_a_fifth_of_a_short_life(lifetime_s: int, refresh_s: float):
    assert read(200, {"access_token": "abc", "expires_in": lifetime_s}).refresh_at_ns == int(refresh_s * NS_PER_S)


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [("3600", 3600), (59.5, 59.5), (None, 300), ("soon", 300), (True, 300), ([], 300), (10**30, 30 * 86_400), ("9" * 40, 30 * 86_400)],
)
def test_a_lifetime_may_be_written_in_odd_ways(expires_in: Any, seconds: float):
    assert read(200, {"access_token": "abc", "expires_in": expires_in}).expires_at_ns == int(seconds * NS_PER_S)


def test_a_missing_lifetime_is_five_minutes():
    assert read(200, {"access_token": "abc"}).expires_at_ns == 300 * NS_PER_S


@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"])
def test_a_lifetime_that_is_no_number_breaks_nothing(literal: bytes):
    try:
        token = read(200, b'{"access_token":"abc","expires_in":' + literal + b"}")
    except SourceError:
        return
    assert 0 < token.expires_at_ns <= 30 * 86_400 * NS_PER_S


@pytest.mark.parametrize("expires_in", [0, -5, 0.2, -(10**400)])
def test_a_token_that_is_dead_on_arrival_is_an_error_that_may_heal(expires_in: Any):
    with pytest.raises(SourceError, match="lives") as caught:
        read(200, {"access_token": "abc", "expires_in": expires_in})
    assert caught.value.retryable


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b"{}", b'{"access_token":""}', b'{"access_token":5}', b"[" * 60_000, b"\xff\xfe", b" " * 70_000],
)
def test_a_200_without_a_token_may_be_a_captive_portal(body: bytes):
    with pytest.raises(SourceError, match="access_token") as caught:
        read(200, body)
    assert caught.value.retryable


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a b", "tökén", "\x00", "x" * 20_000])
def test_a_token_that_could_break_out_of_its_header_is_refused_unshown(value: str):
    with pytest.raises(SourceError, match="no token") as caught:
        read(200, {"access_token": value, "expires_in": 60})
    assert value not in str(caught.value)


def test_a_token_of_another_type_is_of_no_use():
    with pytest.raises(AuthError, match="bearer"):
        read(200, {"access_token": "abc", "token_type": "mac"})


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (400, {"error": "invalid_scope"}, "media:streaming:read and platform:media:streaming"),
        (400, {"error": "unsupported_grant_type"}, "grant"),
        (400, {"error": "invalid_client"}, "client id or secret"),
        (400, {"error": "unauthorized_client"}, "allow that grant"),
        (400, b"?", "client-credentials grant"),
        (400, {"error": ["invalid_scope"]}, "client-credentials grant"),
        (401, b"", "client id or secret"),
        (403, b"", "media:streaming:read and platform:media:streaming"),
        (404, b"", "token_url"),
        (418, b"", "not understood"),
    ],
)
def test_a_refused_client_is_told_what_to_change(status: int, body: Any, hint: str):
    with pytest.raises(AuthError, match=hint) as caught:
        read(status, body)
    assert not caught.value.retryable
    assert str(status) in str(caught.value)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again_when_it_says(status: int):
    with pytest.raises(SourceError) as caught:
        read(status, b"", {"retry-AFTER": "12"})
    assert (caught.value.retryable, caught.value.retry_after_s) == (True, 12.0)
    assert not isinstance(caught.value, AuthError)


def test_retry_after_may_be_a_date_and_is_capped():
    with pytest.raises(SourceError) as caught:
        read(429, b"", {"Retry-After": "Tue, 14 Nov 2023 22:13:25 GMT"})
    assert caught.value.retry_after_s == 5.0
    with pytest.raises(SourceError) as caught:
        read(429, b"", {"Retry-After": "86400"})
    assert caught.value.retry_after_s == 30.0


def test_a_redirect_is_not_followed_with_a_secret():
    with pytest.raises(SourceError, match="token_url") as caught:
        read(302, b"", {"Location": "https://elsewhere/?secret=1"})
    assert not caught.value.retryable
    assert "elsewhere" not in str(caught.value)


def test_a_servers_free_words_are_never_repeated_because_they_may_echo_the_secret():
    with pytest.raises(AuthError) as caught:
        read(401, {"error": SECRET, "error_description": f"client_secret {SECRET} is wrong", "message": SECRET})
    assert SECRET not in repr(caught.value) + str(caught.value)


@settings(deadline=None)
@given(status=st.integers(100, 599), body=st.binary(max_size=60), retry=st.none() | st.text())
def test_any_answer_is_a_token_or_a_source_error(status: int, body: bytes, retry: str | None):
    with contextlib.suppress(SourceError):
        assert read(status, body, {} if retry is None else {"Retry-After": retry}).value
