"""Exponential, logarithm and sine of eight float32 at once, computed in double precision and rounded once.

Where a result must be the C library's float32 to the last bit but for one case in some hundred thousand, float32 polynomials are
not enough: their own rounding is a bit or two. Here each lane is widened, the polynomial is evaluated in double, and the
result rounded to float32. LLVM makes two or four machine vectors of the eight doubles. No division, no
fused multiply-add, no table: the same bits wherever the code runs, and from whichever lane.

The coefficients are Chebyshev interpolations of the functions named, over the interval named.
"""

from __future__ import annotations

import math

import numpy as np

from rtmedia.dsp.lanes import LANES, lane_types
from rtmedia.rt.later import intrinsic, ir, types

#: 2^f for |f| <= 1/2: relative error 1.1e-12.
_EXP2 = (
    1.0,
    0.6931471805459335,
    0.2402265069581299,
    0.05550410941205934,
    0.00961812915940262,
    0.0013333450568000008,
    0.00015403455852419016,
    1.5310079402383103e-05,
    1.3255224884799127e-06,
)
#: ln(1 + t) / t for t between sqrt(1/2) - 1 and sqrt(2) - 1: relative error 1.2e-10.
_LN = (
    1.000000000048012,
    -0.5000000030845538,
    0.3333333084628052,
    -0.24999936585814828,
    0.20000169637942583,
    -0.16670383652376933,
    0.14283798395268726,
    -0.12410885665965674,
    0.11042736039737786,
    -0.10898112577866007,
    0.1063654237550073,
    -0.058456713350391445,
)
#: sin(x) / x over the square of x, for |x| <= pi/2: relative error 7.8e-14.
_SINE = (
    0.9999999999999496,
    -0.1666666666646667,
    0.008333333320358332,
    -0.0001984126668312749,
    2.7556952912588487e-06,
    -2.5030268178364796e-08,
    1.541121959529151e-10,
)
_ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it leaves the nearest integer in the last bits
_ROOT_HALF = 0x3F3504F3  # sqrt(1/2) as float32


def _float32(bits: int) -> float:
    return float(np.uint32(bits).view(np.float32))


def _all(vector, value):  # type: ignore[no-untyped-def]
    return ir.Constant(vector, [value] * LANES)


def _polynomial(builder, coefficients, x):  # type: ignore[no-untyped-def]
    """Horner's rule in the square of `x`, twice: half the steps wait for one another."""
    square = builder.fmul(x, x)
    halves = []
    for part in (coefficients[0::2], coefficients[1::2]):
        total = _all(lane_types.DOUBLES, part[-1])
        for coefficient in reversed(part[:-1]):
            total = builder.fadd(builder.fmul(total, square), _all(lane_types.DOUBLES, coefficient))
        halves.append(total)
    return builder.fadd(halves[0], builder.fmul(halves[1], x))


@intrinsic
def power8(typingctx, x, log2_base):  # type: ignore[no-untyped-def]
    """A base to the power of each lane, the base given by its binary logarithm in double.

    Lanes whose result leaves the range of float32 become infinite or 0; NaN gives something finite or infinite.
    """

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        log2_base = ir.Constant(lane_types.DOUBLES, ir.Undefined)
        log2_base = builder.insert_element(log2_base, args[1], ir.IntType(32)(0))
        log2_base = builder.shuffle_vector(log2_base, ir.Constant(lane_types.DOUBLES, ir.Undefined), _all(lane_types.WORDS, 0))
        y = builder.fmul(builder.fpext(args[0], lane_types.DOUBLES), log2_base)
        low, high = _all(lane_types.DOUBLES, -1000.0), _all(lane_types.DOUBLES, 1000.0)
        y = builder.select(builder.fcmp_ordered(">", y, low), y, low)
        y = builder.select(builder.fcmp_ordered("<", y, high), y, high)
        shifted = builder.fadd(y, _all(lane_types.DOUBLES, _ROUND))
        part = _polynomial(builder, _EXP2, builder.fsub(y, builder.fsub(shifted, _all(lane_types.DOUBLES, _ROUND))))
        # The integer in the last bits goes to the exponent's place; what stands above it is shifted out.
        exponent = builder.shl(builder.bitcast(shifted, lane_types.LONGS), _all(lane_types.LONGS, 52))
        scaled = builder.bitcast(builder.add(builder.bitcast(part, lane_types.LONGS), exponent), lane_types.DOUBLES)
        return builder.fptrunc(scaled, lane_types.VECTOR)

    return lane_types.float8(lane_types.float8, types.float64), codegen


@intrinsic
def log10_8(typingctx, x):  # type: ignore[no-untyped-def]
    """Decimal logarithm of each lane, rounded as fdlibm's ``log10f`` does."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        bits = builder.bitcast(args[0], lane_types.WORDS)
        # fdlibm: x = 2^n y with y in [1, 2) for n >= 0 and in [1/2, 1) for n < 0
        n = builder.sub(builder.ashr(bits, _all(lane_types.WORDS, 23)), _all(lane_types.WORDS, 127))
        n = builder.add(n, builder.lshr(n, _all(lane_types.WORDS, 31)))
        y = builder.sub(bits, builder.shl(n, _all(lane_types.WORDS, 23)))
        exponent = builder.ashr(
            builder.sub(y, _all(lane_types.WORDS, _ROOT_HALF)), _all(lane_types.WORDS, 23)
        )  # the mantissa lies around 1
        mantissa = builder.bitcast(builder.sub(y, builder.shl(exponent, _all(lane_types.WORDS, 23))), lane_types.VECTOR)
        t = builder.fpext(builder.fsub(mantissa, _all(lane_types.VECTOR, 1.0)), lane_types.DOUBLES)  # exact
        whole = builder.fmul(builder.sitofp(exponent, lane_types.DOUBLES), _all(lane_types.DOUBLES, math.log(2)))
        natural = builder.fptrunc(builder.fadd(whole, builder.fmul(t, _polynomial(builder, _LN, t))), lane_types.VECTOR)
        real = builder.sitofp(n, lane_types.VECTOR)
        low, scale, high = (_all(lane_types.VECTOR, _float32(bits)) for bits in (0x355427DB, 0x3EDE5BD9, 0x3E9A2080))
        z = builder.fadd(builder.fmul(real, low), builder.fmul(scale, natural))
        return builder.fadd(z, builder.fmul(real, high))

    return lane_types.float8(lane_types.float8), codegen


@intrinsic
def sine8(typingctx, x):  # type: ignore[no-untyped-def]
    """Sine of each lane, for angles between -pi/2 and pi/2."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        x = builder.fpext(args[0], lane_types.DOUBLES)
        return builder.fptrunc(builder.fmul(x, _polynomial(builder, _SINE, builder.fmul(x, x))), lane_types.VECTOR)

    return lane_types.float8(lane_types.float8), codegen
