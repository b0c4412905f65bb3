"""What a machine may grant the compiled threads: the wish, checked. Asking for it is `rtmedia.realtime.grants`.

Nothing here is needed on a machine that is not overloaded: the compiled threads sleep most of the time, and the scheduler
serves those who sleep first. The settings are for the rest of the days. Each costs something, which ``docs/realtime.md``
explains, and none is on unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rtmedia.errors import ConfigError

SCHEDULING = ("auto", "fifo", "rtkit", "off")
PRIORITIES = (1, 98)  # Linux has 1 to 99; its own watchdog lives at 99 and must outrank us
SWITCH_INTERVAL_MS = (0.05, 1000.0)
PRIORITY = 10  # unless another one is given
LARGEST_CPU = 8191  # the most that a Linux kernel can be built for


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True)
class Realtime:
    """What to ask of the machine and of the process, when an engine starts. What is not granted is told, never raised.

    Parameters
    ----------
    scheduling
        Real-time scheduling of the compiled threads (decode, render, the device's). ``"fifo"``: directly, which RLIMIT_RTPRIO
        or root allows; ``"rtkit"``: through RealtimeKit, which desktops have; ``"auto"``: the one, else the other; ``"off"``.
        On Windows any of the first three is the highest thread priority without a driver's help.
    priority
        Of the device's thread, 1 to 98. Rendering is one below and decoding two: the nearer the deadline, the higher.
        It has a meaning only together with `scheduling`.
    lock_memory
        Keep the whole process in memory: nothing is swapped out or read from the disk again.
    cpus
        Cores that the compiled threads may use; empty: all. Numbers as in ``/proc/cpuinfo``, from 0.
    switch_interval_ms
        ``sys.setswitchinterval``: after how long a Python thread that waits is given the interpreter. It is the whole process's.
        No compiled thread waits for the interpreter; the thread that reads the socket does.
    freeze_gc
        ``gc.collect(); gc.freeze()`` once all is built: no later collection looks at what was there before.

    Raises
    ------
    ConfigError
        A value that no machine could grant, or a priority for threads that shall stay ordinary ones.

    Notes
    -----
    Thread: any.   Real-time: no.
    `Stats.realtime` says what was granted and what was refused and why; a refusal is also a `Problem` event and a warning in the log.
    """

    scheduling: Literal["auto", "fifo", "rtkit", "off"] = "off"
    priority: int = PRIORITY
    lock_memory: bool = False
    cpus: tuple[int, ...] = ()
    switch_interval_ms: float | None = None
    freeze_gc: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.cpus, Iterable) and not isinstance(self.cpus, str):
            object.__setattr__(self, "cpus", tuple(self.cpus))
        _check(self.scheduling in SCHEDULING, f"scheduling is {self.scheduling!r}; choose one of {', '.join(SCHEDULING)}")
        low, high = PRIORITIES
        _check(
            _whole(self.priority) and low <= self.priority <= high, f"priority is {self.priority!r}; it must be between {low} and {high}"
        )
        _check(
            self.scheduling != "off" or self.priority == PRIORITY,
            f"priority is {self.priority}, but scheduling is 'off', so that no thread would have it: give scheduling='auto' too",
        )
        _check(isinstance(self.lock_memory, bool), f"lock_memory is {self.lock_memory!r}; it must be True or False")
        _check(isinstance(self.freeze_gc, bool), f"freeze_gc is {self.freeze_gc!r}; it must be True or False")
        good = isinstance(self.cpus, tuple) and all(_whole(cpu) and 0 <= cpu <= LARGEST_CPU for cpu in self.cpus)
        _check(good, f"cpus is {self.cpus!r}; give numbers of cores between 0 and {LARGEST_CPU}, such as (2, 3)")
        _check(len(set(self.cpus)) == len(self.cpus), f"cpus is {self.cpus!r}; name each core once")
        least, most = SWITCH_INTERVAL_MS
        value = self.switch_interval_ms
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        _check(
            value is None or (number and least <= value <= most),
            f"switch_interval_ms is {value!r}; it must be between {least} and {most:g} (Python's own is 5)",
        )

    @property
    def asks(self) -> bool:
        """Whether anything at all is asked for."""
        return self != Realtime()

    def priority_of(self, thread: str) -> int:
        """Of ``"play"``, ``"render"`` or ``"decode"``."""
        return max(1, self.priority - {"play": 0, "render": 1}.get(thread, 2))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
