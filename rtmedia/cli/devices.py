"""``rtmedia devices``: where sound can go."""

from __future__ import annotations

import json as json_
from dataclasses import asdict

import typer
from rich.table import Table
from rich.text import Text

from rtmedia.cli import options as opt
from rtmedia.cli.exits import SINK
from rtmedia.cli.terminal import clean, glyphs_for, stderr_console, stdout_console

NONE = (
    "this machine has no sound output device: connect one or start a sound server (PipeWire, PulseAudio), "
    "see `rtmedia doctor`; `rtmedia play --sink wav:FILE` needs none"
)


def devices(json: opt.Json = False) -> None:
    """List the sound output devices.

    A dot or * marks the default one. The exit code is 3 where there is none.
    """
    from rtmedia.io.portaudio import list_devices

    found = list_devices()
    out = stdout_console()
    if json:
        typer.echo(json_.dumps([asdict(device) for device in found], indent=2, ensure_ascii=False))
    elif found:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("", no_wrap=True)
        table.add_column("device", overflow="fold")
        table.add_column("through", no_wrap=True)
        for name in ("channels", "rate", "latency"):
            table.add_column(name, justify="right", no_wrap=True)
        mark = glyphs_for(out.encoding).on if out.is_terminal else "*"
        for device in found:
            style = "bold" if device.default else ""
            table.add_row(
                Text(mark if device.default else "", "green"),
                Text(clean(device.name), style),
                Text(clean(device.host_api)),
                str(device.channels),
                f"{device.rate_hz} Hz",
                f"{device.low_latency_ms:.0f} ms",
            )
        out.print(table)
        if out.is_terminal:
            out.print(Text("choose one by a part of its name: rtmedia play --device NAME", "dim"))
    if not found:
        stderr_console().print(NONE, soft_wrap=True)
        raise typer.Exit(SINK)
