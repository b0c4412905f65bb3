"""Waiting, reading and the clock in one call."""

from __future__ import annotations

import socket
import struct
import sys
import threading

import pytest

from rtmedia.io.waiting import LOOK, NOTHING, READY, WOKEN, Receiver
from rtmedia.rt.clock import now_ns

pytestmark = pytest.mark.skipif(not Receiver.works_here(), reason="the C library has no poll")
FAR_NS = 10 * 10**9


@pytest.fixture
def line():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    wake_in, wake_out = socket.socketpair()
    with near, far, wake_in, wake_out:
        near.setblocking(False)
        yield Receiver(near.fileno(), wake_out.fileno()), far, wake_in


def test_what_has_come_is_read_even_after_the_deadline_and_its_time_is_taken(line):
    receiver, far, _ = line
    room = bytearray(100)
    before = now_ns()
    far.sendall(b"hello")
    count = receiver.into(memoryview(room)[10:], before + FAR_NS)
    assert (count, room[10:15]) == (5, b"hello")
    assert before < receiver.read_ns <= now_ns()
    far.sendall(b"again")
    while (count := receiver.into(memoryview(room), 0)) == NOTHING:
        pass
    assert (count, room[:5]) == (5, b"again")


def test_no_more_is_read_than_there_is_room_for(line):
    receiver, far, _ = line
    far.sendall(b"abcdef")
    room = bytearray(4)
    assert receiver.into(memoryview(room)[:3], now_ns() + FAR_NS) == 3
    assert room == b"abc\0"
    assert receiver.into(memoryview(room), now_ns() + FAR_NS) == 3


def test_nothing_is_said_at_the_deadline_not_before(line):
    receiver, _, _ = line
    deadline_ns = now_ns() + 20_000_000
    assert receiver.into(memoryview(bytearray(4)), deadline_ns) == NOTHING
    assert now_ns() >= deadline_ns
    assert receiver.into(memoryview(bytearray(4)), 0) == NOTHING


def test_the_other_file_ends_a_wait_that_another_thread_is_in_while_the_interpreter_is_free(line):
    receiver, _, wake = line
    entered, found = threading.Event(), []

    def wait():
        entered.set()
        found.append(receiver.into(memoryview(bytearray(4)), now_ns() + 3_600 * 10**9))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert entered.wait(10)
    wake.send(b"\0")
    thread.join(10)
    assert found == [WOKEN]


def test_the_time_is_taken_while_another_thread_has_the_interpreter(line):
    receiver, far, _ = line
    found: list[int] = []
    room = memoryview(bytearray(100))
    interval_s = sys.getswitchinterval()
    for _ in range(10):
        entered = threading.Event()

        def wait(entered=entered):
            entered.set()
            found.append(receiver.into(room, now_ns() + FAR_NS))

        found.clear()
        before = receiver.read_ns
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        assert entered.wait(10)
        sys.setswitchinterval(100.0)  # from here on we keep it
        try:
            far.send(b"x")
            until_ns = now_ns() + FAR_NS
            while receiver.read_ns == before and now_ns() < until_ns:
                pass
            taken, came_back = receiver.read_ns > before, bool(found)
        finally:
            sys.setswitchinterval(interval_s)
        thread.join(10)
        assert taken
        if not came_back:
            return
    pytest.skip("the reader had the interpreter each time: it has no lock, or is given away too readily")


def test_the_end_of_the_stream_is_no_octets(line):
    receiver, far, _ = line
    far.close()
    assert receiver.into(memoryview(bytearray(4)), now_ns() + FAR_NS) in (0, LOOK)  # some systems tell the end as a hang-up


def test_an_error_is_left_for_the_socket_to_tell(line):
    receiver, far, _ = line
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    assert receiver.into(memoryview(bytearray(4)), now_ns() + FAR_NS) == LOOK


def test_one_that_does_not_read_says_since_when_there_is_something():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as near:
        far, _ = listener.accept()
        with far:
            waiter = Receiver(near.fileno(), far.fileno(), reads=False)
            assert waiter.into(memoryview(bytearray(1)), 0) == NOTHING
            before = now_ns()
            far.sendall(b"hello")
            assert waiter.into(memoryview(bytearray(1)), before + FAR_NS) == READY
            assert before < waiter.read_ns <= now_ns()
            assert near.recv(10) == b"hello"


@pytest.mark.parametrize("arguments", [(), (bytearray(4),), (b"read only", 0), ("text", 0), (bytearray(4), "0")])
def test_what_it_cannot_take_is_an_exception(line, arguments):
    with pytest.raises((TypeError, BufferError)):
        line[0].into(*arguments)
