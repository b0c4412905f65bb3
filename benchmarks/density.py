"""How many live streams does one process carry without missing a deadline, and what does each of them cost?

Live streams of 16 kHz in packets of 20 ms, received over the loopback network: rtmedia engines (WebSocket, jitter buffer,
spectral gate, normaliser, compressor, limiter, null sink) against aiortc's receive path with PyAV's resampler and against
GStreamer pipelines (rtpjitterbuffer, L16, audioresample, audiodynamic, fakesink sync=true). Each peer is one process,
the sender another; both share the machine's cores, and the sender's share is told. What counts as missed is said in
``_density_peers.py``: for all of them, sound that is not there 200 ms after the sender was due to send it.

The number of streams is doubled until a run misses anything, then bisected, then held for longer; where that fails it goes down
by a tenth. The peers take turns. CPU is in per cent of one core. ``--streams 1,10,100`` measures these numbers instead of searching.
"""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from _bench import Target, parser_for, report
from _child import Child, RunFailed
from _process import by_group, cpu_s, rss_kib, threads_cpu_s

#: GStreamer's bindings belong to the system's Python.
SYSTEM_PYTHON = "/usr/bin/python3"
WIRES = {"rtmedia": "ws", "aiortc": "rtp", "GStreamer": "rtp"}
ELEMENTS = ("udpsrc", "rtpjitterbuffer", "rtpL16depay", "audioresample", "audiodynamic", "fakesink")
LEAD_S = 0.5


class Cost:
    """What a process has cost so far, read from outside."""

    def __init__(self, pid: int) -> None:
        self.time_s = time.monotonic()
        self.cpu_s, self.rss_kib, self.threads = cpu_s(pid), rss_kib(pid), threads_cpu_s(pid)

    def since(self, before: Cost, names: dict[str, str], own_cpu_s: float) -> dict[str, Any]:
        seconds = self.time_s - before.time_s
        spent_s = own_cpu_s if self.cpu_s is None or before.cpu_s is None else self.cpu_s - before.cpu_s
        groups = by_group(before.threads, self.threads, names)
        return {
            "cpu_pct": 100.0 * spent_s / seconds,
            "rss_mib": None if self.rss_kib is None else self.rss_kib / 1024,
            "threads": len(self.threads) or len(names),
            "groups": {name: {"threads": group["threads"], "cpu_pct": 100.0 * group["cpu_s"] / seconds} for name, group in groups.items()},
        }


def sleep_until(due_ns: int) -> None:
    time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)


def run(peer: str, streams: int, warm_up_s: float, measure_s: float) -> dict[str, Any]:
    """One row: a sender and a receiver for so many streams."""
    python = SYSTEM_PYTHON if peer == "GStreamer" else sys.executable
    asked = {"peer": peer, "streams": streams}
    processes: list[Child] = []

    def start(python: str, file: str, asked: dict[str, Any]) -> Child:
        processes.append(Child(python, file, asked))
        return processes[-1]

    try:
        if WIRES[peer] == "ws":
            sender = start(sys.executable, "_density_sender.py", {"wire": "ws", "streams": streams})
            receiver = start(python, "_density_peers.py", {**asked, "port": sender.hear()["port"]})
            opened = receiver.hear()
        else:
            receiver = start(python, "_density_peers.py", asked)
            opened = receiver.hear()
            sender = start(sys.executable, "_density_sender.py", {"wire": "rtp", "ports": opened["ports"]})
        sender.hear()
        first_ns = time.monotonic_ns() + int(LEAD_S * 1e9)
        for process in (sender, receiver):
            process.tell(first_ns=first_ns)
        costs = []
        sleep_until(first_ns + int(warm_up_s * 1e9))
        for pause_s in (measure_s, 0.0):
            if not pause_s:
                costs.append(Cost(receiver.pid))
            receiver.tell(look=True)
            receiver.hear()
            if pause_s:
                costs.append(Cost(receiver.pid))
                time.sleep(pause_s)
        found = receiver.hear()
        sender.let_go()
        sent = sender.hear()
    finally:
        for process in processes:
            process.end()
    return {
        "peer": peer,
        "streams": streams,
        "missed_ms": found.pop("missed_ms"),
        **costs[1].since(costs[0], found.pop("names"), found.pop("own_cpu_s")),
        **found,
        "open_s": opened["open_s"],
        "sender": sent,
    }


def measured(peer: str, streams: int, warm_up_s: float, measure_s: float, kind: str) -> dict[str, Any]:
    """`run`, told on the screen. A run that fails altogether has missed everything."""
    try:
        row = run(peer, streams, warm_up_s, measure_s)
    except RunFailed as exc:
        row = {"peer": peer, "streams": streams, "missed_ms": streams * measure_s * 1000.0, "failed": str(exc)}
        print(f"  {peer:10} {streams:5} streams: failed, {exc}", flush=True)
        return {"comparison": kind, **row}
    row["cpu_pct_per_stream"] = row["cpu_pct"] / streams
    missed_pct = row["missed_ms"] / (streams * row["seconds"] * 10.0)
    row["missed_pct"] = missed_pct
    print(
        f"  {peer:10} {streams:5} streams: missed {missed_pct:8.4f} % ({row['streams_hurt']} streams), cpu {row['cpu_pct']:6.1f} % "
        f"({row['cpu_pct_per_stream']:.3f} % each), {row['rss_mib'] or 0:7.1f} MiB, {row['threads']} threads, "
        f"sender {row['sender']['cpu_pct']:.1f} % (late {row['sender']['late_slots']}, refused {row['sender']['refused']})",
        flush=True,
    )
    return {"comparison": kind, **row}


class Search:
    """The largest number of streams without a miss: double, bisect, hold.

    Parameters
    ----------
    runs : int
        How often a number may be tried before it counts as too many: on a shared machine a single miss may be another's.
    """

    def __init__(self, peer: str, asked: Namespace) -> None:
        self.peer = peer
        self.asked = asked
        self.rows: list[dict[str, Any]] = []
        self.good, self.bad = 0, asked.most + 1
        self.next = 1
        self.limit = 0
        self.done = False

    def step(self) -> None:
        """One number of streams."""
        asked = self.asked
        if self.bad - self.good > max(1, self.bad // asked.fine):
            row = self._try(self.next, asked.measure_s, "search")
            if row["missed_ms"] <= 0:
                self.good = self.next
            else:
                self.bad = self.next
            doubled = min(2 * self.next, asked.most)
            self.next = doubled if self.bad > asked.most and doubled > self.good else (self.good + self.bad) // 2
        elif self.good == 0:
            self.done = True
        else:
            row = self._try(self.good, asked.hold_s, "hold")
            self.done = row["missed_ms"] <= 0
            if self.done:
                self.limit = self.good
            self.good = self.good if self.done else min(self.good - 1, self.good * 9 // 10)
            self.bad = self.good + 1

    def _try(self, streams: int, seconds: float, kind: str) -> dict[str, Any]:
        for _ in range(self.asked.runs):
            row = measured(self.peer, streams, self.asked.warm_up_s, seconds, kind)
            self.rows.append(row)
            if row["missed_ms"] <= 0:
                break
        return row


def peers(wanted: str) -> tuple[list[str], dict[str, str]]:
    """Who is here, and why the others are not."""
    found, missing = ["rtmedia"], {}
    if find_spec("aiortc") and find_spec("av"):
        found.append("aiortc")
    else:
        missing["aiortc"] = "aiortc and av are not installed (pip install 'rtmedia[peers]')"
    try:
        script = (
            "import gi; gi.require_version('Gst','1.0'); from gi.repository import Gst; Gst.init(None); "
            f"missing=[n for n in {ELEMENTS!r} if Gst.ElementFactory.find(n) is None]; assert not missing, missing"
        )
        subprocess.run([SYSTEM_PYTHON, "-c", script], check=True, capture_output=True, timeout=60)
        found.append("GStreamer")
    except (OSError, subprocess.SubprocessError):
        missing["GStreamer"] = "python3-gi, gir1.2-gst-plugins-base-1.0 or gstreamer1.0-plugins-good of the system is not installed"
    names = wanted.split(",") if wanted else found
    return [name for name in found if name in names], {name: why for name, why in missing.items() if name in (wanted.split(",") or missing)}


def growth(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """What one more stream costs: slopes of least squares over all runs without a miss."""
    import numpy as np

    good = [row for row in rows if row["missed_ms"] <= 0 and row.get("rss_mib")]
    counts = np.array([row["streams"] for row in good], float)
    if len(set(counts)) < 2:
        return {"cpu_pct_per_more_stream": None, "mib_per_more_stream": None}
    return {
        "cpu_pct_per_more_stream": float(np.polyfit(counts, [row["cpu_pct"] for row in good], 1)[0]),
        "mib_per_more_stream": float(np.polyfit(counts, [row["rss_mib"] for row in good], 1)[0]),
    }


def plot(folder: Path, rows: list[dict[str, Any]]) -> list[Path]:
    """CPU and memory of a stream against the number of streams; hollow where something was missed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for peer in dict.fromkeys(row["peer"] for row in rows):
        own = sorted((row for row in rows if row["peer"] == peer and "failed" not in row), key=lambda row: row["streams"])
        for axis, values in (
            (axes[0], [row["cpu_pct_per_stream"] for row in own]),
            (axes[1], [(row["rss_mib"] or 0.0) / row["streams"] for row in own]),
        ):
            (line,) = axis.plot([row["streams"] for row in own], values, label=peer, linewidth=1)
            for row, value in zip(own, values, strict=True):
                face = "none" if row["missed_ms"] > 0 else line.get_color()
                axis.plot(row["streams"], value, "o", color=line.get_color(), markerfacecolor=face, markersize=5)
    for axis, title in ((axes[0], "CPU per stream, % of one core"), (axes[1], "memory of the process per stream, MiB")):
        axis.set(xscale="log", yscale="log", xlabel="streams in one process (hollow: deadlines missed)", title=title)
        axis.grid(True, which="both", alpha=0.2)
        axis.legend()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "density.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return [path]


def told(row: dict[str, Any]) -> dict[str, Any]:
    """One run, as a line of a table."""
    if "failed" in row:
        unknown = dict.fromkeys(("cpu_pct", "cpu_pct_each", "mib", "threads", "sender_cpu_pct"), "-")
        return {"peer": row["peer"], "streams": row["streams"], "missed_pct": 100.0, "hurt": "all", **unknown}
    return {
        "peer": row["peer"],
        "streams": row["streams"],
        "missed_pct": row["missed_pct"],
        "hurt": row["streams_hurt"],
        "cpu_pct": row["cpu_pct"],
        "cpu_pct_each": row["cpu_pct_per_stream"],
        "mib": row["rss_mib"] or 0.0,
        "threads": row["threads"],
        "sender_cpu_pct": row["sender"]["cpu_pct"],
    }


def targets_of(rows: list[dict[str, Any]], limits: dict[str, int]) -> list[Target]:
    """What was aimed at."""
    whole = [row for row in rows if row["peer"] == "rtmedia" and "failed" not in row]
    ours = sorted(whole, key=lambda row: int(row["streams"]))
    aiortc = limits.get("aiortc")
    limit = limits.get("rtmedia")
    return [
        Target.at_most("CPU of one stream alone", 1.5, ours[0]["cpu_pct"] if ours and ours[0]["streams"] == 1 else None, "% of a core"),
        Target.at_most("CPU of one stream among the most measured", 1.5, ours[-1]["cpu_pct_per_stream"] if ours else None, "% of a core"),
        Target.at_least("streams without a miss", 300, limit),
        Target.at_least("streams without a miss, over aiortc's", 5, limit / aiortc if limit and aiortc else None),
        Target.at_most("memory of one more stream", 1.5, growth(whole)["mib_per_more_stream"], "MiB"),
    ]


def options() -> Namespace:
    parser = parser_for(__doc__ or "")
    parser.add_argument("--peers", default="", help="some of rtmedia,aiortc,GStreamer")
    parser.add_argument("--streams", default="", help="these numbers of streams, no search")
    parser.add_argument("--most", type=int, default=2_000, help="never more streams than this")
    parser.add_argument("--warm-up-s", type=float, default=4.0)
    parser.add_argument("--measure-s", type=float, default=8.0)
    parser.add_argument("--hold-s", type=float, default=60.0, help="for how long the limit is held")
    parser.add_argument("--runs", type=int, default=2, help="tries before a number of streams counts as too many")
    parser.add_argument("--fine", type=int, default=12, help="bisect to one part in this many")
    asked = parser.parse_args()
    if asked.tiny:
        asked.streams, asked.warm_up_s, asked.measure_s = "2", 1.0, 1.0
    return asked


def main() -> None:
    asked = options()
    names, missing = peers(asked.peers)
    rows: list[dict[str, Any]] = []
    limits: dict[str, int] = {}
    if asked.streams:
        for streams in map(int, asked.streams.split(",")):
            rows += [measured(name, streams, asked.warm_up_s, asked.measure_s, "given") for name in names]
    else:
        searches = [Search(name, asked) for name in names]
        while any(not search.done for search in searches):
            for search in searches:
                if not search.done:
                    search.step()
        rows = [row for search in searches for row in search.rows]
        limits = {search.peer: search.limit for search in searches}
    summary = []
    for name in names:
        own = [row for row in rows if row["peer"] == name]
        summary.append({"peer": name, "streams without a miss": limits.get(name, "-"), **growth(own)})
    tables: dict[str, list[dict[str, Any]]] = {
        "streams": [told(row) for row in rows],
        "limit and growth": [{key: "-" if value is None else value for key, value in one.items()} for one in summary],
    }
    for name in names:
        own = [row for row in rows if row["peer"] == name and "groups" in row]
        if own:
            tables[f"{name}, {own[-1]['streams']} streams, by thread"] = [
                {"name": group, **values} for group, values in own[-1]["groups"].items()
            ]
    report(
        __doc__ or "",
        [],
        asked,
        tables,
        targets=[] if asked.tiny else targets_of(rows, limits),
        missing=[f"{name}: {why}" for name, why in missing.items()],
        draw=lambda folder: plot(folder, rows),
        runs=rows,
    )


if __name__ == "__main__":
    main()
