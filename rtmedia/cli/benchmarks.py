"""The benchmarks of a source tree: where they lie, what each asks, and how one is run in a process of its own."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rtmedia
from rtmedia.cli.files import write_json
from rtmedia.cli.group import Group
from rtmedia.errors import ConfigError

_FOLDER = "benchmarks"
_SHARED = "_bench.py"  # what tells a folder of ours from one that is only called so
_DRAWS = "_plot.py"
#: Of a log, in the report of a failure.
_LAST_LINES = 12
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One file.

    Attributes
    ----------
    path
        Where it is.
    question
        The first line of its docstring.
    about
        The rest of it, in Markdown's sense one or more paragraphs.
    """

    path: Path
    question: str
    about: str

    @property
    def name(self) -> str:
        """What it is called by: its file's name without the ending."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended: the exit code (None: it took too long), how long it took, and its result when it has written one."""

    benchmark: Benchmark
    exit_code: int | None
    took_s: float
    result: dict[str, Any]

    @property
    def failure(self) -> str:
        """What went wrong, in one line; empty where nothing did."""
        return str(self.result.get("failed", ""))


def find_folder(given: str | None = None) -> Path:
    """The folder of benchmarks: `given`, or beside the package (a checkout), or in the working directory.

    Raises
    ------
    ConfigError
        There is none, or `given` is none.
    """
    beside = Path(rtmedia.__file__).resolve().parents[1] / _FOLDER
    for folder in [Path(given)] if given is not None else [beside, Path.cwd() / _FOLDER]:
        if (folder / _SHARED).is_file():
            return folder
    if given is not None:
        raise ConfigError(f"--folder {given} holds no {_SHARED}: it is not rtmedia's folder {_FOLDER}; name the one in its source tree")
    raise ConfigError(
        f"there are no benchmarks beside the package ({beside}) nor in {Path.cwd()}: an installed rtmedia brings none. "
        f"They are in the folder {_FOLDER} of its source tree: run this from a checkout, or name it with --folder"
    )


def benchmarks_in(folder: Path) -> list[Benchmark]:
    """All of a folder, by name; what begins with ``_`` is shared code."""
    found = []
    for path in sorted(folder.glob("*.py")):
        if not path.name.startswith("_"):
            said = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or path.stem).strip()
            question, _, about = said.partition("\n")
            found.append(Benchmark(path, question, about.strip()))
    return found


def chosen(found: Sequence[Benchmark], names: Sequence[str]) -> list[Benchmark]:
    """Those that are named, in the order of their names there; all where none is.

    Raises
    ------
    ConfigError
        A name that none has.
    """
    by_name = {one.name: one for one in found}
    wanted = [name.removesuffix(".py") for name in names]
    for name in wanted:
        if name not in by_name:
            raise ConfigError(f"{name!r} is no benchmark; there are {', '.join(by_name)} (see `rtmedia bench --list`)")
    return [by_name[name] for name in dict.fromkeys(wanted)] if wanted else list(found)


def run(
    one: Benchmark,
    out: Path,
    *,
    tiny: bool,
    plots: bool,
    extra: Sequence[str] = (),
    timeout_s: float | None = None,
    saying: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Run one benchmark and keep ``NAME.json``, ``NAME.log`` and its pictures in `out`.

    What an earlier run left there under the same names is removed first: a result is never older than its log. `saying` is
    called now and then with the last line that it has printed. However it ends, by itself, by `timeout_s` or because we are
    interrupted, all processes that it has begun end with it.
    """
    kept, log = out / f"{one.name}.json", out / f"{one.name}.log"
    for old in (kept, log, *pictures_of(one.name, out)):
        old.unlink(missing_ok=True)
    command = [sys.executable, str(one.path.resolve()), "--json", str(kept.resolve())]
    command += ["--tiny"] if tiny else []
    command += ["--plot", str(out.resolve())] if plots else []
    # The benchmarks measure this very package, also where another one is installed.
    root = str(Path(rtmedia.__file__).resolve().parents[1])
    environ = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        "MPLBACKEND": "Agg",
        "PYTHONUNBUFFERED": "1",  # whoever follows the log sees what is done now
    }
    began_s = time.monotonic()
    with log.open("wb") as output:
        group = Group([*command, *extra], environ, output)
        try:
            code = _waited(group.process, log, timeout_s, saying)
        finally:
            group.end()
    took_s = time.monotonic() - began_s
    result = _result_of(one, kept, log, code, timeout_s)
    if plots and not result.get("failed") and not pictures_of(one.name, out):  # it draws none of its own
        draw = [sys.executable, str(one.path.resolve().with_name(_DRAWS)), str(kept.resolve()), str(out.resolve())]
        subprocess.run(draw, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ, check=False)
    result["run"] = {"took_s": round(took_s, 1), "arguments": list(extra)}
    write_json(kept, result)
    return Outcome(one, code, took_s, result)


def _waited(process: subprocess.Popen[bytes], log: Path, timeout_s: float | None, saying: Callable[[str], None]) -> int | None:
    """The exit code, or None where it took too long."""
    deadline_s = time.monotonic() + (timeout_s if timeout_s is not None else float("inf"))
    while (left_s := deadline_s - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(_LOOK_S, left_s))
        saying(_last_line(log))
    return process.poll()


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1000))
        lines = file.read().decode("utf-8", "replace").replace("\r", "\n").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _result_of(one: Benchmark, kept: Path, log: Path, code: int | None, timeout_s: float | None) -> dict[str, Any]:
    said = log.read_text("utf-8", "replace").strip().splitlines()
    failed = ""
    if code is None:
        failed = f"ended after {timeout_s:g} s (--timeout)"
    elif code:
        failed = said[-1].strip() if said else f"exit code {code}, and nothing was said"
    try:
        result = dict(json.loads(kept.read_text("utf-8")))
    except (OSError, ValueError):
        result = {"question": one.question, "rows": []}
        failed = failed or "it ended well, but left no result"
    return result | ({"failed": failed, "log": said[-_LAST_LINES:]} if failed else {})


def pictures_of(name: str, folder: Path) -> list[Path]:
    """``NAME.png`` and ``NAME-….png``; those of a benchmark with a longer name are not among them."""
    return sorted([*folder.glob(f"{name}.png"), *folder.glob(f"{name}-*.png")])


def results_in(out: Path, found: Sequence[Benchmark]) -> list[tuple[Benchmark, dict[str, Any]]]:
    """What lies in a folder of results, this run's and earlier ones', in the order of the benchmarks."""
    results = []
    for one in found:
        try:
            result = json.loads((out / f"{one.name}.json").read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(result, dict) and "rows" in result:
            results.append((one, result))
    return results
