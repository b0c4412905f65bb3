"""The other end of a WebSocket connection, driven by a test's script; loopback only, and nobody sleeps."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rtmedia.errors import SourceError
from rtmedia.io.websocket import WebSocketConnection
from rtmedia.protocol.oauth import Token
from rtmedia.protocol.session import Aborted

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
