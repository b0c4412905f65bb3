"""Compiling kernels with a bar, so that a first start that takes a minute explains itself."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from rtmedia.cli.kernels import KernelModule, cold_modules, kernel_modules, load


def load_with_a_bar(modules: Sequence[KernelModule], console: Console, title: str) -> float:
    """Import `modules` under a progress bar where there is a terminal; returns the seconds it took."""
    if not console.is_terminal or console.is_dumb_terminal:
        return load(modules)
    columns = (
        SpinnerColumn(),
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[module]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=len(modules), module="")
        done = -1

        def starting(module: KernelModule) -> None:
            nonlocal done
            done += 1
            progress.update(task, completed=done, module=module.name.removeprefix("rtmedia."))

        return load(modules, starting)


def prepare(console: Console, *, quiet: bool = False) -> None:
    """Compile now what a session would otherwise compile in silence; costs nothing where all is compiled."""
    modules = kernel_modules()
    cold = cold_modules(modules)
    if not cold:
        return
    if not quiet and not console.is_terminal:
        console.print("compiling the audio kernels; this happens once and takes about a minute (see `rtmedia warmup`)", soft_wrap=True)
    load_with_a_bar(modules, console, "compiling audio kernels, once")
