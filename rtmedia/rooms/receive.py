"""The receive room: keeps a connection to the source, and puts what comes into the wire ring.

The only room that runs Python, and the only one that waits for the world. A life is a series of *attempts*: fetch a
token, connect, subscribe, receive until something ends it. What ended it decides what follows
(`rtmedia.protocol.session.Action`)::

    stop, end of stream ──▶ return          FINAL ──▶ raise
    REFRESH ──▶ forget the token, once at once; then like RETRY
    RETRY   ──▶ wait (backoff) and begin again; raise when the attempts are used up

Each connection is an *epoch*: its first audio carries `FLAG_NEW_EPOCH`, because sequence numbers and times of
another connection say nothing about it. Only audio that flowed for a second ends a series of failures.

Everything from outside comes in as an argument, so that a test runs the room on one thread with a clock of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from rtmedia.errors import AuthError, SourceError
from rtmedia.events import Connected, Disconnected, Event, Problem
from rtmedia.ports import EPOCH_SHIFT, FLAG_END_OF_STREAM, FLAG_NEW_EPOCH, NO_MEDIA_TIME, TranscriptWriter, WireWriter
from rtmedia.protocol.messages import End, Media, MediaProtocol, Message, TranscriptMessage
from rtmedia.protocol.oauth import Token
from rtmedia.protocol.retry import Backoff
from rtmedia.protocol.session import Aborted, Action, ConnectionEnded, Verdict, action_of
from rtmedia.units import NS_PER_MS, NS_PER_S

#: A connection has proved itself after so many packets, or a second of audio.
GOOD_PACKETS = 50
#: After the end of the stream the server has this long to close; last transcripts may still come.
END_GRACE_NS = NS_PER_S
#: The longest wait in one call; `stop` ends it early.
_LONGEST_WAIT_S = 1.0
#: A full wire ring is asked again after this, for the one message that must not be lost.
_END_RETRY_S = 0.01
#: A connection that was opened ahead and waited longer for `ReceiveRoom.go` is made anew: the server may have lost patience.
_FRESH_NS = 2 * NS_PER_S
_SEQ_MASK = 0xFFFF_FFFF


class Connection(Protocol):
    """One connection, used once. All but ``abort`` belongs to the receive thread."""

    @property
    def rtt_ms(self) -> float | None: ...
    @property
    def octets_received(self) -> int: ...
    def open(self, token: Token | None) -> None: ...
    def send(self, text: str) -> None: ...
    def receive(self, timeout_s: float) -> tuple[str | bytes | memoryview, int] | None:
        """A message and its arrival; a view is good until the next call."""
        ...

    def close(self) -> None: ...
    def abort(self) -> None: ...


Received = tuple["str | bytes | memoryview", int]
#: Connection, what takes each message (or None: time has passed) and says when to end, and the same on the caller's own thread.
Share = Callable[[Any, Callable[["Received | None"], bool], Callable[[], None]], None]


class TokenSource(Protocol):
    """Where tokens come from; may wait for the network."""

    def token(self, now_ns: int) -> Token: ...
    def invalidate(self, token: Token | None) -> None: ...


class ReceiveCounters:
    """What the room has counted. Written by the receive thread only; any thread may read each field.

    What the connection counts itself is asked for there, by who wants to know: not once a packet.

    Attributes
    ----------
    messages, rejected : mapping of str to int
        The protocol's own: messages by kind, and malformed ones by reason.
    bytes_received : int
        From the socket, over all connections.
    wire_overflow : int
        Audio dropped because the wire ring was full.
    connections, reconnects : int
        Subscriptions sent; those after the first.
    epoch : int
        Number of the present connection, from 1; 0 before the first.
    last_close_code : int or None
    rtt_ms : float or None
    connected : bool
    """

    __slots__ = (
        "_counted",
        "connected",
        "connections",
        "epoch",
        "last_close_code",
        "messages",
        "reconnects",
        "rejected",
        "wire_overflow",
    )

    def __init__(self, messages: Mapping[str, int], rejected: Mapping[str, int]) -> None:
        self.messages = messages
        self.rejected = rejected
        self.wire_overflow = 0
        self.connections = 0
        self.reconnects = 0
        self.epoch = 0
        self.last_close_code: int | None = None
        self.connected = False
        self._counted: tuple[int, Connection | None] = (0, None)  # octets of the connections before, and the present one

    def count(self, connection: Connection) -> None:
        """Count `connection` from now on; the one before it is over. Thread: receive."""
        self._counted = (self.bytes_received, connection)

    @property
    def bytes_received(self) -> int:
        before, connection = self._counted
        return before if connection is None else before + connection.octets_received

    @property
    def rtt_ms(self) -> float | None:
        _, connection = self._counted
        return None if connection is None else connection.rtt_ms

    def snapshot(self) -> dict[str, Any]:
        """All of it, by the names of `rtmedia.stats.Stats`. Thread: any."""
        return {
            "connected": self.connected,
            "connections_total": self.connections,
            "reconnects_total": self.reconnects,
            "last_close_code": self.last_close_code,
            "rtt_ms": self.rtt_ms,
            "bytes_received_total": self.bytes_received,
            "messages_total": dict(self.messages),
            "rejected_total": dict(self.rejected),
            "wire_overflow_total": self.wire_overflow,
        }


class _TooOld(SourceError):
    """The connection waited too long before there was anything to subscribe for."""


def _nowhere(*_: object) -> bool:
    return False


class ReceiveRoom:
    """The body of the receive thread.

    Parameters
    ----------
    make_connection : callable
        A fresh, unopened `Connection` for each attempt.
    protocol : MediaProtocol
    write_wire : WireWriter or None
        Into the wire ring; False when it is full. None: `run` connects, and waits for `go` before it subscribes.
    write_transcript : TranscriptWriter
    emit : callable
        Takes `Connected`, `Disconnected` and `Problem`.
    backoff : Backoff
    tokens : TokenSource or None
        Asked before every attempt; None connects without a token.
    url : str
        As it may be shown, without its query.
    octets_per_s : int
        Of encoded audio: what counts as a second of it.
    idle_timeout_s : float
        The longest time without a message; 0 is no limit.
    close_codes : mapping of int to Verdict or None
        A server's own close codes; win over `rtmedia.protocol.session.CLOSE_CODES`.
    stopping : threading.Event or None
        Shared with whoever else must stop (the token provider); None makes one.
    clock_ns : callable
        The clock of the connection's arrival times.
    wait : callable or None
        ``wait(seconds) -> stop requested``; None is ``stopping.wait``.
    share : callable or None
        Receives an open connection, on a thread for many or by calling back (`rtmedia.io.together.receive`); None: on this one.

    Notes
    -----
    Thread: `run` is the receive thread; `stop` any.   Real-time: no (Python); nothing downstream waits for it.
    """

    def __init__(
        self,
        *,
        make_connection: Callable[[], Connection],
        protocol: MediaProtocol,
        write_wire: WireWriter | None,
        write_transcript: TranscriptWriter,
        emit: Callable[[Event], None],
        backoff: Backoff,
        tokens: TokenSource | None = None,
        url: str = "",
        octets_per_s: int = 32_000,
        idle_timeout_s: float = 0.0,
        close_codes: Mapping[int, Verdict] | None = None,
        stopping: threading.Event | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[float], bool] | None = None,
        share: Share | None = None,
    ) -> None:
        self.counters = ReceiveCounters(protocol.accepted, protocol.rejected)
        self._make_connection = make_connection
        self._protocol = protocol
        self._write_wire: WireWriter = write_wire or _nowhere
        self._going = threading.Event()
        if write_wire is not None:
            self._going.set()
        self._write_transcript = write_transcript
        self._emit = emit
        self._backoff = backoff
        self._tokens = tokens
        self._url = url
        self._octets_per_s = octets_per_s
        self._idle_timeout_ns = int(idle_timeout_s * NS_PER_S)
        self._close_codes = close_codes
        self._stopping = stopping or threading.Event()
        self._clock_ns = clock_ns
        self._wait = wait or self._stopping.wait
        self._share = share
        self._connection: Connection | None = None
        self._token: Token | None = None
        self._attempt = 0  # in this series
        self._refreshed = False  # a refused token was replaced in this series
        self._problem_ns: dict[str, int] = {}  # when each kind was last told
        # Of the present connection:
        self._seq = -1  # last used
        self._wire_flags = FLAG_NEW_EPOCH  # for the next audio
        self._packets = 0
        self._octets = 0
        self._is_proved = False  # it has brought good audio
        self._end: End | None = None  # the stream's, once it has come
        self._is_end_written = False
        self._last_ns = 0  # of a message, or the end

    def run(self) -> None:
        """Receive until `stop` or the end of the stream.

        Raises
        ------
        SourceError
            A failure that trying again cannot heal, or the last of too many.
        """
        while not self._stopping.is_set():
            error = self._attempt_once()
            if error is None or self._wait(self._delay_s(error)):
                return

    def go(self, write_wire: WireWriter) -> None:
        """Subscribe, now or as soon as there is a connection, and write into `write_wire`. Thread: any; once."""
        self._write_wire = write_wire
        self._going.set()

    def stop(self) -> None:
        """Make `run` return soon, whatever it waits for. Thread: any; any number of times."""
        self._stopping.set()
        self._going.set()
        connection = self._connection
        if connection is not None:
            connection.abort()

    # --- one attempt ---------------------------------------------------------------------------------------

    def _attempt_once(self) -> SourceError | None:
        """Connect and receive. None when there is nothing more to do; else why it must be done again."""
        counters = self.counters
        self._attempt += 1
        self._connection = connection = self._make_connection()
        counters.count(connection)
        if self._stopping.is_set():
            # `stop` came before there was a connection that it could abort.
            connection.abort()
        end: End | None = None
        error: SourceError | None = None
        try:
            self._open(connection)
            end = self._receive(connection)
        except SourceError as exc:
            error = exc
        finally:
            if counters.connected and error is not None and self._tokens is not None:
                self._tokens.invalidate(self._token)  # every reconnection brings a fresh one: the old may be why it ended
            counters.connected = False
            connection.close()
            self._connection = None
        if isinstance(error, ConnectionEnded):
            counters.last_close_code = error.close_code
        if end is not None:
            self._emit(Disconnected(self._clock_ns(), end.reason, counters.last_close_code, None))
            return None
        if isinstance(error, _TooOld) and not self._stopping.is_set():
            self._attempt -= 1
            return self._attempt_once()
        if error is None or isinstance(error, Aborted) or self._stopping.is_set():
            self._emit(Disconnected(self._clock_ns(), "stopped", None, None))
            return None
        return error

    def _open(self, connection: Connection) -> None:
        if self._tokens is not None:
            self._token = self._tokens.token(self._clock_ns())
        connection.open(self._token)
        if not self._going.is_set():
            self._wait_to_go()
        connection.send(self._protocol.subscribe())
        counters = self.counters
        counters.epoch += 1
        counters.connections += 1
        counters.reconnects = counters.connections - 1
        counters.connected = True
        self._seq, self._wire_flags = -1, FLAG_NEW_EPOCH | counters.epoch << EPOCH_SHIFT
        self._packets = self._octets = 0
        self._is_proved = False
        self._emit(Connected(self._clock_ns(), self._url, self._attempt, counters.epoch))

    def _wait_to_go(self) -> None:
        """Connected ahead: the network has had its time while the engine is built, and the stream begins when it is."""
        since_ns = self._clock_ns()
        self._going.wait()
        if self._stopping.is_set():
            raise Aborted("the room was stopped before it was to subscribe")
        if self._clock_ns() - since_ns > _FRESH_NS:
            raise _TooOld("the connection was opened too long ago")

    # --- receiving -----------------------------------------------------------------------------------------

    def _receive(self, connection: Connection) -> End | None:
        """Until `stop` (None), the end of the stream, or an exception."""
        self._end, self._is_end_written = None, False
        self._last_ns = self._clock_ns()
        try:
            if self._share is None:
                self._receive_alone(connection)
            else:
                self._share(connection, self._take, lambda: self._receive_alone(connection))
        except ConnectionEnded as exc:
            if self._end is None:
                raise
            self.counters.last_close_code = exc.close_code
            self._deliver_end()
            return self._end
        self._deliver_end()
        return None if self._stopping.is_set() else self._end

    def _receive_alone(self, connection: Connection) -> None:
        receive, take = connection.receive, self._take
        longest_wait_s = min(_LONGEST_WAIT_S, self._idle_timeout_ns / NS_PER_S or _LONGEST_WAIT_S)
        while not self._stopping.is_set():
            if take(receive(longest_wait_s)):
                return
            self._deliver_end()

    def _take(self, received: Received | None) -> bool:
        """One message, or None when time has passed; True when there is nothing more to receive. Never waits."""
        item: Message | None = None
        if received is None:
            now_ns = self._clock_ns()
        else:
            message, now_ns = received
            item = self._protocol.feed(message)
            if type(item) is Media:
                self._take_audio(item, now_ns)
                if self._end is None:
                    self._last_ns = now_ns
                    return False
            elif type(item) is TranscriptMessage:
                self._write_transcript(
                    text=item.text,
                    confidence=item.confidence,
                    timestamp_ms=item.timestamp_ms,
                    epoch=self.counters.epoch,
                    arrival_ns=now_ns,
                    speaker=item.speaker,
                )
            elif item is None:
                self._tell("malformed", "the server sent a message that was not understood; see the rejected counters", now_ns)
        if self._end is not None:
            if not self._is_end_written:
                self._write_end()
            return now_ns - self._last_ns >= END_GRACE_NS
        if received is None:
            if self._idle_timeout_ns and now_ns - self._last_ns >= self._idle_timeout_ns:
                raise ConnectionEnded(1006, f"no message for {(now_ns - self._last_ns) / NS_PER_S:.1f} s")
        else:
            self._last_ns = now_ns
            if type(item) is End:
                self._end = item
                self._write_end()  # now: a server that takes its time to close must not look like a stall
        return self._stopping.is_set()

    def _take_audio(self, media: Media, arrival_ns: int) -> None:
        seq, timestamp_ms, payload = media
        if seq is None:
            seq = (self._seq + 1) & _SEQ_MASK
        self._seq = seq
        media_time_ns = NO_MEDIA_TIME if timestamp_ms is None else timestamp_ms * NS_PER_MS
        if self._write_wire(arrival_ns, seq, media_time_ns, self._wire_flags, payload):
            self._wire_flags = 0  # the mark stays for the next one when the first was dropped
        else:
            self.counters.wire_overflow += 1
            self._tell("wire_overflow", "audio was dropped because the wire ring is full; the decode room does not keep up", arrival_ns)
        if not self._is_proved:
            self._prove(len(payload))

    def _prove(self, octets: int) -> None:
        """So much more audio: enough of it ends a series of failures."""
        self._octets += octets
        self._packets += 1
        if self._packets >= GOOD_PACKETS or self._octets >= self._octets_per_s:
            self._is_proved = True
            self._backoff.good_audio()
            self._attempt = 0
            self._refreshed = False

    def _write_end(self) -> None:
        """The end must arrive: without it the last audio would wait in the jitter buffer for more. Tried until it does."""
        self._is_end_written = self._write_wire(self._clock_ns(), (self._seq + 1) & _SEQ_MASK, NO_MEDIA_TIME, FLAG_END_OF_STREAM, b"")

    def _deliver_end(self) -> None:
        """Wait until the end of the stream, if it has come, has found room. Thread: the room's own."""
        while self._end is not None and not self._is_end_written and not self._wait(_END_RETRY_S):
            self._write_end()

    def _tell(self, kind: str, message: str, now_ns: int) -> None:
        """Emit a problem, at most one a second of each kind."""
        last_ns = self._problem_ns.get(kind)
        if last_ns is None or now_ns - last_ns >= NS_PER_S:
            self._problem_ns[kind] = now_ns
            self._emit(Problem(now_ns, kind, message))

    # --- what next -----------------------------------------------------------------------------------------

    def _delay_s(self, error: SourceError) -> float:
        """Seconds until the next attempt; raises when there is none."""
        failure: SourceError = error
        delay_s: float | None = None
        action = action_of(error, overrides=self._close_codes)
        if action is Action.REFRESH and self._tokens is None:
            failure = AuthError(
                f"{error}; no credentials are configured to fetch a token with: "
                "give --credentials FILE, or set RTMEDIA_CLIENT_ID, RTMEDIA_CLIENT_SECRET and RTMEDIA_ENVIRONMENT"
            )
        elif action is Action.REFRESH and self._replace_token():
            delay_s = 0.0
        elif action in (Action.RETRY, Action.REFRESH):
            delay_s = self._backoff.next_delay_s(error.retry_after_s)
            if delay_s is None:
                failure = SourceError(f"the source was given up after {self._attempt} attempts in a row; the last said: {error}")
        code = error.close_code if isinstance(error, ConnectionEnded) else None
        self._emit(Disconnected(self._clock_ns(), str(error), code, delay_s))
        if delay_s is not None:
            return delay_s
        if failure is error:
            raise error
        raise failure from error

    def _replace_token(self) -> bool:
        """Forget the refused token; True when a fresh one may be tried at once: once in a series."""
        assert self._tokens is not None
        self._tokens.invalidate(self._token)
        self._token = None
        first, self._refreshed = not self._refreshed, True
        return first
