"""``rtmedia bench``: the project's claims, measured here and now."""

from __future__ import annotations

import contextlib
import shlex
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from rtmedia.cli import options as opt
from rtmedia.cli.exits import INTERRUPTED, UNEXPECTED
from rtmedia.cli.terminal import clean, clock, stderr_console, stdout_console
from rtmedia.errors import ConfigError, SinkError

if TYPE_CHECKING:
    from rtmedia.cli.benchmarks import Benchmark, Outcome

_OUT = "bench-results"
_OUT_TINY = f"{_OUT}/tiny"  # its figures are worth nothing, and those beside it took hours


def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME…]", help="Which; all of them otherwise.", show_default=False)] = None,
    list_: Annotated[bool, typer.Option("--list", help="Say which there are and what each asks, and end.")] = False,
    tiny: Annotated[bool, typer.Option("--tiny", help="Everything once: does it still run? The figures are worth nothing.")] = False,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help=f"Results, logs and pictures; {_OUT} otherwise, with --tiny {_OUT_TINY}.",
            rich_help_panel=opt.OUTPUT,
        ),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option("--report", metavar="FILE", help="The Markdown report; FOLDER/report.md otherwise.", rich_help_panel=opt.OUTPUT),
    ] = None,
    report_only: Annotated[
        bool,
        typer.Option(
            "--report-only", help="Run nothing: report what lies in the folder, of NAME… if any is given.", rich_help_panel=opt.OUTPUT
        ),
    ] = False,
    args: Annotated[
        str, typer.Option("--args", metavar="TEXT", help='Options of the one benchmark that is named, e.g. "--seconds 10".')
    ] = "",
    folder: Annotated[
        str | None, typer.Option("--folder", metavar="FOLDER", help="Where the benchmarks are, if not beside the package.")
    ] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", min=1.0, help="The longest for each.")] = None,
    quiet: opt.Quiet = False,
) -> None:
    """Run the benchmarks of the source tree and write a report of them.

    One that fails does not keep the others from running; the exit code is then 1. A target that is missed is
    reported and is no failure. The report is of all results in the folder, earlier ones too; those of tiny runs
    have a folder of their own.
    """
    from rtmedia.cli.bench_report import write_report
    from rtmedia.cli.benchmarks import benchmarks_in, chosen, find_folder, results_in
    from rtmedia.cli.rows import print_rows

    found = benchmarks_in(find_folder(folder))
    wanted = chosen(found, names or [])
    if list_:
        print_rows(stdout_console(), [(one.name, one.question) for one in wanted])
        return
    if report_only and (args or timeout is not None):
        word = f"--args {args!r}" if args else f"--timeout {timeout:g}"
        raise ConfigError(f"{word} is for what runs, and with --report-only nothing does; leave out one of the two")
    if args and len(wanted) != 1:
        raise ConfigError(f"--args {args!r} is for one benchmark, and {len(wanted)} would run; name the one that it is for")
    results = Path(out if out is not None else _OUT_TINY if tiny else _OUT)
    where = Path(report) if report is not None else results / "report.md"
    try:
        results.mkdir(parents=True, exist_ok=True)
        where.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        said = f"the folder {exc.filename} cannot be made ({exc.strerror})"
        raise SinkError(said, kind="file", device=str(exc.filename), hint="choose another with --out") from exc
    console = stderr_console()
    outcomes: list[Outcome] = []
    interrupted = False
    if not report_only:
        try:
            with _ended_like_ctrl_c():
                _run_all(console, wanted, results, outcomes, tiny=tiny, extra=shlex.split(args), timeout_s=timeout, quiet=quiet)
        except KeyboardInterrupt:
            interrupted = True  # what is finished is reported all the same
    kept = results_in(results, wanted if report_only else found)
    if not kept:
        if interrupted:
            raise typer.Exit(INTERRUPTED)
        which = f" of {', '.join(one.name for one in wanted)}" if names else ""
        raise ConfigError(
            f"{results} holds no results{which}; run `rtmedia bench` without --report-only first, or name their folder with --out"
        )
    write_report(where, results, kept)
    failed = [outcome for outcome in outcomes if outcome.failure]
    for outcome in failed:
        log = results / f"{outcome.benchmark.name}.log"
        console.print(f"rtmedia: {outcome.benchmark.name} failed: {clean(outcome.failure)} (see {log})", soft_wrap=True)
    if not quiet:
        stdout_console().print(str(where), soft_wrap=True)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if failed:
        raise typer.Exit(UNEXPECTED)


@contextlib.contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """What else ends a program (SIGTERM, a terminal that is closed) is an interruption too: a benchmark does not hear it by itself."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` has said that it shall go on
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_all(
    console: Console,
    wanted: Sequence[Benchmark],
    out: Path,
    outcomes: list[Outcome],
    *,
    tiny: bool,
    extra: Sequence[str],
    timeout_s: float | None,
    quiet: bool,
) -> None:
    """Run one after the other, telling how far they are; `outcomes` grows, so that what is done is kept when somebody has enough."""
    from importlib.util import find_spec

    from rtmedia.cli.benchmarks import run
    from rtmedia.cli.preparing import prepare

    prepare(console, quiet=quiet)
    plots = find_spec("matplotlib") is not None
    if not plots and not quiet:
        console.print("no pictures: matplotlib is not installed; pip install 'rtmedia[plot]'", soft_wrap=True)
    began_s = time.monotonic()
    for number, one in enumerate(wanted, 1):
        if quiet:
            outcomes.append(run(one, out, tiny=tiny, plots=plots, extra=extra, timeout_s=timeout_s))
            continue
        with _Showing(console, number, len(wanted), one) as showing:
            outcomes.append(run(one, out, tiny=tiny, plots=plots, extra=extra, timeout_s=timeout_s, saying=showing.say))
        console.print(_line(outcomes[-1], number, len(wanted)), soft_wrap=True)
    if not quiet and len(wanted) > 1:
        console.print(Text(f"{len(wanted)} benchmarks in {clock(time.monotonic() - began_s)}", "dim"), soft_wrap=True)


class _Showing:
    """While one runs: a line that spins, counts and quotes it where there is a terminal, otherwise one plain line at its begin."""

    def __init__(self, console: Console, number: int, of: int, one: Benchmark) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        self._progress: Progress | None = None
        if not console.is_terminal or console.is_dumb_terminal:
            console.print(f"{number} of {of}  {one.name}: {one.question}", soft_wrap=True)
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[said]}", style="dim", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        )
        self._progress = Progress(*columns, console=console, transient=True, expand=True)
        self._task = self._progress.add_task(f"{number} of {of}  {one.name}", total=None, said="")

    def say(self, line: str) -> None:
        """What it has printed last."""
        if self._progress is not None:
            self._progress.update(self._task, said=clean(line, 200))

    def __enter__(self) -> _Showing:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()


def _line(outcome: Outcome, number: int, of: int) -> Text:
    """What is left of one that has ended."""
    word, style = ("failed", "bold red") if outcome.failure else ("ok", "green")
    line = Text.assemble((f"{word:<7}", style), f"{outcome.benchmark.name:<20}", (f"{clock(outcome.took_s):>8}", "dim"))
    met = [target.get("met") for target in outcome.result.get("targets", ())]
    if met:
        missed = met.count(False)
        line.append(f"  {met.count(True)} of {len(met)} targets met", "yellow" if missed else "")
    return line.append(f"  {clean(outcome.failure, 200)}") if outcome.failure else line
