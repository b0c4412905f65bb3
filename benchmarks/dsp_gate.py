"""How long does the gate take for 10 ms of sound, beside others' noise suppressors?

Frame by frame from Python, at 16 kHz (RNNoise at 48 kHz, the only rate it has): each peer is given the next 10 ms as it takes
them (float32, octets, int16: making those is not counted) and the documented call alone is timed, all peers in turn in one
run, five frames at a time of which the last counts. The gate called by compiled code, as the engine's render room
calls it, is in the same run: the median of 20 frames. Then whole recordings, for the peers that want them. Sound: a
synthetic voice in noise, 10 dB apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from _bench import Row, arguments, compare, interleaved, report
from _dsp_mixtures import make, tiny_specs
from _dsp_peers import FRAME, OURS, RATE_HZ, WEBRTC, Sound, Stream, frames, resampled, suppressors

from rtmedia.dsp.gate import FFT_LENGTH, SpectralGate
from rtmedia.ports import Format
from rtmedia.rt.clock import now_ns
from rtmedia.rt.kernel import call_effect, kernel
from rtmedia.rt.memory import view_i8

COMPILED = "rtmedia gate, called by compiled code"
BULK_S = 10
_TURN = 5  # frames of a peer before the next has its turn
_AT_ONCE = 20  # blocks of the compiled caller per turn


@kernel("void(i8, i8, i8, i8, i8, i8, i8)")
def timed_blocks(function, sound, blocks, frames, channels, state, spent):
    """An effect over block after block of `sound`; the nanoseconds of each go to address `spent`."""
    times = view_i8(spent, blocks)
    for i in range(blocks):
        before = now_ns()
        call_effect(function, sound + i * frames * channels * 4, frames, channels, state)
        times[i] = now_ns() - before


def sound_for_timing() -> Sound:
    """12 s of a synthetic voice in white noise: the time does not depend on who speaks."""
    return make(tiny_specs()[0]).noisy


def frame_times(streams: Mapping[str, Callable[[], Stream]]) -> dict[str, Callable[[], int]]:
    """For each stream a call that returns the nanoseconds of 10 ms: of the last of a few.

    The first finds in the caches what the peer before left there, which would charge RNNoise's megabytes to whoever comes next.
    """
    sound = sound_for_timing()

    def timed(stream: Stream) -> Callable[[], int]:
        own = list(frames(resampled(sound, RATE_HZ, stream.rate_hz), stream.rate_hz // 100))
        turn = 0

        def one() -> int:
            nonlocal turn
            for _ in range(_TURN):
                given = stream.give(own[turn % len(own)])
                turn += 1
                before = time.perf_counter_ns()
                stream.call(given)
                took = time.perf_counter_ns() - before
            return took

        return one

    return {name: timed(open()) for name, open in streams.items()}


def compiled_times(channels: int = 1, rate_hz: int = RATE_HZ, **settings: Any) -> Callable[[], float]:
    """A call that returns the nanoseconds of the gate's next 10 ms within a compiled loop: the median of a few."""
    size = rate_hz // 100
    made = SpectralGate(any_block=False, **settings).make(Format(rate_hz, channels), size)
    sound = resampled(sound_for_timing(), RATE_HZ, rate_hz)
    blocks = np.ascontiguousarray(np.repeat(sound[: len(sound) // size * size, None], channels, axis=1).reshape(-1, size * channels))
    work = np.empty((_AT_ONCE, size * channels), np.float32)
    spent = np.zeros(_AT_ONCE, np.int64)
    turn = 0

    def one() -> float:
        nonlocal turn
        work[:] = np.take(blocks, np.arange(turn, turn + _AT_ONCE), axis=0, mode="wrap")
        turn += _AT_ONCE
        timed_blocks(made.address, work.ctypes.data, _AT_ONCE, size, channels, made.state_address, spent.ctypes.data)
        return float(np.median(spent))

    return one


def bulk_call(bulk: Callable[[Sound], Sound], sound: Sound) -> Callable[[], None]:
    """A call that treats the whole recording and returns nothing."""

    def call() -> None:
        bulk(sound)

    return call


def main() -> None:
    asked = arguments(__doc__ or "")
    peers, missing = suppressors()
    blocks = 3 if asked.tiny else 3000
    streams = {peer.name: peer.open for peer in peers if peer.open is not None}
    calls: dict[str, Callable[[], Any]] = {**frame_times(streams), COMPILED: compiled_times()}
    times = interleaved(calls, rounds=blocks, warm_up=min(100, blocks))
    baseline = WEBRTC if WEBRTC in times else OURS
    rows: list[Row] = compare(f"{RATE_HZ // 1000} kHz, mono, 10 ms, frame by frame", times, baseline, block_ms=10.0)

    if baseline == WEBRTC:
        rows += compare("the two alone", interleaved({name: calls[name] for name in (WEBRTC, OURS)}, rounds=blocks), WEBRTC, block_ms=10.0)

    sizes = {
        f"{rate_hz / 1000:g} kHz, {name}": (channels, rate_hz)
        for rate_hz in ((RATE_HZ,) if asked.tiny else sorted(FFT_LENGTH))
        for channels, name in ((1, "mono"), (2, "stereo"))
    }
    own = {name: compiled_times(channels, rate_hz) for name, (channels, rate_hz) in sizes.items()}
    rows += compare("the gate in compiled code", interleaved(own, rounds=max(3, blocks // 20)), "16 kHz, mono", block_ms=10.0)

    sound = np.resize(sound_for_timing(), (1 if asked.tiny else BULK_S) * RATE_HZ)
    whole = {peer.name: bulk_call(peer.bulk, sound) for peer in peers if peer.bulk is not None}
    bulk = interleaved(whole, rounds=1 if asked.tiny else 20, operations=len(sound) // FRAME, warm_up=1)
    rows += compare("10 ms of a whole recording", bulk, OURS, block_ms=10.0)
    report(__doc__ or "", rows, asked, missing=missing)


if __name__ == "__main__":
    main()
