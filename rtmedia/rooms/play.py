"""play: the last room. The device asks, compiled code answers; no Python, no lock, no wait.

`play_pull` is the whole room: copy what the audio ring holds, and where it runs short, fade what is
there to silence and count it. PortAudio calls it through `portaudio_callback`; for sinks without a clock
of their own (file, null) a thread of the pool does (`rtmedia.rooms.loops.paced_loop`); the simulation calls it
directly. After each call of a device render is rung: there is room for a block again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rtmedia.ports import Block
from rtmedia.rooms.doorways import MARK_DTYPE
from rtmedia.rt.cell import Cell, cell_write
from rtmedia.rt.clock import now_ns
from rtmedia.rt.kernel import callback, kernel, load_acquire, pointer_void, store_release
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros, view_block, view_f8, view_i8
from rtmedia.rt.ring import FrameRing, RecordRing, ring_claim, ring_commit, ring_read
from rtmedia.rt.thread import thread_id
from rtmedia.rt.wake import call_room
from rtmedia.rt.words import load_word, store_word

FADE_MS = 2.5  # to silence at an underrun, and back: long enough not to click, short enough not to blur

# Words of the position cell.
SINK_POS, TIME_NS, DAC_NS, LARGEST, UNDERRUNS, UNDERRUN_FRAMES, XRUNS, CALLS, MARKS_LOST = range(9)
CELL_WORDS = 9

LARGEST_S = 600  # a large request is remembered so long, at most twice: what a device asked for once it may never ask for again

# Words of the device's control page: the engine writes the first, the device's thread the others. QUIET_END holds the
# time since when an empty ring is the end.
QUIET_END, ALIVE_NS, THREAD_ID = 1, 16, 17

#: Some host's first calls come from the thread that starts the stream, and a host may change its thread: looked at anew every
#: so many calls, which a system call of 0.1 us can afford.
CALLS_BETWEEN_IDS = 64

#: PaStreamCallbackFlags: output underflow and overflow.
DEVICE_XRUN_FLAGS = 0x4 | 0x8

PLAY_DTYPE = np.dtype(
    [
        ("ring", "i8"),
        ("cell", "i8"),
        ("marks", "i8"),
        ("control", "i8"),
        ("ready", "i8"),  # where render is told that there is room for a block, and its bell; 0: nobody listens
        ("bell", "i8"),
        ("channels", "i8"),
        ("fade_frames", "i8"),
        ("largest", "i8"),  # request since the position before `window`
        ("window", "i8"),  # position from which on older requests are forgotten
        ("window_frames", "i8"),
        ("primed", "i8"),  # sound has come through at least once
        ("gain", "f4"),  # 0 after an underrun, ramps to 1
        ("pad", "f4"),
        ("last", "f4", (2,)),  # the sample that silence must be reached from
        ("words", "i8", (CELL_WORDS,)),
    ]
)

#: One sink without a clock of its own, as the thread that is its device knows it.
PACED_DTYPE = np.dtype(
    [
        ("play", "i8"),
        ("block", "i8"),
        ("frames", "i8"),
        ("period_ns", "i8"),
        ("due_ns", "i8"),
        ("capture", "i8"),  # a ring that takes a copy, or 0
        ("rings", "i8"),  # pulled in this round
    ]
)

#: Where the words lie in the record: a nested array cannot be passed on, a view of its address can.
WORDS_AT = int(PLAY_DTYPE.fields["words"][1])  # type: ignore[index]


class Play:
    """The memory of the room: the audio ring's reading end, the position cell, the marks."""

    def __init__(self, ring: FrameRing, rate_hz: int) -> None:
        self.ring = ring
        self.rate_hz = rate_hz
        self.cell = Cell(CELL_WORDS)
        self.marks = RecordRing(8_192, MARK_DTYPE)
        self.control = aligned_zeros(32, np.int64)
        self.state = aligned_zeros(1, PLAY_DTYPE)
        state = self.state[0]
        state["ring"], state["cell"], state["marks"] = ring.address, self.cell.address, self.marks.address
        state["control"] = self.control.ctypes.data
        state["channels"] = ring.channels
        state["window"] = state["window_frames"] = LARGEST_S * rate_hz
        state["fade_frames"] = max(1, int(rate_hz * FADE_MS / 1000))
        self.address = int(self.state.ctypes.data)
        self._bell_memory: object = None
        self.make_paced: Callable[..., Any] | None = None  # `rtmedia.rooms.pool.Paced`, which knows this room
        self._paced: Any = None

    @property
    def channels(self) -> int:
        return self.ring.channels

    @property
    def callback_address(self) -> int:
        """Address of `portaudio_callback`; its user data is `address`."""
        return int(portaudio_callback.address)

    @property
    def alive_ns(self) -> int:
        """When the device last asked (monotonic); 0 before the first time. Thread: any."""
        return int(load_word(self.control, ALIVE_NS))

    @property
    def thread_id(self) -> int:
        """The system's number of the thread that asks; 0 until it has asked eight times, or where the system has none. Thread: any."""
        return int(load_word(self.control, THREAD_ID))

    @property
    def device_latency_s(self) -> float:
        """From the device's last call until its first frame leaves the speaker, as the device says. Thread: control."""
        words = self.cell.read()
        return max(0.0, (words[DAC_NS] - words[TIME_NS]) / 1e9)

    def expect_silence(self) -> None:
        """From now on an empty ring is the end, not an underrun. Thread: the engine's."""
        store_word(self.control, QUIET_END, now_ns())

    def pull(self, out: Block, time_ns: int, dac_ns: int) -> None:
        """Fill float32 ``(frames, channels)`` `out` once. Thread: the device's."""
        play_pull(self.address, out.ctypes.data, out.shape[0], time_ns, dac_ns, 0)
        call_room(int(self.state["ready"][0]), int(self.state["bell"][0]))

    def answer_to(self, ready: int, bell: int, memory: object) -> None:
        """Tell whoever listens at these addresses of each call of the device; `memory` holds both. Before the first call only."""
        self.state["ready"], self.state["bell"] = ready, bell
        self._bell_memory = memory

    def start_paced(self, block: Block, period_ns: int, capture: FrameRing | None) -> None:
        """Be asked for `block` every `period_ns` by a thread of the pool, until `stop_paced`; `capture` takes a copy."""
        assert self.make_paced is not None, "a seat in the pool comes first"
        self._paced = self.make_paced(self, block, period_ns, capture)

    def stop_paced(self, timeout_s: float) -> bool:
        """End `start_paced`; False when the thread did not let go in time. Any number of times."""
        return self._paced is None or bool(self._paced.stop(timeout_s))


@kernel("void(i8, i8, i8, i8, i8, i8)")
def play_pull(address, out, frames, time_ns, dac_ns, flags):
    """Fill `frames` frames at address `out`.

    Parameters
    ----------
    time_ns
        Now.
    dac_ns
        When the first of these frames leaves the speaker, as far as the device knows.
    flags
        The device's status bits.

    Notes
    -----
    Thread: the device's.   Real-time: yes.
    """
    p = carray(pointer_void(address), 1, PLAY_DTYPE)[0]
    channels = p.channels
    block = view_block(out, frames, channels)
    control = view_i8(p.control, 32)
    words = view_i8(address + WORDS_AT, CELL_WORDS)
    got = ring_read(p.ring, out, frames)
    if p.primed == 0:  # a device fills its own memory at the start, faster than real time: running short of silence is none
        for i in range(got):
            for c in range(channels):
                if block[i, c] != np.float32(0.0):
                    p.primed = 1
    if got > 0 and p.gain < 1.0:  # back from silence
        step = np.float32(1.0 / p.fade_frames)
        gain = p.gain
        for i in range(min(got, p.fade_frames)):
            gain = min(np.float32(1.0), gain + step)
            for c in range(channels):
                block[i, c] *= gain
        p.gain = gain
    if got < frames:
        ending = load_acquire(control, QUIET_END) != 0
        if p.primed and not ending and p.gain > 0.0:
            words[UNDERRUNS] += 1
        if p.primed and not ending:
            words[UNDERRUN_FRAMES] += frames - got
        # What is here goes out softly; where that is less than a fade, the last sample goes on until the fade is done.
        fade = min(frames, p.fade_frames) if got > 0 or p.gain > 0.0 else 0
        start = max(0, got - fade)
        for c in range(channels):
            held = block[got - 1, c] if got > 0 else p.last[c]
            for i in range(start, frames):
                if i >= start + fade:
                    block[i, c] = np.float32(0.0)
                    continue
                sample = block[i, c] if i < got else held
                block[i, c] = sample * np.float32((start + fade - i - 1) / fade)
        p.gain = np.float32(0.0)
    if frames > 0:
        for c in range(channels):
            p.last[c] = block[frames - 1, c]

    # what the others may know
    slot = ring_claim(p.marks)
    if slot != 0:
        mark = carray(pointer_void(slot), 1, MARK_DTYPE)[0]
        mark.time_ns = time_ns
        mark.sink_pos = words[SINK_POS]
        mark.frames = got
        mark.asked = frames
        mark.dac_ns = dac_ns
        mark.flags = flags
        ring_commit(p.marks)
    else:
        words[MARKS_LOST] += 1
    words[TIME_NS] = time_ns
    words[DAC_NS] = dac_ns
    p.largest = max(p.largest, frames)
    words[LARGEST] = max(words[LARGEST], frames)
    if words[SINK_POS] >= p.window:
        words[LARGEST] = p.largest
        p.largest = 0
        p.window = words[SINK_POS] + p.window_frames
    words[CALLS] += 1
    if words[CALLS] % CALLS_BETWEEN_IDS == 8:
        store_release(control, THREAD_ID, thread_id())
    if flags & DEVICE_XRUN_FLAGS:
        words[XRUNS] += 1
    cell_write(p.cell, words)  # SINK_POS: frames handed over before this call, which TIME_NS belongs to
    words[SINK_POS] += got
    store_release(control, ALIVE_NS, time_ns)


@callback("i4(i8, i8, u8, i8, u8, i8)")
def portaudio_callback(unused_input, output, frame_count, time_info, status, user_data):
    """``PaStreamCallback``: `user_data` is the address of a `Play` record. Always paContinue."""
    now = now_ns()
    times = view_f8(time_info, 3) if time_info != 0 else view_f8(user_data, 0)
    ahead_s = times[2] - times[1] if time_info != 0 else 0.0
    if not (0.0 <= ahead_s <= 2.0):  # some hosts leave the fields empty
        ahead_s = 0.0
    # `unsigned long` has 32 bits on Windows: the upper half of the register is undefined there
    frames = np.int64(frame_count & np.uint64(0xFFFFFFFF))
    flags = np.int64(status & np.uint64(0xFFFFFFFF))
    play_pull(user_data, output, frames, now, now + np.int64(ahead_s * 1e9), flags)
    p = carray(pointer_void(user_data), 1, PLAY_DTYPE)[0]
    call_room(p.ready, p.bell)
    return np.int32(0)
