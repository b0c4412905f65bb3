"""Who does not come round: compiled loops and devices say when they last did, and somebody looks. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Mapping

from rtmedia.units import NS_PER_S

STUCK_S = 1.0  # a compiled loop or device that does not come round for this long is reported
AGAIN_NS = 10 * NS_PER_S


class Watchdog:
    """Reports each latecomer once every ten seconds.

    Parameters
    ----------
    began_ns
        Who has never come round is late since then.

    Notes
    -----
    Thread: control.   Real-time: no.
    """

    def __init__(self, began_ns: int) -> None:
        self._began_ns = began_ns
        self._told_ns: dict[str, int] = {}

    def late(self, alive_ns: Mapping[str, int], now_ns: int) -> list[tuple[str, float]]:
        """Who of `alive_ns` (name, last sign of life) is to be reported, and by how many seconds they are late."""
        found = []
        for name, last_ns in alive_ns.items():
            late_s = (now_ns - max(last_ns, self._began_ns)) / NS_PER_S
            told_ns = self._told_ns.get(name)
            if late_s > STUCK_S and (told_ns is None or now_ns - told_ns > AGAIN_NS):
                self._told_ns[name] = now_ns
                found.append((name, late_s))
        return found
