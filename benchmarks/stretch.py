"""What does it cost to find the best splice of a window, and how near is it to the best of all?

Windows of the embedded conversation: 20 ms played, 60 ms to come, lags of 2.5 to 15 ms; one random window a round, the
same for every peer. The peers answer the same question: NumPy trying every lag and start with running sums, and
`scipy.signal.correlate`, which sees one fixed point only (the next frame to play), as WSOLA programs do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from _bench import Row, arguments, compare, interleaved, report
from scipy.signal import correlate

import rtmedia.data
from rtmedia.dsp.stretch import crossfade, find_splice, splice_scratch_size, splice_window
from rtmedia.sim.speech import read_speech

Sound = npt.NDArray[np.float32]
HISTORY_MS, WINDOW_MS = 20, 80


def everything(x: npt.NDArray[np.float64], low: int, high: int, first: int) -> tuple[float, int, int]:
    """Correlation, lag and start of the best splice: every lag and every start."""
    x = x - x.mean()
    power = np.concatenate([[0.0], np.cumsum(x * x)])
    best = (-1.0, 0, 0)
    for lag in range(low, high + 1):
        products = np.concatenate([[0.0], np.cumsum(x[:-lag] * x[lag:])])
        starts = np.arange(first, len(x) - 2 * lag + 1)
        a = power[starts + lag] - power[starts]
        b = power[starts + 2 * lag] - power[starts + lag]
        rho = (products[starts + lag] - products[starts]) / np.sqrt(np.maximum(a * b, 1e-12))
        rho[(a > 4 * b) | (b > 4 * a)] = -1.0
        at = int(np.argmax(rho))
        if rho[at] > best[0]:
            best = (float(rho[at]), lag, int(starts[at]))
    return best


def one_point(x: Sound, low: int, high: int, first: int) -> tuple[float, int, int]:
    """The lag of the highest correlation at one point."""
    piece = x[first : first + high]
    ahead = x[first + low : first + 2 * high]
    found = correlate(ahead, piece, "valid")
    energy = np.convolve(ahead * ahead, np.ones(high, np.float32), "valid")
    rho = found / np.sqrt(np.maximum(energy * (piece @ piece), 1e-12))
    at = int(np.argmax(rho))
    return float(rho[at]), low + at, first


class Windows:
    """Random windows of active speech; `x` is the one of this round."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self.rng = np.random.default_rng(1)
        sound = read_speech(Path(rtmedia.data.__file__).parent / "conversation.wav").at(rate_hz, channels).block
        self.frames = WINDOW_MS * rate_hz // 1000
        self.store = np.resize(sound, (1 << 20, channels)).astype(np.float32)
        self.length = min(len(sound), len(self.store))
        self.next()

    def next(self) -> None:
        while True:
            self.at = int(self.rng.integers(self.length - self.frames))
            block = self.store[self.at : self.at + self.frames]
            if float(np.mean(block**2)) > 1e-5:
                break
        self.planar = np.ascontiguousarray(block.T).ravel()
        self.mono = np.ascontiguousarray(block[:, 0])


def costs(rate_hz: int, channels: int, rounds: int) -> list[Row]:
    """Each kernel, and the peers where there is one channel."""
    windows = Windows(rate_hz, channels)
    history, low, high = HISTORY_MS * rate_hz // 1000, int(0.0025 * rate_hz), int(0.015 * rate_hz)
    frames = windows.frames
    scratch, result = np.zeros(splice_scratch_size(frames * channels)), np.zeros(4)
    target = np.zeros(frames * channels, np.float32)
    a = np.ones((high, channels), np.float32)

    def found(direction: int) -> Callable[[], None]:
        def run() -> None:
            find_splice(
                windows.planar, history, frames - history, low, high, history, frames, direction, rate_hz, 1e-6, scratch, result
            )  # fmt: skip

        return run

    peers: dict[str, Callable[[], None]] = {
        "find_splice, remove": found(1),
        "find_splice, insert": found(-1),
        "splice_window": lambda: splice_window(windows.store, windows.at, frames, target),
        "crossfade of 15 ms": lambda: crossfade(a, a, a),
    }
    if channels == 1:
        peers["NumPy, every lag and start"] = lambda: void(everything(windows.mono.astype(float), low, high, history))
        peers["scipy correlate, one point"] = lambda: void(one_point(windows.mono, low, high, history))
    rows: dict[str, list[np.ndarray]] = {name: [] for name in peers}
    for turn in range(rounds + 1):
        windows.next()
        for name, times in interleaved(peers, rounds=1, warm_up=1).items():
            if turn:
                rows[name].append(times)
    times = {name: np.concatenate(each) for name, each in rows.items()}
    return compare(f"{rate_hz // 1000} kHz, {channels} channel(s)", times, "find_splice, remove", block_ms=10.0)


def void(_: object) -> None:
    """`interleaved` takes what a peer returns for a time."""


def quality(rate_hz: int, count: int) -> dict[str, object]:
    """How much of the best correlation each peer's choice has, in windows where that is speech worth splicing (0.5 and more)."""
    windows = Windows(rate_hz, 1)
    history, low, high = HISTORY_MS * rate_hz // 1000, int(0.0025 * rate_hz), int(0.015 * rate_hz)
    scratch, result = np.zeros(splice_scratch_size(windows.frames)), np.zeros(4)
    shares, good, single = [], [], []
    for _ in range(count):
        windows.next()
        best, _, _ = everything(windows.mono.astype(float), low, high, history)
        frames = windows.frames
        got = find_splice(windows.planar, history, frames - history, low, high, history, frames, 1, rate_hz, 0.0, scratch, result)
        if best < 0.5 or (got and result[3] <= 1e-6):  # silence is spliced anywhere
            continue
        rho = float(result[2]) if got else -1.0
        shares.append(rho / best)
        good.append((rho >= 0.9, best >= 0.9))
        single.append(one_point(windows.mono, low, high, history)[0] >= 0.9)
    return {
        "rate": f"{rate_hz // 1000} kHz",
        "windows": len(shares),
        "within 2 % of the best": round(float(np.mean(np.array(shares) >= 0.98)), 3),
        "rho >= 0.9": round(float(np.mean([g for g, _ in good])), 3),
        "best of all >= 0.9": round(float(np.mean([b for _, b in good])), 3),
        "one point >= 0.9": round(float(np.mean(single)), 3),
    }


def main() -> None:
    asked = arguments(__doc__ or "")
    settings = [(16_000, 1)] if asked.tiny else [(8_000, 1), (16_000, 1), (16_000, 2), (48_000, 1), (48_000, 2)]
    rows = [row for rate_hz, channels in settings for row in costs(rate_hz, channels, 3 if asked.tiny else 300)]
    facts = {"how near to the best of all": [quality(rate_hz, 5 if asked.tiny else 200) for rate_hz, channels in settings if channels == 1]}
    report(__doc__ or "", rows, asked, facts)


if __name__ == "__main__":
    main()
