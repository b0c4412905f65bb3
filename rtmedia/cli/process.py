"""``rtmedia process``: the effects over recordings."""

from __future__ import annotations

import json as json_
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rtmedia.cli import options as opt
from rtmedia.cli.terminal import clean, clock, glyphs_for, stderr_console, stdout_console
from rtmedia.errors import ConfigError, RtmediaError

if TYPE_CHECKING:
    from rtmedia.cli.cleaning import Job, Outcome
    from rtmedia.ports import Effect

_BAR_FROM_S = 20.0  # shorter recordings are done before a bar has said anything
#: Seconds: a core's speed, about, as a multiple of real time, and the start of a process.
_SPEED, _START_S = 150.0, 2.0


def process(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="IN… OUT",
            help="Any WAV; FLAC, Ogg and MP3 with the package soundfile. Several files, folders or patterns, then a folder. "
            "OUT is 16-bit WAV and may be the same file.",
            show_default=False,
        ),
    ],
    effects: opt.EffectsOption = "voice",
    ceiling_db: Annotated[
        float, typer.Option("--ceiling-db", metavar="DB", help="No true peak above it.", rich_help_panel=opt.SOUND)
    ] = -1.0,
    target_lufs: Annotated[
        float | None,
        typer.Option("--target-lufs", metavar="LUFS", help="Of the loudness normaliser.", rich_help_panel=opt.SOUND),
    ] = None,
    rate: Annotated[
        int | None, typer.Option("--rate", metavar="HZ", help="Resample first (with the package soxr).", rich_help_panel=opt.SOUND)
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            "--plot",
            metavar="FILE|FOLDER",
            help="Draw spectrograms and loudness before and after, as .png, .svg or .pdf; a folder where there are many recordings.",
            rich_help_panel=opt.OUTPUT,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            min=1,
            help="Processes at a time; otherwise one for each core where that is faster.",
            rich_help_panel=opt.OUTPUT,
        ),
    ] = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Clean recordings with the effects.

    The limiter always follows. The result is in line with the original, to the sample.
    A recording that cannot be processed does not keep the others from it.
    """
    from rtmedia.cli.cleaning import Job, make_folders, places, seconds_of
    from rtmedia.cli.effects import parse_effects
    from rtmedia.cli.preparing import prepare
    from rtmedia.cli.workers import cores
    from rtmedia.config import CEILING_DB

    if len(paths) < 2:
        raise ConfigError(f"{paths[0]} is given, but not where the result goes; write: rtmedia process IN.wav OUT.wav")
    if not CEILING_DB[0] <= ceiling_db <= CEILING_DB[1]:
        raise ConfigError(f"--ceiling-db is {ceiling_db:g}; it must lie between {CEILING_DB[0]:g} and {CEILING_DB[1]:g}")
    pairs = places(paths[:-1], paths[-1])
    plots = _plots(plot, pairs)
    chain = parse_effects(effects, live=False)
    errors = stderr_console()
    prepare(errors, quiet=quiet or json)
    if target_lufs is not None:
        chain = _aimed(chain, target_lufs)
    tasks = [
        Job(source, target, chain, ceiling_db, rate, picture, source.name) for (source, target), picture in zip(pairs, plots, strict=True)
    ]
    if tasks[0].target != Path(paths[-1]):  # OUT is a folder
        make_folders([task.target for task in tasks])
    make_folders([picture for picture in plots if picture is not None])
    lengths_s = [seconds_of(task) for task in tasks]
    if jobs is None:
        jobs = min(cores(), len(tasks))
        work_s = sum(lengths_s) / _SPEED
        jobs = jobs if work_s - work_s / jobs > _START_S else 1
    began_s = time.monotonic()
    outcomes = _carried_out(tasks, min(jobs, len(tasks)), lengths_s, None if quiet or json else errors)
    _tell(outcomes, time.monotonic() - began_s, json=json, quiet=quiet)
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        about = "" if str(outcome.job.source) in outcome.error or str(outcome.job.target) in outcome.error else f"{outcome.job.source}: "
        errors.print(f"rtmedia: {about}{outcome.error}", soft_wrap=True)
    if len(tasks) > 1 and failed:
        errors.print(f"rtmedia: {len(failed)} of {len(tasks)} recordings could not be processed", soft_wrap=True)
    if failed:
        raise typer.Exit(max(outcome.code for outcome in failed))


def _plots(given: str | None, pairs: Sequence[tuple[Path, Path]]) -> list[Path | None]:
    """A picture for each recording, or none."""
    if given is None:
        return [None] * len(pairs)
    from rtmedia.cli.places import PICTURES, known_suffix, need_matplotlib

    need_matplotlib()
    path = Path(given)
    if len(pairs) == 1 and not path.is_dir() and not given.endswith(("/", "\\")):
        known_suffix("plot", given, PICTURES)
        return [path]
    if path.suffix.lower() in PICTURES:
        raise ConfigError(f"--plot {given} is a file, and there are {len(pairs)} recordings; name a folder")
    stems = [target.with_suffix("").name for _, target in pairs]
    numbered = [stem if stems.count(stem) == 1 else f"{stem}-{stems[:at].count(stem) + 1}" for at, stem in enumerate(stems)]
    return [path / f"{stem}{PICTURES[0]}" for stem in numbered]


def _aimed(effects: str | tuple[Effect, ...], target_lufs: float) -> tuple[Effect, ...]:
    """The chain with another target of its loudness normaliser."""
    from rtmedia.presets import OFFLINE, effects_of

    chain = effects_of(effects, OFFLINE)
    if not any(hasattr(effect, "target_lufs") for effect in chain):
        names = ", ".join(effect.name for effect in chain) or "nothing"
        raise ConfigError(f"--target-lufs is for the loudness normaliser, but the chain is {names}; add normalizer to --effects")
    aimed: Any = tuple(replace(effect, target_lufs=target_lufs) if hasattr(effect, "target_lufs") else effect for effect in chain)  # type: ignore[type-var]
    return tuple(aimed)


def _carried_out(tasks: Sequence[Job], jobs: int, lengths_s: Sequence[float], console: Console | None) -> list[Outcome]:
    """All outcomes, in the order of the tasks; with a bar where that pays."""
    from rtmedia.cli.cleaning import Outcome, clean_one
    from rtmedia.cli.exits import UNEXPECTED, one_line
    from rtmedia.cli.workers import WorkerLost, carry_out

    done: dict[int, Outcome] = {}
    told_s = [0.0] * len(tasks)

    def told(number: int, amount_s: float, found: Outcome | WorkerLost | None) -> None:
        if isinstance(found, WorkerLost):
            lost = RtmediaError(f"{tasks[number].source}: {found} (is there memory enough?); try --jobs 1")
            found = Outcome(tasks[number], code=UNEXPECTED, error=one_line(lost))
        if found is not None:
            done[number] = found
        # A length is a guess where the header is wrong: the bar never runs over its end.
        told_s[number] = lengths_s[number] if found is not None else min(lengths_s[number], told_s[number] + amount_s)

    if console is None or not console.is_terminal or console.is_dumb_terminal or sum(lengths_s) < _BAR_FROM_S:
        carry_out(clean_one, tasks, jobs, told)
        return [done[number] for number in range(len(tasks))]
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}", style="dim", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        begin = f"starting {jobs} processes" if jobs > 1 else "cleaning"
        shown = bar.add_task(begin, total=sum(lengths_s), name="" if jobs > 1 else tasks[0].source.name)

        def shown_too(number: int, amount_s: float, found: Outcome | WorkerLost | None) -> None:
            told(number, amount_s, found)
            many = f" {len(done)} of {len(tasks)}" if len(tasks) > 1 else ""
            bar.update(shown, completed=sum(told_s), description=f"cleaning{many}", name=tasks[number].source.name)

        carry_out(clean_one, tasks, jobs, shown_too)
    return [done[number] for number in range(len(tasks))]


def _tell(outcomes: Sequence[Outcome], took_s: float, *, json: bool, quiet: bool) -> None:
    good = [outcome for outcome in outcomes if not outcome.error]
    if json:
        files = [outcome.report or {"in": str(outcome.job.source), "error": outcome.error} for outcome in outcomes]
        seconds = sum(outcome.report["seconds"] for outcome in good)
        total = {"files": files, "failed": len(outcomes) - len(good), "seconds": seconds, "took_s": took_s}
        typer.echo(
            json_.dumps(files[0] if len(files) == 1 else total | {"times_real_time": seconds / max(took_s, 1e-9)}, ensure_ascii=False)
        )
        return
    if quiet or not good:
        return
    console = stdout_console()
    if len(outcomes) == 1:
        _tell_one(console, good[0])
        took_s = good[0].report["took_s"]  # without starting and drawing
    else:
        _tell_many(console, good)
    seconds = sum(outcome.report["seconds"] for outcome in good)
    many = f"{len(good)} files, {clock(seconds)} of sound, " if len(outcomes) > 1 else ""
    console.print(Text(f"{many}in {took_s:.1f} s, {seconds / max(took_s, 1e-9):.0f} times faster than real time", "dim"), soft_wrap=True)


def _tell_one(console: Console, outcome: Outcome) -> None:
    from rtmedia.cli.rows import print_rows

    report = outcome.report
    arrow = glyphs_for(console.encoding).arrow
    channels = {1: "mono", 2: "stereo"}[report["channels"]]
    names = ", ".join(name.replace("_", " ") for name in report["effects"]) or "no effects"
    rows = [
        ("sound", f"{clock(report['seconds'])} at {report['rate_hz'] / 1000:g} kHz, {channels}"),
        ("effects", f"{names}; limiter at {report['ceiling_db']:g} dB"),
        ("loudness", f"{_level(report['loudness_in_lufs'])} {arrow} {_level(report['loudness_out_lufs'])} LUFS"),
        ("true peak", f"{_level(report['true_peak_in_db'])} {arrow} {_level(report['true_peak_out_db'])} dB"),
        ("written", "\n".join(clean(report[name]) for name in ("out", "plot") if name in report)),
    ]
    print_rows(console, rows)


def _tell_many(console: Console, outcomes: Sequence[Outcome]) -> None:
    arrow = glyphs_for(console.encoding).arrow
    rows = [
        (
            clean(report["out"]),
            clock(report["seconds"]),
            f"{_level(report['loudness_in_lufs'])} {arrow} {_level(report['loudness_out_lufs'])}",
            f"{_level(report['true_peak_in_db'])} {arrow} {_level(report['true_peak_out_db'])}",
        )
        for report in (outcome.report for outcome in outcomes)
    ]
    names = ("written", "length", "loudness, LUFS", "true peak, dB")
    if not console.is_terminal:
        for row in (names, *rows):
            console.print("\t".join(row), soft_wrap=True)
        return
    table = Table(box=None, padding=(0, 2), pad_edge=False, header_style="dim")
    table.add_column(names[0], overflow="fold")
    for name in names[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _level(level: float | None) -> str:
    return "silence" if level is None else f"{level:.1f}"
