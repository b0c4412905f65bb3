"""The noise of the pauses: its level and its spectrum, learnt while good audio plays."""

from __future__ import annotations

import math

from rtmedia.dsp.lpc import autocorrelate, dot
from rtmedia.dsp.stretch import FLOOR_LEAST, FLOOR_RISE, FLOOR_START
from rtmedia.jitter.conceal_state import AT_R, BACKGROUND, BACKGROUND_ORDER, HEADER
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_f4, view_f8


@kernel("f8(f4)", inline=True)
def clean(sample):
    """A sample as it may be used: NaN is silence, and nothing is louder than +12 dBFS."""
    value = float(sample)
    value = value if value == value else 0.0
    value = 4.0 if value > 4.0 else value
    return -4.0 if value < -4.0 else value


@kernel("f8(f8[::1], i8, i8)")
def mean_square(x, start, end):
    return dot(x[start:], x[start:], end - start) / max(1, end - start)


@kernel("void(i8, i8, i8)")
def background_update(state_address, block_address, frames):
    """Learn the noise of the pauses from a good block of about 10 ms (float32, ``(frames, channels)``).

    Notes
    -----
    Thread: render.   Real-time: yes.
    A block counts as background while its mean square is at most 4 times the floor, which falls at once and rises
    x4 in 4 s. Its autocorrelation is averaged over about ten such blocks: one block alone gives a spectrum that
    changes with every draw. Blocks of digital silence are passed over.
    """
    header = carray(pointer_void(state_address), 1, HEADER)[0]
    if header.muted:
        return
    channels = header.channels
    capacity = header.history_frames
    count = min(frames, capacity - 2 * BACKGROUND_ORDER)
    if count < 4 * BACKGROUND_ORDER:
        return
    x = view_f8(state_address + header.at_mono, capacity)
    r = view_f8(state_address + header.at_mono + capacity * 8, capacity)
    window = view_f8(state_address + header.at_window, header.window_frames)
    for c in range(channels):
        block = view_f4(block_address + 4 * c, frames * channels)
        background = view_f8(state_address + header.at_background + c * BACKGROUND * 8, BACKGROUND)
        mean = 0.0
        for i in range(count):
            x[i] = clean(block[i * channels])
        for i in range(count):
            mean += x[i]
        mean /= count
        for i in range(count):
            x[i] -= mean
        power = mean_square(x, 0, count)
        if power < FLOOR_LEAST:
            continue
        floor = background[0]
        floor = FLOOR_START if floor <= 0.0 else min(1.0, floor * FLOOR_RISE ** (count * 100.0 / header.rate_hz))
        floor = min(floor, power)
        background[0] = floor
        if power > 4.0 * floor:
            continue
        if count == header.window_frames:
            for i in range(count):
                x[i] *= window[i]
        else:
            for i in range(count):
                x[i] *= math.sin(math.pi * (i + 0.5) / count)
        autocorrelate(x, count, BACKGROUND_ORDER, r)
        if not r[0] > 0.0:
            continue
        # A louder place than learnt so far is followed slowly, a quieter one at once.
        share = max(0.1, 1.0 / (background[1] + 1.0))
        if power < 0.25 * background[AT_R]:
            share = 1.0
        for k in range(BACKGROUND_ORDER + 1):
            background[AT_R + k] += share * (r[k] / r[0] * power - background[AT_R + k])
        background[1] += 1.0
