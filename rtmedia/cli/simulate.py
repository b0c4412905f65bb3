"""``rtmedia simulate``: what a network would have done to the sound, hundreds of times faster than it would have."""

from __future__ import annotations

import json as json_
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from rtmedia.cli import options as opt
from rtmedia.cli.terminal import stderr_console, stdout_console
from rtmedia.errors import ConfigError

if TYPE_CHECKING:
    from rtmedia.cli.batch import Outcome

_FILE_OR_FOLDER = "FILE|FOLDER"


def simulate(
    trace: Annotated[
        list[str] | None,
        typer.Option(
            "--trace",
            metavar="FILE|FOLDER",
            help="CSV of seq,send_ms,arrival_ms; a folder of them; BUNDLE.npz[:NAME]; model:NAME?setting=value. May be given again.",
            rich_help_panel=opt.CONNECTION,
        ),
    ] = None,
    network: opt.Network = "",
    seed: Annotated[int | None, typer.Option("--seed", help="Of the network model.", rich_help_panel=opt.CONNECTION)] = None,
    speech: Annotated[
        str | None,
        typer.Option("--speech", metavar="FILE", help="Any WAV; otherwise the built-in conversation.", rich_help_panel=opt.STREAM),
    ] = None,
    codec: opt.Codec = "pcm_s16le",
    rate: opt.Rate = 16_000,
    channels: opt.Channels = 1,
    effects: opt.EffectsOption = "voice-low-latency",
    bypass: opt.Bypass = "",
    gain_db: opt.GainDb = 0.0,
    no_audio: Annotated[
        bool, typer.Option("--no-audio", help="Work out the figures only: much faster, nothing to hear.", rich_help_panel=opt.SOUND)
    ] = False,
    profile: opt.ProfileOption = opt.Profile.conversation,
    transport: opt.TransportOption = opt.Transport.auto,
    min_delay_ms: opt.MinDelayMs = None,
    max_delay_ms: opt.MaxDelayMs = None,
    drift: opt.DriftOption = opt.Drift.splice,
    price_ms: Annotated[
        str,
        typer.Option(
            "--price-ms",
            metavar="MS[,MS…]",
            help="Delay that is worth as much as 100 % concealment: higher is smoother and later. A list is tried one by one.",
            rich_help_panel=opt.BUFFER,
        ),
    ] = "10000",
    out: Annotated[
        str | None,
        typer.Option("--out", metavar=_FILE_OR_FOLDER, help="Write what would have been heard, as WAV.", rich_help_panel=opt.OUTPUT),
    ] = None,
    ticks: Annotated[
        str | None,
        typer.Option(
            "--ticks", metavar=_FILE_OR_FOLDER, help="Write what was done every 10 ms, as .csv or .npz.", rich_help_panel=opt.OUTPUT
        ),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            "--plot",
            metavar=_FILE_OR_FOLDER,
            help="Draw it, as .png, .svg or .pdf. Many runs: a file is drawn over all, a folder gets one of each too.",
            rich_help_panel=opt.OUTPUT,
        ),
    ] = None,
    report: Annotated[
        str | None, typer.Option("--report", metavar="FILE", help="Write the figures as JSON.", rich_help_panel=opt.OUTPUT)
    ] = None,
    no_oracles: Annotated[
        bool, typer.Option("--no-oracles", help="Leave out what would have been possible in hindsight.", rich_help_panel=opt.OUTPUT)
    ] = False,
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
    """Play streams through the real pipeline in simulated time.

    The arrivals come from traces, or from the network model that --network describes. Several traces or prices make a
    table. Equal arguments give equal sound.
    """
    from rtmedia.cli.batch import carry_out, carry_out_all, jobs_for
    from rtmedia.cli.effects import parse_effects, parse_names
    from rtmedia.cli.files import write_json
    from rtmedia.cli.places import Places
    from rtmedia.cli.preparing import prepare
    from rtmedia.cli.runs import Task, parse_prices, runs_of
    from rtmedia.config import Config, Jitter

    query = network.removeprefix("loopback:").lstrip("?")
    runs = runs_of(trace or [], parse_prices(price_ms), query)
    if speech is not None and not Path(speech).is_file():
        raise ConfigError(f"--speech {speech} does not exist; check the path")
    if out is not None and no_audio:
        raise ConfigError("--out needs the sound that --no-audio leaves out; drop one of the two")
    places = Places.of(runs, out=out, ticks=ticks, plot=plot)
    configs = {
        price: Config(
            source=f"loopback:?{query}" if query else "loopback:",
            codec=codec,
            rate_hz=rate,
            channels=channels,
            effects=parse_effects(effects),
            bypass=parse_names(bypass),
            gain_db=gain_db,
            profile=profile.of_config,
            jitter=Jitter(
                profile=profile.of_jitter,
                transport=transport.value,
                price_ms=price,
                min_delay_ms=min_delay_ms,  # type: ignore[arg-type]  # None: the profile's
                max_delay_ms=max_delay_ms,
                drift=drift.value,
            ),
        )
        for price in dict.fromkeys(run.price_ms for run in runs)
    }
    tasks = [
        Task(run, configs[run.price_ms], speech, seed, not no_audio, not no_oracles, *files)
        for run, files in zip(runs, places.of_each, strict=True)
    ]
    errors = stderr_console()
    prepare(errors, quiet=quiet or json)
    began_s = time.monotonic()
    if len(tasks) == 1:
        outcomes = [carry_out(tasks[0])]
        written: Any = outcomes[0].report
    else:
        jobs = min(jobs or jobs_for(tasks), len(tasks))
        outcomes = carry_out_all(tasks, jobs, None if quiet or json else errors)
        from rtmedia.cli.tables import as_json

        written = as_json(outcomes)
    took_s = time.monotonic() - began_s
    found = [outcome.report for outcome in outcomes if outcome.report]
    if places.overview is not None and found:
        from rtmedia.cli.overview import plot_overview

        plot_overview(places.overview, found)
    if report is not None:
        write_json(Path(report), written)
    if json:
        typer.echo(json_.dumps(written))
    elif not quiet:
        _show(outcomes, took_s, jobs or 1, places.told())
    for outcome in outcomes:
        if outcome.error:
            errors.print(f"rtmedia: {outcome.run.name} at price {outcome.run.price_ms:g}: {outcome.error}", soft_wrap=True)
    code = max(outcome.code for outcome in outcomes)
    if code:
        raise typer.Exit(code)


def _show(outcomes: list[Outcome], took_s: float, jobs: int, files: list[str]) -> None:
    from rtmedia.cli.figures import single_rows
    from rtmedia.cli.rows import print_rows
    from rtmedia.cli.tables import print_table, summary

    console = stdout_console()
    if len(outcomes) == 1:
        (outcome,) = outcomes
        print_rows(console, [*single_rows(outcome.report), *([("written", "\n".join(files))] if files else [])])
        speed = float(outcome.report["seconds"]) / max(outcome.took_s, 1e-9)
        console.print(Text(f"in {outcome.took_s:.1f} s, {speed:.0f} times faster than real time", "dim"))
        return
    print_table(console, outcomes)
    if files:
        console.print(Text(f"written: {', '.join(files)}", "dim"), soft_wrap=not console.is_terminal)
    console.print(Text(summary(outcomes, took_s, jobs), "dim"))
