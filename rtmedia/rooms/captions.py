"""Captions on the speaker's clock: each transcript waits until its words are heard.

Pure: time is an argument; the ledger knows what is heard when.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from rtmedia.events import Transcript
from rtmedia.units import NS_PER_MS, NS_PER_S

#: A transcript whose audio does not come is shown after this long all the same.
PATIENCE_NS = 10 * NS_PER_S
MAX_PENDING = 10_000

#: (connection, media position in ms) -> when it is heard, or None while unknown.
HeardAt = Callable[[int, int], "int | None"]


@dataclass(order=True)
class _Pending:
    epoch: int
    timestamp_ms: int
    order: int
    text: str = field(compare=False)
    confidence: float = field(compare=False)
    arrival_ns: int = field(compare=False)
    speaker: str = field(compare=False)


class Captions:
    """Transcripts in waiting.

    Notes
    -----
    Thread: control.   Real-time: no.
    """

    def __init__(self) -> None:
        self._heap: list[_Pending] = []
        self._order = 0
        self._seen: dict[tuple[int, int, str], None] = {}
        self.released = 0
        self.late = 0
        self.duplicates = 0
        self.skew_ms = 0.0  # mean distance from the speaker of those that were in time, positive is after the sound
        self._in_time = 0

    def add(self, *, text: str, confidence: float, timestamp_ms: int, epoch: int, arrival_ns: int, speaker: str = "") -> None:
        """Take one transcript; a repetition of the same words at the same time is dropped."""
        key = (epoch, timestamp_ms, text)
        if key in self._seen:
            self.duplicates += 1
            return
        self._seen[key] = None
        if len(self._seen) > MAX_PENDING:
            del self._seen[next(iter(self._seen))]
        self._order += 1
        heapq.heappush(self._heap, _Pending(epoch, timestamp_ms, self._order, text, confidence, arrival_ns, speaker))
        if len(self._heap) > MAX_PENDING:  # a hostile server: the furthest in the future goes
            self._heap.remove(max(self._heap))
            heapq.heapify(self._heap)

    @property
    def waiting(self) -> int:
        """Transcripts not yet shown."""
        return len(self._heap)

    @property
    def first(self) -> tuple[int, int, int] | None:
        """Connection, media time in ms and arrival of the transcript that is to be shown first."""
        return (self._heap[0].epoch, self._heap[0].timestamp_ms, self._heap[0].arrival_ns) if self._heap else None

    def due(self, now_ns: int, heard_at: HeardAt, *, patience_ns: int = PATIENCE_NS) -> tuple[list[Transcript], int | None]:
        """Those whose words are heard by now, and when the next is due (None: not known yet).

        Parameters
        ----------
        patience_ns
            How long to wait for audio that does not come; 0 at the end of the stream.
        """
        events: list[Transcript] = []
        while self._heap:
            first = self._heap[0]
            heard_ns = heard_at(first.epoch, first.timestamp_ms)
            if heard_ns is not None and heard_ns > now_ns:
                return events, heard_ns
            if heard_ns is None and now_ns - first.arrival_ns < patience_ns:
                return events, None
            heapq.heappop(self._heap)
            late = heard_ns is None or heard_ns < first.arrival_ns
            skew_ms = (now_ns - (heard_ns if heard_ns is not None else now_ns)) / NS_PER_MS
            self.released += 1
            if late:
                self.late += 1
            else:
                self._in_time += 1
                self.skew_ms += (skew_ms - self.skew_ms) / self._in_time
            events.append(Transcript(now_ns, first.text, first.confidence, first.timestamp_ms, late, skew_ms, first.speaker))
        return events, None
