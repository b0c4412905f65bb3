"""Which files ``rtmedia process`` reads and writes, and the work on one of them."""

from __future__ import annotations

import glob
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtmedia.cli.exits import exit_code, one_line
from rtmedia.cli.recordings import SUFFIXES, WAV_SUFFIXES, open_recording, wav_writer
from rtmedia.errors import ConfigError, SinkError
from rtmedia.ports import RATES_HZ, Effect, Format


@dataclass(frozen=True, slots=True)
class Job:
    """One recording; everything in it can be sent to another process."""

    source: Path
    target: Path
    effects: str | tuple[Effect, ...]
    ceiling_db: float = -1.0
    rate_hz: int | None = None
    plot: Path | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job: figures, or the exit code and the line that say why there are none."""

    job: Job
    report: dict[str, Any] = field(default_factory=dict)
    code: int = 0
    error: str = ""


def places(sources: Sequence[str], target: str) -> list[tuple[Path, Path]]:
    """Where each recording comes from and goes to.

    Parameters
    ----------
    sources
        Files, folders (every sound file under them, their sub-folders kept), and patterns such as ``calls/*.wav``.
    target
        A file for one file; otherwise a folder, which is made.

    Raises
    ------
    ConfigError
        Nothing is found, two would be written to one place, `target` is a file and there are many, or its name says that it is no WAV.
    """
    goal = Path(target)
    found: list[tuple[Path, Path]] = []  # the file, and its name in a folder
    one = len(sources) == 1
    for text in sources:
        path = Path(text)
        if path.is_dir():
            one = False
            inside = [item for item in sorted(path.rglob("*")) if item.suffix.lower() in SUFFIXES and item.is_file()]
            # What an earlier call wrote under the folder that it read is no recording of this call.
            inside = [item for item in inside if not item.name.startswith(".") and (goal == path or not _is_under(item, goal))]
            if not inside:
                raise ConfigError(f"folder {text} holds no sound file ({', '.join(SUFFIXES)}); check the path")
            found += [(item, item.relative_to(path)) for item in inside]
        elif not path.exists() and glob.has_magic(text):
            one = False
            matches = [Path(match) for match in sorted(glob.glob(text, recursive=True)) if Path(match).is_file()]
            if not matches:
                raise ConfigError(f"no file is called like {text}; check the pattern")
            found += [(item, Path(item.name)) for item in matches]
        else:
            found.append((path, Path(path.name)))
    if one and not goal.is_dir() and not target.endswith(("/", "\\")):
        if goal.suffix.lower() in SUFFIXES and goal.suffix.lower() not in WAV_SUFFIXES:
            raise ConfigError(f"{target} would hold WAV under a name that says {goal.suffix}; call it {goal.with_suffix('.wav')}")
        return [(found[0][0], goal)]
    if goal.exists() and not goal.is_dir():
        raise ConfigError(f"{target} is a file, and there are {len(found)} recordings; name a folder as the last argument")
    pairs = [(source, goal / name.with_suffix(".wav")) for source, name in found]
    taken: dict[Path, Path] = {}
    for source, place in pairs:
        other = taken.setdefault(place, source)
        if other is not source:
            raise ConfigError(f"{other} and {source} would both become {place}; process them into different folders")
    return pairs


def _is_under(path: Path, folder: Path) -> bool:
    return folder.resolve() in path.resolve().parents


def make_folders(paths: Iterable[Path]) -> None:
    """The folders that these files will be in.

    Raises
    ------
    SinkError
        One cannot be made.
    """
    folder = Path()
    try:
        for folder in dict.fromkeys(path.parent for path in paths):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SinkError(
            f"folder {folder} cannot be made ({exc.strerror})", kind="file", device=str(folder), hint="choose another one"
        ) from exc


def seconds_of(job: Job) -> float:
    """How long a recording is; 0 where that cannot be told without reading it, or where it is damaged."""
    if not job.source.is_file():
        return 0.0
    try:
        with open_recording(job.source) as recording:
            return recording.seconds
    except ConfigError:
        return 0.0


def clean_one(job: Job, tell: Callable[[float], None]) -> Outcome:
    """Clean one recording; whatever goes wrong is in the outcome.

    Parameters
    ----------
    tell
        Called with the seconds of sound that have been done since its last call.
    """
    try:
        return Outcome(job, _cleaned(job, tell))
    except Exception as exc:
        return Outcome(job, code=exit_code(exc), error=one_line(exc))


def _cleaned(job: Job, tell: Callable[[float], None]) -> dict[str, Any]:
    from rtmedia.cli.hearing import Hearing
    from rtmedia.processing import Chain

    with open_recording(job.source, job.rate_hz) as recording:
        rate_hz, channels = recording.rate_hz, recording.channels
        if channels > 2:
            raise ConfigError(f"{job.source} has {channels} channels; mono and stereo can be processed: mix it down first")
        if rate_hz not in RATES_HZ:
            what = f"{job.source} has" if job.rate_hz is None else "--rate is"
            raise ConfigError(f"{what} {rate_hz} Hz; the effects are built for {RATES_HZ}: give one of them as --rate")
        format = Format(rate_hz, channels)
        chain = Chain(format, job.effects, job.ceiling_db)
        before, after = (Hearing(format, recording.frames, job.plot is not None) for _ in range(2))
        began_s = time.monotonic()
        frames = 0
        with wav_writer(job.target, rate_hz, channels, recording.frames) as writer:
            for block in recording.blocks:
                before.feed(block)
                done = chain.feed(block)
                after.feed(done)
                writer.write(done)
                frames += len(block)
                tell(len(block) / rate_hz)
            rest = chain.flush()
            after.feed(rest)
            writer.write(rest)
        took_s = time.monotonic() - began_s
    seconds = frames / rate_hz
    heard_in, heard_out = before.found(), after.found()
    report: dict[str, Any] = {
        "in": str(job.source),
        "out": str(job.target),
        "seconds": seconds,
        "rate_hz": rate_hz,
        "channels": channels,
        "effects": [effect.name for effect in chain.effects],
        "ceiling_db": job.ceiling_db,
        "loudness_in_lufs": heard_in.loudness_lufs,
        "loudness_out_lufs": heard_out.loudness_lufs,
        "true_peak_in_db": heard_in.true_peak_db,
        "true_peak_out_db": heard_out.true_peak_db,
        "took_s": took_s,
        "times_real_time": seconds / max(took_s, 1e-9),
    }
    if job.plot is not None:
        from rtmedia.cli.before_after import plot_before_after

        names = ", ".join(effect.name.replace("_", " ") for effect in chain.effects) or "no effects"
        plot_before_after(job.plot, job.title, f"{names}, limiter at {job.ceiling_db:g} dB".replace("-", "−"), seconds, before, after)
        report["plot"] = str(job.plot)
    return report
