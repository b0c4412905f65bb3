"""A start whose kernels are on the disk never imports the compiler, whatever it then does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import rtmedia

ROOT = str(Path(rtmedia.__file__).parent.parent)
END = "\nassert 'numba' not in sys.modules, 'numba was imported'\n"

ENGINE = """
import sys, time
sys.path.insert(0, {root!r})
from rtmedia import Config, Engine

with Engine(Config(source="loopback:?loop=1&loss=0.02", sink="null", metrics_interval_s=0.2)) as engine:
    while engine.stats().frames_played_total < 16_000:
        time.sleep(0.01)
    engine.pause()
    engine.resume()
    engine.update(gain_db=-3.0)
    engine.stats()
"""
SIMULATION = """
import sys
sys.path.insert(0, {root!r})
import rtmedia

report = rtmedia.simulate(rtmedia.Config(source="loopback:?loss=0.05&jitter_ms=20"), oracles=False)
assert report.audio.shape[0] > 8000
"""
PROCESSING = """
import sys
sys.path.insert(0, {root!r})
import numpy as np
import rtmedia

block = np.random.default_rng(1).normal(0.0, 0.1, (16_000, 1)).astype(np.float32)
rtmedia.process(block, 16_000, effects="voice")
rtmedia.loudness(block, 16_000)
"""
COMMANDS = """
import sys, wave
from pathlib import Path
sys.path.insert(0, {root!r})
from rtmedia.cli.main import app

folder = Path({folder!r})
with wave.open(str(folder / "in.wav"), "wb") as file:
    file.setparams((1, 2, 16_000, 0, "NONE", ""))
    file.writeframes(bytes(range(256)) * 125)
for command in {commands}:
    try:
        app([word.format(folder=folder) for word in command])
    except SystemExit as exc:
        assert not exc.code, (command, exc.code)
"""


def run(program: str, timeout_s: float) -> None:
    """Twice: the first run may have to compile."""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=timeout_s, capture_output=True)
    second = subprocess.run([sys.executable, "-c", program + END], timeout=timeout_s, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr


@pytest.mark.live
def test_a_live_engine_plays_without_the_compiler(scaled):
    run(ENGINE.format(root=ROOT), scaled(300.0))


@pytest.mark.parametrize("program", [SIMULATION, PROCESSING], ids=["simulate", "process"])
def test_offline_work_is_done_without_the_compiler(scaled, program):
    run(program.format(root=ROOT), scaled(300.0))


@pytest.mark.parametrize(
    "command",
    [
        ["process", "{folder}/in.wav", "{folder}/out.wav"],
        ["simulate", "--speech", "{folder}/in.wav"],
    ],
    ids=lambda command: command[0],
)
def test_a_command_does_its_work_without_the_compiler(scaled, tmp_path, command):
    run(COMMANDS.format(root=ROOT, folder=str(tmp_path), commands=[command]), scaled(300.0))
