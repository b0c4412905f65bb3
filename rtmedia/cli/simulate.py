"""``rtmedia simulate``: what a network would have done to the sound, hundreds of times faster than it would have."""

from __future__ import annotations

import gzip
import json as json_
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from rtmedia.cli import options as opt
from rtmedia.cli.rows import print_rows
from rtmedia.cli.terminal import stderr_console, stdout_console
from rtmedia.errors import ConfigError

_UNITS = {"ms": "ms", "pct": "%", "seconds": "s"}


def simulate(
    context: typer.Context,
    trace: Annotated[str | None, typer.Option("--trace", metavar="FILE", help="Arrivals: CSV of seq,send_ms,arrival_ms.")] = None,
    speech: Annotated[str | None, typer.Option("--speech", metavar="FILE", help="Any WAV; otherwise the built-in conversation.")] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help="Write what would have been heard, as WAV.")] = None,
    report: Annotated[str | None, typer.Option("--report", metavar="FILE", help="Write the figures as JSON.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the network model.")] = None,
    capture: Annotated[
        str | None,
        typer.Option("--capture", metavar="FILE", help="A session written by `play --capture`: everything is as it was, tick by tick."),
    ] = None,
    write_trace: Annotated[
        str | None, typer.Option("--write-trace", metavar="FILE", help="With --capture: its arrivals as CSV, for --trace.")
    ] = None,
    network: opt.Network = "",
    codec: opt.Codec = "pcm_s16le",
    rate: opt.Rate = 16_000,
    channels: opt.Channels = 1,
    effects: opt.EffectsOption = "default",
    gain_db: opt.GainDb = 0.0,
    profile: opt.ProfileOption = opt.Profile.conversation,
    min_delay_ms: opt.MinDelayMs = 20.0,
    max_delay_ms: opt.MaxDelayMs = None,
    price_ms: opt.PriceMs = 10_000.0,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Play a stream through the real pipeline in simulated time.

    The arrivals come from a trace, or from the network model that --network describes. Equal arguments give equal sound.
    """
    if capture is not None:
        _refuse_what_the_capture_brings(context)
    elif write_trace is not None:
        raise ConfigError("--write-trace takes the arrivals of a capture; give --capture FILE too")
    from rtmedia.cli.effects import parse_effects
    from rtmedia.cli.files import replacing, write_json
    from rtmedia.cli.preparing import prepare
    from rtmedia.config import Config, Jitter

    _readable("trace", trace)
    _readable("speech", speech)
    prepare(stderr_console(), quiet=quiet or json)
    from rtmedia.simulation import simulate as run

    query = network.removeprefix("loopback:").lstrip("?")
    config = Config(
        source=f"loopback:?{query}" if query else "loopback:",
        codec=codec,
        rate_hz=rate,
        channels=channels,
        effects=parse_effects(effects),
        gain_db=gain_db,
        jitter=Jitter(profile=profile.value, price_ms=price_ms, min_delay_ms=min_delay_ms, max_delay_ms=max_delay_ms),
    )
    began_s = time.monotonic()
    result = run(capture=capture) if capture is not None else run(config, trace=trace, speech=speech, seed=seed)
    took_s = time.monotonic() - began_s
    if out is not None:
        with replacing(Path(out)) as path:
            result.write_wav(path)
    if report is not None:
        write_json(Path(report), result.report)
    if capture is not None and write_trace is not None:
        from rtmedia.capture.reading import read_session
        from rtmedia.capture.trace import trace_of
        from rtmedia.sim import trace as traces

        arrivals = trace_of(read_session(capture), Path(capture).name.partition(".")[0])
        text = traces.format_trace(arrivals, ["from a captured session; the fastest packet has delay 0"]).encode()
        with replacing(Path(write_trace)) as path:
            path.write_bytes(gzip.compress(text, mtime=0) if write_trace.endswith(".gz") else text)
    if json:
        typer.echo(json_.dumps(result.report))
    elif not quiet:
        _show(result.report, took_s)


_WITH_CAPTURE = ("capture", "write_trace", "out", "report", "json", "quiet")


def _refuse_what_the_capture_brings(context: typer.Context) -> None:
    given = [name for name in context.params if str(getattr(context.get_parameter_source(name), "name", "")) == "COMMANDLINE"]
    for name in given:
        if name not in _WITH_CAPTURE:
            raise ConfigError(f"--{name.replace('_', '-')} was given together with --capture; a capture brings its own: leave it out")


def _readable(option: str, name: str | None) -> None:
    # A bundle is FILE.npz:NAME; the simulation checks what is inside.
    if name is not None and not Path(name).is_file() and not Path(name.rpartition(":")[0]).is_file():
        raise ConfigError(f"--{option} {name} does not exist; check the path")


def _show(report: dict[str, Any], took_s: float) -> None:
    rows = []
    for name, value in report.items():
        stem, _, last = name.rpartition("_")
        unit = _UNITS.get(last, "")
        shown = f"{value:.2f}" if isinstance(value, float) else str(value)
        rows.append(((stem if unit and stem else name).replace("_", " "), f"{shown:>9} {unit}".rstrip()))
    console = stdout_console()
    print_rows(console, rows)
    speed = report.get("seconds", 0.0) / max(took_s, 1e-9)
    console.print(Text(f"in {took_s:.1f} s, {speed:.0f} times faster than real time", "dim"))
