"""Where compiled kernels are kept between runs.

numba's disk cache checks only the file that holds a kernel: an edit in a module that the kernel calls
into goes unnoticed and old machine code runs on. So each module's kernels live in a directory whose
name carries a hash over that module *and every rtmedia module it imports*, directly or not: an edit
opens fresh directories for all that depend on it, and for nothing else. Where nothing is writable,
kernels are compiled at each start instead; that is slow, never wrong.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

_IMPORT = re.compile(r"^(?:from\s+(rtmedia[\w.]*)\s+import\s+(\([^)]*\)|[^\n]*)|import\s+(rtmedia[\w.]*))", re.MULTILINE)
_NAME = re.compile(r"\w+")


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


@functools.cache
def _imports(path: Path, root: Path) -> tuple[Path, ...]:
    """The files under `root` (the folder that holds ``rtmedia``) that the module at `path` imports."""
    names: set[str] = set()
    for package, imported, module in _IMPORT.findall(path.read_text("utf-8")):
        names.add(module or package)
        names.update(f"{package}.{name}" for name in _NAME.findall(imported) if package)
    candidates = (root.joinpath(*name.split(".")).with_suffix(".py") for name in sorted(names))
    return tuple(candidate for candidate in candidates if candidate.is_file())


def closure(path: Path, root: Path) -> list[Path]:
    """The module at `path` and every module it imports under `root`, transitively, sorted."""
    seen = {path}
    waiting = [path]
    while waiting:
        for imported in _imports(waiting.pop(), root):
            if imported not in seen:
                seen.add(imported)
                waiting.append(imported)
    return sorted(seen)


def closure_hash(path: Path, root: Path) -> str:
    """Twelve hexadecimal digits over the names and contents of `closure`."""
    digest = hashlib.sha256()
    for member in closure(path, root):
        digest.update(member.name.encode() + b"\0" + member.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


@functools.cache
def kernel_cache_dir(source: str) -> Path | None:
    """The directory for kernels defined in file `source`; ``None`` where it cannot be written."""
    root = Path(__file__).resolve().parent.parent.parent
    try:
        path = Path(source).resolve()
        name = path.stem if path.parent.name in ("", "rtmedia") else f"{path.parent.name}.{path.stem}"
        directory = cache_root() / "kernels" / f"{name}-{closure_hash(path, root)}"
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    return directory


def remove_old_generations(keep: int = 3) -> int:
    """Delete all but the `keep` newest generations of each module; returns how many went."""
    generations: dict[str, list[Path]] = {}
    for path in (cache_root() / "kernels").glob("*-*"):
        if path.is_dir():
            generations.setdefault(path.name.rpartition("-")[0], []).append(path)
    removed = 0
    for paths in generations.values():
        paths.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in paths[keep:]:
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
    return removed
