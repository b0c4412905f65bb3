"""Where compiled kernels are kept between runs.

numba's disk cache checks only the file that holds a kernel: an edit in a module that the kernel calls
into goes unnoticed and old machine code runs on. So each module's kernels live in a directory whose
name carries a hash over that module *and every rtmedia module it imports*, directly or not: an edit
opens fresh directories for all that depend on it, and for nothing else. Where nothing is writable,
kernels are compiled at each start instead; that is slow, never wrong.

A plug-in's module is followed through its own package in the same way (through the files beside it,
where it is no package). Imports are found by reading, not by running: relative ones, ones inside a
function, and names that a package's ``__init__`` passes on are all followed; one too many costs a
compilation, one too few would run stale code.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from rtmedia.rt.stamp import Remembering, recall

_COMMENT = re.compile(r"#[^\n]*|\\\n")
_FROM = re.compile(r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[^\n]*)", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*import[ \t]+([^\n]+)", re.MULTILINE)
_NAME = re.compile(r"[\w.]+")


def cache_root() -> Path:
    """The directory that holds all generations: ``RTMEDIA_CACHE_DIR``, or the user's cache."""
    chosen = os.environ.get("RTMEDIA_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return Path(base) / "rtmedia"


def _package(path: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder that holds the outermost package of the module at `path`, and the packages on the way down."""
    folder = path.parent
    packages: list[str] = []
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        packages.insert(0, folder.name)
        folder = folder.parent
    return folder, tuple(packages)


def _found(root: Path, name: tuple[str, ...], imported: tuple[str, ...]) -> Iterator[Path]:
    """The files under `root` that ``from name import imported`` may run kernels from."""
    place = root.joinpath(*name)
    if place.with_suffix(".py").is_file():
        yield place.with_suffix(".py")
        return
    asked = [place / f"{item}.py" for item in imported]
    yield from (path for path in asked if path.is_file())
    if not all(path.is_file() for path in asked) or not imported:
        yield place / "__init__.py"  # a name that the package passes on: whence, its own imports say


@functools.lru_cache(maxsize=4096)
def _imports(path: Path, root: Path, _modified_ns: int) -> tuple[Path, ...]:
    """The files that the module at `path` imports from ``rtmedia`` under `root` and from its own package."""
    text = _COMMENT.sub("", path.read_text("utf-8", errors="replace"))
    home, packages = _package(path)
    asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    for dots, module, listed in _FROM.findall(text):
        name = tuple(part for part in module.split(".") if part)
        if dots:
            name = packages[: len(packages) + 1 - len(dots)] + name
        words = listed.strip("() \t").replace("\n", " ").split(",")
        asked.append((name, tuple(word.split()[0] for word in words if word.split())))
    for listed in _IMPORT.findall(text):
        asked += [(tuple(word.split(".")), ()) for word in _NAME.findall(listed)]
    found: set[Path] = set()
    for name, imported in asked:
        if name[:1] == ("rtmedia",):
            found.update(_found(root, name, imported))
        if packages and name[:1] == packages[:1] and home != root:
            found.update(_found(home, name, imported))
        elif not packages and name:  # a script: only the modules beside it, or all that is installed would count
            found.add(home / f"{name[0]}.py")
    return tuple(sorted(found_path for found_path in found if found_path.is_file()))


def closure(path: Path, root: Path) -> list[Path]:
    """The module at `path` and every module it imports, transitively, sorted.

    Parameters
    ----------
    path : Path
        The file of the module.
    root : Path
        The folder that holds ``rtmedia``.
    """
    seen = {path}
    waiting = [path]
    while waiting:
        member = waiting.pop()
        for imported in _imports(member, root, member.stat().st_mtime_ns):
            if imported not in seen:
                seen.add(imported)
                waiting.append(imported)
    return sorted(seen)


def closure_hash(path: Path, root: Path) -> str:
    """Twelve hexadecimal digits over the names and contents of `closure`."""
    digest = hashlib.sha256()
    for member in closure(path, root):
        folder = root if member.is_relative_to(root) else _package(member)[0]
        octets = member.read_bytes()
        digest.update(f"{member.relative_to(folder).as_posix()}\0{len(octets)}\0".encode() + octets)
    return digest.hexdigest()[:12]


def _generation(path: Path, root: Path, notes: Path) -> str:
    """`closure_hash`, or what it said when the same files were asked about before."""
    subject = f"{path} {root}"
    known = recall(notes, subject)
    if known is None:
        remembering = Remembering(notes, subject, closure(path, root))
        known = closure_hash(path, root)
        remembering.keep(known)
    return known


@functools.cache
def kernel_cache_dir(source: str) -> Path | None:
    """The directory for kernels defined in file `source`; ``None`` where there is none and it cannot be made."""
    root = Path(__file__).resolve().parent.parent.parent
    try:
        path = Path(source).resolve()
        name = path.stem if path.parent.name in ("", "rtmedia") else f"{path.parent.name}.{path.stem}"
        cache = cache_root()
        directory = cache / "kernels" / f"{name}-{_generation(path, root, cache / 'sources')}"
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    with contextlib.suppress(OSError):  # what cannot be written can still be read
        os.utime(directory)  # used today: `remove_old_generations` goes by this
    return directory


def discard(directory: Path) -> None:
    """Remove one module's directory, as far as that can be done: what it holds could not be used.

    numba makes it again, with a folder inside, for the next kernel that is stored.
    """
    shutil.rmtree(directory, ignore_errors=True)


def _used_ns(directory: Path) -> int:
    try:
        return directory.stat().st_mtime_ns
    except OSError:  # another process removed it meanwhile
        return 0


def remove_old_generations(keep: int = 3) -> int:
    """Delete all but the `keep` generations of each module that were used last; returns how many went."""
    generations: dict[str, list[Path]] = {}
    for path in (cache_root() / "kernels").glob("*-*"):
        if path.is_dir():
            generations.setdefault(path.name.rpartition("-")[0], []).append(path)
    removed = 0
    for paths in generations.values():
        paths.sort(key=_used_ns, reverse=True)
        for path in paths[keep:]:
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
    return removed
