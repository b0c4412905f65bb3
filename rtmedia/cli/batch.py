"""Carrying simulations out: one here, many in as many processes as there are cores (`rtmedia.cli.workers`).

Whoever has a task writes its files and gives back figures only: sound and ticks of an hour never travel between
processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from rtmedia.cli import workers
from rtmedia.cli.exits import UNEXPECTED, exit_code, one_line
from rtmedia.cli.runs import Run, Task

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
    done: dict[int, Outcome] = {}

    def told(number: int, _: float, found: Outcome | workers.WorkerLost | None) -> None:
        if isinstance(found, workers.WorkerLost):
            found = Outcome(tasks[number].run, 0.0, code=UNEXPECTED, error=f"{found} (is there memory enough?); try --jobs 1")
        if found is not None:
            done[number] = found

    if console is None or not console.is_terminal or console.is_dumb_terminal:
        workers.carry_out(_survived, tasks, jobs, told)
        return [done[number] for number in range(len(tasks))]
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

        def shown(number: int, amount: float, found: Outcome | workers.WorkerLost | None) -> None:
            told(number, amount, found)
            progress.update(bar, completed=len(done), run=tasks[number].run.name)

        workers.carry_out(_survived, tasks, jobs, shown)
    return [done[number] for number in range(len(tasks))]


def jobs_for(tasks: Sequence[Task]) -> int:
    """How many processes to use: one for each core, or this one alone where the others' start would take longer than they save."""
    most = min(workers.cores(), len(tasks))
    work_s = sum(RUN_S + AUDIO_S * task.audio + ORACLES_S * task.oracles + PLOT_S * (task.plot is not None) for task in tasks)
    return most if work_s - work_s / max(1, most) > START_S else 1


def _survived(task: Task, _: Callable[[float], None]) -> Outcome:
    """`carry_out`, its exception as an outcome."""
    began_s = time.monotonic()
    try:
        return carry_out(task)
    except Exception as exc:
        return Outcome(task.run, time.monotonic() - began_s, code=exit_code(exc), error=one_line(exc))
