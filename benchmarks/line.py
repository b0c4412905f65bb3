"""What does the whole compiled line cost for each 10 ms of a 16 kHz stream?

Decode, jitter buffer, effects, resampler, gain, limiter and the device's call, driven tick by tick in simulated time
through the functions that the engine's threads run: on a perfect network and on a jittery one that loses and overtakes,
without effects and with the default ones, for a device at 16 and at 48 kHz. Beside it, in the same run: the least that
any line can cost, a plain copy of the same octets in and out; and what is often done instead, a Python callback that
takes packets from a queue and converts them (and does none of the rest: no jitter buffer, no concealment, no limiter;
what PyAudio itself adds to each call, and waiting for the interpreter, come on top of it). The Python that a received packet
meets before all this is in `receive.py`.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

import numpy as np
from _bench import Row, arguments, compare, interleaved, report

from rtmedia.codec import codec_named
from rtmedia.ports import EPOCH_SHIFT, FLAG_NEW_EPOCH, Effect
from rtmedia.presets import LIVE, preset
from rtmedia.rooms.doorways import MESSAGE_DTYPE
from rtmedia.rooms.line import Line
from rtmedia.rooms.walk import deliver, tick
from rtmedia.rt.clock import now_ns
from rtmedia.rt.kernel import copy_octets, kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_i8
from rtmedia.sim.script import conversation
from rtmedia.units import NS_PER_MS, NS_PER_S

try:
    from scipy.signal import resample_poly
except ImportError:  # the callback at 48 kHz is left out
    resample_poly = None

RATE_HZ = 16_000
BLOCK_MS = 10.0
TICK_NS = 10 * NS_PER_MS
START_NS = 1_000 * NS_PER_S
PACKET_FRAMES = 320
PACKET_OCTETS = 2 * PACKET_FRAMES
SEGMENT = 100  # ticks of one peer before the next has its turn
COPIES = 16  # a copy is shorter than reading the clock

_RECORD_OCTETS = MESSAGE_DTYPE.itemsize


@kernel("i8(i8, i8, i8, i8, i8, i8, i8, i8, i8, i8)")
def timed_walk(decode, render, play, messages, payloads, out, frames, ticks, at_ns, spent):
    """Ticks through the line, the nanoseconds of each at address `spent`; returns how many messages were delivered.

    `messages` end with one that never arrives.
    """
    times = view_i8(spent, ticks)
    taken = 0
    for i in range(ticks):
        now = at_ns + (i + 1) * 10_000_000
        before = now_ns()
        while carray(pointer_void(messages + taken * _RECORD_OCTETS), 1, MESSAGE_DTYPE)[0].arrival_ns <= now:
            deliver(decode, messages + taken * _RECORD_OCTETS, payloads + taken * 640)
            taken += 1
        tick(play, decode, render, out, frames, now)
        times[i] = now_ns() - before
    return taken


@kernel("void(i8, i8, i8, i8, i8, i8, i8, i8)")
def timed_copies(source, store, out, octets_in, octets_out, times, ticks, spent):
    """What must be moved at least: the octets received into a store, the octets played out of it; `times` times a tick."""
    taken = view_i8(spent, ticks)
    for i in range(ticks):
        before = now_ns()
        for k in range(times):
            copy_octets(store + k * octets_in, source + k * octets_in, octets_in)
            copy_octets(out, store + k * octets_in, octets_out)
        taken[i] = (now_ns() - before) // times


def stream(seconds: int, jittery: bool) -> tuple[np.ndarray, bytes]:
    """Records and octets of 20 ms packets of the embedded conversation, in the order of arrival."""
    block = np.resize(conversation()[0].at(RATE_HZ, 1).block, (seconds * RATE_HZ, 1))
    octets = np.frombuffer(codec_named("pcm_s16le").encode(block), np.uint8).reshape(-1, PACKET_OCTETS)
    count = len(octets)
    rng = np.random.default_rng(1)
    delay_ns = rng.exponential(15.0 * NS_PER_MS, count) if jittery else np.zeros(count)
    due_ns = START_NS + np.arange(count) * 20 * NS_PER_MS + delay_ns.astype(np.int64)
    kept = np.flatnonzero(rng.random(count) >= 0.02) if jittery else np.arange(count)
    order = kept[np.argsort(due_ns[kept], kind="stable")]
    records = np.zeros(len(order) + 1, MESSAGE_DTYPE)
    records["arrival_ns"][:-1], records["seq"][:-1] = due_ns[order], order
    records["media_time_ns"][:-1], records["length"] = order * 20 * NS_PER_MS, PACKET_OCTETS
    records["flags"][0] = FLAG_NEW_EPOCH | 1 << EPOCH_SHIFT
    records["arrival_ns"][-1] = np.iinfo(np.int64).max
    return records, octets[order].tobytes()


Segment = Callable[[], np.ndarray]


def line_peer(device_rate_hz: int, effects: tuple[Effect, ...], records: np.ndarray, octets: bytes) -> Segment:
    """A line that goes on by `SEGMENT` ticks at each call."""
    line = Line(rate_hz=RATE_HZ, channels=1, device_rate_hz=device_rate_hz, codec=codec_named("pcm_s16le"), effects=effects)
    held = np.frombuffer(octets, np.uint8)
    out = np.zeros((device_rate_hz // 100, 1), np.float32)
    spent = np.zeros(SEGMENT, np.int64)
    rooms = (line.decode.address, line.render.address, line.play.address)
    at, clock_ns = 0, START_NS

    def segment() -> np.ndarray:
        nonlocal at, clock_ns
        messages = (records.ctypes.data + at * records.itemsize, held.ctypes.data + at * PACKET_OCTETS)
        at += timed_walk(*rooms, *messages, out.ctypes.data, len(out), SEGMENT, clock_ns, spent.ctypes.data)
        clock_ns += SEGMENT * TICK_NS
        for ring in (line.render.ticks, line.render.ledger, line.play.marks):  # as the control thread does
            ring.read(4096)
        return spent

    return segment


def copy_peer(device_rate_hz: int, octets: bytes) -> Segment:
    octets_in, octets_out = RATE_HZ // 100 * 2, device_rate_hz // 100 * 4
    source = np.frombuffer(octets, np.uint8)
    store, out = np.zeros(COPIES * octets_in + octets_out, np.uint8), np.zeros(octets_out, np.uint8)
    spent = np.zeros(SEGMENT, np.int64)

    def segment() -> np.ndarray:
        addresses = (source.ctypes.data, store.ctypes.data, out.ctypes.data)  # here: the closure holds the arrays
        timed_copies(*addresses, octets_in, octets_out, COPIES, SEGMENT, spent.ctypes.data)
        return spent

    return segment


def python_peer(device_rate_hz: int, octets: bytes) -> Segment:
    """The callback as it is usually written: queue, numpy, bytes. The packets are put in before, untimed."""
    packets: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    rest = np.zeros(0, np.float32)
    spent = np.zeros(SEGMENT, np.int64)
    up = device_rate_hz // RATE_HZ
    at = 0

    def callback(in_data: bytes | None, frame_count: int, time_info: dict[str, float], status: int) -> tuple[bytes, int]:
        nonlocal rest
        while len(rest) < frame_count:
            try:
                packet = packets.get_nowait()
            except queue.Empty:
                rest = np.concatenate([rest, np.zeros(frame_count - len(rest), np.float32)])
                break
            samples = np.frombuffer(packet, np.int16).astype(np.float32) / 32768.0
            if up > 1:
                samples = resample_poly(samples, up, 1).astype(np.float32)
            rest = np.concatenate([rest, samples])
        out, rest = rest[:frame_count], rest[frame_count:]
        return out.tobytes(), 0

    times = {"current_time": 0.0, "input_buffer_adc_time": 0.0, "output_buffer_dac_time": 0.0}

    def segment() -> np.ndarray:
        nonlocal at
        for _ in range(SEGMENT // 2):
            packets.put(octets[at : at + PACKET_OCTETS])
            at = (at + PACKET_OCTETS) % (len(octets) - PACKET_OCTETS)
        for i in range(SEGMENT):
            before = time.perf_counter_ns()
            callback(None, device_rate_hz // 100, times, 0)
            spent[i] = time.perf_counter_ns() - before
        return spent

    return segment


def in_turn(peers: dict[str, Segment], segments: int) -> dict[str, np.ndarray]:
    """Time of each tick of each peer; the first segment does not count."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in peers}

    def call(name: str) -> Callable[[], float]:
        def run() -> float:
            found[name].append(peers[name]().copy())
            return 0.0

        return run

    interleaved({name: call(name) for name in peers}, rounds=segments, warm_up=1)
    return {name: np.concatenate(times[1:]).astype(float) for name, times in found.items()}


def whole_line(segments: int) -> list[Row]:
    rows: list[Row] = []
    streams = {"perfect": stream(segments + 2, False), "jittery": stream(segments + 2, True)}
    for device_rate_hz in (16_000, 48_000):
        octets = streams["perfect"][1]
        peers = {"copy of the same octets": copy_peer(device_rate_hz, octets)}
        for network, material in streams.items():
            peers[f"line, {network}, no effects"] = line_peer(device_rate_hz, (), *material)
            peers[f"line, {network}, default effects"] = line_peer(device_rate_hz, preset(LIVE), *material)
        if device_rate_hz == RATE_HZ or resample_poly is not None:
            peers["Python callback on a queue, no effects"] = python_peer(device_rate_hz, octets)
        times = in_turn(peers, segments)
        rows += compare(f"10 ms, device at {device_rate_hz // 1000} kHz", times, "copy of the same octets", block_ms=BLOCK_MS)
    return rows


def main() -> None:
    asked = arguments(__doc__ or "")
    rows = whole_line(2 if asked.tiny else 60)
    report(__doc__ or "", rows, asked)


if __name__ == "__main__":
    main()
