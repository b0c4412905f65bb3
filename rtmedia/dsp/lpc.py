"""Linear prediction: the spectrum of a piece of sound as a short all-pole filter.

``A(z) = 1 + a[1] z^-1 + … + a[p] z^-p`` turns sound into its unpredictable part (the residual);
``1 / A(z)`` turns noise into noise with that spectrum and continues a sound from its last samples.

Source: J. Makhoul, "Linear Prediction: A Tutorial Review", Proc. IEEE 63, 1975, section III.
"""

from __future__ import annotations

import math

from rtmedia.rt.kernel import kernel

#: White noise at -40 dB under the signal: bounds the filter's gain and keeps pure tones stable (ITU-T G.729, 3.2.1).
WHITE_NOISE_CORRECTION = 1.0001
#: Gaussian lag window: widens every resonance to at least this, so that no pole rings for long (ITU-T G.729, 3.2.1).
LAG_WINDOW_HZ = 60.0


@kernel("f8(f8[::1], f8[::1], i8)")
def dot(a, b, count):
    """``sum(a[i] * b[i])`` over `count` elements, in four running sums.

    Notes
    -----
    Thread: any.   Real-time: yes.
    One running sum would wait for each addition to finish; four of them keep the processor busy.
    """
    s0 = s1 = s2 = s3 = 0.0
    whole = count - count % 4
    for i in range(0, whole, 4):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
    for i in range(whole, count):
        s0 += a[i] * b[i]
    return (s0 + s1) + (s2 + s3)


@kernel("void(f8[::1], i8, i8, f8[::1])")
def autocorrelate(x, count, order, r):
    """``r[k] = sum(x[i] * x[i + k])`` for k = 0 … `order` (zero where the piece is shorter than k).

    Notes
    -----
    Thread: any.   Real-time: yes.
    """
    for k in range(order + 1):
        r[k] = dot(x, x[k:], count - k) if k < count else 0.0


@kernel("f8(f8[::1], i8, i8, f8[::1])")
def levinson(r, order, rate_hz, a):
    """Prediction coefficients of an autocorrelation, by the Levinson-Durbin recursion.

    Parameters
    ----------
    r : float64 array, order + 1 values
        The autocorrelation; conditioned in place (white noise, lag window).
    order, rate_hz : int
        Order of the filter and rate of the signal.
    a : float64 array, order + 1 values
        Receives the coefficients; ``a[0]`` is 1. The filter is minimum-phase, always.

    Returns
    -------
    float
        Power of the residual over power of the signal, 0 … 1; 0 when there is no signal.

    Notes
    -----
    Thread: any.   Real-time: yes.
    Source: J. Durbin, "The fitting of time-series models", Rev. Inst. Int. Stat. 28, 1960.
    """
    a[0] = 1.0
    for k in range(1, order + 1):
        a[k] = 0.0
    if not r[0] > 1e-20:
        return 0.0
    r[0] *= WHITE_NOISE_CORRECTION
    for k in range(1, order + 1):
        angle = 2.0 * math.pi * LAG_WINDOW_HZ * k / rate_hz
        r[k] *= math.exp(-0.5 * angle * angle)
    error = r[0]
    for i in range(1, order + 1):
        acc = r[i]
        for j in range(1, i):
            acc += a[j] * r[i - j]
        reflection = -acc / error
        if not abs(reflection) < 0.9999:  # rounding: the order so far is all that the signal supports
            break
        for j in range(1, i // 2 + 1):
            low = a[j] + reflection * a[i - j]
            a[i - j] += reflection * a[j]
            a[j] = low
        a[i] = reflection
        error *= 1.0 - reflection * reflection
    return error / r[0]
