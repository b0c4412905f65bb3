"""How long does a compressor take for 10 ms of sound, called frame by frame from Python, and for a whole recording?

Peers: pedalboard's ``Compressor``, FFmpeg's ``acompressor`` through PyAV, and a compressor written sample by sample over
NumPy arrays; all at -20 dBFS, 4:1, attack 5 ms, release 80 ms, each called in its documented way. A package that is not
there is skipped and named. The peers have a hard knee, no look-ahead, no automatic makeup and no meter; rtmedia's has a
soft knee of 30 dB, as in a browser, or a hard one, and all of the rest. Two sounds, one second of each, round and
round: the embedded conversation at -20 dBFS, and steady noise at -14 dBFS, in which hardly a frame stays under the threshold.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _bench import Row, arguments, compare, interleaved, report

import rtmedia.data
from rtmedia.dsp.compressor import Compressor
from rtmedia.ports import Format
from rtmedia.sim.speech import read_speech

Sound = npt.NDArray[np.float32]
#: Takes a block (frames, channels); returns the nanoseconds of the call alone.
Peer = Callable[[Sound], int]

THRESHOLD_DB, RATIO, ATTACK_MS, RELEASE_MS = -20.0, 4.0, 5.0, 80.0
SOFT_KNEE_DB = 30.0  # the browser's default


def ours(rate_hz: int, channels: int, frames: int, knee_db: float = SOFT_KNEE_DB) -> Peer:
    effect = Compressor(THRESHOLD_DB, knee_db, RATIO, attack_s=ATTACK_MS / 1000, release_s=RELEASE_MS / 1000)
    made = effect.make(Format(rate_hz, channels), frames)
    work = np.zeros((frames, channels), np.float32)

    def run(block: Sound) -> int:
        part = work[: len(block)]
        part[...] = block
        before = time.perf_counter_ns()
        made.process(part)
        return time.perf_counter_ns() - before

    return run


def pedalboard(rate_hz: int, channels: int, frames: int) -> Peer:
    effect = importlib.import_module("pedalboard").Compressor(
        threshold_db=THRESHOLD_DB, ratio=RATIO, attack_ms=ATTACK_MS, release_ms=RELEASE_MS
    )

    def run(block: Sound) -> int:
        planar = np.ascontiguousarray(block.T)
        before = time.perf_counter_ns()
        effect.process(planar, rate_hz, reset=False)
        return time.perf_counter_ns() - before

    return run


def ffmpeg(rate_hz: int, channels: int, frames: int) -> Peer:
    av = importlib.import_module("av")
    layout = "mono" if channels == 1 else "stereo"
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate_hz, format="fltp", layout=layout, time_base=Fraction(1, rate_hz))
    settings = f"threshold={10 ** (THRESHOLD_DB / 20)}:ratio={RATIO}:attack={ATTACK_MS}:release={RELEASE_MS}:knee=1"
    effect, sink = graph.add("acompressor", settings), graph.add("abuffersink")
    source.link_to(effect)
    effect.link_to(sink)
    graph.configure()
    position = 0

    def run(block: Sound) -> int:
        nonlocal position
        planar = np.ascontiguousarray(block.T)
        before = time.perf_counter_ns()
        frame = av.AudioFrame.from_ndarray(planar, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, position, Fraction(1, rate_hz)
        graph.push(frame)  # through the graph: its filters do not keep it alive
        graph.pull().to_ndarray()
        position += len(block)
        return time.perf_counter_ns() - before

    return run


def sample_by_sample(rate_hz: int, channels: int, frames: int) -> Peer:
    rise, fall = (1.0 - math.exp(-1000.0 / (ms * rate_hz)) for ms in (ATTACK_MS, RELEASE_MS))
    level = 0.0
    threshold, power = 10 ** (THRESHOLD_DB / 20), 1.0 / RATIO - 1.0

    def run(block: Sound) -> int:
        nonlocal level
        before = time.perf_counter_ns()
        out = block.copy()
        for i in range(len(out)):
            peak = float(max(abs(out[i])))
            level += (peak - level) * (rise if peak > level else fall)
            if level > threshold:
                out[i] *= (level / threshold) ** power
        return time.perf_counter_ns() - before

    return run


PEERS: dict[str, Callable[[int, int, int], Peer]] = {
    "rtmedia": ours,
    "rtmedia, hard knee": lambda *format: ours(*format, 0.0),
    "pedalboard": pedalboard,
    "FFmpeg acompressor (PyAV)": ffmpeg,
    "sample by sample on NumPy": sample_by_sample,
}


def peers_for(rate_hz: int, channels: int, frames: int) -> dict[str, Peer]:
    """Those whose packages are there."""
    found = {}
    for name, make in PEERS.items():
        with report_missing(name):
            found[name] = make(rate_hz, channels, frames)
    return found


@contextmanager
def report_missing(name: str) -> Iterator[None]:
    try:
        yield
    except ImportError as exc:
        print(f"skipped: {name} ({exc})")


def sounds(rate_hz: int, channels: int) -> dict[str, Sound]:
    """One second of each; the channels differ."""
    speech = read_speech(Path(rtmedia.data.__file__).parent / "conversation.wav").at(rate_hz, channels).block
    start = int(np.argmax(np.convolve(np.abs(speech[:, 0]), np.ones(rate_hz, np.float32), "valid")[:: rate_hz // 10])) * (rate_hz // 10)
    speech = speech[start : start + rate_hz] * np.linspace(1.0, 0.7, channels, dtype=np.float32)
    noise = np.random.default_rng(1).standard_normal((rate_hz, channels))
    return {
        name: np.ascontiguousarray(sound * 10 ** (level_db / 20) / np.sqrt(np.mean(np.square(sound))), np.float32)
        for name, sound, level_db in (("speech", speech, -20.0), ("noise", noise, -14.0))
    }


def per_frame(rate_hz: int, channels: int, rounds: int) -> list[Row]:
    """10 ms at a time, two blocks for each peer in turn, of which the second is timed."""
    rows = []
    frames = rate_hz // 100
    for name, sound in sounds(rate_hz, channels).items():
        blocks = [sound[at : at + frames] for at in range(0, len(sound) - frames + 1, frames)]

        def turns(peer: Peer, blocks: list[Sound] = blocks) -> Callable[[], int]:
            count = 0

            def turn() -> int:
                nonlocal count
                count += 2
                peer(blocks[(count - 1) % len(blocks)])  # whoever came before has filled the caches with its own
                return peer(blocks[count % len(blocks)])

            return turn

        times = interleaved({peer: turns(run) for peer, run in peers_for(rate_hz, channels, frames).items()}, rounds=rounds)
        comparison = f"{rate_hz / 1000:g} kHz, {'mono' if channels == 1 else 'stereo'}, {name}, 10 ms"
        base = "pedalboard" if "pedalboard" in times else "rtmedia"
        rows += compare(comparison, times, base, block_ms=10.0)
    return rows


def bulk(rate_hz: int, seconds: int, rounds: int) -> list[dict[str, Any]]:
    """A recording at once, mono speech: how many times faster than it plays, at best."""
    sound = np.tile(sounds(rate_hz, 1)["speech"], (seconds, 1))
    peers = peers_for(rate_hz, 1, len(sound))
    times = interleaved({name: lambda run=run: run(sound) for name, run in peers.items()}, rounds=rounds, warm_up=1)
    return [
        {"peer": name, "rate_khz": rate_hz / 1000, "times_real_time": seconds * 1e9 / float(took.min())} for name, took in times.items()
    ]


def main() -> None:
    asked = arguments(__doc__ or "")
    rows: list[Row] = []
    throughput: list[dict[str, Any]] = []
    for rate_hz in (8_000, 16_000, 48_000):
        for channels in (1, 2):
            rows += per_frame(rate_hz, channels, 3 if asked.tiny else 500)
        throughput += bulk(rate_hz, 1 if asked.tiny else 10, 1 if asked.tiny else 9)
    report(__doc__ or "", rows, asked, {"a whole recording at once, times real time": throughput})


if __name__ == "__main__":
    main()
