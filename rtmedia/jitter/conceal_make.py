"""The three sounds of the concealment, mixed frame by frame."""

from __future__ import annotations

import math

from rtmedia.jitter.conceal_state import (
    AT_A,
    AT_RING,
    BACKGROUND,
    BACKGROUND_ORDER,
    HEADER,
    LEVELS,
    RING,
)
from rtmedia.jitter.noise import gauss, resonate, xorshift
from rtmedia.jitter.periods import periods_step, periods_value
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_f8


@kernel("f8(i8, i8)", inline=True)
def _level_at(state_address, t):
    """Gain of what fades, for frame `t`."""
    header = carray(pointer_void(state_address), 1, HEADER)[0]
    if t >= header.end_frames:
        return 0.0
    gain = header.slope_gain * (1.0 + (header.ceiling - 1.0) * min(1.0, t / header.mix_frames))
    header.slope_gain *= header.slope
    if t > header.hold_frames:
        u = (t - header.hold_frames) / (header.end_frames - header.hold_frames)
        gain *= 1.0 - u * u * (3.0 - 2.0 * u)
    return gain


@kernel("void(i8, f4[:, ::1], i8)")
def conceal_make(state_address, out, frames):
    """Make the next frames of the concealment.

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    header = carray(pointer_void(state_address), 1, HEADER)[0]
    channels = header.channels
    order = header.order
    coherence = header.coherence
    other = math.sqrt(max(0.0, 1.0 - coherence * coherence))
    seed = header.seed
    for i in range(frames):
        t = header.position + i
        gain = _level_at(state_address, t)
        header.gain = gain
        voiced = header.voicing
        if t < header.mix_frames:
            voiced = 1.0 + (header.voicing - 1.0) * t / header.mix_frames
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
            seed = xorshift(seed)
            background_random = gauss(seed)
            if gain > 0.0:
                seed = xorshift(seed)
                random = gauss(seed)
            if c == 0:
                common = random
                background_common = background_random
            else:
                random = coherence * common + other * random
                background_random = coherence * background_common + other * background_random
            level = view_f8(state_address + header.at_level + c * LEVELS * 8, LEVELS)
            value = 0.0
            if gain > 0.0:
                a = view_f8(state_address + header.at_lpc + c * (order + 1) * 8, order + 1)
                noise = view_f8(state_address + header.at_noise + c * RING * 8, RING)
                repeated = periods_value(state_address, c)
                if ringing > 0.0:
                    ring = view_f8(state_address + header.at_ring + c * RING * 8, RING)
                    repeated += ringing * resonate(a, ring, order, t, 0.0)
                value = gain * (voiced * repeated + noisy * resonate(a, noise, order, t, level[1] * random))
            if level[2] > 0.0:
                background = view_f8(state_address + header.at_background + c * BACKGROUND * 8, BACKGROUND)
                value += rest * resonate(background[AT_A:], background[AT_RING:], BACKGROUND_ORDER, t, level[2] * background_random)
            # Never louder than what was heard.
            value = min(level[0], max(-level[0], value))
            out[i, c] = value if abs(value) > 1e-15 else 0.0
        periods_step(state_address, t + 1)
    header.seed = seed
    header.position += frames
