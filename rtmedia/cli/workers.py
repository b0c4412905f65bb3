"""Work for many processes: each takes a task at a time, tells how far it is, and gives back what came of it.

A worker is started afresh (``spawn``: fork would copy a process that has threads in the middle of what they do) and is
joined to us by a pipe of its own. So nothing is shared, a worker that is killed costs its own task only, and when we go,
its next word to us finds the pipe closed: it cleans up behind itself and goes too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, get_context
from typing import Any, TypeVar

from rtmedia.cli.exits import INTERRUPTED

T = TypeVar("T")
R = TypeVar("R")
#: work(task, tell) -> result, never None and never an exception; `tell` takes how much has been done since it was last called.
Work = Callable[[T, Callable[[float], None]], R]
#: told(number of the task, how much of it has been done since it was last named, its result once it has one)
Told = Callable[[int, float, "R | WorkerLost | None"], None]
LEAVE_S = 5.0  # for a worker to clean up behind itself


class WorkerLost(Exception):
    """The process that had a task is gone without a word."""


def cores() -> int:
    """How many processes can run at once."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def carry_out(work: Work[T, R], tasks: Sequence[T], jobs: int, told: Told[R]) -> None:
    """Carry out all tasks, at most `jobs` at a time; one alone works in this process.

    Parameters
    ----------
    work
        A function of a module.
    told
        Hears of all progress, on this thread.
    """
    if jobs > 1:
        _elsewhere(work, tasks, jobs, told)
        return
    for number, task in enumerate(tasks):
        told(number, 0.0, work(task, lambda amount, number=number: told(number, amount, None)))  # type: ignore[misc]


def _elsewhere(work: Work[T, R], tasks: Sequence[T], jobs: int, told: Told[R]) -> None:
    context: Any = get_context("spawn")
    hears = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # a shell's background job does not
    waiting = list(range(len(tasks)))[::-1]
    workers: dict[Any, tuple[Any, int]] = {}  # our end of the pipe -> process, task
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                ours, theirs = context.Pipe()
                process = context.Process(target=_worker, args=(theirs, work, hears), daemon=True)
                with _deaf():
                    process.start()
                theirs.close()
                workers[ours] = process, waiting[-1]
                _give(ours, tasks[waiting.pop()])
            for ours in _ready(workers):
                process, number = workers[ours]
                try:
                    amount, result = ours.recv()
                except (EOFError, OSError):
                    process.join(LEAVE_S)
                    amount, result = 0.0, WorkerLost(f"its process was ended from outside (exit code {process.exitcode})")
                if result is not None:
                    del workers[ours]
                    if waiting and not isinstance(result, WorkerLost):
                        workers[ours] = process, waiting[-1]
                        _give(ours, tasks[waiting.pop()])
                    else:
                        ours.close()
                told(number, amount, result)
    finally:
        for ours in workers:
            ours.close()
        for process, _ in workers.values():
            process.join(LEAVE_S)
            if process.is_alive():
                process.terminate()


def _ready(pipes: Any) -> list[Any]:
    return list(connection.wait(list(pipes)))


def _give(pipe: Any, task: Any) -> None:
    with contextlib.suppress(OSError):  # nobody is there any more: that is found when we listen
        pipe.send(task)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C reaches a child that is still loading as a traceback: until it can answer, it inherits that it hears nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _worker(pipe: Any, work: Work[Any, Any], hears: bool) -> None:
    if hears:  # Ctrl-C goes to us as well: what is half written is removed on the way out
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def tell(amount: float) -> None:
        try:
            pipe.send((amount, None))
        except OSError:
            raise KeyboardInterrupt from None  # whoever wanted it is gone

    try:
        while True:
            task = pipe.recv()
            pipe.send((0.0, work(task, tell)))
    except (EOFError, OSError, KeyboardInterrupt):
        os._exit(INTERRUPTED)  # here and now: there is nobody left to tell
