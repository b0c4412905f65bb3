"""Pings, pongs, and when a line is dead."""

from __future__ import annotations

import select
import struct
import time

import pytest

from rtmedia.protocol.session import ConnectionEnded
from tests.io.websocket_peer import (
    BINARY,
    LIMIT_S,
    PING,
    PONG,
    TEXT,
    Peer,
    connected,
)

pytestmark = pytest.mark.usefixtures("each_way_of_reading")


def test_a_ping_measures_the_round_trip():
    def script(peer: Peer) -> None:
        payload = peer.read_only(PING)
        peer.send(PONG, b"not yours")
        peer.send(PONG, payload)
        peer.send(TEXT, b"go on")
        assert struct.unpack("!Q", peer.read_only(PING))[0] == struct.unpack("!Q", payload)[0] + 1
        peer.send(TEXT, b"second")
        peer.wait_for_end()

    with connected(script, ping_interval_s=0.02) as connection:
        assert connection.rtt_ms is None
        assert connection.receive(LIMIT_S) is not None
        first_ms = connection.rtt_ms
        assert first_ms is not None
        assert 0.0 < first_ms < 5000.0
        assert connection.receive(LIMIT_S) is not None


def test_a_line_without_any_answer_is_dead_after_the_pong_timeout():
    with connected(Peer.wait_for_end, ping_interval_s=0.02, pong_timeout_s=0.05) as connection:
        with pytest.raises(ConnectionEnded, match="not even an answer to a ping") as caught:
            connection.receive(LIMIT_S)
        assert caught.value.close_code == 1006


def test_a_server_that_sends_audio_but_no_pongs_is_alive():
    def script(peer: Peer) -> None:
        for _ in range(3):
            peer.read_only(PING)
            peer.send(BINARY, b"audio")
        peer.wait_for_end()

    with connected(script) as connection:
        for _ in range(3):
            connection._alarm_ns = 0  # as if the interval, then the timeout, had passed
            assert connection.receive(LIMIT_S) is not None
        assert connection.pongs_missed == 2
        assert connection.rtt_ms is None


def test_what_waited_in_the_socket_while_we_were_held_up_counts_as_life():
    def script(peer: Peer) -> None:
        peer.read_only(PING)
        peer.send(BINARY, b"waited")
        peer.wait_for_end()

    with connected(script, ping_interval_s=LIMIT_S, pong_timeout_s=0.05) as connection:
        connection._keep_alive()  # a ping, and then nobody reads until the pong is long overdue
        connection._alarm_ns = time.monotonic_ns() - 10**9
        select.select([connection._stream], [], [], LIMIT_S)
        received = connection.receive(LIMIT_S)
        assert received is not None
        assert received[0] == b"waited"
