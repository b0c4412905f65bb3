"""What does one more stream cost in memory, and where does it lie?

Real engines with null sinks, a WebSocket each, the whole default chain. Two processes play at one time, one with a single stream
and one with many; the difference of their resident memory, by the number of streams between them, is what one more costs, the
interpreter and the code being there once. It is read after 40 s of stream, when each history and ring has been used as far as it
will be in a quiet session. A second table says which arrays of one line are how long, and how much of them is there at all.

The target: at most 1.5 MiB for a stream of 16 kHz.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from _bench import Target, parser_for, report
from _child import Child

LIMIT_MIB = 1.5
RATES_HZ = (16_000, 48_000)


def measured(rate_hz: int, counts: tuple[int, int], seconds: float) -> list[dict[str, Any]]:
    """What each of two processes consists of, after so much stream."""
    children: list[Child] = []
    pairs = []
    try:
        for streams in counts:
            sender = Child(sys.executable, "_density_sender.py", {"wire": "ws", "streams": streams, "rate_hz": rate_hz})
            children.append(sender)
            port = sender.hear()["port"]
            engines = Child(sys.executable, "_memory_engines.py", {"streams": streams, "port": port, "rate_hz": rate_hz})
            children.append(engines)
            pairs.append((sender, engines))
        for pair in pairs:
            for child in pair:
                child.hear()
        first_ns = time.monotonic_ns() + 200_000_000
        for sender, _ in pairs:
            sender.tell(first_ns=first_ns)
        time.sleep(seconds + 1.0)
        found = []
        for _, engines in pairs:
            engines.tell(look=True)
            found.append(engines.hear())
        return found
    finally:
        for child in children:
            child.end()


def options() -> Namespace:
    parser = parser_for(__doc__ or "")
    parser.add_argument("--streams", type=int, default=17, help="in the larger of the two processes")
    parser.add_argument("--seconds", type=float, default=40.0, help="of stream before memory is looked at")
    parser.add_argument("--rates", default=",".join(map(str, RATES_HZ)), help="of the streams, in Hz")
    asked = parser.parse_args()
    if asked.tiny:
        asked.streams, asked.seconds, asked.rates = 2, 1.0, "16000"
    return asked


def draw(folder: Path, found: dict[int, list[dict[str, Any]]]) -> list[Path]:
    """The memory of one line, by owner."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(6.5 * len(found), 4.5), layout="constrained", squeeze=False)
    for axis, (rate_hz, rows) in zip(axes[0], found.items(), strict=True):
        names = [row["owner"] for row in rows][::-1]
        axis.barh(names, [row["KiB there"] for row in rows][::-1])
        axis.set(title=f"arrays of one line at {rate_hz // 1000} kHz", xlabel="KiB that are there")
        axis.grid(True, axis="x", alpha=0.2)
    path = folder / "memory.png"
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return [path]


def main() -> None:
    asked = options()
    costs: list[dict[str, Any]] = []
    by_kind: dict[str, dict[str, Any]] = {}
    tables: dict[str, Any] = {}
    lines: dict[int, list[dict[str, Any]]] = {}
    at_16_mib = None
    for rate_hz in map(int, asked.rates.split(",")):
        one, many = measured(rate_hz, (1, asked.streams), asked.seconds)
        more = asked.streams - 1
        known = one["rss_kib"] is not None
        each_kib = (many["rss_kib"] - one["rss_kib"]) / more if known else None
        if rate_hz == 16_000 and each_kib is not None:
            at_16_mib = each_kib / 1024
        costs.append(
            {
                "rate_hz": rate_hz,
                "streams": asked.streams,
                "played_s": min(one["played_s"], many["played_s"]),
                "MiB with one": one["rss_kib"] / 1024 if known else "-",
                "MiB with all": many["rss_kib"] / 1024 if known else "-",
                "KiB for one more": "-" if each_kib is None else each_kib,
                **{f"{name} for one more": (many[name] - one[name]) / more for name in ("threads", "objects")},
            }
        )
        for kind in sorted(set(one["kinds"]) | set(many["kinds"])):
            row = by_kind.setdefault(kind, {"kind of mapping": kind})
            row[f"KiB at {rate_hz} Hz"] = (many["kinds"].get(kind, 0.0) - one["kinds"].get(kind, 0.0)) / more
        lines[rate_hz] = many["owners"]
        total = [sum(row[column] for row in many["owners"]) for column in ("arrays", "KiB given out", "KiB there")]
        whole = {"owner": "all arrays", "arrays": total[0], "KiB given out": total[1], "KiB there": total[2]}
        tables[f"arrays of one line at {rate_hz} Hz"] = [*many["owners"], whole]
    facts = {"one more stream": costs, **({"where it lies": list(by_kind.values())} if by_kind else {}), **tables}
    # Not at --tiny: after a second nothing has been used as far as it will be.
    target = Target.at_most("one more stream of 16 kHz", LIMIT_MIB, None if asked.tiny else at_16_mib, "MiB")
    report(__doc__ or "", [], asked, facts, targets=[target], draw=lambda folder: draw(folder, lines))


if __name__ == "__main__":
    main()
