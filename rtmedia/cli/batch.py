"""Carrying simulations out: one here, many in as many processes as there are cores.

A worker is started afresh (``spawn``), gets a task, writes the files itself and sends back figures only: sound and
ticks of an hour never travel between processes.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from rtmedia.cli.exits import INTERRUPTED, exit_code, one_line
from rtmedia.cli.runs import Run, Task
from rtmedia.errors import RtmediaError

#: Seconds of one core, about: a run of a minute or two, its sound, its oracles, its picture; and the start of a process.
RUN_S, AUDIO_S, ORACLES_S, PLOT_S, START_S = 0.1, 0.3, 0.4, 1.0, 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task: figures, or the exit code and the line that say why there are none."""

    run: Run
    took_s: float
    report: dict[str, Any] = field(default_factory=dict)
    code: int = 0
    error: str = ""


def carry_out(task: Task) -> Outcome:
    """Simulate, and write the files."""
    from rtmedia.simulation import simulate

    began_s = time.monotonic()
    result = simulate(task.config, task.run.trace, task.speech, seed=task.seed, audio=task.audio, oracles=task.oracles)
    took_s = time.monotonic() - began_s
    jitter = task.config.jitter
    report = {
        "run": task.run.name,
        "trace": task.run.trace,
        "profile": jitter.profile,
        "transport": jitter.transport,
        **result.report,
    }
    if task.out is not None:
        from rtmedia.cli.files import write_wav

        write_wav(task.out, result.audio, result.rate_hz)
    if task.ticks is not None or task.plot is not None:
        from rtmedia.cli.ticklog import columns, write_ticks

        found = columns(result, task.config.rate_hz)
        if task.ticks is not None:
            write_ticks(task.ticks, found)
        if task.plot is not None and result.arrivals is not None:
            from rtmedia.cli.plots import plot_run

            plot_run(task.plot, report, found, result.arrivals)
    return Outcome(task.run, took_s, report)


def carry_out_all(tasks: Sequence[Task], jobs: int, console: Console | None) -> list[Outcome]:
    """Carry out many tasks, with a bar on `console` where it is a terminal; the outcomes in the order of the tasks.

    A task that fails does not keep the others from being carried out.

    Parameters
    ----------
    jobs
        Processes at a time; 1 is this one alone.
    """
    done: dict[Run, Outcome] = {}
    finished = _here(tasks) if jobs == 1 else _elsewhere(tasks, jobs)
    if console is None or not console.is_terminal or console.is_dumb_terminal:
        done = {outcome.run: outcome for outcome in finished}
    else:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            SpinnerColumn(),
            TextColumn("simulating"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[run]}", style="dim", markup=False),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("", total=len(tasks), run="")
            for outcome in finished:
                done[outcome.run] = outcome
                progress.update(bar, advance=1, run=outcome.run.name)
    return [done[task.run] for task in tasks]


def cores() -> int:
    """How many processes can run at once."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def jobs_for(tasks: Sequence[Task]) -> int:
    """How many processes to use: one for each core, or this one alone where the others' start would take longer than they save."""
    most = min(cores(), len(tasks))
    work_s = sum(RUN_S + AUDIO_S * task.audio + ORACLES_S * task.oracles + PLOT_S * (task.plot is not None) for task in tasks)
    return most if work_s - work_s / max(1, most) > START_S else 1


def _survived(task: Task) -> Outcome:
    """`carry_out`, its exception as an outcome."""
    began_s = time.monotonic()
    try:
        return carry_out(task)
    except Exception as exc:
        return Outcome(task.run, time.monotonic() - began_s, code=exit_code(exc), error=one_line(exc))


def _here(tasks: Sequence[Task]) -> Iterator[Outcome]:
    for task in tasks:
        yield _survived(task)


def _elsewhere(tasks: Sequence[Task], jobs: int) -> Iterator[Outcome]:
    import multiprocessing

    # fork would copy a process that has threads (the bar's own) in the middle of what they do.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), context, _begin_worker)
    try:
        for future in as_completed([pool.submit(_in_a_worker, task) for task in tasks]):
            yield future.result()
    except BrokenProcessPool as exc:
        raise RtmediaError("a worker process was ended from outside (is there memory enough?); run it again with --jobs 1") from exc
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # idle at Ctrl-C: leave without a word
    threading.Thread(target=_follow_the_parent, daemon=True, name="rtm-parent").start()


def _follow_the_parent() -> None:
    """End with the process that wants our results: without it we would wait for work for ever."""
    from multiprocessing import connection, parent_process

    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _in_a_worker(task: Task) -> Outcome:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # half-written files are removed on the way out
    try:
        return _survived(task)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)  # here and now: the queue may hold more tasks, which nobody wants any longer
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
