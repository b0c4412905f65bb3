"""A first connection as a whole: which packet arrives when, and which text, without a message being made.

`rtmedia.sim.stream.deliveries` tells the same message by message, as a server needs it; a simulation wants it at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError
from rtmedia.sim.stream import Program, text_message, texts
from rtmedia.sim.trace import Trace
from rtmedia.units import NS_PER_MS


@dataclass(frozen=True, eq=False)
class Timetable:
    """What arrives, in the order of arrival, in program time.

    Attributes
    ----------
    packet, due_ns : int64 arrays
        The number of each packet that arrives; a packet that arrives twice is there twice.
    timestamp_ms : int64 array
        Media time of those packets on the sender's clock.
    texts : tuple of (due_ns, message)
    arrivals : Trace
        The first arrival of every packet sent, in ms from the stream's beginning.
    duplicates : int
        Packets that arrive again.
    """

    packet: npt.NDArray[np.int64]
    due_ns: npt.NDArray[np.int64]
    timestamp_ms: npt.NDArray[np.int64]
    texts: tuple[tuple[int, str], ...]
    arrivals: Trace
    duplicates: int

    @property
    def last_ns(self) -> int:
        """When the last of all arrives; 0 where nothing does."""
        return max([0, *self.due_ns[-1:].tolist(), *(due_ns for due_ns, _ in self.texts[-1:])])


def timetable(program: Program) -> Timetable:
    """Everything that the first connection to `program` brings.

    Raises
    ------
    ConfigError
        The program never ends.
    """
    if program.packets is None:
        raise ConfigError("loop is 1: such a stream never ends; leave it out")
    stamps_ms = program.timestamps_ms()
    said = list(texts(program, 0))
    fates = program.network(0).fates((stamps_ms - program.options.start_timestamp_ms) * NS_PER_MS, [send_ns for send_ns, _, _ in said])
    order = np.argsort(fates.due_ns, kind="stable")
    packet = fates.packet[order]
    arrivals = np.bincount(packet, minlength=program.packets)
    arrival_ms = np.full(program.packets, np.nan)
    arrival_ms[packet[::-1]] = fates.due_ns[order][::-1] / NS_PER_MS  # the first one is written last
    messages = [(due_ns, text_message(utterance, number)) for due_ns, (_, number, utterance) in zip(fates.text_due_ns, said, strict=True)]
    return Timetable(
        packet,
        fates.due_ns[order],
        stamps_ms[packet],
        tuple(sorted(messages, key=lambda message: message[0])),
        Trace(
            "of the run",
            np.arange(program.packets),
            (stamps_ms - program.options.start_timestamp_ms).astype(np.float64),
            arrival_ms,
            program.lengths_ms(),
        ),
        duplicates=int(np.maximum(arrivals - 1, 0).sum()),
    )
