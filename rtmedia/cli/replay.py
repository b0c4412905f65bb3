"""``rtmedia replay``: a captured session once more, decided and heard as it was."""

from __future__ import annotations

import gzip
import json as json_
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from rtmedia.cli import options as opt
from rtmedia.cli.terminal import stderr_console, stdout_console
from rtmedia.errors import ConfigError

if TYPE_CHECKING:
    from rtmedia.capture.reading import Session

#: What `rtmedia simulate --trace` reads.
_TRACES = (".csv", ".csv.gz")


def replay(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="Written by `rtmedia play --capture` or `demo --capture`.")],
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write what was heard, as WAV.", rich_help_panel=opt.OUTPUT)
    ] = None,
    report: Annotated[
        str | None, typer.Option("--report", metavar="FILE", help="Write the figures as JSON.", rich_help_panel=opt.OUTPUT)
    ] = None,
    write_trace: Annotated[
        str | None,
        typer.Option(
            "--write-trace",
            metavar="FILE",
            help="Write only how the packets arrived, as .csv or .csv.gz, for `rtmedia simulate --trace`.",
            rich_help_panel=opt.OUTPUT,
        ),
    ] = None,
    ticks: Annotated[
        str | None,
        typer.Option("--ticks", metavar="FILE", help="Write what was done every 10 ms, as .csv or .npz.", rich_help_panel=opt.OUTPUT),
    ] = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Play a captured session again, with everything as it was.

    Arrivals, the threads' turns, the device's clock and changed settings come from the file, and so do all settings. The
    figures say whether every tick was decided as it was live.
    """
    from rtmedia.cli.files import replacing, write_json, write_wav
    from rtmedia.cli.places import known_suffix
    from rtmedia.cli.preparing import prepare
    from rtmedia.io.capture import read_capture

    if write_trace is not None and not write_trace.lower().endswith(_TRACES):
        raise ConfigError(f"--write-trace {write_trace} is no trace by its name; let it end in {' or '.join(_TRACES)}")
    if ticks is not None:
        known_suffix("ticks", ticks, (".csv", ".npz"))
    read_capture(session)  # what is no capture is told before anything is compiled for it
    prepare(stderr_console(), quiet=quiet or json)
    from rtmedia.capture.reading import read_session
    from rtmedia.simulation import simulate

    began_s = time.monotonic()
    result = simulate(capture=session)
    took_s = time.monotonic() - began_s
    if out is not None:
        write_wav(Path(out), result.audio, result.rate_hz)
    if report is not None:
        write_json(Path(report), result.report)
    if ticks is not None or write_trace is not None:
        captured = read_session(session)
        if ticks is not None:
            from rtmedia.cli.ticklog import session_columns, write_ticks

            write_ticks(Path(ticks), session_columns(result, int(captured.settings["rate_hz"])))
        if write_trace is not None:
            octets = _trace(captured, Path(session).name.partition(".")[0], compressed=write_trace.lower().endswith(".gz"))
            with replacing(Path(write_trace)) as path:
                path.write_bytes(octets)
    if json:
        typer.echo(json_.dumps(result.report))
    elif not quiet:
        files = [name for name in (out, report, ticks, write_trace) if name is not None]
        _show(result.report, Path(session).name, files, took_s)


def _trace(captured: Session, name: str, *, compressed: bool) -> bytes:
    from rtmedia.capture.trace import trace_of
    from rtmedia.sim.trace import format_trace

    text = format_trace(trace_of(captured, name), ["from a captured session; the fastest packet has delay 0"]).encode()
    return gzip.compress(text, mtime=0) if compressed else text


def _show(report: Mapping[str, Any], name: str, files: list[str], took_s: float) -> None:
    from rtmedia.cli.figures import session_rows
    from rtmedia.cli.rows import print_rows

    console = stdout_console()
    print_rows(console, [*session_rows(report, name), *([("written", "\n".join(files))] if files else [])])
    speed = float(report["seconds"]) / max(took_s, 1e-9)
    console.print(Text(f"in {took_s:.1f} s, {speed:.0f} times faster than real time", "dim"))
