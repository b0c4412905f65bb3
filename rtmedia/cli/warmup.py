"""``rtmedia warmup``: compile every kernel now, so that no start has to."""

from __future__ import annotations

import json as json_
import subprocess

import typer

from rtmedia.cli import options as opt
from rtmedia.cli.exits import UNEXPECTED
from rtmedia.cli.terminal import stderr_console, stdout_console


def warmup(
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Compile every kernel now, so that no start has to.

    Then a second interpreter proves that it finds them, and old generations are removed.
    """
    from rtmedia.cli.kernels import cold_modules, kernel_modules, load_elsewhere
    from rtmedia.cli.preparing import load_with_a_bar
    from rtmedia.errors import RoomError
    from rtmedia.rt.cache import cache_root, remove_old_generations

    modules = kernel_modules()
    cold = cold_modules(modules)
    errors = stderr_console()
    if not (quiet or json) and cold and not errors.is_terminal:
        errors.print(f"compiling {len(cold)} of {len(modules)} modules of kernels; this takes about half a minute", soft_wrap=True)
    seconds = load_with_a_bar(modules, errors, "compiling kernels" if cold else "loading kernels")
    try:
        again_s, warm = load_elsewhere(modules)
    except subprocess.CalledProcessError as exc:
        said = exc.stderr.decode("utf-8", "replace").strip().splitlines()
        raise RoomError(f"a second interpreter cannot load the kernels: {said[-1] if said else exc}", room="warmup") from exc
    removed = remove_old_generations()
    if json:
        values = {
            "modules": len(modules),
            "kernels": sum(module.kernels for module in modules),
            "compiled_modules": len(cold),
            "seconds": round(seconds, 3),
            "second_load_s": round(again_s, 3),
            "warm": warm,
            "removed_generations": removed,
            "cache": str(cache_root()),
        }
        typer.echo(json_.dumps(values))
    elif not quiet:
        kernels = sum(module.kernels for module in modules)
        what = f"{len(cold)} compiled" if cold else "all from the cache"
        text = f"{kernels} kernels in {len(modules)} modules ready in {seconds:.1f} s ({what}); a new start loads them in {again_s:.1f} s"
        text += f"; {removed} old generations removed" if removed else ""
        stdout_console().print(text, soft_wrap=True)
    if not warm:
        errors.print(
            f"the cache does not keep them: each start compiles again; is {cache_root()} writable? (RTMEDIA_CACHE_DIR moves it)",
            soft_wrap=True,
        )
        raise typer.Exit(UNEXPECTED)
