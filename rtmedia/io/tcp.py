"""A TCP stream, with TLS where asked for, whose every wait has a deadline and can be cut short from another thread.

A blocking socket with a timeout keeps neither promise: the timeout starts anew with each octet that a hostile peer
dribbles, and closing a socket under a thread that waits on it is a race for the file number. Here the socket never
blocks. Whoever waits for it waits for a second pair of sockets too, which `abort` writes to: `TcpStream._wait`, and
`rtmedia.io.waiting` for what is read all the time. Name look-ups, which no system lets us interrupt, happen on a thread
that may be left behind.

The methods ``recv``, ``send``, ``gettimeout`` and their like are those of a socket, so that websocket-client takes
this object for one (its ``socket=`` option). It shakes hands with them; what follows is read with ``recv_into``.
"""

from __future__ import annotations

import base64
import errno
import os
import queue
import selectors
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from rtmedia.errors import SourceError
from rtmedia.io.waiting import NOTHING, READY, Receiver
from rtmedia.protocol.session import Aborted
from rtmedia.units import NS_PER_S

_T = TypeVar("_T")
_Address = tuple[Any, ...]
_CHUNK_OCTETS = 65_536
_HEAD_LIMIT_OCTETS = 16_384
_NO_ROOM = memoryview(bytearray(1))
#: What ``connect`` on a non-blocking socket says while it is under way (Linux and macOS; Windows).
_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN, 10035)


class TooMuch(Exception):
    """The peer sent more than was allowed in one go."""


class TcpStream:
    """One connection. Everything but `abort` belongs to one thread; `abort` to any.

    Attributes
    ----------
    deadline_ns : int
        Monotonic time after which ``recv`` and ``send`` raise `TimeoutError` instead of waiting.
    read_ns : int
        When the octets that ``recv`` or ``recv_into`` gave out last had been read from the socket.
    octets_received : int
        From the socket, ever.
    allowance_octets : int
        What ``recv`` still gives out before it raises `TooMuch`; a handshake's limit.
    head : bytearray
        The first octets received, for errors during a handshake.

    Notes
    -----
    Thread: as said.   Real-time: no.
    """

    def __init__(self) -> None:
        self.deadline_ns = 0
        self.read_ns = 0
        self.octets_received = 0
        self.allowance_octets = _HEAD_LIMIT_OCTETS
        self.head = bytearray()
        self._socket: socket.socket | None = None
        self._chunk = b""  # of a handshake: read, and not yet given out
        self._at = 0
        self._receiver: Receiver | None = None  # where reading needs neither TLS nor another system's ways
        self._pending: Callable[[], int] | None = None  # TLS: octets that were decrypted and not yet read
        self._is_drained = False  # by the last read
        self._closed = False
        self._aborted = False
        self._lock = threading.Lock()  # between abort and close: a closed file number may belong to somebody else
        self._wake_in, self._wake_out = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        self._watched = 0

    # --- opening -------------------------------------------------------------------------------------------

    def open(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        """Connect before `deadline_ns`, through the proxy that the environment names, if any.

        Raises
        ------
        OSError, TimeoutError, ssl.SSLError
            As the system says.
        SourceError
            The proxy refuses.
        Aborted
            `abort` was called.
        """
        proxy = _proxy_for(host, secure=tls is not None)
        self._connect(*((proxy.hostname or "", proxy.port or 80) if proxy else (host, port)))
        if proxy:
            self._tunnel(host, port, proxy.username, proxy.password)
        if tls is not None:
            self._start_tls(tls, host)
        if Receiver.works_here():
            self._receiver = Receiver(self.fileno(), self._wake_out.fileno(), reads=tls is None)

    def _connect(self, host: str, port: int) -> None:
        addresses = self._resolve(host, port)
        failure: OSError = OSError(f"{host} has no address")
        whole_deadline_ns = self.deadline_ns
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            now_ns = time.monotonic_ns()
            # One address that swallows everything (often IPv6) leaves a fair share to the others.
            self.deadline_ns = now_ns + (whole_deadline_ns - now_ns) // (len(addresses) - index)
            try:
                self._connect_to(socket.socket(family, kind, protocol), address)
                return
            except OSError as exc:
                failure = exc
                self._drop_socket()
            finally:
                self.deadline_ns = whole_deadline_ns
        raise failure

    def _connect_to(self, made: socket.socket, address: _Address) -> None:
        self._socket = made
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        error = made.connect_ex(address)
        if error in _UNDER_WAY:
            self._wait(selectors.EVENT_WRITE)
            error = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, errno.errorcode.get(error, "connect failed"))

    def _resolve(self, host: str, port: int) -> list[tuple[Any, ...]]:
        # Octets: a name of plain ASCII needs no codec for international ones, which takes 5 ms to import.
        name = host.encode() if host.isascii() else host
        try:
            return list(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
        except socket.gaierror:
            pass  # a name, not a number
        answer: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                answer.put(list(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)))
            except (OSError, UnicodeError) as exc:
                answer.put(exc if isinstance(exc, OSError) else OSError("the host name is not valid"))

        threading.Thread(target=look_up, name="rtm-resolve", daemon=True).start()
        while True:
            self._check(time.monotonic_ns())
            try:
                found = answer.get(timeout=0.05)
            except queue.Empty:
                continue
            if isinstance(found, OSError):
                raise found
            return found

    def _tunnel(self, host: str, port: int, user: str | None, password: str | None) -> None:
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if user:
            pair = f"{unquote(user)}:{unquote(password or '')}".encode()
            lines.append("Proxy-Authorization: Basic " + base64.b64encode(pair).decode("ascii"))
        waiting = ("\r\n".join(lines) + "\r\n\r\n").encode()
        while waiting:
            waiting = waiting[self.send(waiting) :]
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            octet = self.recv(1)
            if not octet:
                raise SourceError("the HTTP proxy closed the connection; check the proxy settings of this machine")
            answer += octet
        if answer.split(b" ", 2)[1:2] != [b"200"]:
            raise SourceError("the HTTP proxy refused to connect to the source; check the proxy settings of this machine")
        self.head.clear()

    def _start_tls(self, context: ssl.SSLContext, host: str) -> None:
        assert self._socket is not None
        self._unwatch()
        wrapped = context.wrap_socket(self._socket, server_hostname=host, do_handshake_on_connect=False)
        self._socket = wrapped
        self._pending = wrapped.pending
        self._when_ready(selectors.EVENT_READ, wrapped.do_handshake)

    # --- as a socket ---------------------------------------------------------------------------------------

    def recv(self, limit: int) -> bytes:
        """Up to `limit` octets, at once if there are any; nothing at the end of the stream."""
        if limit <= 0:
            return b""  # as a socket does: some releases of the library read a body of no octets
        if self._at >= len(self._chunk):
            self._chunk = self._read()
            self._at = 0
        at = self._at
        octets = self._chunk[at : at + limit]
        self._at = at + len(octets)
        self.allowance_octets -= len(octets)
        if self.allowance_octets < 0:
            raise TooMuch
        return octets

    def rest(self) -> bytes:
        """What ``recv`` has read and not given out, for the one who reads on with ``recv_into``. Once."""
        rest, self._chunk = self._chunk[self._at :], b""
        self._at = 0
        return rest

    def recv_into(self, room: memoryview) -> int:
        """Read what has come into `room`, and wait for it if need be; returns how many octets, 0 at the end of the stream.

        Raises
        ------
        TimeoutError
            Nothing came before `deadline_ns`; what had come already is read even after it.
        OSError, ssl.SSLError
            As the system says.
        Aborted
            `abort` was called.
        """
        if self._aborted:
            raise Aborted("the connection was aborted")
        receiver = self._receiver
        if receiver is not None and self._pending is None:
            count = receiver.into(room, self.deadline_ns)
            if count > 0:
                self.read_ns = receiver.read_ns
                self.octets_received += count
                return count
            self._check(None)
            if count == NOTHING:
                raise TimeoutError("the deadline has passed")
            # The end, an error, a signal: the socket's own words for it follow.
        return self._recv_into_asking(room)

    def took(self, octets: int, read_ns: int) -> None:
        """Somebody else has read so many from the socket, at that time."""
        self.octets_received += octets
        self.read_ns = read_ns

    def _recv_into_asking(self, room: memoryview) -> int:
        """Read with the interpreter's own functions: TLS, and systems without `Receiver`.

        A packet every 20 ms finds the socket empty each time. Asking it first would cost one call more, and, beside threads that
        keep the interpreter busy, one more wait for it; so it is waited for first, unless the last read left something.
        """
        sock = self._open_socket()
        came_ns = 0
        while True:
            if self._is_drained:
                if came_ns:
                    self._check(time.monotonic_ns())  # part of a TLS record came; a peer may dribble it
                came_ns = self._wait_to_read()
            try:
                count: int = sock.recv_into(room)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._is_drained = True
                continue
            except ssl.SSLWantWriteError:
                self._wait(selectors.EVENT_WRITE)
                continue
            except ssl.SSLEOFError:
                return 0  # gone without a TLS goodbye
            self.read_ns = came_ns or time.monotonic_ns()
            self.octets_received += count
            # TLS reads no further than the record that it gives out of; what it holds of that, no selector sees.
            self._is_drained = count < len(room) and (self._pending is None or not self._pending())
            return count

    def _wait_to_read(self) -> int:
        """Until there is something; returns since when. Looks once even after the deadline."""
        if self._receiver is not None and self._pending is not None:
            found = self._receiver.into(_NO_ROOM, self.deadline_ns)
            self._check(None)
            if found == NOTHING:
                raise TimeoutError("the deadline has passed")
            if found == READY:
                return self._receiver.read_ns
            return time.monotonic_ns()  # an error, the end: reading tells; after a signal it finds nothing, and waits again
        self._wait(selectors.EVENT_READ, look=True)
        return time.monotonic_ns()

    def _read(self) -> bytes:
        self._check(None)
        try:
            octets: bytes = self._when_ready(selectors.EVENT_READ, self._open_socket().recv, _CHUNK_OCTETS)
        except ssl.SSLEOFError:
            return b""  # gone without a TLS goodbye
        self.read_ns = time.monotonic_ns()
        self.octets_received += len(octets)
        if len(self.head) < _HEAD_LIMIT_OCTETS:
            self.head += octets
        return octets

    def send(self, octets: bytes) -> int:
        """Send some of `octets`; returns how many. An aborted stream still sends what fits without waiting."""
        return self._when_ready(selectors.EVENT_WRITE, self._open_socket().send, octets)

    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            raise OSError(errno.EBADF, "the stream is closed")
        return self._socket

    def gettimeout(self) -> float:
        """0: tells websocket-client to call ``recv`` and ``send`` without ado. The waiting is done in there."""
        return 0.0

    def settimeout(self, _timeout_s: float | None) -> None:
        """Nothing: `deadline_ns` decides."""

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def files(self) -> tuple[int, int]:
        """Numbers of the files that say that there is something to read, or that `abort` was called."""
        return self.fileno(), self._wake_out.fileno()

    @property
    def is_encrypted(self) -> bool:
        """Whether what the socket gives is not yet what was sent."""
        return self._pending is not None

    @property
    def holds_more(self) -> bool:
        """Whether there is something to read that no selector sees: what TLS has decrypted already."""
        return self._pending is not None and self._pending() > 0

    # --- ending --------------------------------------------------------------------------------------------

    @property
    def aborted(self) -> bool:
        return self._aborted

    def abort(self) -> None:
        """Make every present and future wait raise `Aborted`. Thread: any; any number of times."""
        with self._lock:
            if not self._aborted and not self._closed:
                self._wake_in.send(b"\0")
            self._aborted = True

    def close(self) -> None:
        """Give everything back; any number of times. Never waits."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._drop_socket()
            self._selector.close()
            self._wake_in.close()
            self._wake_out.close()

    def _drop_socket(self) -> None:
        self._unwatch()
        self._receiver = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # --- waiting -------------------------------------------------------------------------------------------

    def _check(self, now_ns: int | None) -> None:
        if self._aborted:
            raise Aborted("the connection was aborted")
        if now_ns is not None and now_ns >= self.deadline_ns:
            raise TimeoutError("the deadline has passed")

    def _wait(self, event: int, *, look: bool = False) -> None:
        """Until the socket is ready for `event`. `look`: once even after the deadline."""
        now_ns = time.monotonic_ns()
        self._check(None if look else now_ns)
        assert self._socket is not None
        if not self._watched:
            self._selector.register(self._socket, event)
        elif self._watched != event:
            self._selector.modify(self._socket, event)
        self._watched = event
        ready = self._selector.select(max(0, self.deadline_ns - now_ns) / NS_PER_S)
        self._check(None)
        if not ready:
            raise TimeoutError("the deadline has passed")

    def _when_ready(self, event: int, operation: Callable[..., _T], *arguments: Any) -> _T:
        """The result of `operation` on the socket, which is asked first and waited for second.

        The order matters: TLS may hold octets that no selector sees; and it may want to write before it can read.
        """
        while True:
            try:
                return operation(*arguments)
            except ssl.SSLWantReadError:  # noqa: PERF203
                self._wait(selectors.EVENT_READ)
            except ssl.SSLWantWriteError:
                self._wait(selectors.EVENT_WRITE)
            except BlockingIOError:
                self._wait(event)

    def _unwatch(self) -> None:
        if self._watched and self._socket is not None:
            self._selector.unregister(self._socket)
        self._watched = 0


def _proxy_for(host: str, *, secure: bool) -> Any:
    """The proxy's URL in parts, or None. This machine itself is never reached through one."""
    if host == "localhost" or host.startswith("127.") or host == "::1":
        return None
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None  # elsewhere the system's own settings count, too
    from urllib.request import getproxies, proxy_bypass  # here: it takes 20 ms, for few

    if proxy_bypass(host):
        return None
    url = getproxies().get("https" if secure else "http")
    if not url:
        return None
    parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
    if parts.scheme != "http" or not parts.hostname:
        raise SourceError(
            f"the proxy setting of this machine is a {parts.scheme!r} proxy; only http proxies are supported", retryable=False
        )
    return parts
