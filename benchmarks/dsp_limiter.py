"""Does any true peak pass the limiter's ceiling in hours of hostile sound, and what does a block cost?

The sound is made to break it: square waves, bursts near the Nyquist frequency, sines of a quarter of the rate at 45 degrees (3 dB
between the samples), clicks, noise, random signs, steps of level and of direct current, chirps, one side loud; +20 dB and -30 dB
in turn, at every rate, mono and stereo, in blocks of any length, with other ceilings and release times every ten seconds. The
output's peaks are measured by interpolators that share no code with the limiter: the one of ITU-R BS.1770-4 at four times the
rate, whose readings the limiter promises to keep under the ceiling, and a long windowed sinc at 16 times, which
sees what lies between those readings. Positive figures are above the ceiling. ``--hours`` is the length of all sound together.
The exit status is 1 where a reading at four times the rate passes the ceiling.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from _bench import Row, compare, interleaved, parser_for, report

from rtmedia.dsp.limiter import HIGH_RELEASE_MS, LOW_RELEASE_MS, RAMP_MS, Limiter, margin_db
from rtmedia.ports import RATES_HZ, Format
from rtmedia.rt.plugin import run_effect

Wave = npt.NDArray[np.float64]

CHUNK_S = 10
#: ITU-R BS.1770-4, Annex 2: the first two of the four phases; the others are their mirror images.
PRINTED = """
0.0017089843750 0.0109863281250 -0.0196533203125 0.0332031250000 -0.0594482421875 0.1373291015625
0.9721679687500 -0.1022949218750 0.0476074218750 -0.0266113281250 0.0148925781250 -0.0083007812500
-0.0291748046875 0.0292968750000 -0.0517578125000 0.0891113281250 -0.1665039062500 0.4650878906250
0.7797851562500 -0.2003173828125 0.1015625000000 -0.0582275390625 0.0330810546875 -0.0189208984375
"""
_HALF = np.array(PRINTED.split(), np.float64).reshape(2, 12)
FOUR = np.concatenate([_HALF, _HALF[:, ::-1]]).T


def long_sinc(phases: int = 16, taps: int = 48, beta: float = 8.0) -> Wave:
    """Kaiser-windowed sinc, a column for each place between two frames."""
    t = np.arange(taps)[:, None] - taps / 2 + 1 - np.arange(phases) / phases
    window = np.i0(beta * np.sqrt(np.maximum(0.0, 1 - (2 * t / taps) ** 2))) / np.i0(beta)
    table: Wave = np.sinc(t) * window
    return table / table.sum(axis=0)


SIXTEEN = long_sinc()


def peaks(x: npt.NDArray[np.float32], table: Wave) -> npt.NDArray[np.float32]:
    """Largest magnitude of all interpolated values of each window of frames, over the channels."""
    weights = np.ascontiguousarray(table, np.float32 if table.shape[1] > 4 else np.float64)
    found = np.zeros(len(x) - len(weights) + 1, np.float32)
    for start in range(0, len(found), 1 << 14):  # what a cache holds
        piece = x[start : start + (1 << 14) + len(weights) - 1]
        for c in range(x.shape[1]):
            windows = np.lib.stride_tricks.sliding_window_view(piece[:, c].astype(weights.dtype), len(weights))
            between = np.ascontiguousarray(windows) @ weights
            part = found[start : start + len(between)]
            np.maximum(part, np.maximum(between.max(axis=1), -between.min(axis=1)), out=part)
    return found


def one_side(rng: np.random.Generator, frames: int) -> Wave:
    """`frames` of something hostile."""
    t = np.arange(frames)
    every = int(rng.integers(10, 2000))
    kinds: tuple[Callable[[], Wave], ...] = (
        lambda: np.sign(np.sin(np.pi * 10 ** rng.uniform(-3, 0) * t + rng.uniform(0, 6))),
        lambda: np.sin(np.pi * rng.uniform(0.8, 1) * t) * (t % every < every * rng.uniform(0.02, 1)),
        lambda: np.sin(np.pi / 2 * t + np.pi / 4),
        lambda: np.where(rng.random(frames) < 10 ** rng.uniform(-4, -1), rng.choice([-1.0, 1.0], frames), 0.0) * 3,
        lambda: rng.standard_normal(frames) * 3,
        lambda: np.repeat(10 ** rng.uniform(-2, 1, frames // 50 + 1), 50)[:frames] * rng.standard_normal(frames),
        lambda: np.repeat(rng.uniform(-2, 2, frames // every + 1), every)[:frames],
        lambda: rng.choice([-1.0, 1.0], frames),
        lambda: np.sin(np.pi / 2 * t * t / frames * rng.uniform(0.2, 1)),
        lambda: np.sin(np.pi * rng.uniform(0.01, 1) * t) * np.exp(np.minimum(t / every * 0.5, 8) - 6),
        lambda: rng.choice([-1.0, 1.0], frames) * np.where(t < frames * rng.random(), 1.0, 10 ** rng.uniform(-2, 2)),
        lambda: rng.uniform(-0.5, 0.5, frames) + np.where(t < frames * rng.random(), 0.0, rng.uniform(-3, 3)),
    )
    return kinds[rng.integers(len(kinds))]() * 10 ** (rng.uniform(-30, 20) / 20)


def hostile(rng: np.random.Generator, rate_hz: int, channels: int, frames: int) -> npt.NDArray[np.float32]:
    """Pieces of 5 to 500 ms that have nothing to do with each other."""
    x = np.zeros((frames, channels), np.float32)
    start = 0
    while start < frames:
        n = min(frames - start, int(rate_hz * 0.005 * 100 ** rng.random()))
        for c in range(channels):
            x[start : start + n, c] = one_side(rng, n)
        start += n
    return x


def worst_of(seed: int, rate_hz: int, channels: int, seconds: float) -> dict[str, Any]:
    """One format's share of the sound."""
    rng = np.random.default_rng([seed, rate_hz, channels])
    limit = -1.0
    made = Limiter(limit).make(Format(rate_hz, channels), 480)
    past = np.zeros((len(SIXTEEN) - 1, channels), np.float32)
    most = {"sample": -math.inf, "four": -math.inf, "sixteen": -math.inf}
    over = {"four": 0, "sixteen": 0}
    frames_done = limited = 0
    while frames_done < seconds * rate_hz:
        frames = min(CHUNK_S * rate_hz, max(rate_hz // 2, int(seconds * rate_hz) - frames_done))
        x = hostile(rng, rate_hz, channels, frames)
        before, limit = limit, float(rng.choice([-1.0, 0.0, rng.uniform(-20, 0)]))
        made.update((limit, LOW_RELEASE_MS * (HIGH_RELEASE_MS / LOW_RELEASE_MS) ** rng.random()))
        # Until the ramp is through the delay line, the higher of the two holds.
        settled = math.ceil(RAMP_MS * rate_hz / 1000) + made.latency_frames
        ceiling_db = np.full(frames, np.float32(limit))
        ceiling_db[: min(frames, settled)] = max(before, limit)
        start = 0
        while start < frames:
            n = min(frames - start, int(rng.integers(1, rate_hz // 10)))
            made.process(x[start : start + n])
            limited += n if made.state["reduction_db"][0] < 0 else 0
            start += n
        y = np.concatenate([past, x])
        past = y[-len(past) :]
        half = len(SIXTEEN) // 2
        ceiling_db = np.concatenate([np.full(len(SIXTEEN), max(before, limit), np.float32), ceiling_db])
        for name, found in (
            ("sample", np.abs(x).max(axis=1)),
            ("four", peaks(y[-frames - len(FOUR) + 1 :], FOUR)),
            ("sixteen", peaks(y, SIXTEEN)),
        ):
            late = {"sample": 0, "four": len(FOUR) // 2, "sixteen": half}[name]
            ceiling = ceiling_db[len(SIXTEEN) - late : len(SIXTEEN) - late + frames]
            above = 20 * np.log10(np.maximum(found, 1e-10)) - ceiling
            most[name] = max(most[name], float(above.max()))
            if name in over:
                over[name] += int((above > 0).sum())
        frames_done += frames
    return {
        "format": f"{rate_hz} Hz, {'mono' if channels == 1 else 'stereo'}",
        "hours": frames_done / rate_hz / 3600,
        "limiting %": 100 * limited / frames_done,
        "delay ms": 1000 * made.latency_frames / rate_hz,
        "margin dB": margin_db(rate_hz),
        "sample dB": most["sample"],
        "4x dB": most["four"],
        "4x over": over["four"],
        "16x dB": most["sixteen"],
        "16x over %": 100 * over["sixteen"] / frames_done,
    }


def timed(rate_hz: int, channels: int, blocks: int) -> list[Row]:
    """What 10 ms cost: far under the ceiling, near it, and while the gain moves."""
    frames = rate_hz // 100
    rng = np.random.default_rng(1)
    noise = np.clip(rng.standard_normal((frames, channels)), -2.5, 2.5).astype(np.float32)
    work = np.zeros_like(noise)
    work_address = work.ctypes.data

    def peer(effect: Limiter, level: float) -> Callable[[], None]:
        made = effect.make(Format(rate_hz, channels), frames)
        block = noise * np.float32(level)
        arguments = (made.address, work_address, frames, channels, made.state_address)

        def call() -> None:
            np.copyto(work, block)
            run_effect(*arguments)

        call.keep = made  # type: ignore[attr-defined]
        return call

    def copy() -> None:
        np.copyto(work, noise)

    peers: dict[str, Callable[[], None]] = {
        "copy": copy,
        "far under the ceiling": peer(Limiter(), 0.05),
        "near the ceiling": peer(Limiter(), 0.18),
        "limiting": peer(Limiter(-12.0), 0.5),
    }
    name = f"{rate_hz // 1000} kHz, {'mono' if channels == 1 else 'stereo'}, 10 ms"
    return compare(name, interleaved(peers, rounds=blocks, warm_up=min(50, blocks)), "copy", block_ms=10.0)


def main() -> None:
    parser = parser_for(__doc__ or "")
    parser.add_argument("--hours", type=float, default=0.1, help="of sound, over all formats (default 0.1)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    formats = [(rate_hz, channels) for rate_hz in RATES_HZ for channels in (1, 2)]
    seconds = 0.5 if asked.tiny else 3600 * asked.hours / len(formats)
    found = [worst_of(asked.seed, *each, seconds) for each in formats]
    rows = [row for channels in (1, 2) for row in timed(48_000, channels, 3 if asked.tiny else 2000)]
    report(__doc__ or "", rows, asked, {"true peaks above the ceiling": found}, hours=asked.hours, seed=asked.seed)
    if any(each["4x over"] for each in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
