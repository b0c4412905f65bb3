"""Packet loss concealment: what plays while nothing has arrived, and the way back.

How to think about it. When sound runs out, three sounds are mixed, each of which can go on for ever:

* the *periodic part* goes through the last pitch periods again and again (`rtmedia.jitter.periods`). The sound heard so
  far is continued without a step: the difference between it and its own repetition rings out through the linear
  prediction filter;
* the *noise part* is seeded noise with the spectrum and level of the last 20 ms;
* the *background* is noise with the spectrum and level of the pauses (`background_update`), where it can be heard.

How much of the first and how much of the second is decided by the correlation at the lag (voicing);
both fade, and what is left is the background. On the way back `conceal_merge` bends
the concealment's time a little until it runs in step with the good audio and cross-fades.

Everything is counted in frames from `conceal_begin` and every recursion lives in the state: any
division into calls gives the same output to the bit. One record holds the state; kernels get its
address. `conceal_state` makes it. Here is the analysis; `rtmedia.jitter.conceal_make` mixes,
`rtmedia.jitter.conceal_merge` ends it.

Source: WebRTC NetEQ (expand.cc, merge.cc, background_noise.cc: voicing mix, fade, ramp of the merge);
ITU-T G.711 Appendix I (repetition of pitch periods); ringing of the prediction filter as in the
zero-input response of ITU-T G.729, 3.7.
"""

from __future__ import annotations

import math

from rtmedia.dsp.lpc import autocorrelate, dot, levinson
from rtmedia.jitter.background import background_update, clean, mean_square
from rtmedia.jitter.conceal_make import conceal_make
from rtmedia.jitter.conceal_merge import conceal_merge
from rtmedia.jitter.conceal_state import (
    AT_A,
    AT_R,
    BACKGROUND,
    BACKGROUND_ORDER,
    HEADER,
    LEVELS,
    MAX_LAG_S,
    PHASES,
    RING,
    TAPS,
    conceal_state,
)
from rtmedia.jitter.periods import heard_at, periods_begin
from rtmedia.jitter.pitch import pitch_lag
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_block, view_f8

__all__ = ["background_update", "conceal_begin", "conceal_merge", "conceal_next", "conceal_state"]

#: Length of the spectrum's analysis, and of the ringing that joins past and repetition.
LPC_SPAN_S = 0.025
RING_S = 0.005
#: Time in which the sound goes from all periodic to its mix of periodic and noise.
MIX_S = 0.012
#: Full level for 20 ms of a voiced sound; silent, but for the background, after 80 ms (voiced) or 60 ms (unvoiced):
#: longer is heard as a machine's voice (G.711 Appendix I: 10 and 60 ms; `benchmarks/conceal.py` shows the difference).
HOLD_S = 0.020
END_VOICED_S = 0.080
END_UNVOICED_S = 0.060
#: A background below -70 dBFS is not made: nobody hears it.
BACKGROUND_LEAST = 1e-7


@kernel("void(i8, i8, i8)")
def _take_in(state_address, history_address, frames):
    """Clean copies of what was heard: `past` as it was, `work` and `mono` without their mean."""
    header = carray(pointer_void(state_address), 1, HEADER)[0]
    channels = header.channels
    capacity = header.history_frames
    count = min(frames, capacity)
    history = view_block(history_address + (frames - count) * channels * 4, count, channels)
    mono = view_f8(state_address + header.at_mono, capacity)
    for i in range(count):
        mono[i] = 0.0
    for c in range(channels):
        work = view_f8(state_address + header.at_work + c * capacity * 8, capacity)
        past = view_f8(state_address + header.at_past + c * header.past_frames * 8, header.past_frames)
        level = view_f8(state_address + header.at_level + c * LEVELS * 8, LEVELS)
        for i in range(header.past_frames):
            past[i] = 0.0
        peak = 0.0
        mean = 0.0
        for i in range(count):
            work[i] = clean(history[i, c])
            past[capacity - count + i] = work[i]
            mean += work[i]
            peak = max(peak, abs(work[i]))
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


@kernel("void(i8, i8)")
def _judge(state_address, count):
    """Pitch, voicing, and how the level goes on."""
    header = carray(pointer_void(state_address), 1, HEADER)[0]
    rate_hz = header.rate_hz
    capacity = header.history_frames
    mono = view_f8(state_address + header.at_mono, capacity)
    scratch = view_f8(state_address + header.at_mono + capacity * 8, capacity)
    lag, rho = pitch_lag(mono, scratch, count, rate_hz)
    if lag <= 0.0:
        lag = MAX_LAG_S * rate_hz
        rho = 0.0
    header.rho = rho
    header.lag64 = int(lag * PHASES + 0.5)
    whole = (header.lag64 + PHASES - 1) // PHASES

    # Voicing: NetEQ's cubic, 0 below a correlation of 0.48.
    voicing = 0.0
    if rho >= 0.48:
        voicing = (-5179.0 + rho * (19931.0 + rho * (-16422.0 + rho * 5776.0))) / 4096.0
        voicing = min(1.0, max(0.0, voicing))
    header.voicing = voicing
    header.ring_frames = int(RING_S * rate_hz)
    header.mix_frames = max(int(MIX_S * rate_hz), 1)
    header.hold_frames = int(voicing * HOLD_S * rate_hz)
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
    header.slope_gain = 1.0
    if count >= 2 * whole:
        now = dot(mono[count - whole :], mono[count - whole :], whole)
        then = dot(mono[count - 2 * whole :], mono[count - 2 * whole :], whole)
        if then > 0.0 and now < 0.8 * then:
            header.slope = math.exp(0.5 * math.log(max(now / then, 0.25)) / whole)


@kernel("void(i8, i8, i8)")
def _colour(state_address, c, count):
    """One channel's spectrum, the ringing that joins it to its repetition, and the levels of the two noises."""
    header = carray(pointer_void(state_address), 1, HEADER)[0]
    rate_hz = header.rate_hz
    capacity = header.history_frames
    order = header.order
    scratch = view_f8(state_address + header.at_mono + capacity * 8, capacity)
    work = view_f8(state_address + header.at_work + c * capacity * 8, capacity)
    past = view_f8(state_address + header.at_past + c * header.past_frames * 8, header.past_frames)
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
    turn = 0.5 * math.pi / max(1, rise)
    sine, cosine = math.sin(0.5 * turn), math.cos(0.5 * turn)
    turn_sine, turn_cosine = math.sin(turn), math.cos(turn)
    for i in range(span):
        if i == rise:
            turn = 0.5 * math.pi / (span - rise)
            sine, cosine = math.cos(0.5 * turn), -math.sin(0.5 * turn)
            turn_sine, turn_cosine = math.sin(turn), math.cos(turn)
        scratch[i] = work[count - span + i] * sine
        sine, cosine = sine * turn_cosine + cosine * turn_sine, cosine * turn_cosine - sine * turn_sine
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
        ring[-k & (RING - 1)] = past[capacity - k] - heard_at(past, capacity, -k * PHASES - header.lag64)
    for k in range(TAPS // 2):  # for the interpolation, close to the end
        past[capacity + k] = heard_at(past, capacity, k * PHASES - header.lag64)

    # Background: never louder than what was heard.
    level[2] = 0.0
    if background[1] > 0.0 and background[AT_R] > BACKGROUND_LEAST:
        for k in range(BACKGROUND_ORDER + 1):
            scratch[k] = background[AT_R + k]
        residual = levinson(scratch, BACKGROUND_ORDER, rate_hz, background[AT_A:])
        level[2] = math.sqrt(residual * min(background[AT_R], mean_square(work, 0, count)))


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
    count = min(frames, header.history_frames)
    header.active = 1
    header.position = 0
    header.gain = 1.0
    header.coherence = 1.0
    _take_in(state_address, history_address, frames)
    _judge(state_address, count)
    periods_begin(state_address, count)
    for c in range(header.channels):
        _colour(state_address, c, count)


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
    conceal_make(state_address, out, frames)
