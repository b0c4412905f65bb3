"""The token goes where it belongs, and nowhere else."""

from __future__ import annotations

import logging
import struct
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from rtmedia.errors import AuthError
from rtmedia.io.websocket import WebSocketConnection
from rtmedia.protocol.oauth import Token
from rtmedia.protocol.session import ConnectionEnded
from tests.io.websocket_peer import (
    CLOSE,
    LIMIT_S,
    SECRET,
    TOKEN,
    Peer,
    Server,
    refused,
)


def request_line_of(url_end: str, **settings: Any) -> tuple[bytes, bytes]:
    with Server(lambda peer: (peer.upgrade(), peer.wait_for_end())[0]) as server:
        connection = WebSocketConnection(server.url + url_end, **settings)
        connection.open(TOKEN)
        connection.close(timeout_s=0.0)
        assert server.peer is not None
        return server.peer.head.split(b"\r\n")[0], server.peer.head


def test_the_token_is_percent_encoded_after_the_query_that_was_there():
    line, head = request_line_of("?a=1&b=%20x")
    assert line == b"GET /media?a=1&b=%20x&access_token=t0k3n%2B%2F%3D%20%26x HTTP/1.1"
    assert b"Authorization" not in head


def test_a_stale_token_in_the_url_is_replaced():
    assert request_line_of("?access_token=old&a=1")[0] == b"GET /media?a=1&access_token=t0k3n%2B%2F%3D%20%26x HTTP/1.1"


def test_the_token_may_travel_in_a_header_instead():
    line, head = request_line_of("?a=1", token_in="header")
    assert line == b"GET /media?a=1 HTTP/1.1"
    assert b"\r\nAuthorization: Bearer t0k3n+/= &x\r\n" in head


def test_a_token_that_would_break_out_of_its_header_is_not_sent():
    with Server(Peer.wait_for_end) as server:
        connection = WebSocketConnection(server.url, token_in="header")
        with pytest.raises(AuthError, match="characters"):
            connection.open(Token("a\r\nX-Evil: 1", 0, 2**62))
        connection.close()


def echo_everywhere(status: str) -> Callable[[Peer], None]:
    location = f"Location: wss://elsewhere/{SECRET}?access_token={SECRET}"
    return lambda peer: peer.answer(f"{status} {SECRET}", location, f"X-Echo: {SECRET}", body=f"you sent {SECRET}".encode())


ECHOES: dict[str, Callable[[Peer], None]] = {
    **{status: echo_everywhere(status) for status in ("200", "302", "401", "403", "404", "429", "500")},
    "garbage": lambda peer: (peer.read_head(), peer.sock.sendall(peer.head + b"\r\n\r\n"), peer.wait_for_end())[0],
    "eof": lambda peer: peer.read_head(),
    "bad accept": lambda peer: peer.answer("101 Switching", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: " + SECRET),
    "bad cookie": lambda peer: peer.answer("101 Switching", "Set-Cookie: a\x07b=;;=" + SECRET),
    "silence": Peer.wait_for_end,
}


@pytest.mark.parametrize("token_in", ["query", "header"])
@pytest.mark.parametrize("server", list(ECHOES))
def test_no_failed_handshake_shows_the_token_even_when_the_server_echoes_it(server: str, token_in: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    error = refused(ECHOES[server], token_in=token_in, handshake_timeout_s=0.2 if server == "silence" else LIMIT_S)
    assert error.__context__ is None
    assert error.__cause__ is None
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()) + repr(error) + caplog.text
    for form in (SECRET, "t0k3n"):
        assert form not in shown


def test_an_echo_of_the_token_in_a_close_reason_is_not_shown():
    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send(CLOSE, struct.pack("!H", 4003) + f"bad token {SECRET} or t0k3n%2B%2F%3D%20%26x".encode())
        peer.wait_for_end()

    with Server(script) as server:
        connection = WebSocketConnection(server.url)
        connection.open(TOKEN)
        with pytest.raises(ConnectionEnded) as caught:
            connection.receive(LIMIT_S)
        assert caught.value.reason == "bad token (token) or (token)"
        connection.close()


def test_no_repr_of_a_connection_shows_its_token():
    connection = WebSocketConnection(f"ws://127.0.0.1:9/x?access_token={SECRET}")
    assert "t0k3n" not in repr(connection) + connection.url
    connection.close()
