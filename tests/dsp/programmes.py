"""Programmes for the tests of loudness: the bundled conversation at any rate, tones, noises."""

from __future__ import annotations

import numpy as np

from rtmedia.dsp.meters import loudness
from rtmedia.sim import script


def conversation(rate_hz, channels=1):
    """46 s of two speakers, pauses of silence between them; float64, the same in each channel."""
    return script.conversation()[0].at(rate_hz, channels).block.astype(float)


def at_loudness(x, rate_hz, wanted_lufs):
    """`x` scaled to an integrated loudness."""
    return x * 10 ** ((wanted_lufs - loudness(x, rate_hz).integrated_lufs) / 20)


def tones(rate_hz, *parts, channels=2, frequency_hz=1000.0):
    """A sine through all parts, each ``(peak dB of full scale, seconds)``."""
    level = np.concatenate([np.full(round(seconds * rate_hz), 10 ** (level_db / 20)) for level_db, seconds in parts])
    wave = level * np.sin(2 * np.pi * frequency_hz * np.arange(len(level)) / rate_hz)
    return np.repeat(wave[:, None], channels, axis=1)


def noise(frames, rate_hz, tilt=0.0, seed=1):
    """Noise whose power falls by ``frequency ** -tilt`` above 60 Hz: 0 white, 1 pink, 2 brown."""
    frequency = np.fft.rfftfreq(frames, 1 / rate_hz)
    weight = np.where(frequency > 60, np.maximum(frequency, 1) ** (-tilt / 2), 0)
    x = np.fft.irfft(np.fft.rfft(np.random.default_rng(seed).standard_normal(frames)) * weight, frames)
    return (0.05 * x / x.std())[:, None]
