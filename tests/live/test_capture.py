"""Live equals simulated: a session with threads, a server, a device and a bad network, and its replay."""

from __future__ import annotations

import os
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rtmedia import Config, Engine, simulate
from rtmedia.capture.reading import read_session
from rtmedia.capture.trace import trace_of
from rtmedia.events import Problem, Transcript
from rtmedia.rooms.doorways import captured_ticks
from tests.live.player import play
from tests.sound_server import SoundServer

SECONDS = 5.0
BAD = "loopback:?loss=0.03&duplicate=0.03&reorder=0.05&reorder_ms=60&jitter_ms=30&stall_every_s=2&stall_ms=400&seed=7"


def same(live, again) -> None:
    """Tick by tick: the operations, and every other number that a tick holds."""
    assert np.array_equal(live["op"], again["op"])
    assert captured_ticks(live).tobytes() == captured_ticks(again).tobytes()  # all but the ledger's stamp


@pytest.mark.parametrize(
    ("hostility", "jitter"),
    [({}, {}), ({"busy": 2}, {}), ({}, {"drift": "resample"})],
    ids=["calm", "busy interpreter", "clocks followed by resampling"],
)
def test_on_a_private_sound_server_live_equals_simulated(
    warm_player: None,
    sound_server: SoundServer,
    scaled: Callable[[float], float],
    tmp_path: Path,
    hostility: dict[str, int],
    jitter: dict[str, str],
) -> None:
    path = tmp_path / "session.rtcap"
    settings = {"source": BAD, "capture": str(path), "jitter": jitter}
    played = play(sound_server.env, tmp_path, seconds=SECONDS, hostility=hostility, timeout_s=scaled(60.0), **settings)
    result = simulate(capture=path)
    report = result.report
    assert report["cut"] == ""
    assert report["steps_missing"] == report["ticks_different"] == 0
    assert report["ticks_compared"] == len(played.ticks) > 0.8 * SECONDS * 100
    assert len(set(played.ticks["op"].tolist())) >= 4, "too calm to prove anything"
    same(played.ticks, result.ticks)
    again = result.stats.as_dict()
    for name in ("packets_lost_total", "packets_duplicate_total", "concealed_pct", "frames_played_total", "underruns_total"):
        assert again[name] == played.stats[name], name
    # The stations before the hand-over have stamps that decide nothing, and are not captured.
    for name in ("total", "device", "heard"):
        assert again["latency_ms"][name] == played.stats["latency_ms"][name], name


def test_what_a_file_sink_heard_is_heard_again_and_the_rest_of_the_session_too(warm_player: None, tmp_path: Path) -> None:
    path, heard = tmp_path / "session.rtcap", tmp_path / "heard.wav"
    config = Config(
        source=f"{BAD}&disconnect_after_s=2.5&disconnect_times=1",
        sink=f"wav:{heard}",
        device_rate_hz=48_000,
        metrics_interval_s=0,
        capture=str(path),
    )
    with Engine(config) as engine:
        events = list(engine.events(timeout_s=1.5))
        engine.update(gain_db=-6.0)
        engine.pause()
        engine.wait(0.3)
        engine.resume()
        events += engine.events(timeout_s=SECONDS - 2.0)
    events += engine.events(timeout_s=0.0)
    result = simulate(config, capture=path)
    assert result.report["cut"] == ""
    assert result.report["ticks_different"] == 0
    with wave.open(str(heard)) as file:
        live = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    result.write_wav(tmp_path / "again.wav")
    with wave.open(str(tmp_path / "again.wav")) as file:
        again = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert np.array_equal(live, again)
    said = [event.text for event in events if isinstance(event, Transcript)]
    assert [event.text for event in result.events if isinstance(event, Transcript)] == said
    assert len(said) >= 1
    assert result.stats.packets_expected_total == engine.stats().packets_expected_total
    assert engine.stats().reconnects_total == 1
    trace = trace_of(read_session(path))
    assert trace.packet_ms == 20.0
    assert trace.lost > 0


def test_a_process_that_dies_leaves_a_capture_that_replays(warm_player: None, tmp_path: Path, scaled: Callable[[float], float]) -> None:
    import subprocess
    import sys

    path = tmp_path / "session.rtcap"
    code = (
        "import os, sys, rtmedia\n"
        f"with rtmedia.Engine(rtmedia.Config(source='loopback:', sink='null', capture={str(path)!r})) as engine:\n"
        "    engine.wait(2.0)\n"
        "    if engine._server is not None:\n"
        "        engine._server.close(1.0)\n"
        "    os._exit(9)\n"
    )
    child = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), timeout=scaled(60.0), cwd=Path(__file__).parents[2])
    assert child.returncode == 9
    report = simulate(capture=path).report
    assert report["cut"] == "the session did not end in order"
    assert report["ticks_different"] == 0
    assert report["ticks_compared"] > 100


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_ends_the_capture_and_not_the_session(warm_player: None, scaled: Callable[[float], float]) -> None:
    with Engine(Config(source="loopback:", sink="null", metrics_interval_s=0, effects=(), capture="/dev/full")) as engine:
        told = next(event for event in engine.events(timeout_s=scaled(10.0)) if isinstance(event, Problem))
        assert told.kind == "capture"
        assert "No space left" in told.message
        assert not engine.wait(0.3)
        assert engine.state == "running"
