"""The way back from a concealment to good audio.

Source: WebRTC NetEQ (merge.cc: alignment, ramp).
"""

from __future__ import annotations

import math

from rtmedia.jitter.conceal_make import conceal_make
from rtmedia.jitter.conceal_state import HEADER, MAX_FADE_S, PHASES
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_block

#: Slowest rise of the good audio after a faded concealment, per frame at 16 kHz (NetEQ).
RAMP_PER_FRAME = 0.002


@kernel("f8(f4[:, ::1], i8)", inline=True)
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


@kernel("f8(f4[:, ::1], f8, i8, i8)", inline=True)
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
    conceal_make(state_address, made, count)

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
