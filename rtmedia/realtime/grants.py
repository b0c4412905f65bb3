"""An engine's wish and what came of it: asks, notes every answer in words, and never raises.

Two moments. `Grants.prepare`, before any thread is started: what the process has once (memory, interpreter). Locking memory
reads all of it, which takes part of a second, and nobody is waiting for sound yet. `Grants.apply`, for threads that run;
`Grants.apply_aside` where whoever asks may not wait for a bus.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from rtmedia.realtime import Realtime
from rtmedia.realtime.process import Process, this_process
from rtmedia.realtime.rtkit import RealtimeKit
from rtmedia.realtime.system import Refused

Answer = TypeVar("Answer")

GRANTED, REFUSED, LOST = "granted", "refused", "lost"


def _on_a_thread(call: Callable[[], None]) -> None:
    threading.Thread(target=call, name="rtm-grants", daemon=True).start()


class Grants:
    """What one engine asked for and got.

    Parameters
    ----------
    settings
        The wish.
    process, rtkit
        Whom to ask; tests give others.
    aside
        How to call something without waiting for it: on a thread of its own unless a test says otherwise.

    Attributes
    ----------
    said : dict of str
        By setting (``"scheduling.render"``, ``"cpus.decode"``, ``"memory"``, ``"switch_interval"``, ``"gc"``, ``"belt"``): an
        answer that begins with ``granted``, ``refused:`` or ``lost:``.

    Notes
    -----
    Thread: one at a time; the engine's callers and its control thread.   Real-time: no.
    `prepare` and `apply` may wait for seconds where a bus is stuck, `apply_aside` and `look` do not.
    """

    def __init__(
        self,
        settings: Realtime,
        process: Process | None = None,
        rtkit: RealtimeKit | None = None,
        aside: Callable[[Callable[[], None]], None] = _on_a_thread,
    ) -> None:
        self.settings = settings
        self.said: dict[str, str] = {}
        self._process = process if process is not None else this_process()
        self._rtkit = rtkit if rtkit is not None else RealtimeKit()
        self._terms: tuple[int, int] | None = None
        self._realtime: dict[str, int] = {}  # threads that were granted it
        self._asked: dict[str, int] = {}
        self._aside = aside
        self._answers: deque[tuple[Mapping[str, int], dict[str, str]]] = deque()  # from aside, not told yet
        self._over = False

    def prepare(self) -> dict[str, str]:
        """Ask for what the process has once; returns the answers."""
        wish, process = self.settings, self._process
        found: dict[str, str] = {}
        if wish.scheduling == "rtkit":  # whoever names it may have changed what it says to us
            process.rtkit_refused = ""
        if wish.switch_interval_ms is not None:
            seconds = wish.switch_interval_ms / 1000.0
            found["switch_interval"] = _answer(lambda: process.set_switch_interval(self, seconds))
        if wish.freeze_gc:
            found["gc"] = _answer(lambda: process.freeze_gc(self))
        if wish.lock_memory:
            found["memory"] = _answer(lambda: process.lock_memory(self))
        self.said.update(found)
        return found

    def apply(self, threads: Mapping[str, int]) -> dict[str, str]:
        """Ask for these threads, by name and the system's number (0: not known); returns the answers.

        A thread that was asked for under the same number is left alone.
        """
        new = self._new(threads)
        return self._take(new, self._ask(new))

    def apply_aside(self, threads: Mapping[str, int]) -> dict[str, str]:
        """As `apply`, without waiting for the answers; returns those that have come since the last call."""
        if new := self._new(threads):
            try:
                self._aside(lambda: self._ask_aside(new))
            except RuntimeError:  # no thread is to be had: too many, or the interpreter is ending
                self._ask_aside(new)
        found: dict[str, str] = {}
        while self._answers:
            found.update(self._take(*self._answers.popleft()))
        return found

    def _new(self, threads: Mapping[str, int]) -> dict[str, int]:
        """Those that have not been asked for under this number; from now on they have."""
        new = {name: thread for name, thread in threads.items() if self._asked.get(name) != thread}
        self._asked.update(new)
        return new

    def _ask_aside(self, threads: Mapping[str, int]) -> None:
        self._answers.append((threads, self._ask(threads)))
        if self._over:  # the engine did not wait for us, and nobody else would give this back
            self._process.release(self)

    def _take(self, threads: Mapping[str, int], found: dict[str, str]) -> dict[str, str]:
        """Keep these answers, but for threads that another one has taken the place of."""
        gone = {name for name, thread in threads.items() if self._asked[name] != thread}
        found = {setting: said for setting, said in found.items() if setting.rpartition(".")[2] not in gone}
        for name, thread in threads.items():
            if found.get(f"scheduling.{name}", "").startswith(GRANTED):
                self._realtime[name] = thread
        self.said.update(found)
        return found

    def _ask(self, threads: Mapping[str, int]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, thread in threads.items():
            if self.settings.scheduling != "off":
                found[f"scheduling.{name}"] = self._schedule(name, thread, found)
            if self.settings.cpus:
                found[f"cpus.{name}"] = _answer(lambda thread=thread: self._process.set_cpus(self, _known(thread), self.settings.cpus))  # type: ignore[misc]
        return found

    def _schedule(self, name: str, thread: int, found: dict[str, str]) -> str:
        if self.settings.scheduling == "rtkit" and not self._process.system.has_rtkit():
            return f"{REFUSED}: {self._process.system.name} has no RealtimeKit: choose 'auto'"
        ways: dict[str, Callable[[], str]] = {}
        priority = self.settings.priority_of(name)
        if self.settings.scheduling in ("auto", "fifo"):
            ways["fifo"] = lambda: self._directly(_known(thread), priority, found)
        if self.settings.scheduling in ("auto", "rtkit") and self._process.system.has_rtkit():
            ways["rtkit"] = lambda: self._through_rtkit(_known(thread), priority)
        refusals = []
        for way in ways.values():
            said = _answer(way)
            if said.startswith(GRANTED):
                return said
            refusals.append(said.removeprefix(f"{REFUSED}: "))
        return f"{REFUSED}: {'; '.join(refusals)}"

    def _directly(self, thread: int, priority: int, found: dict[str, str]) -> str:
        said = self._process.set_fifo(self, thread, priority)
        try:
            self._process.arm_belt(self)
        except Refused as exc:  # we can do without: our loops sleep, and the kernel leaves 5 % of a core to the rest
            found["belt"] = f"{REFUSED}: {exc}"
        return said

    def _through_rtkit(self, thread: int, priority: int) -> str:
        highest, hard_us = self._terms = self._terms or self._rtkit_says(self._find_terms)
        self._process.arm_belt(self, hard_us)  # its condition; without our handler the limit would end the process
        lower = f" ({highest} is the most it gives)" if priority > highest else ""
        priority = min(priority, highest)

        def ask() -> str:
            self._rtkit_says(lambda: self._make_realtime(thread, priority, hard_us))
            return f"SCHED_RR {priority} by RealtimeKit{lower}"

        return self._process.set_priority(self, thread, priority, ask)

    def _find_terms(self) -> tuple[int, int]:
        """They are told only where the service is; `auto` looks further, because what follows cannot be taken back."""
        terms = self._rtkit.terms()
        if self.settings.scheduling == "auto":
            self._rtkit.look()
        return terms

    def _make_realtime(self, thread: int, priority: int, hard_us: int) -> None:
        try:
            self._rtkit.make_realtime(thread, priority)
        except Refused as exc:
            stays = f"its condition stays: a hard RLIMIT_RTTIME of at most {hard_us // 1000} ms, which no process can raise again"
            raise Refused(f"{exc} ({stays})") from exc

    def _rtkit_says(self, ask: Callable[[], Answer]) -> Answer:
        """RealtimeKit's answer; one that has refused is not asked again, by any engine."""
        if self._process.rtkit_refused:
            raise Refused(self._process.rtkit_refused)
        try:
            return ask()
        except Refused as exc:
            self._process.rtkit_refused = str(exc)
            raise

    def look(self) -> dict[str, str]:
        """What was granted and has been taken away since; each loss is told once."""
        lost: dict[str, str] = {}
        for name, thread in list(self._realtime.items()):
            if self._process.system.priority_of(thread) == 0:
                del self._realtime[name]
                lost[f"scheduling.{name}"] = f"{LOST}: it computed for too long without a rest, or somebody took it back"
        if lost and self._realtime:
            with suppress(Refused):  # each signal moves the limit up by a second, and the other threads need it where it was
                self._process.arm_belt(self, self._terms[1] if self._terms is not None else None)
        self.said.update(lost)
        return lost

    def give_back(self) -> None:
        """Put back what no other engine wishes: what the process has once, and threads that go on for others. Cores end with the thread."""
        self._over = True
        self._process.release(self)


def problems(said: Mapping[str, str]) -> str:
    """Those answers that somebody should know, in one line; empty where all is well."""
    names: dict[str, list[str]] = {}
    for name, answer in said.items():
        if not answer.startswith(GRANTED):
            names.setdefault(answer, []).append(name)
    return "; ".join(f"{', '.join(those)} {answer}" for answer, those in names.items())


def _known(thread: int) -> int:
    if thread <= 0:
        raise Refused("the system does not say which thread it is")
    return thread


def _answer(ask: Callable[[], str]) -> str:
    """What was granted, in words, or why not. Nothing that a system answers may end an engine."""
    try:
        return f"{GRANTED} {ask()}"
    except Refused as exc:
        return f"{REFUSED}: {exc}"
    except Exception as exc:
        return f"{REFUSED}: {type(exc).__name__}: {exc}"
