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
#: work(task, tell) -> result; `tell` takes how much of the task has been done since it was last called.
Work = Callable[[T, Callable[[float], None]], R]
LEAVE_S = 5.0  # for a worker to clean up behind itself


class WorkerLost(Exception):
    """The process that had a task is gone without a word."""


def all_done(work: Work[T, R], tasks: Sequence[T], jobs: int) -> Iterator[tuple[int, float, R | WorkerLost | None]]:
    """Carry out all tasks, at most `jobs` at a time.

    Parameters
    ----------
    work
        A function of a module, which raises nothing: an exception ends its worker.

    Yields
    ------
    number : int
        Of a task.
    amount : float
        How much of it has been done since it was last named.
    result
        Once it is done, what came of it; None before.
    """
    context = get_context("spawn")
    waiting = list(range(len(tasks)))[::-1]
    workers: dict[Any, tuple[Any, int]] = {}  # pipe -> process, task
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                number = waiting.pop()
                ours, theirs = context.Pipe()
                process = context.Process(target=_worker, args=(theirs, work), daemon=True, name=f"rtm-worker-{number}")
                with _deaf():
                    process.start()
                theirs.close()
                workers[ours] = process, number
                with contextlib.suppress(OSError):  # it is gone already: to be found below
                    ours.send(tasks[number])
            for ours in connection.wait(list(workers)):
                process, number = workers[ours]
                try:
                    amount, result = ours.recv()
                except (EOFError, OSError):
                    process.join(LEAVE_S)
                    del workers[ours]
                    ours.close()
                    yield number, 0.0, WorkerLost(f"its process was ended from outside (exit code {process.exitcode})")
                    continue
                if result is not None:
                    if waiting:
                        workers[ours] = process, waiting.pop()
                        with contextlib.suppress(OSError):
                            ours.send(tasks[workers[ours][1]])
                    else:
                        del workers[ours]
                        ours.close()
                yield number, amount, result
    finally:
        for ours in workers:
            ours.close()
        for process, _ in workers.values():
            process.join(LEAVE_S)
            if process.is_alive():
                process.terminate()


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


def _worker(pipe: Any, work: Work[Any, Any]) -> None:
    # Ctrl-C goes to us as well: what is half written is removed on the way out.
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
