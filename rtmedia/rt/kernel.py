"""How kernels are compiled, and the machine instructions that numba does not offer by itself.

Every compiled function of rtmedia is made by `kernel` (called from other kernels, or from Python
through a loop) or by `callback` (called through its address: effects, codecs, the sound device).
Both release the GIL, use explicit signatures, divide like NumPy, and are cached on disk.

The intrinsics are what lock-free code and plug-ins need: atomic load with *acquire*, atomic store
with *release* (LLVM Language Reference, "Atomic Memory Ordering Constraints"), and calls through an
address. They work in cached functions because nothing but integers crosses the boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core import config as numba_config
from numba.extending import intrinsic

from rtmedia.rt.cache import kernel_cache_dir

F = TypeVar("F", bound=Callable[..., Any])

#: float32 *block, int64 frames, int64 channels, void *state
EFFECT_SIGNATURE = "void(i8, i8, i8, i8)"
#: uint8 *payload, int64 length, float32 *out, int64 max_frames, void *state -> frames, or < 0
CODEC_SIGNATURE = "i8(i8, i8, i8, i8, i8)"


@contextmanager
def _cache_of(function: Callable[..., Any]) -> Iterator[bool]:
    """Point numba's cache at rtmedia's directory for one decoration, and nobody else's."""
    path = kernel_cache_dir(function.__code__.co_filename)
    before = numba_config.CACHE_DIR
    numba_config.CACHE_DIR = str(path) if path else before
    try:
        yield path is not None
    finally:
        numba_config.CACHE_DIR = before


def kernel(signature: str | list[str]) -> Callable[[F], F]:
    """Compile for the audio path: no GIL, cached, NumPy's rules for division by zero."""

    def decorate(function: F) -> F:
        with _cache_of(function) as cached:
            made: F = numba.njit(signature, nogil=True, cache=cached, error_model="numpy")(function)
        return made

    return decorate


def callback(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a C function that is called through its ``.address``.

    Numba's C functions hand the exception state to the interpreter when they raise: a callback
    must therefore be written so that it cannot.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        with _cache_of(function) as cached:
            return numba.cfunc(signature, nopython=True, cache=cached, error_model="numpy")(function)

    return decorate


@intrinsic
def load_acquire(typingctx, array, index):  # type: ignore[no-untyped-def]
    """``array[index]``; nothing that follows in this thread moves before it. No bounds check."""
    if not isinstance(array, types.Array):
        return None

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = _element_pointer(context, builder, signature, args)
        return builder.load_atomic(pointer, ordering="acquire", align=8)

    return array.dtype(array, types.intp), codegen


@intrinsic
def store_release(typingctx, array, index, value):  # type: ignore[no-untyped-def]
    """``array[index] = value``; nothing that came before in this thread moves after it."""
    if not isinstance(array, types.Array):
        return None

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = _element_pointer(context, builder, signature, args)
        builder.store_atomic(args[2], pointer, ordering="release", align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), codegen


def _element_pointer(context, builder, signature, args):  # type: ignore[no-untyped-def]
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return cgutils.get_item_pointer(context, builder, signature.args[0], array, [args[1]], wraparound=False)


@intrinsic
def fence(typingctx):  # type: ignore[no-untyped-def]
    """A full memory fence (sequentially consistent): the sequence lock's reader and writer use it."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def pointer_f4(typingctx, address):  # type: ignore[no-untyped-def]
    """An integer address as a pointer to float32."""
    return _pointer(types.float32)


@intrinsic
def pointer_f8(typingctx, address):  # type: ignore[no-untyped-def]
    """An integer address as a pointer to float64."""
    return _pointer(types.float64)


@intrinsic
def pointer_i8(typingctx, address):  # type: ignore[no-untyped-def]
    """An integer address as a pointer to int64."""
    return _pointer(types.int64)


@intrinsic
def pointer_u1(typingctx, address):  # type: ignore[no-untyped-def]
    """An integer address as a pointer to octets."""
    return _pointer(types.uint8)


@intrinsic
def pointer_void(typingctx, address):  # type: ignore[no-untyped-def]
    """An integer address as ``void *``; ``carray(pointer_void(a), 1, DTYPE)[0]`` is the record there."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.voidptr(types.int64), codegen


def _pointer(element):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(element)(types.int64), codegen


@intrinsic
def copy_octets(typingctx, destination, source, count):  # type: ignore[no-untyped-def]
    """``memcpy`` between two addresses that do not overlap."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        octets = ir.IntType(8).as_pointer()
        pointers = [builder.inttoptr(args[i], octets) for i in (0, 1)]
        cgutils.raw_memcpy(builder, pointers[0], pointers[1], args[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def call_effect(typingctx, function, block, frames, channels, state):  # type: ignore[no-untyped-def]
    """Call ``void (*)(int64, int64, int64, int64)`` at address `function`."""
    signature = types.void(*[types.int64] * 5)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word = ir.IntType(64)
        called = ir.FunctionType(ir.VoidType(), [word] * 4)
        builder.call(builder.inttoptr(args[0], called.as_pointer()), args[1:])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def call_codec(typingctx, function, payload, length, out, max_frames, state):  # type: ignore[no-untyped-def]
    """Call ``int64 (*)(int64, int64, int64, int64, int64)`` at address `function`."""
    signature = types.int64(*[types.int64] * 6)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word = ir.IntType(64)
        called = ir.FunctionType(word, [word] * 5)
        return builder.call(builder.inttoptr(args[0], called.as_pointer()), args[1:])

    return signature, codegen
