"""Who sends what and when: the packets of a stream before any network touches them.

Times are milliseconds. *Media time* counts on the sender's clock; a packet's media times are what its timestamp says. It
*leaves* at a time of the receiver's clock: for a live sender when its media time has come, for a prerecorded one earlier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError

Floats = npt.NDArray[np.float64]

MOST_PACKETS = 1_000_000


@dataclass(frozen=True, eq=False)
class Packets:
    """A sender's packets.

    Attributes
    ----------
    media_ms, length_ms
        First frame and length of each packet on the sender's clock.
    leave_ms
        When it leaves, never decreasing.
    """

    media_ms: Floats
    length_ms: Floats
    leave_ms: Floats


def regular(rng: np.random.Generator, seconds: float, *, packet_ms: int = 20) -> Packets:
    """A live sender that never stops.

    Parameters
    ----------
    rng, seconds
        Chance (not needed here) and length of the stream.
    packet_ms
        Length of each packet.
    """
    _check_packet(packet_ms)
    media_ms = np.arange(_count(seconds * 1000.0 / packet_ms), dtype=np.float64) * packet_ms
    return Packets(media_ms, np.full(media_ms.size, float(packet_ms)), media_ms)


def talk(rng: np.random.Generator, seconds: float, *, packet_ms: int = 20, talk_s: float = 1.5, pause_s: float = 1.0) -> Packets:
    """A live sender that says nothing in pauses (mute, discontinuous transmission): numbers go on, timestamps jump.

    Parameters
    ----------
    rng, seconds
        Chance and length of the stream.
    packet_ms
        Length of each packet.
    talk_s, pause_s
        Means of talk and of pause, both exponential (Brady 1969 has 1.34 s and 1.67 s), each a whole number of packets and at least one.
    """
    _check_packet(packet_ms)
    _check("talk_s", talk_s, 0.01, 600.0)
    _check("pause_s", pause_s, 0.01, 600.0)
    slots = _count(seconds * 1000.0 / packet_ms)
    sends = np.zeros(slots, bool)
    at = 0
    while at < slots:
        spoken, silent = (max(1, round(rng.exponential(mean_s) * 1000.0 / packet_ms)) for mean_s in (talk_s, pause_s))
        sends[at : at + spoken] = True
        at += spoken + silent
    media_ms = np.flatnonzero(sends).astype(np.float64) * packet_ms
    return Packets(media_ms, np.full(media_ms.size, float(packet_ms)), media_ms)


def sizes(rng: np.random.Generator, seconds: float, *, lengths_ms: str = "20,60,10,40,120", every_s: float = 10.0) -> Packets:
    """A live sender that changes the length of its packets; a packet leaves when its last frame has been said.

    Parameters
    ----------
    rng, seconds
        Chance (not needed here) and length of the stream.
    lengths_ms
        The lengths in turn, whole tens from 10 to 120, separated by commas.
    every_s
        How long each is kept.
    """
    try:
        lengths = [int(text) for text in lengths_ms.split(",")]
    except ValueError:
        raise ConfigError(f"lengths_ms is {lengths_ms!r}; give whole numbers separated by commas, like 20,60,10") from None
    for length in lengths:
        _check_packet(length, "lengths_ms")
    _check("every_s", every_s, 0.12, 3600.0)
    _count(seconds * 1000.0 / min(lengths))
    parts: list[Floats] = []
    at_ms, turn = 0.0, 0
    while at_ms < seconds * 1000.0:
        length = lengths[turn % len(lengths)]
        count = max(1, round(min(every_s * 1000.0, seconds * 1000.0 - at_ms) / length))
        parts.append(np.full(count, float(length)))
        at_ms += count * length
        turn += 1
    length_ms = np.concatenate(parts)
    media_ms = np.cumsum(length_ms) - length_ms
    # The shortest packets leave at their media time, as those of `regular` do.
    leave_ms: Floats = np.maximum.accumulate(media_ms + length_ms - min(lengths))
    return Packets(media_ms, length_ms, leave_ms)


def tts(
    rng: np.random.Generator,
    seconds: float,
    *,
    packet_ms: int = 20,
    lead_ms: float = 2000.0,
    speed: float = 8.0,
    utterance_s: float = 6.0,
    pause_s: float = 2.0,
) -> Packets:
    """A synthesiser that is faster than real time: a burst until `lead_ms` of sound are ahead, then paced with that lead.

    Parameters
    ----------
    rng, seconds
        Chance and length of the stream.
    packet_ms
        Length of each packet.
    lead_ms
        How far ahead of real time it may send.
    speed
        Of the burst: seconds of sound made in a second.
    utterance_s, pause_s
        Means (exponential) of the utterances and of the pauses between them. An utterance's media time begins when its
        first packet leaves.
    """
    _check_packet(packet_ms)
    _check("lead_ms", lead_ms, 0.0, 600_000.0)
    _check("speed", speed, 1.0, 10_000.0)
    _check("utterance_s", utterance_s, 0.01, 3600.0)
    _check("pause_s", pause_s, 0.0, 3600.0)
    _count(seconds * 1000.0 / packet_ms)
    media: list[Floats] = []
    leave: list[Floats] = []
    at_ms = 0.0
    while at_ms < seconds * 1000.0:
        count = max(1, round(min(rng.exponential(utterance_s) * 1000.0, seconds * 1000.0 - at_ms) / packet_ms))
        place_ms = np.arange(count, dtype=np.float64) * packet_ms
        media.append(at_ms + place_ms)
        leave.append(at_ms + np.maximum(place_ms / speed, place_ms - lead_ms))
        pause_ms = rng.exponential(pause_s) * 1000.0 if pause_s else 0.0
        at_ms += (count + round(pause_ms / packet_ms)) * packet_ms
    media_ms = np.concatenate(media)
    return Packets(media_ms, np.full(media_ms.size, float(packet_ms)), np.maximum.accumulate(np.concatenate(leave)))


#: Senders by name; each takes a generator, a length in seconds, and its own settings by name.
SENDERS: dict[str, Callable[..., Packets]] = {"regular": regular, "talk": talk, "sizes": sizes, "tts": tts}


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value}; it must lie between {low} and {high}")


def _check_packet(packet_ms: float, name: str = "packet_ms") -> None:
    if packet_ms not in range(10, 121, 10):
        raise ConfigError(f"{name} has {packet_ms}; packets last 10, 20, … 120 ms")


def _count(packets: float) -> int:
    if not 1 <= packets <= MOST_PACKETS:
        raise ConfigError(f"seconds asks for {packets:.0f} packets; a modelled stream has 1 to {MOST_PACKETS}: choose other seconds")
    return round(packets)
