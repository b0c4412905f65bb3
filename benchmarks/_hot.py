"""The hot kernels, each in a loop of its own that can be counted or timed: what `instructions.py` runs.

Everything is fed with the same made-up speech (harmonics, syllables, a little noise), so that every count is the same at each run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _counting import TOGGLE, request, words_for

from rtmedia.codec import codec_named
from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.gate import SpectralGate
from rtmedia.dsp.limiter import Limiter
from rtmedia.dsp.normalizer import LoudnessNormalizer
from rtmedia.dsp.resample import make_resampler, resample
from rtmedia.dsp.stretch import find_splice, splice_scratch_size
from rtmedia.jitter.buffer import buffer_tick
from rtmedia.jitter.state import Buffer
from rtmedia.jitter.timeline import buffer_insert, buffer_retire
from rtmedia.ports import EPOCH_SHIFT, FLAG_NEW_EPOCH, Format
from rtmedia.presets import effects_of
from rtmedia.rooms.decode import decode_step
from rtmedia.rooms.doorways import WIRE_DTYPE
from rtmedia.rooms.line import Line
from rtmedia.rooms.play import play_pull
from rtmedia.rooms.render import render_step
from rtmedia.rooms.walk import deliver
from rtmedia.rt.kernel import call_effect, copy_octets, kernel
from rtmedia.rt.memory import view_f4
from rtmedia.rt.ring import FrameRing, RecordRing, ring_claim, ring_commit, ring_front, ring_read, ring_release, ring_write

RATE_HZ, DEVICE_HZ = 16_000, 48_000
BLOCK, PACKET = RATE_HZ // 100, RATE_HZ // 50
TICK_NS, START_NS = 10_000_000, 1_000_000_000_000
RECORD_OCTETS = WIRE_DTYPE.itemsize
WARM = 50  # ticks before anything is counted
DELIVER, PLAY, DECODE, RENDER = range(4)


@kernel("void(i8, i8, i8, i8, i8, i8, i8)")
def effect_blocks(function, sound, work, count, frames, state, toggle):
    for i in range(count):
        copy_octets(work, sound + i * frames * 4, frames * 4)
        request(toggle)
        call_effect(function, work, frames, 1, state)
        request(toggle)


@kernel("void(i8, i8, i8, i8, i8, i8)")
def resample_blocks(state, sound, out, count, frames, toggle):
    for i in range(count):
        request(toggle)
        resample(state, sound + i * frames * 4, frames, out)
        request(toggle)


@kernel("void(i8, i8, i8, i8, b1, i8)")
def buffer_ticks(buffer, sound, out, count, insert, toggle):
    for i in range(count):
        if i % 2 == 0:
            if insert:
                request(toggle)
            buffer_insert(buffer, sound + i * 640, 320, i * 160, i // 2, 1, 0, 0, 0, 0, 0, i * 10.0)
            if insert:
                request(toggle)
        if not insert:
            request(toggle)
        buffer_retire(buffer)
        buffer_tick(buffer, i * 10.0 + 5.0, out)
        if not insert:
            request(toggle)


@kernel("void(f4[:, ::1], i8, f8[::1], f8[::1], i8)")
def splices(windows, history, scratch, result, toggle):
    for i in range(windows.shape[0]):
        frames = windows.shape[1]
        request(toggle)
        find_splice(windows[i], history, frames - history, 40, 240, history, frames, 1, 16_000, 0.0, scratch, result)
        request(toggle)


@kernel("void(i8, i8, i8, i8, i8, i8)")
def ring_blocks(ring, source, target, frames, count, toggle):
    for _ in range(count):
        request(toggle)
        ring_write(ring, source, frames)
        ring_read(ring, target, frames)
        request(toggle)


@kernel("void(i8, i8, i8, i8)")
def ring_records(ring, record, count, toggle):
    for _ in range(count):
        request(toggle)
        at = ring_claim(ring)
        if at != 0:
            copy_octets(at, record, 32)
            ring_commit(ring)
        at = ring_front(ring)
        if at != 0:
            copy_octets(record, at, 32)
            ring_release(ring)
        request(toggle)


@kernel("void(i8, i8, i8, i8, i8, i8, i8, i8, i8, i8, i8)")
def line_ticks(decode, render, play, messages, payloads, out, frames, warm, ticks, part, toggle):
    """A packet every second tick; of each tick behind the first `warm`, one part is counted."""
    for i in range(warm + ticks):
        now = START_NS + i * TICK_NS
        counted = part if i >= warm else -1
        if i % 2 == 0:
            if counted == DELIVER:
                request(toggle)
            deliver(decode, messages + i // 2 * RECORD_OCTETS, payloads + i // 2 * 640)
            if counted == DELIVER:
                request(toggle)
        if counted == PLAY:
            request(toggle)
        play_pull(play, out, frames, now, now, 0)
        if counted == PLAY:
            request(toggle)
        if counted == DECODE:
            request(toggle)
        while decode_step(decode, now):
            pass
        if counted == DECODE:
            request(toggle)
        if counted == RENDER:
            request(toggle)
        render_step(render, now)
        if counted == RENDER:
            request(toggle)


@kernel("void(i8, i8, i8, i8, i8, i8)")
def biquad_blocks(sound, work, memory, count, frames, toggle):
    """The unit for machines without valgrind: a plain second-order filter, which nobody can vectorise."""
    of = view_f4(memory, 7)
    for i in range(count):
        x, y = view_f4(sound + i * frames * 4, frames), view_f4(work, frames)
        request(toggle)
        for n in range(frames):
            value = x[n]
            y[n] = of[0] * value + of[5]
            of[5] = of[1] * value - of[3] * y[n] + of[6]
            of[6] = of[2] * value - of[4] * y[n]
        request(toggle)


#: The request that begins and ends a count; as long-lived as its address is used.
KEEP_TOGGLE = words_for(TOGGLE)


@dataclass
class Hot:
    """One hot kernel: `make` makes its state, and returns what lets it work `times` times.

    `timed` says whether nothing else happens meanwhile, so that the whole may be timed as well as the part counted.
    """

    name: str
    times: int
    make: Callable[[], Callable[[], Any]]
    timed: bool = True


def speech(seconds: float) -> np.ndarray[Any, Any]:
    """Harmonics of 140 Hz, four syllables a second, noise at -60 dB."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    voice = sum(np.cos(2 * np.pi * 140 * k * t + k * k) / k for k in range(1, 20))
    loud = np.clip(np.sin(2 * np.pi * 2 * t), 0.0, 1.0)
    noise = np.random.default_rng(1).uniform(-1e-3, 1e-3, len(t))
    return (0.15 * voice * loud + noise).astype(np.float32)


def hot_kernels(blocks: int = 100) -> list[Hot]:
    """All of them. One block is 10 ms; what is counted is one call for one block (one packet, one window)."""
    toggle = KEEP_TOGGLE
    sound = np.ascontiguousarray(speech((2 * blocks + 2 * WARM) / 100))
    work, out = np.zeros(DEVICE_HZ, np.float32), np.zeros(DEVICE_HZ, np.float32)
    begin = toggle.ctypes.data

    # Closures hold the arrays whose addresses they pass on.
    def effect(description: Any, rate_hz: int = RATE_HZ) -> Callable[[], Callable[[], Any]]:
        def make() -> Callable[[], Any]:
            frames = rate_hz // 100
            made = description.make(Format(rate_hz, 1), frames)
            return lambda: effect_blocks(
                made.address, sound.ctypes.data, work.ctypes.data, min(blocks, len(sound) // frames), frames, made.state_address, begin
            )

        return make

    def resampler() -> Callable[[], Any]:
        made = make_resampler(RATE_HZ, DEVICE_HZ, 1, BLOCK)
        return lambda: resample_blocks(made.state_address, sound.ctypes.data, out.ctypes.data, blocks, BLOCK, begin)

    def jitter(insert: bool) -> Callable[[], Callable[[], Any]]:
        def make() -> Callable[[], Any]:
            buffer = Buffer(RATE_HZ, 1)
            return lambda: buffer_ticks(buffer.address, sound.ctypes.data, out.ctypes.data, blocks, insert, begin)

        return make

    def stretch() -> Callable[[], Any]:
        windows = np.ascontiguousarray(sound[: 8 * 1280].reshape(8, 1280))
        scratch, result = np.zeros(splice_scratch_size(1280)), np.zeros(4)
        return lambda: splices(windows, 320, scratch, result, begin)

    def ring() -> Callable[[], Any]:
        made = FrameRing(4096, 1)
        return lambda: ring_blocks(made.address, sound.ctypes.data, work.ctypes.data, BLOCK, blocks, begin)

    def records() -> Callable[[], Any]:
        made, record = RecordRing(64, np.dtype([("words", "i8", 4)])), np.zeros(4, np.int64)
        return lambda: ring_records(made.address, record.ctypes.data, blocks, begin)

    def line(part: int) -> Callable[[], Callable[[], Any]]:
        def make() -> Callable[[], Any]:
            codec = codec_named("pcm_s16le")
            made = Line(rate_hz=RATE_HZ, channels=1, device_rate_hz=DEVICE_HZ, codec=codec, effects=effects_of(None))
            count = (WARM + blocks) // 2 + 1
            messages = np.zeros(count, WIRE_DTYPE)
            messages["arrival_ns"], messages["seq"] = START_NS + np.arange(count) * 2 * TICK_NS, np.arange(count)
            messages["media_time_ns"], messages["length"] = np.arange(count) * 2 * TICK_NS, 2 * PACKET
            messages["flags"][0] = FLAG_NEW_EPOCH | 1 << EPOCH_SHIFT
            payloads = np.frombuffer(codec.encode(sound[: count * PACKET, None]), np.uint8)
            rooms = (made.decode.address, made.render.address, made.play.address)

            def run(keep: Any = made) -> None:
                places = (messages.ctypes.data, payloads.ctypes.data, out.ctypes.data)
                line_ticks(*rooms, *places, DEVICE_HZ // 100, WARM, blocks, part, begin)

            return run

        return make

    def biquad() -> Callable[[], Any]:
        memory = np.array([0.2, 0.4, 0.2, -0.5, 0.3, 0, 0], np.float32)
        return lambda: biquad_blocks(sound.ctypes.data, work.ctypes.data, memory.ctypes.data, blocks, BLOCK, begin)

    fast = min(blocks, len(sound) // (DEVICE_HZ // 100))
    return [
        Hot("reference: biquad, 160 frames", blocks, biquad),
        Hot("gate, 160 frames", blocks, effect(SpectralGate(any_block=False))),
        Hot("normaliser, 160 frames", blocks, effect(LoudnessNormalizer())),
        Hot("compressor, 160 frames", blocks, effect(Compressor())),
        Hot("limiter, 480 frames", fast, effect(Limiter(-12.0), DEVICE_HZ)),
        Hot("resampler, 160 to 480 frames", blocks, resampler),
        Hot("jitter buffer, one packet in", blocks // 2, jitter(True), timed=False),
        Hot("jitter buffer, one tick", blocks, jitter(False)),
        Hot("splice, one window of 80 ms", 8, stretch),
        Hot("ring, 160 frames in and out", blocks, ring),
        Hot("ring, one record in and out", blocks, records),
        Hot("wire ring, one packet in", blocks // 2, line(DELIVER), timed=False),
        Hot("decode, one tick", blocks, line(DECODE), timed=False),
        Hot("render, one tick", blocks, line(RENDER)),
        Hot("play, 480 frames", blocks, line(PLAY), timed=False),
    ]
