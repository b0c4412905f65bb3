"""Whatever hangs, the engine leaves within two seconds, and the process with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.live.player import play
from tests.sound_server import SoundServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be frozen by a signal here")
STOP_S = 2.0
EXIT_S = 1.5  # of an interpreter with numba in it, on a busy machine


def left_in_time(played: Any, scaled: Callable[[float], float]) -> None:
    assert played.stats["frames_played_total"] > 0
    assert played.facts["stop_s"] <= scaled(STOP_S)
    assert played.exit_s <= scaled(STOP_S + EXIT_S)


def test_a_server_that_hangs_delays_no_stop(
    warm_player: None, sound_server: SoundServer, scaled: Callable[[float], float], tmp_path: Path
) -> None:
    played = play(sound_server.env, tmp_path, seconds=0.8, freeze="server")
    left_in_time(played, scaled)
    assert played.facts["threads"] == []
    assert played.facts["left_behind"] == []


def test_a_sound_device_that_hangs_delays_no_stop(
    warm_player: None, sound_server: SoundServer, scaled: Callable[[float], float], tmp_path: Path
) -> None:
    with sound_server.thawed():
        played = play(sound_server.env, tmp_path, seconds=0.8, freeze=sound_server.pid)
    left_in_time(played, scaled)
    # What cannot be ended is the library's call into the device; it is named, and keeps nobody here.
    assert set(played.facts["threads"]) <= {"rtm-close"}


def test_an_owner_who_never_reads_events_delays_nothing(
    warm_player: None, sound_server: SoundServer, scaled: Callable[[float], float], tmp_path: Path
) -> None:
    played = play(sound_server.env, tmp_path, seconds=0.8, listen=False)
    left_in_time(played, scaled)
    assert played.facts["threads"] == []
    assert played.stats["underrun_frames_total"] == 0
