"""Python's half of a call: how compiled code is called from outside, one C function per kernel, nothing but machine words in and out.

An array is passed as its address and its shape; it owns nothing and is C-ordered, so that is all there
is to say. The other halves, the function that takes the words apart and a compiled caller, are written by `rtmedia.rt.edges`.
"""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from rtmedia.rt.signature import BOOL, Array, Number, Signature

_CTYPES: dict[str, Any] = {
    "bool": ctypes.c_bool,
    "int8": ctypes.c_int8,
    "int16": ctypes.c_int16,
    "int32": ctypes.c_int32,
    "int64": ctypes.c_int64,
    "uint8": ctypes.c_uint8,
    "uint16": ctypes.c_uint16,
    "uint32": ctypes.c_uint32,
    "uint64": ctypes.c_uint64,
    "float32": ctypes.c_float,
    "float64": ctypes.c_double,
    "void": None,
}

#: What Python's own way in adds to the symbol, where a kernel takes arrays.
FOR_PYTHON = ".python"


def python_symbol(signature: Signature, symbol: str) -> str:
    """The function that Python calls."""
    return symbol + FOR_PYTHON if signature.has_arrays else symbol


def _check(array: Any, dtype: Any, ndim: int) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != ndim:
        raise TypeError(f"an argument is {type(array).__name__} {getattr(array, 'dtype', '')}; the kernel takes {ndim}-dimensional {dtype}")
    if not array.flags.carray:
        raise TypeError("an array is not C-ordered, aligned and writeable: pass a copy")


def _real(number: Any) -> float:
    if isinstance(number, str | bytes):  # float() would read it
        raise TypeError(f"an argument is {number!r}; the kernel takes a number")
    return float(number)


def _number(kind: Number) -> Callable[[Any], Any]:
    return _real if kind.is_float else bool if kind == BOOL else operator.index


def python_function(signature: Signature, address: int, keep_gil: bool) -> Callable[..., Any] | None:
    """Python's half: a callable for the function at `address`; None where ctypes has no word for the result.

    It takes Python's numbers only, and raises ``ctypes.ArgumentError`` at NumPy's: see `exact`.
    """
    returned = signature.returned
    if not isinstance(returned, Number):
        return None
    kinds = [ctypes.py_object if isinstance(kind, Array) else _CTYPES[kind.name] for kind in signature.args]
    prototype = ctypes.PYFUNCTYPE if keep_gil else ctypes.CFUNCTYPE
    function: Callable[..., Any] = prototype(_CTYPES[returned.name], *kinds)(address)
    arrays = [(place, np.dtype(kind.element.name), kind.ndim) for place, kind in enumerate(signature.args) if isinstance(kind, Array)]
    if not arrays:
        return function

    def with_arrays(*arguments: Any) -> Any:
        for place, dtype, ndim in arrays:
            _check(arguments[place], dtype, ndim)
        return function(*arguments)

    return with_arrays


def exact(signature: Signature, arguments: tuple[Any, ...]) -> list[Any]:
    """The same arguments with Python's own numbers."""
    return [
        argument if isinstance(kind, Array) else _number(kind)(argument) for kind, argument in zip(signature.args, arguments, strict=True)
    ]
