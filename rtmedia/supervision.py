"""What may be late, for one engine: captions, metrics, real-time settings, and a look at who does not come round.

The control thread calls `Supervision.look` (`rtmedia.rooms.schedule`); each look says itself when the next is due. Whoever
cannot wait for it (the end of an engine, somebody who asks for statistics) calls `catch_up`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rtmedia.events import Event, Problem
from rtmedia.rooms.metrics import QualityLine
from rtmedia.rooms.watchdog import Watchdog
from rtmedia.units import NS_PER_S

if TYPE_CHECKING:
    from rtmedia.capture.writing import Capture
    from rtmedia.realtime.grants import Grants
    from rtmedia.rooms.control import Control
    from rtmedia.rooms.pool import Seat
    from rtmedia.rooms.schedule import Appointment

log = logging.getLogger("rtmedia")
metrics_log = logging.getLogger("rtmedia.metrics")

LOOK_S = 0.25  # between two looks at what may be late, and
SOON_S = 0.02  # while a caption waits for its words, or the end for the last of them
LOCK_LIMIT_S = 0.1  # for somebody else's look


class Supervision:
    """The looks at one engine.

    Parameters
    ----------
    control : Control
    sink
        Its ``failure`` ends the engine.
    emit, fail, finish, snapshot
        The engine's: take an event; end by a failure of the named room; end because all has been played; all figures.
    stopping, receive_done
        Set when the engine ends; when nothing more will be received.
    metrics_interval_s : float
        0: no lines.

    Attributes
    ----------
    fraction_lost : float
        Over the last interval of the metrics.

    Notes
    -----
    Thread: `look` is the control thread's, all else any.   Real-time: no.
    """

    def __init__(
        self,
        control: Control,
        sink: Any,
        *,
        emit: Callable[[Event], None],
        fail: Callable[[str, BaseException], None],
        finish: Callable[[], None],
        snapshot: Callable[[], dict[str, Any]],
        stopping: threading.Event,
        receive_done: threading.Event,
        metrics_interval_s: float,
        capture: Capture | None = None,
        grants: Grants | None = None,
    ) -> None:
        self.fraction_lost = 0.0
        self._control, self._sink, self._capture, self._grants = control, sink, capture, grants
        self._emit, self._fail, self._finish, self._snapshot = emit, fail, finish, snapshot
        self._stopping, self._receive_done = stopping, receive_done
        self._interval_ns = int(metrics_interval_s * NS_PER_S)
        self._lock = threading.Lock()  # captions come from one thread and leave on another
        self._quality = QualityLine()
        self._watchdog = Watchdog(time.monotonic_ns())
        self._metrics_ns = time.monotonic_ns()
        self._seat: Seat | None = None
        self._looks: Appointment | None = None

    def begin(self, seat: Seat) -> None:
        """Have the control thread look, from now on."""
        self._seat = seat
        self._looks = seat.appoint(self.look)

    def end(self, timeout_s: float) -> bool:
        """No look begins from now on; False when one was under way and did not end in time."""
        return self._looks is None or self._looks.cancel(timeout_s)

    def take_transcript(self, **transcript: Any) -> None:
        """Keep a caption until its words are heard (`rtmedia.ports.TranscriptWriter`)."""
        if self._capture is not None:
            self._capture.take_transcript(transcript)
        with self._lock:
            self._control.captions.add(**transcript)
        if self._looks is not None:
            self._looks.soon()

    def grant(self, grants: Grants, threads: Mapping[str, int]) -> None:
        """Ask for the real-time settings of these threads, which may take seconds; the device's follows when it is known."""
        self.tell_refused(grants.apply(threads))

    def tell_refused(self, said: Mapping[str, str]) -> None:
        """Nothing that was asked for is dropped in silence, and nothing that is refused ends an engine."""
        from rtmedia.realtime.grants import problems

        if told := problems(said):
            log.warning("real-time settings: %s", told)
            self._emit(Problem(time.monotonic_ns(), "realtime", told))

    def catch_up(self) -> bool:
        """Take all telemetry now; False where that failed: an end must come all the same."""
        if self._lock.acquire(timeout=LOCK_LIMIT_S):
            try:
                events = self._control.poll(time.monotonic_ns(), last=True)[0]
            except Exception as exc:
                log.error("a look at the telemetry failed: %s: %s", type(exc).__name__, exc)
                return False
            finally:
                self._lock.release()
            for event in events:
                self._emit(event)
        return True

    def look(self) -> float | None:
        """What the control thread does for an engine; returns in how many seconds it shall do it again, None for not at all."""
        try:
            return self._look()
        except BaseException as exc:
            self._fail("control", exc)
            return None

    def _look(self) -> float | None:
        if self._stopping.is_set():
            return None
        now_ns = time.monotonic_ns()
        with self._lock:
            events, due_ns = self._control.poll(now_ns)
            waiting = self._control.captions.waiting
        for event in events:
            self._emit(event)
        if self._control.ended and self._receive_done.is_set():  # until then late transcripts may come
            self._finish()
            return None
        failure = getattr(self._sink, "failure", None)
        if failure is not None:
            self._fail("play", failure)
            return None
        if self._interval_ns and now_ns - self._metrics_ns >= self._interval_ns:
            if metrics_log.isEnabledFor(logging.INFO):
                metrics_log.info("%s", self._quality.line(self._snapshot(), (now_ns - self._metrics_ns) / NS_PER_S))
            else:
                self._quality.count(*self._control.expected_and_lost())
            self.fraction_lost = self._quality.fraction_lost
            self._metrics_ns = now_ns
        self._watch(now_ns)
        if due_ns is not None:
            return min(LOOK_S, max(0.0005, (due_ns - now_ns) / NS_PER_S))
        return SOON_S if waiting or self._receive_done.is_set() else LOOK_S

    def _watch(self, now_ns: int) -> None:
        """Report what does not come round, a capture that ended, and what was asked for and taken away."""
        play = self._control.line.play
        if self._capture is not None and (problem := self._capture.problem()):
            self._emit(Problem(now_ns, "capture", f"the capture ends here: {problem}"))
        if self._grants is not None:
            # Aside: a bus may be stuck for seconds, and this thread is every engine's.
            self.tell_refused(self._grants.apply_aside({"play": play.thread_id} if play.thread_id else {}))
            self.tell_refused(self._grants.look())
        alive = {**(self._seat.alive_ns() if self._seat is not None else {}), "play": play.alive_ns}
        for name, late_s in self._watchdog.late(alive, now_ns):
            where = f"the sound device {self._sink.device!r}" if name == "play" else f"the {name} thread"
            self._emit(Problem(now_ns, f"{name}_stuck", f"{where} has not come round for {late_s:.1f} s"))
