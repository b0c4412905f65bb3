"""Abort and close: at once, from any state."""

from __future__ import annotations

import struct
import threading
import time
from pathlib import Path

import pytest

from rtmedia.io.websocket import WebSocketConnection
from rtmedia.protocol.session import Aborted
from tests.io.websocket_peer import (
    BINARY,
    CLOSE,
    LIMIT_S,
    Peer,
    aborted_within_a_second,
    connected,
    frame,
    refused,
)

pytestmark = pytest.mark.usefixtures("each_way_of_reading")


def test_abort_ends_a_receive_at_once():
    entered = threading.Event()

    def call(connection: WebSocketConnection) -> object:
        entered.set()
        return connection.receive(60.0)

    with connected(Peer.wait_for_end) as connection:
        aborted_within_a_second(connection, lambda: call(connection), lambda: entered.wait(LIMIT_S))
        with pytest.raises(Aborted):
            connection.receive(1.0)


def test_close_says_goodbye_and_waits_for_the_answer():
    said: list[bytes] = []

    def script(peer: Peer) -> None:
        said.append(peer.read_only(CLOSE))
        peer.send(BINARY, b"on the way")
        peer.send(CLOSE, said[0])
        peer.wait_for_end()

    with connected(script) as connection:
        before_s = time.monotonic()
        connection.close(1001, timeout_s=LIMIT_S)
        assert time.monotonic() - before_s < 5.0
    assert said == [struct.pack("!H", 1001)]


def test_close_gives_up_on_a_server_that_hangs():
    with connected(Peer.wait_for_end) as connection:
        before_s = time.monotonic()
        connection.close(timeout_s=0.05)
        assert time.monotonic() - before_s < 1.0


def test_close_gives_up_on_a_server_that_floods():
    def script(peer: Peer) -> None:
        while True:
            peer.sock.sendall(frame(BINARY, bytes(60_000)))

    with connected(script) as connection:
        before_s = time.monotonic()
        connection.close(timeout_s=0.05)
        assert time.monotonic() - before_s < 1.0


def test_close_after_abort_says_goodbye_and_waits_for_nothing():
    said: list[bytes] = []
    with connected(lambda peer: said.append(peer.read_only(CLOSE))) as connection:
        connection.abort()
        before_s = time.monotonic()
        connection.close(timeout_s=60.0)
        assert time.monotonic() - before_s < 1.0
    assert said == [struct.pack("!H", 1000)]


def test_a_closed_connection_gives_back_every_file():
    files = Path("/proc/self/fd")
    if not files.exists():
        pytest.skip("counts files in /proc")
    before = len(list(files.iterdir()))
    for _ in range(5):
        refused(lambda peer: peer.answer("503 Busy"))
    with connected(Peer.wait_for_end):
        pass
    assert len(list(files.iterdir())) == before
