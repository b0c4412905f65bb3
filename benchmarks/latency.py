"""How long does a packet take until it is heard, where does it spend that time, and does the ledger tell the truth?

1. *Stations*: the engine's own ledger on a perfect network, into the null sink and into a private PulseAudio, per setting.
2. *Packet sent to recorded*: the same chirps for everybody. The time at which a chirp stands in the recording of the
   sound server's monitor, minus the time at which the server sent its packet, by one clock: for the engine with several
   settings, python-sounddevice with ``latency="low"``, ffplay and mpv with their settings for low latency. They take turns.
3. *Ledger and recording*: for each of the engine's chirps, the recorded time minus what the ledger says: the hand-over
   (arrival and the sum of the stations, and the frames before it in that call); the speaker (the latency added that the
   device reports); and the speaker as the monitor shows it. A sound server renders a block when the sink asks for it, its
   monitor has it at once, and the sink plays it afterwards: by the latency that the sink is set to (``pactl list sinks``)
   the recording is early. What then remains is what the ledger, the device's report and the recorder do not know.

Without a sound server only the first is answered, by the null sink.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from _bench import machine_facts, parser_for

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import _latency_players as players  # noqa: E402
from _latency_chirps import EVERY_MS, PACKET_MS, SOURCE_HZ, Heard, chirps_heard, sends, write_chirps  # noqa: E402

from rtmedia.rooms.ledger import BLOCK_COLUMNS, CALL_COLUMNS, PACKET_COLUMNS, TERMS, way  # noqa: E402
from rtmedia.sim.loopback import LoopbackServer  # noqa: E402
from tests.live.player import Played, play  # noqa: E402
from tests.sound_server import RATE_HZ, SoundServer, SoundServerMissing  # noqa: E402

#: Of `rtmedia.Config`: what is asked about.
SETTINGS: dict[str, dict[str, Any]] = {
    "rtmedia": {},
    "rtmedia, kiosk-low": {"profile": "kiosk-low"},
    "rtmedia, kiosk-low, no effects": {"profile": "kiosk-low", "effects": []},
    "rtmedia, lead 10 ms": {"lead_ms": 10.0},
    "rtmedia, lead 40 ms": {"lead_ms": 40.0},
    "rtmedia, least delay 40 ms": {"jitter": {"min_delay_ms": 40.0}},
}
TINY = ("rtmedia, kiosk-low, no effects",)
QUANTILES = (5, 50, 95, 99)


def stations(played: Played, peer: str, sink: str) -> list[dict[str, Any]]:
    """The ledger's own figures, a row for each station."""
    common = {
        "comparison": f"stations, {sink}",
        "peer": peer,
        "packets": int(played.stats["packets_received_total"]),
        "underrun_frames": played.stats["underrun_frames_total"],
        "residual_ms": played.stats["latency_residual_ms"],
    }
    return [
        common | {"station": name} | {f"{quantile}_ms": value for quantile, value in term.items()}
        for name, term in ((name, played.stats["latency_ms"].get(name, {})) for name in TERMS)
    ]


def quantiles(values_ms: list[float]) -> dict[str, float]:
    if not values_ms:
        return {}
    found = {f"p{share}_ms": float(np.percentile(values_ms, share)) for share in QUANTILES}
    return {"mean_ms": float(np.mean(values_ms)), **found, "max_ms": max(values_ms)}


def sent_to_recorded(heard: list[Heard], peer: str) -> dict[str, Any]:
    late_ms = [(one.recorded_ns - one.sent_ns) / 1e6 for one in heard]
    return {"comparison": "packet sent to recorded", "peer": peer, "found": len(heard), **quantiles(late_ms)}


def against_the_ledger(played: Played, heard: list[Heard], peer: str, sink_ms: float) -> list[dict[str, Any]]:
    """Recorded time minus the ledger's, without and with the latency that the device reports; `sink_ms` is the sink's own."""
    blocks, calls = (
        np.stack([table[name] for name in names]).astype(np.int64)
        for table, names in ((played.ticks, BLOCK_COLUMNS), (played.marks[played.marks["frames"] > 0], CALL_COLUMNS))
    )
    chain = int(played.facts["chain_latency_frames"])
    by_position = {int(packet["media_pos"]): packet for packet in played.packets}
    handed, spoken, device = [], [], []
    for one in heard:
        packet = by_position.get(one.number * EVERY_MS * SOURCE_HZ // 1000)
        if packet is None:
            continue
        terms, _ = way(np.array([[packet[name]] for name in PACKET_COLUMNS]), blocks, calls, chain, RATE_HZ)
        if not terms.shape[1]:
            continue
        found = dict(zip(TERMS, terms[:, 0].tolist(), strict=True))
        leaves = int(packet["sink_pos"]) + chain
        call = int(np.searchsorted(calls[0], leaves, "right")) - 1
        inside_ns = (leaves - int(calls[0, call])) * 1e9 / RATE_HZ
        after_arrival_ns = one.recorded_ns - int(packet["arrival_ns"])
        handed.append((after_arrival_ns - found["total"] - inside_ns) / 1e6)
        spoken.append((after_arrival_ns - found["heard"]) / 1e6)
        device.append((found["device"] - inside_ns) / 1e6)
    shown = [late_ms + sink_ms for late_ms in spoken]
    rows = {
        "recorded minus hand-over": handed,
        "recorded minus speaker": spoken,
        "recorded minus speaker, sink's own latency": shown,
        "latency as the device reports it": device,
    }
    common = {"comparison": "ledger and recording", "peer": peer, "sink_latency_ms": sink_ms}
    return [common | {"what": name, "found": len(values)} | quantiles(values) for name, values in rows.items()]


class Stage:
    """A sound server that is recorded, and a media server for each who plays.

    Parameters
    ----------
    sound
        The sound server, running.
    folder
        For files.
    seconds
        For which each plays.
    """

    def __init__(self, sound: SoundServer, folder: Path, seconds: float) -> None:
        self._sound, self._folder, self._seconds = sound, folder, seconds
        self._log = folder / "sends.jsonl"
        self.sink_ms = 0.0
        write_chirps(folder / "chirps.wav", seconds + 5.0)

    def _server(self) -> LoopbackServer:
        self._log.unlink(missing_ok=True)
        speech, log = (quote(str(path)) for path in (self._folder / "chirps.wav", self._log))
        return LoopbackServer(f"loopback:?speech={speech}&log_sends={log}&token_required=0&transcripts=0")

    def _sent(self) -> list[int]:
        deadline = time.monotonic() + 5.0  # the server writes when the connection has ended
        while not self._log.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return sends(self._log) if self._log.exists() else []

    def engine(self, settings: dict[str, Any]) -> tuple[Played, list[Heard]]:
        with self._server() as server, self._sound.record(self._folder / "monitor.f32") as recording:
            # The recorder has asked for its latency, and the sink is set to the least that anybody asks for.
            self.sink_ms = self._sound.sink_latency_ms()
            played = play(
                self._sound.env, self._folder, seconds=self._seconds, timeout_s=300.0, source=server.media_url, reconnect=0, **settings
            )
        return played, chirps_heard(recording, self._sent())

    def peer(self, name: str) -> list[Heard]:
        # SDL and PortAudio take ALSA's default, which is the private server; mpv and libpulse find it by PULSE_SERVER.
        environ = self._sound.env | {"SDL_AUDIODRIVER": "pulseaudio"}
        with (
            self._server() as server,
            self._sound.record(self._folder / "monitor.f32") as recording,
            suppress(subprocess.TimeoutExpired),
        ):
            subprocess.run(
                [sys.executable, players.__file__, name, server.media_url, str(self._seconds)],
                env=environ,
                stdout=subprocess.DEVNULL,
                timeout=self._seconds + 60.0,
                check=False,  # what it did not play is not found
            )
        return chirps_heard(recording, self._sent())


def measure(tiny: bool, seconds: float, rounds: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """All rows, and who is missing for what reason."""
    rows: list[dict[str, Any]] = []
    settings = {name: chosen for name, chosen in SETTINGS.items() if not tiny or name in TINY}
    absent = {peer: reason for peer in players.PEERS if (reason := players.missing(peer))}
    with tempfile.TemporaryDirectory(prefix="rtmedia-bench-") as name:
        folder = Path(name)
        write_chirps(folder / "perfect.wav", seconds + 5.0)
        source = f"loopback:?speech={quote(str(folder / 'perfect.wav'))}"
        for peer, chosen in settings.items():
            played = play(dict(os.environ), folder, seconds=seconds, sink="null", timeout_s=300.0, source=source, **chosen)
            rows += stations(played, peer, "null sink")
        try:
            sound = SoundServer()
        except SoundServerMissing as exc:
            return rows, absent | {"recordings": str(exc)}
        late: dict[str, list[Heard]] = {peer: [] for peer in (*settings, *players.PEERS) if peer not in absent}
        kept: dict[str, list[tuple[Played, list[Heard], float]]] = {peer: [] for peer in settings}
        with sound:
            stage = Stage(sound, folder, seconds)
            order = list(late)
            for turn in range(rounds):
                for peer in order[turn % len(order) :] + order[: turn % len(order)]:
                    if peer in settings:
                        played, heard = stage.engine(settings[peer])
                        kept[peer].append((played, heard, stage.sink_ms))
                    else:
                        heard = stage.peer(peer)
                    late[peer] += heard
        for peer, runs in kept.items():
            rows += stations(runs[-1][0], peer, "PulseAudio")
        rows += [sent_to_recorded(heard, peer) for peer, heard in late.items()]
        for peer, runs in kept.items():
            for run in runs:
                rows += against_the_ledger(run[0], run[1], peer, run[2])
    return rows, absent


def draw(rows: list[dict[str, Any]], folder: Path) -> None:
    """``latency.png``: bars of the stations' medians, and everybody's quantiles."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 8), layout="constrained")
    own = [row for row in rows if row["comparison"] == "stations, null sink" and "mean_ms" in row]
    peers = list(dict.fromkeys(row["peer"] for row in own))
    left = np.zeros(len(peers))
    for station in (*TERMS[: TERMS.index("total")], "device"):
        means = np.array([sum(row["mean_ms"] for row in own if (row["peer"], row["station"]) == (peer, station)) for peer in peers])
        above.barh(peers, means, left=left, label=station)
        left += means
    above.set(xlabel="ms, mean", title="where a packet spends its time (null sink)")
    above.invert_yaxis()
    above.legend(ncols=4, fontsize="small")
    heard = [row for row in rows if row["comparison"] == "packet sent to recorded" and "p50_ms" in row]
    for place, row in enumerate(heard):
        below.plot([row["p5_ms"], row["p95_ms"]], [place, place], lw=6, solid_capstyle="butt")
        below.plot(row["p50_ms"], place, "k|", ms=12)
    below.set(xlabel="ms, p5 to p95, median", title="packet sent to recorded (PulseAudio)", xlim=(0, None))
    below.set_yticks(range(len(heard)), [row["peer"] for row in heard])
    below.invert_yaxis()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "latency.png", dpi=120)


def table(rows: list[dict[str, Any]]) -> str:
    lines = []
    heading = ""
    for row in rows:
        if row["comparison"] != heading:
            heading = row["comparison"]
            lines += ["", heading]
        what = f"{row['peer']}: {row.get('station') or row.get('what', '')}".rstrip(": ")
        plain = ("residual_ms", "sink_latency_ms")
        times = {key[:-3]: value for key, value in row.items() if key.endswith("_ms") and key not in plain}
        figures = "  ".join(f"{name} {value:8.3f}" for name, value in times.items())
        more = "  ".join(f"{key} {row[key]}" for key in ("found", "underrun_frames", "sink_latency_ms") if key in row)
        lines.append(f"  {what:60}{figures}  {more}")
    return "\n".join(lines)


def arguments(question: str) -> argparse.Namespace:
    parser = parser_for(question)
    with suppress(argparse.ArgumentError):  # all benchmarks may have it by now
        parser.add_argument("--plot", metavar="FOLDER", type=Path, help="draw latency.png there (needs matplotlib)")
    parser.add_argument("--seconds", type=float, default=20.0, help="each plays for so long at a time")
    parser.add_argument("--rounds", type=int, default=2, help="how often each plays")
    return parser.parse_args()


def main() -> None:
    assert __doc__ is not None
    asked = arguments(__doc__)
    seconds, rounds = (4.0, 1) if asked.tiny else (asked.seconds, asked.rounds)
    rows, absent = measure(asked.tiny, seconds, rounds)
    question, facts = __doc__.strip().splitlines()[0], machine_facts()
    print(question)
    print(", ".join(f"{name} {value}" for name, value in facts.items() if value is not None))
    print(table(rows))
    for peer, reason in absent.items():
        print(f"\nnot measured: {peer}: {reason}")
    if asked.json:
        result = {
            "question": question,
            "machine": facts,
            "tiny": asked.tiny,
            "seconds": seconds,
            "packet_ms": PACKET_MS,
            "rows": rows,
            "missing": absent,
        }
        asked.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    if asked.plot:
        draw(rows, asked.plot)


if __name__ == "__main__":
    main()
