"""How many times faster than real time are a simulation and the processing of a recording?

`rtmedia.process` takes the embedded conversation through each preset, and through each effect alone, without the limiter that
otherwise always follows; the resampler from 16 to 48 kHz stands beside them, and a copy of the sound is the limit of the machine.
`rtmedia.simulate` replays arrival traces through all rooms: with each effect alone and with the presets, for a device at 16 and at
48 kHz, and with ``audio=False``, decisions alone (what a search over traces does; the first round, which fills the map of the
speech's splices, is the warm-up). Times are for one 10 ms of sound, everything included that a call does: making the
line, reading the trace, the report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _bench import Row, arguments, compare, interleaved, report

from rtmedia.config import Config
from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.gate import SpectralGate
from rtmedia.dsp.limiter import Limiter
from rtmedia.dsp.normalizer import LoudnessNormalizer
from rtmedia.dsp.resample import make_resampler, resample
from rtmedia.ports import Format
from rtmedia.presets import PRESETS
from rtmedia.processing import process
from rtmedia.sim.script import conversation
from rtmedia.sim.trace import read_bundle
from rtmedia.simulation import simulate

BUNDLE = Path(__file__).resolve().parents[1] / "tests" / "data" / "traces" / "traces.npz"
DEVICE_HZ = 48_000
_PIECE = 4096  # frames, as `rtmedia.process` takes them
_COPY = "copy, the limit"

Timed = Callable[[], float]


def timed(call: Callable[[], float]) -> Timed:
    """`call` returns the seconds of sound that it made; this returns the nanoseconds for 10 ms of them."""

    def run() -> float:
        before = time.perf_counter_ns()
        seconds = call()
        return (time.perf_counter_ns() - before) / (100.0 * seconds)

    return run


def simulation(name: str, config: Config, *, audio: bool = True) -> Timed:
    """A trace of the bundle."""
    return timed(lambda: float(simulate(config, trace=f"{BUNDLE}:{name}", audio=audio, oracles=False).report["seconds"]))


def sound_of(rate_hz: int, seconds: int) -> np.ndarray[Any, Any]:
    return np.resize(conversation()[0].at(rate_hz, 1).block, (seconds * rate_hz, 1)).astype(np.float32)


def chain(rate_hz: int, effects: str, seconds: int) -> Timed:
    """A preset and the limiter, through `rtmedia.process`."""
    sound = sound_of(rate_hz, seconds)

    def call() -> float:
        process(sound, rate_hz, effects)
        return float(seconds)

    return timed(call)


def effects_for(rate_hz: int) -> dict[str, Any]:
    """Each kind, in the forms that the presets use."""
    return {
        "gate, 10 ms": SpectralGate(latency="10ms"),
        "gate, 6 ms": SpectralGate(latency="6ms"),
        "loudness normaliser": LoudnessNormalizer(),
        "compressor": Compressor(lookahead=False),
        "compressor, looking ahead": Compressor(lookahead=True),
        "limiter": Limiter(),
    }


def alone(rate_hz: int, effect: Any, seconds: int) -> Timed:
    """One effect over the recording, in pieces as `rtmedia.process` has them."""
    sound = sound_of(rate_hz, seconds)
    made = effect.make(Format(rate_hz, 1), _PIECE)

    def call() -> float:
        work = sound.copy()  # an effect works in place
        for start in range(0, len(work), _PIECE):
            made.process(work[start : start + _PIECE])
        return float(seconds)

    return timed(call)


def resampling(from_hz: int, to_hz: int, seconds: int) -> Timed:
    """The engine's own resampler, 10 ms at a time as it is called there."""
    sound = sound_of(from_hz, seconds)
    block = from_hz // 100
    made = make_resampler(from_hz, to_hz, 1, block)
    out = np.empty((made.max_out_frames, 1), np.float32)

    def call() -> float:
        work = sound.copy()
        # Addresses keep nothing alive: `made` and `out` belong to this function as long as it is called.
        address, base, to = made.state_address, work.ctypes.data, out.ctypes.data
        for start in range(0, len(work) - block + 1, block):
            resample(address, base + 4 * start, block, to)
        return float(seconds)

    return timed(call)


def copying(rate_hz: int, seconds: int) -> Timed:
    sound = sound_of(rate_hz, seconds)

    def call() -> float:
        sound.copy()
        return float(seconds)

    return timed(call)


def each_alone(rate_hz: int, seconds: int) -> dict[str, Timed]:
    """All effects, the resampler where the rate is that of a stream, and the copy."""
    found = {_COPY: copying(rate_hz, seconds)}
    found |= {name: alone(rate_hz, effect, seconds) for name, effect in effects_for(rate_hz).items()}
    if rate_hz != DEVICE_HZ:
        found[f"resampler {rate_hz // 1000} → {DEVICE_HZ // 1000} kHz, 10 ms at a time"] = resampling(rate_hz, DEVICE_HZ, seconds)
    return found


def simulations(trace: str) -> dict[str, Timed]:
    """A trace with each effect alone and with the presets; the limiter is the line's own, and always there."""
    kinds: dict[str, tuple[Any, ...] | str] = {"no effects": ()}
    kinds |= {name: (effect,) for name, effect in effects_for(16_000).items() if name != "limiter"}
    kinds |= {f"preset {name}": name for name in PRESETS if name != "transparent"}
    return {
        f"{name}, device at {rate_hz // 1000} kHz": simulation(trace, Config(effects=effects, device_rate_hz=rate_hz))
        for rate_hz in (16_000, DEVICE_HZ)
        for name, effects in kinds.items()
    }


def draw(folder: Path, rows: Sequence[Row]) -> list[Path]:
    """``offline.png``: times real time, not ratios: here that is the question."""
    from _plot import Panel, draw_panels

    comparisons = dict.fromkeys(row.comparison for row in rows)
    panels = [
        Panel(name, "times real time", [(row.peer, 1e7 / row.p50_ns) for row in rows if row.comparison == name and row.peer != _COPY])
        for name in comparisons
    ]
    path = folder / "offline.png"
    draw_panels(path, (__doc__ or "").strip().splitlines()[0], panels)
    return [path]


def main() -> None:
    asked = arguments(__doc__ or "")
    names = sorted(read_bundle(BUNDLE))
    names = ["perfect"] if asked.tiny else ["perfect", *(name for name in names if name != "perfect")]
    rounds, warm_up = (1, 0) if asked.tiny else (3, 1)
    seconds = 1 if asked.tiny else 30
    rows: list[Row] = []

    def measure(comparison: str, calls: dict[str, Timed], baseline: str, rounds: int, warm_up: int) -> None:
        rows.extend(compare(comparison, interleaved(calls, rounds=rounds, warm_up=warm_up), baseline, block_ms=10.0))

    for rate_hz in (16_000, DEVICE_HZ):
        measure(f"process, each effect alone, {rate_hz // 1000} kHz", each_alone(rate_hz, seconds), _COPY, 2 if asked.tiny else 20, 1)
    chains = {
        f"{name}, {rate_hz // 1000} kHz": chain(rate_hz, name, seconds) for rate_hz in (16_000, DEVICE_HZ) for name in reversed(PRESETS)
    }
    measure("process, whole presets with the limiter", chains, "transparent, 16 kHz", 2 if asked.tiny else 20, 1)
    trace = "perfect" if asked.tiny else "cellular"
    measure(f"simulate, trace {trace}", simulations(trace), "no effects, device at 16 kHz", rounds, warm_up)
    plain = Config(effects=())
    by_trace = {name: simulation(name, plain) for name in names}
    silent = {name: simulation(name, plain, audio=False) for name in names}
    measure("simulate, no effects, by trace", by_trace, "perfect", rounds, warm_up)
    measure("simulate, decisions alone, by trace", silent, "perfect", rounds, warm_up)

    speeds = [{"what": f"{row.comparison}: {row.peer}", "times_real_time": round(1e7 / row.p50_ns)} for row in rows if row.peer != _COPY]
    of_traces = (("with sound", "simulate, no effects, by trace"), ("decisions alone", "simulate, decisions alone, by trace"))
    extremes = []
    for name, comparison in of_traces:
        found = [1e7 / row.p50_ns for row in rows if row.comparison == comparison]
        extremes.append({"what": name, "least": round(min(found)), "median": round(float(np.median(found)))})
    facts = {"times real time, over the traces": extremes, "times real time, medians": speeds}
    report(__doc__ or "", rows, asked, facts, draw=lambda folder: draw(folder, rows))


if __name__ == "__main__":
    main()
