"""The splice search the obvious way: every lag, every start, full rate, double precision; NumPy and nothing else.

The rules are written down again here, from the words and not from the kernels.
"""

from __future__ import annotations

import numpy as np

SILENCE = 1e-6


def block_frames(rate_hz):
    """A millisecond, in whole eights."""
    return max(8, rate_hz // 8000 * 8)


def block_energies(x, block):
    """Energy of each block over all channels; `x` is (frames, channels)."""
    blocks = -(-len(x) // block)
    padded = np.zeros((blocks * block, x.shape[1]))
    padded[: len(x)] = x
    return (padded**2).reshape(blocks, -1).sum(axis=1)


def onset_blocks(x, rate_hz, quiet=0.0):
    """The milliseconds in which something begins: 12 dB above all of the twelve that ended a millisecond before."""
    block = block_frames(rate_hz)
    energy = block_energies(x - x.mean(axis=0), block)
    floor = max(quiet, SILENCE) * block * x.shape[1]
    return [k for k in range(6, len(energy)) if energy[k] > 16 * max(floor, energy[max(0, k - 13) : k - 1].max())]


def crosses_an_onset(x, rate_hz, start, lag, quiet=0.0):
    """Whether the two pieces hold the beginning of something, or differ in energy by more than 6 dB."""
    block = block_frames(rate_hz)
    if any(start < (k + 1) * block and start + 2 * lag > k * block for k in onset_blocks(x, rate_hz, quiet)):
        return True
    y = x - x.mean(axis=0)
    a, b = (y[start : start + lag] ** 2).sum(), (y[start + lag : start + 2 * lag] ** 2).sum()
    return bool(a > 4 * b or b > 4 * a)


def correlation(x, start, lag):
    """Of the two pieces, over all channels, each channel's mean over the window taken out."""
    y = x - x.mean(axis=0)
    a, b = y[start : start + lag].ravel(), y[start + lag : start + 2 * lag].ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def best_correlation(x, rate_hz, low, high, first, last, direction, quiet=0.0):
    """The highest correlation that any allowed splice has, and its start and lag; (-1, -1, 0) if there is none."""
    x = np.asarray(x, float)
    y = x - x.mean(axis=0)
    count = len(x)
    block = block_frames(rate_hz)
    onsets = np.zeros(count + 1, bool)
    for k in onset_blocks(x, rate_hz, quiet):
        onsets[k * block : (k + 1) * block] = True
    onsets_before = np.concatenate([[0], np.cumsum(onsets)])
    power = np.concatenate([[0.0], np.cumsum((y**2).sum(axis=1))])
    best = (-1.0, -1, 0)
    for lag in range(low, min(high, count // 2) + 1):
        shift = 0 if direction > 0 else lag
        starts = np.arange(max(0, first - shift), min(last - shift, count - 2 * lag) + 1)
        if len(starts) == 0:
            continue
        products = np.concatenate([[0.0], np.cumsum((y[: count - lag] * y[lag:]).sum(axis=1))])
        cross = products[starts + lag] - products[starts]
        a = power[starts + lag] - power[starts]
        b = power[starts + 2 * lag] - power[starts + lag]
        allowed = (a <= 4 * b) & (b <= 4 * a) & (a > 0) & (b > 0)
        allowed &= onsets_before[starts + 2 * lag] == onsets_before[starts]
        if allowed.any():
            rho = np.where(allowed, cross / np.sqrt(np.maximum(a * b, 1e-300)), -2.0)
            at = int(np.argmax(rho))
            if rho[at] > best[0]:
                best = (float(rho[at]), int(starts[at]), lag)
    return best
