"""A simulation's figures as a person reads them: a run or a replay in groups, several as a table, and what they have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rtmedia.cli.terminal import clean, clock

Report = Mapping[str, Any]

#: What is averaged over the runs at one price, and shown in the table.
AVERAGED = (
    "mean_delay_ms",
    "p95_delay_ms",
    "concealed_pct",
    "speech_concealed_pct",
    "stops_150ms",
    "accelerated_pct",
    "decelerated_pct",
    "cost_j",
    "oracle_constant_j",
    "oracle_schedule_j",
    "oracle_stretch_j",
)
#: Above zero whatever happens: only of these a geometric mean says anything.
GEOMETRIC = ("mean_delay_ms", "p95_delay_ms", "cost_j", "oracle_constant_j", "oracle_schedule_j", "oracle_stretch_j")


def above_pct(cost: float | None, best: float | None) -> float | None:
    """How far `cost` lies above the best that was possible, in per cent; None where that is not known."""
    if cost is None or best is None or best <= 0.0:
        return None
    return 100.0 * (cost / best - 1.0)


def means(reports: Iterable[Report]) -> dict[str, dict[str, float]]:
    """Arithmetic and geometric means over runs, of what every run has."""
    found = list(reports)
    result: dict[str, dict[str, float]] = {"arithmetic": {}, "geometric": {}}
    for name in AVERAGED:
        values = [report.get(name) for report in found]
        numbers = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
        if not found or len(numbers) < len(found):
            continue
        result["arithmetic"][name] = sum(numbers) / len(numbers)
        if name in GEOMETRIC and min(numbers) > 0.0:
            result["geometric"][name] = math.exp(sum(map(math.log, numbers)) / len(numbers))
    return result


def duration(milliseconds: float) -> str:
    """``0 ms``, ``340 ms``, ``1.2 s``, ``61 s``."""
    if milliseconds < 1000.0:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000.0:.1f} s" if milliseconds < 10_000.0 else f"{milliseconds / 1000.0:.0f} s"


def number(value: float) -> str:
    """Whole; no gaps between thousands, so that a pipe can cut columns at them."""
    return f"{value:.0f}"


def percent(value: float) -> str:
    """Two digits behind the point: 0.01 % of ten minutes is a word."""
    return f"{value:.2f} %"


def single_rows(report: Report) -> list[tuple[str, str]]:
    """Name and text of each group of one run's figures; lines no longer than an ordinary terminal takes."""

    def has(*names: str) -> bool:
        return all(report.get(name) is not None for name in names)

    r = report
    price_ms = float(r["price_ms"])
    rows = [
        ("stream", f"{clock(r['seconds'])} over {clean(str(r['run']), 40)}; {r['profile']}, transport {r['transport']}"),
        ("delay", f"{r['mean_delay_ms']:.0f} ms mean, {r['p50_delay_ms']:.0f} ms median, {r['p95_delay_ms']:.0f} ms at 95 %"),
    ]
    concealed = percent(r["concealed_pct"])
    if has("speech_concealed_pct"):
        concealed += f", of the speech {percent(r['speech_concealed_pct'])}"
    if r["concealment_events"]:
        times = f"in {r['concealment_events']} places" if r["concealment_events"] > 1 else "in one place"
        times += f"; waiting {percent(r['concealed_hold_pct'])}, in place of lost sound {percent(r['concealed_advance_pct'])}"
        concealed += f"\n{times}"
    rows.append(("concealed", concealed))
    rows.append(("stops", _stops(r["stops_150ms"], r["longest_stop_ms"])))
    if has("recover50_ms", "recover90_ms"):
        rows.append(("recovery", f"half after {duration(r['recover50_ms'])}, 90 % after {duration(r['recover90_ms'])}"))
    stretched = f"{percent(r['accelerated_pct'])} cut out, {percent(r['decelerated_pct'])} put in"
    if r["resync_ms"]:
        stretched += f"\n{duration(r['resync_ms'])} skipped after outages"
    rows.append(("stretched", stretched))
    rows.append(("packets", _packets(r)))
    rows.append(("cost J", _costs(r, price_ms)))
    known = (
        ("oracle_constant_j", "with one delay"),
        ("oracle_schedule_j", "with any schedule"),
        ("oracle_stretch_j", "with stretching too"),
    )
    best = [f"{number(r[name])} ms {text}{_compared(r['cost_j'], r[name])}" for name, text in known if has(name)]
    if best:
        rows.append(("hindsight", "\n".join(best)))
    if r["captions"]:
        skew_ms = float(r["caption_skew_ms"])
        rows.append(("captions", f"{r['captions']}, {abs(skew_ms):.0f} ms {'after' if skew_ms >= 0 else 'before'} their words"))
    return rows


def session_rows(report: Report, name: str) -> list[tuple[str, str]]:
    """Name and text of each group of a replayed session's figures, beginning with how it compares to the live one."""
    r = report
    rows = [("session", f"{clock(r['seconds'])} of {clean(name, 40)}"), ("compared", _held_against(r))]
    if r["cut"]:
        rows.append(("cut short", clean(str(r["cut"]), 200)))
    rows.append(("delay", f"{r['mean_delay_ms']:.0f} ms mean, {r['p50_delay_ms']:.0f} ms median, {r['p95_delay_ms']:.0f} ms at 95 %"))
    concealed, events = percent(r["concealed_pct"]), r["concealment_events"]
    if events:
        concealed += f" in {events} places" if events > 1 else " in one place"
    rows.append(("concealed", concealed))
    rows.append(("stops", _stops(r["stalls"], r["longest_stall_ms"])))
    stretched = f"{percent(r['accelerated_pct'])} cut out, {percent(r['decelerated_pct'])} put in"
    if r["resync_ms"]:
        stretched += f"\n{duration(r['resync_ms'])} skipped after outages"
    rows.append(("stretched", stretched))
    rows.append(("packets", _packets(r, "arrived")))
    if r["underruns"]:
        rows.append(("underruns", f"{r['underruns']} of the sound device"))
    if r["captions"]:
        rows.append(("captions", str(r["captions"])))
    return rows


def _held_against(r: Report) -> str:
    compared, different = r["ticks_compared"], r["ticks_different"]
    if not compared:
        return "with nothing: the capture holds no ticks that this version can read"
    if different:
        return f"{different} of {compared} ticks differ from the live session, the first is number {r['first_difference']}"
    return f"{compared} ticks, each as it was live, to the bit"


def _compared(cost: float, best: float) -> str:
    gap = above_pct(cost, best)
    if gap is None:
        return ""
    return f", J is {abs(gap):.0f} % {'above' if gap >= 0.0 else 'below'}"


def _stops(count: int, longest_ms: float) -> str:
    return f"{count} of 150 ms or more, the longest {duration(longest_ms)}" if count else "none of 150 ms or more"


def _packets(r: Report, what_is_counted: str = "sent") -> str:
    parts = [f"{number(r['packets'])} {what_is_counted}"]
    parts += [f"{percent(r[f'{what}_pct'])} {what}" for what in ("lost", "late", "duplicate") if r[f"{what}_pct"]]
    if r.get("overflow_pct"):  # a replay does not have it
        parts.append(f"{percent(r['overflow_pct'])} without room\n(too many came at once)")
    return ", ".join(parts) + ("" if len(parts) > 1 else ", none lost, none late")


def _costs(r: Report, price_ms: float) -> str:
    others = [price for price in (3_000, 10_000, 30_000) if price != price_ms]
    text = f"{number(r['cost_j'])} ms at the price {number(price_ms)} ms"
    if others:
        text += "\n" + ", ".join(f"{number(r[f'cost_j_{price}'])} at {number(price)}" for price in others)
    return text


def groups(reports: Sequence[Report]) -> list[tuple[float, list[Report]]]:
    """Reports by price, in the order in which the prices come."""
    found: dict[float, list[Report]] = {}
    for report in reports:
        found.setdefault(float(report["price_ms"]), []).append(report)
    return list(found.items())
