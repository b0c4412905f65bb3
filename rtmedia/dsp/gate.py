"""A spectral gate: what stays at the noise floor is turned down, bin by bin.

Frames of 20 ms every 10 ms pass through a Fourier transform, `rtmedia.dsp.suppress` and back. The synthesis window covers only
the last hop and an *overlap* before it, and is divided by the analysis window: with all gains at 1 the
frames add up to the input exactly, and the delay is the overlap, not the frame.
Whole frames come and go through FIFOs inside the state, so the length of a call's block changes no bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numba import carray

from rtmedia.dsp.fft import fft_real, ifft_real, make_plan
from rtmedia.dsp.simd import dot_f4
from rtmedia.dsp.state import check_range, header_dtype, make_state
from rtmedia.dsp.suppress import COUNTERS, GUARD, IM, RE, ROW, ROWS, fresh_rows, suppress
from rtmedia.errors import ConfigError
from rtmedia.ports import Format
from rtmedia.rt.kernel import EFFECT_SIGNATURE, callback, kernel, pointer_void
from rtmedia.rt.memory import view_block, view_f4, view_f8
from rtmedia.rt.plugin import TAKEN_FIELDS, WISH_FIELDS, Instance, take_wishes
from rtmedia.units import frames_of_ms

HOP_MS = 10.0
#: Overlap in ms by the name of the latency.
OVERLAP_MS = {"10ms": 10.0, "6ms": 6.0}
#: Transform lengths: the frame padded to about 30 Hz a bin, in factors of 2 and 3.
FFT_LENGTH = {8_000: 256, 16_000: 512, 24_000: 768, 32_000: 1024, 44_100: 1536, 48_000: 1536}
LOW_DB, HIGH_DB = 0.0, 30.0
HIGH_PASS_HZ = 80.0

_FULL_SCALE = 32768.0
#: 24 dB over full scale: more cannot be sound, and would be remembered for long.
_MOST = 16.0
_STEP_DB = np.float32(2.0)  # of the depth, per hop

HEADER = header_dtype(
    [
        *WISH_FIELDS,
        *TAKEN_FIELDS,
        ("hop_frames", "i8"),
        ("overlap_frames", "i8"),
        ("fft_frames", "i8"),
        ("fill_frames", "i8"),  # of the hop that is being collected
        ("ready_frames", "i8"),  # finished, in the output FIFO
        ("read", "i8"),  # its first
        ("cleaned_total", "i8"),  # samples that were not finite
        ("starved_frames_total", "i8"),  # frames of silence put in because blocks were no whole hops
        ("depth_db", "f4"),
        ("target_db", "f4"),
        ("wet_frames", "i8"),  # of one hop: the cross-fade between the plain input (0) and the processed sound
        ("b0", "f8"),  # high-pass: b1 = -2 b0, b2 = b0
        ("a1", "f8"),
        ("a2", "f8"),
    ],
    ("analysis", "synthesis", "plan", "frame", "past", "dry_past", "sum", "out", "dry_out", "rows", "counters", "high_pass"),
)


@kernel("void(i8, i8)")
def hop(state_address, channel):
    """One channel's frame is complete: transform, suppress, transform back, add, hand a hop to the FIFO."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    size, overlap, fft = head.hop_frames, head.overlap_frames, head.fft_frames
    window, tail = 2 * size, size + overlap
    past_address = state_address + head.at_past + channel * window * 4
    past, dry_past = view_f4(past_address, window), view_f4(state_address + head.at_dry_past + channel * window * 4, window)
    analysis, synthesis = view_f4(state_address + head.at_analysis, window), view_f4(state_address + head.at_synthesis, tail)
    frame_address = state_address + head.at_frame
    frame = view_f4(frame_address, fft)
    for i in range(window):
        frame[i] = past[i] * analysis[i]
    for i in range(window, fft):
        frame[i] = np.float32(0)

    plan = state_address + head.at_plan
    rows = state_address + head.at_rows + channel * ROWS * ROW * 4
    counters = state_address + head.at_counters + channel * COUNTERS * 8
    re, im = rows + (RE * ROW + GUARD) * 4, rows + (IM * ROW + GUARD) * 4
    # Digital silence tells nothing about the room: learning from it would forget the noise.
    learn = dot_f4(frame_address, frame_address, fft) > np.float32(1.0)
    fft_real(plan, frame_address, re, im)
    suppress(rows, counters, fft // 2 + 1, learn, head.depth_db)
    ifft_real(plan, re, im, frame_address)

    total = view_f4(state_address + head.at_sum + channel * tail * 4, tail)
    first = window - tail
    for i in range(tail):
        total[i] += frame[first + i] * synthesis[i]
    out = view_f4(state_address + head.at_out + channel * window * 4, window)
    dry_out = view_f4(state_address + head.at_dry_out + channel * window * 4, window)
    place = head.read + head.ready_frames
    for i in range(size):
        place = place if place < window else place - window
        out[place] = total[i]
        dry_out[place] = dry_past[first + i]
        place += 1
    for i in range(overlap):
        total[i] = total[size + i]
    for i in range(overlap, tail):
        total[i] = np.float32(0)
    for i in range(size):
        past[i] = past[size + i]
        dry_past[i] = dry_past[size + i]


@callback(EFFECT_SIGNATURE)
def gate_process(block_address, frames, channels, state_address):
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    block = view_block(block_address, frames, channels)
    size = head.hop_frames
    window = 2 * size
    past = view_block(state_address + head.at_past, channels, window)
    dry_past = view_block(state_address + head.at_dry_past, channels, window)
    out = view_block(state_address + head.at_out, channels, window)
    dry_out = view_block(state_address + head.at_dry_out, channels, window)
    high_pass = view_f8(state_address + head.at_high_pass, channels * 2)
    b0, a1, a2 = head.b0, head.a1, head.a2

    if take_wishes(state_address):
        wish_db = head.taken[0]
        head.target_db = min(wish_db, np.float32(HIGH_DB)) if wish_db > np.float32(LOW_DB) else np.float32(LOW_DB)
    wet_goal = size if head.target_db > np.float32(0) else 0
    start = 0
    while start < frames:
        count = min(frames - start, size - head.fill_frames)
        place = size + head.fill_frames
        for c in range(channels):
            z1, z2 = high_pass[2 * c], high_pass[2 * c + 1]
            for i in range(count):
                value = block[start + i, c]
                if value - value != np.float32(0):  # NaN or infinite
                    value = np.float32(0)
                    head.cleaned_total += 1
                dry_past[c, place + i] = value
                x = min(max(np.float64(value), -_MOST), _MOST)
                y = b0 * x + z1
                z1 = -2.0 * b0 * x - a1 * y + z2
                z2 = b0 * x - a2 * y
                past[c, place + i] = np.float32(y)
            high_pass[2 * c] = z1 if abs(z1) > 1e-30 else 0.0
            high_pass[2 * c + 1] = z2 if abs(z2) > 1e-30 else 0.0
        head.fill_frames += count
        if head.fill_frames == size:
            for c in range(channels):
                hop(state_address, c)
            head.fill_frames = 0
            head.ready_frames += size
            head.depth_db += min(max(head.target_db - head.depth_db, -_STEP_DB), _STEP_DB)
        read, wet = head.read, head.wet_frames
        missing = max(0, count - head.ready_frames)
        for i in range(missing):
            for c in range(channels):
                block[start + i, c] = np.float32(0)
        for i in range(missing, count):
            if wet < wet_goal:
                wet += 1
            elif wet > wet_goal:
                wet -= 1
            share = np.float32(wet) / np.float32(size)
            for c in range(channels):
                dry, done = dry_out[c, read], out[c, read]
                if wet == size:
                    block[start + i, c] = done
                elif wet == 0:
                    block[start + i, c] = dry
                else:
                    block[start + i, c] = dry + share * (done - dry)
            read = read + 1 if read + 1 < window else 0
        head.read, head.wet_frames = read, wet
        head.ready_frames -= count - missing
        head.starved_frames_total += missing
        start += count


@dataclass(frozen=True)
class SpectralGate:
    """Turn down steady noise, in and between words.

    Parameters
    ----------
    depth_db : float
        How far noise is turned down, 0 to 30; from 28 on what is left begins to twitter. 0 passes the sound on unchanged.
    latency : str
        ``"10ms"``, or ``"6ms"`` for a little less sound quality.
    any_block : bool
        True: blocks of any length. False: every block is a whole number of hops (10 ms), as the engine's are, which saves waiting for
        a hop to fill up.

    Notes
    -----
    Thread: the instance belongs to one.   Real-time: yes.
    Latency: the overlap (10 or 6 ms), and one hop less a frame where `any_block`. Channels are treated apart. Below 80 Hz is cut.
    The noise is known after 80 ms and followed within 0.5 to 1.6 s. A change of `depth_db` goes by 2 dB a hop.
    With ``any_block=False`` a block of another length costs a gap once (``starved_frames_total``), then all goes on, later.
    """

    depth_db: float = 26.0
    latency: Literal["10ms", "6ms"] = "10ms"
    any_block: bool = True

    def __post_init__(self) -> None:
        check_range("SpectralGate", "depth_db", self.depth_db, LOW_DB, HIGH_DB)
        if self.latency not in OVERLAP_MS:
            raise ConfigError(f"SpectralGate: latency is {self.latency!r}; choose one of {sorted(OVERLAP_MS)}")

    @property
    def name(self) -> str:
        return "spectral_gate"

    def values(self) -> tuple[float, ...]:
        """What ``update`` takes: ``(depth_db,)``."""
        return (self.depth_db,)

    def steady(self) -> SpectralGate:
        """The same gate for a caller whose every block is exactly 10 ms, as an engine's: one hop less of latency."""
        return replace(self, any_block=False)

    def make(self, format: Format, max_frames: int) -> Instance:
        """An instance for `format`, whose rate must be one of `FFT_LENGTH`."""
        rate, channels = format.rate_hz, format.channels
        if rate not in FFT_LENGTH:
            raise ConfigError(f"SpectralGate: rate_hz is {rate}; it is built for {sorted(FFT_LENGTH)}: resample before it")
        size, overlap = frames_of_ms(HOP_MS, rate), frames_of_ms(OVERLAP_MS[self.latency], rate)
        window = 2 * size
        analysis, synthesis = windows(size, overlap)
        plan = make_plan(FFT_LENGTH[rate])
        arrays: dict[str, npt.NDArray[Any]] = {
            "analysis": (analysis * _FULL_SCALE).astype(np.float32),
            "synthesis": (synthesis / _FULL_SCALE).astype(np.float32),
            "plan": np.frombuffer(plan.tobytes(), np.uint8),
            "frame": np.zeros(FFT_LENGTH[rate], np.float32),
            "past": np.zeros((channels, window), np.float32),
            "dry_past": np.zeros((channels, window), np.float32),
            "sum": np.zeros((channels, size + overlap), np.float32),
            "out": np.zeros((channels, window), np.float32),
            "dry_out": np.zeros((channels, window), np.float32),
            "rows": fresh_rows(channels),
            "counters": np.zeros((channels, COUNTERS), np.int64),
            "high_pass": np.zeros((channels, 2), np.float64),
        }
        state = make_state(HEADER, arrays)
        waiting = size - 1 if self.any_block else 0
        for name, value in (("hop_frames", size), ("overlap_frames", overlap), ("fft_frames", FFT_LENGTH[rate]), ("ready_frames", waiting)):
            state[name] = value
        state["depth_db"] = state["target_db"] = self.depth_db
        state["wet_frames"] = size if self.depth_db > 0 else 0
        state["b0"], state["a1"], state["a2"] = butterworth_high_pass(HIGH_PASS_HZ, rate)
        state["wish"][0, : len(self.values())] = self.values()
        return Instance(gate_process, state, format, max_frames, latency_frames=overlap + waiting)


def windows(size: int, overlap: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Analysis window over two hops, synthesis window over the last hop and the overlap; their product overlaps to 1."""
    fall = np.cos(np.pi / 2 * (np.arange(overlap) + 0.5) / overlap)
    analysis = np.concatenate([np.sin(np.pi / 2 * (np.arange(size) + 0.5) / size), np.ones(size - overlap), fall])
    product = np.concatenate([fall[::-1] ** 2, np.ones(size - overlap), fall**2])
    return analysis, product / analysis[-len(product) :]


def butterworth_high_pass(corner_hz: float, rate_hz: int) -> tuple[float, float, float]:
    """``b0, a1, a2`` of the second-order high-pass by the bilinear transform; ``b1 = -2 b0``, ``b2 = b0``."""
    w = 2 * math.pi * corner_hz / rate_hz
    alpha = math.sin(w) / math.sqrt(2)
    a0 = 1 + alpha
    return (1 + math.cos(w)) / 2 / a0, -2 * math.cos(w) / a0, (1 - alpha) / a0
