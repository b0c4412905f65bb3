"""Which part of a spectrum is noise, and by how much to turn each bin down.

How to think about it: noise is what remains at the bottom. For each bin the *minimum* of the smoothed power over
half a second tells the floor; powers near it make speech's *absence* likely; the noise estimate follows the power in
proportion to that likelihood. The gain is the log-spectral estimator for speech, bent towards the floor ``-depth_db``
by the probability that there is speech at all, judged from the bin, its neighbours and a wide band around it.

Sources: I. Cohen, *Noise spectrum estimation in adverse environments: improved minima controlled recursive averaging*,
IEEE TSAP 11(5), 2003 (noise); I. Cohen, B. Berdugo, *Speech enhancement for non-stationary noise environments*, Signal
Processing 81, 2001 (OM-LSA gain); Y. Ephraim, D. Malah, IEEE TASSP 33(2), 1985 (log-spectral amplitude); E1 in three
pieces: R. Martin et al., 2004. The minima are shorter (0.5 s) than published and the frame-level term is left out: both
measured better on speech over fans, hum and street. The limit `_NOISE_MOST` is our own.

Powers are those of 16-bit amplitudes, so that 1 is below any sound.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.simd import exp2_f4, log2_f4
from rtmedia.rt.kernel import kernel
from rtmedia.rt.memory import view_f4, view_i8

#: Rows of one channel's memory. Constant distances let LLVM see that rows never overlap.
(
    RE,
    IM,
    POWER,
    SMOOTH,  # of the power, over time and three bins
    SMOOTH_MIN,
    SMOOTH_NOW,  # minimum of the present sub-window
    CALM,  # as SMOOTH, over quiet bins only
    CALM_MIN,
    CALM_NOW,
    QUIET,  # 1 where a bin is near its floor
    NOISE,  # before the bias factor
    SPEECH,  # estimated power of speech in the last frame
    SNR,  # a-priori, smoothed over frames
    BAND_SNR,  # mean of SNR over a wide band
    GAIN,
    LOG_GAIN,  # binary logarithm of the gain if speech were certain
    LIKELIHOOD,  # (1 + xi) exp(-v): of absence against presence
    SMOOTH_PAST,
) = range(18)
SUB_WINDOWS, SUB_FRAMES = 8, 6
CALM_PAST = SMOOTH_PAST + SUB_WINDOWS
ROWS = CALM_PAST + SUB_WINDOWS
#: Room for 769 bins and one neighbour on either side; a multiple of a cache line, and no power of two.
GUARD, ROW = 16, 800

#: Integers of one channel's memory.
LEARNT, SUB_FRAME, SUB_WINDOW, COUNTERS = range(4)

_F = np.float32
_0, _1, _2, _HALF, _QUARTER = _F(0), _F(1), _F(2), _F(0.5), _F(0.25)
_HUGE, _TINY = _F(1e30), _F(1e-10)
_LEARN_FRAMES = 8
_SMOOTH, _SMOOTH_REST = _F(0.85), _F(0.15)
_MIN_BIAS = _F(1.66)  # the minimum of a smoothed power lies so far under its mean
_QUIET_POWER, _QUIET_SMOOTH = _F(4.6), _F(1.67)
_ABSENT_POWER, _ABSENT_SLOPE = _F(4.0), _F(1 / 3)
_NOISE_SHARE, _NOISE_BIAS, _NOISE_LEAST = _F(0.10), _F(1.47), _F(1.0)
#: What is averaged is never further over the minimum than this, hence the average neither. Without the limit a stream that
#: begins within a word keeps that word as its noise for as long as no pause is much longer than half a second.
_NOISE_MOST = _ABSENT_POWER * _MIN_BIAS
_PAST_SHARE, _PRESENT_SHARE = _F(0.92), _F(0.08)
_XI_LEAST, _XI_MOST, _GAMMA_MOST = _F(10**-2.5), _F(100.0), _F(1000.0)
_V_MOST = _F(80.0)  # exp(-80) is still a normal float32: no 0 / 0 where absence is certain
_SNR_PAST, _SNR_PRESENT = _F(0.7), _F(0.3)
_BAND = 15  # bins to either side
_Q_MOST = _F(0.99)
_FALL_PAST, _FALL_PRESENT = _F(0.3), _F(0.7)
_LOG2_E, _LOG10_2, _LOG2_10 = _F(math.log2(math.e)), _F(math.log10(2)), _F(math.log2(10))


def fresh_rows(channels: int) -> npt.NDArray[np.float32]:
    """The rows of `channels` channels before the first frame."""
    rows = np.zeros((channels, ROWS, ROW), np.float32)
    rows[:, [SMOOTH_MIN, SMOOTH_NOW, CALM_MIN, CALM_NOW]] = _HUGE
    rows[:, SMOOTH_PAST:] = _HUGE
    rows[:, NOISE] = _NOISE_LEAST
    rows[:, GAIN] = 1.0
    return rows


@kernel("f4[::1](i8, i8)", inline=True)
def row(rows_address, index):
    """The bins of one row."""
    return view_f4(rows_address + (index * ROW + GUARD) * 4, ROW - GUARD)


@kernel("f4[::1](i8, i8)", inline=True)
def left_of(rows_address, index):
    """A row seen from one bin lower: element k is bin k - 1 (no negative index, which would keep a loop scalar)."""
    return view_f4(rows_address + (index * ROW + GUARD - 1) * 4, ROW - GUARD)


@kernel("f4[::1](i8, i8)", inline=True)
def right_of(rows_address, index):
    """A row seen from one bin higher."""
    return view_f4(rows_address + (index * ROW + GUARD + 1) * 4, ROW - GUARD - 1)


@kernel("void(i8, i8, i8)")
def extend(rows_address, index, bins):
    """Repeat a row's first and last bin beyond its ends."""
    bin_of = row(rows_address, index)
    left_of(rows_address, index)[0] = bin_of[0]
    bin_of[bins] = bin_of[bins - 1]


@kernel("void(i8, i8, i8, i8, i8, i8)")
def end_sub_window(rows_address, now_index, least_index, past_index, slot, bins):
    """Store the minimum of a finished sub-window, and take the least of all that are stored."""
    now, least, stored = row(rows_address, now_index), row(rows_address, least_index), row(rows_address, past_index + slot)
    for k in range(bins):
        stored[k] = now[k]
        now[k] = _HUGE
        least[k] = _HUGE
    for window in range(SUB_WINDOWS):
        past = row(rows_address, past_index + window)
        for k in range(bins):
            least[k] = min(least[k], past[k])


@kernel("void(i8, i8, i8)")
def follow_minima(rows_address, counters_address, bins):
    """Smooth the power, keep the minima of the last half second, of all frames and of the quiet ones."""
    counters = view_i8(counters_address, COUNTERS)
    if counters[SUB_FRAME] == SUB_FRAMES:
        counters[SUB_FRAME] = 0
        slot = counters[SUB_WINDOW]
        counters[SUB_WINDOW] = (slot + 1) % SUB_WINDOWS
        end_sub_window(rows_address, SMOOTH_NOW, SMOOTH_MIN, SMOOTH_PAST, slot, bins)
        end_sub_window(rows_address, CALM_NOW, CALM_MIN, CALM_PAST, slot, bins)
    counters[SUB_FRAME] += 1
    first = counters[LEARNT] == 0
    past = _0 if first else _SMOOTH
    rest = _1 if first else _SMOOTH_REST
    extend(rows_address, POWER, bins)
    power, power_left, power_right = row(rows_address, POWER), left_of(rows_address, POWER), right_of(rows_address, POWER)
    smooth, smooth_min, smooth_now = row(rows_address, SMOOTH), row(rows_address, SMOOTH_MIN), row(rows_address, SMOOTH_NOW)
    quiet, quiet_left, quiet_right = row(rows_address, QUIET), left_of(rows_address, QUIET), right_of(rows_address, QUIET)
    calm, calm_min, calm_now = row(rows_address, CALM), row(rows_address, CALM_MIN), row(rows_address, CALM_NOW)
    for k in range(bins):
        over_bins = _QUARTER * (power_left[k] + _2 * power[k] + power_right[k])
        before = smooth[k]
        before = before if before - before == _0 else over_bins
        now = past * before + rest * over_bins
        least = min(smooth_min[k], now)
        smooth[k] = now
        smooth_min[k] = least
        smooth_now[k] = min(smooth_now[k], now)
        floor = _MIN_BIAS * least
        is_quiet = (power[k] < _QUIET_POWER * floor) & (now < _QUIET_SMOOTH * floor)
        quiet[k] = _1 if is_quiet else _0
    extend(rows_address, QUIET, bins)
    for k in range(bins):
        weight_left, weight, weight_right = quiet_left[k], _2 * quiet[k], quiet_right[k]
        weights = weight_left + weight + weight_right
        total = weight_left * power_left[k] + weight * power[k] + weight_right * power_right[k]
        before = calm[k]
        before = before if before - before == _0 else smooth[k]
        # No quiet neighbour: keep what there is; in the first frame there is nothing yet.
        kept = smooth[k] if first else before
        over_bins = total / max(weights, _1)
        now = past * before + rest * over_bins if weights > _0 else kept
        calm[k] = now
        calm_min[k] = min(calm_min[k], now)
        calm_now[k] = min(calm_now[k], now)


@kernel("void(i8, i8, i8)")
def follow_noise(rows_address, counters_address, bins):
    """Let the noise estimate follow the power where speech is likely absent; the mean of the first frames starts it."""
    counters = view_i8(counters_address, COUNTERS)
    power, noise, speech = row(rows_address, POWER), row(rows_address, NOISE), row(rows_address, SPEECH)
    smooth, calm_min = row(rows_address, SMOOTH), row(rows_address, CALM_MIN)
    learnt = counters[LEARNT]
    if learnt < _LEARN_FRAMES:
        share = _F(1.0 / (learnt + 1))
        for k in range(bins):
            learning = noise[k] + (power[k] / _NOISE_BIAS - noise[k]) * share
            noise[k] = max(min(learning, _NOISE_MOST * calm_min[k]), _NOISE_LEAST)
        counters[LEARNT] = learnt + 1
        return
    for k in range(bins):
        inverse = _1 / (_NOISE_BIAS * noise[k])
        gamma = min(power[k] * inverse, _GAMMA_MOST)
        xi = max(_PAST_SHARE * speech[k] * inverse + _PRESENT_SHARE * max(gamma - _1, _0), _XI_LEAST)
        v = min(gamma * xi / (_1 + xi), _V_MOST)
        likelihood = (_1 + xi) * exp2_f4(-_LOG2_E * v)
        floor = _1 / max(_MIN_BIAS * calm_min[k], _TINY)
        absent = min(max((_ABSENT_POWER - power[k] * floor) * _ABSENT_SLOPE, _0), _1)
        absent = absent if smooth[k] * floor < _QUIET_SMOOTH else _0
        # The absence probability itself, never one minus presence: in float32 that drives the noise below zero.
        absence = absent * likelihood / (_1 - absent + absent * likelihood)
        followed = noise[k] + _NOISE_SHARE * absence * (power[k] - noise[k])
        noise[k] = max(min(followed, _NOISE_MOST * calm_min[k]), _NOISE_LEAST)


@kernel("void(i8, i8)")
def estimate_speech(rows_address, bins):
    """Gain, power and likelihood under the assumption that each bin holds speech."""
    power, noise, speech = row(rows_address, POWER), row(rows_address, NOISE), row(rows_address, SPEECH)
    snr, log_gain, likelihood = row(rows_address, SNR), row(rows_address, LOG_GAIN), row(rows_address, LIKELIHOOD)
    for k in range(bins):
        # A bin that is not finite starts anew; nothing else would ever mend it.
        floor = noise[k] if noise[k] - noise[k] == _0 else max(power[k], _NOISE_LEAST)
        past = speech[k] if speech[k] - speech[k] == _0 else _0
        past_snr = snr[k] if snr[k] - snr[k] == _0 else _0
        inverse = _1 / (_NOISE_BIAS * floor)
        gamma = min(power[k] * inverse, _GAMMA_MOST)
        xi = max(_PAST_SHARE * past * inverse + _PRESENT_SHARE * max(gamma - _1, _0), _XI_LEAST)
        wiener = xi / (_1 + xi)
        v = min(gamma * wiener, _V_MOST)
        log10_v = _LOG10_2 * log2_f4(v)
        low = _F(-2.31) * log10_v - _F(0.6)
        middle = _F(-1.544) * log10_v + _F(0.166)
        high = exp2_f4((_F(-0.52) * v - _F(0.26)) * _LOG2_10)
        integral = low if v < _F(0.1) else middle
        integral = integral if v <= _1 else high
        level = min(log2_f4(wiener) + _HALF * _LOG2_E * integral, _0)
        noise[k] = floor
        log_gain[k] = level
        speech[k] = exp2_f4(_2 * level) * power[k]
        likelihood[k] = (_1 + xi) * exp2_f4(-_LOG2_E * v)
        snr[k] = _SNR_PAST * past_snr + _SNR_PRESENT * min(xi, _XI_MOST)


@kernel("void(i8, i8)")
def average_band(rows_address, bins):
    """Mean of the smoothed ratio over a wide band, cut at the ends, as a running sum; in double, because it runs."""
    snr, band_snr = row(rows_address, SNR), row(rows_address, BAND_SNR)
    total = 0.0
    for k in range(_BAND):
        total += snr[k]
    for k in range(bins):
        count = 2 * _BAND + 1
        if k + _BAND < bins:
            total += snr[k + _BAND]
        else:
            count -= k + _BAND + 1 - bins
        if k > _BAND:
            total -= snr[k - _BAND - 1]
        elif k < _BAND:
            count -= _BAND - k
        band_snr[k] = _F(total) / _F(count)


@kernel("void(i8, i8, f4)")
def apply_gain(rows_address, bins, depth_db):
    """Gain of each bin by OM-LSA, applied to the spectrum in place."""
    estimate_speech(rows_address, bins)
    average_band(rows_address, bins)
    extend(rows_address, SNR, bins)
    snr, snr_left, snr_right = row(rows_address, SNR), left_of(rows_address, SNR), right_of(rows_address, SNR)
    band_snr, log_gain, likelihood = row(rows_address, BAND_SNR), row(rows_address, LOG_GAIN), row(rows_address, LIKELIHOOD)
    gain, re, im = row(rows_address, GAIN), row(rows_address, RE), row(rows_address, IM)
    least_log = -depth_db * _F(_LOG2_10 / 20)
    least = exp2_f4(least_log)
    for k in range(bins):
        near = (snr_left[k] + snr[k] + snr_right[k]) * _F(1 / 3)
        # from -10 dB (0) to -5 dB (1)
        near = min(max(log2_f4(near) * (_2 * _LOG10_2) + _2, _0), _1)
        band = min(max(log2_f4(band_snr[k]) * (_2 * _LOG10_2) + _2, _0), _1)
        q = min(_1 - near * band, _Q_MOST)
        presence = _1 / (_1 + q / (_1 - q) * likelihood[k])
        wanted = max(exp2_f4(presence * log_gain[k] + (_1 - presence) * least_log), least)
        before = gain[k]
        # Up at once, or onsets are blunted; down a little slower, or the floor twitters. A NaN fails the comparison.
        wanted = _FALL_PAST * before + _FALL_PRESENT * wanted if before > wanted else wanted
        gain[k] = wanted
        re[k] *= wanted
        im[k] *= wanted


@kernel("void(i8, i8, i8, b1, f4)")
def suppress(rows_address, counters_address, bins, learn, depth_db):
    """Turn down what is noise in the spectrum in rows `RE` and `IM`; `learn` lets this frame tell about the noise."""
    re, im, power = row(rows_address, RE), row(rows_address, IM), row(rows_address, POWER)
    for k in range(bins):
        power[k] = re[k] * re[k] + im[k] * im[k]
    if learn:
        follow_minima(rows_address, counters_address, bins)
        follow_noise(rows_address, counters_address, bins)
    apply_gain(rows_address, bins, depth_db)
