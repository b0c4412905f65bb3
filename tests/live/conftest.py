"""What the live tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.player import play


@pytest.fixture(scope="session")
def warm_player(scaled: Callable[[float], float], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Kernels are compiled once, here: minutes on a machine that has never run them, a second afterwards."""
    pytest.importorskip("pyaudio")
    folder: Path = tmp_path_factory.mktemp("warm")
    play(dict(os.environ), folder, seconds=0.2, sink="null", device_rate_hz=48_000, timeout_s=scaled(600.0))
