"""Opening: refusals, addresses, deadlines, and an end in the middle of it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import traceback
from typing import Any

import pytest

from rtmedia.errors import AuthError, SourceError, WireError
from rtmedia.io.websocket import WebSocketConnection
from rtmedia.protocol.session import Aborted, TokenRefused
from tests.io.websocket_peer import (
    LIMIT_S,
    TOKEN,
    Peer,
    Server,
    aborted_within_a_second,
    refused,
)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        ("401 Unauthorized", TokenRefused, True),
        ("403 Forbidden", AuthError, False),
        ("404 Not Found", SourceError, False),
        ("408 Timeout", SourceError, True),
        ("429 Too Many", SourceError, True),
        ("503 Busy", SourceError, True),
        ("302 Found", SourceError, False),
        ("200 OK", SourceError, True),
    ],
)
def test_a_refused_upgrade_becomes_the_error_that_says_what_to_do(status: str, kind: type[SourceError], retryable: bool):
    error = refused(
        lambda peer: peer.answer(status, "Retry-After: 7", "Location: wss://elsewhere/x?y=1", body=b"<html>"), scopes=("media:read",)
    )
    assert type(error) is kind
    assert error.retryable is retryable
    assert status[:3] in str(error)
    if status.startswith("403"):
        assert "media:read" in str(error)
    if status.startswith("302"):
        assert "wss://elsewhere/x" in str(error)
        assert "y=1" not in str(error)
    if kind is SourceError:
        assert error.retry_after_s == 7.0


def test_a_refusal_with_an_endless_body_still_tells_its_status():
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.sock.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 99999999999\r\n\r\n")
        while True:
            peer.sock.sendall(bytes(65_536))

    assert isinstance(refused(script), AuthError)


def test_endless_headers_are_cut_off():
    def script(peer: Peer) -> None:
        peer.read_head()
        while True:
            peer.sock.sendall(b"HTTP/1.1 101 x\r\n" + b"A: b\r\n" * 10_000)

    assert isinstance(refused(script), WireError)


def test_a_handshake_that_dribbles_ends_at_the_deadline_not_at_the_last_octet():
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.sock.settimeout(0.01)
        peer.sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nX-Slow: ")
        while True:
            peer.sock.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                if not peer.sock.recv(1):
                    return

    before_s = time.monotonic()
    error = refused(script, handshake_timeout_s=0.2)
    assert time.monotonic() - before_s < 2.0
    assert error.retryable
    assert "0.2 s" in str(error)


def test_a_closed_port_is_an_error_that_may_heal():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    connection = WebSocketConnection(f"ws://127.0.0.1:{port}/media?access_token=x")
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        connection.open()
    assert caught.value.retryable
    assert "access_token" not in str(caught.value)
    connection.close()


@pytest.mark.parametrize("url", ["ws://", "http://127.0.0.1/x", "ws://127.0.0.1:99999/x", "ws://127.0.0.1:port/"])
def test_a_url_that_is_none_is_final(url: str):
    connection = WebSocketConnection("ws://127.0.0.1/")
    connection._url = url
    with pytest.raises(SourceError, match="URL") as caught:
        connection.open()
    assert not caught.value.retryable
    connection.close()


def test_a_name_that_does_not_exist_is_an_error_that_may_heal(monkeypatch: pytest.MonkeyPatch):
    def no_such_name(host: str, *_: Any, flags: int = 0, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    connection = WebSocketConnection("ws://media.example/")
    with pytest.raises(SourceError, match="not known") as caught:
        connection.open()
    assert caught.value.retryable
    connection.close()


def test_an_address_that_refuses_leaves_the_next_its_turn(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    with Server(lambda peer: (peer.upgrade(), peer.wait_for_end())[0]) as server:

        def two_addresses(host: str, *_: Any, flags: int = 0, **__: Any) -> Any:
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (closed, server.port)]

        monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
        connection = WebSocketConnection("ws://media.example/")
        connection.open()
        connection.close(timeout_s=0.0)


def test_abort_ends_a_handshake_at_once_and_shows_no_token():
    arrived = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        arrived.set()
        peer.wait_for_end()

    with Server(script) as server:
        connection = WebSocketConnection(server.url, handshake_timeout_s=60.0)
        caught: list[SourceError] = []

        def call() -> None:
            try:
                connection.open(TOKEN)
            except SourceError as exc:
                caught.append(exc)
                raise

        aborted_within_a_second(connection, call, lambda: arrived.wait(LIMIT_S))
        shown = "".join(traceback.TracebackException.from_exception(caught[0], capture_locals=True).format())
        assert "t0k3n" not in shown
        connection.close()


def test_abort_ends_a_look_up_that_hangs(monkeypatch: pytest.MonkeyPatch):
    entered, release = threading.Event(), threading.Event()

    def hang(host: str, *_: Any, flags: int = 0, **__: Any) -> Any:
        if not flags & socket.AI_NUMERICHOST:
            entered.set()
            release.wait(LIMIT_S)
        raise socket.gaierror(socket.EAI_NONAME, "too late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    connection = WebSocketConnection("ws://media.example/", handshake_timeout_s=60.0)
    aborted_within_a_second(connection, connection.open, lambda: entered.wait(LIMIT_S))
    release.set()
    connection.close()


def test_a_connection_aborted_before_it_was_opened_does_not_open():
    connection = WebSocketConnection("ws://127.0.0.1:9/")
    connection.abort()
    with pytest.raises(Aborted):
        connection.open()
    connection.close()
    connection.close()
    connection.abort()
