"""What a network does to a stream of packets: a seeded model and the replay of a trace, both without a clock.

Give it packets in the order in which they are sent; it says when each arrives: never (lost), once, or more than once
(duplicated). One seed, one fate: each effect draws from its own generator, so that switching duplicates on does not
change which packets are lost.

The stages, in order: the sender's clock drifts, packets are lost (Gilbert 1960, Elliott 1963: a good and a bad state
with geometric lengths), delayed, some are held back and overtaken (`reorder`), a stall holds up everything until its
end (the head-of-line blocking of TCP), and, unless `in_order` is off, nothing else overtakes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError
from rtmedia.sim.trace import Trace
from rtmedia.units import NS_PER_MS, NS_PER_S


class Fates(NamedTuple):
    """What becomes of all packets of a connection: which arrives when, in the order of sending, and when the texts do."""

    packet: npt.NDArray[np.int64]  # once for each arrival
    due_ns: npt.NDArray[np.int64]
    text_due_ns: list[int]


class Network(Protocol):
    """Fates of packets. Times are nanoseconds from the start of the stream."""

    def arrivals(self, index: int, send_ns: int) -> list[int]:
        """When packet `index`, sent at `send_ns` by the sender's own clock, arrives; call it in sending order."""
        ...

    def text_arrival_ns(self, send_ns: int) -> int:
        """When a message that is never lost nor overtakes (a transcript) arrives, if sent at `send_ns`."""
        ...

    def earliest_ns(self, index: int, send_ns: int) -> int:
        """Nothing sent from packet `index` (at `send_ns`) on arrives before this time."""
        ...

    def fates(self, send_ns: npt.NDArray[np.int64], texts_ns: Sequence[int]) -> Fates:
        """All of it at once: packets from 0 on sent at `send_ns`, texts at `texts_ns`, both rising; of a new network only."""
        ...


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """The model's settings; the defaults are a perfect network.

    Parameters
    ----------
    delay_ms
        Least transit time.
    jitter_ms, jitter_shape
        Standard deviation of the Gaussian behind the jitter, and its shape: ``"half-normal"`` (added to the delay),
        ``"normal"`` (around the delay, cut off at 0), ``"exponential"`` (of mean `jitter_ms`, added).
    in_order
        A packet never arrives before one sent earlier, unless `reorder` chose it: a WebSocket, and most of the Internet.
    loss, burst_packets, burst_density
        Share of lost packets, 0 to 1; mean length of the bad state in packets; share that the bad state loses.
        1 and 1 is plain random loss.
    duplicate
        Share of packets that arrive twice.
    reorder, reorder_ms
        Share of packets that are held back and overtaken, and for how long (between half and all of it).
    stall_every_s, stall_ms
        Every so often nothing arrives for so long, then everything at once; 0 is never.
    drift_ppm
        The sender's clock against the receiver's: +100 sends 100 ppm more audio than real time.
    seed
        Of all the chances above.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    jitter_shape: Literal["half-normal", "normal", "exponential"] = "half-normal"
    in_order: bool = True
    loss: float = 0.0
    burst_packets: float = 1.0
    burst_density: float = 1.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_ms: float = 60.0
    stall_every_s: float = 0.0
    stall_ms: float = 0.0
    drift_ppm: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("delay_ms", 0, 60_000),
            ("jitter_ms", 0, 10_000),
            ("loss", 0, 1),
            ("burst_packets", 1, 10_000),
            ("burst_density", 0.01, 1),
            ("duplicate", 0, 1),
            ("reorder", 0, 1),
            ("reorder_ms", 0, 10_000),
            ("stall_every_s", 0, 86_400),
            ("stall_ms", 0, 600_000),
            ("drift_ppm", -10_000, 10_000),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}; it must lie between {low} and {high}")
        if self.jitter_shape not in ("half-normal", "normal", "exponential"):
            raise ConfigError(f"jitter_shape is {self.jitter_shape!r}; choose 'half-normal', 'normal' or 'exponential'")
        stalls, period_ms = self.stall_ms > 0, self.stall_every_s * 1000
        if stalls != (period_ms > 0) or (stalls and self.stall_ms >= period_ms):
            raise ConfigError(
                f"stall_ms is {self.stall_ms} and stall_every_s is {self.stall_every_s}; set both, and the stall shorter than its period"
            )
        if self.loss > self.burst_density:
            raise ConfigError(f"loss is {self.loss} and burst_density is {self.burst_density}; the density must be at least the loss")


class NetworkModel:
    """A `Network` of chances.

    Parameters
    ----------
    options
        What may happen.
    stream
        Number of the stream: each connection of one session has its own luck under one seed.

    Notes
    -----
    Thread: any one.   Real-time: no.
    """

    def __init__(self, options: NetworkOptions, stream: int = 0) -> None:
        self.options = options
        # Text seeds go through SHA-512: neighbouring numbers give unrelated streams.
        effects = ("loss", "jitter", "reorder", "duplicate")
        self._chance = {name: random.Random(f"{options.seed}/{stream}/{name}") for name in effects}
        self._latest_ns = 0  # of the arrivals that keep their order
        bad_share = options.loss / options.burst_density
        self._leave_bad = 1.0 / options.burst_packets
        # Stationary share of the bad state: enter / (enter + leave) = bad_share.
        self._enter_bad = self._leave_bad * bad_share / (1.0 - bad_share) if bad_share < 1.0 else 1.0
        self._bad = self._chance["loss"].random() < bad_share
        # A bad state of exactly one packet could never follow another: that would be less than chance.
        self._memoryless = options.burst_packets == 1.0

    def arrivals(self, index: int, send_ns: int) -> list[int]:
        """See `Network`. Every packet draws the same number of chances, whatever its fate."""
        options = self.options
        lost = self._lost()
        arrival_ns = self._sent_ns(send_ns) + self._delay_ns()
        overtaken, held = self._chance["reorder"].random() < options.reorder, self._chance["reorder"].random()
        twice, apart = self._chance["duplicate"].random() < options.duplicate, self._chance["duplicate"].random()
        if lost:
            return []
        if overtaken:
            arrival_ns = self._after_stall(arrival_ns + round((0.5 + 0.5 * held) * options.reorder_ms * NS_PER_MS))
        else:
            arrival_ns = self._after_stall(arrival_ns)
            if options.in_order:
                arrival_ns = self._latest_ns = max(self._latest_ns, arrival_ns)
        if not twice:
            return [arrival_ns]
        return [arrival_ns, self._after_stall(arrival_ns + round(apart * options.reorder_ms * NS_PER_MS))]

    def text_arrival_ns(self, send_ns: int) -> int:
        """See `Network`."""
        return max(self._latest_ns, self._after_stall(self._sent_ns(send_ns) + round(self.options.delay_ms * NS_PER_MS)))

    def earliest_ns(self, index: int, send_ns: int) -> int:
        """See `Network`."""
        return self._sent_ns(send_ns)

    def fates(self, send_ns: npt.NDArray[np.int64], texts_ns: Sequence[int]) -> Fates:
        """See `Network`."""
        arrived: list[tuple[int, int]] = []
        text_due_ns: list[int] = []
        for index, sent_ns in enumerate(send_ns.tolist()):
            while len(text_due_ns) < len(texts_ns) and (text_ns := texts_ns[len(text_due_ns)]) < sent_ns:
                text_due_ns.append(self.text_arrival_ns(text_ns))
            arrived += [(index, due_ns) for due_ns in self.arrivals(index, sent_ns)]
        text_due_ns += [self.text_arrival_ns(text_ns) for text_ns in texts_ns[len(text_due_ns) :]]
        columns = np.array(arrived, np.int64).reshape(-1, 2)
        return Fates(columns[:, 0], columns[:, 1], text_due_ns)

    def _sent_ns(self, send_ns: int) -> int:
        return round(send_ns / (1.0 + self.options.drift_ppm * 1e-6)) if self.options.drift_ppm else send_ns

    def _lost(self) -> bool:
        options, chance = self.options, self._chance["loss"]
        fate, change = chance.random(), chance.random()
        if self._memoryless:
            return fate < options.loss
        lost = self._bad and fate < options.burst_density
        self._bad = change >= self._leave_bad if self._bad else change < self._enter_bad
        return lost

    def _delay_ns(self) -> int:
        options, chance = self.options, self._chance["jitter"]
        # Box-Muller by hand: random.gauss keeps half of its state, and its algorithm is not promised for ever.
        radius, angle = chance.random(), chance.random()
        exponential = -math.log(1.0 - radius)
        normal = math.sqrt(2.0 * exponential) * math.cos(2.0 * math.pi * angle)
        shape = {"half-normal": abs(normal), "normal": normal, "exponential": exponential}[options.jitter_shape]
        return max(0, round((options.delay_ms + options.jitter_ms * shape) * NS_PER_MS))

    def _after_stall(self, arrival_ns: int) -> int:
        if not self.options.stall_ms:
            return arrival_ns
        every_ns, stall_ns = round(self.options.stall_every_s * NS_PER_S), round(self.options.stall_ms * NS_PER_MS)
        begin_ns = arrival_ns // every_ns * every_ns
        return begin_ns + stall_ns if begin_ns > 0 and arrival_ns < begin_ns + stall_ns else arrival_ns


class TraceNetwork:
    """A `Network` that does again what a trace says; packet 0 is the trace's first.

    After its end the trace starts anew, so much later, if `repeat` is set; else later packets are lost.
    """

    def __init__(self, trace: Trace, repeat: bool = False) -> None:
        self.trace = trace
        self.repeat = repeat
        self.packets = int(trace.seq[-1] - trace.seq[0]) + 1
        arrival_ns = np.full(self.packets, np.inf)
        arrival_ns[trace.seq - trace.seq[0]] = np.rint((trace.arrival_ms - trace.send_ms[0]) * NS_PER_MS)
        arrival_ns[np.isnan(arrival_ns)] = np.inf
        self._arrivals = arrival_ns
        self._arrival_ns = arrival_ns.tolist()
        begin_ms, length_ms = trace.timeline()
        self._lap_ns = int(begin_ms[-1] + length_ms[-1]) * NS_PER_MS
        # From each packet on: the first arrival of this lap or of the next.
        earliest_ns = np.minimum.accumulate(arrival_ns[::-1])[::-1]
        if repeat:
            earliest_ns = np.minimum(earliest_ns, earliest_ns[0] + self._lap_ns)
        self._earliest_ns = earliest_ns.tolist()
        self._latest_ns = 0

    def arrivals(self, index: int, send_ns: int) -> list[int]:
        """See `Network`; `send_ns` is not needed, the trace knows."""
        lap, row = divmod(index, self.packets)
        if math.isinf(self._arrival_ns[row]) or (lap and not self.repeat):
            return []
        arrival_ns = int(self._arrival_ns[row]) + lap * self._lap_ns
        self._latest_ns = max(self._latest_ns, arrival_ns)
        return [arrival_ns]

    def text_arrival_ns(self, send_ns: int) -> int:
        """With the latest packet so far: on one TCP connection nothing overtakes."""
        return max(self._latest_ns, send_ns)

    def earliest_ns(self, index: int, send_ns: int) -> int:
        """See `Network`."""
        lap, row = divmod(index, self.packets)
        if math.isinf(self._earliest_ns[row]) or (lap and not self.repeat):
            return send_ns
        return int(self._earliest_ns[row]) + lap * self._lap_ns

    def fates(self, send_ns: npt.NDArray[np.int64], texts_ns: Sequence[int]) -> Fates:
        """See `Network`."""
        lap, row = np.divmod(np.arange(len(send_ns)), self.packets)
        there = np.isfinite(self._arrivals[row]) & ((lap == 0) | self.repeat)
        due_ns = np.zeros(len(send_ns), np.int64)
        due_ns[there] = self._arrivals[row[there]].astype(np.int64) + lap[there] * self._lap_ns
        latest_ns = np.append(0, np.maximum.accumulate(due_ns))
        before = np.searchsorted(send_ns, np.array(texts_ns, np.int64), side="right")
        text_due_ns = [max(int(latest_ns[at]), text_ns) for at, text_ns in zip(before, texts_ns, strict=True)]
        return Fates(np.flatnonzero(there), due_ns[there], text_due_ns)
