"""What is heard when: the ledger of blocks and device calls, and of every packet's way through the stations.

Render says which media went into which frames of the audio ring; the device's calls say when those
frames were handed over and when they leave the speaker. Joined, they answer two questions: at what
time was this moment of the conversation *heard* (captions), and where did this packet spend its time.

The stations of a packet, each a term of the sum::

    socket ─▶ decode ─▶ buffer ─▶ chain ─▶ ring ─▶ handed to the device   (─▶ device: to the speaker)

Pure: time is an argument.
"""

from __future__ import annotations

import bisect
from collections import deque
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

    def add(self, values_ms: Sequence[float]) -> None:
        """Count some durations."""
        bins = np.clip(np.asarray(values_ms) / BIN_MS, 0, BINS - 1).astype(np.int64)
        np.add.at(self.counts, bins, 1)
        self._used = max(self._used, int(bins.max(initial=-1)) + 1)
        for value_ms in values_ms:  # one after the other: the sum does not depend on how they came
            self.sum_ms += value_ms

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
        # blocks: (sink_pos, frames, epoch, media_pos)
        self._blocks: deque[tuple[int, int, int, int]] = deque(maxlen=KEEP)
        # calls: (sink_pos, frames, time_ns, dac_ns)
        self._calls: deque[tuple[int, int, int, int]] = deque(maxlen=KEEP)
        # packets: (sink_pos, arrival_ns, decoded_ns, rendered_ns)
        self._packets: deque[tuple[int, int, int, int]] = deque(maxlen=KEEP)
        self.histograms = {name: Histogram() for name in TERMS}

    def add_blocks(self, ticks: npt.NDArray[Any]) -> None:
        """Take records of `rtmedia.rooms.doorways.TICK_DTYPE`."""
        columns = (ticks["sink_pos"], ticks["frames"], ticks["epoch"], ticks["media_pos"])
        self._blocks.extend(zip(*(column.tolist() for column in columns), strict=True))

    def add_calls(self, marks: npt.NDArray[Any]) -> None:
        """Take records of `MARK_DTYPE`; calls that took nothing are of no interest."""
        marks = marks[marks["frames"] > 0]
        columns = (marks["sink_pos"], marks["frames"], marks["time_ns"], marks["dac_ns"])
        self._calls.extend(zip(*(column.tolist() for column in columns), strict=True))

    def add_packets(self, records: npt.NDArray[Any]) -> None:
        """Take records of `LEDGER_DTYPE`, and close those whose sound has been handed over."""
        columns = (records["sink_pos"], records["arrival_ns"], records["decoded_ns"], records["rendered_ns"])
        self._packets.extend(zip(*(column.tolist() for column in columns), strict=True))
        closed: list[tuple[float, ...]] = []
        while self._packets:
            position, arrival_ns, decoded_ns, rendered_ns = self._packets[0]
            out_pos = position + self._chain
            call = self._call_of(out_pos)
            if call is None:
                if self._calls and out_pos < self._calls[0][0]:
                    self._packets.popleft()  # its call is forgotten: the control thread slept for a minute
                    continue
                break
            self._packets.popleft()
            sink_pos, _, time_ns, dac_ns = call
            decode_ms = (decoded_ns - arrival_ns) / NS_PER_MS
            buffer_ms = (rendered_ns - decoded_ns) / NS_PER_MS
            total_ms = (time_ns - arrival_ns) / NS_PER_MS
            ring_ms = total_ms - decode_ms - buffer_ms - self._chain_ms
            device_ms = (dac_ns - time_ns) / NS_PER_MS + (out_pos - sink_pos) * 1000.0 / self._device_rate_hz
            closed.append((decode_ms, buffer_ms, ring_ms, self._chain_ms, total_ms, device_ms))
        if closed:
            for name, values_ms in zip(TERMS, zip(*closed, strict=True), strict=True):
                self.histograms[name].add(values_ms)

    def _call_of(self, sink_pos: int) -> tuple[int, int, int, int] | None:
        """The device's call that took frame `sink_pos`."""
        at = bisect.bisect_right(self._calls, sink_pos, key=lambda call: call[0]) - 1
        if at < 0:
            return None
        call = self._calls[at]
        return call if sink_pos < call[0] + call[1] else None

    def heard_at_ns(self, epoch: int, media_pos: int) -> int | None:
        """When the moment `media_pos` of `epoch` left, or will leave, the speaker; None while that is not known.

        A moment that was skipped counts as heard when the first later one is. `epoch` is a connection's number.
        """
        # newest first: captions wait for what was rendered last
        found: tuple[int, int, int, int] | None = None
        for block in reversed(self._blocks):
            connection = block[2] >> 20
            if connection > epoch or (connection == epoch and block[3] >= media_pos):
                found = block
                continue
            if connection == epoch and block[3] < media_pos:
                if found is None:
                    return None  # not rendered yet, or only just: the next block will tell
                # between the start of this block and the start of the next
                inside = min(media_pos - block[3], (found[3] - block[3]) if found[2] == block[2] else block[1])
                return self._leaves_ns(block[0] + min(block[1], inside * self._device_rate_hz // self._rate_hz))
            if connection < epoch:
                break
        return self._leaves_ns(found[0]) if found is not None else None

    def _leaves_ns(self, sink_pos: int) -> int | None:
        """When frame `sink_pos`, delayed by the chain, leaves the speaker; guessed from the last call if not yet taken."""
        sink_pos += self._chain
        if not self._calls:
            return None
        call = self._call_of(sink_pos)
        if call is None:
            if sink_pos < self._calls[0][0]:
                return self._calls[0][3]
            call = self._calls[-1]
        return call[3] + (sink_pos - call[0]) * 1_000_000_000 // self._device_rate_hz

    def latency_ms(self) -> dict[str, dict[str, float]]:
        """The terms of a packet's way, and their total (to the hand-over; ``device`` comes on top)."""
        return {name: summary for name, histogram in self.histograms.items() if (summary := histogram.summary())}
