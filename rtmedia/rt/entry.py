"""How compiled code is called from outside: one C function per kernel, nothing but machine words in and out.

An array is passed as its address and its shape; it owns nothing and is C-ordered, so that is all there
is to say. Both sides of a call agree through this module: `define` writes the function that takes the
words apart and calls numba's, `call` writes the caller's half, `python_function` is Python's half.
"""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np import numpy_support

_WORD = ir.IntType(64)
_OCTET = ir.IntType(8)

_CTYPES: dict[Any, Any] = {
    types.boolean: ctypes.c_bool,
    types.int8: ctypes.c_int8,
    types.int16: ctypes.c_int16,
    types.int32: ctypes.c_int32,
    types.int64: ctypes.c_int64,
    types.uint8: ctypes.c_uint8,
    types.uint16: ctypes.c_uint16,
    types.uint32: ctypes.c_uint32,
    types.uint64: ctypes.c_uint64,
    types.float32: ctypes.c_float,
    types.float64: ctypes.c_double,
}


#: What Python's own way in adds to the symbol, where a kernel takes arrays.
FOR_PYTHON = ".python"

# NumPy's documented layout (PyArrayObject, "Python Types and C-Structures"): behind the object's head lie
# the address of the data, the number of dimensions, the address of the lengths.
_DIMENSIONS_AT = 16


def _has_arrays(signature: Any) -> bool:
    return any(isinstance(kind, types.Array) for kind in signature.args)


def python_symbol(signature: Any, symbol: str) -> str:
    """The function that Python calls."""
    return symbol + FOR_PYTHON if _has_arrays(signature) else symbol


def _is_plain_array(kind: Any) -> bool:
    return isinstance(kind, types.Array) and kind.layout == "C" and kind.dtype in _CTYPES


def can_be_called(signature: Any) -> bool:
    """Whether compiled code can reach a function of this signature by address; an array cannot be given back."""
    returned = signature.return_type
    pair = isinstance(returned, types.UniTuple) and returned.dtype in _CTYPES and returned.count <= 2  # fits two registers everywhere
    return (returned == types.void or returned in _CTYPES or pair) and all(
        kind in _CTYPES or _is_plain_array(kind) for kind in signature.args
    )


def _leaves(context: Any, kind: Any) -> list[Any]:
    """The machine types that one argument travels as."""
    if isinstance(kind, types.Array):
        return [_WORD] * (1 + kind.ndim)
    return [_OCTET if kind == types.boolean else context.get_value_type(kind)]


def _function_type(context: Any, signature: Any) -> Any:
    returned = signature.return_type
    result = ir.VoidType() if returned == types.void else _OCTET if returned == types.boolean else context.get_value_type(returned)
    return ir.FunctionType(result, [leaf for kind in signature.args for leaf in _leaves(context, kind)])


def _taken_apart(context: Any, builder: Any, kind: Any, value: Any) -> list[Any]:
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        return [builder.ptrtoint(array.data, _WORD), *cgutils.unpack_tuple(builder, array.shape, kind.ndim)]
    return [builder.zext(value, _OCTET) if kind == types.boolean else value]


def _put_together(context: Any, builder: Any, kind: Any, words: list[Any]) -> Any:
    if not isinstance(kind, types.Array):
        (word,) = words
        return builder.icmp_unsigned("!=", word, _OCTET(0)) if kind == types.boolean else word
    from numba.np.arrayobj import populate_array

    array = context.make_array(kind)(context, builder)
    itemsize = context.get_constant(types.intp, kind.dtype.bitwidth // 8 if kind.dtype != types.boolean else 1)
    strides = [itemsize]
    for length in reversed(words[2:]):
        strides.insert(0, builder.mul(strides[0], length))
    data = builder.inttoptr(words[0], context.get_data_type(kind.dtype).as_pointer())
    populate_array(array, data=data, shape=words[1:], strides=strides, itemsize=itemsize, meminfo=None)
    return array._getvalue()


def define(context: Any, module: Any, fndesc: Any, signature: Any, symbol: str) -> tuple[str, ...]:
    """Add C's way in to `module`, and Python's where that is another; returns the names of the functions.

    An exception ends the call and returns zero: nobody is there to take it.
    """
    inner = ir.Function(module, context.call_conv.get_function_type(fndesc.restype, fndesc.argtypes), fndesc.llvm_func_name)
    outer = ir.Function(module, _function_type(context, signature), symbol)
    builder = ir.IRBuilder(outer.append_basic_block("entry"))
    words = list(outer.args)
    arguments = []
    for kind in signature.args:
        count = len(_leaves(context, kind))
        arguments.append(_put_together(context, builder, kind, words[:count]))
        del words[:count]
    _, result = context.call_conv.call_function(builder, inner, fndesc.restype, fndesc.argtypes, arguments)
    if signature.return_type == types.void:
        builder.ret_void()
    else:
        builder.ret(builder.zext(result, _OCTET) if signature.return_type == types.boolean else result)
    if not _has_arrays(signature):
        return (symbol,)
    _define_for_python(module, outer, signature, symbol + FOR_PYTHON)
    return (symbol, symbol + FOR_PYTHON)


def _define_for_python(module: Any, outer: Any, signature: Any, symbol: str) -> None:
    """Python gives the array object itself: asking it for its address takes several microseconds."""
    types_in = iter(outer.function_type.args)
    leaves = []
    for kind in signature.args:
        leaf = next(types_in)
        leaves.append(leaf)
        for _ in range(kind.ndim if isinstance(kind, types.Array) else 0):
            next(types_in)
    function = ir.Function(module, ir.FunctionType(outer.function_type.return_type, leaves), symbol)
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    def load(address: Any) -> Any:
        return builder.load(builder.inttoptr(address, _WORD.as_pointer()))

    words = []
    for kind, value in zip(signature.args, function.args, strict=True):
        if isinstance(kind, types.Array):
            fields = builder.add(value, _WORD(object.__basicsize__))
            lengths = load(builder.add(fields, _WORD(_DIMENSIONS_AT)))
            words += [load(fields), *(load(builder.add(lengths, _WORD(8 * i))) for i in range(kind.ndim))]
        else:
            words.append(value)
    result = builder.call(outer, words)
    if signature.return_type == types.void:
        builder.ret_void()
    else:
        builder.ret(result)


def call(context: Any, builder: Any, signature: Any, symbol: str, arguments: Any) -> Any:
    """The caller's half: declare `symbol` and call it."""
    function = cgutils.get_or_insert_function(builder.module, _function_type(context, signature), symbol)
    words = [word for kind, value in zip(signature.args, arguments, strict=True) for word in _taken_apart(context, builder, kind, value)]
    result = builder.call(function, words)
    if signature.return_type == types.void:
        return context.get_dummy_value()
    return builder.icmp_unsigned("!=", result, _OCTET(0)) if signature.return_type == types.boolean else result


def _check(array: Any, dtype: Any, ndim: int) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != ndim:
        raise TypeError(f"an argument is {type(array).__name__} {getattr(array, 'dtype', '')}; the kernel takes {ndim}-dimensional {dtype}")
    if not array.flags.carray:
        raise TypeError("an array is not C-ordered, aligned and writeable: pass a copy")


def _real(number: Any) -> float:
    if isinstance(number, str | bytes):  # float() would read it
        raise TypeError(f"an argument is {number!r}; the kernel takes a number")
    return float(number)


def _number(kind: Any) -> Callable[[Any], Any]:
    return _real if isinstance(kind, types.Float) else bool if kind == types.boolean else operator.index


def python_function(signature: Any, address: int, keep_gil: bool, checked: bool = True) -> Callable[..., Any] | None:
    """Python's half: a callable for the function at `address`; None where ctypes has no word for the result.

    It takes Python's numbers only, and raises ``ctypes.ArgumentError`` at NumPy's: see `exact`. Unless `checked`, its arrays must be
    right already: with others the process may end.
    """
    returned = signature.return_type
    if returned != types.void and returned not in _CTYPES:
        return None
    kinds = [ctypes.py_object if isinstance(kind, types.Array) else _CTYPES[kind] for kind in signature.args]
    prototype = ctypes.PYFUNCTYPE if keep_gil else ctypes.CFUNCTYPE
    function: Callable[..., Any] = prototype(None if returned == types.void else _CTYPES[returned], *kinds)(address)
    arrays = [
        (place, numpy_support.as_dtype(kind.dtype), kind.ndim) for place, kind in enumerate(signature.args) if isinstance(kind, types.Array)
    ]
    if not (arrays and checked):
        return function

    def with_arrays(*arguments: Any) -> Any:
        for place, dtype, ndim in arrays:
            _check(arguments[place], dtype, ndim)
        return function(*arguments)

    return with_arrays


def exact(signature: Any, arguments: tuple[Any, ...]) -> list[Any]:
    """The same arguments with Python's own numbers."""
    return [
        argument if isinstance(kind, types.Array) else _number(kind)(argument)
        for kind, argument in zip(signature.args, arguments, strict=True)
    ]
