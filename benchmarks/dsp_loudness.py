"""How exactly is loudness measured, how fast does the normaliser bring speech to its target, and what do both cost?

The embedded conversation is measured beside pyloudnorm, with its own weighting and with De Man's, whence the recommendation's
coefficients follow. Then it comes in at -40 to -10 LUFS, clean and in noise 20 dB below, and goes through the normaliser: from
when on is the gain within 2 dB of the right one, how loud is the sound then, and its loudest 3 s? Beside it WebRTC's gain control, told
the same target in dB of full scale, which limits as well. Times are for 10 ms, interleaved; the unit is a plain second-order filter: to
weight the sound, loudness needs two. Peers that are not installed are left out and named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from _bench import Row, compare, interleaved, optional, parser_for, report
from _speech import VOICES, prompts

from rtmedia.dsp.meters import Meter, loudness
from rtmedia.dsp.normalizer import LoudnessNormalizer
from rtmedia.ports import RATES_HZ, Format
from rtmedia.rt.kernel import call_effect, kernel, pointer_f4, pointer_f8
from rtmedia.rt.later import carray
from rtmedia.sim.script import conversation

Sound = npt.NDArray[np.float32]
Gains = npt.NDArray[np.float64]
LEVELS_LUFS = (-40.0, -30.0, -23.0, -16.0, -10.0)
RATE_HZ = 16_000
TARGET_LUFS = LoudnessNormalizer().target_lufs


def speech(rate_hz: int, seconds: float, channels: int = 1) -> Sound:
    return np.resize(conversation()[0].at(rate_hz, channels).block, (int(seconds * rate_hz), channels)).astype(np.float32)


def accuracy(rate_hz: int, channels: int, seconds: float, pyloudnorm: Any) -> dict[str, Any]:
    """Integrated loudness of one programme, and how far the others are from the offline one."""
    x = speech(rate_hz, seconds, channels)
    found = loudness(x, rate_hz).integrated_lufs
    live = Meter().make(Format(rate_hz, channels), rate_hz // 100)
    live.process(x)
    row: dict[str, Any] = {"rate_hz": rate_hz, "channels": channels, "lufs": round(found, 3)}
    row["live - offline"] = round(float(live.state["integrated_lufs"][0]) - found, 4) + 0.0  # no -0
    for name, weighting in (("De Man's", "DeMan"), ("its own", "K-weighting")):
        other = pyloudnorm.Meter(rate_hz, filter_class=weighting).integrated_loudness(x.astype(float)) if pyloudnorm else float("nan")
        row[f"pyloudnorm, {name} - offline"] = round(other - found, 4) + 0.0 if pyloudnorm else None
    return row


def ours(x: Sound) -> tuple[Sound, Gains]:
    """The output, and the gain in dB after each 10 ms."""
    made = LoudnessNormalizer().make(Format(RATE_HZ, 1), 160)
    y, gains = x.copy(), np.empty(len(x) // 160)
    for i in range(len(gains)):
        made.process(y[i * 160 : (i + 1) * 160])
        gains[i] = made.state["gain_db"][0]
    return y, gains


def webrtc(module: Any) -> Callable[[Sound], tuple[Sound, None]]:
    """WebRTC's adaptive digital gain control. It tells no gain."""

    def run(x: Sound) -> tuple[Sound, None]:
        made = module.AudioProcessor(int(-TARGET_LUFS), 0)
        pcm = np.clip(np.round(x[:, 0] * 32768), -32768, 32767).astype(np.int16)
        out = [made.Process10ms(pcm[i : i + 160].tobytes()).audio for i in range(0, len(pcm) - 159, 160)]
        return np.frombuffer(b"".join(out), np.int16).astype(np.float32)[:, None] / 32768, None

    return run


def convergence(name: str, run: Callable[[Sound], tuple[Sound, Gains | None]], clean: Sound) -> list[dict[str, Any]]:
    """One row for each level, clean and noisy."""
    rows = []
    clean_lufs = loudness(clean, RATE_HZ).integrated_lufs
    noise = np.random.default_rng(1).standard_normal(clean.shape).astype(np.float32)
    noise *= 10 ** ((clean_lufs - 20 - loudness(noise, RATE_HZ).integrated_lufs) / 20)
    for noisy in (False, True):
        for level_lufs in LEVELS_LUFS:
            x = ((clean + noise if noisy else clean) * 10 ** ((level_lufs - clean_lufs) / 20)).astype(np.float32)
            y, gains = run(x)
            late = np.zeros(0) if gains is None else np.nonzero(np.abs(gains - (TARGET_LUFS - level_lufs)) > 2.0)[0]
            middle = min(10 * RATE_HZ, len(y) // 2)
            rows.append(
                {
                    "gain control": name,
                    "in_lufs": level_lufs,
                    "noise": "-20 dB" if noisy else "none",
                    "gain_within_2_db_s": None if gains is None else (late.max(initial=-1) + 1) / 100,
                    "2_to_10_s_lufs": round(loudness(y[2 * RATE_HZ : middle], RATE_HZ).integrated_lufs, 2),
                    "from_10_s_lufs": round(loudness(y[middle:], RATE_HZ).integrated_lufs, 2),
                    "loudest_3_s_lufs": round(float(loudness(y[2 * RATE_HZ :], RATE_HZ).short_term_lufs.max(initial=-120.0)), 1),
                }
            )
    return rows


@kernel("void(i8, i8, i8)")
def biquad(memory_address, block_address, samples):
    """One plain second-order filter in place, double precision: the unit of cost."""
    memory = carray(pointer_f8(memory_address), 7)
    block = carray(pointer_f4(block_address), samples)
    b0, b1, b2, a1, a2, z1, z2 = memory[0], memory[1], memory[2], memory[3], memory[4], memory[5], memory[6]
    for i in range(samples):
        x = np.float64(block[i])
        y = b0 * x + z1
        z1 = b1 * x - a1 * y + z2
        z2 = b2 * x - a2 * y
        block[i] = np.float32(y)
    memory[5], memory[6] = z1, z2


def ignore(_: object) -> None:
    """A peer that returns a number has timed itself; these have not."""


@kernel("void(i8, i8, i8, i8, i8, i8)")
def in_a_row(function, block, frames, channels, state, blocks):
    """Call an effect for block after block, as a compiled loop does."""
    for i in range(blocks):
        call_effect(function, block + i * frames * channels * 4, frames, channels, state)


def per_block(rate_hz: int, channels: int, rounds: int) -> list[Row]:
    """Blocks of 10 ms, one second of them at a time."""
    frames = rate_hz // 100
    sound = speech(rate_hz, 10, channels).reshape(10, rate_hz, channels)
    work = sound[0].copy()
    memory = np.array([0.9, -1.8, 0.9, -1.8, 0.82, 0.0, 0.0])
    format = Format(rate_hz, channels)
    made = {"normaliser": LoudnessNormalizer().make(format, frames), "meter": Meter().make(format, frames)}
    sections = optional("scipy.signal").butter(4, 0.1, output="sos") if optional("scipy.signal") else None

    def call(run: Callable[[], object]) -> Callable[[], None]:
        turn = 0

        def each() -> None:
            nonlocal turn
            np.copyto(work, sound[turn % len(sound)])
            turn += 1
            run()

        return each

    passed = (memory.ctypes.data, work.ctypes.data, rate_hz * channels)
    peers = {"one plain biquad": call(lambda: biquad(*passed))}
    for name, each in made.items():
        where = (each.address, work.ctypes.data, frames, channels, each.state_address, 100)
        peers[name] = call(lambda where=where: in_a_row(*where))  # type: ignore[misc]
    if sections is not None:
        peers["scipy sosfilt, two sections, 1 s a call"] = call(lambda: optional("scipy.signal").sosfilt(sections, work, axis=0))
    times = interleaved(peers, rounds=rounds, operations=100, warm_up=min(20, rounds))
    return compare(f"{rate_hz // 1000} kHz, {'mono' if channels == 1 else 'stereo'}, 10 ms", times, "one plain biquad", block_ms=10.0)


def offline(rate_hz: int, seconds: int, rounds: int, pyloudnorm: Any) -> list[Row]:
    """A whole recording."""
    x = speech(rate_hz, seconds)
    peers: dict[str, Callable[[], Any]] = {"rtmedia.dsp.meters.loudness": lambda: ignore(loudness(x, rate_hz))}
    if pyloudnorm:
        meter = pyloudnorm.Meter(rate_hz)
        double = x.astype(float)
        peers["pyloudnorm, integrated only"] = lambda: ignore(meter.integrated_loudness(double))
    times = interleaved(peers, rounds=rounds, operations=100 * seconds, warm_up=1)
    return compare(f"a recording of {seconds} s at {rate_hz} Hz, time for 10 ms of it", times, "rtmedia.dsp.meters.loudness", block_ms=10.0)


def main() -> None:
    parser = parser_for(__doc__ or "")
    parser.add_argument(
        "--voice", nargs="*", default=[], choices=sorted(VOICES), help="also human speech: telephone prompts in these languages"
    )
    asked = parser.parse_args()
    pyloudnorm, webrtc_noise_gain = optional("pyloudnorm"), optional("webrtc_noise_gain")
    missing = [name for name, found in (("pyloudnorm", pyloudnorm), ("webrtc-noise-gain", webrtc_noise_gain)) if found is None]
    seconds, rounds = (6, 3) if asked.tiny else (60, 400)
    rates = (RATE_HZ,) if asked.tiny else RATES_HZ
    gained = []
    for name, clean in [("", speech(RATE_HZ, seconds)), *((f", {voice}", prompts(voice, seconds, 1)[:, None]) for voice in asked.voice)]:
        gained += convergence(f"normaliser{name}", ours, clean)
        if webrtc_noise_gain:
            gained += convergence(f"WebRTC{name}", webrtc(webrtc_noise_gain), clean)
    facts = {
        f"integrated loudness of {seconds} s of speech, LU": [accuracy(r, c, seconds, pyloudnorm) for r in rates for c in (1, 2)],
        f"gain towards {TARGET_LUFS:g} LUFS": gained,
    }
    rows = [row for rate_hz in (16_000, 48_000) for channels in (1, 2) for row in per_block(rate_hz, channels, rounds)]
    for rate_hz in (16_000, 48_000):
        rows += offline(rate_hz, seconds, 1 if asked.tiny else 15, pyloudnorm)
    report(__doc__ or "", rows, asked, facts, missing=missing)


if __name__ == "__main__":
    main()
