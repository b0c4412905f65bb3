"""How do this resampler and others change the rate of a stream of 10 ms blocks: time, delay, and what is left beside the sound?

Every peer gets the same float32 mono blocks from Python, in the shape that it takes, one call for each, in turn with the others.
Whoever keeps blocks back to work in large pieces is quick at most calls and slow at a few, so the mean stands beside the median.
What is measured:

* delay: of the sound at the output, at worst: what a stream is kept back plus the shift of an impulse;
* SNR: everything but the tone, at 1 kHz and at 7/8 of the lower Nyquist frequency, and the level of the latter;
* image: where the rate rises, the mirror image of that tone; where it falls, what is left of the tone just as far above
  the Nyquist frequency, where it would land;
* noise SNR: white noise of the whole band against its exact band-limited self, which is what the transition band costs.

Peers that are not installed are named and left out: soxr, samplerate, PyAV (libswresample).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from _bench import Row, arguments, compare, interleaved, optional, report

from rtmedia.dsp.resample import make_resampler, resample
from rtmedia.dsp.varispeed import make_varispeed

Sound = npt.NDArray[np.float32]
Stream = Callable[[Sound], Sound]

PAIRS = ((16_000, 48_000), (48_000, 16_000), (16_000, 44_100), (8_000, 48_000), (44_100, 48_000))
OWN, HQ = "rtmedia", "soxr HQ"


def own(in_hz: int, out_hz: int) -> Stream:
    return make_resampler(in_hz, out_hz, 1, in_hz // 100).process


def own_kernel(in_hz: int, out_hz: int) -> Stream:
    """As the render room calls it: memory at known addresses."""
    made = make_resampler(in_hz, out_hz, 1, in_hz // 100)
    source, out = np.zeros(in_hz // 100, np.float32), np.zeros(made.max_out_frames, np.float32)
    arguments = (made.state_address, source.ctypes.data, len(source), out.ctypes.data)

    def call(block: Sound) -> Sound:
        source[:] = block
        return out[: resample(*arguments)]

    call.keep = made  # type: ignore[attr-defined]
    return call


def own_varispeed(in_hz: int, out_hz: int) -> Stream:
    return make_varispeed(in_hz, out_hz, 1, in_hz // 100).process


def shaped(peer: str, sound: Sound) -> Sound:
    """As the peer takes it: blocks have a column for each channel."""
    return sound[..., None] if peer in (OWN, f"{OWN}, varispeed") else sound


def swr(av: Any, in_hz: int, out_hz: int) -> Stream:
    made = av.AudioResampler(format="fltp", layout="mono", rate=out_hz)

    def call(block: Sound) -> Sound:
        frame = av.AudioFrame.from_ndarray(block[None, :], format="fltp", layout="mono")
        frame.sample_rate = in_hz
        found = [each.to_ndarray()[0] for each in made.resample(frame)]
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    return call


def makers() -> tuple[dict[str, Callable[[int, int], Stream]], list[str]]:
    """All that can be had here, by name, and what is missing."""
    made: dict[str, Callable[[int, int], Stream]] = {OWN: own, f"{OWN}, kernel": own_kernel, f"{OWN}, varispeed": own_varispeed}
    missing = []
    if (soxr := optional("soxr")) is not None:
        for quality in ("HQ", "VHQ", "MQ", "LQ", "QQ"):
            made[f"soxr {quality}"] = lambda i, o, q=quality: soxr.ResampleStream(i, o, 1, dtype="float32", quality=q).resample_chunk  # type: ignore[misc]
    else:
        missing.append("soxr")
    if (samplerate := optional("samplerate")) is not None:
        for kind in ("sinc_fastest", "sinc_medium", "sinc_best"):

            def resampler(i: int, o: int, kind: str = kind) -> Stream:
                state = samplerate.Resampler(kind, channels=1)
                return lambda block: state.process(block, o / i)  # type: ignore[no-any-return]

            made[f"samplerate {kind}"] = resampler
    else:
        missing.append("samplerate")
    if (av := optional("av")) is not None:
        made["PyAV swr"] = lambda i, o: swr(av, i, o)
    else:
        missing.append("PyAV")
    return made, missing


def through(stream: Stream, x: Sound, in_hz: int, out_hz: int) -> tuple[npt.NDArray[np.float64], float]:
    """The output of `x` block by block, and by how many seconds it lags behind the blocks that went in, at worst."""
    size = in_hz // 100
    pieces, frames, behind = [], 0, 0.0
    for start in range(0, len(x) - size + 1, size):
        piece = np.array(stream(x[start : start + size]), np.float64).reshape(-1)
        frames += len(piece)
        pieces.append(piece)
        if start > len(x) // 2:  # past the start, where some give nothing for long
            behind = max(behind, (start + size) / in_hz - frames / out_hz)
    return np.concatenate(pieces), behind


def fit(y: npt.NDArray[np.float64], f_hz: float, rate_hz: int) -> tuple[float, float]:
    """Amplitude of the tone in the middle of `y`, and the power of all else, in dB of full scale and of the tone."""
    y = y[len(y) // 3 : -len(y) // 6]
    turn = 2 * np.pi * f_hz / rate_hz * np.arange(len(y))
    basis = np.stack([np.sin(turn), np.cos(turn), np.ones(len(y))], axis=1)
    found = basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
    tone, rest = np.mean(found**2), np.mean((y - found) ** 2)
    return float(10 * np.log10(2 * tone + 1e-30)), float(10 * np.log10(tone / (rest + 1e-30)))


def level_at(y: npt.NDArray[np.float64], f_hz: float, rate_hz: int) -> float:
    """The highest level within 40 Hz, in dB of full scale."""
    y = y[len(y) // 3 : -len(y) // 6]
    window = np.blackman(len(y))
    levels = np.abs(np.fft.rfft(y * window)) / window.sum() * 2
    f = np.fft.rfftfreq(len(y), 1 / rate_hz)
    return float(20 * np.log10(levels[np.abs(f - f_hz) < 40].max() + 1e-15))


def noise_snr(name: str, stream: Stream, in_hz: int, out_hz: int, rng: np.random.Generator) -> float:
    """Of noise that fills the whole band of the input, against its own spectrum."""
    period, turns = in_hz // 2, 6
    spectrum = np.exp(2j * np.pi * rng.random(period // 2 + 1))
    spectrum[[0, -1]] = 0
    x = np.fft.irfft(spectrum) * np.sqrt(period) / 4
    y, _ = through(stream, shaped(name, np.tile(x, turns).astype(np.float32)), in_hz, out_hz)
    whole = out_hz // 2
    start = len(y) // whole * whole - 2 * whole
    got = np.fft.rfft(y[start : start + whole]) / (np.sqrt(period) / 4) * in_hz / out_hz
    count = min(len(got), len(spectrum)) - 1
    ratio = got[1:count] * np.conj(spectrum[1:count])
    # A delay is no error: first the shift of the strongest correlation, then the slope of what is left of the phase.
    shift = np.argmax(np.abs(np.fft.ifft(ratio, 1 << 20))) / (1 << 20)
    turned = ratio * np.exp(-2j * np.pi * shift * np.arange(len(ratio)))
    low = slice(0, len(turned) // 2)
    slope, offset = np.polyfit(np.arange(len(turned))[low], np.unwrap(np.angle(turned[low])), 1)
    turned = turned * np.exp(-1j * (slope * np.arange(len(turned)) + offset))
    error = np.sum(np.abs(turned - 1) ** 2) + np.sum(np.abs(got[count:]) ** 2)
    return float(10 * np.log10(len(turned) / error))


def quality(name: str, make: Callable[[int, int], Stream], in_hz: int, out_hz: int, seconds: float) -> dict[str, Any]:
    """One peer's sound."""
    n = np.arange(int(in_hz * seconds))
    nyquist = min(in_hz, out_hz) / 2

    def tone(f_hz: float) -> npt.NDArray[np.float64]:
        return through(make(in_hz, out_hz), shaped(name, np.sin(2 * np.pi * f_hz / in_hz * n).astype(np.float32)), in_hz, out_hz)[0]

    impulse = np.zeros(len(n), np.float32)
    impulse[len(n) // 4] = 1.0
    y, behind = through(make(in_hz, out_hz), shaped(name, impulse), in_hz, out_hz)
    weights = y**2
    shift = float(np.sum(weights * np.arange(len(y))) / np.sum(weights)) / out_hz - (len(n) // 4) / in_hz
    high = 0.875 * nyquist
    at_high = tone(high)
    level, snr_high = fit(at_high, high, out_hz)
    if out_hz > in_hz:
        place = in_hz - high
        image = level_at(at_high, min(place, out_hz - place), out_hz)  # above the output's own Nyquist frequency it is folded
    else:
        image = level_at(tone(2 * nyquist - high), high, out_hz)
    return {
        "peer": name,
        "delay ms": 1000 * (behind + shift),
        "SNR 1 kHz dB": fit(tone(1000.0), 1000.0, out_hz)[1],
        f"SNR {high / 1000:g} kHz dB": snr_high,
        "its level dB": level,
        "image dB": image,
        "noise SNR dB": noise_snr(name, make(in_hz, out_hz), in_hz, out_hz, np.random.default_rng(3)),
    }


def timed(name: str, peers: dict[str, Stream], in_hz: int, blocks: int) -> tuple[list[Row], list[dict[str, Any]]]:
    """All peers in turn, block by block."""
    sound = np.random.default_rng(1).uniform(-1, 1, (16, in_hz // 100)).astype(np.float32)

    def call(peer: str, stream: Stream) -> Callable[[], None]:
        blocks = list(shaped(peer, sound))
        turn = 0

        def one() -> None:
            nonlocal turn
            turn += 1
            stream(blocks[turn % 16])

        return one

    times = interleaved({peer: call(peer, stream) for peer, stream in peers.items()}, rounds=blocks, warm_up=min(100, blocks))
    baseline = HQ if HQ in times else OWN
    # The mean without the one in a hundred calls that another program interrupted, but with all bursts.
    means = {peer: float(np.sort(values)[: max(1, len(values) * 99 // 100)].mean()) for peer, values in times.items()}
    facts = [{"peer": peer, "mean us": value / 1000, "ratio": value / means[baseline]} for peer, value in means.items()]
    return compare(f"{name}, 10 ms", times, baseline, block_ms=10.0), facts


def main() -> None:
    asked = arguments(__doc__ or "")
    peers, missing = makers()
    rows: list[Row] = []
    facts: dict[str, list[dict[str, Any]]] = {}
    for in_hz, out_hz in PAIRS[:1] if asked.tiny else PAIRS:
        name = f"{in_hz / 1000:g} -> {out_hz / 1000:g} kHz"
        some = {key: make for key, make in peers.items() if not asked.tiny or key in (OWN, HQ)}
        facts[f"{name}: sound"] = [quality(key, make, in_hz, out_hz, 2.0) for key, make in some.items() if key != f"{OWN}, kernel"]
        blocks = 5 if asked.tiny else 2000
        # The two that are to be compared, alone: in the long row each is slowed by what its neighbour left in the caches.
        for what, chosen in ((f"{name}, the two alone", {OWN, HQ}), (name, set(peers))):
            streams = {key: make(in_hz, out_hz) for key, make in peers.items() if key in chosen}
            found, means = timed(what, streams, in_hz, blocks)
            rows += found
            facts[f"{what}: mean time of 10 ms, 99 % of the calls"] = means
    report(__doc__ or "", rows, asked, facts, missing=missing)


if __name__ == "__main__":
    main()
