"""How much better does speech in noise sound behind the gate, and behind others' noise suppressors?

DNSMOS P.835 (overall, signal, background), wideband PESQ, STOI, how much quieter pauses become, and musical noise (LKR, the log
kurtosis ratio: 0 = none added). Mixtures by seed (`_dsp_mixtures.py`), telephone prompts in generated noises at 0, 5, 10 and 20 dB:
those that the gate was tuned on, and apart from them the voices and noises that were kept aside. Every peer hears the same samples
from its own fresh start; its delay is measured and taken out before anything is compared. Then: speech 40 dB above its noise,
which should be left alone, and how soon a noise that becomes 12 dB louder is down again. Times beside it are those of
`dsp_gate.py`, a few blocks of it: enough for a picture, not to be quoted.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from _bench import Row, compare, interleaved, parser_for, report
from _dsp_mixtures import (
    CLEAN_SNR_DB,
    DEV_NOISES,
    RATE_HZ,
    SNRS_DB,
    STEADY,
    STEP_DB,
    STEP_S,
    Clip,
    Spec,
    make,
    specs,
    step_noise,
    tiny_specs,
)
from _dsp_peers import OURS, WEBRTC, Suppressor, delay_frames, suppressors
from _dsp_scores import Score, Sound, score, settling_s
from dsp_gate import frame_times

NOISY = "noisy input"
SPLITS = ("dev", "held-out")
STEP_NOISES = ("fan", "white", "pink")
STEP_SEEDS = (11, 12, 13, 14)


@dataclass(frozen=True)
class Judged:
    """What one peer made of one clip."""

    peer: str
    spec: Spec
    score: Score


def judge(peers: Sequence[Suppressor], chosen: Sequence[Spec], segments: int | None) -> list[Judged]:
    """Everyone on every clip, the noisy input first."""
    found = []
    for done, spec in enumerate(chosen):
        clip = make(spec)
        print(f"\r{spec.split}: clip {done + 1} of {len(chosen)} ", end="", file=sys.stderr, flush=True)
        found.append(Judged(NOISY, spec, _scored(clip, clip.noisy, segments)))
        found += [Judged(peer.name, spec, _scored(clip, peer.process(clip.noisy), segments)) for peer in peers]
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    return found


def _scored(clip: Clip, sound: Sound, segments: int | None) -> Score:
    return score(clip.clean, clip.noisy, sound, segments=segments)


def means(judged: Sequence[Judged], peer: str, *, gain: bool = True) -> dict[str, float]:
    """Mean scores of one peer; with `gain` those that the noisy input has, too, as differences from its.

    A score that cannot be had on a clip (LKR behind a peer that leaves digital silence) is left out of its mean.
    """
    of_noisy = {entry.spec: entry.score for entry in judged if entry.peer == NOISY}
    found: dict[str, float] = {}
    for field in fields(Score):
        values = []
        for entry in judged:
            if entry.peer == peer:
                value = getattr(entry.score, field.name)
                differs = gain and field.name not in ("pause_db", "lkr")
                values.append(value - getattr(of_noisy[entry.spec], field.name) if differs else value)
        known = [value for value in values if not math.isnan(value)]
        found[field.name] = float(np.mean(known)) if known else math.nan
    return found


def summary(judged: list[Judged], peers: Sequence[Suppressor], ratios: Mapping[str, float]) -> list[dict[str, Any]]:
    """One row for each peer: how much it adds to the input's scores."""
    rows = []
    for peer in peers:
        mean = means(judged, peer.name)
        rows.append(
            {
                "peer": peer.name,
                **{f"d{name.upper()}": _rounded(mean[name], 3) for name in ("ovrl", "sig", "bak", "pesq", "stoi")},
                "pause dB": _rounded(mean["pause_db"], 1),
                "LKR": _rounded(mean["lkr"], 2),
                "time ratio": _rounded(ratios.get(peer.name, math.nan), 2),
                "delay ms": "clip" if peer.offline else round(delay_frames(peer) * 1000 / RATE_HZ, 1),
            }
        )
    return rows


def by_group(
    judged: list[Judged], peers: Sequence[Suppressor], group: Callable[[Spec], Any], what: str, value: str = "ovrl", gain: bool = True
) -> list[dict[str, Any]]:
    """One row for each group of clips, one column for each peer."""
    groups = list(dict.fromkeys(group(entry.spec) for entry in judged))
    rows = []
    for one in groups:
        chosen = [entry for entry in judged if group(entry.spec) == one]
        rows.append({what: one, **{peer.name: _rounded(means(chosen, peer.name, gain=gain)[value], 3) for peer in peers}})
    return rows


def near_clean(judged: list[Judged], peers: Sequence[Suppressor]) -> list[dict[str, Any]]:
    """Absolute scores, the input's first."""
    rows = []
    for name in (NOISY, *(peer.name for peer in peers)):
        mean = means(judged, name, gain=False)
        rows.append({"peer": name, **{what.upper(): _rounded(mean[what], 3) for what in ("ovrl", "pesq", "stoi")}})
    return rows


def settling(peers: Sequence[Suppressor], noises: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Seconds after a step of +12 dB until the noise is attenuated again to within 3 dB of what it comes to."""
    rows = []
    for noise in noises:
        sounds = [step_noise(noise, seed) for seed in seeds]
        row: dict[str, Any] = {"noise": noise}
        for peer in peers:
            took = [settling_s(sound, peer.process(sound), STEP_S) for sound in sounds]
            row[peer.name] = f"{np.mean(took):.2f} (worst {max(took):.2f})"
        rows.append(row)
    return rows


def _rounded(value: float, digits: int) -> float | str:
    return "" if math.isnan(value) else round(value, digits)


def short_times(peers: Sequence[Suppressor], blocks: int) -> tuple[list[Row], dict[str, float]]:
    """Of the streams, and each peer's median over WebRTC's (where it is missing, over ours)."""
    streams = {peer.name: peer.open for peer in peers if peer.open is not None}
    times = interleaved(frame_times(streams), rounds=blocks, warm_up=min(50, blocks))
    rows = compare("10 ms, frame by frame", times, WEBRTC if WEBRTC in times else OURS, block_ms=10.0)
    return rows, {row.peer: row.ratio for row in rows}


def tables(name: str, judged: list[Judged], peers: Sequence[Suppressor], ratios: Mapping[str, float]) -> dict[str, list[dict[str, Any]]]:
    """Of one set of clips."""
    return {
        f"{name}: gain over the noisy input": summary(judged, peers, ratios),
        f"{name}: dOVRL by noise": by_group(judged, peers, lambda spec: spec.noise, "noise"),
        f"{name}: dOVRL by SNR": by_group(judged, peers, lambda spec: f"{spec.snr_db:g} dB", "SNR"),
        f"{name}: dPESQ by noise": by_group(judged, peers, lambda spec: spec.noise, "noise", "pesq"),
        f"{name}: LKR by noise": by_group(judged, peers, lambda spec: spec.noise, "noise", "lkr"),
    }


def arguments() -> argparse.Namespace:
    parser = parser_for(__doc__ or "")
    parser.add_argument("--split", choices=SPLITS, nargs="*", default=list(SPLITS), help="which voices and noises (all)")
    parser.add_argument("--each", type=int, default=1, metavar="N", help="clips for each noise and ratio (1)")
    parser.add_argument("--noise", nargs="*", metavar="NOISE", help="only these")
    parser.add_argument("--snr", type=float, nargs="*", default=list(SNRS_DB), metavar="DB", help="ratios (0 5 10 20)")
    parser.add_argument("--peer", nargs="*", metavar="WORD", help="only peers whose name holds one of these words, and ours")
    parser.add_argument("--all-windows", action="store_true", help="DNSMOS over every window of 9 s, not only the one in the middle")
    parser.add_argument("--no-extras", action="store_true", help="without the near-clean clips and the steps")
    asked: argparse.Namespace = parser.parse_args()
    return asked


def main() -> None:
    asked = arguments()
    peers, missing = suppressors()
    if asked.peer:
        peers = [peer for peer in peers if peer.name == OURS or any(word.lower() in peer.name.lower() for word in asked.peer)]
    rows, ratios = short_times(peers, 3 if asked.tiny else 500)
    segments = None if asked.all_windows else 1
    sets: dict[str, list[Judged]] = {}
    facts: dict[str, list[dict[str, Any]]] = {}
    if asked.tiny:
        sets["synthetic voice"] = judge(peers, tiny_specs(), segments)
        facts |= {f"{STEP_DB:g} dB more noise: s until it is down again": settling(peers[:1], STEP_NOISES[:1], STEP_SEEDS[:1])}
    else:
        noises = tuple(asked.noise) if asked.noise else None
        snrs_db = tuple(asked.snr)
        for split in asked.split:
            judged = judge(peers, specs(split, each=asked.each, snrs_db=snrs_db, noises=noises), segments)
            if split == "dev":
                sets["dev"] = judged
                steady = [entry for entry in judged if entry.spec.noise in STEADY]
                if steady:
                    facts["dev, steady noises: gain over the noisy input"] = summary(steady, peers, ratios)
            else:  # the noises alone are new, or the voices alone: both kinds of news are worth a table
                sets["held-out"] = judged
                sets["held-out, dev's kinds of noise"] = [entry for entry in judged if entry.spec.noise in DEV_NOISES]
                sets["held-out, new kinds of noise"] = [entry for entry in judged if entry.spec.noise not in DEV_NOISES]
        if not asked.no_extras:
            for split in asked.split:
                judged = judge(peers, specs(split, snrs_db=(CLEAN_SNR_DB,), noises=noises), segments)
                facts[f"{split}, {CLEAN_SNR_DB} dB SNR: absolute scores"] = near_clean(judged, peers)
            facts[f"{STEP_DB:g} dB more noise: s until it is down again"] = settling(peers, STEP_NOISES, STEP_SEEDS)
    shown: dict[str, list[dict[str, Any]]] = {}
    for name, judged in sets.items():
        if judged:
            shown |= tables(name, judged, peers, ratios)
    clips = [{"peer": entry.peer, **asdict(entry.spec), **asdict(entry.score)} for judged in sets.values() for entry in judged]

    def draw(folder: Path) -> list[Path]:
        from _dsp_plots import plot

        return plot(folder, shown)

    report(__doc__ or "", rows, asked, shown | facts, clips=[_without_nan(clip) for clip in clips], missing=missing, draw=draw)


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


if __name__ == "__main__":
    main()
