"""Fixtures that every test may use. Chance has one seed, waiting has one scale, sound has one private server.

``HYPOTHESIS_PROFILE=ci``       the same examples at every run (the default elsewhere looks for new ones)
``RTMEDIA_TEST_TIME_SCALE=3``   live tests wait up to three times as long before they call something late
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from tests.sound_server import SoundServer, SoundServerMissing

SEED = 20_240_229

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever lies in tests/live is live."""
    live = Path(__file__).parent / "live"
    for item in items:
        if live in item.path.parents:
            item.add_marker("live")


@pytest.fixture
def rng() -> np.random.Generator:
    """The only source of random numbers in tests; new and equal for each test."""
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def scaled() -> Callable[[float], float]:
    """``scaled(2.0)``: two seconds on a good machine, more where ``RTMEDIA_TEST_TIME_SCALE`` says so."""
    scale = float(os.environ.get("RTMEDIA_TEST_TIME_SCALE", "1"))
    return lambda seconds: seconds * scale


@pytest.fixture(scope="session")
def sound_server(scaled: Callable[[float], float]) -> Iterator[SoundServer]:
    """A private PulseAudio with one null sink; see `tests.sound_server`."""
    try:
        server = SoundServer(timeout_s=scaled(10.0))
    except SoundServerMissing as exc:
        pytest.skip(str(exc))
    with server:
        yield server
