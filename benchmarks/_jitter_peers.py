"""What each jitter buffer makes of a network: its playout delay and what it has to make up.

Delay is that of each 10 ms of output above the fastest packet of the whole trace, before any device. J is the mean delay plus price times
concealed share, the price being the delay that is worth 100 % concealment.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from _jitter_sets import Case

from rtmedia.config import Config, Jitter
from rtmedia.sim.activity import speech_marks
from rtmedia.sim.oracle import Bound, constant_oracle, schedule_oracle
from rtmedia.sim.script import conversation
from rtmedia.sim.trace import Trace
from rtmedia.simulation import simulate

try:
    from aiortc.jitterbuffer import JitterBuffer
    from aiortc.rtp import RtpPacket
except ImportError:
    JitterBuffer = None

TICK_MS = 10.0
#: Delay worth as much as 100 % concealment.
PRICE_MS = 10_000.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Played:
    """What one buffer did on one network.

    Attributes
    ----------
    delay_ms, concealed_pct
        Mean, and share of the output.
    speech_pct
        Share of the *speech* that was made up; None where nobody knows.
    events
        How often a concealment began; None where nobody knows.
    closed_pct
        Share that was left out without being made up: of lost sound, by a buffer that closes gaps. J does not charge it.
    """

    delay_ms: float
    concealed_pct: float
    speech_pct: float | None = None
    events: int | None = None
    closed_pct: float = 0.0

    def cost_ms(self, price_ms: float = PRICE_MS) -> float:
        """J."""
        return self.delay_ms + price_ms * self.concealed_pct / 100.0

    def full_cost_ms(self) -> float:
        """J with closed gaps counted as if they were concealed: what to compare with those that make up all that is lost."""
        return self.cost_ms() + PRICE_MS * self.closed_pct / 100.0


def rtmedia(case: Case, price_ms: float = PRICE_MS) -> Played:
    """The production rooms, through `rtmedia.simulate`, effects off."""
    result = simulate(Config(effects=(), jitter=Jitter(price_ms=price_ms)), trace=case.source, oracles=False)
    report = result.report
    return Played(
        report["mean_delay_ms"],
        report["concealed_pct"],
        report["speech_concealed_pct"],
        report["concealment_events"],
        report["closed_pct"],
    )


def fixed(trace: Trace, latency_ms: float = 200.0) -> Played:
    """A constant delay from the first packet on, what is late is concealed: GStreamer's rtpjitterbuffer has 200 ms by default.

    Its skew estimate, which moves the delay, is left out.
    """
    begin_ms, length_ms = trace.timeline()
    arrival_ms = _arrivals(trace)
    came = np.flatnonzero(np.isfinite(arrival_ms))
    transit_ms = arrival_ms - begin_ms
    packet = np.repeat(np.arange(begin_ms.size), length_ms // 10)
    within = np.arange(packet.size) - np.repeat(np.cumsum(length_ms // 10) - length_ms // 10, length_ms // 10)
    media_ms = begin_ms[packet] + TICK_MS * within
    first_ms = transit_ms[came[0]]
    missed = ~(arrival_ms[packet] <= media_ms + first_ms + latency_ms)
    return Played(
        float(first_ms - transit_ms[came].min()) + latency_ms, 100.0 * float(missed.mean()), _speech_pct(media_ms, missed), _starts(missed)
    )


def aiortc(trace: Trace) -> Played | None:
    """The class of aiortc itself, ``JitterBuffer(16, prefetch=4)``, fed in virtual time, and the simplest player behind it.

    The player begins with the first frame that comes out and takes one frame a packet length, in their order; where there is none, it plays
    a packet length of nothing. None where aiortc is not installed, and for senders that pause or change their packets: such a player has no
    timestamps, and its silence in a pause is right.
    """
    if JitterBuffer is None or not trace.regular:
        return None
    buffer = JitterBuffer(capacity=16, prefetch=4)
    begin_ms, length_ms = trace.timeline()
    arrival_ms = _arrivals(trace)
    packet_ms = float(np.median(length_ms))
    fastest_ms = float(np.nanmin(arrival_ms - begin_ms))
    out: deque[tuple[float, float]] = deque()  # when, media time
    for index in np.argsort(arrival_ms, kind="stable").tolist():
        if np.isfinite(arrival_ms[index]):
            packet = RtpPacket(sequence_number=index & 0xFFFF, timestamp=int(begin_ms[index]))
            packet._data = b"."
            frame = buffer.add(packet)[1]
            if frame is not None:
                out.append((float(arrival_ms[index]), float(frame.timestamp)))
    if not out:
        return Played(0.0, 100.0, 100.0, 1)
    now_ms, media_ms = out[0]
    delays, media, empty = [], [], []
    while out:
        if out[0][0] <= now_ms:
            media_ms = out.popleft()[1]
            delays.append(now_ms - media_ms - fastest_ms)
            empty.append(False)
        else:
            media_ms += packet_ms
            empty.append(True)
        media.append(media_ms)
        now_ms += packet_ms
    missed = np.array(empty)
    return Played(float(np.mean(delays)), 100.0 * float(missed.mean()), _speech_pct(np.array(media), missed), _starts(missed))


def limits(trace: Trace, price_ms: float = PRICE_MS) -> dict[str, Bound]:
    """What no buffer can beat: `rtmedia.sim.oracle`."""
    return {
        "constant oracle": constant_oracle(trace, price_ms),
        "schedule oracle": schedule_oracle(trace, price_ms),
        "schedule oracle, 10 % stretch": schedule_oracle(trace, price_ms, stretch=0.10),
    }


def _arrivals(trace: Trace) -> Floats:
    arrival_ms = np.full(int(trace.seq[-1] - trace.seq[0]) + 1, np.nan)
    arrival_ms[trace.seq - trace.seq[0]] = trace.arrival_ms - trace.send_ms[0]
    return arrival_ms


@lru_cache(maxsize=1)
def _speech() -> npt.NDArray[np.bool_]:
    """The marks by which the simulation weighs our own concealment: those of the embedded conversation, which repeats."""
    sound = conversation()[0]
    return speech_marks(sound.block, sound.rate_hz)


def _speech_pct(media_ms: Floats, concealed: npt.NDArray[np.generic]) -> float:
    """Share of the speech that was made up; a tick belongs to the media that it plays, or waits for."""
    speech = _speech()
    spoken = speech[np.floor(np.maximum(media_ms, 0.0) / TICK_MS + 1e-9).astype(np.int64) % speech.size]
    return 100.0 * float(concealed[spoken].astype(np.float64).sum()) / max(1, int(spoken.sum()))


def _starts(missed: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(missed & ~np.concatenate([[False], missed[:-1]])))
