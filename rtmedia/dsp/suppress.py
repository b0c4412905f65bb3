"""Which part of a spectrum is noise, and by how much to turn each bin down.

How to think about it: noise is what remains at the bottom. For each bin the *minimum* of the smoothed power over
half a second tells the floor; powers near it make speech's *absence* likely; the noise estimate follows the power in
proportion to that likelihood. The gain is the log-spectral estimator for speech, bent towards the floor ``-depth_db``
by the probability that there is speech at all, judged from the bin, its neighbours and a wide band around it.

Two things are added. A floor that rises, as when a fan is switched up, would be taken for speech until the minima have
forgotten the old one, twice over: `notice_rise` finds it in a third of a second, because a new noise lifts nearly all bins at once and
then holds still, and speech does not. And what is left where there is no speech would twitter, as it repeats every flicker of the noise:
the floor's gain leans against them, so that what is left is nearly steady.

Sources: I. Cohen, *Noise spectrum estimation in adverse environments: improved minima controlled recursive averaging*,
IEEE TSAP 11(5), 2003 (noise); I. Cohen, B. Berdugo, *Speech enhancement for non-stationary noise environments*, Signal
Processing 81, 2001 (OM-LSA gain); Y. Ephraim, D. Malah, IEEE TASSP 33(2), 1985 (log-spectral amplitude); E1 in three
pieces: R. Martin et al., 2004. The minima are shorter (0.5 s) than published and the frame-level term is left out: both
measured better on speech over fans, hum and street. The limit `_NOISE_MOST`, `notice_rise` and the leaning floor are our own.

Powers are those of 16-bit amplitudes, so that 1 is below any sound.

The loops say their vectors themselves (`rtmedia.dsp.lanes`): a row is known by the address of its first bin, ``k`` counts
octets, and the last vector runs over the end into bins that nobody hears.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.lanes import LANES, all8, finite_or, least8, load8, load8_same, max8, min8, store8, sum8, where_less
from rtmedia.dsp.simd import exp2_8, log2_8
from rtmedia.rt.kernel import kernel
from rtmedia.rt.memory import view_f4, view_i8

#: Rows of one channel's memory.
(
    RE,
    IM,
    POWER,
    SMOOTH,  # of the power, over time and three bins
    SMOOTH_MIN,  # of the finished sub-windows
    SMOOTH_NOW,  # of the present one
    CALM,  # as SMOOTH, over quiet bins only
    CALM_MIN,
    CALM_NOW,
    CALM_LEAST,  # of both
    QUIET,  # 1 where a bin is near its floor
    NOISE,  # before the bias factor
    SPEECH,  # estimated power of speech in the last frame
    SNR,  # a-priori, smoothed over frames
    BAND,  # sum of SNR over a bin and those above it
    BAND_SHARE,  # of one bin in the mean of its wide band
    GAIN,
    LOG_GAIN,  # binary logarithm of the gain if speech were certain
    LIKELIHOOD,  # (1 + xi) exp(-v): of absence against presence
    FLOOR,  # gain where no speech is, as a share of the depth in decibels
    SMOOTH_PAST,
) = range(21)
SUB_WINDOWS, SUB_FRAMES = 8, 6
CALM_PAST = SMOOTH_PAST + SUB_WINDOWS
ROWS = CALM_PAST + SUB_WINDOWS
#: Room for 769 bins and 16 neighbours on either side; a multiple of a cache line, and no power of two.
GUARD, ROW = 16, 816

#: Integers of one channel's memory.
LEARNT, SUB_FRAME, SUB_WINDOW, COUNTERS = range(4)

_F = np.float32
_STEP = 4 * LANES  # octets of one vector
_0, _1, _2, _HALF, _QUARTER = _F(0), _F(1), _F(2), _F(0.5), _F(0.25)
_HUGE, _TINY = _F(1e30), _F(1e-10)
_LEARN_FRAMES = 8
_SMOOTH, _SMOOTH_REST = _F(0.85), _F(0.15)
_MIN_BIAS = _F(1.66)  # the minimum of a smoothed power lies so far under its mean
_QUIET_POWER, _QUIET_SMOOTH = _F(4.6), _F(1.67)
_ABSENT_POWER, _ABSENT_RANGE = _F(4.0), _F(3.0)
_NOISE_SHARE, _NOISE_LEAST = _F(0.10), _F(1.0)
#: The noise as it is kept lies so far under its mean power.
NOISE_BIAS = _F(1.47)
#: What is averaged is never further over the minimum than this, hence the average neither. Without the limit a stream that
#: begins within a word keeps that word as its noise for as long as no pause is much longer than half a second.
_NOISE_MOST = _ABSENT_POWER * _MIN_BIAS
_PAST_SHARE, _PRESENT_SHARE = _F(0.9), _F(0.1)
_XI_LEAST, _XI_MOST, _GAMMA_MOST = _F(10**-2.5), _F(100.0), _F(1000.0)
_V_MOST = _F(80.0)  # exp(-80) is still a normal float32: no 0 / 0 where absence is certain
_SNR_PAST, _SNR_PRESENT = _F(0.7), _F(0.3)
_BAND = 15  # bins to either side
_Q_MOST = _F(0.99)
_FALL_PAST, _FALL_PRESENT = _F(0.15), _F(0.85)
#: Of the depth, for each doubling of the power over its mean. Two doublings down, four up: further off it is no noise.
_LEAN, _LEAN_LEAST, _LEAN_MOST = _F(0.09), _F(-2.0), _F(4.0)
#: A rise of the floor: three of five bins lie 4 dB over the noise for five sub-windows, whose minima lie within 4.8 dB. Over all mixtures
#: that this was tuned on (speech at 0 to 40 dB in eight noises) it found each step and nothing else.
_RISE_WINDOWS, _RISE_RATIO, _RISE_SPREAD, _RISE_SHARE = 5, _F(2.5), _F(3.0), _F(0.6)
_RISE_MEAN = _F(1.3)  # the least of so many smoothed powers lies so far under the noise as it is kept
#: More would take half a second of a vowel for noise.
ADAPT_MOST = 2.0
_LOG2_E, _LOG10_2, _LOG2_10 = _F(math.log2(math.e)), _F(math.log10(2)), _F(math.log2(10))


def fresh_rows(channels: int, bins: int) -> npt.NDArray[np.float32]:
    """The rows of `channels` channels of `bins` bins before the first frame."""
    rows = np.zeros((channels, ROWS, ROW), np.float32)
    rows[:, [SMOOTH_MIN, SMOOTH_NOW, CALM_MIN, CALM_NOW]] = _HUGE
    rows[:, SMOOTH_PAST:] = _HUGE
    rows[:, NOISE] = _NOISE_LEAST
    rows[:, GAIN] = 1.0
    bin_of = np.arange(bins)
    rows[:, BAND_SHARE, GUARD : GUARD + bins] = 1 / (np.minimum(bin_of, _BAND) + np.minimum(bins - 1 - bin_of, _BAND) + 1)
    return rows


@kernel("i8(i8, i8)", inline=True)
def row(rows_address, index):
    """Where the first bin of a row lies."""
    return rows_address + (index * ROW + GUARD) * 4


@kernel("i8(i8)", inline=True)
def octets(bins):
    """How far a loop over the bins goes, in octets: whole vectors."""
    return (bins + LANES - 1) // LANES * _STEP


@kernel("void(i8, i8, i8)")
def extend(rows_address, index, bins):
    """Repeat a row's first and last bin beyond its ends: all that the last vector meets there is a sound's."""
    first, last = row(rows_address, index), row(rows_address, index) + (bins - 1) * 4
    view_f4(first - 4, 1)[0] = view_f4(first, 1)[0]
    store8(last + 4, load8_same(last))


@kernel("void(i8, i8, i8, i8, i8, i8)")
def end_sub_window(rows_address, now_index, least_index, past_index, slot, bins):
    """Store the minimum of a finished sub-window, and take the least of all that are stored."""
    now, least, past = row(rows_address, now_index), row(rows_address, least_index), row(rows_address, past_index)
    for k in range(0, octets(bins), _STEP):
        store8(past + slot * ROW * 4 + k, load8(now + k))
        store8(now + k, all8(_HUGE))
        all_windows = load8(past + k)
        for window in range(1, SUB_WINDOWS):
            all_windows = least8(all_windows, load8(past + window * ROW * 4 + k))
        store8(least + k, all_windows)


@kernel("void(i8, i8, i8)")
def raise_row(rows_address, index, bins):
    """To at least what `notice_rise` left in its scratch row."""
    raised, least = row(rows_address, index), row(rows_address, LOG_GAIN)
    for k in range(0, octets(bins), _STEP):
        store8(raised + k, max8(load8(raised + k), load8(least + k)))


@kernel("void(i8, i8, i8)")
def notice_rise(rows_address, slot, bins):
    """Where most bins have come to lie steadily over their noise, let the noise and the minima follow at once."""
    noise, past = row(rows_address, NOISE), row(rows_address, SMOOTH_PAST)
    rising = row(rows_address, LOG_GAIN)  # every frame computes it anew, later
    oldest = past + (slot + SUB_WINDOWS - _RISE_WINDOWS + 1) % SUB_WINDOWS * ROW * 4
    risen, inside = all8(_0), row(rows_address, BAND_SHARE)  # which is 0 beyond the last bin
    for k in range(0, octets(bins), _STEP):
        low, high = all8(_HUGE), all8(_0)
        for window in range(_RISE_WINDOWS - 1):
            one = load8(past + (slot + SUB_WINDOWS - window) % SUB_WINDOWS * ROW * 4 + k)
            low, high = min8(low, one), max8(high, one)
        # The oldest counts for the decision, but not for the level: at its beginning the smoothing was still on its way up.
        store8(rising + k, low)
        one = load8(oldest + k)
        low, high = min8(low, one), max8(high, one)
        steady = where_less(_RISE_RATIO * load8(noise + k), low, where_less(high, _RISE_SPREAD * low, all8(_1), _0), _0)
        risen = risen + where_less(_0, load8(inside + k), steady, _0)
    if sum8(risen) <= _RISE_SHARE * _F(bins):
        return
    for k in range(0, octets(bins), _STEP):
        low, before = load8(rising + k), load8(noise + k)
        least = where_less(before, low, low, _0)
        store8(rising + k, least)
        store8(noise + k, where_less(before, low, _RISE_MEAN * low, before))
    for index in range(SMOOTH_PAST, ROWS):
        raise_row(rows_address, index, bins)
    raise_row(rows_address, SMOOTH_MIN, bins)
    raise_row(rows_address, CALM_MIN, bins)
    raise_row(rows_address, CALM, bins)


@kernel("void(i8, i8, i8, i8)")
def follow_minima(rows_address, counters_address, bins, sub_frames):
    """Smooth the power, keep the minima of the last eight sub-windows, of all frames and of the quiet ones."""
    counters = view_i8(counters_address, COUNTERS)
    if counters[SUB_FRAME] >= sub_frames:
        counters[SUB_FRAME] = 0
        slot = counters[SUB_WINDOW]
        counters[SUB_WINDOW] = (slot + 1) % SUB_WINDOWS
        end_sub_window(rows_address, SMOOTH_NOW, SMOOTH_MIN, SMOOTH_PAST, slot, bins)
        end_sub_window(rows_address, CALM_NOW, CALM_MIN, CALM_PAST, slot, bins)
        if counters[LEARNT] == _LEARN_FRAMES:
            notice_rise(rows_address, slot, bins)
    counters[SUB_FRAME] += 1
    first = counters[LEARNT] == 0
    past = _0 if first else _SMOOTH
    rest = _1 if first else _SMOOTH_REST
    extend(rows_address, POWER, bins)
    power, quiet = row(rows_address, POWER), row(rows_address, QUIET)
    smooth, smooth_min, smooth_now = row(rows_address, SMOOTH), row(rows_address, SMOOTH_MIN), row(rows_address, SMOOTH_NOW)
    calm, calm_min, calm_now = row(rows_address, CALM), row(rows_address, CALM_MIN), row(rows_address, CALM_NOW)
    calm_least = row(rows_address, CALM_LEAST)
    for k in range(0, octets(bins), _STEP):
        here = load8(power + k)
        over_bins = _QUARTER * (load8(power + k - 4) + _2 * here + load8(power + k + 4))
        now = past * finite_or(load8(smooth + k), over_bins) + rest * over_bins
        least = least8(load8(smooth_now + k), now)
        store8(smooth + k, now)
        store8(smooth_now + k, least)
        floor = _MIN_BIAS * least8(load8(smooth_min + k), least)
        store8(quiet + k, where_less(here, _QUIET_POWER * floor, where_less(now, _QUIET_SMOOTH * floor, all8(_1), _0), _0))
    extend(rows_address, QUIET, bins)
    for k in range(0, octets(bins), _STEP):
        weight_left, weight, weight_right = load8(quiet + k - 4), _2 * load8(quiet + k), load8(quiet + k + 4)
        weights = weight_left + weight + weight_right
        total = weight_left * load8(power + k - 4) + weight * load8(power + k) + weight_right * load8(power + k + 4)
        before = finite_or(load8(calm + k), load8(smooth + k))
        # No quiet neighbour: keep what there is; in the first frame there is nothing yet.
        kept = load8(smooth + k) if first else before
        over_bins = total / max8(weights, _1)
        now = where_less(_0, weights, past * before + rest * over_bins, kept)
        store8(calm + k, now)
        least = least8(load8(calm_now + k), now)
        store8(calm_now + k, least)
        store8(calm_least + k, least8(load8(calm_min + k), least))


@kernel("void(i8, i8, i8, f4)")
def follow_noise(rows_address, counters_address, bins, share_of_new):
    """Let the noise estimate follow the power where speech is likely absent; the mean of the first frames starts it."""
    counters = view_i8(counters_address, COUNTERS)
    power, noise, speech = row(rows_address, POWER), row(rows_address, NOISE), row(rows_address, SPEECH)
    smooth, calm_least = row(rows_address, SMOOTH), row(rows_address, CALM_LEAST)
    learnt = counters[LEARNT]
    if learnt < _LEARN_FRAMES:
        share = _F(1.0 / (learnt + 1))
        for k in range(0, octets(bins), _STEP):
            before = load8(noise + k)
            learning = before + (load8(power + k) / NOISE_BIAS - before) * share
            store8(noise + k, max8(min8(learning, _NOISE_MOST * load8(calm_least + k)), _NOISE_LEAST))
        counters[LEARNT] = learnt + 1
        return
    for k in range(0, octets(bins), _STEP):
        here, before, calm_floor = load8(power + k), load8(noise + k), load8(calm_least + k)
        inverse = _1 / (NOISE_BIAS * before)
        gamma = min8(here * inverse, _GAMMA_MOST)
        xi = max8(_PAST_SHARE * load8(speech + k) * inverse + _PRESENT_SHARE * max8(gamma - _1, _0), _XI_LEAST)
        v = min8(gamma * xi / (_1 + xi), _V_MOST)
        likelihood = (_1 + xi) * exp2_8(-_LOG2_E * v)
        # Shares of `certain`, where the formulas have shares of 1: one division instead of two.
        floor = max8(_MIN_BIAS * calm_floor, _TINY)
        certain = _ABSENT_RANGE * floor
        absent = min8(max8(_ABSENT_POWER * floor - here, _0), certain)
        absent = where_less(load8(smooth + k), _QUIET_SMOOTH * floor, absent, _0)
        # The absence probability itself, never one minus presence: in float32 that drives the noise below zero.
        absence = absent * likelihood / (certain - absent + absent * likelihood)
        followed = before + share_of_new * absence * (here - before)
        store8(noise + k, max8(min8(followed, _NOISE_MOST * calm_floor), _NOISE_LEAST))


@kernel("void(i8, i8)")
def estimate_speech(rows_address, bins):
    """Gain, power and likelihood under the assumption that each bin holds speech."""
    power, noise, speech = row(rows_address, POWER), row(rows_address, NOISE), row(rows_address, SPEECH)
    snr, log_gain, likelihood = row(rows_address, SNR), row(rows_address, LOG_GAIN), row(rows_address, LIKELIHOOD)
    floor_row = row(rows_address, FLOOR)
    for k in range(0, octets(bins), _STEP):
        here = load8(power + k)
        # A bin that is not finite starts anew; nothing else would ever mend it.
        floor = max8(finite_or(load8(noise + k), here), _NOISE_LEAST)
        past, past_snr = finite_or(load8(speech + k), _0), finite_or(load8(snr + k), _0)
        inverse = _1 / (NOISE_BIAS * floor)
        gamma = min8(here * inverse, _GAMMA_MOST)
        xi = max8(_PAST_SHARE * past * inverse + _PRESENT_SHARE * max8(gamma - _1, _0), _XI_LEAST)
        wiener = xi / (_1 + xi)
        v = min8(gamma * wiener, _V_MOST)
        log2_v, log2_wiener = log2_8(v), log2_8(wiener)
        log10_v = _LOG10_2 * log2_v
        low = _F(-2.31) * log10_v - _F(0.6)
        middle = _F(-1.544) * log10_v + _F(0.166)
        high = exp2_8((_F(-0.52) * v - _F(0.26)) * _LOG2_10)
        integral = where_less(_1, v, high, where_less(v, _F(0.1), low, middle))
        level = min8(log2_wiener + _HALF * _LOG2_E * integral, _0)
        store8(noise + k, floor)
        store8(log_gain + k, level)
        # v over the Wiener gain is gamma, without another logarithm.
        store8(floor_row + k, _1 + _LEAN * min8(max8(log2_v - log2_wiener, _LEAN_LEAST), _LEAN_MOST))
        store8(speech + k, exp2_8(_2 * level) * here)
        store8(likelihood + k, (_1 + xi) * exp2_8(-_LOG2_E * v))
        store8(snr + k, _SNR_PAST * past_snr + _SNR_PRESENT * min8(xi, _XI_MOST))


@kernel("void(i8, i8)")
def add_band(rows_address, bins):
    """Sum of the smoothed ratio over each bin and the `_BAND` above it: four neighbours, then four such sums."""
    snr, band = row(rows_address, SNR), row(rows_address, BAND)
    nothing = all8(_0)
    for beyond in (snr - 2 * _STEP, snr + bins * 4):
        store8(beyond, nothing)
        store8(beyond + _STEP, nothing)
    start = -2 * _STEP
    end = octets(bins)
    for k in range(start, end, _STEP):
        store8(band + k, (load8(snr + k) + load8(snr + k + 4)) + (load8(snr + k + 8) + load8(snr + k + 12)))
    store8(band + end, nothing)
    store8(band + end + _STEP, nothing)
    for k in range(start, end, _STEP):
        store8(band + k, (load8(band + k) + load8(band + k + 16)) + (load8(band + k + 32) + load8(band + k + 48)))


@kernel("void(i8, i8, f4)")
def apply_gain(rows_address, bins, depth_db):
    """Gain of each bin by OM-LSA, applied to the spectrum in place."""
    estimate_speech(rows_address, bins)
    add_band(rows_address, bins)
    extend(rows_address, SNR, bins)
    snr, band_sum, band_share = row(rows_address, SNR), row(rows_address, BAND), row(rows_address, BAND_SHARE)
    log_gain, likelihood = row(rows_address, LOG_GAIN), row(rows_address, LIKELIHOOD)
    gain, re, im = row(rows_address, GAIN), row(rows_address, RE), row(rows_address, IM)
    floor, depth_log = row(rows_address, FLOOR), -depth_db * _F(_LOG2_10 / 20)
    for k in range(0, octets(bins), _STEP):
        here = load8(snr + k)
        near = (load8(snr + k - 4) + here + load8(snr + k + 4)) * _F(1 / 3)
        # Both sums hold the bin itself. The band is cut at the ends of the spectrum.
        band = (load8(band_sum + k - _BAND * 4) + load8(band_sum + k) - here) * load8(band_share + k)
        # from -10 dB (0) to -5 dB (1)
        near = min8(max8(log2_8(near) * (_2 * _LOG10_2) + _2, _0), _1)
        band = min8(max8(log2_8(band) * (_2 * _LOG10_2) + _2, _0), _1)
        q = min8(_1 - near * band, _Q_MOST)
        presence = (_1 - q) / (_1 - q + q * load8(likelihood + k))
        least_log = depth_log * load8(floor + k)
        wanted = exp2_8(max8(presence * load8(log_gain + k) + (_1 - presence) * least_log, least_log))
        before = load8(gain + k)
        # Up at once, or onsets are blunted; down a little slower, or the floor twitters. A NaN fails the comparison.
        wanted = where_less(wanted, before, _FALL_PAST * before + _FALL_PRESENT * wanted, wanted)
        store8(gain + k, wanted)
        store8(re + k, load8(re + k) * wanted)
        store8(im + k, load8(im + k) * wanted)


@kernel("void(i8, i8, i8, b1, f4, f4)")
def suppress(rows_address, counters_address, bins, learn, depth_db, adapt):
    """Turn down what is noise in the spectrum in rows `RE` and `IM`.

    `learn` lets this frame tell about the noise, `adapt` says how quickly: 1 as tuned, 0 (and NaN) not at all.
    """
    re, im, power = row(rows_address, RE), row(rows_address, IM), row(rows_address, POWER)
    for k in range(0, octets(bins), _STEP):
        here_re, here_im = load8(re + k), load8(im + k)
        store8(power + k, here_re * here_re + here_im * here_im)
    if learn and adapt > _0:
        speed = min(adapt, _F(ADAPT_MOST))
        sub_frames = np.int64(_F(SUB_FRAMES) / max(speed, _F(1e-6)) + _HALF)
        follow_minima(rows_address, counters_address, bins, sub_frames)
        follow_noise(rows_address, counters_address, bins, _NOISE_SHARE * speed)
    apply_gain(rows_address, bins, depth_db)


@kernel("void(i8, i8, i8, i8)")
def seed_noise(rows_address, counters_address, bins, power_address):
    """Take the mean power of noise at `power_address` for what was learnt; forget the minima of before, and what passed for speech."""
    counters = view_i8(counters_address, COUNTERS)
    counters[LEARNT] = _LEARN_FRAMES
    given = view_f4(power_address, bins)
    noise, smooth = view_f4(row(rows_address, NOISE), bins), view_f4(row(rows_address, SMOOTH), bins)
    calm = view_f4(row(rows_address, CALM), bins)
    speech, snr = view_f4(row(rows_address, SPEECH), bins), view_f4(row(rows_address, SNR), bins)
    for k in range(bins):
        noise[k] = max(given[k] / NOISE_BIAS, _NOISE_LEAST)
        smooth[k] = calm[k] = given[k]
        speech[k] = snr[k] = _0
    for index in range(SMOOTH_MIN, ROWS):
        if index in (SMOOTH_MIN, SMOOTH_NOW, CALM_MIN, CALM_NOW) or index >= SMOOTH_PAST:
            least = row(rows_address, index)
            for k in range(0, octets(bins), _STEP):
                store8(least + k, all8(_HUGE))
