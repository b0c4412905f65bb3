"""Where sound can be shortened or lengthened without anybody noticing, and how.

Two neighbouring pieces of equal length that look alike are cross-faded into one (*accelerate*) or one
is played twice (*decelerate*): the time changes by one piece, the pitch does not. Voiced speech looks
alike after one pitch period; silence looks like silence after any time.

For lag ``L`` and splice point ``q`` (an index of the window)::

    accelerate   x[..q)  crossfade(x[q, q+L) -> x[q+L, q+2L))  x[q+2L..)     L frames fewer
    decelerate   x[..q)  crossfade(x[q, q+L) -> x[q-L, q))     x[q..)        L frames more

Both compare the piece that starts at ``s`` with the one that starts at ``s + L`` (``s`` is ``q`` or
``q - L``), so one search serves both. It looks at *every* position of the window, not at one fixed
point: sums that roll along the position make that cheap. All kernels work in memory passed in.

Source: W. Verhelst, M. Roelands, "An overlap-add technique based on waveform similarity (WSOLA)",
ICASSP 1993; normalised correlation gate and lags as in WebRTC's NetEQ.
"""

from __future__ import annotations

import math

from rtmedia.dsp.lpc import dot
from rtmedia.rt.kernel import kernel

#: Mean square under which anything is silence: -60 dBFS.
SILENCE_MEAN_SQUARE = 1e-6
#: A block counts as background while its mean square is at most this times the floor (NetEQ: 8).
QUIET_OVER_FLOOR = 8.0
#: Rise of the noise floor per 10 ms block: x4 in 4 s.
FLOOR_RISE = 4.0 ** (1.0 / 400.0)
#: Highest first guess of the floor, -41.5 dBFS: a stream that starts with speech must not call it noise.
FLOOR_START = 7e-5
#: Digital silence says nothing about the room behind it.
FLOOR_LEAST = 1e-9
#: The coarse search runs near this rate.
COARSE_HZ = 4000
#: Longest piece of silence that is taken in one splice.
QUIET_LAG_S = 0.010
#: Energies of the two pieces may differ by this much (6 dB): more is an onset or a decay.
ENERGY_RATIO = 4.0
#: Correlation that a longer lag may lack and still be taken: fewer splices for the same time.
LONGER_LAG_BONUS = 0.003
#: Correlation peaks of the coarse search that are looked at closely.
PEAKS = 2


def splice_scratch_size(frames: int) -> int:
    """Values of float64 scratch that `find_splice` needs for a window of `frames`."""
    return 5 * frames + 16


@kernel("f8(f8[::1], f8)")
def noise_floor_update(state, mean_square):
    """Follow the background: falls at once, rises x4 in 4 s.

    Parameters
    ----------
    state : float64 array, at least 1 value
        ``state[0]`` is the floor; 0 before the first block.
    mean_square : float
        Of one 10 ms block. Digital silence and NaN leave the floor as it is.

    Returns
    -------
    float
        The floor, a mean square.

    Notes
    -----
    Thread: render.   Real-time: yes.
    Source: R. Martin, "Noise power spectral density estimation based on optimal smoothing and minimum
    statistics", IEEE Trans. SAP 9, 2001, in its simplest form.
    """
    floor = state[0]
    if not floor > 0.0:
        floor = FLOOR_START
    elif mean_square >= FLOOR_LEAST:
        floor = min(floor * FLOOR_RISE, 1.0)
    if FLOOR_LEAST <= mean_square < floor:
        floor = mean_square
    state[0] = floor
    return floor


@kernel("f8(f8)")
def quiet_limit(floor):
    """The mean square up to which a block is silence, given the noise floor.

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    return max(QUIET_OVER_FLOOR * floor, SILENCE_MEAN_SQUARE)


@kernel("void(f4[:, ::1], f4[:, ::1], f4[:, ::1])")
def crossfade(a, b, out):
    """Raised cosine from `a` to `b`; all three hold the same frames and channels; `out` may be `a` or `b`.

    Notes
    -----
    Thread: render.   Real-time: yes.
    The two gains add up to one: right for pieces that look alike, and equal pieces come out to the bit.
    Pieces that do not look alike dip by 3 dB in the middle; they are spliced only in near silence.
    """
    frames = out.shape[0]
    for i in range(frames):
        weight = 0.5 - 0.5 * math.cos(math.pi * (i + 0.5) / frames)
        for c in range(out.shape[1]):
            start = a[i, c]
            out[i, c] = start + weight * (b[i, c] - start)


@kernel("f8(f8[::1], i8, i8)")
def similarity(x, start, lag):
    """Normalised correlation of ``x[start, start+lag)`` with ``x[start+lag, start+2 lag)``; -1 across an onset.

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    a = x[start:]
    b = x[start + lag :]
    energy_a = dot(a, a, lag)
    energy_b = dot(b, b, lag)
    if energy_a + energy_b <= 1e-12 * lag:
        return 1.0
    if energy_a > ENERGY_RATIO * energy_b or energy_b > ENERGY_RATIO * energy_a:
        return -1.0
    return dot(a, b, lag) / math.sqrt(energy_a * energy_b)


@kernel("Tuple((i8, f8))(f8[::1], f8[::1], i8, i8, i8, i8)")
def _best_start(x, power, lag, low, high, stride):
    """The start among ``low, low + stride … high`` whose piece looks most like its successor, and how much; (-1, -1) if none."""
    if high < low:
        return -1, -1.0
    # Views from `low` on, so that every index is a plain count from zero (no test for negative ones).
    old = x[low:]
    mid = x[low + lag :]
    new = x[low + 2 * lag :]
    power_old = power[low:]
    power_mid = power[low + lag :]
    power_new = power[low + 2 * lag :]
    best = -1
    best_cross = 0.0
    best_energy = 1.0
    silent = 1e-12 * lag
    cross = dot(old, mid, lag)
    base = 0
    for _ in range((high - low) // stride + 1):
        energy_a = power_mid[base] - power_old[base]
        energy_b = power_new[base] - power_mid[base]
        if energy_a + energy_b <= silent:
            return low + base, 1.0
        # rho > best, squared and multiplied out: no root, no division
        energy = energy_a * energy_b
        square = cross * abs(cross)
        if square * best_energy > best_cross * energy and energy_a <= ENERGY_RATIO * energy_b and energy_b <= ENERGY_RATIO * energy_a:
            best = low + base
            best_cross = square
            best_energy = energy
        if low + base + stride > high:
            break
        # The sum rolls on: the oldest products leave, new ones enter.
        change = 0.0
        for i in range(base, base + stride):
            change += mid[i] * (new[i] - old[i])
        cross += change
        base += stride
    return best, math.sqrt(best_cross / best_energy) if best >= 0 else -1.0


@kernel("void(f8[::1], i8, f8[::1])")
def _running_power(x, count, power):
    total = 0.0
    power[0] = 0.0
    for i in range(count):
        total += x[i] * x[i]
        power[i + 1] = total


@kernel("UniTuple(i8, 2)(f8[::1], i8, i8, i8, i8, i8, i8, i8, f8)")
def _quietest(power, count, min_lag, max_lag, first, last, direction, rate_hz, quiet):
    """The quietest splice whose two pieces are both silence, with the longest lag that finds one."""
    lag = min(max_lag, int(QUIET_LAG_S * rate_hz))
    while lag >= min_lag:
        shift = 0 if direction > 0 else lag
        best = -1
        least = 0.0
        for start in range(max(first - shift, 0), min(last - shift, count - 2 * lag) + 1):
            middle = power[start + lag]
            energy_a = middle - power[start]
            energy_b = power[start + 2 * lag] - middle
            if energy_a <= quiet * lag and energy_b <= quiet * lag and (best < 0 or energy_a + energy_b < least):
                best = start
                least = energy_a + energy_b
        if best >= 0:
            return best, lag
        lag = min_lag if min_lag < lag < min_lag * 4 // 3 else lag * 3 // 4
    return -1, 0


@kernel("i8(f8[::1], i8, i8, i8)")
def _take_peak(rho_of, low, high, step):
    """Take the highest hill out of the coarse correlations: its lag at full rate, -1 when none is left."""
    peak = -1
    peak_height = 0.0
    peak_bend = 0.0
    for lag in range(low, high + 1):
        left = rho_of[lag - 1] if lag > low else -1.0
        right = rho_of[lag + 1] if lag < high else -1.0
        if rho_of[lag] <= 0.0 or rho_of[lag] < left or rho_of[lag] < right:
            continue
        # The top of the parabola through three lags: short periods fall between the coarse ones.
        curve = left - 2.0 * rho_of[lag] + right
        bend = 0.5 * (left - right) / curve if left > 0.0 and right > 0.0 and curve < 0.0 else 0.0
        height = rho_of[lag] - 0.25 * (left - right) * bend
        if height > peak_height:
            peak = lag
            peak_height = height
            peak_bend = bend
    if peak < 0:
        return -1
    # The whole hill goes, so that its slopes are not taken for peaks next time.
    foot = peak
    while foot > low and 0.0 < rho_of[foot - 1] <= rho_of[foot]:
        foot -= 1
    end = peak
    while end < high and 0.0 < rho_of[end + 1] <= rho_of[end]:
        end += 1
    for lag in range(foot, end + 1):
        rho_of[lag] = -1.0
    return int((peak + peak_bend) * step + 0.5)


@kernel("i8(f4[::1], i8, i8, i8, i8, i8, i8, i8, i8, f8, f8[::1], f8[::1])")
def find_splice(window, history, future, min_lag, max_lag, first, last, direction, rate_hz, quiet, scratch, result):
    """Find the place and the lag where a splice is heard least.

    Parameters
    ----------
    window : float32 array, history + future frames
        Mono (the mean of the channels): frames already played, then frames not yet played.
    history, future : int
        Frames of either kind. Index `history` is the next frame to play; no splice starts before it.
    min_lag, max_lag : int
        Limits of the lag in frames, both included (2.5 and 15 ms suit speech).
    first, last : int
        Limits of the splice point (window index), both included.
    direction : int
        +1 removes one lag, -1 inserts one.
    rate_hz : int
        Rate of the window.
    quiet : float
        Mean square up to which a piece is silence (`quiet_limit`); never less than -60 dBFS.
    scratch : float64 array
        At least `splice_scratch_size` values; overwritten.
    result : float64 array, 4 values
        Splice point, lag, correlation of the two pieces, mean square of both together.

    Returns
    -------
    int
        1 when `result` holds a splice, 0 when no two pieces go together. Whether the correlation is good
        enough is the caller's decision.

    Notes
    -----
    Thread: render.   Real-time: yes.
    A place where both pieces are silence wins over every other, with the longest lag up to 10 ms. Otherwise the
    highest correlation wins; a longer lag that is as good (within 0.003) wins over a shorter one. The mean of
    the window is taken out before correlating, else a constant offset would make everything look alike.
    """
    count = min(history + future, window.shape[0])
    low_lag = max(min_lag, 2)
    high_lag = min(max_lag, count // 2)
    first = max(first, history, 0)
    last = min(last, count)
    step = max(1, (rate_hz + COARSE_HZ // 2) // COARSE_HZ)
    coarse_count = count // step
    if high_lag < low_lag or last < first or scratch.shape[0] < 5 * count + 16:
        return 0

    x = scratch[:count]
    power = scratch[count : 2 * count + 1]
    offset = 0.0
    for i in range(count):
        x[i] = window[i]
        offset += x[i]
    offset /= count
    _running_power(x, count, power)
    start, lag = _quietest(power, count, low_lag, high_lag, first, last, direction, rate_hz, max(quiet, SILENCE_MEAN_SQUARE))
    if start >= 0:
        result[0] = start if direction > 0 else start + lag
        result[1] = lag
        result[2] = similarity(x, start, lag)
        result[3] = (power[start + 2 * lag] - power[start]) / (2 * lag)
        return 1

    for i in range(count):
        x[i] -= offset
    _running_power(x, count, power)

    # Coarse: a mean over two steps, once per step. Each lag's best correlation.
    free = scratch[2 * count + 1 :]
    coarse = free[:coarse_count]
    coarse_power = free[coarse_count : 2 * coarse_count + 1]
    lags = coarse_count // 2 + 1
    rho_of = free[2 * coarse_count + 1 : 2 * coarse_count + 1 + lags]
    half = step // 2
    for j in range(coarse_count):
        begin = max(0, j * step - half)
        end = min(count, j * step + step + half)
        total = 0.0
        for i in range(begin, end):
            total += x[i]
        coarse[j] = total / (end - begin)
    _running_power(coarse, coarse_count, coarse_power)
    low_coarse = max(2, low_lag // step)
    high_coarse = min((high_lag + step - 1) // step, coarse_count // 2)
    for lag in range(low_coarse, high_coarse + 1):
        shift = 0 if direction > 0 else lag
        low = max(first // step - shift, 0)
        high = min(last // step - shift, coarse_count - 2 * lag)
        _, rho_of[lag] = _best_start(coarse, coarse_power, lag, low, high, 2)

    # Around each of the highest peaks: every lag, and every step-th start, at full rate.
    best_rho = -1.0
    best_lag = 0
    best_start = -1
    for _ in range(PEAKS):
        guess = _take_peak(rho_of, low_coarse, high_coarse, step)
        if guess < 0:
            break
        for lag in range(max(low_lag, guess - half - 1), min(high_lag, guess + half + 1) + 1):
            shift = 0 if direction > 0 else lag
            place, rho = _best_start(x, power, lag, max(first - shift, 0), min(last - shift, count - 2 * lag), step)
            margin = 0.0
            if lag > best_lag + half + 1:
                margin = -LONGER_LAG_BONUS
            elif lag < best_lag - half - 1:
                margin = LONGER_LAG_BONUS
            if rho > best_rho + margin:
                best_rho = rho
                best_lag = lag
                best_start = place
    if best_start < 0:
        return 0
    total = 0.0
    for i in range(best_start, best_start + 2 * best_lag):
        total += (x[i] + offset) * (x[i] + offset)
    result[0] = best_start if direction > 0 else best_start + best_lag
    result[1] = best_lag
    result[2] = best_rho
    result[3] = total / (2 * best_lag)
    return 1
