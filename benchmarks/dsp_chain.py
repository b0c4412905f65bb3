"""How long does the whole chain of a preset take for 10 ms of sound, from 16 kHz to a device at 48 kHz, and how late is it?

Gate, loudness normaliser and compressor at 16 kHz, each behind its switch as in the engine; then resampler, gain and limiter
at 48 kHz. Called by compiled code, station by station with a clock between them, as the engine's render room does it; and
from Python, one call for each station. Peers in turn in one run; a plain copy of the block tells what the machine does at that
moment. Sound: a synthetic voice in noise, 10 dB apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _bench import Row, arguments, compare, interleaved, report
from _dsp_mixtures import make, tiny_specs

from rtmedia.dsp.gain import Gain
from rtmedia.dsp.limiter import Limiter
from rtmedia.dsp.resample import make_resampler, resample
from rtmedia.dsp.switch import Switch
from rtmedia.ports import Format
from rtmedia.presets import PRESETS, preset
from rtmedia.rt.clock import now_ns
from rtmedia.rt.kernel import call_effect, copy_octets, kernel
from rtmedia.rt.memory import view_i8

SOURCE_HZ, DEVICE_HZ = 16_000, 48_000
FRAMES = SOURCE_HZ // 100
_AT_ONCE = 20  # blocks of the compiled caller per turn


@kernel("void(i8, i8, i8, i8, i8, i8, i8, i8, i8)")
def timed_chain(sound, blocks, channels, parts, before, after, resampler, out, spent):
    """Blocks through `before` effects, the resampler, and `after` effects; the nanoseconds of each station at address `spent`.

    `parts` holds the address and the state of each effect, one behind the other.
    """
    stations = before + 1 + after
    found = view_i8(parts, 2 * (before + after))
    times = view_i8(spent, blocks * stations)
    for i in range(blocks):
        block = sound + i * 160 * channels * 4
        last = now_ns()
        for k in range(before):
            call_effect(found[2 * k], block, 160, channels, found[2 * k + 1])
            now = now_ns()
            times[i * stations + k] = now - last
            last = now
        frames = resample(resampler, block, 160, out)
        now = now_ns()
        times[i * stations + before] = now - last
        last = now
        for k in range(before, before + after):
            call_effect(found[2 * k], out, frames, channels, found[2 * k + 1])
            now = now_ns()
            times[i * stations + k + 1] = now - last
            last = now


@kernel("i8(i8, i8, i8, i8)")
def timed_copies(source, target, octets, times):
    """Nanoseconds of one plain copy; many, since one is shorter than reading the clock."""
    before = now_ns()
    for _ in range(times):
        copy_octets(target, source, octets)
    return (now_ns() - before) // times


class Made:
    """One preset at work.

    Attributes
    ----------
    names : list of str
        The stations in their order.
    """

    def __init__(self, name: str, channels: int) -> None:
        source, device = Format(SOURCE_HZ, channels), Format(DEVICE_HZ, channels)
        effects = preset(name)
        self.effects = [Switch(steady(effect)).make(source, FRAMES) for effect in effects]
        self.resampler = make_resampler(SOURCE_HZ, DEVICE_HZ, channels, FRAMES)
        self.ends = [Gain().make(device, DEVICE_HZ // 100), Limiter().make(device, DEVICE_HZ // 100)]
        self.names = [effect.name for effect in effects] + ["resampler", "gain", "limiter"]
        self.channels = channels
        sound = make(tiny_specs()[0]).noisy
        self._sound = np.repeat(sound[: len(sound) // FRAMES * FRAMES, None], channels, axis=1).reshape(-1, FRAMES, channels)
        self._at = 0

    def next_blocks(self, count: int) -> np.ndarray[Any, Any]:
        """The next of the sound, for ever."""
        self._at += count
        return np.take(self._sound, np.arange(self._at - count, self._at), axis=0, mode="wrap")

    def delays_ms(self) -> dict[str, float]:
        """By how much each station makes the sound late."""
        late = [(effect.latency_frames, SOURCE_HZ) for effect in self.effects]
        late += [(self.resampler.delay_frames, DEVICE_HZ)]
        late += [(end.latency_frames, DEVICE_HZ) for end in self.ends]
        return {name: 1000 * frames / rate_hz for name, (frames, rate_hz) in zip(self.names, late, strict=True)}

    def compiled(self) -> Callable[[], np.ndarray[Any, Any]]:
        """A call that returns the nanoseconds of each station, for each of a few blocks."""
        made = [*self.effects, *self.ends]
        parts = np.array([(one.address, one.state_address) for one in made], np.int64)
        out = np.zeros((DEVICE_HZ // 100 + 8, self.channels), np.float32)
        spent = np.zeros((_AT_ONCE, len(self.names)), np.int64)
        counts = (len(self.effects), len(self.ends), self.resampler.state_address)

        def one() -> np.ndarray[Any, Any]:
            blocks = self.next_blocks(_AT_ONCE)
            timed_chain(blocks.ctypes.data, _AT_ONCE, self.channels, parts.ctypes.data, *counts, out.ctypes.data, spent.ctypes.data)
            return spent

        return one

    def python(self) -> Callable[[], int]:
        """A call that takes one block through, station by station, and returns its nanoseconds."""

        def one() -> int:
            block = self.next_blocks(1)[0]
            before = time.perf_counter_ns()
            for effect in self.effects:
                effect.process(block)
            out = self.resampler.process(block)
            for end in self.ends:
                end.process(out)
            return time.perf_counter_ns() - before

        return one


def steady(effect: Any) -> Any:
    """For blocks of 10 ms alone, as the engine's are: the gate then need not wait for a hop to fill up."""
    return effect.steady() if hasattr(effect, "steady") else effect


def rows_for(channels: int, rounds: int) -> tuple[list[Row], dict[str, list[dict[str, Any]]]]:
    """All presets in turn, and the stations' shares."""
    parts: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in PRESETS}
    calls: dict[str, Callable[[], Any]] = {}
    made = {name: Made(name, channels) for name in PRESETS}
    block = np.zeros((FRAMES, channels), np.float32)
    copy = np.zeros_like(block)

    for name, chain in made.items():
        compiled = chain.compiled()

        def one(name: str = name, compiled: Callable[[], np.ndarray[Any, Any]] = compiled) -> float:
            spent = compiled()
            parts[name].append(spent.copy())
            return float(np.median(spent.sum(axis=1)))

        calls[f"{name}, compiled"] = one
        calls[f"{name}, from Python"] = Made(name, channels).python()
    calls["copy"] = lambda: timed_copies(block.ctypes.data, copy.ctypes.data, block.nbytes, 100)
    times = interleaved(calls, rounds=rounds, warm_up=min(20, rounds))
    what = "mono" if channels == 1 else "stereo"
    rows = compare(f"16 -> 48 kHz, {what}, 10 ms", times, "voice, compiled", block_ms=10.0)

    shares: list[dict[str, Any]] = []
    for name, chain in made.items():
        us = np.median(np.concatenate(parts[name][-rounds:]), axis=0) / 1000
        late_ms = chain.delays_ms()
        stations = [*zip(chain.names, us, late_ms.values(), strict=True), ("all", us.sum(), sum(late_ms.values()))]
        shares += [
            {"preset": name, "station": station, "p50 us": float(took), "share %": float(100 * took / us.sum()), "delay ms": float(late)}
            for station, took, late in stations
        ]
    return rows, {f"{what}: the stations, called by compiled code": shares}


def main() -> None:
    asked = arguments(__doc__ or "")
    rows: list[Row] = []
    facts: dict[str, list[dict[str, Any]]] = {}
    for channels in (1, 2):
        found, shares = rows_for(channels, 3 if asked.tiny else 1000)
        rows += found
        facts |= shares
    report(__doc__ or "", rows, asked, facts)


if __name__ == "__main__":
    main()
