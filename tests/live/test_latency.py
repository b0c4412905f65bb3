"""What the ledger says against what was recorded: the time of a chirp, measured by somebody who knows nothing of stations."""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from rtmedia.rooms.ledger import BLOCK_COLUMNS, CALL_COLUMNS, PACKET_COLUMNS, STATIONS, TERMS, way
from tests.live.alignment import band_limited, find
from tests.live.player import Played, on_a_calm_machine, play
from tests.sound_server import RATE_HZ, Recording, SoundServer

SOURCE_HZ, PACKET_FRAMES = 16_000, 320
SECONDS = 7.0
EVERY = 15  # packets: 300 ms, far more than the latency
CHIRP_MS = 40


def chirp() -> np.ndarray:
    t = np.arange(SOURCE_HZ * CHIRP_MS // 1000) / SOURCE_HZ
    sweep = np.sin(2 * np.pi * (500 * t + 5_500 / (2 * CHIRP_MS / 1000) * t**2))
    return (0.5 * sweep * np.hanning(len(t))).astype(np.float32)


def write_chirps(path: Path) -> None:
    """One at the beginning of every `EVERY`-th packet."""
    period = np.zeros(EVERY * PACKET_FRAMES)
    period[: len(chirp())] = chirp()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SOURCE_HZ)
        file.writeframes(np.rint(np.tile(period, int(SECONDS + 4) * 4) * 32767).astype("<i2").tobytes())


@dataclass(frozen=True)
class Session:
    """One run."""

    played: Played
    recording: Recording
    sink_ms: float


def differences_ms(session: Session) -> np.ndarray:
    """Of each chirp: when it was recorded, minus when the ledger has it at the speaker; the monitor is a sink's latency early."""
    played, heard = session.played, session.recording.samples().astype(np.float64)
    wanted = band_limited(chirp(), SOURCE_HZ, RATE_HZ)
    blocks, calls, packets = (
        np.stack([table[name] for name in names]).astype(np.int64)
        for table, names in (
            (played.ticks, BLOCK_COLUMNS),
            (played.marks[played.marks["frames"] > 0], CALL_COLUMNS),
            (played.packets[played.packets["media_pos"] % (EVERY * PACKET_FRAMES) == 0], PACKET_COLUMNS),
        )
    )
    found = []
    for number in range(4, packets.shape[1]):  # the first second is the buffer's, and the device's, to settle
        packet = packets[:, number : number + 1]
        terms, _ = way(packet, blocks, calls, int(played.facts["chain_latency_frames"]), RATE_HZ)
        if not terms.shape[1]:
            continue
        speaker_ns = packet[1, 0] + terms[TERMS.index("heard"), 0]
        expected = (speaker_ns - session.recording.time_ns_of(0)) * RATE_HZ / 1e9
        low = int(expected) - RATE_HZ // 8
        window = heard[max(0, low) : low + RATE_HZ // 4 + len(wanted)]
        if low < 0 or len(window) < RATE_HZ // 4:
            continue
        place, alike = find(window, wanted)
        if alike > 0.9:
            found.append((low + place - expected) * 1000 / RATE_HZ + session.sink_ms)
    return np.array(found)


@pytest.fixture(scope="module", params=["default", "kiosk-low"])
def session(
    request: pytest.FixtureRequest,
    warm_player: None,
    sound_server: SoundServer,
    scaled: Callable[[float], float],
    tmp_path_factory: pytest.TempPathFactory,
) -> Session:
    folder = tmp_path_factory.mktemp("latency")
    write_chirps(folder / "chirps.wav")
    source = f"loopback:?speech={quote(str(folder / 'chirps.wav'))}"

    def run() -> Session:
        with sound_server.record(folder / "monitor.f32") as recording:
            played = play(
                sound_server.env, folder, seconds=SECONDS, timeout_s=scaled(60.0), source=source, effects=[], profile=request.param
            )
            sink_ms = sound_server.sink_latency_ms()  # not before: it takes a while until the recorder's wish is the sink's
        return Session(played, recording, sink_ms)

    return on_a_calm_machine(run, lambda session: session.played, even_arrivals=True)


def test_a_chirp_is_recorded_when_the_ledger_says(session: Session, scaled: Callable[[float], float]) -> None:
    differences = differences_ms(session)
    assert len(differences) >= 10, "too few chirps were found to say anything"
    # Half of them: a machine that takes the recorder or the server from its core for a moment moves the others.
    assert abs(float(np.median(differences))) < scaled(2.0)  # `benchmarks/latency.py` asks for 1 ms, of a calm machine
    assert float(np.ptp(np.percentile(differences, (25, 75)))) < scaled(2.0)


def test_the_sum_of_the_stations_is_the_total_for_every_packet(session: Session) -> None:
    stats = session.played.stats
    assert stats["latency_residual_ms"] < 1.0
    mean = {name: term["mean"] for name, term in stats["latency_ms"].items()}
    assert sum(mean[name] for name in STATIONS) == pytest.approx(mean["total"], abs=0.01)


def test_no_station_of_python_or_of_the_compiled_rooms_takes_long(session: Session, scaled: Callable[[float], float]) -> None:
    """Half of all packets pass these three in microseconds: what is long is waiting, and on purpose."""
    latency = session.played.stats["latency_ms"]
    for name in ("socket", "decode", "render"):
        assert 0.0 < latency[name]["p50"] < scaled(2.0), name
