"""Compiled functions as Python's own built-in ones.

ctypes turns each argument into a C value by a call of its own: seven of them cost more than a microsecond, several times
what a ring takes. A built-in function is given its arguments as they lie (``METH_FASTCALL``), and a kernel can take
them apart as a C extension would: with the interpreter's C functions, called through their addresses. All that is used
here belongs to the stable ABI (PEP 384), so nothing depends on the interpreter's version or the way it was built.

The function's memory is an array: its ``self``. Where an array's data lies is NumPy's documented layout, the same that
`rtmedia.rt.entry` relies on.

This is for the Python side of the audio path only, which holds the interpreter anyway. No compiled loop calls any of it.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.rt.kernel import kernel
from rtmedia.rt.later import intrinsic, ir, types
from rtmedia.rt.memory import view_i8

_FASTCALL = 0x0080
#: Behind an object's head, an array has the address of its data.
_HEAD = object.__basicsize__

_API_NAMES = {
    "as_int64": "PyLong_AsLongLong",
    "from_int64": "PyLong_FromLongLong",
    "from_bool": "PyBool_FromLong",
    "error": "PyErr_Occurred",
    "bad_argument": "PyErr_BadArgument",
    "get_buffer": "PyObject_GetBuffer",
    "release_buffer": "PyBuffer_Release",
    "save_thread": "PyEval_SaveThread",
    "restore_thread": "PyEval_RestoreThread",
}
#: Addresses of the interpreter's functions; goes into a built-in function's memory.
API_DTYPE = np.dtype([(name, "i8") for name in _API_NAMES])
#: A ``Py_buffer``: the address first, the length third; the rest is the interpreter's (80 octets in all).
BUFFER_DTYPE = np.dtype([("address", "i8"), ("owner", "i8"), ("length", "i8"), ("rest", "i8", 13)])


def address_of(function: Any) -> int:
    """Where a function of a ctypes library lies."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def python_api(record: npt.NDArray[Any]) -> None:
    """Fill the fields of `API_DTYPE` in a record."""
    for name, symbol in _API_NAMES.items():
        record[name] = address_of(getattr(ctypes.pythonapi, symbol))


class _MethodDef(ctypes.Structure):
    """``PyMethodDef``."""

    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


@functools.cache
def _definition(function: Any) -> _MethodDef:
    """One for each kernel, for ever: a built-in function reads its definition as long as it lives, and tells nobody when that ends."""
    return _MethodDef(function.py_func.__name__.encode(), function.address, _FASTCALL, (function.py_func.__doc__ or "").encode())


def builtin(function: Any, memory: npt.NDArray[Any]) -> Callable[..., Any]:
    """A kernel as a built-in function.

    Parameters
    ----------
    function : Kernel
        Of signature ``i8(i8, i8, i8)``: address of `memory`'s object (`memory_of`), address of the arguments' addresses, how
        many there are. It returns the address of a new reference, or 0 with an exception set.
    memory
        Stays alive as long as the function.

    Notes
    -----
    Thread: any that holds the interpreter; the kernel must not be given one `memory` by two.   Real-time: no.
    """
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(("PyCFunction_NewEx", ctypes.pythonapi))
    made: Callable[..., Any] = make(ctypes.addressof(_definition(function)), memory, None)
    return made


@kernel("i8(i8)", inline=True)
def memory_of(me):
    """Address of the data of the array that a built-in function was made with."""
    return view_i8(me + _HEAD, 1)[0]


def _caller(count: int) -> Any:
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word = ir.IntType(64)
        called = ir.FunctionType(word, [word] * count)
        return builder.call(builder.inttoptr(args[0], called.as_pointer()), args[1:])

    return types.int64(*[types.int64] * (count + 1)), codegen


@intrinsic
def call_0(typingctx, function):  # type: ignore[no-untyped-def]
    """``int64 (*)(void)`` at an address."""
    return _caller(0)


@intrinsic
def call_1(typingctx, function, a):  # type: ignore[no-untyped-def]
    """``int64 (*)(int64)`` at an address; the result of a function without one means nothing."""
    return _caller(1)


@intrinsic
def call_4(typingctx, function, a, b, c, d):  # type: ignore[no-untyped-def]
    """``int64 (*)(int64, int64, int64, int64)`` at an address."""
    return _caller(4)


@intrinsic
def call_3(typingctx, function, a, b, c):  # type: ignore[no-untyped-def]
    """``int64 (*)(int64, int64, int64)`` at an address; of an ``int``, only the lower half means something."""
    return _caller(3)
