"""Drives one jitter buffer through simulated time: packets in by their arrival, a tick every 10 ms, all compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rtmedia.jitter.buffer import buffer_hold, buffer_tick
from rtmedia.jitter.delay import delay_target
from rtmedia.jitter.state import BUFFER_DTYPE, NO_ROOM, Buffer
from rtmedia.jitter.timeline import buffer_insert, buffer_retire
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray

PACKET = np.dtype(
    [
        ("arrival_ms", "f8"),
        ("media_pos", "i8"),
        ("seq", "i8"),
        ("epoch", "i8"),
        ("flags", "i8"),
        ("frames", "i8"),
        ("at", "i8"),  # first frame in the samples
        ("verdict", "i8"),
        ("offered", "i8"),  # how often
    ]
)

TICK = np.dtype(
    [
        ("op", "i8"),
        ("before", "i8"),  # m
        ("after", "i8"),
        ("concealed", "i8"),
        ("epoch", "i8"),
        ("media_pos", "i8"),
        ("d_ms", "f8"),
        ("control_ms", "f8"),
        ("target_ms", "f8"),
        ("buffered_ms", "f8"),
    ]
)


@kernel("i8(i8, i8, i8, i8, i8, i8, i8, i8, i8, i8, i8)")
def walk(address, packets, count, samples, ticks, first_tick, begin, out, log, hold_from, hold_to):
    """Ticks `first_tick` and on, `ticks` of them; packets from `begin` on as they arrive. Returns the next packet.

    While a tick's number lies in ``[hold_from, hold_to)`` playback is held.
    """
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    items = carray(pointer_void(packets), count, PACKET)
    notes = carray(pointer_void(log), ticks, TICK)
    octets = b.block * b.channels * 4
    at = begin
    for n in range(ticks):
        now_ms = (first_tick + n) * 10.0
        while at < count and items[at].arrival_ms <= now_ms:
            item = items[at]
            item.offered += 1
            item.verdict = buffer_insert(
                address,
                samples + item.at * b.channels * 4,
                item.frames,
                item.media_pos,
                item.seq,
                item.epoch,
                item.flags,
                0,
                0,
                0,
                0,
                item.arrival_ms,
            )
            if item.verdict == NO_ROOM:
                break
            at += 1
        buffer_retire(address)
        note = notes[n]
        note.before = b.m
        note.epoch = b.heard_epoch
        note.media_pos = b.heard_media_pos
        if hold_from <= first_tick + n < hold_to:
            b.tick_concealed = 0
            buffer_hold(address, now_ms, hold_to * b.block)
        else:
            note.op = buffer_tick(address, now_ms, out + n * octets)
        note.after = b.m
        note.concealed = b.tick_concealed
        note.d_ms = b.d_ms
        note.control_ms = b.control_ms
        note.target_ms = delay_target(b.delay, now_ms)
        note.buffered_ms = b.buffered_ms
    return at


@dataclass
class Walked:
    """What came of a walk: float32 audio ``(frames, channels)``, one note a tick, the packets with their verdicts."""

    audio: Any
    notes: Any
    packets: Any
    buffer: Buffer

    @property
    def state(self) -> Any:
        return self.buffer.state[0]


def make_packets(rows: list[dict[str, Any]], frames: int) -> Any:
    """Packet records in arrival order from dicts; whatever is not given follows from ``seq``."""
    packets = np.zeros(len(rows), PACKET)
    for i, row in enumerate(rows):
        packets[i]["frames"] = frames
        for name, value in row.items():
            packets[i][name] = value
        if "media_pos" not in row:
            packets[i]["media_pos"] = packets[i]["seq"] * frames
        if "at" not in row:
            packets[i]["at"] = packets[i]["media_pos"]
    return packets[np.argsort(packets["arrival_ms"], kind="stable")]


def drive(buffer: Buffer, packets: Any, samples: Any, ticks: int, hold: tuple[int, int] = (0, 0)) -> Walked:
    """Walk `ticks` ticks from time 0."""
    samples = np.ascontiguousarray(samples, np.float32)
    channels = buffer.store.shape[1]
    assert samples.ndim == 2
    assert samples.shape[1] == channels
    assert len(packets) == 0 or int((packets["at"] + packets["frames"]).max()) <= len(samples)
    out = np.zeros((ticks * buffer.block_frames, channels), np.float32)
    notes = np.zeros(ticks, TICK)
    packets = packets.copy()
    walk(
        buffer.address,
        packets.ctypes.data,
        len(packets),
        samples.ctypes.data,
        ticks,
        0,
        0,
        out.ctypes.data,
        notes.ctypes.data,
        *hold,
    )
    return Walked(out, notes, packets, buffer)
