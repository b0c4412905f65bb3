"""``rtmedia process``: the effects over a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtmedia.cli import options as opt
from rtmedia.cli.terminal import clock, stderr_console, stdout_console
from rtmedia.errors import ConfigError

_BAR_FROM_S = 20.0  # shorter recordings are done before a bar has said anything


def process(
    source: Annotated[str, typer.Argument(metavar="IN.wav", help="Any WAV; FLAC, Ogg and MP3 with the package soundfile.")],
    target: Annotated[str, typer.Argument(metavar="OUT.wav", help="16-bit WAV; may be the same file.")],
    effects: opt.EffectsOption = "default",
    rate: Annotated[
        int | None, typer.Option("--rate", metavar="HZ", help="Resample first (with the package soxr).", rich_help_panel=opt.SOUND)
    ] = None,
    quiet: opt.Quiet = False,
) -> None:
    """Pass a recording through the effects.

    The limiter always follows, as it does live. The result is in line with the original, to the sample.
    """
    from rtmedia.cli.effects import parse_effects
    from rtmedia.cli.files import write_wav
    from rtmedia.cli.preparing import prepare
    from rtmedia.ports import RATES_HZ
    from rtmedia.sim.speech import read_speech

    recording = read_speech(source)
    if recording.block.shape[1] > 2:
        raise ConfigError(f"{source} has {recording.block.shape[1]} channels; mono and stereo can be processed: mix it down first")
    if rate is not None and rate != recording.rate_hz:
        recording = recording.at(rate, recording.block.shape[1])
    if recording.rate_hz not in RATES_HZ:
        raise ConfigError(f"{source} has {recording.rate_hz} Hz; the effects are built for {RATES_HZ}: give one of them as --rate")
    errors = stderr_console()
    prepare(errors, quiet=quiet)
    from rtmedia.processing import process as run

    # Offline blocks are long: the engine's own default chain counts on blocks of 10 ms.
    chain = parse_effects(effects, live=False)
    frames, seconds = len(recording.block), recording.duration_ms / 1000.0
    if quiet or seconds < _BAR_FROM_S or not errors.is_terminal:
        audio = run(recording.block, recording.rate_hz, chain)
        write_wav(Path(target), audio, recording.rate_hz)
    else:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        with Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=errors, transient=True
        ) as bar:
            task = bar.add_task(Path(source).name, total=frames)
            audio = run(recording.block, recording.rate_hz, chain, progress=lambda done: bar.update(task, completed=done))
            bar.update(task, description=f"writing {Path(target).name}")
            write_wav(Path(target), audio, recording.rate_hz)
    if not quiet:
        names = chain if isinstance(chain, str) else ", ".join(effect.name for effect in chain) or "no effects"
        stdout_console().print(f"{target}: {clock(seconds)} at {recording.rate_hz} Hz, {names}, limiter", soft_wrap=True)
