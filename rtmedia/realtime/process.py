"""What a process has once, though several engines may wish something of it: who wished what, and how it was before.

The strongest wish wins: the shortest switch interval, the highest priority of a shared thread. A shared thread's cores are
the exception, because none is stronger: the first wish stays, and a different one is refused. What was changed is put
back when the last engine that wished it has stopped, unless somebody else has changed it in the meantime. Shared threads
outlive that engine where others, which wished nothing, go on: they are made ordinary ones, and only then the belt comes off.

It is state at module level, as few other things are in the package, because what it describes is the process's own and not an engine's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any

from rtmedia.realtime.system import Refused, System, this_system

BELT_SOFT_US = 150_000  # of computing without one rest; a block's work takes a hundredth of it


class Process:
    """The settings of one process, and who holds them.

    Notes
    -----
    Thread: any; a lock makes the calls one after another.   Real-time: no.
    Each method answers with what was granted, or raises `Refused`. `owner` is any object, compared by identity.

    Attributes
    ----------
    rtkit_refused : str
        What RealtimeKit refused with; it is not asked again until somebody asks for it by name.
    """

    def __init__(self, system: System) -> None:
        self.system = system
        self.rtkit_refused = ""
        self._lock = threading.RLock()
        self._owners: dict[str, list[Any]] = {"memory": [], "gc": [], "belt": []}
        self._intervals: list[tuple[Any, float]] = []  # who wished which
        self._interval_before = 0.0
        self._pinned: dict[int, tuple[tuple[int, ...], list[Any]]] = {}  # thread: its cores, who wished them
        self._raised: dict[int, tuple[int, list[Any]]] = {}  # thread: the priority it got, who wished one
        self._memory_said = ""
        self._others_locked = False
        self._others_froze = False
        self._frozen = 0

    def set_switch_interval(self, owner: Any, seconds: float) -> str:
        """Let waiting threads ask for the interpreter after `seconds`, or sooner where another engine wishes that."""
        with self._lock:
            if not self._intervals:
                self._interval_before = self.system.switch_interval_s()
            self._intervals.append((owner, seconds))
            best = self._shortest()
            self.system.set_switch_interval(best)
            told = f"{1000 * best:g} ms instead of {1000 * self._interval_before:g}, for the whole process"
            return told if best == seconds else f"{told}: another engine asks for less than {1000 * seconds:g}"

    def _shortest(self) -> float:
        return min(seconds for _, seconds in self._intervals)

    def lock_memory(self, owner: Any) -> str:
        """Keep all pages."""
        with self._lock:
            if not self._owners["memory"]:
                self._others_locked = self.system.locked_bytes() > 0
                self._memory_said = self.system.lock_memory()
            self._owners["memory"].append(owner)
            return self._memory_said

    def freeze_gc(self, owner: Any) -> str:
        """Put what there is out of the garbage collector's sight; each engine's start adds what came since."""
        with self._lock:
            if not self._owners["gc"]:
                self._others_froze = self.system.frozen_objects() > 0
            self._owners["gc"].append(owner)
            self._frozen = self.system.freeze_gc()
            return f"{self._frozen} objects are looked at no more"

    def arm_belt(self, owner: Any, hard_us: int | None = None) -> None:
        """Have threads put back that compute without rest; with `hard_us`, which RealtimeKit demands, killed after that."""
        with self._lock:
            soft_us = BELT_SOFT_US if hard_us is None else min(BELT_SOFT_US, hard_us * 3 // 4)
            self.system.arm_belt(soft_us, hard_us)
            if not any(held is owner for held in self._owners["belt"]):
                self._owners["belt"].append(owner)

    def set_fifo(self, owner: Any, thread: int, priority: int) -> str:
        """Make a thread real-time, unless it already is at a higher priority."""
        with self._lock:
            return self.set_priority(owner, thread, priority, lambda: self.system.set_fifo(thread, priority))

    def set_priority(self, owner: Any, thread: int, priority: int, ask: Callable[[], str]) -> str:
        """The same by `ask`, which is called without the lock and may take its time."""
        with self._lock:
            given, owners = self._raised.get(thread, (0, []))
            now = self.system.priority_of(thread) or 0
            if now > priority:
                if now == given:  # else its own maker's, such as a sound server's: not ours to put back
                    owners.append(owner)
                return f"{now}, which {'another engine' if now == given else 'somebody else'} asked for, instead of {priority}"
            foreign = now > 0 and now != given
        said = ask()
        with self._lock:
            if not foreign and (got := self.system.priority_of(thread)):
                _, owners = self._raised.get(thread, (0, []))
                self._raised[thread] = (got, [*owners, owner])
        return said

    def set_cpus(self, owner: Any, thread: int, cpus: tuple[int, ...]) -> str:
        """Restrict a thread to cores, unless another engine wished others for it."""
        with self._lock:
            wished, owners = self._pinned.get(thread, (cpus, []))
            if owners and set(wished) != set(cpus):
                raise Refused(f"the thread is shared with an engine that has it on {_list(wished)}: ask for the same cores in both")
            got = self.system.set_cpus(thread, cpus)
            self._pinned[thread] = (wished, [*owners, owner])
            missing = tuple(sorted(set(cpus) - set(got)))
            return f"{_list(got)}; {_list(missing)} may not be used" if missing else _list(got)

    def release(self, owner: Any) -> None:
        """Forget the wishes of `owner`, and put back what nobody wishes any more."""
        with self._lock:
            self._release_interval(owner)
            if self._was_last("memory", owner) and not self._others_locked:
                self.system.unlock_memory()
            # Whoever froze more since then owns the frozen heap now: the collector has no names on it.
            if self._was_last("gc", owner) and not self._others_froze and self.system.frozen_objects() <= self._frozen:
                self.system.unfreeze_gc()
            calm = self._release_threads(owner)
            if self._was_last("belt", owner) and calm:
                self.system.disarm_belt()
            for thread, (_, owners) in list(self._pinned.items()):
                _remove(owners, owner)
                if not owners:
                    del self._pinned[thread]

    def _release_threads(self, owner: Any) -> bool:
        """Make ordinary what nobody wishes real-time any more and nobody else has changed; False where one could not be."""
        for thread, (given, owners) in list(self._raised.items()):
            _remove(owners, owner)
            if owners:
                continue
            with suppress(Refused):
                if self.system.priority_of(thread) == given:  # not where it has ended, or has been put back already
                    self.system.step_down(thread)
                del self._raised[thread]
        return all(owners for _, owners in self._raised.values())

    def _release_interval(self, owner: Any) -> None:
        mine = [wish for wish in self._intervals if wish[0] is owner]
        if not mine:
            return
        untouched = abs(self.system.switch_interval_s() - self._shortest()) < 1e-6  # Python keeps whole microseconds
        self._intervals = [wish for wish in self._intervals if wish[0] is not owner]
        if untouched:
            self.system.set_switch_interval(self._shortest() if self._intervals else self._interval_before)

    def _was_last(self, setting: str, owner: Any) -> bool:
        return _remove(self._owners[setting], owner) and not self._owners[setting]


def _remove(owners: list[Any], owner: Any) -> bool:
    """Take `owner` out, as often as it is there; True where it was."""
    kept = [held for held in owners if held is not owner]
    found = len(kept) < len(owners)
    owners[:] = kept
    return found


def _list(cpus: tuple[int, ...]) -> str:
    return f"core{'' if len(cpus) == 1 else 's'} {','.join(map(str, cpus))}"


@lru_cache(maxsize=1)
def this_process() -> Process:
    """The one that we are."""
    return Process(this_system())
