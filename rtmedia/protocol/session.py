"""How a connection may end, and what to do about it: tables and pure functions.

Three questions, one answer each, an `Action`: a close code (`close_action`; RFC 6455 section 7.4 and the IANA
registry of close codes), a refused upgrade (`upgrade_action`; RFC 9110 section 15), and any exception that the
connection may throw (`action_of`). The shell raises the exceptions made here, the room asks what they mean; so
neither needs to know the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from rtmedia.errors import AuthError, SourceError


class Action(Enum):
    """What follows the end of a connection."""

    RETRY = "retry"
    REFRESH = "refresh"  # with a fresh token, once at once; then like RETRY
    FINAL = "final"  # nothing but a person can help
    END = "end"  # the stream is over, as it should be


class Verdict(NamedTuple):
    """An action and the sentence that explains it."""

    action: Action
    meaning: str


_RETRY, _FINAL = Action.RETRY, Action.FINAL

CLOSE_CODES: Mapping[int, Verdict] = {
    1000: Verdict(_RETRY, "normal closure without an end of the stream"),
    1001: Verdict(_RETRY, "the server is going away"),
    1002: Verdict(_FINAL, "the server saw a protocol error from us; check the protocol setting"),
    1003: Verdict(_FINAL, "the server does not take our kind of data; check the protocol setting"),
    1005: Verdict(_RETRY, "closed without a code"),
    1006: Verdict(_RETRY, "the connection was lost"),
    1007: Verdict(_FINAL, "the server could not read our subscription; check the protocol setting"),
    1008: Verdict(_FINAL, "the server's policy forbids this session; check conversation id and permissions"),
    1009: Verdict(_FINAL, "our message was too big for the server; check the protocol setting"),
    1010: Verdict(_FINAL, "a needed extension is missing; check the protocol setting"),
    1011: Verdict(_RETRY, "the server had an internal error"),
    1012: Verdict(_RETRY, "the server restarts"),
    1013: Verdict(_RETRY, "the server is overloaded"),
    1014: Verdict(_RETRY, "a gateway got no answer from the server"),
    1015: Verdict(_RETRY, "TLS failed"),
    3000: Verdict(Action.REFRESH, "the server says: unauthorised"),
    3003: Verdict(_FINAL, "the server says: forbidden; check the client's scopes"),
    3008: Verdict(_RETRY, "the server says: timed out"),
}


def close_action(code: int | None, *, ended: bool = False, overrides: Mapping[int, Verdict] | None = None) -> Verdict:
    """What a close code asks for.

    Parameters
    ----------
    code : int or None
        None and 1006 are a connection lost without a close frame.
    ended : bool
        The protocol had said that the stream is over. Then every close is the end, however clumsy: a retry could
        only find a stream that is over.
    overrides : mapping of int to Verdict
        A server's own codes, 4000 to 4999, but any code may stand here.
    """
    if ended:
        return Verdict(Action.END, "the stream is over")
    code = 1006 if code is None else code
    for table in (overrides or {}, CLOSE_CODES):
        if code in table:
            return table[code]
    if 4000 <= code <= 4999:
        return Verdict(_RETRY, f"private code {code} of this server; its documentation says what it means")
    return Verdict(_RETRY, f"close code {code} has no meaning that is known here")


def upgrade_action(status: int | None) -> Verdict:
    """What an HTTP status other than 101 asks for, when it answers a WebSocket upgrade."""
    if status == 401:
        return Verdict(Action.REFRESH, "the token was not accepted")
    if status == 403:
        return Verdict(_FINAL, "the token lacks the permission for this stream")
    if status == 404:
        return Verdict(_FINAL, "there is no media endpoint at this path; check the source URL")
    if status in (408, 425, 429):
        return Verdict(_RETRY, "the server asks to come back later")
    if status is None or status < 300:
        return Verdict(_RETRY, "this is no WebSocket answer; a captive portal or a proxy may stand in between")
    if status < 400:
        # Following it would carry the token to a host that nobody has chosen.
        return Verdict(_FINAL, "the server redirects, which is not followed because the token would travel along; set the new URL")
    if status < 500:
        return Verdict(_FINAL, "the server does not take this request; check the source URL")
    return Verdict(_RETRY, "the server or a gateway before it is in trouble")


class ConnectionEnded(SourceError):
    """An open connection is no more.

    Attributes
    ----------
    close_code : int
        From the close frame; 1005 if it held none, 1006 if none came.
    reason : str
        From the close frame, or what happened instead.
    """

    def __init__(self, close_code: int, reason: str) -> None:
        verdict = close_action(close_code)
        said = f", reason {reason!r}" if reason else ""
        super().__init__(
            f"the connection ended with code {close_code}{said}: {verdict.meaning}",
            retryable=verdict.action is not _FINAL,
        )
        self.close_code = close_code
        self.reason = reason


class TokenRefused(AuthError):
    """The media server answered 401: another token may be taken, this one will not."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class Aborted(SourceError):
    """``abort`` was called; nobody needs to be told."""


def refusal(status: int | None, *, retry_after_s: float | None = None, location: str = "", scopes: tuple[str, ...] = ()) -> SourceError:
    """The exception for an upgrade that was answered with `status`.

    Parameters
    ----------
    location : str
        Where a redirect points to, without its query.
    scopes : tuple of str
        What the client needs; named when a permission is missing.
    """
    verdict = upgrade_action(status)
    message = f"the upgrade to WebSocket was answered with HTTP {status}: {verdict.meaning}"
    if status == 401:
        return TokenRefused(message)
    if status == 403:
        wanted = " and ".join(scopes) or "for the media stream"
        return AuthError(f"{message}; give the OAuth client the scopes {wanted}", retryable=False)
    if location:
        message += f" ({location})"
    return SourceError(message, retryable=verdict.action is _RETRY, retry_after_s=retry_after_s)


def action_of(error: SourceError, *, ended: bool = False, overrides: Mapping[int, Verdict] | None = None) -> Action:
    """What to do after `error` ended an attempt or a connection; arguments as in `close_action`."""
    if ended:
        return Action.END
    if isinstance(error, TokenRefused):
        return Action.REFRESH
    if isinstance(error, ConnectionEnded):
        return close_action(error.close_code, overrides=overrides).action
    return _RETRY if error.retryable else _FINAL
