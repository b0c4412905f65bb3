"""The threads that engines share: as few as carry their rooms, however many there are.

How to think about it. There is one pool, made when the first user comes and gone when the last has left: this module's
``_process`` belongs to the process and not to an engine, as PortAudio's own initialisation does, and is counted in the same
way. (What else does: `rtmedia.io.together`, `rtmedia.realtime.process`.) The pool's threads::

    rtm-decode                    all wire rings → packet rings
    rtm-render, rtm-render-2, …   packet rings → audio rings; one for each `ROOMS_PER_THREAD` rooms, as far as there are cores
    rtm-play                      the device of all sinks that have no clock of their own
    rtm-control                   Python: what may be late (`rtmedia.rooms.schedule`)

Each of the compiled ones walks a `rtmedia.rooms.table.Table` in a loop that it enters once. An engine's part of the pool
is a `Seat`: its two rooms' places, and its looks. A sink's is a `Paced`. Whoever has one leaves it within a stated time,
and learns whether the loop has let go; where it has not, the room's memory is kept until it has, so that nothing is ever read
that is no longer there.

A child process made by ``fork`` has the parent's memory but none of its threads: it forgets the pool, and what it has
inherited of engines is dead.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rtmedia.ports import Block
from rtmedia.rooms.loops import decode_loop, paced_loop, render_loop
from rtmedia.rooms.play import PACED_DTYPE
from rtmedia.rooms.schedule import Appointment, Schedule
from rtmedia.rooms.table import Table
from rtmedia.rt.clock import now_ns
from rtmedia.rt.memory import aligned_zeros
from rtmedia.rt.ring import FrameRing

if TYPE_CHECKING:
    from rtmedia.rooms.line import Line
    from rtmedia.rooms.play import Play

#: A render thread gets so many rooms before another one is begun. A whole block with the default effects takes 17 to 25 µs at
#: 16 kHz, so sixteen take 3 to 4 % of their 10 ms. The last of them comes well within the audio that waits for the device also
#: where all cost several times that: splices that are searched for, 48 kHz, stereo, effects of plug-ins.
ROOMS_PER_THREAD = 16

_LEAVE_S = 0.2  # of rooms that could not all get a place
_LEAST_S = 0.01  # for a thread that has been told to leave, however late it is


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


class Walker:
    """A compiled thread and the table that it walks.

    Attributes
    ----------
    native_id : int
        The system's number of the thread.
    hangs : bool
        It has not let go of a room in time; it gets no other one until it has.

    Notes
    -----
    Thread: any one at a time.   Real-time: no; what its own thread runs is.
    """

    def __init__(self, name: str, loop: Callable[[int], Any]) -> None:
        self.name = name
        self.table = Table()
        self._loop = loop
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self.native_id: int = self._thread.native_id or 0

    @property
    def hangs(self) -> bool:
        return self.table.hangs

    def _run(self) -> None:
        self._loop(self.table.address)

    def stop(self, timeout_s: float) -> bool:
        """Have the thread leave; whether it has."""
        self.table.stop()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


class Pool:
    """All that a process's engines share.

    Notes
    -----
    Thread: any, with the process's lock held (but `stop`).   Real-time: no.
    """

    def __init__(self) -> None:
        self.users = 0
        self.walkers: list[Walker] = []
        self._schedule: Schedule | None = None

    def walker(self, kind: str) -> Walker:
        """Who takes one room more of `kind`: ``"decode"``, ``"render"`` or ``"play"``."""
        name, loop = f"rtm-{kind}", {"decode": decode_loop, "render": render_loop, "play": paced_loop}[kind]
        known = [walker for walker in self.walkers if walker.name.startswith(name)]
        able = [walker for walker in known if not walker.hangs]
        least = min(able, key=lambda walker: len(walker.table), default=None)
        full = least is not None and kind == "render" and len(least.table) >= ROOMS_PER_THREAD and len(able) < usable_cores()
        if least is None or full:
            least = Walker(f"{name}-{len(known) + 1}" if known else name, loop)
            self.walkers.append(least)
        return least

    def schedule(self) -> Schedule:
        """The control thread, begun if it is not there."""
        if self._schedule is None:
            self._schedule = Schedule()
        return self._schedule

    def stop(self, deadline: float) -> list[str]:
        """End all threads; returns who did not leave in time. Without the lock: nobody else has the pool any more."""
        for walker in self.walkers:
            walker.table.stop()
        threads: list[Walker | Schedule] = [*self.walkers, *([self._schedule] if self._schedule is not None else [])]
        return [thread.name for thread in threads if not thread.stop(max(_LEAST_S, deadline - time.monotonic()))]


class _Process:
    """What belongs to the process: its pool, if it has one, and the lock around every change of it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: a child has one thread only, and perhaps a lock that nobody will ever release."""
        self.lock = threading.Lock()
        self.pool: Pool | None = None


_process = _Process()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.forget)


def threads() -> dict[str, int]:
    """The compiled threads that run: name → the system's number (``threading.get_native_id``). Thread: any."""
    with _process.lock:
        return {walker.name: walker.native_id for walker in _process.pool.walkers} if _process.pool is not None else {}


class Places:
    """One user's rooms in the tables of the pool; the pool lives while anybody has one.

    Parameters
    ----------
    rooms
        Of each the kind (`Pool.walker`), the address, and what keeps its memory.

    Notes
    -----
    Thread: any.   Real-time: no.
    """

    def __init__(self, *rooms: tuple[str, int, object]) -> None:
        self._made_by = os.getpid()
        self._leaving = threading.Lock()
        self._behind: list[str] | None = None
        self.taken: dict[str, tuple[Walker, int]] = {}
        with _process.lock:
            self._pool = _process.pool = _process.pool or Pool()
            self._pool.users += 1
            try:
                for kind, address, owner in rooms:
                    walker = self._pool.walker(kind)
                    self.taken[kind] = (walker, walker.table.put(address, owner))
                return
            except BaseException as exc:  # a thread that could not be started, a table that is full
                failure = exc
        self.leave(_LEAVE_S)
        raise failure

    def bell(self, kind: str) -> tuple[int, int, object]:
        """How the room of `kind` is called: the addresses of its ready word and of its table's bell, and who keeps both."""
        walker, place = self.taken[kind]
        return walker.table.ready_address(place), walker.table.bell.address, walker.table

    def alive_ns(self, kind: str) -> int:
        """When the thread that walks the room of `kind` last came round."""
        return self.taken[kind][0].table.alive_ns

    def schedule(self) -> Schedule:
        """The pool's control thread."""
        with _process.lock:
            return self._pool.schedule()

    def leave(self, timeout_s: float) -> list[str]:
        """Take the rooms out; returns the names of the threads that did not let go in time. Any number of times, from any thread."""
        if os.getpid() != self._made_by:  # a child of the process in which these threads run
            return []
        deadline = time.monotonic() + timeout_s
        with self._leaving:
            if self._behind is None:
                for walker, place in self.taken.values():
                    walker.table.part(place)
                # All of them at once: one that hangs must not use up the others' time.
                stuck = [walker.name for walker, place in self.taken.values() if not walker.table.left(place, deadline - time.monotonic())]
                self._behind = stuck + [name for name in self._release(deadline) if name not in stuck]
            return self._behind

    def _release(self, deadline: float) -> list[str]:
        """One user less; the last one stops the threads. Returns who did not leave in time."""
        with _process.lock:
            self._pool.users -= 1
            if self._pool.users:
                return []
            if _process.pool is self._pool:
                _process.pool = None
        return self._pool.stop(deadline)


class Seat:
    """An engine's rooms in the pool.

    Parameters
    ----------
    line
        Its decode and render rooms are walked from now on.
    keep
        What else holds memory that these rooms use.

    Notes
    -----
    Thread: any.   Real-time: no.
    """

    def __init__(self, line: Line, keep: object = None) -> None:
        self._places = Places(("decode", line.decode.address, (line, keep)), ("render", line.render.address, (line, keep)))
        line.decode.answer_to(*self._places.bell("decode"))
        line.play.answer_to(*self._places.bell("render"))
        line.play.make_paced = Paced

    def appoint(self, look: Callable[[], float | None]) -> Appointment:
        """Have `look` called by the control thread: see `Schedule.appoint`. Cancel it before leaving."""
        return self._places.schedule().appoint(look)

    def alive_ns(self) -> dict[str, int]:
        """When the threads last came round, by room. Thread: any."""
        return {kind: self._places.alive_ns(kind) for kind in ("decode", "render")}

    def threads(self) -> dict[str, int]:
        """The system's numbers of the compiled threads that walk our rooms, by room. They walk those of other engines too."""
        return {kind: walker.native_id for kind, (walker, _) in self._places.taken.items()}

    def leave(self, timeout_s: float) -> list[str]:
        """End it; returns the names of the threads that did not let go in time. Any number of times."""
        return self._places.leave(timeout_s)


class Paced:
    """A sink without a clock of its own, in the pool.

    Parameters
    ----------
    play
        Who is asked.
    block
        For how much, and where it goes.
    period_ns
        How often. All sinks of one period are asked at the same time: at its multiples on the monotonic clock.
    capture
        Takes a copy of all sound, if given.

    Notes
    -----
    Thread: any.   Real-time: no; the sink is asked by ``rtm-play``, which is.
    """

    def __init__(self, play: Play, block: Block, period_ns: int, capture: FrameRing | None) -> None:
        record = aligned_zeros(1, PACED_DTYPE)
        record["play"], record["block"], record["frames"] = play.address, block.ctypes.data, block.shape[0]
        record["period_ns"], record["due_ns"] = period_ns, (now_ns() // period_ns + 1) * period_ns
        record["capture"] = capture.address if capture is not None else 0
        self._places = Places(("play", int(record.ctypes.data), (record, play, block, capture)))

    def stop(self, timeout_s: float) -> bool:
        """End it; False when the thread did not let go in time. Any number of times."""
        return not self._places.leave(timeout_s)
