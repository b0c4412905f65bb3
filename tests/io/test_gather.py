"""Many sockets are read in one call: into the memory of each, with the time of arrival."""

from __future__ import annotations

import socket
import threading

import numpy as np
import pytest

from rtmedia.io.gather import ASK, ROW, Gatherer, Selected
from rtmedia.rt.clock import now_ns

LIMIT_S = 5.0
pytestmark = pytest.mark.skipif(not Gatherer.works_here(), reason="epoll is Linux's")


@pytest.fixture
def pairs():
    made = [socket.socketpair() for _ in range(20)]
    for near, _ in made:
        near.setblocking(False)
    yield made
    for near, far in made:
        near.close()
        far.close()


@pytest.fixture
def gatherer():
    made = Gatherer()
    yield made
    made.close()


def test_each_socket_is_read_into_its_own_memory(pairs, gatherer):
    rooms = np.zeros((len(pairs), 64), np.uint8)
    for (near, far), room in zip(pairs, rooms, strict=True):
        gatherer.register(near.fileno())
        gatherer.place(near.fileno(), room.ctypes.data, 64)
        far.send(bytes([near.fileno() & 255]) * 10)
    began_ns = now_ns()
    found = {file: (octets, read_ns) for file, octets, read_ns in gatherer.wait(LIMIT_S)}
    assert set(found) == {near.fileno() for near, _ in pairs}
    for (near, _), room in zip(pairs, rooms, strict=True):
        octets, read_ns = found[near.fileno()]
        assert octets == 10
        assert began_ns <= read_ns <= now_ns()
        assert room[:12].tolist() == [near.fileno() & 255] * 10 + [0, 0]
    assert list(gatherer.wait(0.0)) == []


def test_nothing_is_written_behind_a_room_and_the_rest_comes_next(pairs, gatherer):
    near, far = pairs[0]
    room = np.zeros(8, np.uint8)
    gatherer.register(near.fileno())
    gatherer.place(near.fileno(), room.ctypes.data, 4)
    far.send(b"abcdefg")
    assert [octets for _, octets, _ in gatherer.wait(LIMIT_S)] == [4]
    assert bytes(room) == b"abcd\0\0\0\0"
    assert [octets for _, octets, _ in gatherer.wait(LIMIT_S)] == [3]
    assert bytes(room) == b"efgd\0\0\0\0"


def test_a_file_without_a_room_is_only_watched(pairs, gatherer):
    near, far = pairs[0]
    gatherer.register(near.fileno())
    far.send(b"x")
    assert [(file, octets) for file, octets, _ in gatherer.wait(LIMIT_S)] == [(near.fileno(), ASK)]
    assert near.recv(10) == b"x"


def test_the_end_is_no_octets(pairs, gatherer):
    near, far = pairs[0]
    room = np.zeros(8, np.uint8)
    gatherer.register(near.fileno())
    gatherer.place(near.fileno(), room.ctypes.data, 8)
    far.close()
    assert [octets for _, octets, _ in gatherer.wait(LIMIT_S)] == [0]


def test_what_is_no_longer_registered_is_not_read(pairs, gatherer):
    near, far = pairs[0]
    room = np.zeros(8, np.uint8)
    gatherer.register(near.fileno())
    gatherer.place(near.fileno(), room.ctypes.data, 8)
    gatherer.unregister(near.fileno())
    gatherer.unregister(near.fileno())
    far.send(b"x")
    assert list(gatherer.wait(0.0)) == []
    assert not room.any()


def test_numbers_of_files_may_be_large(pairs, gatherer):
    import fcntl

    near, far = pairs[0]
    number = fcntl.fcntl(near.fileno(), fcntl.F_DUPFD, len(gatherer._table) // ROW + 10)
    with socket.socket(fileno=number) as copy:
        room = np.zeros(8, np.uint8)
        gatherer.register(copy.fileno())
        gatherer.place(copy.fileno(), room.ctypes.data, 8)
        far.send(b"xyz")
        assert [(file, octets) for file, octets, _ in gatherer.wait(LIMIT_S)] == [(number, 3)]
        gatherer.unregister(copy.fileno())


def test_other_threads_have_the_interpreter_while_it_waits(pairs, gatherer):
    near, far = pairs[0]
    room = np.zeros(8, np.uint8)
    gatherer.register(near.fileno())
    gatherer.place(near.fileno(), room.ctypes.data, 8)
    thread = threading.Thread(target=far.send, args=(b"later",))
    waiting = gatherer.wait(LIMIT_S)  # a generator: it begins below
    thread.start()
    assert [octets for _, octets, _ in waiting] == [5]
    thread.join(LIMIT_S)


def test_elsewhere_whoever_has_something_is_asked(pairs):
    near, far = pairs[0]
    selected = Selected()
    try:
        selected.register(near.fileno())
        selected.place(near.fileno(), 1, 1)
        far.send(b"x")
        assert list(selected.wait(LIMIT_S)) == [(near.fileno(), ASK, 0)]
        selected.unregister(near.fileno())
        selected.unregister(near.fileno())
        assert list(selected.wait(0.0)) == []
    finally:
        selected.close()
