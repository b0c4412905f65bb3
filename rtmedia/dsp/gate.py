"""A spectral gate: what stays at the noise floor is turned down, bin by bin.

Frames of 20 ms every 10 ms pass through a Fourier transform, `rtmedia.dsp.suppress` and back. The synthesis window covers only
the last hop and an *overlap* before it, and is divided by the analysis window: with all gains at 1 the
frames add up to the input exactly, and the delay is the overlap, not the frame.
Whole frames come and go through FIFOs inside the state, so the length of a call's block changes no bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numba import carray

from rtmedia.dsp.fft import fft_real, ifft_real, make_plan
from rtmedia.dsp.high_pass import PAST, coefficients, high_pass
from rtmedia.dsp.lanes import all8, load8, store8, sum8
from rtmedia.dsp.state import check_range, header_dtype, make_state
from rtmedia.dsp.suppress import COUNTERS, GUARD, IM, RE, ROW, ROWS, fresh_rows, suppress
from rtmedia.errors import ConfigError
from rtmedia.ports import Format
from rtmedia.rt.kernel import EFFECT_SIGNATURE, callback, kernel, pointer_void
from rtmedia.rt.memory import view_f4
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
_STEP_DB = np.float32(2.0)  # of the depth, per hop

HEADER = header_dtype(
    [
        *WISH_FIELDS,
        *TAKEN_FIELDS,
        ("hop_frames", "i8"),
        ("overlap_frames", "i8"),
        ("fft_frames", "i8"),
        ("row_frames", "i8"),  # the window's length, rounded up to whole vectors
        ("fill_frames", "i8"),  # of the hop that is being collected
        ("ready_frames", "i8"),  # finished, in the output FIFO
        ("read", "i8"),  # its first
        ("cleaned_total", "i8"),  # samples that were not finite
        ("starved_frames_total", "i8"),  # frames of silence put in because blocks were no whole hops
        ("depth_db", "f4"),
        ("target_db", "f4"),
        ("wet_frames", "i8"),  # of one hop: the cross-fade between the plain input (0) and the processed sound
    ],
    ("analysis", "synthesis", "plan", "frame", "work", "past", "dry", "sum", "out", "dry_out", "rows", "counters", "filter", "filtered"),
)


@kernel("void(i8, i8)")
def hop(state_address, channel):
    """One channel's hop is complete: filter, transform, suppress, transform back, add, hand a hop to the FIFO."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    size, overlap, fft, row = head.hop_frames, head.overlap_frames, head.fft_frames, head.row_frames
    # Views that begin where they are used: with plain indices from 0, the loops below become vectors.
    past_address = state_address + head.at_past + channel * row * 4
    past, past_new = view_f4(past_address, size), view_f4(past_address + size * 4, size)
    dry_address = state_address + head.at_dry + channel * row * 4
    dry, dry_new = view_f4(dry_address, size), view_f4(dry_address + size * 4, size)
    dry_late = view_f4(dry_address + (size - overlap) * 4, size)
    frame_address = state_address + head.at_frame
    filtered = state_address + head.at_filtered + channel * PAST * 8
    new = size * 4
    high_pass(state_address + head.at_filter, filtered, dry_address + new, state_address + head.at_work, past_address + new, size)

    analysis = state_address + head.at_analysis
    energy = all8(np.float32(0))
    for i in range(0, row * 4, 64):
        first, second = load8(past_address + i) * load8(analysis + i), load8(past_address + i + 32) * load8(analysis + i + 32)
        store8(frame_address + i, first)
        store8(frame_address + i + 32, second)
        energy = energy + (first * first + second * second)
    nothing = view_f4(frame_address + row * 4, fft - row)
    for i in range(fft - row):
        nothing[i] = np.float32(0)

    plan = state_address + head.at_plan
    rows = state_address + head.at_rows + channel * ROWS * ROW * 4
    counters = state_address + head.at_counters + channel * COUNTERS * 8
    re, im = rows + (RE * ROW + GUARD) * 4, rows + (IM * ROW + GUARD) * 4
    # Digital silence tells nothing about the room: learning from it would forget the noise.
    learn = sum8(energy) > np.float32(1.0)
    fft_real(plan, frame_address, re, im)
    suppress(rows, counters, fft // 2 + 1, learn, head.depth_db)
    ifft_real(plan, re, im, frame_address)

    # The frame's last hop and overlap, of which the overlap waits for the next frame.
    done_address, synthesis_address = frame_address + (size - overlap) * 4, state_address + head.at_synthesis
    done, synthesis = view_f4(done_address, size), view_f4(synthesis_address, size)
    later, synthesis_later = view_f4(done_address + size * 4, overlap), view_f4(synthesis_address + size * 4, overlap)
    total = view_f4(state_address + head.at_sum + channel * overlap * 4, overlap)
    place = (2 * size * channel + head.read + head.ready_frames) * 4
    out, dry_out = view_f4(state_address + head.at_out + place, size), view_f4(state_address + head.at_dry_out + place, size)
    for i in range(size):
        out[i] = done[i] * synthesis[i]
        dry_out[i] = dry_late[i]
    for i in range(overlap):
        out[i] += total[i]
        total[i] = later[i] * synthesis_later[i]
    for i in range(size):
        past[i] = past_new[i]
        dry[i] = dry_new[i]


@kernel("i8(i8, i8, i8, i8)")
def collect(block_address, channels, frames, place_address):
    """Copy every `channels`-th sample; what is not finite becomes 0. Returns how many were not."""
    block, place = view_f4(block_address, frames * channels), view_f4(place_address, frames)
    cleaned = 0
    for i in range(frames):
        value = block[i * channels]
        finite = value - value == np.float32(0)
        place[i] = value if finite else np.float32(0)
        cleaned += 0 if finite else 1
    return cleaned


@kernel("void(i8, i8, i8, i8)")
def hand_out(state_address, block_address, frames, channels):
    """Take `frames` frames out of the FIFO."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    size, wet = head.hop_frames, head.wet_frames
    wet_goal = size if head.target_db > np.float32(0) else 0
    for c in range(channels):
        place = (2 * size * c + head.read) * 4
        out, dry_out = view_f4(state_address + head.at_out + place, frames), view_f4(state_address + head.at_dry_out + place, frames)
        one = view_f4(block_address + 4 * c, (frames - 1) * channels + 1)
        wet = head.wet_frames
        if wet == wet_goal:
            source = out if wet else dry_out
            for i in range(frames):
                one[i * channels] = source[i]
            continue
        for i in range(frames):
            if wet < wet_goal:
                wet += 1
            elif wet > wet_goal:
                wet -= 1
            share = np.float32(wet) / np.float32(size)
            faded = dry_out[i] + share * (out[i] - dry_out[i])
            faded = faded if wet > 0 else dry_out[i]
            one[i * channels] = faded if wet < size else out[i]
    head.read += frames
    head.ready_frames -= frames
    head.wet_frames = wet


@callback(EFFECT_SIGNATURE)
def gate_process(block_address, frames, channels, state_address):
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    size = head.hop_frames
    if take_wishes(state_address):
        wish_db = head.taken[0]
        head.target_db = min(wish_db, np.float32(HIGH_DB)) if wish_db > np.float32(LOW_DB) else np.float32(LOW_DB)
    while frames > 0:
        count = min(frames, size - head.fill_frames)
        place = state_address + head.at_dry + (size + head.fill_frames) * 4
        for c in range(channels):
            head.cleaned_total += collect(block_address + 4 * c, channels, count, place + c * head.row_frames * 4)
        head.fill_frames += count
        if head.fill_frames == size:
            head.fill_frames = 0
            for c in range(channels):
                for fifo in (state_address + head.at_out, state_address + head.at_dry_out):
                    front = view_f4(fifo + 2 * size * c * 4, head.ready_frames)
                    waiting = view_f4(fifo + (2 * size * c + head.read) * 4, head.ready_frames)
                    for i in range(head.ready_frames):
                        front[i] = waiting[i]
            head.read = 0
            for c in range(channels):
                hop(state_address, c)
            head.ready_frames += size
            head.depth_db += min(max(head.target_db - head.depth_db, -_STEP_DB), _STEP_DB)
        missing = max(0, count - head.ready_frames)
        head.starved_frames_total += missing
        block = view_f4(block_address, missing * channels)
        for i in range(missing * channels):
            block[i] = np.float32(0)
        block_address += missing * channels * 4
        hand_out(state_address, block_address, count - missing, channels)
        block_address += (count - missing) * channels * 4
        frames -= count


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
        row = -(-2 * size // 16) * 16
        analysis, synthesis = windows(size, overlap)
        plan = make_plan(FFT_LENGTH[rate])
        arrays: dict[str, npt.NDArray[Any]] = {
            "analysis": np.pad(analysis * _FULL_SCALE, (0, row - 2 * size)).astype(np.float32),
            "synthesis": (synthesis / _FULL_SCALE).astype(np.float32),
            "plan": np.frombuffer(plan.tobytes(), np.uint8),
            "frame": np.zeros(FFT_LENGTH[rate], np.float32),
            "work": np.zeros(size, np.float64),
            "past": np.zeros((channels, row), np.float32),
            "dry": np.zeros((channels, row), np.float32),
            "sum": np.zeros((channels, overlap), np.float32),
            "out": np.zeros((channels, 2 * size), np.float32),
            "dry_out": np.zeros((channels, 2 * size), np.float32),
            "rows": fresh_rows(channels, FFT_LENGTH[rate] // 2 + 1),
            "counters": np.zeros((channels, COUNTERS), np.int64),
            "filter": coefficients(HIGH_PASS_HZ, rate),
            "filtered": np.zeros((channels, PAST), np.float64),
        }
        state = make_state(HEADER, arrays)
        waiting = size - 1 if self.any_block else 0
        lengths = {"hop": size, "overlap": overlap, "fft": FFT_LENGTH[rate], "row": row, "ready": waiting}
        for name, frames in lengths.items():
            state[f"{name}_frames"] = frames
        state["depth_db"] = state["target_db"] = self.depth_db
        state["wet_frames"] = size if self.depth_db > 0 else 0
        state["wish"][0, : len(self.values())] = self.values()
        return Instance(gate_process, state, format, max_frames, latency_frames=overlap + waiting)


def windows(size: int, overlap: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Analysis window over two hops, synthesis window over the last hop and the overlap; their product overlaps to 1."""
    fall = np.cos(np.pi / 2 * (np.arange(overlap) + 0.5) / overlap)
    analysis = np.concatenate([np.sin(np.pi / 2 * (np.arange(size) + 0.5) / size), np.ones(size - overlap), fall])
    product = np.concatenate([fall[::-1] ** 2, np.ones(size - overlap), fall**2])
    return analysis, product / analysis[-len(product) :]
