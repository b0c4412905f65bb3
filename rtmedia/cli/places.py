"""Where the files of several runs go: one option's text, a path for each run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtmedia.cli.runs import Run
from rtmedia.errors import ConfigError

PLACEHOLDER = "{run}"
PICTURES = (".png", ".svg", ".pdf")


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
            f"--{option} {given} is a file, and there are {len(runs)} runs; name a folder, or put {PLACEHOLDER} where a run's name belongs"
        )
    return [_in_folder(path / f"{run.stem}{suffixes[0]}") for run in runs]


def need_matplotlib() -> None:
    """Say how to get the drawing library where it is missing."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ConfigError("--plot draws with matplotlib, which is not installed; run: pip install 'rtmedia[plot]'")


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


def _beside(folder: Path, plots: Sequence[Path | None]) -> Path:
    """The picture over all: ``overview``, numbered where a run is called so too."""
    taken = {path.stem.lower() for path in plots if path is not None}
    name, number = "overview", 2
    while name in taken:
        name, number = f"overview-{number}", number + 1
    return folder / f"{name}{PICTURES[0]}"


def _few_words(paths: Sequence[Path]) -> list[str]:
    """Files by their folders; where those are more than three, by the folder that these are in."""
    counts = Counter(path.parent for path in paths)
    if len(counts) > 3:
        return [f"{len(paths)} files in {len(counts)} folders of {os.path.commonpath(counts) or '.'}"]
    alone = {path.parent: path for path in paths}
    return [str(alone[folder]) if counts[folder] == 1 else f"{counts[folder]} files in {folder}" for folder in sorted(counts)]


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything of several runs goes.

    Attributes
    ----------
    of_each : list of (out, ticks, plot)
        For each run, in order.
    overview : Path or None
        The picture over all runs.
    """

    of_each: list[tuple[Path | None, Path | None, Path | None]]
    overview: Path | None

    @classmethod
    def of(cls, runs: Sequence[Run], *, out: str | None, ticks: str | None, plot: str | None) -> Places:
        """What the three options mean for `runs`.

        Raises
        ------
        ConfigError
            A file where a folder is needed, a suffix that nobody can write, or no drawing library.
        """
        overview = None
        plots: list[Path | None] = [None] * len(runs)
        if plot is not None:
            need_matplotlib()
            if len(runs) > 1 and Path(plot).suffix.lower() in PICTURES and PLACEHOLDER not in plot and not Path(plot).is_dir():
                overview = Path(plot)
            else:
                plots = places("plot", plot, runs, PICTURES)
                if len(runs) > 1 and PLACEHOLDER not in plot:
                    overview = _beside(Path(plot), plots)
        files = zip(places("out", out, runs, (".wav",)), places("ticks", ticks, runs, (".csv", ".npz")), plots, strict=True)
        return cls(list(files), overview)

    def told(self) -> list[str]:
        """What was written, in few words: a folder instead of its many files. A run that failed has written nothing."""
        kinds = [[path for path in kind if path is not None and path.exists()] for kind in zip(*self.of_each, strict=True)]
        said = [text for kind in kinds for text in _few_words(kind)]
        return said + ([str(self.overview)] if self.overview is not None and self.overview.exists() else [])
