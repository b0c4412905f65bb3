"""The WebSocket shell, against servers that misbehave on purpose. Loopback only; nobody sleeps."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import select
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rtmedia.io.websocket as shell
from rtmedia.errors import AuthError, SourceError, WireError
from rtmedia.io.websocket import WebSocketConnection
from rtmedia.protocol.oauth import Token
from rtmedia.protocol.session import Aborted, ConnectionEnded, TokenRefused

TEXT, BINARY, CONTINUED, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
SECRET = "t0k3n+/= &x"
TOKEN = Token(SECRET, 0, 2**62)
LIMIT_S = 10.0  # nothing in here takes long; this ends what would hang


class Peer:
    """The server's end of one connection, driven by a test's script."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.head = b""

    def read_head(self) -> None:
        while not self.head.endswith(b"\r\n\r\n"):
            octet = self.sock.recv(1)
            if not octet:
                raise ConnectionError("the client left during the handshake")
            self.head += octet

    def upgrade(self) -> None:
        self.read_head()
        key = next(line.split(b": ")[1] for line in self.head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
        )

    def answer(self, status: str, *headers: str, body: bytes = b"") -> None:
        self.read_head()
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.wait_for_end()

    def send(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> None:
        self.sock.sendall(frame(opcode, payload, fin=fin))

    def read(self) -> tuple[int, bytes]:
        first, second = self._exactly(2)
        length = second & 0x7F
        if length == 126:
            length = struct.unpack("!H", self._exactly(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self._exactly(8))[0]
        mask = self._exactly(4)
        payload = bytes(octet ^ mask[i % 4] for i, octet in enumerate(self._exactly(length)))
        return first & 0x0F, payload

    def read_only(self, opcode: int) -> bytes:
        while True:
            kind, payload = self.read()
            if kind == opcode:
                return payload

    def _exactly(self, count: int) -> bytes:
        octets = b""
        while len(octets) < count:
            more = self.sock.recv(count - len(octets))
            if not more:
                raise ConnectionError("the client left")
            octets += more
        return octets

    def wait_for_end(self) -> None:
        while self.sock.recv(65_536):
            pass


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = b"", length: int | None = None) -> bytes:
    length = len(payload) if length is None else length
    bit = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if length < 126:
        head += bytes([bit | length])
    elif length < 65_536:
        head += bytes([bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", length)
    return head + mask + bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload)) if mask else head + payload


class Server:
    """Runs `script` for its one client on a thread; the script's failures fail the test."""

    def __init__(self, script: Callable[[Peer], None], tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.tls = tls
        self.failure: BaseException | None = None
        self.peer: Peer | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(LIMIT_S)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        try:
            sock, _ = self.listener.accept()
            sock.settimeout(LIMIT_S)
            with sock:
                if self.tls is not None:
                    sock = self.tls.wrap_socket(sock, server_side=True)
                self.peer = Peer(sock)
                self.script(self.peer)
                sock.close()
        except OSError:
            pass  # the client left, as it may
        except BaseException as exc:
            self.failure = exc

    def __enter__(self) -> Server:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive()
        if self.failure is not None:
            raise self.failure

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/media"


@contextlib.contextmanager
def connected(script: Callable[[Peer], None], **settings: Any) -> Iterator[WebSocketConnection]:
    """A connection whose server upgrades and then runs `script`."""

    def whole(peer: Peer) -> None:
        peer.upgrade()
        script(peer)

    with Server(whole) as server:
        connection = WebSocketConnection(server.url, **settings)
        try:
            connection.open()
            yield connection
        finally:
            connection.close(timeout_s=0.0)


def refused(script: Callable[[Peer], None], **settings: Any) -> SourceError:
    with Server(script) as server:
        connection = WebSocketConnection(server.url, **settings)
        with pytest.raises(SourceError) as caught:
            connection.open(TOKEN)
        connection.close()
        return caught.value


# --- messages ------------------------------------------------------------------------------------------------


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


# --- the token -----------------------------------------------------------------------------------------------


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


# --- refusals ------------------------------------------------------------------------------------------------


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


# --- a peer that breaks the rules ----------------------------------------------------------------------------


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


# --- ends ----------------------------------------------------------------------------------------------------


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


# --- keeping alive -------------------------------------------------------------------------------------------


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


# --- stopping ------------------------------------------------------------------------------------------------


def aborted_within_a_second(connection: WebSocketConnection, call: Callable[[], object], when: Callable[[], object]) -> None:
    """Start `call` on a thread, abort after `when` returns, and want `Aborted` at once."""
    outcome: list[object] = []

    def body() -> None:
        try:
            outcome.append(call())
        except SourceError as exc:
            outcome.append(exc)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    when()
    before_s = time.monotonic()
    connection.abort()
    thread.join(LIMIT_S)
    assert time.monotonic() - before_s < 1.0
    assert [type(item) for item in outcome] == [Aborted]
    connection.abort()


def test_abort_ends_a_receive_at_once():
    entered = threading.Event()

    def call(connection: WebSocketConnection) -> object:
        entered.set()
        return connection.receive(60.0)

    with connected(Peer.wait_for_end) as connection:
        aborted_within_a_second(connection, lambda: call(connection), lambda: entered.wait(LIMIT_S))
        with pytest.raises(Aborted):
            connection.receive(1.0)


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


# --- TLS and proxies -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate for 127.0.0.1 in one file."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("makes its certificate with the openssl program")
    folder = tmp_path_factory.mktemp("tls")
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    return both


def tls_server(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_over_tls_messages_that_came_in_one_record_are_not_left_waiting(certificate: Path):
    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.sock.sendall(b"".join(frame(BINARY, bytes([number]) * 640) for number in range(200)))
        peer.read_only(CLOSE)

    with Server(script, tls_server(certificate)) as server:
        connection = WebSocketConnection(f"wss://127.0.0.1:{server.port}/", tls=ssl.create_default_context(cafile=str(certificate)))
        connection.open(TOKEN)
        for number in range(200):
            received = connection.receive(LIMIT_S)
            assert received is not None
            assert received[0] == bytes([number]) * 640
        assert connection.receive(0.01) is None
        connection.close(timeout_s=0.0)


def test_a_certificate_that_nobody_vouches_for_is_refused_with_a_hint(certificate: Path):
    with Server(lambda peer: peer.upgrade(), tls_server(certificate)) as server:
        connection = WebSocketConnection(f"wss://127.0.0.1:{server.port}/")
        with pytest.raises(SourceError, match="clock") as caught:
            connection.open(TOKEN)
        assert caught.value.retryable
        connection.close()


def test_tls_to_a_server_without_it_is_an_error():
    with Server(lambda peer: peer.sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        connection = WebSocketConnection(f"wss://127.0.0.1:{server.port}/")
        with pytest.raises(SourceError):
            connection.open(TOKEN)
        connection.close()


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch):
    asked: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.read_head()
        asked.append(peer.head)
        peer.sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        inner = Peer(peer.sock)
        inner.upgrade()
        inner.send(TEXT, b"through")
        inner.wait_for_end()

    with Server(script) as server:
        monkeypatch.setenv("http_proxy", f"http://me:p%40ss@127.0.0.1:{server.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        connection = WebSocketConnection("ws://media.example/x")
        connection.open(TOKEN)
        received = connection.receive(LIMIT_S)
        assert received is not None
        assert received[0] == "through"
        connection.close(timeout_s=0.0)
    assert asked[0].startswith(b"CONNECT media.example:80 HTTP/1.1\r\n")
    assert b"Basic " + base64.b64encode(b"me:p@ss") in asked[0]


def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch):
    with Server(lambda peer: peer.answer("407 Proxy Authentication Required")) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        connection = WebSocketConnection("ws://media.example/x")
        with pytest.raises(SourceError, match="proxy refused"):
            connection.open(TOKEN)
        connection.close()


def test_this_machine_is_never_reached_through_a_proxy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with connected(Peer.wait_for_end) as connection:
        assert connection.receive(0.0) is None


def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    connection = WebSocketConnection("ws://media.example/x")
    with pytest.raises(SourceError, match="socks5") as caught:
        connection.open()
    assert not caught.value.retryable
    connection.close()
