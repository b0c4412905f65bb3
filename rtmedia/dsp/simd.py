"""A dot product whose order of additions is written down.

LLVM may not reorder a floating-point sum, and so leaves it scalar; allowing it to (``fastmath``) makes
the result depend on the machine. Eight partial sums spelled out as a vector are both: four to eight times faster,
and the same bits wherever the code runs (no fused multiply-add).
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8


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
        lane = ir.IntType(32)
        lanes = builder.load(total)
        for width in (4, 2, 1):  # a balanced tree: the least rounding, the shortest chain
            order = ir.Constant(ir.VectorType(lane, LANES), [(i + width) % LANES for i in range(LANES)])
            lanes = builder.fadd(lanes, builder.shuffle_vector(lanes, ir.Constant(vector, ir.Undefined), order))
        return builder.extract_element(lanes, lane(0))

    return signature, codegen
