"""How much delay and concealment does the jitter buffer cost on many networks, against NetEQ, others and the physical limits?

Peers, all on the same arrivals: rtmedia (`rtmedia.simulate`: the production rooms), NetEQ in Chromium 156 (its *recorded* figures: it is
not run here), aiortc's JitterBuffer with a plain player (run here in virtual time, where it is installed: ``pip install -e .[peers]``),
a constant 200 ms (GStreamer's rtpjitterbuffer without its skew estimate), and three oracles that know the future.

J = mean delay + 10 000 ms x concealed share: 1 % of concealment costs as much as 100 ms of delay. Lower is better. A ratio is our J
over another's; means of ratios are geometric. J does not charge the gaps that rtmedia closes instead of making them up, as NetEQ and the
oracles do: beside NetEQ the ratio stands a second time, with them. The networks are in two parts, see `_jitter_sets.py`: those that may
be tuned on, and those that are held out.

``--plot FOLDER`` draws the figures, ``--only NAME`` keeps networks whose name contains it, ``--no-seeds`` leaves the models out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from _bench import parser_for, report
from _jitter_peers import PRICE_MS, Played, aiortc, fixed, limits, rtmedia
from _jitter_sets import HARD, HELD_OUT, TUNING, Case, neteq, recorded, seeded

#: Prices of the sweep. 10 000 is the default and what J is reckoned with.
PRICES_MS = (300, 600, 1_000, 2_000, 3_000, 5_000, 7_000, 10_000, 15_000, 20_000, 30_000, 50_000, 100_000, 300_000)
ORACLE_PRICES_MS = (1_000, 3_000, 10_000, 30_000, 100_000)
#: Differences that say nothing: a tick of concealment in a minute and a half, a tenth of a tick of delay.
SAME_PCT, SAME_MS = 0.015, 1.0
SCHEDULE, STRETCHING = "schedule oracle", "schedule oracle, 10 % stretch"

Rows = list[dict[str, Any]]
Curve = list[tuple[float, float]]  # mean delay in ms, concealed %


def peers(case: Case) -> dict[str, Played]:
    """Every peer that can be run on this network or was recorded on it, and the oracles."""
    trace = case.trace()
    found = {"rtmedia": rtmedia(case), "fixed 200 ms": fixed(trace)}
    live = aiortc(trace)
    if live is not None:
        found["aiortc"] = live
    figures = neteq().get(case.name) if case.seed is None else None
    if figures is not None:
        found["NetEQ (recorded)"] = Played(figures["above_min_ms"], figures["concealed_pct"])
    found |= {name: Played(bound.delay_ms, bound.concealed_pct) for name, bound in limits(trace).items()}
    return found


def mean_ratio(pairs: Iterable[tuple[float, float]]) -> float | None:
    """Geometric mean of first over second; None of nothing."""
    logs = [np.log(first / second) for first, second in pairs if first > 0 and second > 0]
    return float(np.exp(np.mean(logs))) if logs else None


# ---- recorded networks --------------------------------------------------------------------------------------------------------------


def recorded_rows(found: Mapping[Case, Mapping[str, Played]]) -> Rows:
    """One line for each network: delay and concealment of ours and NetEQ, and everybody's J."""
    rows: Rows = []
    for case, played in found.items():
        ours, theirs = played["rtmedia"], played.get("NetEQ (recorded)")
        rows.append(
            {
                "network": case.name,
                "part": case.part,
                "delay ms": round(ours.delay_ms, 1),
                "NetEQ's": "-" if theirs is None else round(theirs.delay_ms, 1),
                "concealed %": round(ours.concealed_pct, 2),
                "NetEQ's ": "-" if theirs is None else theirs.concealed_pct,
                "of speech %": "-" if ours.speech_pct is None else round(ours.speech_pct, 2),
                "J": round(ours.cost_ms()),
                "J NetEQ": "-" if theirs is None else round(theirs.cost_ms()),
                "ratio": "-" if theirs is None else round(ours.cost_ms() / theirs.cost_ms(), 3),
                "closed %": round(ours.closed_pct, 2),
                "ratio with it": "-" if theirs is None else round(ours.full_cost_ms() / theirs.cost_ms(), 3),
                **{f"J {name}": round(played[name].cost_ms()) if name in played else "-" for name in ("fixed 200 ms", "aiortc")},
                "J schedule": round(played[SCHEDULE].cost_ms()),
                "J stretching": round(played[STRETCHING].cost_ms()),
            }
        )
    return rows


def summary_rows(found: Mapping[Case, Mapping[str, Played]]) -> Rows:
    """Geometric means of our J over each peer's, for sets of networks and for both parts."""
    sets: dict[str, Callable[[Case], bool]] = {
        "all": lambda _: True,
        "stalls, Wi-Fi, step, cellular": lambda case: case.name in HARD,
        "5G": lambda case: case.name.startswith("5g"),
        "other models": lambda case: case.name not in HARD and not case.name.startswith("5g"),
        "tuning part": lambda case: case.part == TUNING,
        "held-out part": lambda case: case.part == HELD_OUT,
    }
    rows: Rows = []
    for name, belongs in sets.items():
        chosen = [played for case, played in found.items() if belongs(case)]
        if chosen:
            rows.append({"J of rtmedia over that of": name, "networks": len(chosen), **ratios(chosen)})
    return rows


def ratios(chosen: Sequence[Mapping[str, Played]]) -> dict[str, Any]:
    """Our J over each peer's: geometric means where both are known."""
    names = ("NetEQ (recorded)", "fixed 200 ms", "aiortc", "constant oracle", SCHEDULE, STRETCHING)
    row = {}
    for name in names:
        value = mean_ratio((played["rtmedia"].cost_ms(), played[name].cost_ms()) for played in chosen if name in played)
        row[name] = "-" if value is None else round(value, 3)
        if name == "NetEQ (recorded)":
            full = mean_ratio((played["rtmedia"].full_cost_ms(), played[name].cost_ms()) for played in chosen if name in played)
            row["closed gaps counted"] = "-" if full is None else round(full, 3)
    return row


# ---- curves -------------------------------------------------------------------------------------------------------------------------


def sweep(case: Case, prices_ms: Sequence[int], known: Played) -> Curve:
    """Our delay and concealment at each price."""
    runs = [known if price == PRICE_MS else rtmedia(case, float(price)) for price in prices_ms]
    return [(played.delay_ms, played.concealed_pct) for played in runs]


def least(curve: Curve, limit: float, axis: int) -> float | None:
    """The least of one figure that the curve has where the other one (`axis`) is at most `limit`; between neighbours it is a line."""
    points = [point[1 - axis] for point in curve if point[axis] <= limit]
    for first, second in pairwise(curve):
        low, high = sorted((first[axis], second[axis]))
        if low <= limit < high:
            share = (limit - first[axis]) / (second[axis] - first[axis])
            points.append(first[1 - axis] + share * (second[1 - axis] - first[1 - axis]))
    return min(points) if points else None


def matched_rows(curves: Mapping[Case, Curve]) -> Rows:
    """What the swept curve has at NetEQ's own delay, and at its own concealment."""
    rows: Rows = []
    for case, curve in curves.items():
        figures = neteq().get(case.name)
        if figures is None:
            continue
        delay_ms, concealed_pct = figures["above_min_ms"], figures["concealed_pct"]
        at_delay = least(curve, delay_ms, 0)
        at_concealed = least(curve, concealed_pct + SAME_PCT, 1)
        rows.append(
            {
                "network": case.name,
                "part": case.part,
                "NetEQ delay ms": delay_ms,
                "concealed %": concealed_pct,
                "ours at that delay %": "never so early" if at_delay is None else round(at_delay, 2),
                " ": mark(at_delay, concealed_pct, SAME_PCT),
                "ours at that % ms": "never so little" if at_concealed is None else round(at_concealed, 1),
                "  ": mark(at_concealed, delay_ms, SAME_MS),
            }
        )
    return rows


def mark(ours: float | None, theirs: float, same: float) -> str:
    """Better, the same or worse."""
    if ours is None:
        return "worse"
    return "=" if abs(ours - theirs) <= same else "better" if ours < theirs else "worse"


# ---- models -------------------------------------------------------------------------------------------------------------------------


def model_rows(found: Mapping[Case, Mapping[str, Played]], on_record: Mapping[Case, Mapping[str, Played]]) -> Rows:
    """Our J over the oracles' for every model: seeds of both parts beside the recorded trace of the same model."""
    rows: Rows = []
    recorded_by_name = {case.name: played for case, played in on_record.items()}
    for name in dict.fromkeys(case.name for case in found):
        mine = [(case, played) for case, played in found.items() if case.name == name and SCHEDULE in played]
        row: dict[str, Any] = {"model": name}
        for title, bound in (("schedule", SCHEDULE), ("stretching", STRETCHING)):
            for part in (TUNING, HELD_OUT):
                values = [played["rtmedia"].cost_ms() / max(1.0, played[bound].cost_ms()) for case, played in mine if case.part == part]
                row[f"{title}, {part}"] = f"{np.exp(np.mean(np.log(values))):.2f} ({min(values):.2f}-{max(values):.2f})" if values else "-"
            known = recorded_by_name.get(name)
            row[f"{title}, recorded"] = "-" if known is None else round(known["rtmedia"].cost_ms() / max(1.0, known[bound].cost_ms()), 2)
        delays = [played["rtmedia"] for _, played in mine]
        row["delay ms"] = round(float(np.mean([played.delay_ms for played in delays])), 1)
        row["concealed %"] = round(float(np.mean([played.concealed_pct for played in delays])), 2)
        rows.append(row)
    return rows


def model_summary_rows(found: Mapping[Case, Mapping[str, Played]]) -> Rows:
    """Geometric means over all models and seeds of a part."""
    rows: Rows = []
    for part in (TUNING, HELD_OUT):
        chosen = [played for case, played in found.items() if case.part == part]
        if chosen:
            rows.append({"J of rtmedia over that of": f"models, {part}", "networks": len(chosen), **ratios(chosen)})
    return rows


def speech_rows(found: Mapping[Case, Mapping[str, Played]]) -> Rows:
    """Concealment weighted by speech beside plain: below 1 the buffer conceals where nobody talks."""
    rows: Rows = []
    for peer in ("rtmedia", "fixed 200 ms", "aiortc"):
        known = [played[peer] for played in found.values() if peer in played and played[peer].speech_pct is not None]
        if known:
            plain, speech = (float(np.mean([getattr(one, name) for one in known])) for name in ("concealed_pct", "speech_pct"))
            rows.append(
                {"peer": peer, "networks": len(known), "concealed %": plain, "of speech %": speech, "ratio": speech / max(plain, 1e-9)}
            )
    return rows


# ---- the run ------------------------------------------------------------------------------------------------------------------------


def run_all(cases: Iterable[Case], what: str) -> dict[Case, dict[str, Played]]:
    """Every peer on every network, telling how far it is."""
    found = {}
    cases = list(cases)
    for count, case in enumerate(cases, 1):
        _tell(f"{what} {count} of {len(cases)}: {case.name}{'' if case.seed is None else f', seed {case.seed}'}")
        found[case] = peers(case)
    return found


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _parsed() -> argparse.Namespace:
    parser = parser_for(__doc__ or "")
    parser.add_argument("--only", metavar="NAME", default="", help="networks whose name contains this")
    parser.add_argument("--no-seeds", action="store_true", help="recorded networks only")
    return parser.parse_args()


def main() -> None:
    asked = _parsed()
    cases = [case for case in recorded() if asked.only in case.name]
    models = [] if asked.no_seeds else [case for case in seeded() if asked.only in case.name]
    prices: Sequence[int] = PRICES_MS
    if asked.tiny:
        cases = [case for case in cases if case.name == "5g_edge_n78_v50_a"]
        models = [case for case in seeded(8.0) if case.name in ("ws_stall", "tcp 1 %, 80 ms") and case.seed in (1, 101)]
        prices = (1_000, 10_000)
    on_record = run_all(cases, "recorded network")
    on_models = run_all(models, "model")
    curves: dict[Case, Curve] = {}
    for count, (case, played) in enumerate(on_record.items(), 1):
        _tell(f"sweep {count} of {len(on_record)}: {case.name}")
        curves[case] = sweep(case, prices, played["rtmedia"])
    _tell("")
    compared = {case: played for case, played in on_record.items() if "NetEQ (recorded)" in played}
    facts = {
        "recorded networks (J = mean delay + 10 000 ms x concealed share; NetEQ's figures are recorded, not run here)": recorded_rows(
            on_record
        ),
        "geometric means on the recorded networks with a NetEQ figure": summary_rows(compared),
        "the price swept: ours at NetEQ's own delay, and at NetEQ's own concealment": matched_rows(curves),
        "other seeds: our J over the oracles' (NetEQ cannot be run here: compare with the recorded trace's ratio)": model_rows(
            on_models, on_record
        ),
        "geometric means over models and seeds": model_summary_rows(on_models),
        "concealment of speech against concealment of anything": speech_rows({**on_record, **on_models}),
    }
    facts = {name: rows for name, rows in facts.items() if rows}
    kept = {
        "price_ms": PRICE_MS,
        "prices_ms": list(prices),
        "networks": [
            {
                **asdict(case),
                "source": case.source.rpartition("/")[2],
                "peers": {name: {**asdict(one), "j": one.cost_ms()} for name, one in played.items()},
            }
            for case, played in {**on_record, **on_models}.items()
        ],
        "curves": {case.name: curve for case, curve in curves.items()},
    }
    missing = [] if aiortc.__globals__["JitterBuffer"] is not None else ["aiortc (pip install -e .[peers])"]

    def draw(folder: Path) -> list[Path]:
        from _jitter_plots import draw as draw_figures

        bounds = {}
        for case in curves:
            trace = case.trace()
            bounds[case] = {price: limits(trace, float(price)) for price in ((10_000,) if asked.tiny else ORACLE_PRICES_MS)}
        return draw_figures(folder, on_record, on_models, curves, bounds)

    report(__doc__ or "", [], asked, facts, missing=missing, draw=draw, **kept)


if __name__ == "__main__":
    main()
