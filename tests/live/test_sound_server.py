"""The tests' own instrument: what a program plays through PortAudio is what the monitor records."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.sound_server import RATE_HZ, SoundServer

TONE_HZ = 1000.0
# Blocks of 100 ms, so that a busy machine does not starve it; and silence at the end, because stopping a stream on
# ALSA's pulse plug-in throws away what the server has not fetched yet.
PLAYER = f"""
import sys, pyaudio
audio = pyaudio.PyAudio()
stream = audio.open(format=pyaudio.paFloat32, channels=1, rate={RATE_HZ}, output=True, frames_per_buffer=4800)
stream.write(sys.stdin.buffer.read() + bytes(4 * 24000))
stream.stop_stream()
stream.close()
audio.terminate()
"""


def test_a_tone_played_through_portaudio_is_recorded_frame_by_frame(
    sound_server: SoundServer, scaled: Callable[[float], float], tmp_path: Path
) -> None:
    pytest.importorskip("pyaudio")
    tone = (0.5 * np.cos(2 * np.pi * TONE_HZ * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)

    with sound_server.record(tmp_path / "monitor.f32") as recording:
        player = [sys.executable, "-c", PLAYER]
        subprocess.run(player, env=sound_server.env, input=tone.tobytes(), check=True, timeout=scaled(20.0), capture_output=True)

    heard = recording.samples()
    sounding = np.flatnonzero(np.abs(heard) > 1e-3)
    heard = heard[sounding[0] :][: tone.size]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(heard.size)))
    assert np.argmax(spectrum) * RATE_HZ / heard.size == pytest.approx(TONE_HZ, abs=2.0)
    np.testing.assert_allclose(heard, tone, atol=1e-6)


def test_the_server_can_go_away_and_come_back(sound_server: SoundServer, tmp_path: Path) -> None:
    sound_server.stop()
    with pytest.raises(RuntimeError):
        sound_server.pactl("info")

    sound_server.start()
    with sound_server.record(tmp_path / "silence.f32", tail_s=0.05) as recording:
        pass
    assert not recording.samples().any()
