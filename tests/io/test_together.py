"""One thread reads for many connections: who is read by whom, and how each of them ends."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rtmedia.io import together
from rtmedia.io.websocket import WebSocketConnection
from rtmedia.protocol.session import Aborted, ConnectionEnded
from tests.io.websocket_peer import BINARY, CLOSE, LIMIT_S, PING, PONG, Peer, connected

SERVER = "rtm-sockets"
pytestmark = pytest.mark.skipif(together.os.name != "posix", reason="elsewhere every connection reads itself")


class Line:
    """A connection whose messages are single octets of a socket."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.looks = threading.Event()
        self.failure: Exception | None = None

    def files(self) -> tuple[int, ...]:
        return (self.near.fileno(),)

    def place(self) -> tuple[int, int]:
        return 0, 0

    def arrivals(self, octets: int = 0, read_ns: int = 0) -> Iterator[tuple[Any, int]]:
        with contextlib.suppress(BlockingIOError):
            for octet in self.near.recv(100):
                if octet == ord("!"):
                    raise ConnectionEnded(1006, "the test said so")
                yield chr(octet), 0

    def look_after(self) -> None:
        self.looks.set()
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        self.near.close()
        self.far.close()


class Listener:
    """A thread of one connection, as an engine has it: takes until ``.`` comes."""

    def __init__(self, connection: Any, alone: Any = None) -> None:
        self.connection = connection
        self.taken: list[tuple[Any, str]] = []
        self.outcome: BaseException | None = None
        self.got = threading.Semaphore(0)
        self.alone = alone
        self.thread = threading.Thread(target=self._run, daemon=True, name="own")
        self.thread.start()

    def _run(self) -> None:
        try:
            together.receive(self.connection, self._take, self.alone or self._alone)
        except BaseException as exc:
            self.outcome = exc

    def _alone(self) -> None:
        self.connection.near.settimeout(LIMIT_S)
        while not self._take((self.connection.near.recv(1).decode(), 0)):
            pass

    def _take(self, received: Any) -> bool:
        if received is None:
            return False
        message = received[0] if isinstance(received[0], str) else bytes(received[0])
        self.taken.append((message, threading.current_thread().name))
        self.got.release()
        return message in (".", b".")

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.got.acquire(timeout=LIMIT_S)

    def ended(self) -> Listener:
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive()
        return self


@pytest.fixture
def crowd(monkeypatch) -> Iterator[list[Line]]:
    """As many lines as read themselves, and two more."""
    monkeypatch.setattr(together, "FEW", 2)
    lines = [Line() for _ in range(4)]
    yield lines
    for line in lines:
        line.close()


def names(listener: Listener) -> set[str]:
    return {name for _, name in listener.taken}


def listen_in_turn(lines: list[Line]) -> list[Listener]:
    """Each has been heard before the next begins."""
    listeners = []
    for line in lines:
        listeners.append(Listener(line))
        line.far.send(b"a")
        listeners[-1].wait_for(1)
    return listeners


def hang_up(lines: list[Line], listeners: list[Listener]) -> None:
    for line, listener in zip(lines, listeners, strict=True):
        line.far.send(b".")
        listener.ended()


def test_the_first_few_read_themselves_and_one_thread_reads_for_the_others(crowd):
    listeners = listen_in_turn(crowd)
    hang_up(crowd, listeners)
    assert [names(listener) for listener in listeners] == [{"own"}, {"own"}, {SERVER}, {SERVER}]
    assert all([message for message, _ in listener.taken] == ["a", "."] for listener in listeners)


def test_who_comes_when_one_of_the_first_has_gone_reads_itself(crowd):
    first, second, third, late = crowd
    listeners = listen_in_turn([first, second, third])
    hang_up([first], [listeners[0]])
    newcomer = listen_in_turn([late])[0]
    hang_up([second, third, late], [*listeners[1:], newcomer])
    assert names(newcomer) == {"own"}


def test_what_came_before_is_taken_at_once(crowd):
    listeners = listen_in_turn(crowd[:2])
    crowd[2].far.send(b"early.")
    early = Listener(crowd[2]).ended()
    hang_up(crowd[:2], listeners)
    assert "".join(message for message, _ in early.taken) == "early."


def test_what_ends_one_connection_is_raised_on_its_own_thread_and_ends_no_other(crowd):
    listeners = listen_in_turn(crowd)
    crowd[2].far.send(b"b!")
    assert isinstance(listeners[2].ended().outcome, ConnectionEnded)
    crowd[3].far.send(b"b")
    listeners[3].wait_for(1)
    hang_up([*crowd[:2], crowd[3]], [*listeners[:2], listeners[3]])
    assert [listener.outcome for listener in (*listeners[:2], listeners[3])] == [None] * 3


def test_a_taker_that_fails_ends_its_own_connection_only(crowd):
    listeners = listen_in_turn(crowd)
    listeners[2].taken = None  # type: ignore[assignment]
    crowd[2].far.send(b"b")
    assert isinstance(listeners[2].ended().outcome, AttributeError)
    hang_up([*crowd[:2], crowd[3]], [*listeners[:2], listeners[3]])


def test_a_connection_on_which_nothing_comes_is_looked_after(crowd):
    listeners = listen_in_turn(crowd)
    crowd[2].looks.clear()
    assert crowd[2].looks.wait(LIMIT_S)
    crowd[2].failure = ConnectionEnded(1006, "silent")
    assert isinstance(listeners[2].ended().outcome, ConnectionEnded)
    hang_up([*crowd[:2], crowd[3]], [*listeners[:2], listeners[3]])


def test_the_thread_ends_with_the_last_and_begins_again_with_the_next(crowd):
    for _ in range(2):
        listeners = listen_in_turn(crowd[:3])
        reader = next(thread for thread in threading.enumerate() if thread.name == SERVER)
        hang_up(crowd[:3], listeners)
        reader.join(LIMIT_S)
        assert not reader.is_alive()
        assert names(listeners[2]) == {SERVER}


def test_a_file_that_cannot_be_watched_is_left_to_its_own_thread(crowd):
    listeners = listen_in_turn(crowd[:2])
    alone = threading.Event()
    crowd[2].files = lambda: (10**6,)  # type: ignore[method-assign]
    Listener(crowd[2], alone.set).ended()
    assert alone.is_set()
    hang_up(crowd[:2], listeners)


# --- with real connections --------------------------------------------------------------------------------


@pytest.fixture
def always_together(monkeypatch):
    monkeypatch.setattr(together, "FEW", 0)


@pytest.mark.usefixtures("always_together")
def test_messages_pings_and_the_close_frame_of_a_real_connection():
    said: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.send(BINARY, b"one")
        peer.send(PING, b"there?")
        said.append(peer.read_only(PONG))
        peer.send(BINARY, b"two")
        peer.send(CLOSE, b"\x03\xe8")
        peer.wait_for_end()

    with connected(script) as connection:
        listener = Listener(connection)
        assert isinstance(listener.ended().outcome, ConnectionEnded)
    assert [message for message, _ in listener.taken] == [b"one", b"two"]
    assert names(listener) == {SERVER}
    assert said == [b"there?"]


@pytest.mark.usefixtures("always_together")
def test_abort_gives_a_connection_back_at_once():
    def script(peer: Peer) -> None:
        peer.send(BINARY, b"one")
        peer.wait_for_end()

    with connected(script) as connection:
        listener = Listener(connection)
        listener.wait_for(1)
        connection.abort()
        assert isinstance(listener.ended().outcome, Aborted)


@pytest.mark.usefixtures("always_together")
def test_a_server_that_says_nothing_any_more_is_found_out():
    with connected(Peer.wait_for_end, ping_interval_s=0.05, pong_timeout_s=0.05) as connection:
        assert isinstance(Listener(connection).ended().outcome, ConnectionEnded)


@pytest.mark.usefixtures("always_together")
def test_what_came_behind_the_handshake_is_not_waited_for():
    def script(peer: Peer) -> None:
        peer.send(BINARY, b".")
        peer.wait_for_end()

    with connected(script) as connection:
        assert isinstance(connection, WebSocketConnection)
        assert Listener(connection).ended().taken[0][0] == b"."
