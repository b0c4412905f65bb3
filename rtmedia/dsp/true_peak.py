"""Where a signal rises between its samples: the largest of four interpolated values around each frame.

A converter draws a smooth line through the samples, and that line can pass above all of them: a sine of a quarter of the
sampling rate whose samples all lie at 45 degrees rises 3 dB higher. The interpolator here is the one by which broadcasters
measure it, twelve taps for each quarter of a frame, so that what this module calls the true peak is what their meters show.
Source: ITU-R BS.1770-4 (2015), Annex 2, the 48 coefficients of its order-48, 4-phase filter.

The four phases are two and their mirror images. With sums ``u`` and differences ``v`` of the samples that lie alike around
the centre, a phase is ``E(u) + O(v)`` and its mirror image ``E(u) - O(v)``; the larger magnitude of the two is ``|E| + |O|``:
half the work.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.lanes import LANES, lane_types, magnitude
from rtmedia.rt.later import intrinsic, ir, types

TAPS = 12
#: The newest frame that a value needs lies so many frames after the frame before which it is interpolated.
AHEAD = 5

# fmt: off
_FIRST = (
    0.001708984375, 0.010986328125, -0.0196533203125, 0.033203125, -0.0594482421875, 0.1373291015625,
    0.97216796875, -0.102294921875, 0.047607421875, -0.026611328125, 0.014892578125, -0.00830078125,
)
_SECOND = (
    -0.0291748046875, 0.029296875, -0.0517578125, 0.089111328125, -0.16650390625, 0.465087890625,
    0.77978515625, -0.2003173828125, 0.1015625, -0.0582275390625, 0.0330810546875, -0.0189208984375,
)
# fmt: on
#: The filter, a row for each phase.
PHASES: npt.NDArray[np.float64] = np.array([_FIRST, _SECOND, _SECOND[::-1], _FIRST[::-1]])
#: No true peak is more than this many times the largest sample it is made of.
MOST = float(np.abs(PHASES).sum(axis=1).max())


@intrinsic
def true_peak8(typingctx, address):  # type: ignore[no-untyped-def]
    """For eight frames in turn, the largest magnitude among the four interpolated values and one sample.

    Lane ``i`` looks at the `TAPS` float32 from frame ``i`` at `address` on: the values lie between their sixth and seventh, which
    is the sample. ``TAPS + 7`` float32 are read.
    """

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        vector = ir.VectorType(ir.FloatType(), LANES)

        def weighted(values, weights):  # type: ignore[no-untyped-def]
            total = None
            for value, weight in zip(values, weights, strict=True):
                part = builder.fmul(value, ir.Constant(vector, [float(weight)] * LANES))
                total = part if total is None else builder.fadd(total, part)
            return total

        def larger(a, b):  # type: ignore[no-untyped-def]
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        word = ir.IntType(64)
        x = [builder.load(builder.inttoptr(builder.add(args[0], word(4 * tap)), vector.as_pointer()), align=4) for tap in range(TAPS)]
        half = TAPS // 2
        sums = [builder.fadd(x[tap], x[TAPS - 1 - tap]) for tap in range(half)]
        differences = [builder.fsub(x[tap], x[TAPS - 1 - tap]) for tap in range(half)]
        largest = magnitude(builder, x[half])
        for phase in PHASES[:2]:
            # Halves of sums of multiples of 2^-13: exact in float32.
            even, odd = (phase + phase[::-1])[:half] / 2, (phase - phase[::-1])[:half] / 2
            pair = builder.fadd(magnitude(builder, weighted(sums, even)), magnitude(builder, weighted(differences, odd)))
            largest = larger(pair, largest)
        return largest

    return lane_types.float8(types.int64), codegen
