"""Compiling kernels with a bar, so that a first start that takes half a minute explains itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rtmedia.cli.kernels import KernelModule, cold_modules, compile_elsewhere, kernel_modules, load, processors
from rtmedia.cli.terminal import stderr_console
from rtmedia.rt.stamp import looking_once

if TYPE_CHECKING:
    from rich.console import Console

#: Fewer cold modules than this are compiled here: a second process takes a second to begin.
_FEW = 4


def load_with_a_bar(modules: Sequence[KernelModule], console: Console, title: str) -> float:
    """Compile what is cold and import all, under a progress bar where there is a terminal; returns the seconds it took."""
    began_s = time.monotonic()
    if not console.is_terminal or console.is_dumb_terminal:
        _compile(modules, lambda module: None, lambda module: None)
        load(modules)
        return time.monotonic() - began_s
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[module]}", style="dim"),
    )
    cold = cold_modules(modules)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=len(modules), completed=len(modules) - len(cold), module="")
        _compile(
            modules,
            lambda module: progress.update(task, module=module.name.removeprefix("rtmedia.")),
            lambda module: progress.advance(task),
        )
        load(modules, lambda module: progress.update(task, module=module.name.removeprefix("rtmedia.")))
        progress.update(task, completed=len(modules))
    return time.monotonic() - began_s


def _compile(modules: Sequence[KernelModule], starting: Callable[[KernelModule], None], done: Callable[[KernelModule], None]) -> None:
    """Compile what is cold in several processes, where that is worth it and the disk keeps it."""
    cold = [module for module in cold_modules(modules) if module.folder is not None]
    if len(cold) >= _FEW and processors() > 1:
        compile_elsewhere(cold, processors(), starting, done)


def prepare(console: Console | None = None, *, quiet: bool = False) -> None:
    """Compile now what a session would otherwise compile in silence; costs nothing where all is compiled.

    None is a console of standard error, made only if there is something to say.
    """
    modules = kernel_modules()
    with looking_once():
        cold = cold_modules(modules)
    if not cold:
        return
    console = console or stderr_console()
    if not quiet and not console.is_terminal:
        console.print("compiling the audio kernels; this happens once and takes about half a minute (see `rtmedia warmup`)", soft_wrap=True)
    load_with_a_bar(modules, console, "compiling audio kernels, once")
