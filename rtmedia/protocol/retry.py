"""When to try again: exponential backoff with full jitter, and what ``Retry-After`` says.

Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015:
``sleep = random_between(0, min(cap, base * 2 ** attempt))``. Full jitter spreads the clients of a restarted
server best. Randomness is an argument, so that a simulation repeats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from rtmedia.errors import ConfigError

BASE_S = 0.5
CAP_S = 30.0


class Backoff:
    """The waits of one series of failures. Only `good_audio` ends a series: an open connection proves nothing.

    Parameters
    ----------
    limit : int or "forever"
        Retries in a row.
    uniform : callable
        ``uniform(low, high)`` as in `random.Random`.
    base_s, cap_s : float
        The first wait is at most `base_s`; no wait is longer than `cap_s`.

    Notes
    -----
    Thread: its owner's.   Real-time: no.
    """

    def __init__(
        self,
        limit: int | Literal["forever"],
        uniform: Callable[[float, float], float],
        *,
        base_s: float = BASE_S,
        cap_s: float = CAP_S,
    ) -> None:
        if limit != "forever" and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise ConfigError(f"the limit of attempts is {limit!r}; give a number of 0 or more, or 'forever'")
        if not 0 < base_s <= cap_s:
            raise ConfigError(f"base_s is {base_s} and cap_s {cap_s}; the base must be positive and not above the cap")
        self.limit = limit
        self.base_s = base_s
        self.cap_s = cap_s
        self.attempt = 0
        self._uniform = uniform

    def next_delay_s(self, retry_after_s: float | None = None) -> float | None:
        """Seconds to wait before the next attempt; None when the attempts are used up.

        A peer's `retry_after_s` is a floor, with up to `base_s` on top: it told the same number to everybody.
        """
        if self.limit != "forever" and self.attempt >= self.limit:
            return None
        # 2**1024 would not fit a float; long before, the cap decides.
        ceiling_s = min(self.cap_s, self.base_s * 2.0 ** min(self.attempt, 64))
        self.attempt += 1
        delay_s = self._uniform(0.0, ceiling_s)
        if retry_after_s is not None:
            delay_s = max(delay_s, min(retry_after_s, self.cap_s) + self._uniform(0.0, self.base_s))
        return delay_s

    def good_audio(self) -> None:
        """Audio has flowed: the next failure begins a new series."""
        self.attempt = 0


def parse_retry_after(value: str | None, now_epoch_s: float, *, default_s: float | None = None, cap_s: float = CAP_S) -> float | None:
    """Seconds that a ``Retry-After`` header asks for (RFC 9110 section 10.2.3: seconds, or a date).

    Parameters
    ----------
    value : str or None
        The header as it came.
    now_epoch_s : float
        Wall-clock time, for dates.
    default_s : float or None
        The answer to a missing or unreadable header.
    cap_s : float
        No answer is longer; a date in the past is 0.
    """
    if value is None:
        return default_s
    value = value.strip()
    # isdigit alone lets "²" through; a leading "-" or a "1.5" is no delay-seconds.
    if value.isascii() and value.isdigit():
        return cap_s if len(value) > 9 else min(float(value), cap_s)
    from email.utils import mktime_tz, parsedate_tz  # here: no start needs it, and it takes 10 ms

    try:
        parsed = parsedate_tz(value)
        if parsed is None or not (1 <= parsed[2] <= 31 and parsed[3] < 24 and parsed[4] < 60 and parsed[5] < 61):
            return default_s
        # HTTP dates are GMT; a date without a zone must not become local time.
        then_s = mktime_tz((*parsed[:9], parsed[9] or 0))
    except (ValueError, TypeError, IndexError, OverflowError):  # the parser's other ways to say "no date"
        return default_s
    return min(max(then_s - now_epoch_s, 0.0), cap_s)
