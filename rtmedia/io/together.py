"""One thread that reads many connections: hundreds of threads that each wait for a packet spend their time on each other.

How to think about it. A connection is opened, and looked after when it has ended, by its engine's own thread. In between
that thread has only packets to wait for. The first `FEW` connections of a process do so themselves: nobody is nearer to the
packet than a thread that sleeps on its socket. All others are *served*: their thread lends connection and taker to the one
thread here, which sleeps on all sockets at once, and itself sleeps until they are given back::

    engine's thread    connect ─▶ serve(…) ─────────── sleeps ───────────▶ what ended it ─▶ again, or the end
    rtm-sockets                     └▶ wait for all, and read (`rtmedia.io.gather`) ─▶ take one's messages ─▶ the next's ─▶ …

Each packet of a thread of its own costs two changes of thread and one wait for the interpreter, which with hundreds of
them is nearly always somebody else's. Here one waiting answers for all packets that have come.

What is called from here must not wait, because everybody else would wait too: a connection reads and sends without
patience, and a taker has none. An exception of one connection ends that connection only.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from rtmedia.io.gather import ASK, Gatherer, Selected

#: So many connections of a process read themselves.
FEW = 4
#: How often those on which nothing comes are looked after: pings, limits of silence.
LOOK_S = 0.1

Received = tuple["str | memoryview", int]
#: Takes a message and its arrival, or None when time has passed; True when the connection has served.
Take = Callable[[Received | None], bool]


class Shareable(Protocol):
    """What a connection must be able to do.

    Notes
    -----
    Thread: ``rtm-sockets``, while it serves the connection.   Real-time: no.
    """

    def files(self) -> tuple[int, ...]:
        """Numbers of the files that say that there is something to read (the first), or that ``abort`` was called."""
        ...

    def place(self) -> tuple[int, int]:
        """Address and length of where what comes next may be written; 0 and 0: the connection reads for itself."""
        ...

    def arrivals(self, octets: int, read_ns: int) -> Iterator[Received]:
        """What has come, without waiting. `octets` of it were read into `place`, at `read_ns`; 0: ask the socket."""
        ...

    def look_after(self) -> None:
        """Ping, or end a connection that is gone; without waiting."""
        ...


class _Lent:
    """A connection that is served."""

    __slots__ = ("connection", "done", "failure", "files", "is_over", "is_refused", "take")

    def __init__(self, connection: Shareable, take: Take) -> None:
        self.connection = connection
        self.take = take
        self.files = connection.files()
        self.done = threading.Event()
        self.is_over = False
        self.is_refused = False  # the system watches no more files for us
        self.failure: BaseException | None = None


class _Server:
    """The thread, alive while anybody is served."""

    def __init__(self) -> None:
        self.served: set[_Lent] = set()
        self.coming: deque[_Lent] = deque()
        self._lent: dict[int, _Lent] = {}  # by the number of each of its files
        self._bell_in, self._bell_out = socket.socketpair()
        with contextlib.ExitStack() as undo:
            undo.callback(self._bell_in.close)
            undo.callback(self._bell_out.close)
            self._sockets: Gatherer | Selected = Gatherer() if Gatherer.works_here() else Selected()
            undo.callback(self._sockets.close)
            self._bell_out.setblocking(False)
            self._sockets.register(self._bell_out.fileno())
            threading.Thread(target=self._run, name="rtm-sockets", daemon=True).start()
            undo.pop_all()

    def ring(self) -> None:
        self._bell_in.send(b"\0")

    def _run(self) -> None:
        look_ns = time.monotonic_ns()
        try:
            while True:
                rung = False
                for file, octets, read_ns in self._sockets.wait(LOOK_S):
                    lent = self._lent.get(file)
                    if lent is not None:  # None: given back meanwhile, by another of its files
                        self._serve(lent, octets, read_ns)
                    else:
                        rung = True
                if rung:  # not before: who comes now may have the number of a file that is gone
                    self._welcome()
                now_ns = time.monotonic_ns()
                if now_ns - look_ns >= LOOK_S * 1e9:
                    look_ns = now_ns
                    for lent in list(self.served):
                        self._look_after(lent)
                if not self.served and _process.leave(self):
                    return
        except BaseException as exc:  # of our own making: nobody may sleep on for ever
            _process.leave(self, anyhow=True)
            for lent in (*self.served, *self.coming):
                lent.failure = exc
                lent.done.set()
            raise
        finally:
            self._sockets.close()
            self._bell_in.close()
            self._bell_out.close()

    def _welcome(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._bell_out.recv(4_096)
        while self.coming:
            lent = self.coming.popleft()
            try:
                for file in lent.files:
                    self._sockets.register(file)
                    self._lent[file] = lent
            except (OSError, ValueError, KeyError):  # KeyError: a selector that has its number already
                lent.is_refused = True
                self._give_back(lent, None)
            else:
                self.served.add(lent)
                self._serve(lent, ASK, 0)  # what came right behind the handshake

    def _serve(self, lent: _Lent, octets: int, read_ns: int) -> None:
        connection, take = lent.connection, lent.take
        try:
            for received in connection.arrivals(max(0, octets), read_ns):
                if take(received):
                    self._give_back(lent, None)
                    return
            self._sockets.place(lent.files[0], *connection.place())
        except BaseException as exc:
            self._give_back(lent, exc)

    def _look_after(self, lent: _Lent) -> None:
        try:
            lent.connection.look_after()
            if lent.take(None):
                self._give_back(lent, None)
        except BaseException as exc:
            self._give_back(lent, exc)

    def _give_back(self, lent: _Lent, failure: BaseException | None) -> None:
        lent.is_over = True
        lent.failure = failure
        for file in lent.files:
            if self._lent.pop(file, None) is not None:
                self._sockets.unregister(file)
        self.served.discard(lent)
        lent.done.set()  # last: from now on its files may belong to somebody else


class _Process:
    """What belongs to the process and not to an engine: who reads alone, and the thread that reads for the others."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.alone = 0
        self.server: _Server | None = None

    def lend(self, connection: Shareable, take: Take) -> _Lent | None:
        """The connection as it was lent; None where it is to read itself, which `returned` ends."""
        with self.lock:
            if self.alone < FEW or os.name != "posix":  # Windows' select takes some hundred sockets only
                self.alone += 1
                return None
            lent = _Lent(connection, take)
            if self.server is None:
                try:
                    self.server = _Server()
                except (OSError, RuntimeError):  # no file, or no thread, is left for it
                    self.alone += 1
                    return None
            self.server.coming.append(lent)
            self.server.ring()
            return lent

    def returned(self) -> None:
        with self.lock:
            self.alone -= 1

    def leave(self, server: _Server, anyhow: bool = False) -> bool:
        """Whether the thread may end: nobody comes to it any more."""
        with self.lock:
            if server.coming and not anyhow:
                return False
            if self.server is server:
                self.server = None
            return True


_process = _Process()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.__init__)  # type: ignore[misc]  # nothing of it runs there


def receive(connection: Shareable, take: Take, alone: Callable[[], None]) -> None:
    """Have every message of `connection` taken until `take` says that it has served; raises what ended it.

    Parameters
    ----------
    connection
        Open.
    take
        Called by one thread at a time, which may be another one than the caller's.
    alone
        The same on the caller's own thread, for the first few.

    Notes
    -----
    Thread: the connection's; it sleeps here.   Real-time: no.
    """
    lent = _process.lend(connection, take)
    if lent is None:
        try:
            alone()
        finally:
            _process.returned()
        return
    lent.done.wait()
    if lent.is_refused:
        alone()
    elif lent.failure is not None:
        raise lent.failure
