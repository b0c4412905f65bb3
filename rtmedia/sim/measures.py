"""What a simulated run was worth: every figure of its report, from the records it left behind.

Pure: arrays and totals in, plain values out, ready for ``json.dumps``; what there was none of is None. `rtmedia.simulate`
lists the keys with their units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError
from rtmedia.jitter.state import ACCELERATE, DECELERATE, DRAIN, ENDED, HOLD, IDLE, WAIT
from rtmedia.sim.oracle import lateness_ms, media_place_ms, oracle_report
from rtmedia.sim.trace import Trace
from rtmedia.units import NS_PER_MS, ms_of_frames

TICK_MS = 10
#: Prices at which every run is judged, whatever it was tuned for: delay worth as much as 100 % concealment.
PRICES_MS = (3_000, 10_000, 30_000)
#: A rise of the playout delay by so much within so long is a spike; one that lasts longer never ended.
SPIKE_MS = 150.0
SPIKE_WITHIN_MS = 1_000
SPIKE_LIMIT_MS = 30_000.0
#: A delay that grows by less stays as it is: half a tick. Staying at the top is part of the recovery's time.
LEVEL_MS = 5.0
#: Window in which NetEQ looks for the fastest packet.
_BASE_WINDOW_MS = 2_000

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Playout:
    """The ticks that play something, and how late.

    Attributes
    ----------
    playing : bool array
        One mark for each tick of the run; the other arrays have an entry for each that is set.
    media_ms, delay_ms : float64 arrays
        Media time since the first packet, and the delay above the fastest packet: with a sender's pauses taking their time.
    silent : bool array
        Which of them lie in a pause.
    fastest_ms : float
        What the fastest packet took, from the sender's clock to the receiver's: the zero of `delay_ms`.
    """

    playing: npt.NDArray[np.bool_]
    media_ms: _Floats
    delay_ms: _Floats
    silent: npt.NDArray[np.bool_]
    fastest_ms: float

    def of_ticks(self) -> _Floats:
        """`delay_ms` for every tick, NaN while nothing plays."""
        delay_ms = np.full(self.playing.size, np.nan)
        delay_ms[self.playing] = self.delay_ms
        return delay_ms


def playout(ticks: npt.NDArray[Any], arrivals: Trace, *, rate_hz: int, start_ns: int, start_media_ms: float) -> Playout:
    """How late each tick played.

    Parameters
    ----------
    ticks, arrivals, rate_hz
        As for `measure`.
    start_ns
        Time of the clock in `ticks` at which the stream began.
    start_media_ms
        Media time of the first packet.

    Raises
    ------
    ConfigError
        Nothing was played.

    Notes
    -----
    Thread: any.   Real-time: no.
    """
    playing = ~np.isin(ticks["op"], (IDLE, WAIT, ENDED))
    came, sent = int(np.isfinite(arrivals.arrival_ms).sum()), _sent(arrivals)
    if came == 0 or not playing.any():
        raise ConfigError(
            f"nothing was played: {came} of {sent} packets arrive; check the network's loss, or the arrival_ms column of a trace"
        )
    fastest_ms = float(np.nanmin(arrivals.arrival_ms - media_place_ms(arrivals)))
    time_ms = (ticks["time_ns"][playing] - start_ns) / NS_PER_MS
    media_ms = ticks["media_pos"][playing] * 1000.0 / rate_hz - start_media_ms
    media_ms, silent = through_pauses(time_ms, media_ms, arrivals)
    return Playout(playing, media_ms, time_ms - media_ms - fastest_ms, silent, fastest_ms)


def _sent(arrivals: Trace) -> int:
    return int(arrivals.seq[-1] - arrivals.seq[0]) + 1


def measure(
    ticks: npt.NDArray[Any],
    totals: Any,
    arrivals: Trace,
    heard: Playout,
    *,
    rate_hz: int,
    speech: npt.NDArray[np.bool_],
    price_ms: float,
    duplicates: int = 0,
    overflow: int = 0,
    neteq: Mapping[str, float] | None = None,
    oracles: bool = True,
) -> dict[str, Any]:
    """All figures of one run but those of its captions.

    Parameters
    ----------
    ticks
        One record a tick with the fields ``tick time_ns media_pos media_ms op concealed``
        (`rtmedia.rooms.doorways.TICK_DTYPE`).
    totals
        The jitter buffer's, by name (`rtmedia.jitter.state.BUFFER_DTYPE`).
    arrivals
        When each packet sent came, in ms from the stream's beginning.
    heard
        `playout` of these ticks.
    rate_hz
        Of the source.
    speech
        One mark per 10 ms of what was sent; the recording repeats.
    price_ms
        The price that the run was tuned for: its own cost and the oracles' are in it.
    duplicates
        Packets that came twice.
    overflow
        Packets that came when there was no room for them.
    neteq
        Totals by NetEQ's names, see `rtmedia.rooms.neteq`.
    oracles
        Whether to compute what could have been, see `rtmedia.sim.oracle`.

    Notes
    -----
    Thread: any.   Real-time: no.
    """
    playing, media_ms, delay_ms, silent = ticks[heard.playing], heard.media_ms, heard.delay_ms, heard.silent
    # The tick in which a pause begins waits for nothing else.
    paused = silent | ((playing["op"] == HOLD) & np.append(silent[1:], False))
    frames = int(totals["total"])
    concealed = int(totals["concealed"]) / max(1, frames)
    sent = _sent(arrivals)
    mean_ms = float(delay_ms.mean())
    report: dict[str, Any] = {
        "mean_delay_ms": mean_ms,
        **{f"p{share}_delay_ms": float(np.percentile(delay_ms, share)) for share in (50, 95, 99)},
        "fastest_ms": heard.fastest_ms,
        **shares(totals, frames, rate_hz),
        "speech_concealed_pct": _speech_share(media_ms[~paused], playing["concealed"][~paused], speech, rate_hz),
        "stretch_peak_pct": stretch_peak_pct(ticks),
        "late_pct": 100.0 * int(totals["late"]) / sent,
        "lost_pct": 100.0 * (sent - int(np.isfinite(arrivals.arrival_ms).sum())) / sent,
        "duplicate_pct": 100.0 * duplicates / sent,
        "overflow_pct": 100.0 * overflow / sent,
        **stops(totals, rate_hz),
        **_recovery(delay_ms),
        "packets": sent,
        "frames": frames,
        "seconds": frames / rate_hz,
        "price_ms": float(price_ms),
        "cost_j": mean_ms + price_ms * concealed,
        **{f"cost_j_{price}": mean_ms + price * concealed for price in PRICES_MS},
    }
    if oracles:
        report |= oracle_report(arrivals, price_ms)
    report["neteq"] = dict(neteq or {}) | {"relativePacketArrivalDelay": relative_delay_s(arrivals)}
    return report


def shares(totals: Any, frames: int, rate_hz: int) -> dict[str, float]:
    """What was done to the sound, as parts of all `frames` played; `totals` as for `measure`."""
    percent = 100.0 / max(1, frames)
    names = {"concealed": "concealed", "held": "concealed_hold", "advanced": "concealed_advance"}
    names |= {name: name for name in ("closed", "accelerated", "decelerated")}
    events = int(totals["conceal_events"])
    return {
        **{f"{key}_pct": int(totals[name]) * percent for name, key in names.items()},
        "concealment_events": events,
        "events_per_min": events * 60.0 * rate_hz / max(1, frames),
    }


def stops(totals: Any, rate_hz: int) -> dict[str, float]:
    """What was skipped, how often playback stopped, and for how long at most; `totals` as for `measure`."""
    count, longest_ms = int(totals["stalls"]), ms_of_frames(int(totals["longest_stall"]), rate_hz)
    return {
        "resync_ms": ms_of_frames(int(totals["resync"]), rate_hz),
        "stalls": count,
        "stops_150ms": count,
        "longest_stall_ms": longest_ms,
        "longest_stop_ms": longest_ms,
    }


def _speech_share(media_ms: _Floats, concealed: npt.NDArray[Any], speech: npt.NDArray[np.bool_], rate_hz: int) -> float | None:
    """Share of the speech that is made up, in percent; a tick belongs to the media that it begins with, or waits for."""
    if not speech.any():
        return None
    place = np.floor(np.maximum(media_ms, 0.0) / TICK_MS + 1e-9).astype(np.int64)
    spoken = speech[place % speech.size]
    if not spoken.any():
        return None
    return 100.0 * float(concealed[spoken].sum()) / (int(spoken.sum()) * rate_hz * TICK_MS / 1000)


def through_pauses(time_ms: _Floats, media_ms: _Floats, arrivals: Trace) -> tuple[_Floats, npt.NDArray[np.bool_]]:
    """Media time of each tick when a sender's pauses take their time, and which ticks lie in one.

    A buffer stands still at the beginning of a pause, since only the packet after it tells that it was none of the network's doing.
    """
    silent = np.zeros(media_ms.size, np.bool_)
    if arrivals.regular:
        return media_ms, silent
    begin_ms, length_ms = arrivals.timeline()
    end_ms = begin_ms + length_ms
    moved_ms = media_ms.copy()
    gaps = np.flatnonzero(begin_ms[1:] > end_ms[:-1])
    # In the order of media time, which a splice may turn back: a pause's ticks then lie side by side.
    order = np.argsort(media_ms, kind="stable")
    first = np.searchsorted(media_ms, end_ms[gaps] - 1e-3, side="right", sorter=order)
    behind = np.searchsorted(media_ms, begin_ms[gaps + 1] - 1e-3, side="left", sorter=order)
    for gap, low, high in zip(gaps.tolist(), first.tolist(), behind.tolist(), strict=True):
        inside = np.sort(order[low:high])
        if inside.size:
            passed_ms = media_ms[inside[0]] + time_ms[inside] - time_ms[inside[0]]
            moved_ms[inside] = np.maximum(media_ms[inside], np.minimum(begin_ms[gap + 1], passed_ms))
            silent[inside] = moved_ms[inside] < begin_ms[gap + 1]
    return moved_ms, silent


def stretch_peak_pct(ticks: npt.NDArray[Any]) -> float:
    """The most media that any second was faster and slower by, in percent: how busy the stretching ever was."""
    moved_ms = np.diff(ticks["media_ms"])
    stretched = np.isin(ticks["op"][:-1], (ACCELERATE, DECELERATE, DRAIN)) & (ticks["concealed"][:-1] == 0)
    stretched &= (np.diff(ticks["tick"]) == 1) & np.isfinite(moved_ms)
    total_ms = np.cumsum(np.concatenate([[0.0], np.where(stretched, np.abs(moved_ms - TICK_MS), 0.0)]))
    window = min(1000 // TICK_MS, total_ms.size - 1)
    if window == 0:
        return 0.0
    return float((total_ms[window:] - total_ms[:-window]).max()) / (window * TICK_MS) * 100.0


def recoveries(delay_ms: _Floats) -> list[tuple[float, float]]:
    """For each spike of the playout delay, ms from its top until 50 and 90 % of what it added are gone.

    A spike is a rise of `SPIKE_MS` or more within `SPIKE_WITHIN_MS`; every stop of that length that waits is one. What it
    added is its top less the least delay of that window before the rise was so large, and not before the top of the spike
    before. Its top is reached when nothing larger comes for `SPIKE_WITHIN_MS`. What is not gone after
    `SPIKE_LIMIT_MS` or at the end of the stream never is (infinite). `delay_ms` holds one value a tick.
    """
    within = SPIKE_WITHIN_MS // TICK_MS
    # The least of the window before each tick. Behind a top the window begins there: found anew for its first second.
    lowest = _least_before(delay_ms, within)
    found: list[tuple[float, float]] = []
    at = 0
    while True:
        lowest[at : at + within] = np.minimum.accumulate(delay_ms[at : at + within])
        begun = np.flatnonzero(delay_ms[at:] - lowest[at:] >= SPIKE_MS)
        if begun.size == 0:
            return found
        start = top = at + int(begun[0])
        base_ms = lowest[start]
        while (following := delay_ms[top + 1 : top + 1 + within]).size and following.max() > delay_ms[top] + LEVEL_MS:
            top += 1 + int(following.argmax())
        after = delay_ms[top : top + int(SPIKE_LIMIT_MS) // TICK_MS] - base_ms
        added_ms = float(after[0])
        found.append((_first_below(after, 0.5 * added_ms), _first_below(after, 0.1 * added_ms)))
        at = top + 1


def _least_before(delay_ms: _Floats, within: int) -> _Floats:
    padded = np.concatenate([np.full(within, np.inf), delay_ms])
    least: _Floats = np.lib.stride_tricks.sliding_window_view(padded, within + 1).min(axis=1)
    return least


def _first_below(values: _Floats, limit: float) -> float:
    """Time until the first value that is not above `limit`."""
    places = np.flatnonzero(values <= limit)
    return float(places[0] * TICK_MS) if places.size else math.inf


def _recovery(delay_ms: _Floats) -> dict[str, Any]:
    """Medians over the spikes; None where there was none, or where the usual one does not recover."""
    found = recoveries(delay_ms)
    report: dict[str, Any] = {"spikes": len(found)}
    for name, column in (("recover50_ms", 0), ("recover90_ms", 1)):
        # The upper middle of an even number: between a number and infinity there is no mean.
        median_ms = sorted(times[column] for times in found)[len(found) // 2] if found else math.inf
        report[name] = median_ms if math.isfinite(median_ms) else None
    return report


def relative_delay_s(arrivals: Trace) -> float:
    """NetEQ's ``relativePacketArrivalDelay``: the sum over packets of their delay above the fastest of the last 2 s."""
    late_ms = lateness_ms(arrivals)
    window = max(1, int(_BASE_WINDOW_MS // arrivals.packet_ms))
    padded = np.concatenate([np.full(window - 1, np.inf), late_ms])
    base_ms = np.lib.stride_tricks.sliding_window_view(padded, window).min(axis=1)
    came = np.isfinite(late_ms)
    return float((late_ms[came] - base_ms[came]).sum()) / 1000.0
