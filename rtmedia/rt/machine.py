"""The machine that kernels run on: what their code depends on, and how an object is loaded into the process.

LLVM alone is enough for both. numba is imported to compile, not to load: that is most of what a warm start saves.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import warnings
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

#: numba's settings that change machine code, and what they are unless somebody sets them.
_SETTINGS = {"OPT": "3", "LOOP_VECTORIZE": "1", "SLP_VECTORIZE": "0", "ENABLE_AVX": "", "CPU_NAME": "", "CPU_FEATURES": ""}
_SETTINGS_FILE = ".numba_config.yaml"  # in the working directory


def _version_of_numba() -> str:
    """A text that differs between releases; the version itself would have to be imported, or looked for in the metadata."""
    spec = find_spec("numba")
    with contextlib.suppress(OSError, AttributeError, TypeError):
        return hashlib.sha256(Path(spec.origin).with_name("_version.py").read_bytes()).hexdigest()  # type: ignore[union-attr, arg-type]
    import numba

    return str(numba.__version__)


def _settings() -> dict[str, str]:
    """Numba's settings that somebody has set: by the environment, by its file, or by a program."""
    given = {name: value for name in _SETTINGS if (value := os.environ.get(f"NUMBA_{name}"))}
    with contextlib.suppress(OSError):
        given["file"] = Path(_SETTINGS_FILE).read_text("utf-8", errors="replace")
    if not given and "numba" in sys.modules:
        config: Any = sys.modules["numba"].config
        now = {name: getattr(config, name, None) for name in ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE")}
        given = {name: str(value) for name, value in now.items() if value is not None and str(int(value)) != _SETTINGS[name]}
        if not config.ENABLE_AVX:
            given["ENABLE_AVX"] = "0"  # by a program, or by numba itself, on a processor whose AVX is slow
    return given


@functools.cache
def facts() -> str:
    """What machine code depends on beside its source: the processor, the compiler, the interpreter."""
    settings = _settings()
    if {"CPU_NAME", "CPU_FEATURES"} <= set(settings):  # compiled for that one, whichever runs it
        processor = ""
    else:
        try:
            processor = llvm.get_host_cpu_name() + llvm.get_host_cpu_features().flatten()
        except RuntimeError:  # LLVM cannot tell for every processor
            processor = llvm.get_host_cpu_name()
    # An object's head is longer where the interpreter has no lock; such a build may have the same version.
    interpreter = (sys.implementation.cache_tag, sys.version_info[:], sys.platform, object.__basicsize__)
    compilers = (_version_of_numba(), llvmlite.__version__)
    return f"{interpreter}{compilers}{llvm.get_process_triple()}{processor}{settings}"


class _Linker:
    """LLVM's linker, and where it put what."""

    def __init__(self) -> None:
        with warnings.catch_warnings(), contextlib.suppress(RuntimeError, AttributeError):
            warnings.simplefilter("ignore")
            llvm.initialize()  # what later releases do by themselves, and say so
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        triple = llvm.get_process_triple()
        machine = llvm.Target.from_triple(triple).create_target_machine(codemodel="jitdefault", jit=True)
        nothing = llvm.parse_assembly("")
        nothing.triple = triple
        self.engine: Any = llvm.create_mcjit_compiler(nothing, machine)
        if os.environ.get("NUMBA_ENABLE_PROFILING", "0") not in ("", "0"):
            self.engine.enable_jit_events()
        self.addresses: dict[str, int] = {}
        self.found: set[str] = set()  # symbols of the process
        self.public = False


@functools.cache
def _linker() -> _Linker:
    """One for the process: code stays as long as that, and finds what was loaded before it."""
    return _Linker()


def link(code: bytes, symbol: str, python_symbol: str) -> tuple[int, int]:
    """Load an object; returns where C and where Python calls it.

    Thread: one at a time, see `rtmedia.rt.compiled`; so for all here.
    """
    linker = _linker()
    engine = linker.engine
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = int(engine.get_function_address(symbol))
    linker.addresses[symbol] = address
    if linker.public:
        llvm.add_symbol(symbol, address)
    return address, address if python_symbol == symbol else int(engine.get_function_address(python_symbol))


def make_public() -> None:
    """Let other linkers than ours find the symbols, numba's for one, from now on: needed before a caller is compiled there."""
    linker = _linker()
    if not linker.public:
        for symbol, address in linker.addresses.items():
            llvm.add_symbol(symbol, address)
        linker.public = True


def can_link(needs: Iterable[str]) -> bool:
    """Whether the process has every symbol; one that is missing would end it."""
    linker = _linker()  # LLVM looks into the process itself from then on
    for name in needs:
        if name not in linker.addresses and name not in linker.found:
            if not llvm.address_of_symbol(name):
                return False
            linker.found.add(name)
    return True
