"""The keeper of the token, against a token server on loopback and against fakes."""

from __future__ import annotations

import io
import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import rtmedia.io.oauth as shell
from rtmedia.errors import AuthError, SourceError
from rtmedia.io.oauth import TokenProvider
from rtmedia.protocol.oauth import Token
from rtmedia.protocol.session import Aborted
from rtmedia.units import NS_PER_S

SECRET = "s3cr3t-of-the-client"
VALUE = "t0k3n-value"
LIMIT_S = 10.0


class Reply:
    """The part of a `requests.Response` that the provider reads."""

    def __init__(self, status: int, body: Any = None, **headers: str) -> None:
        self.status_code = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.raw = self
        self._body = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body or {}).encode())
        self.closed = False

    def read(self, limit: int, decode_content: bool) -> bytes:
        return self._body.read(limit)

    def close(self) -> None:
        self.closed = True


def granted(value: str = VALUE, expires_in: float = 3600) -> Reply:
    return Reply(200, {"access_token": value, "token_type": "bearer", "expires_in": expires_in})


class Script:
    """A session that answers from a list; exceptions are raised, callables called."""

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.posts: list[dict[str, Any]] = []

    def post(self, url: str, **options: Any) -> Any:
        self.posts.append({"url": url, **options})
        reply = self.replies.pop(0)
        if isinstance(reply, BaseException):
            raise reply
        return reply() if callable(reply) else reply


class Clock:
    """Time that passes only in waits."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.waits: list[float] = []
        self.stop_in_wait = False

    def __call__(self) -> int:
        return self.now_ns

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now_ns += int(seconds * NS_PER_S)
        return self.stop_in_wait


def provider(*replies: Any, clock: Clock | None = None, stop: threading.Event | None = None, **settings: Any) -> TokenProvider:
    clock = clock or Clock()
    session = Script(*replies)
    made = TokenProvider(
        "https://id.example/oauth/token?tenant=1",
        "my-id",
        SECRET,
        stop=stop or threading.Event(),
        uniform=lambda low, high: high,
        scopes=("media:read",),
        session=session,
        clock_ns=clock,
        wait=clock.wait,
        **settings,
    )
    made.script = session  # type: ignore[attr-defined]
    return made


def test_a_token_is_fetched_once_and_kept_until_it_is_time():
    clock = Clock()
    tokens = provider(granted("first"), granted("second"), clock=clock)
    assert tokens.token().value == "first"
    clock.now_ns = 3539 * NS_PER_S
    assert tokens.token().value == "first"
    assert tokens.expires_in_s() == 61.0
    clock.now_ns = 3540 * NS_PER_S
    assert tokens.token().value == "second"
    assert tokens.refreshes == {"ok": 2, "refused": 0, "unavailable": 0, "stopped": 0}


def test_the_request_is_bounded_and_stays_where_it_was_sent():
    tokens = provider(granted())
    tokens.token(0)
    (post,) = tokens.script.posts  # type: ignore[attr-defined]
    assert post["url"] == "https://id.example/oauth/token?tenant=1"
    assert post["allow_redirects"] is False
    assert post["timeout"] == (5.0, 10.0)
    assert "client_secret=" + SECRET in post["data"]


def test_a_refused_token_is_forgotten_but_not_a_newer_one():
    tokens = provider(granted("first"), granted("second"))
    first = tokens.token()
    tokens.invalidate(first)
    assert tokens.expires_in_s() is None
    second = tokens.token()
    assert second.value == "second"
    tokens.invalidate(first)
    assert tokens.token() is second
    tokens.invalidate()
    assert tokens.expires_in_s() is None


def test_trouble_is_retried_with_backoff_and_then_given_up():
    clock = Clock()
    tokens = provider(*[Reply(503) for _ in range(5)], clock=clock)
    with pytest.raises(SourceError, match="no token after 5 tries") as caught:
        tokens.token()
    assert caught.value.retryable
    assert clock.waits == [0.5, 1.0, 2.0, 4.0]
    assert tokens.refreshes["unavailable"] == 1


def test_retry_after_is_obeyed_up_to_thirty_seconds():
    clock = Clock()
    tokens = provider(Reply(429, Retry_After="7"), Reply(429, retry_after="86400"), Reply(429, Retry_After="soon"), granted(), clock=clock)
    assert tokens.token().value == VALUE
    assert clock.waits == [7.5, 30.5, 2.0]


def test_a_lifetime_counts_from_the_request_not_from_the_retries():
    clock = Clock()
    tokens = provider(Reply(429, Retry_After="20"), granted(expires_in=100), clock=clock)
    token = tokens.token()
    assert token.issued_at_ns == clock.now_ns
    assert token.expires_at_ns == clock.now_ns + 100 * NS_PER_S


def test_a_refused_client_is_not_asked_again():
    tokens = provider(Reply(401, {"error": "invalid_client"}))
    with pytest.raises(AuthError, match="client id or secret") as caught:
        tokens.token()
    assert not caught.value.retryable
    assert tokens.refreshes["refused"] == 1


def test_while_the_old_token_lives_a_failed_renewal_costs_one_try_and_nothing_else():
    clock = Clock()
    tokens = provider(granted("first"), Reply(503), ConnectionError("down"), granted("second"), clock=clock)
    tokens.token()
    clock.now_ns = 3550 * NS_PER_S
    assert tokens.token().value == "first"
    assert tokens.token().value == "first"
    assert clock.waits == []
    assert tokens.token().value == "second"
    assert tokens.refreshes == {"ok": 2, "refused": 0, "unavailable": 2, "stopped": 0}


def test_a_stop_during_a_wait_ends_the_fetch():
    clock = Clock()
    clock.stop_in_wait = True
    tokens = provider(Reply(503), clock=clock)
    with pytest.raises(Aborted):
        tokens.token()
    assert tokens.refreshes["stopped"] == 1


def test_a_stop_ends_a_request_that_hangs():
    stop, entered, release = threading.Event(), threading.Event(), threading.Event()

    def hang() -> Reply:
        entered.set()
        stop.set()
        release.wait(LIMIT_S)
        return granted()

    tokens = provider(hang, stop=stop)
    with pytest.raises(Aborted):
        tokens.token()
    assert entered.is_set()
    release.set()


def test_a_request_that_dribbles_is_left_behind_at_its_deadline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shell, "REQUEST_TIMEOUT_S", 0.1)
    release = threading.Event()
    tokens = provider(lambda: release.wait(LIMIT_S), granted())
    assert tokens.token().value == VALUE
    release.set()


def test_callers_at_the_same_time_share_one_fetch():
    entered, release = threading.Event(), threading.Event()

    def slow() -> Reply:
        entered.set()
        assert release.wait(LIMIT_S)
        return granted()

    tokens = provider(slow)
    got: list[Token] = []
    threads = [threading.Thread(target=lambda: got.append(tokens.token())) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert entered.wait(LIMIT_S)
    release.set()
    for thread in threads:
        thread.join(LIMIT_S)
    assert [token.value for token in got] == [VALUE] * 8
    assert len(tokens.script.posts) == 1  # type: ignore[attr-defined]


def test_callers_at_the_same_time_share_one_failure_each_in_an_exception_of_its_own():
    entered, release = threading.Event(), threading.Event()

    def slow() -> Reply:
        entered.set()
        assert release.wait(LIMIT_S)
        return Reply(403)

    tokens = provider(slow)
    caught: list[SourceError] = []

    def ask() -> None:
        try:
            tokens.token()
        except SourceError as exc:
            caught.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert entered.wait(LIMIT_S)
    waiting = [thread for thread in threads if thread.is_alive()]
    release.set()
    for thread in threads:
        thread.join(LIMIT_S)
    assert len(waiting) == 4
    assert all(type(exc) is AuthError and "media:read" in str(exc) for exc in caught)
    assert len(set(map(id, caught))) == 4


def test_a_stop_frees_those_who_wait_for_the_fetch_of_another():
    stop, entered, release = threading.Event(), threading.Event(), threading.Event()

    def hang() -> Reply:
        entered.set()
        release.wait(LIMIT_S)
        return granted()

    tokens = provider(hang, stop=stop)
    caught: list[SourceError] = []

    def ask() -> None:
        try:
            tokens.token()
        except SourceError as exc:
            caught.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert entered.wait(LIMIT_S)
    stop.set()
    for thread in threads:
        thread.join(LIMIT_S)
    assert [type(exc) for exc in caught] == [Aborted] * 3
    release.set()


def test_an_answer_without_end_is_read_to_a_limit_only():
    class Endless(Reply):
        def read(self, limit: int, decode_content: bool) -> bytes:
            return b" " * limit

    clock = Clock()
    endless = [Endless(200) for _ in range(5)]
    tokens = provider(*endless, clock=clock)
    with pytest.raises(SourceError, match="access_token"):
        tokens.token()
    assert all(reply.closed for reply in endless)


# --- secrets -------------------------------------------------------------------------------------------------


class EchoError(Exception):
    """Like the exceptions of requests: carries the request."""

    def __init__(self) -> None:
        super().__init__(f"cannot post client_secret={SECRET}, got {VALUE}")
        self.request = SECRET


ECHO = {"error": SECRET, "error_description": f"{SECRET} {VALUE}", "access_token": VALUE + "\n"}
FAILURES: dict[str, Callable[[], Any]] = {
    "exception": EchoError,
    "value error": lambda: ValueError(SECRET),
    "not json": lambda: Reply(200, f"<html>{SECRET}{VALUE}".encode()),
    "bad token": lambda: Reply(200, ECHO),
    "bad type": lambda: Reply(200, {"access_token": VALUE, "token_type": SECRET}),
    "dead token": lambda: Reply(200, {"access_token": VALUE, "expires_in": 0}),
    **{
        str(status): (lambda status=status: Reply(status, ECHO, Location=SECRET, Retry_After=SECRET))
        for status in (302, 400, 401, 403, 404, 429, 500)
    },
}


@pytest.mark.parametrize("authentication", ["body", "basic"])
@pytest.mark.parametrize("failure", list(FAILURES))
def test_no_failure_shows_a_secret_anywhere(failure: str, authentication: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    tokens = provider(*[FAILURES[failure]() for _ in range(5)], authentication=authentication)
    with pytest.raises(SourceError) as caught:
        tokens.token()
    everything = [caplog.text, repr(tokens), repr(tokens.refreshes), tokens.url]
    seen: BaseException | None = caught.value
    while seen is not None:
        everything.append(repr(seen) + str(seen) + repr(vars(seen)))
        seen = seen.__cause__ or seen.__context__
    everything += traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    for form in (SECRET, VALUE, "bXktaWQ6"):
        assert not [text for text in everything if form in text]


def test_a_good_token_is_seen_by_nobody_but_its_user(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    tokens = provider(granted())
    token = tokens.token()
    assert VALUE not in repr(token) + repr(tokens) + repr(vars(tokens)) + caplog.text
    assert SECRET not in repr(tokens) + repr(vars(tokens)) + caplog.text


# --- requests itself -----------------------------------------------------------------------------------------


@contextmanager
def token_server(answer: Callable[[BaseHTTPRequestHandler, bytes], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer(self, self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/oauth/token"
    finally:
        server.shutdown()
        thread.join(LIMIT_S)
        server.server_close()


def real(url: str, **settings: Any) -> TokenProvider:
    clock = Clock()
    return TokenProvider(
        url, "my-id", SECRET, stop=threading.Event(), uniform=lambda low, high: 0.0, clock_ns=clock, wait=clock.wait, **settings
    )


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def test_requests_fetches_a_token_over_loopback(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    seen: list[tuple[str | None, bytes]] = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        seen.append((handler.headers["Authorization"], body))
        reply(handler, 200, json.dumps({"access_token": VALUE, "expires_in": 60}).encode())

    with token_server(answer) as url:
        assert real(url, scopes=("a:b", "c")).token().value == VALUE
    assert seen == [(None, f"grant_type=client_credentials&scope=a%3Ab+c&client_id=my-id&client_secret={SECRET}".encode())]
    assert SECRET not in caplog.text
    assert VALUE not in caplog.text


def test_a_netrc_file_does_not_replace_our_credentials(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        seen.append(handler.headers["Authorization"])
        reply(handler, 200, json.dumps({"access_token": VALUE}).encode())

    with token_server(answer) as url:
        real(url, authentication="basic").token()
    assert seen == ["Basic bXktaWQ6czNjcjN0LW9mLXRoZS1jbGllbnQ="]


def test_a_redirect_never_carries_the_secret_on():
    calls: list[str] = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        calls.append(handler.path)
        reply(handler, 307, b"", Location="/elsewhere")

    with token_server(answer) as url, pytest.raises(SourceError, match="redirects"):
        real(url).token()
    assert calls == ["/oauth/token"]


def test_a_server_that_hangs_up_is_asked_again():
    calls: list[int] = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        calls.append(1)
        if len(calls) < 3:
            handler.close_connection = True
            handler.connection.close()
        else:
            reply(handler, 200, json.dumps({"access_token": VALUE}).encode())

    with token_server(answer) as url:
        assert real(url).token().value == VALUE
    assert len(calls) == 3


@pytest.mark.parametrize("url", ["", "id.example/token", "http://", "gopher://x/"])
def test_a_token_url_that_is_none_is_final(url: str):
    with pytest.raises(SourceError, match="token URL") as caught:
        real(url).token()
    assert not caught.value.retryable
