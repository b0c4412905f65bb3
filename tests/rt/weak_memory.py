"""Every execution of a small concurrent program, under sequential consistency and under C11's weak memory.

The programs are not models of the code: they are the *source of the kernels themselves*, taken from their
``py_func`` and run with other meanings for ``load_acquire``, ``store_release``, ``copy_octets`` and the
views (`kernel_source`, `Memory`). A kernel is run again from its start with the answers it got so far, up
to its next access of memory; that makes a thread's state a short tuple and lets the explorer go back.

Two machines:

`explore(..., weak=False)`
    Interleaves single accesses, each octet of a copy by itself, on one memory that all see alike.
`explore(..., weak=True)`
    The view machine for release/acquire (Lahav, Giannarakis, Vafeiadis 2016, "Taming release-acquire
    consistency"; Kang et al. 2017, "A promising semantics for relaxed-memory concurrency", without promises):
    a location is the list of all values ever stored; a thread may still load any value not older than
    what it has seen there; an acquire load of a release store takes over all that its writer had seen.
    Stores thus become visible in any order that nothing forbids, loads may be answered early.
    Plain accesses are held to C11's own rule: two that conflict and are not ordered by happens-before are
    a data race, and a race is a violation. That covers what this machine has no other picture of, a load
    that is delayed past a later store: code without races has no such execution (RC11, Lahav et al. 2017).

An exchange reads the newest store and continues its release sequence. Sleeping is Linux's futex: `Memory.sleep` falls asleep
only where the word's newest value is the expected one, in one step against any `Memory.wake`. Nothing wakes by itself, no time
passes: a state from which no thread can go on, while one has not finished, is a lost wake-up, and a violation.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

Location = Hashable
Answer = Any


class Violation(AssertionError):
    """An execution that must not exist."""


class _Pending(Exception):
    """The program has come to an access whose answer is not known yet."""

    def __init__(self, access: tuple[Any, ...]) -> None:
        super().__init__(access)
        self.access = access


class Memory:
    """What a program sees: accesses are answered from `history`, and the first without an answer ends the run."""

    def __init__(self) -> None:
        self._history: tuple[Answer, ...] = ()
        self._at = 0

    def replay(self, history: tuple[Answer, ...]) -> None:
        self._history, self._at = history, 0

    def access(self, kind: str, order: str, location: Location = None, value: Answer = None) -> Answer:
        if self._at == len(self._history):
            raise _Pending((kind, order, location, value))
        self._at += 1
        return self._history[self._at - 1]

    def load(self, location: Location, order: str = "plain") -> Answer:
        return self.access("load", order, location)

    def store(self, location: Location, value: Answer, order: str = "plain") -> None:
        self.access("store", order, location, value)

    def exchange(self, location: Location, value: Answer, order: str = "seq_cst") -> Answer:
        """Orders are as strong as acquire and release together; `relaxed` is weaker than any kernel uses."""
        return self.access("exchange", order, location, value)

    def sleep(self, location: Location, expected: Answer) -> None:
        if self.access("sleep", "futex", location, expected) == ASLEEP:
            self.access("awake", "futex", location)

    def wake(self, location: Location) -> None:
        self.access("wake", "futex", location)

    def fence(self, order: str) -> None:
        self.access("fence", order)


#: What `Memory.sleep` is told by the machine.
ASLEEP, NOT_AS_EXPECTED = "asleep", "not as expected"


class View:
    """Stands for an array that a kernel sees: ``view[i]`` is a plain access of ``base + i``."""

    def __init__(self, memory: Memory, base: int, count: int) -> None:
        self.memory, self.base, self.shape = memory, base, (count,)

    def __getitem__(self, index: int) -> Answer:
        return self.memory.load(self.base + index)

    def __setitem__(self, index: int, value: Answer) -> None:
        self.memory.store(self.base + index, value)


def kernel_source(memory: Memory, kernel: Any, names: dict[str, Any], edits: tuple[tuple[str, str], ...] = ()) -> Callable[..., Any]:
    """The Python source of `kernel`, with our memory under it and each of `edits` (before, after) made exactly once."""
    source = textwrap.dedent(inspect.getsource(kernel.py_func))
    source = source[source.index("def ") :]
    for before, after in edits:
        if source.count(before) != 1:
            raise ValueError(
                f"{before!r} occurs {source.count(before)} times in {kernel.py_func.__name__}; it must occur once: rewrite the edit"
            )
        source = source.replace(before, after)
    scope: dict[str, Any] = {
        "view_i8": lambda base, count: View(memory, base, count),
        "view_f4": lambda base, count: View(memory, base, count),
        "load_acquire": lambda view, index: memory.load(view.base + index, "acquire"),
        "load_relaxed": lambda view, index: memory.load(view.base + index, "relaxed"),
        "store_release": lambda view, index, value: memory.store(view.base + index, value, "release"),
        "store_relaxed": lambda view, index, value: memory.store(view.base + index, value, "relaxed"),
        "exchange": lambda view, index, value: memory.exchange(view.base + index, value),
        "exchange_relaxed": lambda view, index, value: memory.exchange(view.base + index, value, "relaxed"),
        "fence_seq_cst": lambda: memory.fence("seq_cst"),
        "fence_acquire": lambda: memory.fence("acquire"),
        "fence_release": lambda: memory.fence("release"),
        **names,
    }
    exec(compile(source, kernel.py_func.__name__, "exec"), scope)
    return scope[kernel.py_func.__name__]


#: One thread: a list of calls. Each takes the thread's notes (any hashable value) and returns the next notes.
Program = list[Callable[[Any], Any]]


@dataclass(frozen=True, slots=True)
class _Thread:
    call: int  # index in the program
    notes: Any
    history: tuple[Answer, ...]
    seen: tuple[tuple[Location, int], ...] = ()  # newest store that this thread may not look behind, by location
    clock: tuple[int, ...] = ()  # vector clock: happens-before
    released: Any = None  # what a release fence froze for later relaxed stores
    owed: Any = None  # what an acquire fence would take over from earlier relaxed loads


@dataclass(frozen=True, slots=True)
class Report:
    """What an exploration found."""

    states: int
    longest_call: int  # most accesses that any one call made
    ends: frozenset[Any]  # notes of all threads at the end


def explore(programs: list[Program], memory: Memory, start: dict[Location, Answer], notes: list[Any], *, weak: bool) -> Report:
    """Walk every execution; raises `Violation` as soon as one is wrong."""
    machine = _Machine(programs, memory, weak)
    return machine.run(start, notes)


def _joined(one: tuple[Any, Any] | None, other: tuple[Any, Any] | None) -> tuple[Any, Any] | None:
    """The join of two (seen, clock) pairs."""
    if one is None or other is None:
        return one or other
    seen = dict(one[0])
    for location, time in other[0]:
        seen[location] = max(time, seen.get(location, 0))
    return tuple(sorted(seen.items())), tuple(map(max, one[1], other[1]))


class _Machine:
    def __init__(self, programs: list[Program], memory: Memory, weak: bool) -> None:
        self.programs, self.memory, self.weak = programs, memory, weak
        self.next_access: dict[Any, Any] = {}
        self.longest_call = 0

    def run(self, start: dict[Location, Answer], notes: list[Any]) -> Report:
        count = len(self.programs)
        threads = []
        for index in range(count):
            clock = tuple(int(other == index) for other in range(count))
            threads.append(_Thread(0, notes[index], (), (), clock))
        stores = {location: ((value, None),) for location, value in start.items()}
        # State: threads, all stores, last accesses for the race check, what sequentially consistent fences have seen.
        first = (tuple(threads), tuple(sorted(stores.items())), frozenset(), None)
        waiting, known, ends = [first], {first}, set()
        while waiting:
            state = waiting.pop()
            if self.weak:
                state = self._past_plain(state)
            coming = [self._next(index, thread) for index, thread in enumerate(state[0])]
            if all(access is None for access, _ in coming):
                ends.add(tuple(thread.notes for _, thread in coming))
                continue
            following = [
                after for index, (access, thread) in enumerate(coming) if access for after in self._steps(state, index, thread, access)
            ]
            if not following:
                raise Violation(f"a wake-up is lost: nobody can go on, with {[thread.notes for _, thread in coming]}")
            for after in following:
                if after not in known:
                    known.add(after)
                    waiting.append(after)
        return Report(len(known), self.longest_call, frozenset(ends))

    def _past_plain(self, state: Any) -> Any:
        """Where no thread is at a plain access: without a race they commute with all else, no other order can differ."""
        for index in range(len(self.programs)):
            access, thread = self._next(index, state[0][index])
            while access and access[1] == "plain":
                (state,) = self._steps(state, index, thread, access)
                access, thread = self._next(index, state[0][index])
        return state

    def _next(self, index: int, thread: _Thread) -> tuple[Any, _Thread]:
        """The next access of a thread, and the thread where it makes it (calls without an access are passed)."""
        while thread.call < len(self.programs[index]):
            key = (index, thread.call, thread.notes, thread.history)
            if key not in self.next_access:
                self.memory.replay(thread.history)
                try:
                    self.next_access[key] = (None, self.programs[index][thread.call](thread.notes))
                except _Pending as pending:
                    self.next_access[key] = (pending.access, None)
            access, notes = self.next_access[key]
            if access is not None:
                return access, thread
            self.longest_call = max(self.longest_call, len(thread.history))
            thread = _changed(thread, call=thread.call + 1, notes=notes, history=())
        return None, thread

    def _steps(self, state: Any, index: int, thread: _Thread, access: tuple[Any, ...]) -> list[Any]:
        kind, order, location, value = access
        _, stores, touched, fenced = state
        if kind == "fence":
            thread, fenced = _fenced(thread, index, order, fenced)
            return [self._after(state, index, thread, None, stores, touched, fenced)]
        if order == "futex":
            return self._futex(state, index, thread, kind, location, value)
        if self.weak:
            touched = _race_checked(touched, index, thread, kind, order, location)
        table = dict(stores)
        if kind == "exchange":
            return [self._exchanged(state, index, thread, order, location, value, table, touched, fenced)]
        if kind == "store":
            return [self._stored(state, index, thread, order, location, value, table, touched, fenced)]
        newest = len(table[location]) - 1
        oldest = newest if not self.weak or order == "plain" else dict(thread.seen).get(location, 0)
        after = []
        for time in range(oldest, newest + 1):
            loaded, carried = table[location][time]
            reader = thread if order == "plain" else _looked(thread, location, time)
            if order == "acquire" and carried:
                seen, clock = _joined((reader.seen, reader.clock), carried)
                reader = _changed(reader, seen=seen, clock=clock)
            elif order == "relaxed" and carried:
                reader = _changed(reader, owed=_joined(reader.owed, carried))
            after.append(self._after(state, index, reader, (loaded,), stores, touched, fenced))
        return after

    def _stored(self, state, index, thread, order, location, value, table, touched, fenced):
        before = table[location]
        if not self.weak or order == "plain":  # no older value is left to see: whoever looks without an order races
            table[location] = (*before[:-1], (value, None))
            return self._after(state, index, thread, (None,), tuple(table.items()), touched, fenced)
        thread = _looked(thread, location, len(before))
        carried = None
        if order == "release":
            carried = (thread.seen, thread.clock)
            thread = _ticked(thread, index)
        elif order == "relaxed" and thread.released:
            carried = thread.released
        table[location] = (*before, (value, carried))
        return self._after(state, index, thread, (None,), tuple(table.items()), touched, fenced)

    def _exchanged(self, state, index, thread, order, location, value, table, touched, fenced):
        """Reads the newest store, and what that carries goes on: a release sequence (C11 5.1.2.4)."""
        before = table[location]
        loaded, carried = before[-1]
        ordered = order != "relaxed"
        if self.weak:
            thread = _looked(thread, location, len(before))
            if carried and ordered:
                seen, clock = _joined((thread.seen, thread.clock), carried)
                thread = _changed(thread, seen=seen, clock=clock)
            if ordered:
                carried = _joined(carried, (thread.seen, thread.clock))
                thread = _ticked(thread, index)
            table[location] = (*before, (value, carried))
        else:
            table[location] = ((value, None),)
        return self._after(state, index, thread, (loaded,), tuple(table.items()), touched, fenced)

    def _futex(self, state, index, thread, kind, location, value):
        _, stores, touched, fenced = state
        if kind == "sleep":
            answer = ASLEEP if dict(stores)[location][-1][0] == value else NOT_AS_EXPECTED
            return [self._after(state, index, thread, (answer,), stores, touched, fenced)]
        if kind == "awake":  # only a wake gets past here
            return []
        after = self._after(state, index, thread, (None,), stores, touched, fenced)
        sleepers = [other for other, its in enumerate(state[0]) if self._next(other, its)[0] == ("awake", "futex", location, None)]
        if not sleepers:
            return [after]
        return [self._after(after, other, after[0][other], (None,), stores, touched, fenced) for other in sleepers]

    def _after(self, state, index, thread, answer, stores, touched, fenced):
        thread = _changed(thread, history=(*thread.history, *(answer or (None,))))
        threads = list(state[0])
        threads[index] = thread
        return tuple(threads), stores, touched, fenced


def _changed(thread: _Thread, **changes: Any) -> _Thread:
    values = {name: getattr(thread, name) for name in _Thread.__slots__}
    return _Thread(**{**values, **changes})


def _looked(thread: _Thread, location: Location, time: int) -> _Thread:
    seen = dict(thread.seen)
    seen[location] = time
    return _changed(thread, seen=tuple(sorted(seen.items())))


def _ticked(thread: _Thread, index: int) -> _Thread:
    return _changed(thread, clock=tuple(time + (other == index) for other, time in enumerate(thread.clock)))


def _fenced(thread: _Thread, index: int, order: str, fenced: Any) -> tuple[_Thread, Any]:
    if order in ("acquire", "seq_cst") and thread.owed:
        seen, clock = _joined((thread.seen, thread.clock), thread.owed)
        thread = _changed(thread, seen=seen, clock=clock)
    if order == "seq_cst":  # coherence travels between such fences, happens-before does not
        nothing = (0,) * len(thread.clock)
        fenced = _joined((thread.seen, nothing), fenced)
        thread = _changed(thread, seen=fenced[0])
    if order in ("release", "seq_cst"):
        thread = _ticked(_changed(thread, released=(thread.seen, thread.clock)), index)
    return thread, fenced


def _race_checked(touched: Any, index: int, thread: _Thread, kind: str, order: str, location: Location) -> Any:
    """Refuse a plain access that conflicts with an unordered one; note this access for the next check."""
    plain = order == "plain"
    for (other, where, store, was_plain), time in touched:
        conflict = where == location and other != index and (store or kind == "store") and (plain or was_plain)
        if conflict and time > thread.clock[other]:
            raise Violation(f"data race: thread {index} makes a {order} {kind} of {location}, unordered with an access of thread {other}")
    noted = dict(touched)
    noted[(index, location, kind == "store", plain)] = thread.clock[index]
    return frozenset(noted.items())
