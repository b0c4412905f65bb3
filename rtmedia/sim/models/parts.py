"""What the network models are made of: losses, queues that keep order, stalls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: The fastest way through every model, where a model has no reason for another.
BASE_MS = 40.0
#: Packets that waited for the same thing come out of it one after the other, so far apart (1 kB at 80 Mbit/s).
BURST_GAP_MS = 0.1


def check(name: str, value: float, low: float, high: float) -> None:
    """Refuse a setting that lies outside its limits."""
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value}; it must lie between {low} and {high}")


def in_order(arrival_ms: Floats) -> Floats:
    """A queue: nobody arrives before whoever left earlier. Lost packets (NaN) hold nobody up."""
    kept = np.maximum.accumulate(np.where(np.isnan(arrival_ms), -np.inf, arrival_ms))
    return np.where(np.isnan(arrival_ms), np.nan, kept)


def gilbert_elliott(rng: np.random.Generator, packets: int, loss: float, burst_packets: float) -> Flags:
    """Which packets are lost: a chain of two states, of which the bad one loses everything (Gilbert 1960).

    Parameters
    ----------
    rng, packets
        Chance, and how many packets.
    loss
        Stationary share of the bad state.
    burst_packets
        Its mean length; 1 is plain random loss.
    """
    check("loss", loss, 0.0, 0.9)
    check("burst_packets", burst_packets, 1.0, 10_000.0)
    if burst_packets == 1.0 or loss == 0.0:  # a bad state of one packet could never follow another: less than chance
        return rng.random(packets) < loss
    # enter / (enter + leave) = loss; both states have geometric lengths.
    leave = 1.0 / burst_packets
    enter = leave * loss / (1.0 - loss)
    check("burst_packets", burst_packets, max(1.0, loss / (1.0 - loss)), 10_000.0)
    lost = np.zeros(packets, bool)
    at, bad = 0, bool(rng.random() < loss)
    while at < packets:
        length = int(rng.geometric(leave if bad else enter))
        lost[at : at + length] = bad
        at += length
        bad = not bad
    return lost


def stalled(arrival_ms: Floats, begin_ms: Floats, length_ms: Floats) -> Floats:
    """Nothing arrives within a stall; what would have, comes at its end in a burst, in order.

    Parameters
    ----------
    arrival_ms
        In order.
    begin_ms, length_ms
        The stalls, which do not overlap.
    """
    held = arrival_ms.copy()
    for begin, length in zip(begin_ms.tolist(), length_ms.tolist(), strict=True):
        inside = np.flatnonzero((held >= begin) & (held < begin + length))
        held[inside] = begin + length + BURST_GAP_MS * np.arange(inside.size)
    return in_order(held)


def poisson_times(rng: np.random.Generator, until_ms: float, every_ms: float) -> Floats:
    """Times up to `until_ms` with exponential gaps of mean `every_ms`."""
    times_ms = np.cumsum(rng.exponential(every_ms, _enough(until_ms, every_ms)))
    return times_ms[times_ms < until_ms]


def stalls(rng: np.random.Generator, until_ms: float, every_ms: float, draw_ms: Callable[[int], Floats]) -> tuple[Floats, Floats]:
    """Begin and length of stalls: `draw_ms` draws so many lengths; the gaps between one's end and the next are exponential."""
    gaps_ms = rng.exponential(every_ms, _enough(until_ms, every_ms))
    length_ms = draw_ms(gaps_ms.size)
    begin_ms = np.cumsum(gaps_ms) + np.cumsum(length_ms) - length_ms
    begin_ms = begin_ms[begin_ms < until_ms]
    return begin_ms, length_ms[: begin_ms.size]


def _enough(until_ms: float, every_ms: float) -> int:
    mean = max(0.0, until_ms) / every_ms
    return int(mean + 8.0 * mean**0.5 + 20.0)  # eight standard deviations of a Poisson count
