"""The types of `rtmedia.dsp.lanes` and `rtmedia.dsp.complex_lanes`, as numba knows them, and what their operators do.

Importing this module teaches numba; nothing does before something is compiled.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import lower_builtin, register_model, type_callable

from rtmedia.dsp.lanes import LANES, in_all_lanes

VECTOR = ir.VectorType(ir.FloatType(), LANES)
WORDS = ir.VectorType(ir.IntType(32), LANES)
DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
LONGS = ir.VectorType(ir.IntType(64), LANES)
WIDE = ir.VectorType(ir.FloatType(), 2 * LANES)


class _Float8(types.Type):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(name="float32x8")


float8 = _Float8()


@register_model(_Float8)
class _Float8Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager, fe_type):  # type: ignore[no-untyped-def]
        super().__init__(manager, fe_type, VECTOR)


def is_lanes(*given):  # type: ignore[no-untyped-def]
    """Whether these types are lanes or single float32, and at least one of them lanes."""
    return any(isinstance(a, _Float8) for a in given) and all(isinstance(a, _Float8) or a == types.float32 for a in given)


def _wide(builder, given, value):  # type: ignore[no-untyped-def]
    """A value of type `given`, lanes or a float32, as a vector of LLVM."""
    return value if isinstance(given, _Float8) else in_all_lanes(builder, value)


def all_wide(builder, signature, args):  # type: ignore[no-untyped-def]
    return [_wide(builder, given, value) for given, value in zip(signature.args, args, strict=True)]


def _arithmetic(symbol, build):  # type: ignore[no-untyped-def]
    """Teach numba one operator of two vectors, or of a vector and a float32."""

    @type_callable(symbol)
    def _typed(context):  # type: ignore[no-untyped-def]
        return lambda a, b: float8 if is_lanes(a, b) else None

    for pair in ((_Float8, _Float8), (_Float8, types.Float), (types.Float, _Float8)):

        @lower_builtin(symbol, *pair)
        def _lowered(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return getattr(builder, build)(*all_wide(builder, signature, args))


for _symbol, _build in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv")):
    _arithmetic(_symbol, _build)


class _Complex8(types.Type):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(name="complex64x8")


complex8 = _Complex8()


@register_model(_Complex8)
class _Complex8Model(models.StructModel):  # type: ignore[misc]
    def __init__(self, manager, fe_type):  # type: ignore[no-untyped-def]
        super().__init__(manager, fe_type, [("re", float8), ("im", float8)])


def parts(context, builder, value):  # type: ignore[no-untyped-def]
    proxy = cgutils.create_struct_proxy(complex8)(context, builder, value)
    return proxy.re, proxy.im


def whole(context, builder, re, im):  # type: ignore[no-untyped-def]
    proxy = cgutils.create_struct_proxy(complex8)(context, builder)
    proxy.re, proxy.im = re, im
    return proxy._getvalue()


def _sums(symbol, build):  # type: ignore[no-untyped-def]
    @type_callable(symbol)
    def _typed(context):  # type: ignore[no-untyped-def]
        return lambda a, b: complex8 if isinstance(a, _Complex8) and isinstance(b, _Complex8) else None

    @lower_builtin(symbol, _Complex8, _Complex8)
    def _lowered(context, builder, signature, args):  # type: ignore[no-untyped-def]
        (ar, ai), (br, bi) = (parts(context, builder, value) for value in args)
        return whole(context, builder, getattr(builder, build)(ar, br), getattr(builder, build)(ai, bi))


for _symbol, _build in ((operator.add, "fadd"), (operator.sub, "fsub")):
    _sums(_symbol, _build)


@type_callable(operator.mul)
def _product_type(context):  # type: ignore[no-untyped-def]
    return lambda a, b: complex8 if isinstance(a, _Complex8) and (b is complex8 or b is float8) else None


@lower_builtin(operator.mul, _Complex8, _Complex8)
def _product(context, builder, signature, args):  # type: ignore[no-untyped-def]
    (ar, ai), (br, bi) = (parts(context, builder, value) for value in args)
    re = builder.fsub(builder.fmul(ar, br), builder.fmul(ai, bi))
    return whole(context, builder, re, builder.fadd(builder.fmul(ar, bi), builder.fmul(ai, br)))


@lower_builtin(operator.mul, _Complex8, _Float8)
def _scaled(context, builder, signature, args):  # type: ignore[no-untyped-def]
    re, im = parts(context, builder, args[0])
    return whole(context, builder, builder.fmul(re, args[1]), builder.fmul(im, args[1]))
