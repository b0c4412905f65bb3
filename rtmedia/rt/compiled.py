"""A kernel: Python's function, its machine code, and what other kernels see of it.

A kernel that stands alone (the rule) has one object file; those that call it jump to its symbol. The
symbol names the module's generation (`rtmedia.rt.cache`: a hash over every source that it could run),
so that callers and callee cannot come from different sources. Its code is loaded, or compiled, where it
is decorated: at import, never later, and so never on a thread.

A kernel that is *inline* is part of its callers. It has code of its own only when Python calls it,
made at the first call.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import itertools
import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtmedia.rt import entry, machine
from rtmedia.rt.cache import kernel_cache_dir
from rtmedia.rt.signature import Signature, parse
from rtmedia.rt.stamp import forget

_MAGIC = b"rtmedia kernel 2\n"
_numbers = itertools.count(1)
_symbols: set[str] = set()
#: Held while code is loaded. Whoever holds numba's lock may take this one, never the other way round.
_loading = threading.RLock()


def _compiler() -> Any:
    """Numba's side, imported when something has to be compiled."""
    from rtmedia.rt import compile as made

    return made


class Kernel:
    """A compiled function.

    Parameters
    ----------
    function
        What is compiled; still there as ``py_func``.
    signature
        numba's, explicit.
    keep_gil : bool
        Whether a call from Python holds the GIL.
    inline : bool
        Whether it is part of its callers. What takes or returns more than numbers and plain arrays always is.

    Attributes
    ----------
    from_cache : bool
        Whether the code was on the disk.

    Notes
    -----
    Thread: any, once it is loaded.   Real-time: calls from compiled code, yes.
    """

    def __init__(self, function: Callable[..., Any], signature: Any, *, keep_gil: bool = False, inline: bool = False) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function
        self._given = signature
        self.signature: Signature = (parse(signature) if isinstance(signature, str) else None) or _compiler().described(signature)
        self.keep_gil = keep_gil
        self.inline = inline or not self.signature.can_be_called
        self.from_cache = False
        self._count = len(self.signature.args)
        self._address = 0
        self._python_address = 0
        self._python: Callable[..., Any] = self._first_call
        if not self.inline:
            self._load()

    @property
    def signatures(self) -> list[tuple[Any, ...]]:
        """The types of the arguments, as numba's functions tell them."""
        return [tuple(_compiler().signature_of(self._given).args)]

    @property
    def address(self) -> int:
        """Where the code lies: a C function. An inline kernel is compiled by asking."""
        if not self._address:
            self._load()
        return self._address

    def __call__(self, *arguments: Any) -> Any:
        if len(arguments) != self._count:  # ctypes would take more
            raise TypeError(f"{len(arguments)} arguments were given; {self.py_func.__qualname__} takes {self._count}")
        try:
            return self._python(*arguments)
        except ctypes.ArgumentError:
            return self._python(*entry.exact(self.signature, arguments))

    def _first_call(self, *arguments: Any) -> Any:
        self._python = self._make_python()
        return self._python(*arguments)

    def _make_python(self) -> Callable[..., Any]:
        if self.signature.can_be_called:
            self._load()
            made = entry.python_function(self.signature, self._python_address, self.keep_gil)
            if made is not None:
                return made
        return _compiler().python_dispatcher(self.py_func, self._given, self.keep_gil)  # type: ignore[no-any-return]

    @property
    def _numba_type_(self) -> Any:
        return self._seen_by_numba._numba_type_ if self.inline else self._seen_by_numba

    @functools.cached_property
    def _seen_by_numba(self) -> Any:
        """What stands for this kernel in a caller: its own code, or a call of its symbol."""
        compiler = _compiler()
        with _loading:
            machine.make_public()
        if self.inline:
            return compiler.inline_dispatcher(self.py_func, self._given)
        return compiler.caller_type(self.py_func, compiler.signature_of(self._given), self.symbol)

    def _load(self) -> None:
        with _loading:
            if self._address or self._load_from_disk():
                return
        compiler = _compiler()
        with compiler.global_compiler_lock, _loading:
            machine.make_public()
            # numba brings symbols of its own (the C library's mathematics, vectors of it): what lacked one may be complete now.
            if self._address or self._load_from_disk():
                return
            forget()  # of the sources: they may be edited while this takes its time
            code, needs = compiler.compile_object(self.py_func, compiler.signature_of(self._given), self.symbol)
            if self._path is not None:
                _write(self._path, self.symbol, code, needs)
            self._link(code)

    def _load_from_disk(self) -> bool:
        found = _read(self._path, self.symbol) if self._path is not None else None
        if found is None:
            return False
        self.from_cache = True
        self._link(found)
        return True

    def _link(self, code: bytes) -> None:
        _symbols.add(self.symbol)
        self._address, self._python_address = machine.link(code, self.symbol, entry.python_symbol(self.signature, self.symbol))

    @property
    def symbol(self) -> str:
        """The name of the code in the process."""
        return self._named[0]

    @property
    def _path(self) -> str | None:
        """Its file; None where it cannot be kept."""
        return self._named[1]

    @functools.cached_property
    def _named(self) -> tuple[str, str | None]:
        """A name for the code, and a file.

        A function inside a function, and a module that is loaded twice, may be another one under the same name.
        """
        code = self.py_func.__code__
        directory = kernel_cache_dir(code.co_filename)
        name = self.py_func.__qualname__
        digest = _digest(self.signature)
        symbol = f"{directory.name}.{name}.{digest}" if directory is not None else f"{name}.{next(_numbers)}"
        if "<locals>" in name or symbol in _symbols or self.py_func.__closure__:
            return f"{symbol}.{next(_numbers)}", None
        return symbol, f"{directory}{os.sep}{name}.{digest}.kernel" if directory is not None else None


@functools.cache
def _digest(signature: Signature) -> str:
    """What the machine code depends on beside the sources."""
    return hashlib.sha256(f"{signature}{machine.facts()}".encode()).hexdigest()[:12]


def _read(path: str, symbol: str) -> bytes | None:
    """The object in file `path`; None where there is none that can be used.

    Its head is one line of words: the symbol, a checksum of the object, the symbols that it needs.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            octets = file.read()
        magic, head, code = octets.split(b"\n", 2)
        named, checksum, *needs = head.decode().split(" ")
        good = magic + b"\n" == _MAGIC and named == symbol and int(checksum) == zlib.crc32(code)
    except (OSError, ValueError):
        return None
    return code if good and machine.can_link(needs) else None


def _write(path: str, symbol: str, code: bytes, needs: tuple[str, ...]) -> None:
    """Keep an object. A disk that does not want it costs time at the next start, never this one."""
    head = " ".join((symbol, str(zlib.crc32(code)), *needs)).encode()
    part = Path(f"{path}.{os.getpid()}.part")
    try:
        part.write_bytes(_MAGIC + head + b"\n" + code)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
