"""Which networks the jitter benchmark runs on, and which of them may be looked at while tuning.

The one place for that: what is *held out* is for judging. Whoever tunes against a held-out trace or seed moves it to the tuning part
here, and takes new ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rtmedia.sim.models import PRESETS, trace_from_text
from rtmedia.sim.trace import Trace, read_bundle

DATA = Path(__file__).resolve().parents[1] / "tests" / "data" / "traces"
BUNDLE = DATA / "traces.npz"
#: Recorded networks for which there is no NetEQ figure.
MORE = DATA / "more.npz"

TUNING, HELD_OUT = "tuning", "held out"
TUNING_SEEDS = (1, 2, 3)
HELD_OUT_SEEDS = (101, 102, 103)
#: About half of the 5G traces: of each pair of like runs one.
HELD_OUT_TRACES = frozenset({"5g_arterial_n8_v60_a", "5g_edge_n8_v30_a", "5g_n78_30ms_a", "5g_urban_n78_v20_a", "5g_rural_n8_v10_a"})
#: What a jitter buffer is there for. Their geometric mean is shown beside the overall one.
HARD = ("ws_stall", "wifi_spikes", "step150", "cellular")

#: Models beyond those of the recorded traces: a name, and what stands behind ``model:``.
EXTRA = {
    "tcp 0.1 %, 20 ms": "tcp?loss=0.001&rtt_ms=20",
    "tcp 0.5 %, 60 ms": "tcp?loss=0.005&rtt_ms=60",
    "tcp 1 %, 80 ms": "tcp?loss=0.01&rtt_ms=80",
    "tcp 2 %, 200 ms": "tcp?loss=0.02&rtt_ms=200",
    "wifi udp": "wifi_udp",
    "outages 0.3 s": "outage?stall_s=0.3&at_s=10&every_s=20",
    "outages 1 s": "outage?stall_s=1&at_s=10&every_s=20",
    "outage 3 s": "outage?stall_s=3&at_s=30",
    "outage 10 s": "outage?stall_s=10&at_s=30&seconds=120",
    "outage 30 s": "outage?stall_s=30&at_s=30&seconds=150",
    "step down 60": "step?step_ms=60&at_s=0&back_s=40",
    "drift +1000 ppm": "gauss?sd_ms=2&drift_ppm=1000",
    "60 ms packets": "spikes?packet_ms=60",
    "10 ms packets": "head_of_line?packet_ms=10",
    "packets of 10 to 120 ms": "head_of_line?sender=sizes",
    "sender that pauses": "spikes?sender=talk",
    "synthesiser 1 s ahead": "gauss?sender=tts&lead_ms=1000",
}


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes
    ----------
    name
        Of the recorded trace, or of the model.
    part
        `TUNING` or `HELD_OUT`.
    source
        What `rtmedia.simulate` is told.
    seed
        None for a recorded trace.
    """

    name: str
    part: str
    source: str
    seed: int | None = None

    def trace(self) -> Trace:
        """The arrivals."""
        if self.source.startswith("model:"):
            return trace_from_text(self.source)
        path, _, member = self.source.rpartition(":")
        return read_bundle(path)[member]


def neteq() -> dict[str, dict[str, float]]:
    """What Chromium's NetEQ did on the recorded traces: a recording too, see the README beside it."""
    figures: dict[str, dict[str, float]] = json.loads((DATA / "neteq.json").read_text("utf-8"))
    return figures


def recorded() -> list[Case]:
    """The traces in the bundles, the hard ones first."""
    names = dict.fromkeys(read_bundle(BUNDLE), BUNDLE) | dict.fromkeys(read_bundle(MORE), MORE)
    order = [*HARD, *sorted(set(names) - set(HARD))]
    return [Case(name, HELD_OUT if name in HELD_OUT_TRACES else TUNING, f"{names[name]}:{name}") for name in order]


def seeded(seconds: float | None = None) -> Iterator[Case]:
    """Every model with every seed."""
    lengths = {"drift_fast200": 120.0, "drift_slow200": 120.0}
    texts = {name: f"{name}?seconds={lengths.get(name, 80.0):g}" for name in PRESETS if name != "perfect"} | EXTRA
    for name, text in texts.items():
        if seconds is not None:
            text = f"{text.partition('?')[0]}?seconds={seconds:g}"
        for part, seeds in ((TUNING, TUNING_SEEDS), (HELD_OUT, HELD_OUT_SEEDS)):
            for seed in seeds:
                yield Case(name, part, f"model:{text}{'&' if '?' in text else '?'}seed={seed}", seed)
