"""``rtmedia doctor``: what works on this machine, and what to do about the rest."""

from __future__ import annotations

import json as json_
from dataclasses import asdict

import typer
from rich.text import Text

from rtmedia.cli import options as opt
from rtmedia.cli.exits import UNEXPECTED
from rtmedia.cli.rows import print_rows
from rtmedia.cli.terminal import clean, glyphs_for, stdout_console

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
        console = stdout_console()
        rows = []
        for check in found:
            style = _STYLES[check.status]
            said = Text.assemble((f"{check.status:<4}  ", style), clean(check.message))
            if check.hint:
                said.append(f"\n{glyphs_for(console.encoding).arrow} {clean(check.hint)}", style)
            rows.append((check.name, said))
        print_rows(console, rows)
    if any(check.status == "fail" for check in found):
        raise typer.Exit(UNEXPECTED)
