"""``rtmedia doctor``: what works on this machine, and what to do about the rest."""

from __future__ import annotations

import json as json_
from dataclasses import asdict

import typer
from rich.table import Table
from rich.text import Text

from rtmedia.cli import options as opt
from rtmedia.cli.exits import UNEXPECTED
from rtmedia.cli.terminal import clean, stdout_console

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(json: opt.Json = False) -> None:
    """Check this machine and say what to do.

    The exit code is 1 where something must be repaired; a warning is none.
    """
    from rtmedia.cli.checks import run_checks

    found = run_checks()
    if json:
        typer.echo(json_.dumps([asdict(check) for check in found], indent=2, ensure_ascii=False))
    else:
        table = Table.grid(padding=(0, 2), pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for check in found:
            said = Text(clean(check.message))
            if check.hint:
                said.append(f"\n→ {clean(check.hint)}", _STYLES[check.status])
            table.add_row(Text(check.status, _STYLES[check.status]), Text(check.name), said)
        stdout_console().print(table)
    if any(check.status == "fail" for check in found):
        raise typer.Exit(UNEXPECTED)
