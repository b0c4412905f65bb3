"""What is heard when: the ledger of blocks and device calls, and of every packet's way through the stations.

Render says which media went into which frames of the audio ring; the device's calls say when those
frames were handed over and when they leave the speaker. Joined, they answer two questions: at what
time was this moment of the conversation *heard* (captions), and where did this packet spend its time.

The stations of a packet, each a term of the sum::

    socket ─▶ decode ─▶ buffer ─▶ chain ─▶ ring ─▶ handed to the device   (─▶ device: to the speaker)

Pure: time is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.units import NS_PER_MS

KEEP = 8_192  # blocks and calls that are remembered: more than a minute
BIN_MS = 0.25
BINS = 40_000  # up to 10 s
TERMS = ("decode", "buffer", "ring", "chain", "total", "device")


class Histogram:
    """Counts of durations in bins of `BIN_MS`; everything above the last bin is counted in it."""

    def __init__(self) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.sum_ms = 0.0
        self._used = 0  # bins up to the largest that was ever counted in

    def add(self, values_ms: Sequence[float] | npt.NDArray[np.float64]) -> None:
        """Count some durations."""
        values = np.asarray(values_ms, np.float64)
        bins = np.minimum(np.maximum(values / BIN_MS, 0), BINS - 1).astype(np.int64)
        most = int(bins.max(initial=-1)) + 1
        self.counts[:most] += np.bincount(bins, minlength=most)
        self._used = max(self._used, most)
        # One after the other: the sum does not depend on how they came.
        self.sum_ms = float(np.cumsum(np.append(self.sum_ms, values))[-1])

    def summary(self) -> dict[str, float]:
        """Mean, p50, p95, p99 and the largest, in ms (upper edges of their bins, but the mean)."""
        running = np.cumsum(self.counts[: self._used])
        total = int(running[-1]) if len(running) else 0
        if total == 0:
            return {}
        quantiles = {
            name: (int(np.searchsorted(running, share * total)) + 1) * BIN_MS
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        }
        return {"mean": self.sum_ms / total, **quantiles, "max": self._used * BIN_MS}


class _Recent:
    """The newest `KEEP` rows of four numbers, oldest first, one array a column."""

    def __init__(self) -> None:
        self._store: npt.NDArray[np.int64] = np.zeros((4, 2 * KEEP), np.int64)
        self._begin = self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    def append(self, records: npt.NDArray[Any], names: tuple[str, str, str, str]) -> None:
        """Take these fields of `records`; the oldest rows beyond `KEEP` are forgotten."""
        records = records[-KEEP:]
        if self._end + len(records) > 2 * KEEP:
            kept = self.columns[:, max(0, len(self) + len(records) - KEEP) :].copy()
            self._begin, self._end = 0, kept.shape[1]
            self._store[:, : self._end] = kept
        for column, name in zip(self._store, names, strict=True):
            column[self._end : self._end + len(records)] = records[name]
        self._end += len(records)
        self._begin = max(self._begin, self._end - KEEP)

    @property
    def columns(self) -> npt.NDArray[np.int64]:
        return self._store[:, self._begin : self._end]

    def drop(self, count: int) -> None:
        """Forget the oldest `count` rows."""
        self._begin += count


class Ledger:
    """Joins the records of render and play.

    Parameters
    ----------
    rate_hz, device_rate_hz
        Of the source and the sink.
    chain_latency_frames
        By which sound is late after the jitter buffer, at the device's rate.

    Notes
    -----
    Thread: control.   Real-time: no.
    """

    def __init__(self, rate_hz: int, device_rate_hz: int, chain_latency_frames: int) -> None:
        self._rate_hz = rate_hz
        self._device_rate_hz = device_rate_hz
        self._chain = chain_latency_frames
        self._chain_ms = chain_latency_frames * 1000.0 / device_rate_hz
        self._blocks, self._calls, self._packets = _Recent(), _Recent(), _Recent()
        self.histograms = {name: Histogram() for name in TERMS}

    def add_blocks(self, ticks: npt.NDArray[Any]) -> None:
        """Take records of `rtmedia.rooms.doorways.TICK_DTYPE`."""
        self._blocks.append(ticks, ("sink_pos", "frames", "epoch", "media_pos"))

    def add_calls(self, marks: npt.NDArray[Any]) -> None:
        """Take records of `MARK_DTYPE`; calls that took nothing are of no interest."""
        self._calls.append(marks[marks["frames"] > 0], ("sink_pos", "frames", "time_ns", "dac_ns"))

    def add_packets(self, records: npt.NDArray[Any]) -> None:
        """Take records of `LEDGER_DTYPE`, and close those whose sound has been handed over."""
        self._packets.append(records, ("sink_pos", "arrival_ns", "decoded_ns", "rendered_ns"))
        if not len(self._packets) or not len(self._calls):
            return
        sink_pos, frames, time_ns, dac_ns = self._calls.columns
        out_pos = self._packets.columns[0] + self._chain
        at = np.searchsorted(sink_pos, out_pos, side="right") - 1
        waiting = (at >= 0) & (out_pos >= sink_pos[at] + frames[at])
        done = int(np.argmax(waiting)) if waiting.any() else len(waiting)
        known = np.flatnonzero(at[:done] >= 0)  # of the others the call is forgotten: the control thread slept for a minute
        if len(known):
            at, out_pos = at[known], out_pos[known]
            _, arrival_ns, decoded_ns, rendered_ns = self._packets.columns[:, known]
            decode_ms = (decoded_ns - arrival_ns) / NS_PER_MS
            buffer_ms = (rendered_ns - decoded_ns) / NS_PER_MS
            total_ms = (time_ns[at] - arrival_ns) / NS_PER_MS
            ring_ms = total_ms - decode_ms - buffer_ms - self._chain_ms
            chain_ms = np.full(len(known), self._chain_ms)
            device_ms = (dac_ns[at] - time_ns[at]) / NS_PER_MS + (out_pos - sink_pos[at]) * 1000.0 / self._device_rate_hz
            for name, values_ms in zip(TERMS, (decode_ms, buffer_ms, ring_ms, chain_ms, total_ms, device_ms), strict=True):
                self.histograms[name].add(values_ms)
        self._packets.drop(done)

    def heard_at_ns(self, epoch: int, media_pos: int) -> int | None:
        """When the moment `media_pos` of `epoch` left, or will leave, the speaker; None while that is not known.

        A moment that was skipped counts as heard when the first later one is. `epoch` is a connection's number.
        """
        sink_pos, frames, epochs, positions = self._blocks.columns
        count = len(sink_pos)
        newest = -1  # the newest block that begins before the moment: captions wait for what was rendered last
        for low in (max(0, count - 64), 0):
            connections = epochs[low:] >> 20
            before = np.flatnonzero((connections < epoch) | ((connections == epoch) & (positions[low:] < media_pos)))
            if len(before):
                newest = low + int(before[-1])
                break
        following = newest + 1
        if following == count:  # not rendered yet, or only just: the next block will tell
            return None
        if newest < 0 or int(epochs[newest]) >> 20 != epoch:
            return self._leaves_ns(int(sink_pos[following]))
        # between the start of this block and the start of the next
        length = int(frames[newest])
        step = int(positions[following] - positions[newest]) if epochs[following] == epochs[newest] else length
        inside = min(media_pos - int(positions[newest]), step)
        return self._leaves_ns(int(sink_pos[newest]) + min(length, inside * self._device_rate_hz // self._rate_hz))

    def _leaves_ns(self, sink_pos: int) -> int | None:
        """When frame `sink_pos`, delayed by the chain, leaves the speaker; guessed from the last call if not yet taken."""
        sink_pos += self._chain
        calls = self._calls.columns
        if not len(self._calls):
            return None
        at = int(np.searchsorted(calls[0], sink_pos, side="right")) - 1
        if at < 0:
            return int(calls[3, 0])
        if sink_pos >= calls[0, at] + calls[1, at]:
            at = -1
        return int(calls[3, at]) + (sink_pos - int(calls[0, at])) * 1_000_000_000 // self._device_rate_hz

    def latency_ms(self) -> dict[str, dict[str, float]]:
        """The terms of a packet's way, and their total (to the hand-over; ``device`` comes on top)."""
        return {name: summary for name, histogram in self.histograms.items() if (summary := histogram.summary())}
