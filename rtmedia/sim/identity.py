"""The simulated identity provider: one client, and tokens that expire. No sockets, no clock.

OAuth 2.0 client credentials (RFC 6749 sections 2.3.1, 4.4 and 5.2).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from rtmedia.config import SCOPES
from rtmedia.units import NS_PER_S

_MOST_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status, a JSON body (which may hold a token: no repr) and headers."""

    status: int
    body: dict[str, Any] = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Token:
    expires_ns: int
    scopes: frozenset[str]


class Identity:
    """Gives tokens to the client that knows the secret, and says later what a token is worth."""

    def __init__(self, client_id: str, client_secret: str, expires_in_s: int) -> None:
        self._client_id, self._client_secret = client_id, client_secret
        self._expires_in_s = expires_in_s
        self._tokens: dict[str, _Token] = {}

    def grant(self, form: Mapping[str, str], authorization: str, now_ns: int) -> Answer:
        """Answer a token request: its form and its ``Authorization`` header (empty where there is none)."""
        grant_type = form.get("grant_type", "")
        if not grant_type:
            return _refusal(400, "invalid_request", "grant_type is missing")
        if grant_type != "client_credentials":
            return _refusal(400, "unsupported_grant_type", "only client_credentials is supported")
        client = _basic(authorization) if authorization else (form.get("client_id", ""), form.get("client_secret", ""))
        if client is None or not self._knows(*client):
            # RFC 6749 section 5.2: a client that came by header is told which scheme is wanted.
            return _refusal(401, "invalid_client", "unknown client or wrong secret", {"WWW-Authenticate": "Basic"} if authorization else {})
        asked = frozenset(form.get("scope", "").split()) or frozenset(SCOPES)
        if not asked <= set(SCOPES):
            return _refusal(400, "invalid_scope", f"the scopes are {' '.join(SCOPES)}")
        token = secrets.token_urlsafe(32)
        self._forget(now_ns)
        self._tokens[token] = _Token(now_ns + self._expires_in_s * NS_PER_S, asked)
        body = {"access_token": token, "token_type": "Bearer", "expires_in": self._expires_in_s, "scope": " ".join(sorted(asked))}
        return Answer(200, body, {"Cache-Control": "no-store"})

    def check(self, token: str, now_ns: int) -> Answer | None:
        """None where `token` opens the media stream at `now_ns`, else the refusal."""
        known = self._tokens.get(token)
        if known is None or now_ns >= known.expires_ns:
            reason = "no access token" if not token else "unknown access token" if known is None else "the access token has expired"
            return _refusal(401, "invalid_token", reason, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        if not known.scopes >= set(SCOPES):
            return _refusal(403, "insufficient_scope", f"the scopes needed are {' '.join(SCOPES)}")
        return None

    def _knows(self, client_id: str, client_secret: str) -> bool:
        same_id = hmac.compare_digest(client_id.encode(), self._client_id.encode())
        return hmac.compare_digest(client_secret.encode(), self._client_secret.encode()) and same_id

    def _forget(self, now_ns: int) -> None:
        if len(self._tokens) >= _MOST_TOKENS:
            self._tokens = {text: token for text, token in self._tokens.items() if token.expires_ns > now_ns}
            while len(self._tokens) >= _MOST_TOKENS:
                del self._tokens[next(iter(self._tokens))]


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, coded = authorization.partition(" ")
    try:
        text = base64.b64decode(coded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    if scheme.lower() != "basic" or ":" not in text:
        return None
    client_id, _, client_secret = text.partition(":")
    return unquote_plus(client_id), unquote_plus(client_secret)  # form-encoded first: RFC 6749 section 2.3.1


def _refusal(status: int, error: str, description: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, {"error": error, "error_description": description}, headers or {})
