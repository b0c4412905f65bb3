"""The wish: nonsense is refused where it is written down, what only a machine can refuse is not."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

import rtmedia
from rtmedia import Config, ConfigError, Realtime


def test_nothing_is_asked_for_by_default():
    assert Config().realtime is None
    assert not Realtime().asks
    assert not Realtime(priority=20).asks


@pytest.mark.parametrize(
    "wish", [{"scheduling": "auto"}, {"lock_memory": True}, {"cpus": (1,)}, {"switch_interval_ms": 1}, {"freeze_gc": True}]
)
def test_each_setting_alone_is_a_wish(wish):
    assert Realtime(**wish).asks


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("scheduling", "deadline"),
        ("scheduling", True),
        ("priority", 0),
        ("priority", 99),
        ("priority", 10.0),
        ("priority", True),
        ("lock_memory", "yes"),
        ("freeze_gc", 1),
        ("cpus", (-1,)),
        ("cpus", (0, 0)),
        ("cpus", (1.0,)),
        ("cpus", (True,)),
        ("cpus", "2,3"),
        ("cpus", 3),
        ("cpus", (100_000,)),
        ("switch_interval_ms", 0),
        ("switch_interval_ms", -5),
        ("switch_interval_ms", math.nan),
        ("switch_interval_ms", math.inf),
        ("switch_interval_ms", "5"),
        ("switch_interval_ms", True),
    ],
)
def test_nonsense_is_refused_by_its_name(setting, value):
    with pytest.raises(ConfigError, match=setting):
        Realtime(**{setting: value})


def test_a_configuration_takes_nothing_else_for_a_wish():
    with pytest.raises(ConfigError, match="realtime"):
        Config(realtime=True)
    assert Config(realtime=Realtime(cpus=[1, 0])).realtime.cpus == (1, 0)


def test_the_nearer_the_deadline_the_higher_the_priority():
    wish = Realtime(scheduling="auto", priority=10)
    assert [wish.priority_of(name) for name in ("play", "render", "decode")] == [10, 9, 8]
    assert [Realtime(priority=1).priority_of(name) for name in ("play", "render", "decode")] == [1, 1, 1]


def test_describing_a_wish_loads_nothing_heavy():
    code = "import sys, rtmedia; rtmedia.Realtime(); print([n for n in ('numba', 'numpy', 'ctypes', 'subprocess') if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
    assert "Realtime" in rtmedia.__all__
