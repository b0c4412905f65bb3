"""How kernels are compiled, and the machine instructions that numba does not offer by itself.

Every compiled function of rtmedia is made by `kernel` (called from other kernels, or from Python
through a loop) or by `callback` (called through its address: effects, codecs, the sound device).
Neither holds the GIL (`kernel` can, for what is short); both have explicit signatures, divide like
NumPy, and are cached on disk.

The intrinsics are what lock-free code and plug-ins need: atomic load with *acquire*, atomic store
with *release*, atomic exchange (LLVM Language Reference, "Atomic Memory Ordering Constraints"), and
calls through an address. They work in cached functions because nothing but integers crosses the boundary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from rtmedia.rt.compiled import Kernel
from rtmedia.rt.later import cgutils, intrinsic, ir, types

F = TypeVar("F", bound=Callable[..., Any])

#: float32 *block, int64 frames, int64 channels, void *state
EFFECT_SIGNATURE = "void(i8, i8, i8, i8)"
#: uint8 *payload, int64 length, float32 *out, int64 max_frames, void *state -> frames, or < 0
CODEC_SIGNATURE = "i8(i8, i8, i8, i8, i8)"


def kernel(signature: str, *, keep_gil: bool = False, inline: bool = False) -> Callable[[F], F]:
    """Compile for the audio path: no GIL, cached, NumPy's rules for division by zero.

    Parameters
    ----------
    signature
        As numba writes them; always explicit.
    keep_gil
        For work of about a microsecond that Python calls directly: whoever gives the GIL away beside a busy thread
        may get it back only after the switch interval, 5 ms later. Between kernels it makes no difference.
    inline
        For what is too small to be called (some instructions, or inside a loop over frames): it becomes a part of
        each kernel that calls it. All others are compiled once, and called.
    """

    def decorate(function: F) -> F:
        made: Any = Kernel(function, signature, keep_gil=keep_gil, inline=inline)
        return made

    return decorate


def callback(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile a C function that is called through its ``.address``.

    It must be written so that it cannot raise: an exception ends the call, and nobody hears of it.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        return Kernel(function, signature)

    return decorate


@intrinsic
def load_acquire(typingctx, array, index):  # type: ignore[no-untyped-def]
    """``array[index]``; nothing that follows in this thread moves before it. No bounds check."""
    if not _is_atomic(array):
        return None

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = _element_pointer(context, builder, signature, args)
        return builder.load_atomic(pointer, ordering="acquire", align=signature.args[0].dtype.bitwidth // 8)

    return array.dtype(array, types.intp), codegen


@intrinsic
def store_release(typingctx, array, index, value):  # type: ignore[no-untyped-def]
    """``array[index] = value``; nothing that came before in this thread moves after it."""
    if not _is_atomic(array):
        return None

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = _element_pointer(context, builder, signature, args)
        builder.store_atomic(args[2], pointer, ordering="release", align=signature.args[0].dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), codegen


@intrinsic
def exchange(typingctx, array, index, value):  # type: ignore[no-untyped-def]
    """Set ``array[index]`` and give back what it was, in one step that nothing moves past; several may write. Integers only."""
    if not _is_atomic(array) or not isinstance(array.dtype, types.Integer):
        return None

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = _element_pointer(context, builder, signature, args)
        return builder.atomic_rmw("xchg", pointer, args[2], "seq_cst")

    return array.dtype(array, types.intp, array.dtype), codegen


def _is_atomic(array):  # type: ignore[no-untyped-def]
    """Whether the elements are numbers that a processor moves whole: 4 or 8 octets, on their own alignment."""
    number = isinstance(array, types.Array) and isinstance(array.dtype, types.Integer | types.Float)
    return number and array.aligned and array.dtype.bitwidth in (32, 64)


def _element_pointer(context, builder, signature, args):  # type: ignore[no-untyped-def]
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return cgutils.get_item_pointer(context, builder, signature.args[0], array, [args[1]], wraparound=False)


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
def move_octets(typingctx, destination, source, count):  # type: ignore[no-untyped-def]
    """``memmove`` between two addresses that may overlap: what a loop over one array copies sample by sample."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        octets = ir.IntType(8).as_pointer()
        pointers = [builder.inttoptr(args[i], octets) for i in (0, 1)]
        cgutils.raw_memmove(builder, pointers[0], pointers[1], args[2], 1)
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
