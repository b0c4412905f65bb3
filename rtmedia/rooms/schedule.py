"""The control thread: calls whoever is due, for all engines of the process.

How to think about it. Everything that may be late (captions, metrics, the watchdog) is a *look* that takes a fraction of a
millisecond and says itself when the next is due. One thread makes all of them in turn: three hundred that wake ten times a
second each would cost more in wakes than in work. Looks that are not urgent are put off to common times, so that one
wake serves many. A look must not wait for anything, and deals with its own failures.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger("rtmedia")

#: A look that is due later than this is put off to the next common time.
URGENT_S, GRID_S = 0.05, 0.02
#: With more owners than this, looks that are not urgent come less often, down to a quarter: one that finds more costs hardly more, and
#: the rings that they empty hold a minute.
MANY, MOST_TIMES = 64, 4.0


class Appointment:
    """One owner's looks.

    Notes
    -----
    Thread: any.   Real-time: no.
    """

    def __init__(self, schedule: Schedule, look: Callable[[], float | None]) -> None:
        self._schedule = schedule
        self.look: Callable[[], float | None] | None = look
        self.due_s = 0.0

    def soon(self) -> None:
        """Have a look made now."""
        self._schedule.put(self, 0.0)

    def cancel(self, timeout_s: float) -> bool:
        """No look begins from now on; False when one was under way and did not end in time. Any number of times."""
        return self._schedule.cancel(self, timeout_s)


class Schedule:
    """The thread, and who is called when.

    Notes
    -----
    Thread: any.   Real-time: no.
    """

    name = "rtm-control"

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._waiting: list[tuple[float, int, Appointment]] = []
        self._number = itertools.count()
        self._looking: Appointment | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def appoint(self, look: Callable[[], float | None]) -> Appointment:
        """Have `look` called now, and again after as many seconds as it returns; None: never again."""
        appointment = Appointment(self, look)
        self.put(appointment, 0.0)
        return appointment

    def put(self, appointment: Appointment, after_s: float) -> None:
        """Make the next look in `after_s`, whatever was arranged."""
        with self._changed:
            self._put(appointment, after_s)

    def _put(self, appointment: Appointment, after_s: float) -> None:
        if appointment.look is None:
            return
        due_s = time.monotonic() + after_s
        if after_s > URGENT_S:
            due_s += after_s * (min(MOST_TIMES, max(1.0, len(self._waiting) / MANY)) - 1.0)
            due_s += -due_s % GRID_S
        appointment.due_s = due_s
        heapq.heappush(self._waiting, (due_s, next(self._number), appointment))
        if self._waiting[0][2] is appointment:
            self._changed.notify_all()

    def cancel(self, appointment: Appointment, timeout_s: float) -> bool:
        """See `Appointment.cancel`."""
        with self._changed:
            appointment.look = None
            if self.is_current:  # a look cancels itself
                return True
            return self._changed.wait_for(lambda: self._looking is not appointment, max(0.0, timeout_s))

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is the control thread."""
        return threading.current_thread() is self._thread

    def stop(self, timeout_s: float) -> bool:
        """End the thread; whether it has ended, or will when this look, which asks for it, returns."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if not self.is_current:
            self._thread.join(max(0.0, timeout_s))
        return self.is_current or not self._thread.is_alive()

    def _run(self) -> None:
        while (appointment := self._next()) is not None:
            look = appointment.look
            after_s = None
            try:
                after_s = look() if look is not None else None
            except Exception:
                log.exception("a look of the control thread failed; it is not made again")
            del look
            with self._changed:
                self._looking = None
                if after_s is None:
                    appointment.look = None
                elif appointment.due_s == 0.0:  # nobody wanted another time meanwhile
                    self._put(appointment, after_s)
                if appointment.look is None:
                    self._changed.notify_all()  # somebody may wait for the end of it
            del appointment

    def _next(self) -> Appointment | None:
        """Who is due, when that is; None at the end."""
        with self._changed:
            while not self._stopped:
                left_s = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if left_s is not None and left_s <= 0.0:
                    due_s, _, appointment = heapq.heappop(self._waiting)
                    if appointment.look is not None and due_s == appointment.due_s:  # else another time was arranged
                        appointment.due_s = 0.0
                        self._looking = appointment
                        return appointment
                else:
                    self._changed.wait(left_s)
            return None
