"""A peer that breaks the rules, dribbles or floods."""

from __future__ import annotations

import contextlib
import struct
import threading
import time

import pytest

from rtmedia.errors import WireError
from tests.io.websocket_peer import (
    BINARY,
    CLOSE,
    CONTINUED,
    LIMIT_S,
    PING,
    PONG,
    Peer,
    aborted_within_a_second,
    connected,
    frame,
)

pytestmark = pytest.mark.usefixtures("each_way_of_reading")


BROKEN = {
    "masked": frame(BINARY, b"abc", mask=b"1234"),
    "reserved bit": frame(BINARY, b"abc", rsv=4),
    "unknown opcode": frame(3, b"abc"),
    "stray continuation": frame(CONTINUED, b"abc"),
    "message inside a message": frame(BINARY, b"a", fin=False) + frame(BINARY, b"b"),
    "fragmented ping": frame(PING, b"", fin=False),
    "fragmented close": frame(CLOSE, b"", fin=False),
    "long ping": frame(PING, bytes(126)),
    "long pong": frame(PONG, bytes(126)),
    "long close": frame(CLOSE, struct.pack("!H", 1000) + bytes(200)),
    "close of one octet": frame(CLOSE, b"x"),
    "forbidden close code": frame(CLOSE, struct.pack("!H", 1006)),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_broken_framing_closes_with_1002_and_may_be_tried_again(name: str):
    said: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.sock.sendall(BROKEN[name])
        said.append(peer.read_only(CLOSE))

    with connected(script) as connection, pytest.raises(WireError) as caught:
        connection.receive(LIMIT_S)
    assert caught.value.retryable
    assert said == [struct.pack("!H", 1002)]


TOO_LONG = {
    "declared": frame(BINARY, b"", length=2**62) + bytes(20_000),
    "sent": frame(BINARY, bytes(20_000)),
    "in fragments": frame(BINARY, bytes(6_000), fin=False) + frame(CONTINUED, bytes(6_000)),
    "in endless fragments": frame(BINARY, b"", fin=False) + frame(CONTINUED, bytes(100), fin=False) * 200,
}


@pytest.mark.parametrize("name", list(TOO_LONG))
def test_a_message_over_the_limit_closes_with_1009_before_it_is_held(name: str):
    said: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.sock.sendall(TOO_LONG[name])
        said.append(peer.read_only(CLOSE))

    with connected(script, message_limit_octets=10_000) as connection, pytest.raises(WireError, match="10000"):
        connection.receive(LIMIT_S)
    assert said == [struct.pack("!H", 1009)]


def test_a_message_at_the_limit_is_taken():
    def script(peer: Peer) -> None:
        peer.send(BINARY, bytes(10_000))
        peer.send(BINARY, bytes(4_000), fin=False)
        peer.send(PING, bytes(125))
        peer.send(CONTINUED, bytes(6_000))
        peer.wait_for_end()

    with connected(script, message_limit_octets=10_000) as connection:
        for _ in range(2):
            received = connection.receive(LIMIT_S)
            assert received is not None
            assert received[0] == bytes(10_000)


def test_a_flood_of_control_frames_does_not_hold_receive_beyond_its_timeout():
    def script(peer: Peer) -> None:
        while True:
            peer.sock.sendall(frame(PONG, b"x") * 1000)

    with connected(script) as connection:
        before_s = time.monotonic()
        assert connection.receive(0.05) is None
        assert time.monotonic() - before_s < 1.0


def test_abort_ends_a_receive_from_a_server_that_dribbles():
    started = threading.Event()

    def script(peer: Peer) -> None:
        peer.sock.settimeout(0.005)
        peer.sock.sendall(frame(BINARY, b"", length=100_000))
        while True:
            peer.sock.sendall(b"x")
            started.set()
            with contextlib.suppress(TimeoutError):
                if not peer.sock.recv(1000):
                    return

    with connected(script) as connection:
        aborted_within_a_second(connection, lambda: connection.receive(60.0), lambda: started.wait(LIMIT_S))


def test_abort_ends_a_receive_from_a_server_that_floods():
    started = threading.Event()

    def script(peer: Peer) -> None:
        while True:
            peer.sock.sendall(frame(PONG, b"x") * 100)
            started.set()

    with connected(script) as connection:
        aborted_within_a_second(connection, lambda: connection.receive(60.0), lambda: started.wait(LIMIT_S))
