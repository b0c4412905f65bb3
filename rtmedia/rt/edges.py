"""The compiler's halves of a call: the function that a kernel shows the world, and what a compiled caller does.

Both sides agree with Python's (`rtmedia.rt.entry`): an array travels as its address and its shape, or, from Python, as
the array object itself. `define` writes the function that takes the words apart and calls numba's, `call` writes the
caller's half. The signatures here are numba's.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from rtmedia.rt.entry import FOR_PYTHON

_WORD = ir.IntType(64)
_OCTET = ir.IntType(8)

# NumPy's documented layout (PyArrayObject, "Python Types and C-Structures"): behind the object's head lie
# the address of the data, the number of dimensions, the address of the lengths.
_DIMENSIONS_AT = 16


def _has_arrays(signature: Any) -> bool:
    return any(isinstance(kind, types.Array) for kind in signature.args)


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
