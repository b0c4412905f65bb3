"""Packet loss concealment: what plays while nothing has arrived, and the way back.

How to think about it. When sound runs out, three sounds are mixed, each of which can go on for ever:

* the *periodic part* repeats the last pitch period. The lag has a fraction (1/64 frame), so that the
  pitch is kept over many periods, and the sound heard so far is continued without a step: the
  difference between it and its own repetition rings out through the linear prediction filter;
* the *noise part* is seeded noise with the spectrum and level of the last 20 ms;
* the *background* is noise with the spectrum and level of the pauses (`background_update`).

How much of the first and how much of the second is decided by the correlation at the lag (voicing);
both fade after a few periods, and what is left is the background. On the way back `conceal_merge` bends
the concealment's time a little until it runs in step with the good audio and cross-fades.

Everything is counted in frames from `conceal_begin` and every recursion lives in the state: any
division into calls gives the same output to the bit. One record holds the state; kernels get its
address. `conceal_state` makes it.

Source: WebRTC NetEQ (expand.cc, merge.cc, background_noise.cc: voicing mix, fade, ramp of the merge);
ITU-T G.711 Appendix I (repetition of pitch periods); ringing of the prediction filter as in the
zero-input response of ITU-T G.729, 3.7.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import carray

from rtmedia.dsp.lpc import autocorrelate, dot, levinson
from rtmedia.jitter.background import background_update, clean, mean_square
from rtmedia.jitter.conceal_state import (
    AT_A,
    AT_R,
    AT_RING,
    BACKGROUND,
    BACKGROUND_ORDER,
    HEADER,
    LEVELS,
    MAX_FADE_S,
    MAX_LAG_S,
    MIN_LAG_S,
    PHASES,
    RING,
    TAPS,
    conceal_state,
)
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.memory import view_block, view_f8

__all__ = ["background_update", "conceal_begin", "conceal_merge", "conceal_next", "conceal_state"]

#: Length that is compared with itself one lag earlier: one period of the lowest voice. Twice that follows a gliding
#: pitch worse (0.7 dB less signal-to-noise ratio after 20 ms on recorded speech).
PITCH_SPAN_S = 0.010
#: Correlation that a longer lag may lack and still be taken: it repeats less often and errs less per period.
LONGER_LAG_BONUS = 0.005
#: Length of the spectrum's analysis, and of the ringing that joins past and repetition.
LPC_SPAN_S = 0.025
RING_S = 0.005
#: Time in which the sound goes from all periodic to its mix of periodic and noise.
MIX_S = 0.012
#: Full level for three periods of a voiced sound (at most 30 ms); silent, but for the background, after 150 ms
#: (voiced) or 80 ms (unvoiced): longer is heard as a buzz.
HOLD_PERIODS = 3
HOLD_MAX_S = 0.030
END_VOICED_S = 0.150
END_UNVOICED_S = 0.080
#: Slowest rise of the good audio after a faded concealment, per frame at 16 kHz (NetEQ).
RAMP_PER_FRAME = 0.002


def _interpolation_table() -> npt.NDArray[np.float64]:
    """Windowed sinc, one row of taps per phase; row 0 is the sample itself, every row adds up to one."""
    phase = np.arange(PHASES)[:, None] / PHASES
    k = np.arange(TAPS)[None, :] - (TAPS // 2 - 1)
    distance = k - phase
    window = np.cos(np.pi * distance / (TAPS + 1)) ** 2
    table = np.sinc(distance) * window
    return np.ascontiguousarray(table / table.sum(axis=1, keepdims=True))


INTERPOLATION = _interpolation_table()


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
def _pitch(x, scratch, count, rate_hz):
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


@kernel("f8(f8[::1], i8, i8, i8, i8)")
def _repeat(past, mask, index, whole, phase):
    """The value `whole` frames and a fraction before `index`, between the samples of the ring `past`."""
    start = index - whole - (TAPS // 2 - 1)
    if phase == 0:
        return past[(index - whole) & mask]
    value = 0.0
    for k in range(TAPS):
        value += INTERPOLATION[phase, k] * past[(start + k) & mask]
    return value


@kernel("f8(f8[::1], f8[::1], i8, i8, f8)")
def _resonate(a, ring, order, index, excitation):
    """One value of the filter ``1 / A(z)``; `ring` keeps the last 32 of them."""
    value = excitation
    for k in range(1, order + 1):
        value -= a[k] * ring[(index - k) & (RING - 1)]
    if abs(value) < 1e-15:  # no denormals
        value = 0.0
    ring[index & (RING - 1)] = value
    return value


@kernel("void(i8, i8, i8)")
def conceal_begin(state_address, history_address, frames):
    """Analyse what has been played; the next `conceal_next` continues it.

    Parameters
    ----------
    state_address : int
        Of a record made by `conceal_state`.
    history_address : int
        float32 ``(frames, channels)``, the latest frames really played; 60 ms are used, fewer will do.
    frames : int
        How many there are.

    Notes
    -----
    Thread: render.   Real-time: yes.
    NaN counts as silence, and nothing counts as louder than +12 dBFS.
    """
    header = carray(pointer_void(state_address), 1, HEADER)[0]
    if header.muted:
        return
    rate_hz = header.rate_hz
    channels = header.channels
    order = header.order
    capacity = header.history_frames
    mask = header.past_mask
    count = min(frames, capacity)
    history = view_block(history_address + (frames - count) * channels * 4, count, channels)
    mono = view_f8(state_address + header.at_mono, capacity)
    scratch = view_f8(state_address + header.at_mono + capacity * 8, capacity)
    header.active = 1
    header.position = 0
    header.slope_gain = 1.0
    header.gain = 1.0
    header.coherence = 1.0

    # Clean copies: `past` as it was (for the repetition), `work` and `mono` without their mean (for the analysis).
    for i in range(count):
        mono[i] = 0.0
    for c in range(channels):
        work = view_f8(state_address + header.at_work + c * capacity * 8, capacity)
        past = view_f8(state_address + header.at_past + c * (mask + 1) * 8, mask + 1)
        level = view_f8(state_address + header.at_level + c * LEVELS * 8, LEVELS)
        for i in range(mask + 1):
            past[i] = 0.0
        peak = 0.0
        mean = 0.0
        for i in range(count):
            work[i] = clean(history[i, c])
            mean += work[i]
            peak = max(peak, abs(work[i]))
        for k in range(1, min(count, mask + 1) + 1):
            past[-k & mask] = work[count - k]
        mean /= max(1, count)
        for i in range(count):
            work[i] -= mean
            mono[i] += work[i]
        level[0] = peak
    if channels == 2:
        left = view_f8(state_address + header.at_work, capacity)
        right = view_f8(state_address + header.at_work + capacity * 8, capacity)
        energies = dot(left, left, count) * dot(right, right, count)
        if energies > 1e-30:
            header.coherence = min(1.0, max(-1.0, dot(left, right, count) / math.sqrt(energies)))
        if dot(mono, mono, count) < 0.2 * (dot(left, left, count) + dot(right, right, count)):
            for i in range(count):  # the channels cancel: the left one alone knows the pitch
                mono[i] = left[i]

    lag, rho = _pitch(mono, scratch, count, rate_hz)
    if lag <= 0.0:
        lag = MAX_LAG_S * rate_hz
        rho = 0.0
    header.rho = rho
    header.lag64 = int(lag * PHASES + 0.5)
    whole = (header.lag64 + PHASES - 1) // PHASES
    phase = whole * PHASES - header.lag64

    # Voicing: NetEQ's cubic, 0 below a correlation of 0.48.
    voicing = 0.0
    if rho >= 0.48:
        voicing = (-5179.0 + rho * (19931.0 + rho * (-16422.0 + rho * 5776.0))) / 4096.0
        voicing = min(1.0, max(0.0, voicing))
    header.voicing = voicing
    header.ring_frames = int(RING_S * rate_hz)
    header.mix_frames = max(int(MIX_S * rate_hz), 1)
    header.hold_frames = int(voicing * min(HOLD_PERIODS * whole, HOLD_MAX_S * rate_hz))
    header.end_frames = int((END_UNVOICED_S + (END_VOICED_S - END_UNVOICED_S) * voicing) * rate_hz)

    # A short lag after an onset may repeat the loudest part of a period alone: bring it down to what was heard.
    header.ceiling = 1.0
    block = min(count, rate_hz // 100)
    if count >= whole:
        total = dot(mono, mono, block)
        loudest = total
        for i in range(block, count):
            total += mono[i] * mono[i] - mono[i - block] * mono[i - block]
            loudest = max(loudest, total)
        repeated = dot(mono[count - whole :], mono[count - whole :], whole) * block
        if repeated > loudest * whole and loudest > 0.0:
            header.ceiling = math.sqrt(loudest * whole / repeated)

    # A sound that was falling goes on falling, at most to half per period.
    header.slope = 1.0
    if count >= 2 * whole:
        now = dot(mono[count - whole :], mono[count - whole :], whole)
        then = dot(mono[count - 2 * whole :], mono[count - 2 * whole :], whole)
        if then > 0.0 and now < 0.8 * then:
            header.slope = math.exp(0.5 * math.log(max(now / then, 0.25)) / whole)

    for c in range(channels):
        work = view_f8(state_address + header.at_work + c * capacity * 8, capacity)
        past = view_f8(state_address + header.at_past + c * (mask + 1) * 8, mask + 1)
        a = view_f8(state_address + header.at_lpc + c * (order + 1) * 8, order + 1)
        ring = view_f8(state_address + header.at_ring + c * RING * 8, RING)
        noise = view_f8(state_address + header.at_noise + c * RING * 8, RING)
        level = view_f8(state_address + header.at_level + c * LEVELS * 8, LEVELS)
        background = view_f8(state_address + header.at_background + c * BACKGROUND * 8, BACKGROUND)
        for i in range(RING):
            ring[i] = 0.0
            noise[i] = 0.0

        # Spectrum of the last 25 ms, the newest weighing most: a window that rises slowly and falls fast.
        span = min(int(LPC_SPAN_S * rate_hz), count)
        rise = span - span // 6
        for i in range(span):
            angle = math.pi * (i + 0.5) / (2 * rise) if i < rise else math.pi * 0.5 * (1.0 + (i + 0.5 - rise) / (span - rise))
            scratch[i] = work[count - span + i] * math.sin(angle)
        r = scratch[span : span + order + 1]
        if span > 2 * order and span + order + 1 <= capacity:
            autocorrelate(scratch, span, order, r)
        else:
            for k in range(order + 1):
                r[k] = 0.0
        residual = levinson(r, order, rate_hz, a)
        power = min(mean_square(work, max(0, count - rate_hz // 125), count), mean_square(work, max(0, count - rate_hz // 50), count))
        level[1] = math.sqrt(residual * power)

        # What the repetition lacks in the last frames rings out: the sound goes on without a step.
        for k in range(1, order + 1):
            ring[-k & (RING - 1)] = past[-k & mask] - _repeat(past, mask, -k, whole, phase)

        # Background: never louder than what was heard.
        level[2] = 0.0
        if background[1] > 0.0:
            for k in range(BACKGROUND_ORDER + 1):
                scratch[k] = background[AT_R + k]
            residual = levinson(scratch, BACKGROUND_ORDER, rate_hz, background[AT_A:])
            level[2] = math.sqrt(residual * min(background[AT_R], mean_square(work, 0, count)))


@kernel("u8(u8)")
def _xorshift(seed):
    """Next state of a 64-bit xorshift (G. Marsaglia, "Xorshift RNGs", J. Stat. Software 8, 2003)."""
    seed ^= seed << np.uint64(13)
    seed ^= seed >> np.uint64(7)
    seed ^= seed << np.uint64(17)
    return seed


@kernel("f8(u8)")
def _gauss(seed):
    """A nearly normal value of variance one: four 16-bit numbers of one 64-bit word added up."""
    low = np.uint64(0xFFFF)
    total = (
        float(seed & low)
        + float((seed >> np.uint64(16)) & low)
        + float((seed >> np.uint64(32)) & low)
        + float((seed >> np.uint64(48)) & low)
    )
    return (total - 131070.0) * (math.sqrt(3.0) / 65536.0)


@kernel("void(i8, f4[:, ::1], i8)")
def _produce(state_address, out, frames):
    """Make the next frames of the concealment."""
    header = carray(pointer_void(state_address), 1, HEADER)[0]
    channels = header.channels
    order = header.order
    mask = header.past_mask
    whole = (header.lag64 + PHASES - 1) // PHASES
    phase = whole * PHASES - header.lag64
    coherence = header.coherence
    other = math.sqrt(max(0.0, 1.0 - coherence * coherence))
    hold = header.hold_frames
    end = max(header.end_frames, hold + 1)
    seed = header.seed
    for i in range(frames):
        t = header.position + i
        gain = 0.0
        if t < end:
            gain = header.slope_gain
            header.slope_gain *= header.slope
            gain *= 1.0 + (header.ceiling - 1.0) * min(1.0, t / header.mix_frames)
            if t > hold:
                u = (t - hold) / (end - hold)
                gain *= 1.0 - u * u * (3.0 - 2.0 * u)
        header.gain = gain
        voiced = 1.0
        if t < header.mix_frames:
            voiced += (header.voicing - 1.0) * t / header.mix_frames
        else:
            voiced = header.voicing
        # Under the power-keeping sqrt(1 - voiced^2): the repetition brings some noise of its own, and 10 ms of noise vary.
        noisy = 1.0 - voiced * voiced
        rest = math.sqrt(max(0.0, 1.0 - gain * gain))
        ringing = 0.0
        if t < header.ring_frames:
            ringing = 0.5 + 0.5 * math.cos(math.pi * t / header.ring_frames)
        random = 0.0
        common = 0.0
        background_random = 0.0
        background_common = 0.0
        for c in range(channels):
            # The second channel's noise shares as much with the first's as the channels did.
            seed = _xorshift(seed)
            background_random = _gauss(seed)
            if t < end:
                seed = _xorshift(seed)
                random = _gauss(seed)
            if c == 0:
                common = random
                background_common = background_random
            else:
                random = coherence * common + other * random
                background_random = coherence * background_common + other * background_random
            level = view_f8(state_address + header.at_level + c * LEVELS * 8, LEVELS)
            value = 0.0
            if t < end:
                past = view_f8(state_address + header.at_past + c * (mask + 1) * 8, mask + 1)
                a = view_f8(state_address + header.at_lpc + c * (order + 1) * 8, order + 1)
                noise = view_f8(state_address + header.at_noise + c * RING * 8, RING)
                repeated = _repeat(past, mask, t, whole, phase)
                if ringing > 0.0:
                    ring = view_f8(state_address + header.at_ring + c * RING * 8, RING)
                    repeated += ringing * _resonate(a, ring, order, t, 0.0)
                past[t & mask] = repeated  # with the ringing: where the lag is not quite the period, each round needs it
                value = gain * (voiced * repeated + noisy * _resonate(a, noise, order, t, level[1] * random))
            if level[2] > 0.0:
                background = view_f8(state_address + header.at_background + c * BACKGROUND * 8, BACKGROUND)
                value += rest * _resonate(background[AT_A:], background[AT_RING:], BACKGROUND_ORDER, t, level[2] * background_random)
            # Never louder than what was heard.
            value = min(level[0], max(-level[0], value))
            out[i, c] = value if abs(value) > 1e-15 else 0.0
    header.seed = seed
    header.position += frames


@kernel("void(i8, i8, i8)")
def conceal_next(state_address, out_address, frames):
    """Write the next `frames` of the concealment to `out_address` (float32, ``(frames, channels)``).

    Notes
    -----
    Thread: render.   Real-time: yes.
    Silence when `conceal_begin` has not been called.
    """
    header = carray(pointer_void(state_address), 1, HEADER)[0]
    out = view_block(out_address, frames, header.channels)
    if header.active == 0:
        for i in range(frames):
            for c in range(header.channels):
                out[i, c] = 0.0
        return
    _produce(state_address, out, frames)


@kernel("f8(f4[:, ::1], i8)")
def _mono_at(block, i):
    total = 0.0
    for c in range(block.shape[1]):
        total += block[i, c]
    return total


@kernel("f8(f4[:, ::1], f4[:, ::1], i8, i8, i8, i8)")
def _likeness(made, good, start, end, shift, stride):
    """Normalised correlation of `made`, `shift` frames later, with every stride-th frame of `good` over ``start … end``."""
    cross = 0.0
    energy_made = 0.0
    energy_good = 0.0
    for i in range(start, end, stride):
        a = _mono_at(made, i + shift)
        b = _mono_at(good, i)
        cross += a * b
        energy_made += a * a
        energy_good += b * b
    energies = energy_made * energy_good
    return cross / math.sqrt(energies) if energies > 1e-24 else 0.0


@kernel("f8(f4[:, ::1], f8, i8, i8)")
def _between(made, position, count, c):
    """A value between the samples (Catmull-Rom spline)."""
    i = min(max(int(position), 0), count - 1)
    f = position - i
    p1 = made[i, c]
    if f <= 0.0:
        return float(p1)
    p0 = made[max(i - 1, 0), c]
    p2 = made[min(i + 1, count - 1), c]
    p3 = made[min(i + 2, count - 1), c]
    return p1 + 0.5 * f * (p2 - p0 + f * (2.0 * p0 - 5.0 * p1 + 4.0 * p2 - p3 + f * (3.0 * (p1 - p2) + p3 - p0)))


@kernel("void(i8, i8, i8, i8)")
def conceal_merge(state_address, next_address, frames, fade_frames):
    """End the concealment: blend its continuation into the first frames of good audio, in place.

    Parameters
    ----------
    state_address : int
        Of a record made by `conceal_state`.
    next_address : int
        float32 ``(frames, channels)``: the good audio that plays next.
    frames : int
        How many there are; the ramp after a faded concealment takes at most all of them.
    fade_frames : int
        Length of the cross-fade, 5 to 10 ms (at most 20 ms and `frames`).

    Notes
    -----
    Thread: render.   Real-time: yes.
    No frame of the good audio moves: the concealment's own time is bent, by at most a fifth of the fade, until
    the two run in step. The cross-fade keeps the power whatever their correlation is. Where the concealment had
    faded, the good audio starts at the concealment's level and rises by at least 0.2 % per frame at 16 kHz
    (NetEQ), else it would break in like a click.
    """
    header = carray(pointer_void(state_address), 1, HEADER)[0]
    if header.active == 0:
        return
    header.active = 0
    channels = header.channels
    good = view_block(next_address, frames, channels)
    fade = min(fade_frames, frames, int(MAX_FADE_S * header.rate_hz))
    if fade < 1:
        return
    gain = header.gain
    reach = min(fade // 5, (header.lag64 // PHASES + 1) // 2)
    count = min(fade + reach + 4, header.continuation_frames)
    made = view_block(state_address + header.at_continuation, count, channels)
    _produce(state_address, made, count)

    # In step: the shift at which the later part of the fade looks most alike; small shifts are preferred.
    shift = 0
    stride = max(1, header.rate_hz // 16_000)  # the waveform's shape is in its lower half
    best = _likeness(made, good, fade // 4, fade, 0, stride)
    if gain > 0.1 and header.voicing > 0.0:
        least = max(0.4, best + 0.05)
        for candidate in range(-reach, reach + 1, stride):
            rho = _likeness(made, good, fade // 4, fade, candidate, stride)
            if rho - 0.1 * abs(candidate) / max(1, reach) > least:
                least = rho - 0.1 * abs(candidate) / max(1, reach)
                best = rho
                shift = candidate
    rho = min(1.0, best) if best > 0.0 else 0.0

    energy_made = 0.0
    energy_good = 0.0
    for i in range(fade):
        for c in range(channels):
            energy_made += made[i, c] * made[i, c]
            energy_good += good[i, c] * good[i, c]
    start = 1.0
    if energy_made < energy_good:
        start = max(gain, math.sqrt(energy_made / energy_good))
    rise = max(RAMP_PER_FRAME * 16_000.0 / header.rate_hz, (1.0 - start) / frames)

    for i in range(frames):
        ramp = start + rise * i
        if i >= fade and ramp >= 1.0:
            break
        ramp = min(1.0, ramp)
        if i >= fade:
            for c in range(channels):
                good[i, c] = good[i, c] * ramp
            continue
        weight = 0.5 - 0.5 * math.cos(math.pi * (i + 0.5) / fade)
        late = min(1.0, (i + 0.5) / (0.7 * fade))
        position = i + shift * late * late * (3.0 - 2.0 * late)
        power = weight * weight + (1.0 - weight) * (1.0 - weight) + 2.0 * rho * weight * (1.0 - weight)
        keep = 1.0 / math.sqrt(power)
        for c in range(channels):
            old = _between(made, position, count, c)
            good[i, c] = keep * ((1.0 - weight) * old + weight * ramp * good[i, c])
