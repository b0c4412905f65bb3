"""What a command is called with does not depend on whether validators were spared."""

from __future__ import annotations

import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

import rtmedia
from rtmedia.cli.main import COMMANDS, app
from rtmedia.cli.quick import spare_validators


class Colour(str, Enum):
    red = "red"
    blue = "blue"


def made(taken, spared):
    def command(
        name: Annotated[str, typer.Argument()],
        count: Annotated[int, typer.Option("--count", min=1, max=9, envvar="SOME_COUNT")] = 3,
        level: Annotated[float | None, typer.Option("--level")] = None,
        colour: Annotated[Colour, typer.Option("--colour")] = Colour.red,
        note: Annotated[str | None, typer.Option("--note")] = None,
        loud: Annotated[bool, typer.Option("--loud")] = False,
    ) -> None:
        taken.append((name, count, level, colour, note, loud))

    alone = typer.Typer(add_completion=False)
    alone.command("command")(command)
    click_command = typer.main.get_command(alone)
    if spared:
        command.__globals__.update(Annotated=Annotated, typer=typer, Colour=Colour)
        spare_validators(click_command.params, command)
    return click_command


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["x"], {}),
        (["x", "--count", "4", "--level", "1.5", "--colour", "blue", "--note", "7", "--loud"], {}),
        (["7", "--note", ""], {"SOME_COUNT": "5"}),
        (["x", "--count", "ten"], {}),
        (["x", "--count", "12"], {}),
        (["x", "--colour", "green"], {}),
        ([], {}),
    ],
)
def test_a_command_gets_the_same_values_and_refuses_the_same(words, environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    outcomes = []
    for spared in (False, True):
        taken = []
        try:
            made(taken, spared).main(list(words), standalone_mode=False)
            outcomes.append(taken)
        except Exception as exc:
            outcomes.append((type(exc).__name__, str(exc)))
    assert outcomes[0] == outcomes[1]
    if isinstance(outcomes[0], list):
        assert [type(value) for value in outcomes[0][0]] == [type(value) for value in outcomes[1][0]]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_an_option_that_it_lacks(name):
    assert CliRunner().invoke(app, [name, "--no-such-option"]).exit_code == 2


def test_playing_needs_no_validators():
    code = """
import sys
from rtmedia.cli.main import app
try:
    app(["play", "ws://127.0.0.1:9/?token=x", "--quiet", "--effects", "none"])
except SystemExit as exc:
    assert exc.code == 2, exc.code  # a token in the arguments
print("pydantic" in sys.modules, "rich" in sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(rtmedia.__file__).parent.parent
    )
    assert result.stdout.split() == ["False", "False"]
