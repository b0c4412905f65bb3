"""Arithmetic that becomes vectors: a dot product, and fast logarithm and exponential of float32.

LLVM may not reorder a floating-point sum, and so leaves it scalar; allowing it to (``fastmath``) makes
the result depend on the machine. Eight partial sums spelled out as a vector are both: four to eight times faster,
and the same bits wherever the code runs (no fused multiply-add). Calls to the C library's ``log`` and ``exp`` keep a
loop scalar as well; polynomials do not.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from rtmedia.dsp.lanes import LANES as LANES
from rtmedia.dsp.lanes import folded, lane_types, shuffled
from rtmedia.rt.later import cgutils, intrinsic, ir, types


@intrinsic
def dot_f4(typingctx, first, second, count):  # type: ignore[no-untyped-def]
    """Sum of products of `count` float32 at two addresses; `count` must be a multiple of `LANES`."""
    signature = types.float32(types.int64, types.int64, types.int64)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word = ir.IntType(64)
        vector = ir.VectorType(ir.FloatType(), LANES)
        first, second, count = args
        # A stack slot at function entry: LLVM keeps it in a register.
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * LANES))
        builder.store(ir.Constant(vector, [0.0] * LANES), total)
        with cgutils.for_range_slice(builder, word(0), count, word(LANES), word) as (index, _):
            offset = builder.mul(index, word(4))
            loaded = [
                builder.load(builder.inttoptr(builder.add(address, offset), vector.as_pointer()), align=4) for address in (first, second)
            ]
            builder.store(builder.fadd(builder.load(total), builder.fmul(*loaded)), total)
        return folded(builder, builder.load(total), builder.fadd)

    return signature, codegen


@intrinsic
def four_dots_f4(typingctx, first, second, third, fourth, one, two, three, four, count, out):  # type: ignore[no-untyped-def]
    """Four `dot_f4` at once, to four float32 at `out`: `first` with `one`, `second` with `two` and so on; the same bits.

    One loop instead of four, and the lanes of all four are added up together: half the instructions.
    """
    signature = types.void(*[types.int64] * 10)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word, real = ir.IntType(64), ir.FloatType()
        vector, half = ir.VectorType(real, LANES), ir.VectorType(real, LANES // 2)
        zero = ir.Constant(vector, [0.0] * LANES)
        totals = [cgutils.alloca_once_value(builder, zero) for _ in range(4)]
        for total in totals:
            builder.store(zero, total)
        count, out = args[8:]
        # Pointers made before the loop, and one index into all of them: LLVM would move eight addresses on, one by one.
        places = [builder.inttoptr(at, real.as_pointer()) for at in args[:8]]
        with cgutils.for_range_slice(builder, word(0), count, word(LANES), word) as (index, _):
            for total, pair in zip(totals, zip(places[:4], places[4:], strict=True), strict=True):
                loaded = [builder.load(builder.bitcast(builder.gep(at, [index]), vector.as_pointer()), align=4) for at in pair]
                builder.store(builder.fadd(builder.load(total), builder.fmul(*loaded)), total)

        order = partial(shuffled, builder)
        # The tree of `dot_f4`: lanes four apart, then two apart, then neighbours.
        lanes = [builder.load(total) for total in totals]
        lanes = [builder.fadd(order(each, each, [0, 1, 2, 3]), order(each, each, [4, 5, 6, 7])) for each in lanes]
        pairs = [builder.fadd(order(a, b, [0, 1, 4, 5]), order(a, b, [2, 3, 6, 7])) for a, b in (lanes[:2], lanes[2:])]
        sums = builder.fadd(order(*pairs, [0, 2, 4, 6]), order(*pairs, [1, 3, 5, 7]))
        builder.store(sums, builder.inttoptr(out, half.as_pointer()), align=4)
        return context.get_dummy_value()

    return signature, codegen


#: log2(1 + t) / t for t between sqrt(1/2) - 1 and sqrt(2) - 1, Chebyshev fit: absolute error 6e-7.
_LOG2 = (1.44269643, -0.72136404, 0.480629147, -0.359350653, 0.2956336, -0.269506274, 0.172128731)
#: (2^f - 1) / f for |f| <= 1/2, Chebyshev fit: relative error 2e-7.
_EXP2 = (0.693147188, 0.240223489, 0.055503571, 0.00966637369, 0.00133908674)
_ROUND = 12582912.0  # 1.5 * 2^23: adding it leaves the nearest integer in the last bits


def _polynomial(builder, coefficients, x):  # type: ignore[no-untyped-def]
    """By pairs, then pairs of pairs (Estrin's scheme): a chain of three steps where Horner's has one a coefficient."""
    terms = [_same(x.type, coefficient) for coefficient in coefficients]
    while len(terms) > 1:
        whole = [builder.fadd(low, builder.fmul(high, x)) for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = whole + terms[len(whole) * 2 :]
        x = builder.fmul(x, x) if len(terms) > 1 else x
    return terms[0]


def _same(kind, value):  # type: ignore[no-untyped-def]
    """A constant of type `kind`: one number, or as many alike as the vector is wide."""
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [_same(kind.element, value).constant] * kind.count)
    return ir.Constant(kind, value if isinstance(kind, ir.IntType) else _single(value))


def _words(kind):  # type: ignore[no-untyped-def]
    """32-bit integers in the shape of the float32 `kind`."""
    return ir.VectorType(ir.IntType(32), kind.count) if isinstance(kind, ir.VectorType) else ir.IntType(32)


def _single(value: float) -> float:
    """The nearest float32: LLVM refuses constants that are not exact."""
    return float(np.float32(value))


def _log2(context, builder, signature, args):  # type: ignore[no-untyped-def]
    real = args[0].type
    word = _words(real)
    bits = builder.bitcast(args[0], word)
    exponent = builder.ashr(builder.sub(bits, _same(word, 0x3F3504F3)), _same(word, 23))  # the mantissa lies around 1
    mantissa = builder.bitcast(builder.sub(bits, builder.shl(exponent, _same(word, 23))), real)
    t = builder.fsub(mantissa, _same(real, 1.0))
    return builder.fadd(builder.sitofp(exponent, real), builder.fmul(t, _polynomial(builder, _LOG2, t)))


def _exp2(context, builder, signature, args):  # type: ignore[no-untyped-def]
    x = args[0]
    real = x.type
    word = _words(real)
    x = builder.select(builder.fcmp_ordered(">", x, _same(real, -126.0)), x, _same(real, -126.0))
    x = builder.select(builder.fcmp_ordered("<", x, _same(real, 126.0)), x, _same(real, 126.0))
    shifted = builder.fadd(x, _same(real, _ROUND))
    whole = builder.sub(builder.bitcast(shifted, word), _same(word, int(np.float32(_ROUND).view(np.int32))))
    f = builder.fsub(x, builder.fsub(shifted, _same(real, _ROUND)))
    power = builder.bitcast(builder.shl(builder.add(whole, _same(word, 127)), _same(word, 23)), real)
    return builder.fmul(power, builder.fadd(_same(real, 1.0), builder.fmul(f, _polynomial(builder, _EXP2, f))))


@intrinsic
def log2_f4(typingctx, x):  # type: ignore[no-untyped-def]
    """Binary logarithm of a positive float32, within 1e-6 and a rounding; about -127 for 0. Loops over it become vectors."""
    return types.float32(types.float32), _log2


@intrinsic
def log2_8(typingctx, x):  # type: ignore[no-untyped-def]
    """`log2_f4` of eight lanes, the same bits."""
    return lane_types.float8(lane_types.float8), _log2


@intrinsic
def exp2_f4(typingctx, x):  # type: ignore[no-untyped-def]
    """Two to the power of a float32 held within ±126, relative error 3e-7; never NaN. Loops over it become vectors."""
    return types.float32(types.float32), _exp2


@intrinsic
def exp2_8(typingctx, x):  # type: ignore[no-untyped-def]
    """`exp2_f4` of eight lanes, the same bits."""
    return lane_types.float8(lane_types.float8), _exp2
