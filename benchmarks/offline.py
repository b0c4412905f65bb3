"""How many times faster than real time are a simulation and the processing of a recording?

`rtmedia.simulate` replays arrival traces through all rooms, effects off and on, for a device at 16
and at 48 kHz, and with ``audio=False``, decisions alone (what a search over traces does; the first round, which fills
the map of the speech's splices, is the warm-up); `rtmedia.process` takes the embedded conversation through its effects. Times are for one
10 ms of sound, everything included that a call does: reading the trace, making the line, the report.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _bench import Row, arguments, compare, interleaved, report

from rtmedia.config import Config
from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.gate import SpectralGate
from rtmedia.processing import process
from rtmedia.sim.script import conversation
from rtmedia.sim.trace import read_bundle
from rtmedia.simulation import simulate

BUNDLE = Path(__file__).resolve().parents[1] / "tests" / "data" / "traces" / "traces.npz"


def timed(call: Callable[[], float]) -> Callable[[], float]:
    """`call` returns the seconds of sound that it made; this returns the nanoseconds for 10 ms of them."""

    def run() -> float:
        before = time.perf_counter_ns()
        seconds = call()
        return (time.perf_counter_ns() - before) / (100.0 * seconds)

    return run


def simulation(name: str, config: Config, *, audio: bool = True) -> Callable[[], float]:
    return timed(lambda: float(simulate(config, trace=f"{BUNDLE}:{name}", audio=audio, oracles=False).report["seconds"]))


def recording(rate_hz: int, effects: tuple[object, ...] | None, seconds: int) -> Callable[[], float]:
    sound = np.resize(conversation()[0].at(rate_hz, 1).block, (seconds * rate_hz, 1))

    def call() -> float:
        process(sound, rate_hz, effects)  # type: ignore[arg-type]
        return float(seconds)

    return timed(call)


def main() -> None:
    asked = arguments(__doc__ or "")
    names = sorted(read_bundle(BUNDLE))
    names = ["perfect"] if asked.tiny else ["perfect", *(name for name in names if name != "perfect")]
    rounds = 1 if asked.tiny else 3
    plain = Config(effects=())
    traces = interleaved({name: simulation(name, plain) for name in names}, rounds=rounds, warm_up=0 if asked.tiny else 1)
    silent = interleaved({name: simulation(name, plain, audio=False) for name in names}, rounds=rounds, warm_up=0 if asked.tiny else 1)
    settings = {
        "no effects, device at 16 kHz": plain,
        "no effects, device at 48 kHz": Config(effects=(), device_rate_hz=48_000),
        "default effects, device at 16 kHz": Config(),
        "default effects, device at 48 kHz": Config(device_rate_hz=48_000),
    }
    trace = "perfect" if asked.tiny else "cellular"
    chains = interleaved(
        {name: simulation(trace, config) for name, config in settings.items()}, rounds=rounds, warm_up=0 if asked.tiny else 1
    )
    seconds = 1 if asked.tiny else 30
    recordings = {
        f"{name}, {rate_hz // 1000} kHz": recording(rate_hz, effects, seconds)
        for rate_hz in (16_000, 48_000)
        for name, effects in (
            ("limiter alone", ()),
            ("compressor", (Compressor(),)),
            ("gate", (SpectralGate(),)),
            ("default effects", None),
        )
    }
    processed = interleaved(recordings, rounds=2 if asked.tiny else 20, warm_up=1)
    found = {
        "simulate, effects off, by trace": (traces, "perfect"),
        "simulate, decisions alone, by trace": (silent, "perfect"),
        f"simulate, trace {trace}": (chains, "no effects, device at 16 kHz"),
        "process": (processed, "limiter alone, 16 kHz"),
    }
    rows: list[Row] = []
    for name, (times, baseline) in found.items():
        rows += compare(name, times, baseline, block_ms=10.0)
    speeds = [{"what": f"{row.comparison}: {row.peer}", "times_real_time": round(1e7 / row.p50_ns)} for row in rows]
    extremes = [
        {"what": name, "least": round(min(by_trace)), "median": round(float(np.median(by_trace)))}
        for name, times in (("with sound", traces), ("decisions alone", silent))
        if (by_trace := [1e7 / float(np.median(found_ns)) for found_ns in times.values()])
    ]
    report(__doc__ or "", rows, asked, {"median speed": speeds, "times real time, over the traces": extremes})


if __name__ == "__main__":
    main()
