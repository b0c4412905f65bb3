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
from _bench import Target, parser_for, report

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import _latency_players as players  # noqa: E402
from _latency_chirps import EVERY_MS, SOURCE_HZ, Heard, chirps_heard, sends, write_chirps  # noqa: E402

from rtmedia.rooms.ledger import BLOCK_COLUMNS, CALL_COLUMNS, PACKET_COLUMNS, STATIONS, TERMS, way  # noqa: E402
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
#: The figure that says whether the ledger tells the truth.
SHOWN = "recorded minus speaker as the monitor has it"


Row = dict[str, Any]


def stations(played: Played, peer: str) -> list[Row]:
    """The ledger's own figures, a row for each station."""
    common = {"peer": peer, "underrun_frames": played.stats["underrun_frames_total"], "residual_ms": played.stats["latency_residual_ms"]}
    figures = ("mean", "p50", "p95", "p99", "p99.9", "max")
    found = played.stats["latency_ms"]
    return [
        {"peer": peer, "station": name} | {f"{figure}_ms": found.get(name, {}).get(figure) for figure in figures} | common for name in TERMS
    ]


def quantiles(values_ms: list[float]) -> dict[str, float | None]:
    found = [float(np.percentile(values_ms, share)) if values_ms else None for share in QUANTILES]
    return {
        "mean_ms": float(np.mean(values_ms)) if values_ms else None,
        **{f"p{share}_ms": value for share, value in zip(QUANTILES, found, strict=True)},
        "max_ms": max(values_ms, default=None),
    }


def sent_to_recorded(heard: list[Heard], peer: str) -> Row:
    late_ms = [(one.recorded_ns - one.sent_ns) / 1e6 for one in heard]
    return {"peer": peer, "found": len(heard), **quantiles(late_ms)}


def against_the_ledger(played: Played, heard: list[Heard], peer: str, sink_ms: float) -> list[Row]:
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
        f"{SHOWN} (sink's latency)": shown,
        "latency as the device reports it": device,
    }
    return [
        {"peer": peer, "what": name, "found": len(values), **quantiles(values), "sink_latency_ms": sink_ms} for name, values in rows.items()
    ]


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
            played = play(
                self._sound.env, self._folder, seconds=self._seconds, timeout_s=300.0, source=server.media_url, reconnect=0, **settings
            )
            # The sink is set to the least that anybody asks for; it takes a while until the recorder's wish is.
            self.sink_ms = self._sound.sink_latency_ms()
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


NULL, PULSE, HEARD, TRUTH = "stations, null sink", "stations, PulseAudio", "packet sent to recorded", "ledger and recording"


def measure(tiny: bool, seconds: float, rounds: int) -> tuple[dict[str, list[Row]], list[str]]:
    """All tables, and who is missing for what reason."""
    settings = {name: chosen for name, chosen in SETTINGS.items() if not tiny or name in TINY}
    absent = {peer: reason for peer in players.PEERS if (reason := players.missing(peer))}
    missing = list(absent.values())
    with tempfile.TemporaryDirectory(prefix="rtmedia-bench-") as name:
        folder = Path(name)
        write_chirps(folder / "perfect.wav", seconds + 5.0)
        source = f"loopback:?speech={quote(str(folder / 'perfect.wav'))}"
        found: dict[str, list[Row]] = {NULL: []}
        for peer, chosen in settings.items():
            played = play(dict(os.environ), folder, seconds=seconds, sink="null", timeout_s=300.0, source=source, **chosen)
            found[NULL] += stations(played, peer)
        try:
            sound = SoundServer()
        except SoundServerMissing as exc:
            return found, [*missing, str(exc)]
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
    found[PULSE] = [row for peer, runs in kept.items() for row in stations(runs[-1][0], peer)]
    found[HEARD] = [sent_to_recorded(heard, peer) for peer, heard in late.items()]
    found[TRUTH] = [
        row for peer, runs in kept.items() for played, heard, sink_ms in runs for row in against_the_ledger(played, heard, peer, sink_ms)
    ]
    return found, missing


def targets_of(found: dict[str, list[Row]]) -> list[Target]:
    """What should come out."""
    totals = {row["peer"]: row["p95_ms"] for row in found[NULL] if row["station"] == "total"}
    # In the middle: what a loaded machine does to the recorder, the server or the device is not the ledger's.
    true_ms = [abs(row["p50_ms"]) for row in found.get(TRUTH, []) if row["what"].startswith(SHOWN) and row["p50_ms"] is not None]
    return [
        Target.at_most("packet to device, default settings, p95", 60.0, totals.get("rtmedia"), "ms"),
        Target.at_most("packet to device, kiosk-low, p95", 35.0, totals.get("rtmedia, kiosk-low"), "ms"),
        Target.at_most("ledger's sum against the recording, median, worst of all runs", 1.0, max(true_ms, default=None), "ms"),
        Target.at_most(
            "ledger's sum against its own total, worst packet", 1.0, max((row["residual_ms"] for row in found[NULL]), default=None), "ms"
        ),
    ]


def draw(found: dict[str, list[Row]], folder: Path) -> list[Path]:
    """``latency.png``: bars of the stations' means, and everybody's quantiles."""
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 8), layout="constrained")
    own = [row for row in found[NULL] if row["mean_ms"] is not None]
    peers = list(dict.fromkeys(row["peer"] for row in own))
    left = np.zeros(len(peers))
    for station in (*STATIONS, "device"):
        means = np.array([sum(row["mean_ms"] for row in own if (row["peer"], row["station"]) == (peer, station)) for peer in peers])
        above.barh(peers, means, left=left, label=station)
        left += means
    above.set(xlabel="ms, mean", title="where a packet spends its time (null sink)")
    above.invert_yaxis()
    above.legend(ncols=4, fontsize="small")
    heard = [row for row in found.get(HEARD, []) if row["p50_ms"] is not None]
    for place, row in enumerate(heard):
        below.plot([row["p5_ms"], row["p95_ms"]], [place, place], lw=6, solid_capstyle="butt")
        below.plot(row["p50_ms"], place, "k|", ms=12)
    below.set(xlabel="ms, p5 to p95, median", title="packet sent to recorded (PulseAudio)", xlim=(0, None))
    below.set_yticks(range(len(heard)), [row["peer"] for row in heard])
    below.invert_yaxis()
    figure.savefig(folder / "latency.png", dpi=120)
    plt.close(figure)
    return [folder / "latency.png"]


def main() -> None:
    assert __doc__ is not None
    parser = parser_for(__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="each plays for so long at a time")
    parser.add_argument("--rounds", type=int, default=2, help="how often each plays")
    asked = parser.parse_args()
    seconds, rounds = (4.0, 1) if asked.tiny else (asked.seconds, asked.rounds)
    found, missing = measure(asked.tiny, seconds, rounds)
    report(__doc__, [], asked, found, targets=targets_of(found), missing=missing, draw=lambda folder: draw(found, folder), seconds=seconds)


if __name__ == "__main__":
    main()
