"""The jitter buffer's memory: one record, the packet table, the timeline's store. No behaviour."""

from __future__ import annotations

import math

import numpy as np

from rtmedia.dsp.stretch import splice_scratch_size
from rtmedia.jitter.conceal import conceal_state
from rtmedia.jitter.delay import make_delay
from rtmedia.rt.memory import aligned_zeros, reserved_zeros

NORMAL, ACCELERATE, DECELERATE, DRAIN, HOLD, ADVANCE, PAUSE, WAIT, IDLE, ENDED = range(10)
OP_NAMES = ("normal", "accelerate", "decelerate", "drain", "hold", "advance", "pause", "wait", "idle", "ended")

INSERTED, LATE, DUPLICATE, NO_ROOM = range(4)

# Phases of the buffer's life.
EMPTY, PREFILL, PLAYING = range(3)

#: Flags of a packet on its way to the buffer.
FLAG_PAUSE_BEFORE = 1  # the sender was silent between the packet before and this one
FLAG_END = 2  # no audio: the stream is over

HISTORY_MS = 60  # what concealment may look at
WINDOW_MS = 60  # what a splice may look at, ahead of m
SPLICE_HISTORY_MS = 20  # and behind it
SHORTEST_LAG_MS, LONGEST_LAG_MS = 2.5, 15.0  # what one splice may cut out or repeat
BUDGET_MS = 15.0  # shift by splices that may be saved up; a new buffer has saved it
CONCEAL_FADE_MS = 8  # cross-fade from concealment into speech
JOINT_FADE_MS = 4  # fades on both sides where two connections meet
END_FADE_MS = 10  # from the last word to silence
STALL_MS = 150  # concealment that counts as a stop (NetEQ: interruption)
#: Playout delay from which on audio is skipped: people talk over each other long before; a listener wants every word.
CAP_MS = {"conversation": 1_500.0, "listening": 20_000.0}
GUARD_MS = 200  # of the store, behind m: what splices may still touch
# Store and packet table are made for the worst stall and hold next to nothing in all other minutes: both go back to their front.
STRETCH_MS = 250  # after so much at the earliest
MOST_MOVED_MS = 1_000  # with so much at most: it is copied between two blocks
STRETCH_ENTRIES = 64  # the same of the table, which goes back with as many at most

ENTRY_DTYPE = np.dtype(
    [
        ("position", "i8"),  # on the timeline
        ("frames", "i8"),
        ("seq", "i8"),
        ("media_pos", "i8"),  # on the sender's own clock
        ("epoch", "i8"),
        ("flags", "i8"),
        ("arrival_ns", "i8"),
        ("written_ns", "i8"),
        ("taken_ns", "i8"),
        ("decoded_ns", "i8"),
        ("arrival_ms", "f8"),  # on the device's clock
        ("heard", "i8"),  # its first frame has been rendered
    ]
)

BUFFER_DTYPE = np.dtype(
    [
        # settings
        ("rate_hz", "i8"),
        ("channels", "i8"),
        ("block", "i8"),  # frames of one tick
        ("capacity", "i8"),  # frames of the store, a power of two
        ("entries_capacity", "i8"),
        ("cap_ms", "f8"),  # largest playout delay before a resync
        ("ordered", "i8"),  # the transport keeps order: what is missing while newer is here is lost
        ("frames_per_ms", "f8"),
        ("splice_above_ms", "f8"),  # smaller errors are somebody else's
        # memory
        ("store", "i8"),
        ("entries", "i8"),
        ("delay", "i8"),
        ("conceal", "i8"),
        ("noise", "i8"),
        ("window", "i8"),
        ("scratch", "i8"),
        ("scratch_size", "i8"),
        ("splice_result", "i8"),
        ("history", "i8"),  # HISTORY_MS of played audio, then the block being made
        ("history_frames", "i8"),
        ("splice_map", "i8"),  # rtmedia.jitter.splice_map, of which map_origin is the first frame; 0: splices are searched for
        ("map_origin", "i8"),
        # position
        ("phase", "i8"),
        ("m", "i8"),
        ("base", "i8"),  # position that lies, or lay, at the front of the store
        ("run_start", "i8"),  # the store is whole from here to m
        ("newest_end", "i8"),
        ("epoch", "i8"),  # newest epoch on the timeline
        ("shift", "i8"),  # timeline minus media position of that epoch
        ("first_entry", "i8"),
        ("entries_count", "i8"),
        ("ended", "i8"),
        ("held_ms", "f8"),  # how long playback was held on purpose
        ("last_arrival_ms", "f8"),
        ("packet_frames", "i8"),
        # what is at m, for whoever shows it
        ("heard_epoch", "i8"),
        ("heard_media_pos", "i8"),
        # splice in waiting
        ("splice", "i8"),  # +1 removes, -1 inserts, 0 none
        ("splice_at", "i8"),
        ("splice_lag", "i8"),
        ("budget_ms", "f8"),
        ("wish", "i8"),
        # concealment
        ("concealing", "i8"),
        ("conceal_run", "i8"),  # frames of this concealment
        ("ended_run", "i8"),  # frames since the stream ended
        ("gap_end", "i8"),  # where the last gap ended: each is counted once
        ("hold_credit", "i8"),  # frames of it that were waiting: a gap that proves lost has had them already
        ("over_cap_ticks", "i8"),
        # the last tick
        ("op", "i8"),
        ("d_ms", "f8"),
        ("control_ms", "f8"),
        ("buffered_ms", "f8"),
        ("last_tick_ms", "f8"),
        ("tick_concealed", "i8"),  # frames of the last block that were made up
        # totals, in frames unless named otherwise
        ("total", "i8"),
        ("concealed", "i8"),
        ("silent_concealed", "i8"),
        ("conceal_events", "i8"),
        ("held", "i8"),
        ("advanced", "i8"),
        ("paused", "i8"),
        ("skipped", "i8"),  # taken out of senders' pauses
        ("closed", "i8"),  # of gaps: neither made up nor waited for
        ("accelerated", "i8"),
        ("decelerated", "i8"),
        ("drains", "i8"),
        ("resync", "i8"),
        ("stalls", "i8"),
        ("longest_stall", "i8"),
        ("longest_before", "i8"),  # what that was before the concealment that goes on
        ("late", "i8"),
        ("duplicate", "i8"),
        ("inserted", "i8"),
    ]
)


class Buffer:
    """The memory of one jitter buffer; the kernels of `buffer` and `timeline` work on its address.

    Parameters
    ----------
    rate_hz, channels
        Of the source.
    store_ms
        How much audio can wait, at least.
    profile
        ``"conversation"`` or ``"listening"``: how far behind playback may fall before it skips.
    splice_above_ms
        How far the playout delay may be from the control delay before a splice; what is less is left to whoever sets it.
    """

    def __init__(
        self,
        rate_hz: int,
        channels: int,
        *,
        transport: str = "tcp",
        profile: str = "conversation",
        price_ms: float = 10_000.0,
        min_ms: float = 10.0,
        max_ms: float = 1_000.0,
        start_ms: float = 20.0,
        store_ms: float = 8_000.0,
        splice_above_ms: float = 0.0,
    ) -> None:
        self.block_frames = rate_hz // 100
        capacity = 1 << math.ceil(math.log2((store_ms + GUARD_MS) * rate_hz / 1000))
        entries = 1 << math.ceil(math.log2(capacity * 1000 / rate_hz / 5))  # packets of 5 ms and up
        history = HISTORY_MS * rate_hz // 1000
        self.store = reserved_zeros((capacity, channels), np.float32, (GUARD_MS + 2 * STRETCH_MS) * rate_hz // 1000 * channels * 4)
        self.entries = reserved_zeros(entries, ENTRY_DTYPE, 2 * STRETCH_ENTRIES * ENTRY_DTYPE.itemsize)
        self.delay = make_delay(price_ms, min_ms, max_ms, start_ms)
        self.conceal = conceal_state(rate_hz, channels)
        self.noise = aligned_zeros(8, np.float64)
        self.window = aligned_zeros((HISTORY_MS + WINDOW_MS) * rate_hz // 1000 * channels + 16, np.float32)
        self.scratch = aligned_zeros(splice_scratch_size(self.window.size), np.float64)
        self.splice_result = aligned_zeros(8, np.float64)
        self.history = aligned_zeros((history + self.block_frames, channels), np.float32)
        self.state = aligned_zeros(1, BUFFER_DTYPE)
        state = self.state[0]
        state["rate_hz"], state["channels"], state["block"] = rate_hz, channels, self.block_frames
        state["capacity"], state["entries_capacity"] = capacity, entries
        state["cap_ms"] = CAP_MS[profile]
        state["ordered"] = transport == "tcp"
        state["frames_per_ms"] = rate_hz / 1000
        state["splice_above_ms"] = splice_above_ms
        for name in ("store", "entries", "delay", "conceal", "noise", "window", "scratch", "splice_result", "history"):
            state[name] = getattr(self, name).ctypes.data
        state["scratch_size"] = self.scratch.size
        state["history_frames"] = history
        state["epoch"] = -1
        state["heard_epoch"] = -1
        state["op"] = IDLE
        state["budget_ms"] = BUDGET_MS
        self.address = int(self.state.ctypes.data)
