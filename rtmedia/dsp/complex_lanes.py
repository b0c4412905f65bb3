"""Eight complex numbers side by side, real and imaginary parts apart, as one value of a kernel.

The complex sibling of `rtmedia.dsp.lanes`, for transforms: ``+ - *`` work on all eight, `times_i` turns them by a
quarter, loads and stores take two addresses (parts in two arrays) or one (parts in turn). Nothing is fused or reordered.
"""

from __future__ import annotations

from rtmedia.dsp.lanes import LANES, in_all_lanes, lane_types, shuffled
from rtmedia.rt.later import intrinsic, ir, types


def _mirror(builder, vector):  # type: ignore[no-untyped-def]
    return shuffled(builder, vector, ir.Constant(lane_types.VECTOR, ir.Undefined), list(range(LANES - 1, -1, -1)))


def _load(builder, address, vector=None):  # type: ignore[no-untyped-def]
    return builder.load(builder.inttoptr(address, (vector or lane_types.VECTOR).as_pointer()), align=4)


def _store(builder, address, value):  # type: ignore[no-untyped-def]
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=4)


@intrinsic
def times_i(typingctx, value):  # type: ignore[no-untyped-def]
    """A quarter turn to the left: ``(-im, re)``."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        re, im = lane_types.parts(context, builder, args[0])
        return lane_types.whole(context, builder, builder.fneg(im), re)

    return lane_types.complex8(lane_types.complex8), codegen


@intrinsic
def conjugate(typingctx, value):  # type: ignore[no-untyped-def]
    """``(re, -im)``."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        re, im = lane_types.parts(context, builder, args[0])
        return lane_types.whole(context, builder, re, builder.fneg(im))

    return lane_types.complex8(lane_types.complex8), codegen


@intrinsic
def load8c(typingctx, re_address, im_address):  # type: ignore[no-untyped-def]
    """Eight neighbours, parts in two arrays; any alignment."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return lane_types.whole(context, builder, _load(builder, args[0]), _load(builder, args[1]))

    return lane_types.complex8(types.int64, types.int64), codegen


@intrinsic
def store8c(typingctx, re_address, im_address, value):  # type: ignore[no-untyped-def]
    """Write eight neighbours, parts in two arrays."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        for address, part in zip(args[:2], lane_types.parts(context, builder, args[2]), strict=True):
            _store(builder, address, part)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, lane_types.complex8), codegen


@intrinsic
def load8c_mirrored(typingctx, re_address, im_address):  # type: ignore[no-untyped-def]
    """As `load8c`, the last of them in the first lane."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return lane_types.whole(context, builder, *(_mirror(builder, _load(builder, address)) for address in args))

    return lane_types.complex8(types.int64, types.int64), codegen


@intrinsic
def store8c_mirrored(typingctx, re_address, im_address, value):  # type: ignore[no-untyped-def]
    """As `store8c`, the last lane to the first place."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        for address, part in zip(args[:2], lane_types.parts(context, builder, args[2]), strict=True):
            _store(builder, address, _mirror(builder, part))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, lane_types.complex8), codegen


@intrinsic
def load8c_pairs(typingctx, address):  # type: ignore[no-untyped-def]
    """Eight neighbours, parts in turn: sixteen float32, the even ones real."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        wide = _load(builder, args[0], lane_types.WIDE)
        nothing = ir.Constant(lane_types.WIDE, ir.Undefined)
        return lane_types.whole(context, builder, *(shuffled(builder, wide, nothing, list(range(part, 2 * LANES, 2))) for part in (0, 1)))

    return lane_types.complex8(types.int64), codegen


@intrinsic
def store8c_pairs(typingctx, address, value):  # type: ignore[no-untyped-def]
    """Write eight neighbours, parts in turn."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        order = [lane + part * LANES for lane in range(LANES) for part in (0, 1)]
        _store(builder, args[0], shuffled(builder, *lane_types.parts(context, builder, args[1]), order))
        return context.get_dummy_value()

    return types.void(types.int64, lane_types.complex8), codegen


@intrinsic
def load8c_same(typingctx, address):  # type: ignore[no-untyped-def]
    """One complex number, parts in turn, in all lanes."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        parts = []
        for part in (0, 1):
            at = builder.add(args[0], ir.IntType(64)(4 * part))
            value = builder.load(builder.inttoptr(at, ir.FloatType().as_pointer()), align=4)
            parts.append(in_all_lanes(builder, value))
        return lane_types.whole(context, builder, *parts)

    return lane_types.complex8(types.int64), codegen


def _transposed(builder, rows):  # type: ignore[no-untyped-def]
    """Columns of eight rows, in three rounds: neighbours, pairs and halves change places."""
    for width in (1, 2, 4):
        order = [[lane if not lane & width else lane - width + LANES for lane in range(LANES)]]
        order.append([lane + width if not lane & width else lane + LANES for lane in range(LANES)])
        turned = list(rows)
        for i in range(LANES):
            if not i & width:
                for place, which in ((i, order[0]), (i + width, order[1])):
                    turned[place] = shuffled(builder, rows[i], rows[i + width], which)
        rows = turned
    return rows


@intrinsic
def load8c_columns(typingctx, re_address, im_address):  # type: ignore[no-untyped-def]
    """Eight rows of eight, one behind the other, parts in two arrays: their eight columns, as a tuple."""
    columns = types.UniTuple(lane_types.complex8, LANES)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        parts = []
        for address in args:
            rows = [_load(builder, builder.add(address, ir.IntType(64)(4 * LANES * row))) for row in range(LANES)]
            parts.append(_transposed(builder, rows))
        return context.make_tuple(builder, columns, [lane_types.whole(context, builder, re, im) for re, im in zip(*parts, strict=True)])

    return columns(types.int64, types.int64), codegen
