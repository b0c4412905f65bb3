"""Durations, counted: from a microsecond to minutes with one relative resolution, in a few pages of memory.

The bins are those of an HDR histogram (G. Tene, HdrHistogram): whole microseconds up to 256 us, then 128 bins for each
doubling. So a station that takes 30 us and one that takes 3 s are both known to better than 1 %, and the whole costs
16 KiB a term, of which only the pages that were ever counted in become real memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

UNIT_NS = 1_000
PER_DOUBLING = 128
DOUBLINGS = 15
#: The last bin begins at 8.4 s (and counts all that is above it; the largest is known exactly).
BINS = PER_DOUBLING * (DOUBLINGS + 2)

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


def bins_of(durations_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """In which bin each is counted; what is below 0 counts as 0."""
    units = np.maximum(durations_ns, 0) // UNIT_NS
    # The exponent of a float is the number of bits; 53 of them are exact, and a duration has fewer.
    shift = np.maximum(np.frexp(units.astype(np.float64))[1].astype(np.int64) - 8, 0)
    bins: npt.NDArray[np.int64] = np.minimum((units >> shift) + PER_DOUBLING * shift, BINS - 1)
    return bins


def top_ms(bin_: int) -> float:
    """Upper edge of a bin."""
    shift = max(0, bin_ // PER_DOUBLING - 1)
    return ((bin_ - PER_DOUBLING * shift + 1) << shift) * UNIT_NS / 1e6


class Histograms:
    """Counts of several terms that come together, such as the stations of one packet.

    Parameters
    ----------
    names
        Of the terms.

    Attributes
    ----------
    counts : int64 array, shape (terms, bins)

    Notes
    -----
    Thread: control; `summary` any: a count that is being changed is seen before or after.   Real-time: no.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.counts: npt.NDArray[np.int64] = np.zeros((len(self.names), BINS), np.int64)
        self._rows = np.arange(len(self.names))[:, None] * BINS
        self._sum_ns = np.zeros(len(self.names), np.int64)
        self._max_ns = np.zeros(len(self.names), np.int64)

    def add(self, durations_ns: npt.NDArray[np.int64]) -> None:
        """Count some, shape ``(terms, any)``."""
        if not durations_ns.shape[1]:
            return
        np.add.at(self.counts.reshape(-1), (bins_of(durations_ns) + self._rows).reshape(-1), 1)
        self._sum_ns += durations_ns.sum(axis=1)  # whole numbers: the sum does not depend on how they came
        np.maximum(self._max_ns, durations_ns.max(axis=1), out=self._max_ns)

    @property
    def total(self) -> int:
        """How many were counted."""
        return int(self.counts[0].sum())

    def summary(self) -> dict[str, dict[str, float]]:
        """By term: mean, `QUANTILES` and the largest in ms; empty before the first. Mean and largest are exact."""
        running = np.cumsum(self.counts, axis=1)
        total = int(running[0, -1])
        if total == 0:
            return {}
        ranks = [share * total for share in QUANTILES.values()]
        found = {}
        for term, name in enumerate(self.names):
            most = float(self._max_ns[term]) / 1e6
            # What falls into the last bin has no upper edge but the largest.
            edges = (most if at == BINS - 1 else min(top_ms(at), most) for at in np.searchsorted(running[term], ranks).tolist())
            found[name] = {"mean": float(self._sum_ns[term]) / 1e6 / total, **dict(zip(QUANTILES, edges, strict=True)), "max": most}
        return found
