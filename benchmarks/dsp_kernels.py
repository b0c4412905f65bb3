"""How long does each effect take for 10 ms of sound, and the whole chain?

Each candidate works on the same noise, in turn with the others and with a plain copy of the block (the unit of the
machine and the moment). Printed: µs per 10 ms block (p50, p99, worst), the share of the 10 ms, the ratio to the copy.

Usage: ``python benchmarks/dsp_kernels.py [--rate 16000] [--channels 1] [--blocks 2000] [--json]``
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import numba
import numpy as np

from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.gain import Gain
from rtmedia.dsp.gate import SpectralGate
from rtmedia.dsp.level import measure
from rtmedia.dsp.limiter import Limiter
from rtmedia.dsp.resample import make_resampler, resample
from rtmedia.ports import Format
from rtmedia.rt.plugin import run_effect

DEVICE_HZ = 48_000


def candidates(rate_hz: int, channels: int, block: np.ndarray[Any, Any]) -> dict[str, Callable[[], object]]:
    """Calls without arguments, each of which treats `block` once."""
    frames = block.shape[0]
    work, copy = block.copy(), np.empty_like(block)
    format = Format(rate_hz, channels)
    keep: list[Any] = [work, copy]
    metered = (work.ctypes.data, frames, channels, copy.ctypes.data)

    def effect(*effects: Any) -> Callable[[], object]:
        made = [one.make(format, frames) for one in effects]
        keep.extend(made)
        arguments = [(one.address, work.ctypes.data, frames, channels, one.state_address) for one in made]

        def call() -> None:
            work[:] = block
            for each in arguments:
                run_effect(*each)

        return call

    gate = SpectralGate(any_block=False)
    calls: dict[str, Callable[[], object]] = {
        "copy": lambda: np.copyto(work, block),
        "gain": effect(Gain(-3.0)),
        "limiter": effect(Limiter(-12.0)),
        "compressor": effect(Compressor()),
        "gate": effect(gate),
        "chain": effect(gate, Compressor(), Gain(-3.0), Limiter()),
        "level": lambda: measure(*metered),
    }
    if rate_hz != DEVICE_HZ:
        for name, in_hz, out_hz in (("resample up", rate_hz, DEVICE_HZ), ("resample down", DEVICE_HZ, rate_hz)):
            made = make_resampler(in_hz, out_hz, channels, in_hz // 100)
            source = np.resize(block, (in_hz // 100, channels)).astype(np.float32)
            out = np.zeros((made.max_out_frames, channels), np.float32)
            keep.extend((made, source, out))
            arguments = (made.state_address, source.ctypes.data, in_hz // 100, out.ctypes.data)
            calls[name] = lambda arguments=arguments: resample(*arguments)  # type: ignore[misc]
    calls["copy"].keep = keep  # type: ignore[attr-defined]
    return calls


def run(rate_hz: int, channels: int, blocks: int, warm_up: int = 50) -> dict[str, Any]:
    """Time all candidates, interleaved."""
    block = (0.1 * np.random.default_rng(1).standard_normal((rate_hz // 100, channels))).astype(np.float32)
    calls = candidates(rate_hz, channels, block)
    times_ns: dict[str, list[int]] = {name: [] for name in calls}
    for i in range(blocks + warm_up):
        for name, call in calls.items():
            start = perf_counter_ns()
            call()
            if i >= warm_up:
                times_ns[name].append(perf_counter_ns() - start)
    copy_us = float(np.median(times_ns["copy"])) / 1e3
    results = {}
    for name, times in times_ns.items():
        p50, p99, worst = (float(x) / 1e3 for x in np.percentile(times, [50, 99, 100]))
        results[name] = {"p50_us": p50, "p99_us": p99, "worst_us": worst, "share_pct": p50 / 100, "ratio_to_copy": p50 / copy_us}
    return {
        "machine": {"cpu": platform.processor() or platform.machine(), "python": platform.python_version(), "numba": numba.__version__},
        "rate_hz": rate_hz,
        "channels": channels,
        "blocks": blocks,
        "results": results,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=16_000)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--blocks", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report = run(arguments.rate, arguments.channels, arguments.blocks)
    if arguments.json:
        print(json.dumps(report, indent=1))
        return
    print(f"{report['rate_hz']} Hz, {report['channels']} channel(s), µs per 10 ms; {report['machine']}")
    for name, result in report["results"].items():
        print(
            f"{name:14s} p50 {result['p50_us']:7.2f}  p99 {result['p99_us']:7.2f}  worst {result['worst_us']:8.2f}"
            f"  {result['share_pct']:6.3f} %  x{result['ratio_to_copy']:.1f}"
        )


if __name__ == "__main__":
    main()
