"""The identity provider answers as RFC 6749 says."""

from __future__ import annotations

import base64

import pytest

from rtmedia.config import SCOPES
from rtmedia.sim.identity import Identity

S = 1_000_000_000
GOOD = {"grant_type": "client_credentials", "client_id": "me", "client_secret": "s:e cret", "scope": " ".join(SCOPES)}


@pytest.fixture
def identity():
    return Identity("me", "s:e cret", 60)


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_the_client_may_name_itself_in_the_form_or_in_the_header(identity):
    by_form = identity.grant(GOOD, "", 0)
    by_header = identity.grant({"grant_type": "client_credentials"}, basic("me:s%3Ae+cret"), 0)
    for answer in (by_form, by_header):
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.body["expires_in"] == 60
        assert identity.check(answer.body["access_token"], 0) is None
    assert by_form.body["access_token"] != by_header.body["access_token"]
    assert by_form.body["access_token"] not in repr(by_form)


@pytest.mark.parametrize(
    ("change", "authorization", "status", "error"),
    [
        ({"grant_type": ""}, "", 400, "invalid_request"),
        ({"grant_type": "authorization_code"}, "", 400, "unsupported_grant_type"),
        ({"scope": "everything"}, "", 400, "invalid_scope"),
        ({"client_secret": "wrong"}, "", 401, "invalid_client"),
        ({"client_id": "you"}, "", 401, "invalid_client"),
        ({"client_id": "ü"}, "", 401, "invalid_client"),
        ({}, basic("me:wrong"), 401, "invalid_client"),
        ({}, basic("no colon"), 401, "invalid_client"),
        ({}, "Basic ???", 401, "invalid_client"),
        ({}, "Bearer abc", 401, "invalid_client"),
    ],
)
def test_a_wrong_request_is_refused_with_its_code(identity, change, authorization, status, error):
    answer = identity.grant(GOOD | change, authorization, 0)
    assert (answer.status, answer.body["error"]) == (status, error)


def test_a_token_expires(identity):
    token = identity.grant(GOOD, "", 0).body["access_token"]
    assert identity.check(token, 60 * S - 1) is None
    assert identity.check(token, 60 * S).status == 401


def test_a_token_without_all_scopes_opens_nothing(identity):
    token = identity.grant(GOOD | {"scope": SCOPES[0]}, "", 0).body["access_token"]
    assert identity.check(token, 0).status == 403


def test_no_token_and_a_made_up_one_are_refused(identity):
    assert identity.check("", 0).status == 401
    assert identity.check("made up", 0).status == 401


def test_memory_for_tokens_is_bounded(identity, monkeypatch):
    monkeypatch.setattr("rtmedia.sim.identity._MOST_TOKENS", 5)
    tokens = [identity.grant(GOOD, "", 0).body["access_token"] for _ in range(9)]
    assert [identity.check(token, 0) is None for token in tokens] == [False] * 4 + [True] * 5
