"""Which modules hold compiled kernels, whether they are compiled already, and compiling them.

Modules are found by reading the package's sources: a list kept by hand would forget the next one.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from rtmedia.rt.cache import kernel_cache_dir

_KERNEL = re.compile(r"^@(?:kernel|callback)\b", re.MULTILINE)
#: Below come first, so that each module's name stands for its own kernels and not for those of what it imports.
_ORDER = ("rt", "dsp", "codec", "jitter", "rooms")


@dataclass(frozen=True, slots=True)
class KernelModule:
    """One module with `kernels` compiled functions."""

    name: str
    path: Path
    kernels: int

    @property
    def folder(self) -> Path | None:
        """Where its machine code lies; None where nothing can be written."""
        directory = kernel_cache_dir(str(self.path))
        if directory is None:
            return None
        # numba files by the folder of the source: two checkouts share the directory, not the files.
        source = self.path.parent
        return directory / f"{source.name}_{hashlib.sha1(str(source).encode(), usedforsecurity=False).hexdigest()}"

    @property
    def warm(self) -> bool:
        """Whether the disk holds machine code for every kernel; the folder's name stands for what the sources say.

        A guess for display: numba itself decides (by processor too), and compiles what is missing.
        """
        if self.folder is None:
            return False
        return len(list(self.folder.glob("*.nbi"))) >= self.kernels


def kernel_modules(package: Path | None = None) -> list[KernelModule]:
    """Every module of rtmedia with kernels, in an order in which nothing is imported before its turn."""
    root = package if package is not None else Path(__file__).resolve().parent.parent
    found = []
    for path in sorted(root.rglob("*.py")):
        kernels = len(_KERNEL.findall(path.read_text("utf-8")))
        if kernels:
            name = ".".join(("rtmedia", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
            found.append(KernelModule(name, path, kernels))

    def rank(module: KernelModule) -> int:
        layer = module.name.split(".")[1]
        return _ORDER.index(layer) if layer in _ORDER else len(_ORDER)

    return sorted(found, key=rank)


def cold_modules(modules: Iterable[KernelModule]) -> list[KernelModule]:
    """Those that will have to be compiled."""
    return [module for module in modules if not module.warm]


def load(modules: Iterable[KernelModule], starting: Callable[[KernelModule], None] = lambda module: None) -> float:
    """Import every module, compiling what must be; returns the seconds it took."""
    began_s = time.monotonic()
    for module in modules:
        starting(module)
        import_module(module.name)
    return time.monotonic() - began_s


def cached_files(modules: Iterable[KernelModule]) -> dict[Path, int]:
    """Every file of machine code and when it was written."""
    folders = {folder for module in modules if (folder := module.folder) is not None}
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.glob("*.nb[ic]")}


def load_elsewhere(modules: Iterable[KernelModule], timeout_s: float = 120.0) -> tuple[float, bool]:
    """Import every module in a fresh interpreter; returns the seconds and whether nothing had to be compiled."""
    modules = list(modules)
    before = cached_files(modules)
    # The child must find this very package, also where it is not installed.
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parent.parent.parent)!r})\n" + "".join(
        f"import {module.name}\n" for module in modules
    )
    began_s = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=timeout_s, stdin=subprocess.DEVNULL, capture_output=True)
    return time.monotonic() - began_s, cached_files(modules) == before
