"""Units and wrapping counters: the only place where they are converted.

Time is an integer number of nanoseconds on the monotonic clock unless a name says otherwise
(``_ms``, ``_s``). A *frame* is one instant over all channels.
"""

from __future__ import annotations

import math
from urllib.parse import urlsplit, urlunsplit

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


def frames_of_ms(duration_ms: float, rate_hz: int) -> int:
    """Whole frames in `duration_ms`, rounded to nearest."""
    return round(duration_ms * rate_hz / 1000)


def ms_of_frames(frames: int, rate_hz: int) -> float:
    """Duration of `frames` in milliseconds."""
    return frames * 1000.0 / rate_hz


def gain_of_db(level_db: float) -> float:
    """Amplitude ratio of a level in dB."""
    return float(10.0 ** (level_db / 20.0))


def db_of_gain(gain: float, floor_db: float = -120.0) -> float:
    """Level in dB of an amplitude ratio, not below `floor_db`."""
    return max(floor_db, 20.0 * math.log10(gain)) if gain > 0.0 else floor_db


def without_query(url: str) -> str:
    """A URL as it may be shown: credentials and query removed, because tokens live there."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL at all: what it hides cannot be told from what may be shown
        scheme, colon, _ = url.partition(":")
        return scheme + ":" if colon and scheme.isalnum() else "(no URL)"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
