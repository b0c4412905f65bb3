"""The QA line: one JSON object every few seconds, the same figures as ``Engine.stats``.

Rates and shares are over the interval since the line before, from totals that only grow. Pure: time is an argument.
"""

from __future__ import annotations

import json
from typing import Any

#: Totals whose growth in the interval is reported, and under which name.
_GROWTH = {
    "packets_received_total": "received",
    "packets_lost_total": "lost",
    "packets_late_total": "late",
    "packets_duplicate_total": "duplicates",
    "underruns_total": "underruns",
    "underrun_frames_total": "underrun_frames",
    "reconnects_total": "reconnects",
}
#: What is told of each station of the latency, in this order.
LATENCY = ("p50", "p95", "p99", "p99.9", "max")


def _latency(terms: dict[str, dict[str, float]]) -> dict[str, list[float]]:
    """Since the start, by station: p50, p95, p99, p99.9 and max in ms, to the microsecond."""
    return {name: [round(term[quantile], 3) for quantile in LATENCY] for name, term in terms.items() if term}


class QualityLine:
    """Makes one line out of two snapshots.

    Notes
    -----
    Thread: control.   Real-time: no.
    """

    def __init__(self) -> None:
        self._before: dict[str, float] = {}
        self._expected = self._lost = 0
        self.fraction_lost = 0.0

    def count(self, expected: int, lost: int) -> None:
        """Begin another interval with these totals of packets: all that is to be done where nobody reads the line."""
        grown = expected - self._expected
        self.fraction_lost = min(1.0, max(0.0, (lost - self._lost) / grown)) if grown > 0 else 0.0
        self._expected, self._lost = expected, lost

    def line(self, snapshot: dict[str, Any], interval_s: float) -> str:
        """The line as JSON text.

        Parameters
        ----------
        snapshot
            By the names of `rtmedia.stats.Stats`.
        interval_s
            Time since the line before.

        Notes
        -----
        Loss is RFC 3550 A.3's *fraction lost*: ``(expected - received) / expected`` over the interval, not below 0.
        """
        grown: dict[str, float] = {}
        for name, short in _GROWTH.items():
            value = snapshot.get(name, 0)
            grown[short] = value - self._before.get(name, 0)
            self._before[name] = value
        self.count(snapshot.get("packets_expected_total", 0), snapshot.get("packets_lost_total", 0))
        concealed = snapshot.get("concealed_ms_total", 0.0)
        concealed_ms = concealed - self._before.get("concealed_ms_total", 0.0)
        self._before["concealed_ms_total"] = concealed
        rtt = snapshot.get("rtt_ms")
        values = {
            "state": snapshot.get("state"),
            "connected": snapshot.get("connected"),
            "rtt_ms": round(rtt, 2) if rtt is not None else None,
            "jitter_ms": round(snapshot.get("jitter_ms", 0.0), 2),
            "fraction_lost": round(self.fraction_lost, 4),
            **{name: int(value) for name, value in grown.items()},
            "concealed_pct": round(min(100.0, concealed_ms / max(1.0, interval_s * 10.0)), 3),
            "delay_ms": round(snapshot.get("delay_ms", 0.0), 1),
            "target_ms": round(snapshot.get("target_delay_ms", 0.0), 1),
            "buffered_ms": round(snapshot.get("buffered_ms", 0.0), 1),
            "latency_ms": _latency(snapshot.get("latency_ms", {})),
            "caption_skew_ms": round(snapshot.get("caption_skew_ms", 0.0), 1),
            "peak_dbfs": round(snapshot.get("peak_dbfs", -120.0), 1),
        }
        return json.dumps(values)
