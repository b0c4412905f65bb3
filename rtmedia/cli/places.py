"""Where the files of several runs go: one option's text, a path for each run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rtmedia.cli.runs import Run
from rtmedia.errors import ConfigError

PLACEHOLDER = "{run}"


def places(option: str, given: str | None, runs: Sequence[Run], suffixes: Sequence[str]) -> list[Path | None]:
    """A path for each run; folders are made.

    Parameters
    ----------
    option
        Its name, for errors.
    given
        A file for one run, a folder for many (the files are called after their runs), or any path with ``{run}`` in it.
    suffixes
        What can be written; the first is taken where a folder is given.

    Raises
    ------
    ConfigError
        A file for many runs, or one that ends in something else.
    """
    if given is None:
        return [None] * len(runs)
    path = Path(given)
    if PLACEHOLDER in given:
        known_suffix(option, given, suffixes)
        return [_in_folder(Path(given.replace(PLACEHOLDER, run.stem))) for run in runs]
    if path.is_dir():
        return [path / f"{run.stem}{suffixes[0]}" for run in runs]
    if len(runs) == 1 and not given.endswith(("/", "\\")):
        if suffixes[0] != ".wav":  # sound is WAV whatever its file is called, /dev/stdout too
            known_suffix(option, given, suffixes)
        return [path]
    if path.exists() or path.suffix.lower() in suffixes:
        raise ConfigError(
            f"--{option} {given} is a file, and there are {len(runs)} runs; name a folder, or put {PLACEHOLDER} where each run's name belongs"
        )
    return [_in_folder(path / f"{run.stem}{suffixes[0]}") for run in runs]


def known_suffix(option: str, given: str, suffixes: Sequence[str]) -> None:
    """Refuse a name that does not say what is to be written."""
    if Path(given).suffix.lower() not in suffixes:
        said = f"ends in {Path(given).suffix!r}" if Path(given).suffix else "has no suffix"
        raise ConfigError(f"--{option} {given} {said}; let it end in {' or '.join(suffixes)}")


def _in_folder(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"folder {path.parent} cannot be made ({exc.strerror}); choose another one") from exc
    return path
