"""TLS and proxies."""

from __future__ import annotations

import base64
import contextlib
import selectors
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from rtmedia.errors import SourceError
from rtmedia.io.websocket import WebSocketConnection
from tests.io.websocket_peer import (
    BINARY,
    CLOSE,
    LIMIT_S,
    TEXT,
    TOKEN,
    Peer,
    Server,
    aborted_within_a_second,
    connected,
    frame,
)

pytestmark = pytest.mark.usefixtures("each_way_of_reading")


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


def test_over_tls_what_no_selector_sees_is_given_out_too(certificate: Path):
    """A selector says once that there is something; all that was decrypted by then must come out."""
    messages = [bytes([k]) * 60_000 for k in range(4)]  # more than the buffer of a connection holds

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.sock.sendall(b"".join(frame(BINARY, message) for message in messages))
        peer.wait_for_end()

    with Server(script, tls_server(certificate)) as server:
        connection = WebSocketConnection(f"wss://127.0.0.1:{server.port}/", tls=ssl.create_default_context(cafile=str(certificate)))
        connection.open()
        got: list[bytes] = []
        with selectors.DefaultSelector() as selector:
            selector.register(connection.files()[0], selectors.EVENT_READ)
            while len(got) < len(messages):
                assert selector.select(LIMIT_S)
                got += [bytes(message) for message, _ in connection.arrivals()]
        connection.close(timeout_s=0.0)
    assert got == messages


def test_over_tls_a_record_in_pieces_is_waited_for_and_abort_and_deadline_end_that(certificate: Path):
    """A relay in between gives the client the server's octets one by one, and keeps the last record's end back."""
    armed, held, go_on = threading.Event(), threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send(BINARY, b"whole")
        assert peer.read_only(TEXT) == b"go on"
        peer.send(BINARY, bytes(100))
        peer.wait_for_end()

    def relay(peer: Peer) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as inner:
            inner.settimeout(LIMIT_S)
            threading.Thread(target=copy, args=(peer.sock, inner), daemon=True).start()
            while len(octets := inner.recv(65_536)):
                if armed.is_set() and not held.is_set():
                    peer.sock.sendall(octets[:50])
                    held.set()
                    assert go_on.wait(LIMIT_S)
                    octets = octets[50:]
                for at in range(len(octets)):
                    peer.sock.sendall(octets[at : at + 1])

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while octets := source.recv(65_536):
                target.sendall(octets)
            target.shutdown(socket.SHUT_WR)

    with Server(script, tls_server(certificate)) as server, Server(relay) as between:
        connection = WebSocketConnection(f"wss://127.0.0.1:{between.port}/", tls=ssl.create_default_context(cafile=str(certificate)))
        connection.open(TOKEN)
        received = connection.receive(LIMIT_S)
        assert received is not None
        assert received[0] == b"whole"
        armed.set()
        connection.send("go on")
        assert held.wait(LIMIT_S)
        assert connection.receive(0.02) is None
        go_on.set()
        received = connection.receive(LIMIT_S)
        assert received is not None
        assert received[0] == bytes(100)
        aborted_within_a_second(connection, lambda: connection.receive(60.0), lambda: None)
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
