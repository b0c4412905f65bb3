"""control: everything that may be late. Reads what the audio rooms leave behind, releases captions, keeps the totals.

One `poll` does it all; the engine has it called by the control thread that all engines share, the
simulation calls it after each tick.
Nothing on the audio path waits for it: its rings overflow into a counter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rtmedia.events import Event, StallEnded, StallStarted, StreamEnded
from rtmedia.jitter.state import ACCELERATE, DECELERATE, DRAIN, ENDED, HOLD, NORMAL, PAUSE, STALL_MS
from rtmedia.rooms.captions import PATIENCE_NS, Captions
from rtmedia.rooms.ledger import Ledger
from rtmedia.rooms.line import Line
from rtmedia.rooms.neteq import neteq_statistics
from rtmedia.rooms.play import LARGEST, MARKS_LOST, SINK_POS, UNDERRUN_FRAMES, UNDERRUNS, XRUNS
from rtmedia.units import NS_PER_MS, NS_PER_S, db_of_gain, ms_of_frames

#: Level meter: the loudest of the last so many blocks.
METER_BLOCKS = 10
#: Packets that the ledger closes at once, and how long it lets fewer wait: closing one costs hardly less than closing fifty.
PACKETS_AT_ONCE, PACKETS_WAIT_NS = 25, NS_PER_S
#: With threads: blocks for which a look is worth its while, unless somebody waits for a caption or so much time has passed.
TICKS_AT_ONCE, TICKS_WAIT_NS = 5, NS_PER_S // 10


class Control:
    """The reader of a `Line`'s telemetry.

    Notes
    -----
    Thread: control (`poll`); `snapshot` may be called from any thread.   Real-time: no.
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self.ledger = Ledger(line.rate_hz, line.device_rate_hz, line.chain_latency_frames)
        self.captions = Captions()
        self.ended = False
        self.tell_the_end = True  # False where the owner ended it
        self.last_tick: np.void | None = None
        self._peaks = np.zeros(METER_BLOCKS)
        self._squares = np.zeros(METER_BLOCKS)
        self._concealed_run = 0
        self._waiting = False  # the run of concealment is one that waits
        self._outages = 0
        self._interrupted = 0
        self._rate_hz = line.rate_hz
        self._holding = False
        self.keep_ticks: list[Any] | None = None  # a simulation collects them all here
        self.tap: Callable[[Any, Any], None] | None = None  # a capture is shown all ticks and marks
        self.ticks_at_once = 1
        self._looked_ns = 0
        self._closed_ns = 0  # when the ledger last looked

    def hold(self, holding: bool) -> None:
        """Captions wait without limit while playback is held on purpose."""
        self._holding = holding

    def poll(self, now_ns: int, *, last: bool = False) -> tuple[list[Event], int | None]:
        """Take all that has been left; returns events, and when the next caption is due.

        Parameters
        ----------
        last
            The line has ended, or nobody knows when the next look will be: packets do not gather for the ledger.
        """
        events: list[Event] = []
        render = self.line.render
        if not (
            last
            or render.ticks.readable >= self.ticks_at_once
            or now_ns - self._looked_ns >= TICKS_WAIT_NS
            or self.captions.waiting
            or self.ended
        ):
            return events, None
        self._looked_ns = now_ns
        ticks = render.ticks.read(4096)
        if len(ticks):
            self.ledger.add_blocks(ticks)
            if self.keep_ticks is not None:
                self.keep_ticks.append(ticks)
            self.last_tick = ticks[-1]
            self._meter(ticks)
            self._stalls(ticks, events)
        marks = self.line.play.marks.read(4096)
        if len(marks):
            self.ledger.add_calls(marks)
        if self.tap is not None:
            self.tap(ticks, marks)
        if last or now_ns - self._closed_ns >= PACKETS_WAIT_NS or render.ledger.readable >= PACKETS_AT_ONCE:
            self._closed_ns = now_ns
            self.ledger.add_packets(render.ledger.read(4096))
        ending = not self.ended and len(ticks) > 0 and int(ticks[-1]["op"]) == ENDED and self._played_out(ticks[-1])
        patience_ns = 0 if ending or self.ended else PATIENCE_NS << 20 if self._holding else PATIENCE_NS
        due_ns: int | None = None
        if self.captions.waiting:
            shown, due_ns = self.captions.due(now_ns, self._heard_at, patience_ns=patience_ns)
            events.extend(shown)
        if ending:
            self.ended = True
            if self.tell_the_end:
                events.append(StreamEnded(now_ns, "the server ended the stream"))
        return events, due_ns

    def _heard_at(self, epoch: int, timestamp_ms: int) -> int | None:
        return self.ledger.heard_at_ns(epoch, timestamp_ms * self._rate_hz // 1000)

    def _played_out(self, tick: Any) -> bool:
        """Whether the chain has nothing of the stream left in it at this tick."""
        if self.line.buffer.state["ended_run"][0] < self._rate_hz // 10:
            return False
        words = self.line.play.cell.read()
        taken = words[SINK_POS] + words[LARGEST]  # the position is that before the device's last call
        lead = self.line.render.lead.frames  # grows with what the device asks for
        return bool(taken + lead + self.line.chain_latency_frames >= int(tick["sink_pos"]))

    def _meter(self, ticks: Any) -> None:
        for name, kept in (("peak", self._peaks), ("mean_square", self._squares)):
            newest = ticks[name][-METER_BLOCKS:]
            kept[: METER_BLOCKS - len(newest)] = kept[len(newest) :]
            kept[METER_BLOCKS - len(newest) :] = newest

    def _stalls(self, ticks: Any, events: list[Event]) -> None:
        if self._concealed_run == 0 and not ticks["concealed"].any():
            return
        limit = STALL_MS * self._rate_hz // 1000
        for tick in ticks:
            if tick["concealed"] > 0:
                before = self._concealed_run
                self._concealed_run += int(tick["concealed"])
                self._waiting = int(tick["op"]) == HOLD
                if before < limit <= self._concealed_run:
                    media_ms = ms_of_frames(int(tick["media_pos"]), self._rate_hz)
                    events.append(StallStarted(int(tick["time_ns"]), media_ms))
            else:
                if self._waiting and int(tick["op"]) in (NORMAL, ACCELERATE, DECELERATE, DRAIN):
                    self._outages += 1
                self._waiting = False
                if self._concealed_run >= limit:
                    if int(tick["op"]) != PAUSE:  # else what was waited for was the sender's own silence
                        self._interrupted += self._concealed_run
                    events.append(StallEnded(int(tick["time_ns"]), ms_of_frames(self._concealed_run, self._rate_hz)))
                self._concealed_run = 0

    def expected_and_lost(self) -> tuple[int, int]:
        """Packets that should have come so far, and those of them that did not (RFC 3550 A.3). Thread: any."""
        d = self.line.decode.state[0]
        expected = int(d["expected_before"] + (d["highest"] - d["base"] + 1 if d["started"] else 0))
        return expected, max(0, expected - int(d["received_before"] + d["epoch_received"]))

    def snapshot(self) -> dict[str, Any]:
        """Everything counted in the line, by the names of `rtmedia.stats.Stats`."""
        line = self.line
        d = line.decode.state[0]
        b = line.buffer.state[0]
        cell = line.play.cell
        words = cell.memory[1:]  # single words: each is whole, and all of them only grow
        expected, lost = self.expected_and_lost()
        rate = self._rate_hz
        total = max(1, int(b["total"]))
        tick = self.last_tick
        peak = float(self._peaks.max())
        rms = float(np.sqrt(self._squares.mean()))
        return {
            "rate_hz": rate,
            "device_rate_hz": line.device_rate_hz,
            "channels": line.channels,
            "chain_ms": line.chain_ms,
            "bypassed": line.bypass,
            "packets_received_total": int(d["received"]),
            "packets_expected_total": expected,
            "packets_lost_total": lost,
            "packets_late_total": int(b["late"] + d["too_old"]),
            "packets_duplicate_total": int(d["duplicate"] + b["duplicate"]),
            "packets_reordered_total": int(d["reordered"]),
            "packets_undecodable_total": int(d["undecodable"]),
            "packets_implausible_total": int(d["implausible"]),
            "stream_restarts_total": int(d["restarts"]),
            "jitter_ms": float(d["jitter_ns"]) / NS_PER_MS,
            "delay_ms": float(tick["delay_ms"]) if tick is not None else 0.0,
            "target_delay_ms": float(tick["control_ms"]) if tick is not None else 0.0,
            "buffered_ms": float(tick["buffered_ms"]) if tick is not None else 0.0,
            "concealed_pct": 100.0 * int(b["concealed"]) / total,
            "concealment_events_total": int(b["conceal_events"]),
            "concealed_ms_total": ms_of_frames(int(b["concealed"]), rate),
            "silent_concealed_ms_total": ms_of_frames(int(b["silent_concealed"]), rate),
            "accelerated_ms_total": ms_of_frames(int(b["accelerated"]), rate),
            "decelerated_ms_total": ms_of_frames(int(b["decelerated"]), rate),
            "resync_ms_total": ms_of_frames(int(b["resync"]), rate),
            "stalls_total": int(b["stalls"]),
            "longest_stall_ms": ms_of_frames(int(b["longest_stall"]), rate),
            "resample_ratio": float(tick["resample_ratio"]) if tick is not None else 1.0,
            "drift_ppm": float(line.render.drift["drift"][0]) * 1e6 if line.render.drift is not None else 0.0,
            "neteq": neteq_statistics(line, outages=self._outages, interrupted=self._interrupted),
            "frames_played_total": int(words[SINK_POS]),
            "underruns_total": int(words[UNDERRUNS]),
            "underrun_frames_total": int(words[UNDERRUN_FRAMES]),
            "device_xruns_total": int(words[XRUNS]),
            "peak_dbfs": db_of_gain(peak),
            "rms_dbfs": db_of_gain(rms),
            "limiter_reduction_db": float(line.limiter.state["reduction_db"][0]),
            "latency_ms": self.ledger.latency_ms(),
            "latency_residual_ms": self.ledger.residual_ms,
            "captions_total": self.captions.released,
            "captions_late_total": self.captions.late,
            "caption_skew_ms": self.captions.skew_ms,
            "telemetry_lost_total": int(line.render.state["ticks_lost"][0] + line.render.state["ledger_lost"][0] + words[MARKS_LOST]),
        }
