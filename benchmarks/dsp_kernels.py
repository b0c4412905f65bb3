"""How long does each effect take for 10 ms of sound, and the whole chain?

Each candidate works on the same noise, in turn with the others and with a plain copy of the block (the unit of the
machine and the moment): mono and stereo, at 16 and at 48 kHz.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from _bench import Row, arguments, compare, interleaved, report

from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.gain import Gain
from rtmedia.dsp.gate import SpectralGate
from rtmedia.dsp.level import measure
from rtmedia.dsp.limiter import Limiter
from rtmedia.dsp.resample import make_resampler, resample
from rtmedia.dsp.varispeed import make_varispeed, varispeed
from rtmedia.ports import Format
from rtmedia.rt.plugin import run_effect

DEVICE_HZ = 48_000


def ignore(_: object) -> None:
    """A peer that returns a number has timed itself; these have not."""


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
            np.copyto(work, block)
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
        "level": lambda: ignore(measure(*metered)),
    }
    ways = {"same": (rate_hz, rate_hz), "up": (rate_hz, DEVICE_HZ), "down": (DEVICE_HZ, rate_hz)}
    for name, (in_hz, out_hz) in ways.items():
        if name != "same" and in_hz == out_hz:
            continue
        source = np.resize(block, (in_hz // 100, channels)).astype(np.float32)
        fixed, varied = make_resampler(in_hz, out_hz, channels, in_hz // 100), make_varispeed(in_hz, out_hz, channels, in_hz // 100)
        varied.set_ratio(1.0001)
        out = np.zeros((varied.max_out_frames, channels), np.float32)
        keep.extend((fixed, varied, source, out))
        memory = (source.ctypes.data, in_hz // 100, out.ctypes.data)
        if in_hz != out_hz:
            calls[f"resample {name}"] = lambda state=fixed.state_address, memory=memory: ignore(resample(state, *memory))  # type: ignore[misc]
        calls[f"varispeed {name}"] = lambda state=varied.state_address, memory=memory: ignore(varispeed(state, *memory))  # type: ignore[misc]
    calls["copy"].keep = keep  # type: ignore[attr-defined]
    return calls


def rows_for(rate_hz: int, channels: int, blocks: int) -> list[Row]:
    """Time all candidates, interleaved."""
    block = (0.1 * np.random.default_rng(1).standard_normal((rate_hz // 100, channels))).astype(np.float32)
    times = interleaved(candidates(rate_hz, channels, block), rounds=blocks, warm_up=min(50, blocks))
    name = f"{rate_hz // 1000} kHz, {'mono' if channels == 1 else 'stereo'}, 10 ms"
    return compare(name, times, "copy", block_ms=10.0)


def main() -> None:
    asked = arguments(__doc__ or "")
    blocks = 3 if asked.tiny else 2000
    rows: list[Row] = []
    for rate_hz in (16_000, 48_000):
        for channels in (1, 2):
            rows += rows_for(rate_hz, channels, blocks)
    report(__doc__ or "", rows, asked)


if __name__ == "__main__":
    main()
