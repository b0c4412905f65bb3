"""Which modules hold compiled kernels, whether they are compiled already, and compiling them.

Modules are found by reading the package's sources: a list kept by hand would forget the next one.

A cold package is compiled by several processes (the compiler holds the interpreter for most of its time,
so threads would not help). A module's turn comes when all that it imports is compiled: whoever imports it
then finds that on the disk, and no kernel is compiled twice.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue

from rtmedia.rt.cache import closure, kernel_cache_dir

_ROOT = Path(__file__).resolve().parent.parent.parent
_KERNEL = re.compile(r"^@(?:kernel|callback)\b[^\n]*", re.MULTILINE)
#: A part of its callers, without a file of its own: said so, or returning an array.
_INLINE = re.compile(r"inline=True|^@kernel\(\"\w+\[")
#: A worker imports the modules it is told, one a line, and answers each with a line.
_WORKER = """
import sys
sys.path.insert(0, {root!r})
from importlib import import_module
answers = sys.stdout
sys.stdout = sys.stderr
for name in sys.stdin:
    import_module(name.strip())
    print("done", file=answers, flush=True)
"""
#: Below come first, so that each module's name stands for its own kernels and not for those of what it imports.
_ORDER = ("rt", "dsp", "codec", "jitter", "rooms")


@dataclass(frozen=True, slots=True)
class KernelModule:
    """One module with `kernels` compiled functions, `files` of which have machine code of their own."""

    name: str
    path: Path
    kernels: int
    files: int

    @property
    def folder(self) -> Path | None:
        """Where its machine code lies; None where nothing can be written."""
        return kernel_cache_dir(str(self.path))

    @property
    def warm(self) -> bool:
        """Whether the disk holds machine code for every kernel; the folder's name stands for what the sources say.

        A guess for display: the kernels themselves decide (by processor too), and compile what is missing.
        """
        if self.folder is None:
            return False
        try:
            return sum(name.endswith(".kernel") for name in os.listdir(self.folder)) >= self.files
        except OSError:  # another process removed it meanwhile
            return False


def kernel_modules(package: Path | None = None) -> list[KernelModule]:
    """Every module of rtmedia with kernels, in an order in which nothing is imported before its turn."""
    root = package if package is not None else _ROOT / "rtmedia"
    found = []
    for path in sorted(root.rglob("*.py")):
        source = path.read_bytes()
        if b"\n@kernel" not in source and b"\n@callback" not in source:  # most modules, and this is asked at every start
            continue
        kernels = _KERNEL.findall(source.decode())
        if kernels:
            name = ".".join(("rtmedia", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
            found.append(KernelModule(name, path, len(kernels), sum(not _INLINE.search(line) for line in kernels)))

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


def processors() -> int:
    """How many processes may compile at once; each takes about 250 MB."""
    from rtmedia.cli.workers import cores

    return min(cores(), 4)


class _Worker:
    """One process that compiles what it is told."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", _WORKER.format(root=str(_ROOT))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
        )

    def compile(self, module: KernelModule) -> bool:
        """Whether it worked; if not, the process is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(module.name + "\n")
            self._process.stdin.flush()
            return bool(self._process.stdout.readline())
        except OSError:
            return False

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def compile_elsewhere(
    modules: Sequence[KernelModule], workers: int, starting: Callable[[KernelModule], None], done: Callable[[KernelModule], None]
) -> None:
    """Compile `modules` in `workers` processes, each module after those that it imports.

    A failure leaves the rest uncompiled: whoever imports that next compiles it, and hears the reason.
    """
    waiting = dict(_needs(modules))
    idle: SimpleQueue[_Worker] = SimpleQueue()
    made = [_Worker() for _ in range(workers)]
    for worker in made:
        idle.put(worker)

    def compile_one(module: KernelModule) -> bool:
        worker = idle.get()
        worked = worker.compile(module)
        idle.put(worker)
        return worked

    running: dict[Future[bool], KernelModule] = {}
    compiled: set[str] = set()
    try:
        with ThreadPoolExecutor(workers) as pool:
            try:
                while waiting or running:
                    ready = [module for module, needed in waiting.items() if needed <= compiled]
                    for module in ready[: workers - len(running)]:
                        del waiting[module]
                        starting(module)
                        running[pool.submit(compile_one, module)] = module
                    if not running:
                        return  # a circle of imports
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        module = running.pop(future)
                        if not future.result():
                            return
                        compiled.add(module.name)
                        done(module)
            finally:
                for worker in made:  # frees a thread that waits for an answer, too
                    worker.end()
    finally:
        for worker in made:
            worker.end()


def _needs(modules: Sequence[KernelModule]) -> list[tuple[KernelModule, set[str]]]:
    """Each module and which of the others it imports; those that most others wait for come first."""
    by_path = {module.path: module.name for module in modules}
    needs = {
        module: {by_path[path] for path in closure(module.path, _ROOT) if path in by_path and path != module.path} for module in modules
    }
    waited_for = {module.name: sum(module.name in needed for needed in needs.values()) for module in modules}
    return sorted(needs.items(), key=lambda item: -waited_for[item[0].name])


def cached_files(modules: Iterable[KernelModule]) -> dict[Path, int]:
    """Every file of machine code and when it was written."""
    folders = {folder for module in modules if (folder := module.folder) is not None}
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.glob("*.kernel")}


def load_elsewhere(modules: Iterable[KernelModule], timeout_s: float = 120.0) -> tuple[float, bool]:
    """Import every module in a fresh interpreter; returns the seconds and whether nothing had to be compiled."""
    modules = list(modules)
    before = cached_files(modules)
    # The child must find this very package, also where it is not installed.
    code = f"import sys; sys.path.insert(0, {str(_ROOT)!r})\n" + "".join(f"import {module.name}\n" for module in modules)
    began_s = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=timeout_s, stdin=subprocess.DEVNULL, capture_output=True)
    return time.monotonic() - began_s, cached_files(modules) == before
