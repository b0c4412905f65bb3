"""G.711 in arithmetic: every table entry from the laws' own segment formulas.

ITU-T G.711 (11/1988), tables 1a to 2b. An octet holds a sign, a segment number (3 bits) and a step within
the segment (4 bits); steps double from segment to segment. µ-law works on 14 bits with a bias of 33 and sends
every bit inverted; A-law works on 13 bits and sends every second bit inverted (0x55). Both are written here at
16-bit scale (µ-law × 4, A-law × 8), as everybody's linear PCM is.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

_BIAS = 33  # µ-law, 14-bit scale: makes all segments share one formula


def _ulaw_value(code: int) -> int:
    """The 16-bit value of a µ-law octet (G.711 table 2a, decoder output)."""
    bits = ~code & 0xFF
    segment, step = (bits >> 4) & 7, bits & 15
    magnitude = ((2 * step + _BIAS) << segment) - _BIAS
    return -4 * magnitude if bits & 0x80 else 4 * magnitude


def _alaw_value(code: int) -> int:
    """The 16-bit value of an A-law octet (G.711 table 1a, decoder output): the middle of its interval."""
    bits = code ^ 0x55
    segment, step = (bits >> 4) & 7, bits & 15
    # Segments 0 and 1 have the same step; from 1 on a leading one (16) is implied.
    magnitude = 2 * step + 1 if segment == 0 else (2 * step + 33) << (segment - 1)
    return 8 * magnitude if bits & 0x80 else -8 * magnitude


_VALUE = {"ulaw": _ulaw_value, "alaw": _alaw_value}


@functools.cache
def values(law: str) -> npt.NDArray[np.int16]:
    """The 256 decoder outputs of ``"ulaw"`` or ``"alaw"`` at 16-bit scale."""
    table = np.array([_VALUE[law](code) for code in range(256)], np.int16)
    table.flags.writeable = False
    return table


@functools.cache
def codes(law: str) -> npt.NDArray[np.uint8]:
    """65 536 octets: the nearest code of every 16-bit value, indexed by ``value + 32768``.

    Halfway between two values the one further from zero wins, which is G.711's decision table (the lower
    interval's upper limit belongs to the next code).
    """
    table = values(law).astype(np.int64)
    order = np.argsort(table, kind="stable")
    levels = table[order]
    # µ-law has two zeros, 0xFF (+0) and 0x7F (-0): the encoder uses +0, idle lines carry 0xFF.
    keep = np.concatenate(([True], np.diff(levels) > 0))
    if law == "ulaw":
        order = np.where(order == 0x7F, 0xFF, order)
    levels, order = levels[keep], order[keep]
    samples = np.arange(-32768, 32768, dtype=np.int64)
    twice_limits = levels[:-1] + levels[1:]  # decision limits, doubled to stay whole
    upward = np.searchsorted(twice_limits, 2 * samples, side="right")  # ties go up
    downward = np.searchsorted(twice_limits, 2 * samples, side="left")  # ties go down
    table_of_codes = order[np.where(samples >= 0, upward, downward)].astype(np.uint8)
    table_of_codes.flags.writeable = False
    return table_of_codes
