"""What does one 10 ms tick of the jitter buffer cost, by what it does?

The embedded conversation over five recorded networks, 16 kHz mono. Each tick is called and timed by itself from Python,
so all times hold one call into compiled code, which the row *an empty call* shows. A tick that splices is one that
searched and found, or cut; one of *drain* or *normal* may have searched and found nothing. *insert* is one packet on its way
into the buffer: the estimate of the delay, with all its candidates, is in it.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy as np
from _bench import Row, arguments, report

from rtmedia.jitter.buffer import buffer_tick
from rtmedia.jitter.state import OP_NAMES, Buffer
from rtmedia.jitter.timeline import buffer_insert, buffer_retire
from rtmedia.sim.script import conversation
from rtmedia.sim.trace import read_bundle

BUNDLE = Path(__file__).resolve().parents[1] / "tests" / "data" / "traces" / "traces.npz"
NETWORKS = ("perfect", "ws_stall", "cellular", "ge_loss10", "pareto_inorder")
RATE_HZ = 16_000
FRAMES = 320


def measured(name: str, speech: np.ndarray, seconds: float) -> dict[str, list[int]]:
    """Nanoseconds of every tick by its operation, and of every insertion."""
    trace = read_bundle(BUNDLE)[name]
    packets = min(len(trace), int(seconds * 50))
    arrivals = trace.arrival_ms[:packets]
    order = np.argsort(arrivals, kind="stable")
    order = order[np.isfinite(arrivals[order])]
    lap = len(speech) // FRAMES
    buffer = Buffer(RATE_HZ, 1)
    out = np.zeros((FRAMES // 2, 1), np.float32)
    address, target, source = buffer.address, out.ctypes.data, speech.ctypes.data
    times: dict[str, list[int]] = {"insert": [], "an empty call": []}
    at = 0
    clock = time.perf_counter_ns
    for tick in range(int(seconds * 100) - 20):
        now_ms = tick * 10.0
        while at < len(order) and arrivals[order[at]] <= now_ms:
            i = int(order[at])
            samples = source + (i % lap) * FRAMES * 4
            before = clock()
            buffer_insert(address, samples, FRAMES, i * FRAMES, i, 1, 0, 0, 0, 0, 0, float(arrivals[i]))
            times["insert"].append(clock() - before)
            at += 1
        before = clock()
        buffer_retire(address)
        between = clock()
        op = buffer_tick(address, now_ms, target)
        after = clock()
        times["an empty call"].append(between - before)
        times.setdefault(OP_NAMES[op], []).append(after - between)
    return times


def main() -> None:
    asked = arguments(__doc__)
    speech = np.ascontiguousarray(conversation()[0].at(RATE_HZ, 1).block)
    seconds = 3.0 if asked.tiny else 79.0
    kept: dict[str, list[np.ndarray]] = {}
    gc.disable()
    for name in NETWORKS:
        # the least of five runs, tick by tick: they all do the same, the machine does not
        runs = [measured(name, speech, seconds) for _ in range(1 if asked.tiny else 5)]
        for what in runs[0]:
            kept.setdefault(what, []).append(np.min([run[what] for run in runs], axis=0))
    rows = []
    found = {what: np.concatenate(values) for what, values in kept.items()}
    base = float(np.median(found["normal"]))
    for what in ("an empty call", "insert", "normal", "accelerate", "decelerate", "drain", "hold", "advance"):
        if what in found:
            p50, p99, worst = (float(value) for value in np.percentile(found[what], (50, 99, 100)))
            rows.append(Row(f"one tick, 16 kHz mono ({sum(map(len, found.values()))} calls)", what, p50, p99, worst, p50 / base, p50 / 1e5))
    report(__doc__, rows, asked)


if __name__ == "__main__":
    main()
