"""Eight float32 side by side, as one value of a kernel: arithmetic that is vectors by construction.

LLVM makes vectors of loops whose turns do not depend on each other. A sum that rolls along a signal depends on
itself at every turn; eight such sums, each for another lag, do not depend on each other, but no compiler finds that.
Here the kernel's author says it: `load8` gives eight neighbours, ``+ - * /`` work on all eight at once, and
`where_less` chooses lane by lane. No lane ever meets another, no operation is reordered or fused: the same bits
wherever the code runs. Where the machine's vectors are narrower, LLVM splits them.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.extending import intrinsic, lower_builtin, register_model, type_callable

LANES = 8


class _Float8(types.Type):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(name="float32x8")


float8 = _Float8()
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


@register_model(_Float8)
class _Float8Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager, fe_type):  # type: ignore[no-untyped-def]
        super().__init__(manager, fe_type, _VECTOR)


def _arithmetic(symbol, build):  # type: ignore[no-untyped-def]
    """Teach numba one operator of two vectors."""

    @type_callable(symbol)
    def _typed(context):  # type: ignore[no-untyped-def]
        return lambda a, b: float8 if isinstance(a, _Float8) and isinstance(b, _Float8) else None

    @lower_builtin(symbol, _Float8, _Float8)
    def _lowered(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return getattr(builder, build)(*args)


for _symbol, _build in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv")):
    _arithmetic(_symbol, _build)


def _pointer(builder, address, lanes):  # type: ignore[no-untyped-def]
    return builder.inttoptr(address, ir.VectorType(ir.FloatType(), lanes).as_pointer())


@intrinsic
def load8(typingctx, address):  # type: ignore[no-untyped-def]
    """The eight float32 that begin at an address; any alignment."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.load(_pointer(builder, args[0], LANES), align=4)

    return float8(types.int64), codegen


def _every_other(first):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        wide = builder.load(_pointer(builder, args[0], 2 * LANES), align=4)
        order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(range(first, 2 * LANES, 2)))
        return builder.shuffle_vector(wide, ir.Constant(wide.type, ir.Undefined), order)

    return float8(types.int64), codegen


@intrinsic
def load8_even(typingctx, address):  # type: ignore[no-untyped-def]
    """Every other one of the sixteen float32 that begin at an address, the first included; all sixteen are read."""
    return _every_other(0)


@intrinsic
def load8_odd(typingctx, address):  # type: ignore[no-untyped-def]
    """Every other one of the sixteen float32 that begin at an address, the last included; all sixteen are read."""
    return _every_other(1)


@intrinsic
def store8(typingctx, address, value):  # type: ignore[no-untyped-def]
    """Write eight float32 at an address; any alignment."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        builder.store(args[1], _pointer(builder, args[0], LANES), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, float8), codegen


@intrinsic
def store8_pairs(typingctx, address, first, second):  # type: ignore[no-untyped-def]
    """Write sixteen float32 at an address, from the one and the other in turn: what `load8_even` and `load8_odd` took apart."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        order = [place for lane in range(LANES) for place in (lane, LANES + lane)]
        mixed = builder.shuffle_vector(args[1], args[2], ir.Constant(ir.VectorType(ir.IntType(32), 2 * LANES), order))
        builder.store(mixed, _pointer(builder, args[0], 2 * LANES), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, float8, float8), codegen


@intrinsic
def all8(typingctx, value):  # type: ignore[no-untyped-def]
    """The same float32 in all lanes."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), args[0], ir.IntType(32)(0))
        order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), order)

    return float8(types.float32), codegen


@intrinsic
def load8_same(typingctx, address):  # type: ignore[no-untyped-def]
    """The float32 at an address, in all lanes."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        value = builder.load(builder.inttoptr(args[0], ir.FloatType().as_pointer()), align=4)
        one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.IntType(32)(0))
        order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), order)

    return float8(types.int64), codegen


@intrinsic
def count8(typingctx):  # type: ignore[no-untyped-def]
    """0, 1, 2 … 7."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return ir.Constant(_VECTOR, [float(lane) for lane in range(LANES)])

    return float8(), codegen


@intrinsic
def where_less(typingctx, a, b, then, otherwise):  # type: ignore[no-untyped-def]
    """In each lane, `then` where `a` is less than `b`, else `otherwise` (so too where one of them is NaN)."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

    return float8(float8, float8, float8, float8), codegen


@intrinsic
def abs8(typingctx, value):  # type: ignore[no-untyped-def]
    """Without the signs."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        integers = ir.VectorType(ir.IntType(32), LANES)
        bits = builder.and_(builder.bitcast(args[0], integers), ir.Constant(integers, [0x7FFFFFFF] * LANES))
        return builder.bitcast(bits, _VECTOR)

    return float8(float8), codegen


@intrinsic
def sum8(typingctx, value):  # type: ignore[no-untyped-def]
    """The sum of the lanes, as a balanced tree."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        lanes = args[0]
        for width in (4, 2, 1):
            order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [(lane + width) % LANES for lane in range(LANES)])
            lanes = builder.fadd(lanes, builder.shuffle_vector(lanes, ir.Constant(_VECTOR, ir.Undefined), order))
        return builder.extract_element(lanes, ir.IntType(32)(0))

    return types.float32(float8), codegen


@intrinsic
def largest8(typingctx, value):  # type: ignore[no-untyped-def]
    """The largest of the lanes; none of them may be NaN."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        lanes = args[0]
        for width in (4, 2, 1):
            order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [(lane + width) % LANES for lane in range(LANES)])
            turned = builder.shuffle_vector(lanes, ir.Constant(_VECTOR, ir.Undefined), order)
            lanes = builder.select(builder.fcmp_ordered(">", lanes, turned), lanes, turned)
        return builder.extract_element(lanes, ir.IntType(32)(0))

    return types.float32(float8), codegen
