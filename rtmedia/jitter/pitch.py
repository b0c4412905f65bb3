"""The pitch: the lag at which the last sound looks most like what lies before it.

Source: normalised autocorrelation, as in ITU-T G.711 Appendix I; the top of a parabola through three values gives the
lag's fraction.
"""

from __future__ import annotations

import math

from rtmedia.dsp.lpc import dot
from rtmedia.jitter.conceal_state import MAX_LAG_S, MIN_LAG_S
from rtmedia.rt.kernel import kernel

#: Length that is compared with itself one lag earlier: one period of the lowest voice. Twice that follows a gliding
#: pitch worse (0.7 dB less signal-to-noise ratio after 20 ms on recorded speech).
PITCH_SPAN_S = 0.010
#: Correlation that a longer lag may lack and still be taken: it repeats less often and errs less per period.
LONGER_LAG_BONUS = 0.005


@kernel("i8(f8[::1], i8, i8, i8, i8, f8[::1])")
def _whole_lag(x, count, low, high, span, rho_of):
    """Lag, without fraction, at which the last `span` values look most like those before; 0 when nothing does."""
    recent = x[count - span :]
    energy = dot(recent, recent, span)
    if energy <= 1e-12 * span:
        return 0
    shifted = x[count - span - low :]
    energy_lag = dot(shifted, shifted, span)
    for lag in range(low, high + 1):
        start = count - span - lag
        if lag > low:  # the piece moves one value back
            energy_lag += x[start] * x[start] - x[start + span] * x[start + span]
        cross = dot(recent, x[start:], span)
        rho_of[lag] = cross / math.sqrt(energy * energy_lag) if energy_lag > 1e-12 * span else 0.0
    best = 0.0
    for lag in range(low, high + 1):
        best = max(best, rho_of[lag])
    found = 0
    for lag in range(low, high + 1):
        peak = (lag == low or rho_of[lag] >= rho_of[lag - 1]) and (lag == high or rho_of[lag] >= rho_of[lag + 1])
        if peak and rho_of[lag] > 0.0 and rho_of[lag] >= best - LONGER_LAG_BONUS:
            found = lag
    return found


@kernel("UniTuple(f8, 2)(f8[::1], i8, i8, i8, i8)")
def _fraction(x, count, low, high, span):
    """The best lag in ``low … high`` with its fraction (the top of a parabola), and its correlation."""
    recent = x[count - span :]
    energy = dot(recent, recent, span)
    left = mid = right = -1.0
    best = low
    before = -1.0
    for lag in range(low, high + 1):
        shifted = x[count - span - lag :]
        energy_lag = dot(shifted, shifted, span)
        rho = dot(recent, shifted, span) / math.sqrt(energy * energy_lag + 1e-30)
        if rho > mid:
            left = before
            mid = rho
            right = -1.0
            best = lag
        elif lag == best + 1:
            right = rho
        before = rho
    curve = left - 2.0 * mid + right
    bend = 0.5 * (left - right) / curve if left > 0.0 and right > 0.0 and curve < 0.0 else 0.0
    return best + bend, min(1.0, mid - 0.25 * (left - right) * bend)


@kernel("UniTuple(f8, 2)(f8[::1], f8[::1], i8, i8)")
def pitch_lag(x, scratch, count, rate_hz):
    """Lag in frames, with fraction, and its correlation. `x` holds `count` values without their mean."""
    span = min(int(PITCH_SPAN_S * rate_hz), count // 2)
    low = int(MIN_LAG_S * rate_hz)
    high = min(int(MAX_LAG_S * rate_hz), count - span - 2)
    if high <= low + 2 or span < low:
        return 0.0, 0.0
    step = max(1, rate_hz // 16_000)
    if step == 1:
        lag = _whole_lag(x, count, low, high, span, scratch)
    else:  # search on means of `step` frames, counted from the end
        short = count // step
        first = count - short * step
        for j in range(short):
            total = 0.0
            for i in range(first + j * step, first + (j + 1) * step):
                total += x[i]
            scratch[j] = total / step
        lag = step * _whole_lag(scratch, short, low // step, high // step, span // step, scratch[short:])
    if lag == 0:
        return 0.0, 0.0
    return _fraction(x, count, max(low - 1, lag - step - 1), min(high + 1, lag + step + 1), span)
