"""The entry point: which commands there are, what stands before them, and how their failures are told."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rtmedia.cli.exits import EPILOG, OK, exit_code, one_line
from rtmedia.cli.logs import level_number
from rtmedia.cli.options import Settings, settings_of
from rtmedia.cli.quick import QuickCommand, spare_validators

#: Each is a function of that name in the module of that name, in the order of the help.
COMMANDS = ("demo", "play", "serve", "devices", "simulate", "replay", "process", "doctor", "warmup", "bench")


class Commands(TyperGroup):
    """A group that turns exceptions into one line on standard error and an exit code.

    A command is imported when it is asked for: what all of them need together takes longer than the shortest of them.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spare_validators(self.get_params(ctx), settings)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        # The help and the guess at what a wrong name was meant to be look at all of them.
        for name in (cmd_name,) if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.add_command(_made(name), name)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # `| head` has seen enough. What is still buffered must not be written at exit.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(OK) from None
        except (Exception, KeyboardInterrupt) as exc:
            # typer's own exits and usage errors are typer's to tell; it brings its own click, or uses the real one.
            if type(exc).__module__.split(".")[0] in ("click", "typer"):
                raise
            if is_debugging(ctx):
                import traceback

                traceback.print_exception(type(exc), exc, exc.__traceback__)
            typer.echo(f"rtmedia: {one_line(exc)}", err=True)
            raise typer.Exit(exit_code(exc)) from None


def _made(name: str) -> Any:
    """The command `name`, with its module."""
    alone = typer.Typer(add_completion=False)
    alone.command(name, cls=QuickCommand, epilog=EPILOG)(getattr(import_module(f"rtmedia.cli.{name}"), name))
    return typer.main.get_command(alone)


def is_debugging(context: Any, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether tracebacks are wanted."""
    return settings_of(context).debug or environ.get("RTMEDIA_DEBUG", "") not in ("", "0")


def _version(wanted: bool) -> None:
    if wanted:
        from rtmedia import __version__

        typer.echo(f"rtmedia {__version__}")
        raise typer.Exit(OK)


app = typer.Typer(
    name="rtmedia",
    cls=Commands,
    help="Play live media streams cleanly, simulate them, and look after the machine that plays them.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback()
def settings(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from (also RTMEDIA_DEBUG=1).")] = False,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="LEVEL", envvar="RTMEDIA_LOG_LEVEL", help="debug, info, warning or error.")
    ] = "warning",
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version and end.")] = False,
) -> None:
    """What stands before the command."""
    context.obj = Settings(debug=debug, log_level=log_level)
    level_number(log_level)


def main() -> None:
    """``rtmedia``."""
    # What is imported is no garbage, and looking for some takes a start the twentieth part of its time.
    gc.set_threshold(50_000, *gc.get_threshold()[1:])
    app()
