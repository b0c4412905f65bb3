"""Compiled functions as Python's own built-in ones.

ctypes turns each argument into a C value by a call of its own: seven of them cost more than a microsecond, several times
what a ring takes. A built-in function is given its arguments as they lie (``METH_FASTCALL``), and a kernel can take
them apart as a C extension would: with the interpreter's C functions, called through their addresses. All that is used
here belongs to the stable ABI (PEP 384), so nothing depends on the interpreter's version or the way it was built.

The function's memory is an array: its ``self``. A kernel that is given an array looks at the object itself (`is_array`): its class,
dtype, dimensions and flags cost no call. Where they lie is NumPy's documented layout (``PyArrayObject_fields``, the same in NumPy 1
and 2), which `rtmedia.rt.entry` relies on too. What is not exactly what the kernel takes it gives back to Python, which looks again and
says what is wrong.

This is for the Python side of the audio path only, which holds the interpreter anyway. No compiled loop calls any of it.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.rt.kernel import kernel
from rtmedia.rt.later import intrinsic, ir, types
from rtmedia.rt.memory import view_i8

_FASTCALL = 0x0080
#: Behind an object's head, an array has the address of its data.
_HEAD = object.__basicsize__
#: The last word of the head is the address of the object's class, in every build of the interpreter.
_CLASS = _HEAD - 8
#: Words behind an array's head; the number of dimensions and the flags are C's ``int``.
_DATA, _NDIM, _LENGTHS, _DTYPE, _FLAGS = 0, 1, 2, 5, 6
_INT = 0xFFFFFFFF
#: What an array must be (``NPY_ARRAY_C_CONTIGUOUS`` and so on) to be read, and to be changed, where it lies.
READABLE, CHANGEABLE = 0x0101, 0x0501

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
    "keep": "Py_IncRef",
    "let_go": "Py_DecRef",
    "new_bytes": "PyBytes_FromStringAndSize",
    "bytes_at": "PyBytes_AsString",
    "new_tuple": "PyTuple_New",
    "set_item": "PyTuple_SetItem",
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


def memory_for(seen: np.dtype[Any], numbers: Mapping[str, int], /, **objects: object) -> npt.NDArray[Any]:
    """The memory of a built-in function.

    Parameters
    ----------
    seen
        The dtype that the kernel sees: words only, those of `API_DTYPE` first.
    numbers
        Values of its fields.
    objects
        What a kernel knows by address, which is its field's value: kept alive by the memory, and so by the function. It must not
        lead back to the function: the garbage collector does not look into arrays.
    """
    made = np.zeros(1, [(name, "O" if name in objects else "i8") for name in seen.names or ()])
    python_api(made)
    for name, number in numbers.items():
        made[name] = number
    for name, thing in objects.items():
        made[name][0] = thing
    return made


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


@kernel("b1(i8, i8, i8, i8, i8)", inline=True)
def is_array(given, array_class, dtype, ndim, flags):
    """Whether an object is an array of just this class, dtype object and number of dimensions, with all of these flags."""
    if view_i8(given + _CLASS, 1)[0] != array_class:
        return False
    fields = view_i8(given + _HEAD, _FLAGS + 1)
    return (fields[_NDIM] & _INT) == ndim and fields[_DTYPE] == dtype and (fields[_FLAGS] & flags) == flags


@kernel("i8(i8)", inline=True)
def data_of(array):
    """Address of an array's data."""
    return view_i8(array + _HEAD, 1)[_DATA]


@kernel("i8(i8, i8)", inline=True)
def length_of(array, axis):
    """How long an array is; it must have such an axis."""
    return view_i8(view_i8(array + _HEAD, _FLAGS)[_LENGTHS], axis + 1)[axis]


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
def call_2(typingctx, function, a, b):  # type: ignore[no-untyped-def]
    """``int64 (*)(int64, int64)`` at an address."""
    return _caller(2)


@intrinsic
def call_7(typingctx, function, a, b, c, d, e, f, g):  # type: ignore[no-untyped-def]
    """``int64 (*)(int64, ...)`` of seven arguments, at an address."""
    return _caller(7)


@intrinsic
def call_4(typingctx, function, a, b, c, d):  # type: ignore[no-untyped-def]
    """``int64 (*)(int64, int64, int64, int64)`` at an address."""
    return _caller(4)


@intrinsic
def call_3(typingctx, function, a, b, c):  # type: ignore[no-untyped-def]
    """``int64 (*)(int64, int64, int64)`` at an address; of an ``int``, only the lower half means something."""
    return _caller(3)
