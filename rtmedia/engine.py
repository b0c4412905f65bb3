"""The live driver: has the rooms of a line walked by threads, and looks after their life.

How to think about it. Five threads, named after what they do::

    rtm-receive   Python     socket → wire ring            ends at stop, end of stream or final failure
    rtm-decode    compiled   wire ring → packet ring       shared by all engines (`rtmedia.rooms.pool`)
    rtm-render    compiled   packet ring → audio ring      likewise
    (device)      compiled   audio ring → speaker          the sink's
    rtm-control   Python     telemetry → captions, metrics, watchdog   shared (`rtmedia.supervision`)

A start begins with what waits for others: rtm-receive connects (or the loopback's server starts), the sound card plays silence.
The kernels load meanwhile; then come the rooms and all memory, the compiled threads, and last the subscription. Others live for
a moment, around calls that may hang (``docs/internals/threads.md``).

The engine's states are one table (`TRANSITIONS`). Whoever moves it to ``stopping`` takes it apart; everybody
else only asks. The first failure wins, and travels to the owner through `wait`, `events` and `start`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rtmedia.assembly import load_line, make_line, make_source
from rtmedia.config import Config
from rtmedia.errors import RoomError, RtmediaError, StateError
from rtmedia.events import Connected, Event, StateChanged
from rtmedia.ports import FLAG_END_OF_STREAM, NO_MEDIA_TIME, Effect
from rtmedia.stats import Stats
from rtmedia.units import NS_PER_S, without_query

if TYPE_CHECKING:
    from rtmedia.capture.writing import Capture
    from rtmedia.realtime.grants import Grants
    from rtmedia.rooms.control import Control
    from rtmedia.rooms.line import Line
    from rtmedia.rooms.pool import Seat
    from rtmedia.rooms.receive import ReceiveRoom
    from rtmedia.sim.loopback import LoopbackServer
    from rtmedia.supervision import Supervision

log = logging.getLogger("rtmedia")

#: state → what it may become.
TRANSITIONS: dict[str, tuple[str, ...]] = {
    "idle": ("starting", "closed"),
    "starting": ("running", "stopping", "failed"),
    "running": ("paused", "stopping", "failed"),
    "paused": ("running", "stopping", "failed"),
    "stopping": ("closed", "failed"),
    "failed": (),
    "closed": (),
}

STOP_DEADLINE_S = 1.8  # for everything; what has not left by then is reported and left behind
DRAIN_LIMIT_S = 1.2  # of it, for sound that is already here
DEVICE_LIMIT_S = 0.25  # of it, for sound that the device has taken
EVENTS_KEPT = 10_000


class Engine:
    """Plays one live stream. Constructing it opens nothing and starts nothing.

    Parameters
    ----------
    config : Config

    Notes
    -----
    Thread: every method may be called from any thread; none is called from the audio path.   Real-time: no.

    Examples
    --------
    >>> with Engine(Config(sink="null")) as engine:     # doctest: +SKIP
    ...     for event in engine.events(timeout_s=30):
    ...         print(event)
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else Config()
        self._made_by = os.getpid()
        self._state = "idle"
        self._lock = threading.Condition(threading.RLock())
        self._stopping = threading.Event()
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._failure: BaseException | None = None
        self._started_ns = 0
        self._ended_ns = 0
        self._connected_once = False
        self._line: Line | None = None
        self._control: Control | None = None
        self._receive: ReceiveRoom | None = None
        self._receive_done = threading.Event()
        self._tokens: Any = None
        self._capture: Capture | None = None
        self._sink: Any = None
        self._server: LoopbackServer | None = None
        self._seat: Seat | None = None
        self._supervision: Supervision | None = None
        self._receive_thread: threading.Thread | None = None
        self._final: Stats | None = None
        self._left_behind: list[str] = []
        self._grants: Grants | None = None
        self._source_shown = without_query(self.config.source)

    # --- life ------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """One of `TRANSITIONS`."""
        return self._state

    def __enter__(self) -> Engine:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.stop()
        else:
            self.abort()

    def start(self) -> None:
        """Connect and open the sink while the kernels load, then start the threads, then subscribe.

        Returns when the stream is subscribed, or, while attempts go on, after the time of one handshake. No packet comes before
        all is there.

        Raises
        ------
        ConfigError, SinkError
            Before the stream is subscribed; the server may have seen a connection.
        SourceError
            The source refused us and no attempt is left.
        StateError
            Started before; an engine lives once.
        """
        self._move("starting", "start")
        self._started_ns = time.monotonic_ns()
        try:
            self._build()
            if not self._stopping.is_set():
                self._start_threads()
            with self._lock:
                stopped = self._stopping.is_set()
                if not stopped:
                    self._move("running", "start")
                elif self._state == "starting":
                    self._set_state("stopping")
        except BaseException as exc:
            self._fail(exc)
            self._take_apart()
            raise
        if stopped:  # by somebody else in the meantime, who left the taking apart to us
            self._take_apart()
            raise self._failure or StateError("the engine was stopped while it was starting; make another one")
        deadline = time.monotonic() + self.config.handshake_timeout_s + 1.0
        try:
            with self._lock:
                while not (self._connected_once or self._receive_done.is_set() or self._failure) and time.monotonic() < deadline:
                    self._lock.wait(0.1)
        except BaseException:  # Ctrl-C while connecting: nobody has an engine to stop yet
            self.abort()
            raise
        if self._failure is not None:
            self.wait(STOP_DEADLINE_S + 0.2)
            raise self._failure

    def pause(self) -> None:
        """Fade out. With ``on_pause="live"`` the stream goes on unheard; with ``"hold"`` playback waits. Twice is once."""
        with self._lock:  # the state and the sound change together, whoever else resumes
            if self._state == "paused":
                return
            self._move("paused", "pause")
            assert self._line is not None and self._control is not None
            self._line.pause(True)
            self._control.hold(self.config.on_pause == "hold")

    def resume(self) -> None:
        """Fade in again. Twice is once."""
        with self._lock:
            if self._state == "running":
                return
            if self._state == "starting":  # from there, too, an engine becomes "running", but not by this
                raise StateError(f"resume was called while {self._state}; only a paused engine can be resumed")
            self._move("running", "resume")
            assert self._line is not None and self._control is not None
            self._line.pause(False)
            self._control.hold(False)

    def stop(self) -> None:
        """Play what is here, at most 1.2 s of it and nothing while paused, then end; within two seconds, whatever hangs.

        Any number of times.
        """
        self._ask_to_stop(drain=True)

    def abort(self) -> None:
        """End now. Any number of times."""
        self._ask_to_stop(drain=False)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; True when it has come.

        Raises
        ------
        RtmediaError
            What ended the engine, if it was a failure.
        """
        with self._lock:
            done = self._lock.wait_for(lambda: self._state in ("closed", "failed") and self._final is not None, timeout_s)
        if self._failure is not None and done:
            raise self._failure
        return done

    def events(self, timeout_s: float | None = None) -> Iterator[Event]:
        """Events in order, until the engine has ended, or for `timeout_s`.

        Raises
        ------
        RtmediaError
            After the last event, what ended the engine, if it was a failure.

        Notes
        -----
        Each event is delivered once, to one caller. The newest 10 000 are kept for a reader that comes late.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with self._lock:
                while not self._events:
                    if self._state in ("closed", "failed") and self._final is not None:
                        if self._failure is not None:
                            raise self._failure
                        return
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        return
                    self._lock.wait(min(left, 1.0) if left is not None else 1.0)
                event = self._events.popleft()
            yield event

    def update(
        self,
        *,
        gain_db: float | None = None,
        ceiling_db: float | None = None,
        effects: str | Sequence[Effect] | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        bypass: Iterable[str] | None = None,
    ) -> None:
        """Change settings while playing; taken up between two blocks, without a click.

        Parameters
        ----------
        gain_db, ceiling_db
            Of the stations behind the effects.
        effects
            The same effects in the same order with new settings.
        settings
            The same, effect by effect: ``{"compressor": {"ratio": 4}}``. What is not named stays.
        bypass
            The names of all effects that shall be off from now on; ``()`` switches all of them on. A switch is a cross-fade of
            20 ms; the delay stays the same.

        Raises
        ------
        ConfigError
            A value is out of range, a name is not in the chain, `effects` are others than those the engine was built with, or a
            setting is fixed when an effect is made, as its latency is. Nothing is changed then.
        StateError
            The engine is not running.

        Examples
        --------
        >>> engine.update(bypass=("spectral_gate",))             # doctest: +SKIP
        >>> engine.update(settings={"compressor": {"ratio": 4}}) # doctest: +SKIP
        """
        with self._lock:
            if self._state not in ("running", "paused") or self._line is None:
                raise StateError(f"update was called while {self._state}; an engine can be updated while running or paused")
            self._line.update(gain_db=gain_db, ceiling_db=ceiling_db, effects=effects, settings=settings, bypass=bypass)

    @property
    def effects(self) -> tuple[Effect, ...]:
        """The chain with its present settings, in order."""
        from rtmedia.presets import effects_of

        return self._line.descriptions if self._line is not None else effects_of(self.config.effects)

    def stats(self) -> Stats:
        """A frozen snapshot; totals only grow. After the end, the last one."""
        if self._final is None:
            self._catch_up()  # the control thread lets telemetry gather; who asks wants to know how things are
        return self._final if self._final is not None else self._snapshot()

    # --- building --------------------------------------------------------------------------------------------

    def _build(self) -> None:
        """All memory, the sink, the connection or the loopback server; none of the compiled threads.

        What waits for others is begun first: the connection on its thread, or the loopback's server, to which it is made when that
        listens; then the device. The kernels load meanwhile.
        """
        config = self.config
        if config.source.startswith("loopback:"):
            from rtmedia.sim.loopback import LoopbackServer

            self._server = LoopbackServer(config.source)
            self._server.begin()
        else:
            self._begin_receiving()
        from rtmedia.io.sinks import make_sink
        from rtmedia.rooms.control import TICKS_AT_ONCE, Control
        from rtmedia.supervision import Supervision

        sink = make_sink(config.sink, config.device)
        if hasattr(sink, "begin"):
            self._sink = sink  # what has begun is stopped, opened or not
            sink.begin(config.channels, config.device_rate_hz, config.rate_hz)
        load_line(config)
        device_rate_hz = sink.open(config.channels, config.device_rate_hz, config.rate_hz)
        self._sink = sink
        self._line = line = make_line(config, device_rate_hz)
        line.stamp_by_clock()
        self._control = Control(line)
        self._control.ticks_at_once = TICKS_AT_ONCE
        if config.capture is not None:
            from rtmedia.capture.writing import Capture

            self._capture = Capture(config.capture, config, line, self._control)
        if self._server is not None:
            self._server.start()
            self._begin_receiving()
        if config.realtime is not None and config.realtime.asks:
            from rtmedia.realtime.grants import Grants

            self._grants = Grants(config.realtime)
        self._supervision = Supervision(
            self._control,
            sink,
            emit=self._emit,
            fail=self._fail_room,
            finish=self._finish,
            snapshot=self._values,
            stopping=self._stopping,
            receive_done=self._receive_done,
            metrics_interval_s=config.metrics_interval_s,
            capture=self._capture,
            grants=self._grants,
        )

    def _begin_receiving(self) -> None:
        """Connect, on the receive thread; it subscribes when all is there (`ReceiveRoom.go`)."""
        self._receive, self._tokens = make_source(
            self.config, stopping=self._stopping, write_transcript=self._take_transcript, emit=self._emit, server=self._server
        )
        self._receive_thread = threading.Thread(target=self._run_receive, name="rtm-receive", daemon=True)
        self._receive_thread.start()

    def _take_transcript(self, **transcript: Any) -> None:
        assert self._supervision is not None  # there is none before `go`
        self._supervision.take_transcript(**transcript)

    def _start_threads(self) -> None:
        from rtmedia.rooms.pool import Seat

        assert self._line is not None and self._sink is not None and self._receive is not None and self._supervision is not None
        if self._grants is not None:
            self._supervision.tell_refused(self._grants.prepare())
        self._seat = Seat(self._line, self._capture)
        if self._grants is not None:
            self._supervision.grant(self._grants, self._seat.threads())
        self._sink.start(self._line.play)
        self._supervision.begin(self._seat)
        self._receive.go(self._line.decode.write)
        log.info(
            "playing %s at %d Hz on %s at %d Hz through %s",
            self._source_shown,
            self._line.rate_hz,
            self._sink.device,
            self._line.device_rate_hz,
            self._sink.play_path,
        )

    # --- threads ---------------------------------------------------------------------------------------------

    def _run_receive(self) -> None:
        assert self._receive is not None
        try:
            self._receive.run()
        except BaseException as exc:  # the first failure wins; everybody is asked to leave
            self._fail_room("receive", exc)
        finally:
            self._receive_done.set()

    def _fail_room(self, name: str, exc: BaseException) -> None:
        self._fail(exc if isinstance(exc, RtmediaError) else _room_error(name, exc))

    def _finish(self) -> None:
        """The stream has ended and is played out: end the engine from the control thread."""
        threading.Thread(target=self._ask_to_stop, kwargs={"drain": False}, name="rtm-end", daemon=True).start()

    def _catch_up(self) -> bool:
        return self._supervision is None or self._supervision.catch_up()

    # --- ending ----------------------------------------------------------------------------------------------

    def _ask_to_stop(self, *, drain: bool) -> None:
        if os.getpid() != self._made_by:  # a fork's child: threads, connection and device are the parent's, and its locks may be held
            self._state = "closed"
            self._final = self._final or Stats(state="closed", source=self._source_shown)
            return
        with self._lock:
            if self._state == "idle":
                self._set_state("closed")
                self._final = self._snapshot()
                self._lock.notify_all()
                return
            if self._state == "starting":
                self._stopping.set()  # whoever starts it takes it apart
            mine = self._state in ("running", "paused")
            if mine:
                drain = drain and self._state == "running"
                self._set_state("stopping")
        if mine:
            self._take_apart(drain=drain)
        elif not self._is_ours(threading.current_thread()):
            with self._lock:
                self._lock.wait_for(lambda: self._final is not None, STOP_DEADLINE_S)

    def _is_ours(self, thread: threading.Thread) -> bool:
        """Whether the engine's end waits for what `thread` is doing."""
        return thread is self._receive_thread or thread.name == "rtm-control"

    def _fail(self, exc: BaseException) -> None:
        """Note the first failure and have the engine taken apart by a thread that is none of its rooms'."""
        with self._lock:
            if self._state not in ("starting", "running", "paused"):
                return  # what breaks while everything is being taken apart is no failure any more
            if self._failure is None:
                self._failure = exc
            starting = self._state == "starting"
            self._set_state("failed")
            self._lock.notify_all()
        log.error("the engine failed: %s", exc)
        if not starting:
            threading.Thread(target=self._take_apart, name="rtm-end", daemon=True).start()

    def _take_apart(self, drain: bool = False) -> None:
        """Stop every thread against one deadline; what does not leave is named and left behind."""
        deadline = time.monotonic() + STOP_DEADLINE_S
        self._stopping.set()
        if self._receive is not None:
            self._receive.stop()
        if self._line is not None:
            self._line.play.expect_silence()
            if drain and self._control is not None:
                self._play_the_rest(min(deadline, time.monotonic() + DRAIN_LIMIT_S))
            self._line.pause(True)  # the last block fades
            if self._state != "failed":  # and is heard: the device keeps what it was given until it is stopped
                time.sleep(min(DEVICE_LIMIT_S, self._line.play.device_latency_s + 0.03))
        left_behind = []
        if self._sink is not None:
            from rtmedia.io.sinks import stop_sink

            if not stop_sink(self._sink, max(0.05, 0.7 * (deadline - time.monotonic()))):
                left_behind.append(f"sink {self._sink.device}")
        if self._supervision is not None and not self._supervision.end(max(0.05, 0.3 * (deadline - time.monotonic()))):
            left_behind.append("rtm-control")
        if self._seat is not None:
            left_behind += self._seat.leave(max(0.05, 0.5 * (deadline - time.monotonic())))
        if self._server is not None:
            self._server.close(max(0.05, deadline - time.monotonic()))
        thread = self._receive_thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.01, deadline - time.monotonic()))
            if thread.is_alive():
                left_behind.append(thread.name)
        if self._capture is not None:
            self._catch_up()  # the last ticks belong to it
            if not self._capture.close(max(0.1, deadline - time.monotonic())):
                left_behind.append("rtm-capture")
        if self._grants is not None:
            self._grants.give_back()
        if left_behind:
            log.warning("still busy after %.1f s and left behind: %s", STOP_DEADLINE_S, ", ".join(left_behind))
        with self._lock:
            self._left_behind = left_behind
            self._catch_up()
            self._ended_ns = time.monotonic_ns()
            if self._state == "stopping":
                self._set_state("closed")
            self._final = self._snapshot()
            self._lock.notify_all()

    def _play_the_rest(self, deadline: float) -> None:
        """Let what has arrived be heard: the receive thread is gone, so this thread may end the stream."""
        assert self._line is not None and self._control is not None
        self._receive_done.wait(max(0.0, deadline - time.monotonic()))
        if not self._receive_done.is_set() or not self._line.decode.state["started"][0]:
            return
        self._control.tell_the_end = False  # it is ours, not the server's
        self._line.decode.write(time.monotonic_ns(), 0, NO_MEDIA_TIME, FLAG_END_OF_STREAM, b"")
        while time.monotonic() < deadline and not self._control.ended:
            if not self._catch_up():
                return
            time.sleep(0.005)

    # --- small things ----------------------------------------------------------------------------------------

    def _move(self, after: str, call: str) -> None:
        with self._lock:
            if after not in TRANSITIONS[self._state] or self._stopping.is_set():
                if self._failure is not None:
                    raise self._failure
                raise StateError(f"{call} was called while {self._state}; from there an engine can only become {TRANSITIONS[self._state]}")
            self._set_state(after)

    def _set_state(self, after: str) -> None:
        before, self._state = self._state, after
        self._append(StateChanged(time.monotonic_ns(), before, after))

    def _emit(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Connected):
                self._connected_once = True
            self._append(event)

    def _append(self, event: Event) -> None:
        self._events.append(event)
        self._lock.notify_all()

    def _snapshot(self) -> Stats:
        return Stats(**self._values())

    def _values(self) -> dict[str, Any]:
        """What is known by the names of `Stats`; the rest has its defaults."""
        values: dict[str, Any] = {"state": self._state, "source": self._source_shown}
        if self._started_ns:
            values["uptime_s"] = ((self._ended_ns or time.monotonic_ns()) - self._started_ns) / NS_PER_S
        if self._sink is not None:
            values.update(sink=self.config.sink, device=self._sink.device, play_path=self._sink.play_path)
        if self._control is not None:
            values.update(self._control.snapshot())
        if self._supervision is not None:
            values["fraction_lost"] = self._supervision.fraction_lost
        if self._receive is not None:
            values.update(self._receive.counters.snapshot())
        if self._tokens is not None:
            values["token_refreshes_total"] = self._tokens.refreshes["ok"]
        if self._grants is not None:
            values["realtime"] = dict(self._grants.said)
        return values


def _room_error(name: str, exc: BaseException) -> RoomError:
    error = RoomError(f"the {name} thread ended by {type(exc).__name__}: {exc}", room=name)
    error.__cause__ = exc
    return error
