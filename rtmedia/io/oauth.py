"""The keeper of the access token: one fetch at a time, early enough, never in anybody's sight.

Each request runs on a short-lived thread of its own. requests offers timeouts per socket operation only, and no
way to interrupt one: left to itself, a server that dribbles would hold its caller, and a stop, for ever.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, cast

from rtmedia.errors import SourceError
from rtmedia.protocol.oauth import ANSWER_LIMIT_OCTETS, Token, TokenRequest, build_request, read_response
from rtmedia.protocol.retry import Backoff
from rtmedia.protocol.session import Aborted
from rtmedia.units import NS_PER_S, without_query

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
#: For one request as a whole, however slowly the octets come.
REQUEST_TIMEOUT_S = 20.0
TRIES = 5
_POLL_S = 0.05

_Reply = tuple[int, Mapping[str, str], bytes]


class Session(Protocol):
    """What is needed of a `requests.Session`."""

    def post(self, url: str, **options: Any) -> Any: ...


class _Flight:
    """One fetch that everybody waits for who asks meanwhile."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.token: Token | None = None
        self.error: SourceError | None = None


class TokenProvider:
    """Fetches, keeps and renews the token of one client.

    Parameters
    ----------
    url : str
        Of the token endpoint.
    client_id, client_secret, authentication, scopes
        As in `rtmedia.protocol.oauth.build_request`.
    stop : threading.Event
        Ends every wait at once; callers get `Aborted`.
    uniform : callable
        Randomness for the waits between tries, as `random.Random.uniform`.
    session : Session or None
        A `requests.Session`; None makes one. It belongs to this object from then on.
    clock_ns : callable
        Monotonic time.
    wait : callable or None
        ``wait(seconds) -> stop requested``; None is ``stop.wait``.

    Attributes
    ----------
    refreshes : dict of str to int
        Fetches by outcome: ``ok``, ``refused`` (a person must act), ``unavailable`` (after all tries), ``stopped``.

    Notes
    -----
    Thread: any, all methods.   Real-time: no; `token` may wait for the network.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        *,
        stop: threading.Event,
        uniform: Callable[[float, float], float],
        authentication: Literal["body", "basic"] = "body",
        scopes: tuple[str, ...] = (),
        session: Session | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self.url = without_query(url)
        self.refreshes = dict.fromkeys(("ok", "refused", "unavailable", "stopped"), 0)
        self._url = url
        self._request = build_request(client_id, client_secret, authentication=authentication, scopes=scopes)
        self._scopes = scopes
        self._stop = stop
        self._uniform = uniform
        self._session = session
        self._clock_ns = clock_ns
        self._wait = wait or stop.wait
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._flight: _Flight | None = None

    def token(self, now_ns: int | None = None) -> Token:
        """A token that is good for a while yet.

        Raises
        ------
        AuthError
            The client was refused: trying again is of no use.
        SourceError
            The server could not be asked, five times in a row.
        Aborted
            `stop` was set.
        """
        now_ns = self._clock_ns() if now_ns is None else now_ns
        with self._lock:
            token = self._token
            if token is not None and now_ns < token.refresh_at_ns:
                return token
            flight = self._flight
            mine = flight is None
            if flight is None:
                flight = self._flight = _Flight()
        if mine:
            # A token that still lives is worth one try, not minutes of waiting.
            alive = token is not None and now_ns < token.expires_at_ns
            self._land(flight, self._fetch(tries=1 if alive else TRIES), token if alive else None)
        else:
            while not flight.done.wait(_POLL_S):
                if self._stop.is_set():
                    raise Aborted("stopped while waiting for a token")
        if flight.token is not None:
            return flight.token
        assert flight.error is not None
        # A fresh exception for each caller: tracebacks of several threads do not mix in one object.
        error = flight.error
        raise type(error)(str(error), retryable=error.retryable, retry_after_s=error.retry_after_s)

    def invalidate(self, token: Token | None = None) -> None:
        """Forget the token, because a server refused it; but not a newer one than the `token` that was refused."""
        with self._lock:
            if token is None or token is self._token:
                self._token = None

    def expires_in_s(self, now_ns: int | None = None) -> float | None:
        """Seconds that the present token has left; None without one."""
        token = self._token
        return None if token is None else (token.expires_at_ns - (self._clock_ns() if now_ns is None else now_ns)) / NS_PER_S

    def _land(self, flight: _Flight, result: Token | SourceError, fallback: Token | None) -> None:
        outcome = "ok"
        if isinstance(result, SourceError):
            outcome = "stopped" if isinstance(result, Aborted) else "unavailable" if result.retryable else "refused"
        with self._lock:
            self.refreshes[outcome] += 1
            if isinstance(result, Token):
                self._token = flight.token = result
            elif fallback is not None and self._token is fallback and outcome == "unavailable":
                flight.token = fallback
            else:
                flight.error = result
            self._flight = None
        flight.done.set()

    # --- one fetch -----------------------------------------------------------------------------------------

    def _fetch(self, tries: int) -> Token | SourceError:
        backoff = Backoff(tries - 1, self._uniform)
        while True:
            result = self._try_once()
            if isinstance(result, Token) or not result.retryable or isinstance(result, Aborted):
                return result
            delay_s = backoff.next_delay_s(result.retry_after_s)
            if delay_s is None:
                return SourceError(
                    f"no token after {tries} {'try' if tries == 1 else 'tries'} at {self.url}: {result}", retry_after_s=result.retry_after_s
                )
            if self._wait(delay_s):
                return Aborted("stopped while waiting to ask for a token again")

    def _try_once(self) -> Token | SourceError:
        sent_ns = self._clock_ns()
        reply = self._send()
        if isinstance(reply, SourceError):
            return reply
        status, headers, body = reply
        try:
            return read_response(status, headers, body, now_ns=sent_ns, now_epoch_s=time.time(), scopes=self._scopes)
        except SourceError as exc:
            # The frames under it hold the answer, and so perhaps a token.
            return exc.with_traceback(None)

    def _send(self) -> _Reply | SourceError:
        answer: queue.SimpleQueue[_Reply | SourceError] = queue.SimpleQueue()
        session = self._session = self._session or _new_session()
        threading.Thread(target=lambda: answer.put(_post(session, self._url, self._request)), name="rtm-token", daemon=True).start()
        deadline_ns = time.monotonic_ns() + int(REQUEST_TIMEOUT_S * NS_PER_S)
        while time.monotonic_ns() < deadline_ns:
            if self._stop.is_set():
                return Aborted("stopped while asking for a token")
            try:
                return answer.get(timeout=_POLL_S)
            except queue.Empty:
                continue
        return SourceError(f"{self.url} did not answer within {REQUEST_TIMEOUT_S:g} s; check the network and the token URL")


def _new_session() -> Session:
    import requests  # 100 ms: only where a token is wanted

    session: Any = requests.Session()
    return cast(Session, session)


def _post(session: Session, url: str, request: TokenRequest) -> _Reply | SourceError:
    """Send `request`. Exceptions end here by name only: requests' own carry the request, and so the secret."""
    try:
        response = session.post(
            url,
            data=request.body,
            headers=dict(request.headers),
            auth=_leave_alone,
            timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            allow_redirects=False,
            stream=True,
        )
        try:
            body = response.raw.read(ANSWER_LIMIT_OCTETS + 1, decode_content=True)
            return response.status_code, response.headers, body
        finally:
            response.close()
    except Exception as exc:  # from requests, urllib3, ssl, the system: all mean that there is no answer
        what = type(exc).__name__
        final = isinstance(exc, ValueError)  # a URL that is none
    return SourceError(
        f"{without_query(url)} cannot be asked for a token ({what}); check the network and the token URL", retryable=not final
    )


def _leave_alone(prepared: Any) -> Any:
    """An ``auth`` that changes nothing: without one, requests puts in what a .netrc file holds for the host."""
    return prepared
