"""What is heard when: the ledger of blocks and device calls, and of every packet's way through the stations.

Render says which media went into which frames of the audio ring; the device's calls say when those
frames were handed over and when they leave the speaker. Joined, they answer two questions: at what
time was this moment of the conversation *heard* (captions), and where did this packet spend its time.

The way of a packet's first frame, and who stamps what::

            receive            decode            render                        play
    arrival ───▶ written ─────▶ taken ─▶ decoded ─────▶ began ─▶ made ┄▶ made' ─────▶ call ─────▶ speaker
       │ socket  │     wire     │ decode │    buffer    │ render │ chain │   ring    │   device   │
       │         │  (wire ring) │        │ (packet ring,│        │       │  (audio   │            │
       │         │              │        │ jitter buf.) │        │       │   ring)   │            │
       └───────────────────────────── total ────────────────────────────────────────┘            │
       └───────────────────────────── heard ─────────────────────────────────────────────────────┘

``socket``
    From the time right after the read that brought its last octet until it is on the wire ring: Python's part.
``wire``, ``decode``
    Until decode takes it, and until it is validated, unwrapped and decoded.
``buffer``
    Until render begins to make the block with its first frame: the packet ring, and the jitter buffer on purpose.
``render``
    Until that block is on the audio ring.
``chain``
    Effects, resampler and limiter keep a frame back: what enters them in one block leaves in that or in a later one,
    `chain_latency_frames` further on. The term is the time between these two blocks being on the audio ring, so it is
    measured, in whole blocks. The figure in frames, which nobody needs to measure, is ``Stats.chain_ms``.
``ring``
    Until the device's call that takes that frame begins.
``device``
    From the call until the frame leaves the speaker, as the device says of the call's first frame, and the frames
    before this one in that call: what the chain's delay has besides whole blocks lies there.

Each boundary is one reading of one clock by the room that stands there, and the last three stations are found by
*position*: the block in which the frame entered, the block in which it leaves and the call that took it are looked up in
three tables that know nothing of each other. A term that comes out negative (a wrong block, a wrong call, a
stamp taken too early or too late) counts as 0, so then the terms no longer make up the total, which is the call's
time minus the arrival and nothing else. The largest such difference is `Ledger.residual_ms`.

Where a driver without threads runs the rooms, the stamps are the times that it gives: all that happens in one step takes
no time.

Pure: time is an argument.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.rooms.histogram import Histograms
from rtmedia.units import NS_PER_S

#: Blocks and calls that are remembered, at the least: ten seconds of 10 ms each, less where a device asks for less at a time.
#: Captions look at what is being played; those that come later than this after their words were heard are late by this much.
KEEP = 1_024
#: The stations in order: they make up the total.
STATIONS = ("socket", "wire", "decode", "buffer", "render", "chain", "ring")
TERMS = (*STATIONS, "total", "device", "heard")

BLOCK_COLUMNS = ("sink_pos", "frames", "epoch", "media_pos", "made_ns")
CALL_COLUMNS = ("sink_pos", "frames", "time_ns", "dac_ns")
PACKET_COLUMNS = ("sink_pos", "arrival_ns", "written_ns", "taken_ns", "decoded_ns", "rendered_ns")

Columns = npt.NDArray[np.int64]


class Recent:
    """The newest rows of some columns, oldest first, one array a column; it grows to what it has to hold.

    Parameters
    ----------
    names
        Of the columns.
    keep
        Rows that are kept at the least, and what is added at once where that is more.

    Notes
    -----
    Thread: any one at a time.   Real-time: no.
    """

    def __init__(self, names: tuple[str, ...], keep: int = KEEP) -> None:
        self._names, self._keep = names, keep
        self._store: Columns = np.zeros((len(names), 64), np.int64)
        self._begin = self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    def append(self, records: npt.NDArray[Any]) -> None:
        """Take the columns out of `records`; what is older than the rows to keep may be forgotten."""
        if self._end + len(records) > self._store.shape[1]:
            self._make_room(len(records))
        end = self._end + len(records)
        for column, name in zip(self._store, self._names, strict=True):
            column[self._end : end] = records[name]
        self._end = end

    def _make_room(self, count: int) -> None:
        kept = self.columns[:, max(0, len(self) - self._keep) :]
        # A quarter more than is kept: moving it costs little, once in some seconds.
        room = min(max(2 * self._store.shape[1], 64), self._keep * 5 // 4)
        store = np.empty((len(self._names), max(room, kept.shape[1] + count)), np.int64)
        store[:, : kept.shape[1]] = kept
        self._store, self._begin, self._end = store, 0, kept.shape[1]

    @property
    def columns(self) -> Columns:
        return self._store[:, self._begin : self._end]

    def drop(self, count: int) -> None:
        """Forget the oldest `count` rows."""
        self._begin += count


def way(packets: Columns, blocks: Columns, calls: Columns, chain_frames: int, device_rate_hz: int) -> tuple[Columns, int]:
    """The terms of each packet in ns, and how many packets of the first are settled.

    Parameters
    ----------
    packets, blocks, calls
        Of `LEDGER_DTYPE`, `TICK_DTYPE` and `MARK_DTYPE` records those of `PACKET_COLUMNS`, `BLOCK_COLUMNS` and `CALL_COLUMNS`,
        oldest first.
    chain_frames
        By which a frame leaves the chain later than it entered.

    Returns
    -------
    terms : int64 array, shape (len(TERMS), n)
        Of the settled packets whose blocks and call are known; the last rows are the total, and what follows it.
    settled : int
        The first so many packets will never be known better: the others have not been handed over yet.
    """
    if not (packets.shape[1] and blocks.shape[1] and calls.shape[1]):
        return np.zeros((len(TERMS), 0), np.int64), 0
    enters = packets[0]
    leaves = enters + chain_frames
    settled = int(np.searchsorted(leaves, min(blocks[0, -1] + blocks[1, -1], calls[0, -1] + calls[1, -1]), "left"))
    into, out_of, taken = _row_of(blocks, enters[:settled]), _row_of(blocks, leaves[:settled]), _row_of(calls, leaves[:settled])
    # The others' rows are forgotten: their ring was full, or the control thread slept for long.
    known = np.flatnonzero((into >= 0) & (out_of >= 0) & (taken >= 0))
    into, out_of, taken = into[known], out_of[known], taken[known]
    call_ns, dac_ns = calls[2, taken], calls[3, taken]
    stamps = np.stack([*packets[1:, known], blocks[4, into], blocks[4, out_of], call_ns])
    terms = np.empty((len(TERMS), len(known)), np.int64)
    np.maximum(np.diff(stamps, axis=0), 0, out=terms[: len(STATIONS)])
    total = call_ns - packets[1, known]
    device = dac_ns - call_ns + (leaves[known] - calls[0, taken]) * NS_PER_S // device_rate_hz
    terms[len(STATIONS) :] = total, device, total + device
    return terms, settled


def _row_of(table: Columns, positions: Columns) -> npt.NDArray[np.int64]:
    """Which row of positions (first column) and lengths (second) holds each; -1: none."""
    rows = np.searchsorted(table[0], positions, side="right") - 1
    return np.where((rows >= 0) & (positions < table[0, rows] + table[1, rows]), rows, -1)


class Ledger:
    """Joins the records of render and play.

    Parameters
    ----------
    rate_hz, device_rate_hz
        Of the source and the sink.
    chain_latency_frames
        By which sound is late after the jitter buffer, at the device's rate.

    Attributes
    ----------
    residual_ms : float
        The largest difference, over all packets, between the sum of the stations and the total.

    Notes
    -----
    Thread: control; `latency_ms` any.   Real-time: no.
    """

    def __init__(self, rate_hz: int, device_rate_hz: int, chain_latency_frames: int) -> None:
        self._rate_hz = rate_hz
        self._device_rate_hz = device_rate_hz
        self._chain = chain_latency_frames
        self._blocks, self._calls, self._packets = Recent(BLOCK_COLUMNS), Recent(CALL_COLUMNS), Recent(PACKET_COLUMNS)
        self.histograms = Histograms(TERMS)
        self.residual_ms = 0.0

    def add_blocks(self, ticks: npt.NDArray[Any]) -> None:
        """Take records of `rtmedia.rooms.doorways.TICK_DTYPE`."""
        self._blocks.append(ticks)

    def add_calls(self, marks: npt.NDArray[Any]) -> None:
        """Take records of `MARK_DTYPE`; calls that took nothing are of no interest."""
        took = marks["frames"] > 0
        self._calls.append(marks if took.all() else marks[took])

    def add_packets(self, records: npt.NDArray[Any]) -> None:
        """Take records of `LEDGER_DTYPE`, and close those whose sound has been handed over."""
        if len(records):
            self._packets.append(records)
        terms, settled = way(self._packets.columns, self._blocks.columns, self._calls.columns, self._chain, self._device_rate_hz)
        self._packets.drop(settled)
        if terms.shape[1]:
            self.histograms.add(terms)
            total = terms[len(STATIONS)]
            self.residual_ms = max(self.residual_ms, float(np.abs(terms[: len(STATIONS)].sum(axis=0) - total).max()) / 1e6)

    def heard_at_ns(self, epoch: int, media_pos: int) -> int | None:
        """When the moment `media_pos` of `epoch` left, or will leave, the speaker; None while that is not known.

        A moment that was skipped counts as heard when the first later one is. `epoch` is a connection's number.
        """
        sink_pos, frames, epochs, positions, _ = self._blocks.columns
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
        """Of each term mean, p50, p95, p99, p99.9 and max; empty before the first packet is closed."""
        return self.histograms.summary()
