"""Messages: whole, in pieces, together, and the last ones."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import Any

import pytest

import rtmedia.io.websocket as shell
from rtmedia.io.websocket import WebSocketConnection
from rtmedia.protocol.session import ConnectionEnded
from tests.io.websocket_peer import (
    BINARY,
    CLOSE,
    CONTINUED,
    LIMIT_S,
    PING,
    PONG,
    SECRET,
    TEXT,
    TOKEN,
    Peer,
    connected,
    frame,
)

pytestmark = pytest.mark.usefixtures("each_way_of_reading")


def test_text_and_binary_messages_arrive_with_the_time_of_their_read():
    def script(peer: Peer) -> None:
        assert peer.read_only(TEXT) == "subscribe ü".encode()
        peer.send(TEXT, "hällo".encode())
        peer.send(BINARY, b"\0\xff" * 320)
        peer.wait_for_end()

    with connected(script) as connection:
        before_ns = time.monotonic_ns()
        connection.send("subscribe ü")
        first, second = connection.receive(LIMIT_S), connection.receive(LIMIT_S)
        assert first is not None
        assert second is not None
        assert (first[0], second[0]) == ("hällo", b"\0\xff" * 320)
        assert before_ns < first[1] <= second[1] < time.monotonic_ns()
        assert connection.octets_received > 650


def test_messages_that_were_read_together_share_their_time_and_need_no_second_wait():
    def script(peer: Peer) -> None:
        peer.sock.sendall(frame(BINARY, b"one") + frame(BINARY, b"two"))
        peer.wait_for_end()

    with connected(script) as connection:
        first, second = connection.receive(LIMIT_S), connection.receive(0.0)
        assert first is not None
        assert second is not None
        assert (first[0], second[0]) == (b"one", b"two")
        assert first[1] == second[1]


def test_silence_is_none_at_the_timeout():
    with connected(Peer.wait_for_end) as connection:
        assert connection.receive(0.0) is None
        before_s = time.monotonic()
        assert connection.receive(0.03) is None
        assert time.monotonic() - before_s >= 0.029


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 100, 643])
def test_a_frame_in_two_halves_is_kept_over_the_timeout(cut: int):
    octets = frame(BINARY, bytes(range(256)) * 2 + bytes(128))
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.sock.sendall(octets[:cut])
        assert go_on.wait(LIMIT_S)
        peer.sock.sendall(octets[cut:])
        peer.wait_for_end()

    with connected(script) as connection:
        while connection.octets_received < cut:
            assert connection.receive(0.01) is None
        assert connection.receive(0.01) is None
        go_on.set()
        received = connection.receive(LIMIT_S)
        assert received is not None
        assert received[0] == octets[4:]


def test_a_fragmented_message_is_put_together_around_a_ping():
    def script(peer: Peer) -> None:
        peer.send(TEXT, "ä".encode()[:1], fin=False)
        peer.send(PING, b"between")
        peer.send(CONTINUED, b"", fin=False)
        peer.send(CONTINUED, "ä".encode()[1:] + b"!")
        assert peer.read_only(PONG) == b"between"
        peer.send(BINARY, b"a", fin=False)
        peer.send(CONTINUED, b"b")
        peer.wait_for_end()

    with connected(script) as connection:
        received = connection.receive(LIMIT_S)
        assert received is not None
        assert received[0] == "ä!"
        received = connection.receive(LIMIT_S)
        assert received is not None
        assert received[0] == b"ab"


def test_a_caption_cut_inside_a_letter_costs_that_letter_only():
    def script(peer: Peer) -> None:
        peer.send(TEXT, b"caf\xc3")
        peer.wait_for_end()

    with connected(script) as connection:
        received = connection.receive(LIMIT_S)
        assert received is not None
        assert received[0] == "caf\N{REPLACEMENT CHARACTER}"


def test_it_understands_a_server_that_is_not_ours():
    aiohttp_web = pytest.importorskip("aiohttp.web")
    import asyncio

    ready, finished = threading.Event(), threading.Event()
    port = 0

    async def media(request: Any) -> Any:
        answer = aiohttp_web.WebSocketResponse()
        await answer.prepare(request)
        assert (await answer.receive_str()) == "subscribe"
        await answer.send_bytes(bytes(640))
        await answer.send_str(request.query["access_token"])
        await answer.close(code=4001, message=b"enough")
        return answer

    async def serve() -> None:
        nonlocal port
        application = aiohttp_web.Application()
        application.router.add_get("/media", media)
        runner = aiohttp_web.AppRunner(application)
        await runner.setup()
        site = aiohttp_web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.get_running_loop().run_in_executor(None, finished.wait, LIMIT_S)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(LIMIT_S)
    connection = WebSocketConnection(f"ws://127.0.0.1:{port}/media")
    try:
        connection.open(TOKEN)
        connection.send("subscribe")
        first, second = connection.receive(LIMIT_S), connection.receive(LIMIT_S)
        assert first is not None
        assert second is not None
        assert (len(first[0]), second[0]) == (640, SECRET)
        with pytest.raises(ConnectionEnded) as caught:
            connection.receive(LIMIT_S)
        assert (caught.value.close_code, caught.value.reason) == (4001, "enough")
    finally:
        connection.close()
        finished.set()
        thread.join(LIMIT_S)


@pytest.mark.parametrize(
    ("payload", "code", "reason", "answer"),
    [
        (struct.pack("!H", 1001) + b"restart", 1001, "restart", 1001),
        (struct.pack("!H", 4999), 4999, "", 4999),
        (b"", 1005, "", 1000),
    ],
)
def test_a_close_frame_is_answered_and_told(payload: bytes, code: int, reason: str, answer: int):
    said: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.send(CLOSE, payload)
        said.append(peer.read_only(CLOSE))

    with connected(script) as connection, pytest.raises(ConnectionEnded) as caught:
        connection.receive(LIMIT_S)
    assert (caught.value.close_code, caught.value.reason) == (code, reason)
    assert said == [struct.pack("!H", answer)]


def test_messages_before_the_close_are_not_lost():
    def script(peer: Peer) -> None:
        peer.sock.sendall(frame(BINARY, b"last") + frame(CLOSE, struct.pack("!H", 1000)))
        peer.wait_for_end()

    with connected(script) as connection:
        received = connection.receive(LIMIT_S)
        assert received is not None
        assert received[0] == b"last"
        with pytest.raises(ConnectionEnded):
            connection.receive(LIMIT_S)


def test_a_connection_that_just_vanishes_ends_with_1006():
    with connected(lambda peer: None) as connection, pytest.raises(ConnectionEnded) as caught:
        connection.receive(LIMIT_S)
    assert caught.value.close_code == 1006


def test_a_reset_ends_with_1006():
    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with connected(script) as connection, pytest.raises(ConnectionEnded) as caught:
        connection.receive(LIMIT_S)
    assert caught.value.close_code == 1006


def test_sending_to_a_peer_that_reads_nothing_ends_at_a_deadline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shell, "_SEND_TIMEOUT_S", 0.1)
    left = threading.Event()
    with connected(lambda peer: (left.wait(LIMIT_S), None)[1]) as connection:
        with pytest.raises(ConnectionEnded, match="sending failed"):
            connection.send("x" * 20_000_000)
        left.set()
