"""replay: the rooms of one line on one thread, given again what a capture holds (`rtmedia.rooms.recorder`).

The third driver of the same steps, beside the threads of `rtmedia.rooms.loops` and the jumping clock of
`rtmedia.rooms.walk`. It has no clock at all: every step names its time, and how much it found. Between two steps
decode takes as many messages as the next step has seen packets, and the device is given as many frames as it once got.

Render and play, who live share the audio ring, have a ring each: when in the middle of a step the device took its
frames is not known and need not be, for what it took is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.ports import Block
from rtmedia.rooms.decode import decode_step, wire_write
from rtmedia.rooms.device_clock import follow_device
from rtmedia.rooms.doorways import CHANGE_DTYPE, MARK_DTYPE, MESSAGE_DTYPE, STEP_DTYPE
from rtmedia.rooms.line import Line
from rtmedia.rooms.play import CELL_WORDS, LARGEST, PLAY_DTYPE, QUIET_END, SINK_POS, TIME_NS, UNDERRUNS, WORDS_AT, play_pull
from rtmedia.rooms.render import MOST_BLOCKS, RENDER_DTYPE, SPARE_FRAMES, make_blocks, take_changes, take_packets
from rtmedia.rt.kernel import kernel, pointer_void, store_release
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros, view_i8
from rtmedia.rt.ring import FrameRing, RecordRing, ring_read, ring_readable, ring_skip, ring_writable, ring_write

REPLAY_DTYPE = np.dtype(
    [
        # the line
        ("decode", "i8"),
        ("packet_records", "i8"),
        ("changes_ring", "i8"),
        ("render", "i8"),
        ("rendered", "i8"),
        ("audio", "i8"),
        ("play", "i8"),
        # the capture
        ("wire", "i8"),
        ("wire_count", "i8"),
        ("payloads", "i8"),
        ("times", "i8"),  # when each message was decoded
        ("changes", "i8"),
        ("steps", "i8"),
        ("steps_count", "i8"),
        ("marks", "i8"),
        ("marks_count", "i8"),
        ("quiet_ns", "i8"),
        # memory
        ("moving", "i8"),
        ("out", "i8"),
        # where we are
        ("wire_at", "i8"),
        ("decoded", "i8"),
        ("change_at", "i8"),
        ("step_at", "i8"),
        ("mark_at", "i8"),
        ("out_at", "i8"),  # octets
    ]
)
_WIRE_OCTETS, _CHANGE_OCTETS = MESSAGE_DTYPE.itemsize, CHANGE_DTYPE.itemsize
_STEP_OCTETS, _MARK_OCTETS = STEP_DTYPE.itemsize, MARK_DTYPE.itemsize


class Replay:
    """A line and the capture that it is given again.

    Parameters
    ----------
    line
        As the captured one was made; not stepped yet.
    wire, payloads, times, changes, steps, marks
        The capture's tables, checked; `times` is one time of decoding for each message.
    quiet_ns
        From when on an empty audio ring is the end and no underrun; 0: never.

    Attributes
    ----------
    out : float32 array, shape (frames, channels)
        What the device was given, as far as the replay has come.

    Notes
    -----
    Thread: one.   Real-time: no; `out` is allocated here for the whole session.
    """

    def __init__(
        self,
        line: Line,
        *,
        wire: npt.NDArray[Any],
        payloads: npt.NDArray[np.uint8],
        times: npt.NDArray[np.int64],
        changes: npt.NDArray[Any],
        steps: npt.NDArray[Any],
        marks: npt.NDArray[Any],
        quiet_ns: int = 0,
    ) -> None:
        self.line = line
        self.steps = steps
        self._rendered = FrameRing(line.audio.capacity, line.channels)
        self._changes_ring = RecordRing(256, CHANGE_DTYPE)
        self._moving = aligned_zeros((line.audio.capacity, line.channels), np.float32)
        self._out = np.zeros((int(marks["asked"].sum()), line.channels), np.float32)
        self._kept = (wire, payloads, times, changes, steps, marks)
        line.render.state["audio"] = self._rendered.address
        line.render.state["changes_ring"] = self._changes_ring.address
        self.state = aligned_zeros(1, REPLAY_DTYPE)
        r = self.state[0]
        r["decode"], r["packet_records"] = line.decode.address, line.decode.packet_records.address
        r["changes_ring"], r["render"] = self._changes_ring.address, line.render.address
        r["rendered"], r["audio"], r["play"] = self._rendered.address, line.audio.address, line.play.address
        r["wire"], r["wire_count"], r["payloads"] = wire.ctypes.data, len(wire), payloads.ctypes.data
        r["times"], r["changes"] = times.ctypes.data, changes.ctypes.data
        r["steps"], r["steps_count"] = steps.ctypes.data, len(steps)
        r["marks"], r["marks_count"] = marks.ctypes.data, len(marks)
        r["quiet_ns"], r["moving"], r["out"] = quiet_ns, self._moving.ctypes.data, self._out.ctypes.data

    @property
    def out(self) -> Block:
        return self._out[: int(self.state["out_at"][0]) // (4 * self.line.channels)]

    @property
    def steps_done(self) -> int:
        return int(self.state["step_at"][0])

    def run(self, most: int) -> int:
        """Up to `most` steps more; returns how many there were. Fewer are the end, or a packet that the capture lacks."""
        return int(replay_steps(int(self.state.ctypes.data), most))

    def finish(self) -> None:
        """The device's calls after the last step."""
        replay_calls(int(self.state.ctypes.data), 1 << 62)


@kernel("void(i8, i8)")
def replay_calls(address, until_ns):
    """The device's calls up to a time: each gets as many frames as it got."""
    r = carray(pointer_void(address), 1, REPLAY_DTYPE)[0]
    p = carray(pointer_void(r.play), 1, PLAY_DTYPE)[0]
    words = view_i8(r.play + WORDS_AT, CELL_WORDS)
    while r.mark_at < r.marks_count:
        mark = carray(pointer_void(r.marks + r.mark_at * _MARK_OCTETS), 1, MARK_DTYPE)[0]
        if mark.time_ns > until_ns:
            return
        if mark.sink_pos > words[SINK_POS]:  # calls that left no mark
            ring_skip(r.rendered, mark.sink_pos - words[SINK_POS])
            words[SINK_POS] = mark.sink_pos
        if r.quiet_ns != 0 and mark.time_ns >= r.quiet_ns:
            store_release(view_i8(p.control, 32), QUIET_END, r.quiet_ns)
        got = ring_read(r.rendered, r.moving, mark.frames)
        ring_write(r.audio, r.moving, got)
        play_pull(r.play, r.out + r.out_at, mark.asked, mark.time_ns, mark.dac_ns, mark.flags)
        r.out_at += mark.asked * p.channels * 4
        r.mark_at += 1


@kernel("i8(i8)")
def _decode_one(address):
    """Let decode take messages until a packet comes of them; 0 when none does."""
    r = carray(pointer_void(address), 1, REPLAY_DTYPE)[0]
    while ring_readable(r.packet_records) == 0:
        while r.wire_at < r.wire_count:  # decode may look ahead: as much as fits
            message = carray(pointer_void(r.wire + r.wire_at * _WIRE_OCTETS), 1, MESSAGE_DTYPE)[0]
            if not wire_write(
                r.decode,
                message.arrival_ns,
                message.seq,
                message.media_time_ns,
                message.flags,
                r.payloads,
                message.length,
            ):
                break
            r.payloads += message.length
            r.wire_at += 1
        if r.decoded >= r.wire_count or decode_step(r.decode, view_i8(r.times, r.wire_count)[r.decoded]) == 0:
            return 0
        r.decoded += 1
    return 1


@kernel("i8(i8, i8)")
def replay_steps(address, most):
    """Render's next steps, up to `most`, each with what it found; returns how many there were.

    Thread: any, alone.   Real-time: as a loop it would be.
    """
    r = carray(pointer_void(address), 1, REPLAY_DTYPE)[0]
    render = carray(pointer_void(r.render), 1, RENDER_DTYPE)[0]
    for done in range(most):
        if r.step_at >= r.steps_count:
            return done
        step = carray(pointer_void(r.steps + r.step_at * _STEP_OCTETS), 1, STEP_DTYPE)[0]
        replay_calls(address, step.device_ns)
        ring_write(r.changes_ring, r.changes + r.change_at * _CHANGE_OCTETS, step.changes)
        r.change_at += step.changes
        take_changes(r.render, step.changes)
        render.paused = step.paused
        words = view_i8(render.cell_words, CELL_WORDS)
        words[SINK_POS], words[TIME_NS] = step.sink_pos, step.device_ns
        words[LARGEST], words[UNDERRUNS] = step.largest, step.underruns
        follow_device(render.clock, step.time_ns, step.fresh, step.sink_pos, step.device_ns)
        for _ in range(step.tries):
            if _decode_one(address) == 0:
                return done
            take_packets(r.render, 1)
        room = MOST_BLOCKS * (render.out_block + SPARE_FRAMES)
        ring_skip(r.rendered, room - ring_writable(r.rendered))  # what no call took, for want of a mark
        make_blocks(r.render, step.time_ns, step.blocks)
        r.step_at += 1
    return most
