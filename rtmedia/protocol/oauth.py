"""OAuth 2.0 client credentials (RFC 6749 section 4.4) without I/O: a request to send, an answer to read.

Nothing secret is ever part of a message or a repr: values sit in fields that no repr shows, and of the server's
own words only the error codes that RFC 6749 section 5.2 registers are repeated, because a free text may echo
what was sent.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote_plus, urlencode

from rtmedia.errors import AuthError, SourceError
from rtmedia.protocol.retry import parse_retry_after
from rtmedia.units import NS_PER_S

#: A server that does not say how long its token lives (section 5.1 only recommends it) is asked again after this.
DEFAULT_LIFETIME_S = 300.0
#: Longer promises are cut here, so that time arithmetic stays in 64 bits.
LONGEST_LIFETIME_S = 30 * 86_400.0
#: A token that would be gone before a handshake is done helps nobody.
SHORTEST_LIFETIME_S = 1.0
#: No token endpoint has more to say.
ANSWER_LIMIT_OCTETS = 65_536

_REGISTERED_ERRORS = {
    "invalid_request": "a parameter is missing or wrong",
    "invalid_client": "client id or secret are wrong, or sent the wrong way; check both, and authentication 'body' or 'basic'",
    "invalid_grant": "the grant is not valid for this client",
    "unauthorized_client": "the client may not use client credentials; allow that grant for it",
    "unsupported_grant_type": "the server has no client credentials grant; check the token URL",
    "invalid_scope": "the client does not have the scopes {scopes}; give them to it",
}


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A POST to the token URL."""

    headers: Mapping[str, str] = field(repr=False)
    body: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; `expires_at_ns` is monotonic time."""

    value: str = field(repr=False)
    issued_at_ns: int
    expires_at_ns: int

    @property
    def refresh_at_ns(self) -> int:
        """When to ask for the next one: 60 s before the end, or after 80 % of a short life."""
        lifetime_ns = self.expires_at_ns - self.issued_at_ns
        return self.expires_at_ns - min(60 * NS_PER_S, lifetime_ns // 5)


def build_request(
    client_id: str,
    client_secret: str,
    *,
    authentication: Literal["body", "basic"] = "body",
    scopes: tuple[str, ...] = (),
) -> TokenRequest:
    """The request for a token.

    Parameters
    ----------
    authentication : {"body", "basic"}
        Section 2.3.1: in the form, or in an HTTP Basic header whose parts are form-urlencoded first, because an
        id may hold a colon.
    """
    form = {"grant_type": "client_credentials"}
    if scopes:
        form["scope"] = " ".join(scopes)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", "Cache-Control": "no-store"}
    if authentication == "basic":
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode("ascii")).decode("ascii")
    else:
        form["client_id"] = client_id
        form["client_secret"] = client_secret
    return TokenRequest(headers, urlencode(form))


def read_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now_ns: int,
    now_epoch_s: float,
    scopes: tuple[str, ...] = (),
) -> Token:
    """The token in an answer.

    Parameters
    ----------
    status, headers, body
        As they came; header names compare without case.
    now_ns : int
        Monotonic time when the request was *sent*: the lifetime counts from there at the earliest.
    now_epoch_s : float
        Wall-clock time, for a ``Retry-After`` date.

    Raises
    ------
    AuthError
        The server refused the client; a person has to change something.
    SourceError
        Anything else; ``retryable`` says whether it may heal, ``retry_after_s`` when.
    """
    if status == 200:
        return _read_token(body, now_ns)
    asked_s = parse_retry_after(_header(headers, "retry-after"), now_epoch_s)
    if status == 429:
        raise SourceError("the token server asks for fewer requests (HTTP 429); it will be asked again later", retry_after_s=asked_s)
    if status in (408, 425) or status >= 500:
        raise SourceError(f"the token server is in trouble (HTTP {status}); it will be asked again", retry_after_s=asked_s)
    if 300 <= status < 400:
        raise SourceError(f"the token URL redirects (HTTP {status}), which is not followed with a secret; set token_url", retryable=False)
    if status < 300:
        raise SourceError(f"the token server answered HTTP {status} instead of 200; is token_url right?")
    raise AuthError(f"the token server refused the client (HTTP {status}): {_advice(status, body, scopes)}")


def _header(headers: Mapping[str, str], name: str) -> str | None:
    return next((value for key, value in headers.items() if key.lower() == name), None)


def _advice(status: int, body: bytes, scopes: tuple[str, ...]) -> str:
    wanted = " and ".join(scopes) or "(none were asked for)"
    code = _object(body).get("error")
    if status == 403:
        return f"it may not have the scopes {wanted}; give them to the OAuth client, and revoke its old tokens"
    if isinstance(code, str) and code in _REGISTERED_ERRORS:
        return f"{code}: {_REGISTERED_ERRORS[code].format(scopes=wanted)}"
    if status == 401:
        return _REGISTERED_ERRORS["invalid_client"]
    if status in (404, 405, 410):
        return "there is no token endpoint at this address; check environment and token_url"
    return f"the request was not understood; check that the client has the client-credentials grant and the scopes {wanted}"


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; an empty one where there is none."""
    if len(body) > ANSWER_LIMIT_OCTETS:
        return {}
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _read_token(body: bytes, now_ns: int) -> Token:
    data = _object(body)
    value = data.get("access_token")
    # A captive portal answers 200 with a page of its own: that heals, so it may be tried again.
    if not isinstance(value, str) or not value:
        raise SourceError("the token server answered without an access_token in a JSON object; a captive portal may stand in between")
    # Section A.12: visible ASCII only. Anything else could break out of the header that carries it.
    if len(value) > 16_384 or not all("!" <= character <= "~" for character in value):
        raise SourceError("the token server sent an access_token that is no token (RFC 6749 A.12)")
    kind = data.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise AuthError("the token server issues tokens of a type other than 'bearer', which the media server does not take")
    lifetime_s = _lifetime_s(data.get("expires_in"))
    return Token(value, now_ns, now_ns + int(lifetime_s * NS_PER_S))


def _lifetime_s(expires_in: Any) -> float:
    """Seconds of life; some servers write the number as a string."""
    if isinstance(expires_in, str) and expires_in.isascii() and expires_in.isdigit():
        expires_in = float(expires_in[:12])
    if isinstance(expires_in, bool) or not isinstance(expires_in, (int, float)):
        return DEFAULT_LIFETIME_S
    if isinstance(expires_in, float) and math.isnan(expires_in):
        return DEFAULT_LIFETIME_S
    if expires_in < SHORTEST_LIFETIME_S:
        raise SourceError(f"the token server sent a token that lives {float(max(expires_in, -1e9)):.3g} s; is its clock right?")
    return min(expires_in, LONGEST_LIFETIME_S)
