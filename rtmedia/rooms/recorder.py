"""recorder: everything that the compiled rooms take from outside, while it happens.

How to think about it. The rooms decide nothing by chance. What they make depends on five things only, and a capture
holds each: what was written to the wire ring; when decode took it; what render found at each of its steps (the
device's clock, how many packets, how many blocks there was room for); which settings were changed between which
blocks; and what the device's calls took. `rtmedia.rooms.replay` gives the same things to the same rooms again.

Messages are copied by the thread that writes them (receive: Python). Steps and times of decoding come through rings
that the compiled rooms write without waiting; a full ring is a gap in the record, never a wait. Ticks are kept too:
they are what a replay is held against.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import numpy as np

from rtmedia.errors import ConfigError, StateError
from rtmedia.ports import EffectInstance
from rtmedia.rooms.control import Control
from rtmedia.rooms.doorways import CAPTURED_TICK_DTYPE, CHANGE_DTYPE, DECODED_DTYPE, MARK_DTYPE, MESSAGE_DTYPE, STEP_DTYPE, captured_ticks
from rtmedia.rooms.line import Line
from rtmedia.rooms.play import QUIET_END
from rtmedia.rt.plugin import MAX_WISHES, Instance
from rtmedia.rt.ring import RecordRing

#: The tables of a capture, in the order in which one collection is written: what a step needs stands before it.
TABLES: dict[str, np.dtype[Any]] = {
    "wire": MESSAGE_DTYPE,
    "decoded": DECODED_DTYPE,
    "changes": CHANGE_DTYPE,
    "marks": MARK_DTYPE,
    "ticks": CAPTURED_TICK_DTYPE,
    "steps": STEP_DTYPE,
}
#: Octets that may wait for a disk that does not take them.
MOST_WAITING = 64 << 20


class Recorder:
    """Listens to a line; to be made before its threads.

    Notes
    -----
    Thread: `take_transcript` receive's; `collect` one of its own.   Real-time: the rings are written by decode and
    render, wait-free; the rest is Python, beside the audio path.

    Attributes
    ----------
    problem : str
        Why the capture has ended before the session; empty while it has not.
    """

    def __init__(self, line: Line, control: Control) -> None:
        self.line = line
        self._control = control
        self.problem = ""
        self.steps = RecordRing(16_384, STEP_DTYPE)  # 60 s of a collector that cannot run
        self.decoded = RecordRing(8_192, DECODED_DTYPE)
        self.changes = RecordRing(256, CHANGE_DTYPE)
        self._wire: deque[tuple[tuple[int, int, int, int, int], bytes]] = deque()
        self._changed: deque[bytes] = deque()
        self._transcripts: deque[dict[str, Any]] = deque()
        self._telemetry: deque[tuple[bytes, bytes]] = deque()
        self._put = self._taken = 0  # octets: each has one writer
        line.render.state["steps_ring"] = self.steps.address
        line.render.state["changes_ring"] = self.changes.address
        line.decode.state["decoded_ring"] = self.decoded.address
        line.decode.tap = self._take_message
        line.change = self._take_change
        control.tap = self._take_telemetry

    def take_transcript(self, transcript: dict[str, Any]) -> None:
        """Keep the arguments of a `rtmedia.ports.TranscriptWriter`."""
        self._transcripts.append(transcript)

    def _take_message(self, arrival_ns: int, seq: int, media_time_ns: int, flags: int, payload: bytes | bytearray | memoryview) -> None:
        if self._put - self._taken > MOST_WAITING:
            self.problem = self.problem or f"more than {MOST_WAITING >> 20} MiB wait for the disk"
        if self.problem:
            return
        self._put += len(payload)
        self._wire.append(((arrival_ns, seq, media_time_ns, flags, len(payload)), bytes(payload)))  # a copy: the buffer is used again

    def _take_change(self, place: int, instance: EffectInstance, values: tuple[float, ...]) -> None:
        """Send new settings through render, which takes them up between two blocks and says between which."""
        if getattr(type(instance), "update", None) is not Instance.update or len(values) > MAX_WISHES:
            raise ConfigError(f"an effect at place {place} takes settings in a way of its own; it cannot be changed while a capture runs")
        record = np.zeros(1, CHANGE_DTYPE)
        record["place"], record["count"] = place, len(values)
        record["values"][0, : len(values)] = values
        if not self.changes.write(record):
            raise StateError("256 changes wait to be taken up; the render thread does not come round: try again")
        self._changed.append(record.tobytes())

    def _take_telemetry(self, ticks: Any, marks: Any) -> None:
        if not self.problem and (len(ticks) or len(marks)):
            self._telemetry.append((captured_ticks(ticks).tobytes(), marks.tobytes()))

    def end(self) -> dict[str, Any]:
        """What is known only at the end. Thread: whoever ends the session."""
        return {
            "quiet_ns": int(self.line.play.control[QUIET_END]),
            "steps_lost": self.steps.refused_total,
            "telemetry_lost": self._control.snapshot()["telemetry_lost_total"],
            "drained": not self._control.tell_the_end,
            "problem": self.problem,
        }

    def collect(self) -> list[tuple[str, bytes]]:
        """All that came since the last call, as ``(table, octets)`` in the order in which it must be written."""
        # Steps first: whatever they have used was written, and kept, before them.
        steps = self.steps.read(self.steps.readable)
        decoded = self.decoded.read(self.decoded.readable)
        telemetry = _all(self._telemetry)
        changes = _all(self._changed)
        wire = _all(self._wire)
        transcripts = _all(self._transcripts)
        payloads = b"".join(payload for _, payload in wire)
        self._taken += len(payloads)
        found = [
            ("payloads", payloads),
            ("wire", np.array([record for record, _ in wire], MESSAGE_DTYPE).tobytes()),
            ("decoded", decoded.tobytes()),
            ("changes", b"".join(changes)),
            ("transcripts", "".join(json.dumps(transcript) + "\n" for transcript in transcripts).encode()),
            ("marks", b"".join(marks for _, marks in telemetry)),
            ("ticks", b"".join(ticks for ticks, _ in telemetry)),
            ("steps", steps.tobytes()),
        ]
        return [(table, octets) for table, octets in found if octets]


def _all(waiting: deque[Any]) -> list[Any]:
    return [waiting.popleft() for _ in range(len(waiting))]
