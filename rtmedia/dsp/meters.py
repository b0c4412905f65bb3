"""How loud is it: a meter in the chain of effects, and the same for a recording.

The sound passes through the meter untouched, whatever it is. Its readings stand in the state's record, each one number that the
control thread may read at any time; they are renewed every 100 ms, on the stream's own grid and not the
blocks'.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.k_weighting import LOW_HZ, k_weight, make_k_weighting, take_energy
from rtmedia.dsp.level import measure
from rtmedia.dsp.loudness import (
    BLOCK_HOPS,
    HISTOGRAM,
    HOP_TICKS,
    SHORT_HOPS,
    SILENT_LUFS,
    TICK_MS,
    Levels,
    histogram_add,
    histogram_integrated,
    integrated_lufs,
    lufs,
    lufs_of,
    range_lu,
    ring_mean,
    sliding_power,
)
from rtmedia.dsp.state import header_dtype, make_state
from rtmedia.errors import ConfigError
from rtmedia.ports import Format
from rtmedia.rt.kernel import EFFECT_SIGNATURE, callback, kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_f4, view_f8
from rtmedia.rt.plugin import WISH_FIELDS, Instance
from rtmedia.units import db_of_gain, frames_of_ms

FLOOR_DB = -120.0

HEADER = header_dtype(
    [
        *WISH_FIELDS,
        # the readings
        ("peak_db", "f4"),  # of the last 100 ms, samples only
        ("rms_db", "f4"),  # of the last 100 ms, over all channels
        ("max_peak_db", "f4"),
        ("momentary_lufs", "f4"),
        ("short_term_lufs", "f4"),
        ("max_momentary_lufs", "f4"),
        ("integrated_lufs", "f4"),
        ("hops_total", "i8"),  # of 100 ms, since the beginning
        ("broken_total", "i8"),  # samples that were not finite; the meter leaves them as they are
        # what moves
        ("tick_frames", "i8"),
        ("fill_frames", "i8"),  # of the present tick
        ("ticks", "i8"),  # of the present hop
        ("place", "i8"),  # in the ring of hops
        ("energy", "f8"),
        ("square", "f8"),
        ("peak", "f4"),
    ],
    ("weighting", "powers", "histogram", "level"),
)


@kernel("f8(f8)")
def decibel(power):
    return max(10.0 * math.log10(power), FLOOR_DB) if power > 0.0 else FLOOR_DB


@kernel("void(i8, i8)")
def publish(state_address, channels):
    """100 ms are complete: renew the readings."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    frames = np.float64(HOP_TICKS * head.tick_frames)
    ring = state_address + head.at_powers
    view_f8(ring, SHORT_HOPS)[head.place] = head.energy / frames
    head.place = head.place + 1 if head.place + 1 < SHORT_HOPS else 0
    head.hops_total += 1
    head.peak_db = decibel(np.float64(head.peak) * np.float64(head.peak))
    head.max_peak_db = max(head.max_peak_db, head.peak_db)
    head.rms_db = decibel(head.square / (frames * channels))
    if head.hops_total >= BLOCK_HOPS:
        power = ring_mean(ring, SHORT_HOPS, head.place, BLOCK_HOPS)
        head.momentary_lufs = lufs(power)
        head.max_momentary_lufs = max(head.max_momentary_lufs, head.momentary_lufs)
        histogram_add(state_address + head.at_histogram, power)
        head.integrated_lufs = histogram_integrated(state_address + head.at_histogram)
    if head.hops_total >= SHORT_HOPS:
        head.short_term_lufs = lufs(ring_mean(ring, SHORT_HOPS, head.place, SHORT_HOPS))
    head.energy, head.square, head.peak, head.ticks = 0.0, 0.0, np.float32(0), 0


@callback(EFFECT_SIGNATURE)
def meter_process(block_address, frames, channels, state_address):
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    weighting, level = state_address + head.at_weighting, state_address + head.at_level
    found = view_f4(level, 2)
    start = 0
    while start < frames:
        count = min(frames - start, head.tick_frames - head.fill_frames)
        here = block_address + start * channels * 4
        head.broken_total += k_weight(weighting, here, count, channels)
        measure(here, count, channels, level)
        head.peak = max(head.peak, found[0])
        head.square += np.float64(found[1]) * (count * channels)
        head.fill_frames += count
        start += count
        if head.fill_frames == head.tick_frames:
            head.fill_frames = 0
            head.energy += take_energy(weighting, channels)
            head.ticks += 1
            if head.ticks == HOP_TICKS:
                publish(state_address, channels)


@kernel("void(i8, i8, i8, i8, i8, i8)")
def tick_energies(weighting_address, block_address, tick_frames, channels, energies_address, ticks):
    """The K-weighted energy of each tick of a recording, as float64."""
    energies = view_f8(energies_address, ticks)
    for i in range(ticks):
        k_weight(weighting_address, block_address + i * tick_frames * channels * 4, tick_frames, channels)
        energies[i] = take_energy(weighting_address, channels)


@dataclass(frozen=True)
class Meter:
    """Peak, RMS and loudness of what passes by.

    Notes
    -----
    Thread: the instance belongs to one; the readings may be read by any.   Real-time: yes.   Latency: none.
    The output is the input to the bit. Readings, fields of the state's record, renewed every 100 ms of sound: ``peak_db`` and
    ``rms_db`` (of these 100 ms), ``max_peak_db``, ``momentary_lufs`` (400 ms), ``max_momentary_lufs``, ``short_term_lufs`` (3 s),
    ``integrated_lufs`` (gated, since the beginning or the last `reset`). Before the first 100 ms, 400 ms and 3 s they are -120,
    as for silence. Memory does not grow.
    Loudness adds the channels up, as ITU-R BS.1770 does: the same sound in two channels is 3 LU louder than in one.
    """

    @property
    def name(self) -> str:
        return "meter"

    def values(self) -> tuple[float, ...]:
        """What ``update`` takes: nothing."""
        return ()

    def make(self, format: Format, max_frames: int) -> Instance:
        """An instance for `format`, whose rate must be at least 8 kHz."""
        state = make_state(
            HEADER,
            {
                "weighting": make_k_weighting(format.rate_hz, format.channels),
                "powers": np.zeros(SHORT_HOPS),
                "histogram": np.zeros(HISTOGRAM),
                "level": np.zeros(2, np.float32),
            },
        )
        state["tick_frames"] = frames_of_ms(TICK_MS, format.rate_hz)
        for name in ("peak_db", "rms_db", "max_peak_db"):
            state[name] = FLOOR_DB
        for name in ("momentary_lufs", "short_term_lufs", "max_momentary_lufs", "integrated_lufs"):
            state[name] = SILENT_LUFS
        return Instance(meter_process, state, format, max_frames)


@dataclass(frozen=True)
class Loudness:
    """The loudness of a recording; -120 stands for silence, and for what is too short to have any.

    Attributes
    ----------
    integrated_lufs : float
        Gated, over all of it.
    range_lu : float
        EBU Tech 3342; 0 where there are less than 3 s.
    peak_db, rms_db : float
        Of the samples, in dB of full scale.
    momentary_lufs, short_term_lufs : float64 arrays
        Over 400 ms and 3 s, each value at the end of its stretch: entry ``i`` of `momentary_lufs` ends at ``(i + 4) * 0.1`` seconds, of
        `short_term_lufs` at ``(i + 30) * 0.1``.
    """

    integrated_lufs: float
    range_lu: float
    peak_db: float
    rms_db: float
    momentary_lufs: Levels
    short_term_lufs: Levels


def loudness(audio: npt.ArrayLike, rate_hz: int) -> Loudness:
    """Measure a recording.

    Parameters
    ----------
    audio : float array, shape (frames,) or (frames, channels)
        Full scale ±1.0, one or two channels. Samples that are not finite count as 0.
    rate_hz : int
        From 8 kHz on.

    Raises
    ------
    ConfigError
        Where type, shape or rate cannot be used.

    Notes
    -----
    Thread: any.   Real-time: no (makes arrays).
    What is left after the last whole 100 ms counts for peak and RMS only.

    Examples
    --------
    >>> import numpy as np
    >>> sine = np.sin(2 * np.pi * 997 * np.arange(48_000) / 48_000)
    >>> round(loudness(np.stack([sine, sine], axis=1) * 10 ** (-23 / 20), 48_000).integrated_lufs, 2)
    -23.0
    """
    samples = np.asarray(audio)
    if not np.issubdtype(samples.dtype, np.floating):
        raise ConfigError(
            f"audio is {samples.dtype}; loudness is measured on floats of full scale ±1.0: divide integers by their full scale"
        )
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] not in (1, 2)):
        raise ConfigError(f"audio has shape {samples.shape}; it must be (frames,) or (frames, channels) with 1 or 2 channels: transpose it")
    block = np.ascontiguousarray(samples[:, None] if samples.ndim == 1 else samples, np.float32)
    frames, channels = block.shape
    if rate_hz < LOW_HZ:
        raise ConfigError(f"rate_hz is {rate_hz}; loudness is defined here from {LOW_HZ}: resample before")
    weighting = make_k_weighting(rate_hz, channels)
    tick = frames_of_ms(TICK_MS, rate_hz)
    ticks = frames // (tick * HOP_TICKS) * HOP_TICKS
    energies = np.empty(ticks)
    tick_energies(weighting.ctypes.data, block.ctypes.data, tick, channels, energies.ctypes.data, ticks)
    hop_power = energies.reshape(-1, HOP_TICKS).sum(axis=1) / (tick * HOP_TICKS)
    level = np.zeros(2, np.float32)
    measure(block.ctypes.data, frames, channels, level.ctypes.data)
    blocks, stretches = sliding_power(hop_power, BLOCK_HOPS), sliding_power(hop_power, SHORT_HOPS)
    return Loudness(
        integrated_lufs(blocks),
        range_lu(stretches),
        db_of_gain(float(level[0])),
        db_of_gain(float(level[1]) ** 0.5),
        lufs_of(blocks),
        lufs_of(stretches),
    )
