"""Eight float32 side by side, as one value of a kernel: arithmetic that is vectors by construction.

LLVM makes vectors of loops whose turns do not depend on each other. A sum that rolls along a signal depends on
itself at every turn; eight such sums, each for another lag, do not depend on each other, but no compiler finds that.
Here the kernel's author says it: `load8` gives eight neighbours, ``+ - * /`` work on all eight at once (a float32 beside
them stands for eight alike), and `where_less` chooses lane by lane. No lane ever meets another, no operation is
reordered or fused: the same bits wherever the code runs. Where the machine's vectors are narrower, LLVM splits them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtmedia.rt.later import Later, intrinsic, ir, types

if TYPE_CHECKING:
    import rtmedia.dsp.lane_types  # noqa: F401  (see `Later`)

LANES = 8
lane_types: Any = Later("rtmedia.dsp.lane_types")


def shuffled(builder, first, second, order):  # type: ignore[no-untyped-def]
    """Lanes of two vectors in another order; those of `second` count on from those of `first`."""
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order))


def in_all_lanes(builder, value):  # type: ignore[no-untyped-def]
    """One float32 of LLVM as a vector."""
    nothing = ir.Constant(lane_types.VECTOR, ir.Undefined)
    return shuffled(builder, builder.insert_element(nothing, value, ir.IntType(32)(0)), nothing, [0] * LANES)


def _pointer(builder, address, lanes):  # type: ignore[no-untyped-def]
    return builder.inttoptr(address, ir.VectorType(ir.FloatType(), lanes).as_pointer())


@intrinsic
def load8(typingctx, address):  # type: ignore[no-untyped-def]
    """The eight float32 that begin at an address; any alignment."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.load(_pointer(builder, args[0], LANES), align=4)

    return lane_types.float8(types.int64), codegen


def _every_other(first):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        both = builder.load(_pointer(builder, args[0], 2 * LANES), align=4)
        return shuffled(builder, both, ir.Constant(both.type, ir.Undefined), list(range(first, 2 * LANES, 2)))

    return lane_types.float8(types.int64), codegen


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

    return types.void(types.int64, lane_types.float8), codegen


@intrinsic
def store8_pairs(typingctx, address, first, second):  # type: ignore[no-untyped-def]
    """Write sixteen float32 at an address, from the one and the other in turn: what `load8_even` and `load8_odd` took apart."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        order = [place for lane in range(LANES) for place in (lane, LANES + lane)]
        builder.store(shuffled(builder, args[1], args[2], order), _pointer(builder, args[0], 2 * LANES), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, lane_types.float8, lane_types.float8), codegen


@intrinsic
def store8_twice(typingctx, address, value):  # type: ignore[no-untyped-def]
    """Write sixteen float32 at an address, each lane twice in a row: one number for two interleaved channels."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        both = shuffled(builder, args[1], ir.Constant(lane_types.VECTOR, ir.Undefined), [lane // 2 for lane in range(2 * LANES)])
        builder.store(both, _pointer(builder, args[0], 2 * LANES), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, lane_types.float8), codegen


@intrinsic
def store8_apart(typingctx, address, pitch, value):  # type: ignore[no-untyped-def]
    """Write eight float32, each `pitch` float32 behind the one before, the first at an address; what lies between stays."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = builder.inttoptr(args[0], ir.FloatType().as_pointer())
        for lane in range(LANES):
            place = builder.gep(pointer, [builder.mul(args[1], ir.IntType(64)(lane))])
            builder.store(builder.extract_element(args[2], ir.IntType(32)(lane)), place, align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, lane_types.float8), codegen


@intrinsic
def all8(typingctx, value):  # type: ignore[no-untyped-def]
    """The same float32 in all lanes."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return in_all_lanes(builder, args[0])

    return lane_types.float8(types.float32), codegen


@intrinsic
def load8_same(typingctx, address):  # type: ignore[no-untyped-def]
    """The float32 at an address, in all lanes."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return in_all_lanes(builder, builder.load(builder.inttoptr(args[0], ir.FloatType().as_pointer()), align=4))

    return lane_types.float8(types.int64), codegen


@intrinsic
def count8(typingctx):  # type: ignore[no-untyped-def]
    """0, 1, 2 … 7."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return ir.Constant(lane_types.VECTOR, [float(lane) for lane in range(LANES)])

    return lane_types.float8(), codegen


@intrinsic
def where_less(typingctx, a, b, then, otherwise):  # type: ignore[no-untyped-def]
    """In each lane, `then` where `a` is less than `b`, else `otherwise` (so too where one of them is NaN)."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        a, b, then, otherwise = lane_types.all_wide(builder, signature, args)
        return builder.select(builder.fcmp_ordered("<", a, b), then, otherwise)

    return (
        (lane_types.float8(a, b, then, otherwise), codegen) if lane_types.is_lanes(a, b) or lane_types.is_lanes(then, otherwise) else None
    )


@intrinsic
def min8(typingctx, a, b):  # type: ignore[no-untyped-def]
    """The lesser in each lane; `a` where one of them is NaN."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        a, b = lane_types.all_wide(builder, signature, args)
        return builder.select(builder.fcmp_ordered("<", b, a), b, a)

    return (lane_types.float8(a, b), codegen) if lane_types.is_lanes(a, b) else None


@intrinsic
def least8(typingctx, a, b):  # type: ignore[no-untyped-def]
    """The lesser in each lane of numbers that are not negative; one that is not finite is greater than all others.

    For minima that are kept: of ``store8(x, min8(load8(x), y))`` LLVM makes a store by mask; on an AMD processor the loop took
    three times as long with it. Numbers without a sign are in the order of their bits.
    """

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        a, b = (builder.bitcast(value, lane_types.WORDS) for value in lane_types.all_wide(builder, signature, args))
        return builder.bitcast(builder.select(builder.icmp_unsigned("<", b, a), b, a), lane_types.VECTOR)

    return (lane_types.float8(a, b), codegen) if lane_types.is_lanes(a, b) else None


@intrinsic
def max8(typingctx, a, b):  # type: ignore[no-untyped-def]
    """The greater in each lane; `a` where one of them is NaN."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        a, b = lane_types.all_wide(builder, signature, args)
        return builder.select(builder.fcmp_ordered(">", b, a), b, a)

    return (lane_types.float8(a, b), codegen) if lane_types.is_lanes(a, b) else None


@intrinsic
def finite_or(typingctx, value, otherwise):  # type: ignore[no-untyped-def]
    """In each lane, `value` where it is finite, else `otherwise`."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        value, otherwise = lane_types.all_wide(builder, signature, args)
        # What is not finite has no difference from itself that is a number.
        finite = builder.fcmp_ordered("ord", builder.fsub(value, value), ir.Constant(lane_types.VECTOR, [0.0] * LANES))
        return builder.select(finite, value, otherwise)

    return (lane_types.float8(value, otherwise), codegen) if lane_types.is_lanes(value, otherwise) else None


def magnitude(builder, value):  # type: ignore[no-untyped-def]
    """A vector of LLVM without its signs."""
    return builder.bitcast(
        builder.and_(builder.bitcast(value, lane_types.WORDS), ir.Constant(lane_types.WORDS, [0x7FFFFFFF] * LANES)), lane_types.VECTOR
    )


@intrinsic
def abs8(typingctx, value):  # type: ignore[no-untyped-def]
    """Without the signs."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return magnitude(builder, args[0])

    return lane_types.float8(lane_types.float8), codegen


def folded(builder, lanes, join):  # type: ignore[no-untyped-def]
    """A vector of LLVM made one float32: lanes meet four apart, then two, then neighbours: the least rounding, the shortest chain."""
    for width in (4, 2, 1):
        turned = shuffled(builder, lanes, ir.Constant(lane_types.VECTOR, ir.Undefined), [(lane + width) % LANES for lane in range(LANES)])
        lanes = join(lanes, turned)
    return builder.extract_element(lanes, ir.IntType(32)(0))


def _extreme(sign):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return folded(builder, args[0], lambda a, b: builder.select(builder.fcmp_ordered(sign, a, b), a, b))

    return types.float32(lane_types.float8), codegen


@intrinsic
def sum8(typingctx, value):  # type: ignore[no-untyped-def]
    """The sum of the lanes, as a balanced tree."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return folded(builder, args[0], builder.fadd)

    return types.float32(lane_types.float8), codegen


@intrinsic
def largest8(typingctx, value):  # type: ignore[no-untyped-def]
    """The largest of the lanes; none of them may be NaN."""
    return _extreme(">")


@intrinsic
def smallest8(typingctx, value):  # type: ignore[no-untyped-def]
    """The smallest of the lanes; what is NaN counts as some other lane."""
    return _extreme("<")
