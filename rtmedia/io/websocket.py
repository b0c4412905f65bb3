"""The WebSocket connection of a stream: websocket-client shakes hands and sends, everything else is here.

The library's own loop (``run_forever``) is not used: it hides when a message was read, how a pong was matched and
who waits for what. Nor does it read: it copies each message several times on the way (`rtmedia.io.frames`). Here one
thread owns the connection, each call has a deadline, a frame of which a part has come is kept for the next call, and
`WebSocketConnection.abort` ends any wait at once.

Errors of the library are translated, and during the handshake not even chained: there they hold the request, and
so the token.
"""

from __future__ import annotations

import contextlib
import io
import ssl
import struct
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit

import websocket

from rtmedia.errors import AuthError, SourceError, WireError
from rtmedia.io.frames import CLOSE, PING, PONG, TEXT, Control, FramingError, MessageReader
from rtmedia.io.tcp import TcpStream
from rtmedia.protocol.oauth import Token
from rtmedia.protocol.retry import parse_retry_after
from rtmedia.protocol.session import ConnectionEnded, refusal
from rtmedia.units import NS_PER_MS, NS_PER_S, without_query

if TYPE_CHECKING:
    import http.client

#: Headers, and the body of a refusal, of one handshake.
_HANDSHAKE_LIMIT_OCTETS = 262_144
#: What we send is tiny; a peer that takes none of it for so long is gone.
_SEND_TIMEOUT_S = 5.0


class WebSocketConnection:
    """One connection to a media server, used once.

    Parameters
    ----------
    url : str
        ``ws://`` or ``wss://``; its query is kept.
    token_in : {"query", "header"}
        ``access_token`` in the query, or ``Authorization: Bearer``.
    handshake_timeout_s : float
        For name look-up, TCP, TLS and upgrade together.
    ping_interval_s, pong_timeout_s : float
        A ping follows the last pong after the interval. A connection on which *nothing* comes for the timeout after
        a ping has ended: a server that sends audio but no pongs is alive.
    message_limit_octets : int
        A longer message ends the connection. Set it well above what the protocol takes, which merely counts.
    scopes : tuple of str
        Named when the server answers 403.
    tls : ssl.SSLContext or None
        For ``wss``; None verifies against the system's authorities.

    Attributes
    ----------
    rtt_ms : float or None
        From the last ping whose pong came back.
    pongs_missed : int
        Pings without a pong while other data came.

    Notes
    -----
    Thread: one owner; only `abort` (and reading the attributes) from others.   Real-time: no.
    """

    def __init__(
        self,
        url: str,
        *,
        token_in: Literal["query", "header"] = "query",
        handshake_timeout_s: float = 10.0,
        ping_interval_s: float = 5.0,
        pong_timeout_s: float = 10.0,
        message_limit_octets: int = 4 << 20,
        scopes: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = without_query(url)
        self.rtt_ms: float | None = None
        self.pongs_missed = 0
        self._url = url
        self._token_in = token_in
        self._token: Token | None = None
        self._handshake_timeout_s = handshake_timeout_s
        self._ping_interval_ns = int(ping_interval_s * NS_PER_S)
        self._pong_timeout_ns = int(pong_timeout_s * NS_PER_S)
        self._scopes = scopes
        self._tls = tls
        self._stream = TcpStream()
        self._reader = MessageReader(message_limit_octets)
        self._library: Any = websocket.WebSocket(enable_multithread=False)  # one thread owns it: no locks
        self._open = False
        self._patience_s = _SEND_TIMEOUT_S
        self._pings_sent = 0
        self._ping_ns = 0  # when the ping without a pong was sent; 0: there is none
        self._alarm_ns = 0  # when to look after ping and pong

    # --- opening -------------------------------------------------------------------------------------------

    def open(self, token: Token | None = None) -> None:
        """Connect and upgrade.

        Raises
        ------
        TokenRefused, AuthError
            HTTP 401; HTTP 403.
        SourceError
            Any other refusal, or no way to the server; ``retryable`` and ``retry_after_s`` say what may help.
        WireError
            Somebody answered who does not speak WebSocket.
        Aborted
            `abort` was called.
        """
        self._token = token
        self._stream.deadline_ns = time.monotonic_ns() + int(self._handshake_timeout_s * NS_PER_S)
        # Raised here and not in the handler, so that nothing hangs on it that has seen the token.
        problem = self._try_open()
        if problem is not None:
            self._stream.close()
            raise problem
        now_ns = time.monotonic_ns()
        self._stream.read_ns = now_ns
        self._alarm_ns = now_ns + self._ping_interval_ns
        self._reader.feed(self._stream.rest())  # what came right behind the handshake
        self._open = True

    def _try_open(self) -> SourceError | None:
        where = self.url
        try:
            parts = urlsplit(self._url)
            host, port, secure = parts.hostname, parts.port, parts.scheme == "wss"
            if not host or parts.scheme not in ("ws", "wss"):
                raise ValueError("no host, or no ws:// or wss://")
            tls = (self._tls or ssl.create_default_context()) if secure else None
            self._stream.open(host, port or (443 if secure else 80), tls=tls)
            self._stream.allowance_octets = _HANDSHAKE_LIMIT_OCTETS
            self._library.connect(socket=self._stream, redirect_limit=0, **self._request())
            if self._library.getstatus() != 101:  # releases of the library differ in what they do with a redirect
                return self._refused(websocket.WebSocketException())
        except SourceError as exc:  # aborted, or the proxy's
            return exc.with_traceback(None)  # its frames are the library's, and hold the request
        except ssl.SSLCertVerificationError as exc:
            # At boot the clock may be wrong until it is set from the network: that heals.
            return SourceError(
                f"the certificate of {where} is not trusted ({exc.verify_message}); check this machine's clock and authorities"
            )
        except Exception as exc:  # the library raises whatever its parsing meets
            return self._refused(exc)
        return None

    def _request(self) -> dict[str, Any]:
        token = self._token
        if token is None:
            return {"url": self._url}
        if not token.value.isascii() or not token.value.isprintable():
            raise AuthError("the token holds characters that no header or URL may carry; ask the identity provider for another")
        if self._token_in == "header":
            return {"url": self._url, "header": [f"Authorization: Bearer {token.value}"]}
        return {"url": _with_token(self._url, token.value)}

    def _refused(self, exc: Exception) -> SourceError:
        """The answer's status decides; without an answer, what went wrong."""
        head = _read_head(bytes(self._stream.head))
        if head is not None and head[0] != 101:
            status, headers = head
            return refusal(
                status,
                retry_after_s=parse_retry_after(headers.get("retry-after"), time.time()),
                location=self._shown(headers.get("location") or "").partition("?")[0],
                scopes=self._scopes,
            )
        if isinstance(exc, (TimeoutError, websocket.WebSocketTimeoutException)):
            return SourceError(f"{self.url} did not answer within {self._handshake_timeout_s:g} s; check the network and the address")
        if isinstance(exc, OSError):
            return SourceError(f"{self.url} cannot be reached ({exc.strerror or type(exc).__name__}); check the network and the address")
        if isinstance(exc, websocket.WebSocketConnectionClosedException):
            return SourceError(f"{self.url} closed the connection during the handshake; it may restart")
        if isinstance(exc, ValueError):
            return SourceError(f"{self.url} is no URL of a WebSocket server ({type(exc).__name__}); check the source", retryable=False)
        return WireError(f"{self.url} does not answer as a WebSocket server ({type(exc).__name__}); check the source URL")

    # --- sending -------------------------------------------------------------------------------------------

    def send(self, text: str) -> None:
        """Send a text message.

        Raises
        ------
        ConnectionEnded
            The peer is gone, or took nothing for 5 s.
        Aborted
            `abort` was called.
        """
        self._send(text.encode(), TEXT)

    def _send(self, payload: bytes, opcode: int) -> None:
        self._stream.deadline_ns = time.monotonic_ns() + int(self._patience_s * NS_PER_S)
        try:
            self._library.send(payload, opcode)
        except SourceError:
            raise
        except Exception as exc:
            raise ConnectionEnded(1006, f"sending failed: {type(exc).__name__}") from exc

    # --- receiving -----------------------------------------------------------------------------------------

    def receive(self, timeout_s: float) -> tuple[str | memoryview, int] | None:
        """The next message and the monotonic time at which its last octets were read; None if none came in time.

        A binary message lies in the connection's own buffer, and is good until the next call: copy what is to be kept.

        Ill-formed UTF-8 in a text is replaced, not punished as RFC 6455 section 8.1 has it: a caption cut in the
        middle of a letter must not cost the audio of a reconnect.

        Raises
        ------
        ConnectionEnded
            The peer closed, is gone, or has stopped to answer.
        WireError
            The peer broke the framing, or sent a message over the limit.
        Aborted
            `abort` was called.
        """
        stream, reader = self._stream, self._reader
        deadline_ns = 0  # what is here already is given out without a look at the clock
        while True:
            try:
                message = reader.next()
            except FramingError as exc:
                raise self._broken(exc.code, str(exc)) from None
            if message is not None:
                arrival_ns = stream.read_ns
                if type(message) is not Control:
                    if arrival_ns >= self._alarm_ns:
                        self._keep_alive()
                    return message, arrival_ns  # type: ignore[return-value]
                self._act_on(message)
                if arrival_ns >= self._alarm_ns:
                    self._keep_alive()
            now_ns = time.monotonic_ns()
            if not deadline_ns:
                deadline_ns = now_ns + int(timeout_s * NS_PER_S)
            elif now_ns >= deadline_ns:
                return None  # a flood of control frames is not worth more time
            if message is None:
                stream.deadline_ns = min(deadline_ns, self._alarm_ns)
                if not self._read_more():
                    now_ns = time.monotonic_ns()
                    if now_ns >= self._alarm_ns:
                        self._keep_alive()
                    if now_ns >= deadline_ns:
                        return None

    def place(self) -> tuple[int, int]:
        """Address and length of the memory that what comes next may be read into; 0 and 0 where it has to be decrypted."""
        return (0, 0) if self._stream.is_encrypted else self._reader.place()

    def arrivals(self, octets: int = 0, read_ns: int = 0) -> Iterator[tuple[str | memoryview, int]]:
        """What has come, as `receive` gives it out, without waiting: for one thread that reads many connections.

        Parameters
        ----------
        octets, read_ns
            How many were read into `place`, and when; 0: the socket is to be asked.

        Raises
        ------
        ConnectionEnded, WireError, Aborted
            As `receive`; also where the peer takes nothing that we have to send.
        """
        stream, reader = self._stream, self._reader
        self._patience_s = 0.0
        has_read = octets > 0
        if has_read:
            stream.took(octets, read_ns)
            reader.filled(octets)
        while True:
            arrival_ns = stream.read_ns
            while True:
                try:
                    message = reader.next()
                except FramingError as exc:
                    raise self._broken(exc.code, str(exc)) from None
                if message is None:
                    break
                if type(message) is Control:
                    self._act_on(message)
                else:
                    yield message, arrival_ns  # type: ignore[misc]
            if has_read and not stream.holds_more:  # else the socket will say so itself
                return
            stream.deadline_ns = 0
            if not self._read_more():
                return
            has_read = True

    def look_after(self) -> None:
        """Send a ping that is due, or raise `ConnectionEnded` where nothing has come for too long. Never waits."""
        if time.monotonic_ns() >= self._alarm_ns:
            self._keep_alive()

    def files(self) -> tuple[int, int]:
        """Numbers of the files to wait for: the socket, and the one that `abort` writes to."""
        return self._stream.files()

    def _read_more(self) -> bool:
        """Octets into the reader; False at the deadline."""
        reader = self._reader
        try:
            count = self._stream.recv_into(reader.room())
        except TimeoutError:
            return False
        except OSError as exc:
            raise ConnectionEnded(1006, type(exc).__name__) from exc
        if not count:
            raise ConnectionEnded(1006, "the peer closed the connection without a word")
        reader.filled(count)
        return True

    def _act_on(self, frame: Control) -> None:
        opcode, payload = frame
        if opcode == PING:
            self._send(payload, PONG)
        elif opcode == PONG:
            self._take_pong(payload)
        else:
            self._take_close(payload)

    def _take_close(self, data: bytes) -> None:
        code = struct.unpack_from("!H", data)[0] if len(data) >= 2 else 1005
        self._say_goodbye(1000 if code == 1005 else code)
        raise ConnectionEnded(code, self._shown(data[2:].decode("utf-8", "replace")))

    # --- keeping alive -------------------------------------------------------------------------------------

    def _keep_alive(self) -> None:
        """The alarm has gone off: a ping is due, or its pong overdue."""
        now_ns = time.monotonic_ns()
        if self._ping_ns:
            if self._stream.read_ns <= self._ping_ns:
                raise ConnectionEnded(1006, f"nothing came for {(now_ns - self._ping_ns) / NS_PER_S:.1f} s, not even an answer to a ping")
            self.pongs_missed += 1
        self._pings_sent += 1
        self._ping_ns = now_ns
        self._alarm_ns = now_ns + self._pong_timeout_ns
        self._send(struct.pack("!Q", self._pings_sent), PING)

    def _take_pong(self, data: bytes) -> None:
        # Pongs that answer nothing are allowed, and late ones are not to be mistaken for the present one.
        if self._ping_ns and data == struct.pack("!Q", self._pings_sent):
            self.rtt_ms = (self._stream.read_ns - self._ping_ns) / NS_PER_MS
            self._ping_ns = 0
            self._alarm_ns = self._stream.read_ns + self._ping_interval_ns

    # --- ending --------------------------------------------------------------------------------------------

    def _broken(self, code: int, what: str) -> WireError:
        self._say_goodbye(code)
        # Retryable: it may have been one broken session; whether it was is known after a few attempts.
        return WireError(f"{self.url} sent {what}; the connection was closed with code {code}", retryable=True)

    def _say_goodbye(self, code: int) -> None:
        """Send a close frame if that goes without waiting."""
        if self._open:
            self._open = False
            self._stream.deadline_ns = 0
            with contextlib.suppress(Exception):  # whoever is gone needs no goodbye
                self._library.send(struct.pack("!H", code), CLOSE)

    def _shown(self, text: str) -> str:
        """The peer's words without the token, which it may echo."""
        if self._token is not None:
            for form in (self._token.value, quote(self._token.value, safe="")):
                text = text.replace(form, "(token)")
        return text

    @property
    def octets_received(self) -> int:
        """From the socket, ever, headers included. Thread: any."""
        return self._stream.octets_received

    def abort(self) -> None:
        """Make the call that the owner is in, and every later one, raise `Aborted`. Thread: any."""
        self._stream.abort()

    def close(self, code: int = 1000, timeout_s: float = 1.0) -> None:
        """Say goodbye, wait at most `timeout_s` for the answer, and give everything back. Any number of times.

        After `abort`, and after the peer's own close, nothing is waited for.
        """
        was_open = self._open
        self._say_goodbye(code)
        if was_open and not self._stream.aborted:
            deadline_ns = time.monotonic_ns() + int(timeout_s * NS_PER_S)
            self._stream.deadline_ns = deadline_ns
            with contextlib.suppress(Exception):  # whatever happens now, the connection ends
                while time.monotonic_ns() < deadline_ns:
                    message = self._reader.next()
                    if type(message) is Control and message.opcode == CLOSE:
                        break
                    if message is None and not self._read_more():
                        break
        self._stream.close()


def _with_token(url: str, value: str) -> str:
    """`url` with `value` as its ``access_token``, in place of an older one; the rest of the query stays as it is."""
    parts = urlsplit(url)
    kept = [item for item in parts.query.split("&") if item and item.partition("=")[0] != "access_token"]
    return urlunsplit(parts._replace(query="&".join([*kept, "access_token=" + quote(value, safe="")]), fragment=""))


def _read_head(octets: bytes) -> tuple[int, http.client.HTTPMessage] | None:
    """Status and headers of an HTTP answer, of which the end may be missing; None if it is none."""
    line, _, rest = octets.partition(b"\r\n")
    words = line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or len(words[1]) != 3 or not words[1].isdigit():
        return None
    import http.client  # here: no connection that is granted needs it

    try:
        headers = http.client.parse_headers(io.BytesIO(rest.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"))
    except (http.client.HTTPException, ValueError):
        headers = http.client.HTTPMessage()
    return int(words[1]), headers
