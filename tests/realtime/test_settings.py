"""The wish: nonsense is refused where it is written down, what only a machine can refuse is not."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

import rtmedia
from rtmedia import Config, ConfigError, Realtime
from rtmedia.cli import options
from rtmedia.realtime import PRIORITY


def test_nothing_is_asked_for_by_default():
    assert Config().realtime is None
    assert not Realtime().asks
    assert not Realtime(priority=10).asks


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


def test_a_priority_that_no_thread_would_have_is_refused_with_what_to_give():
    with pytest.raises(ConfigError, match=r"priority is 50.*scheduling='auto'"):
        Realtime(priority=50)
    with pytest.raises(ConfigError, match="priority is 50"):
        Realtime(priority=50, lock_memory=True)
    assert Realtime(scheduling="auto", priority=50).priority == 50


def test_a_configuration_takes_nothing_else_for_a_wish():
    with pytest.raises(ConfigError, match="realtime"):
        Config(realtime=True)
    assert Config(realtime=Realtime(cpus=[1, 0])).realtime.cpus == (1, 0)


def test_the_nearer_the_deadline_the_higher_the_priority():
    wish = Realtime(scheduling="auto", priority=10)
    assert [wish.priority_of(name) for name in ("play", "render", "decode")] == [10, 9, 8]
    assert [Realtime(scheduling="fifo", priority=1).priority_of(name) for name in ("play", "render", "decode")] == [1, 1, 1]


def test_describing_a_wish_loads_nothing_heavy():
    code = "import sys, rtmedia; rtmedia.Realtime(); print([n for n in ('numba', 'numpy', 'ctypes', 'subprocess') if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
    assert "Realtime" in rtmedia.__all__


def test_the_command_line_names_its_own_options():
    with pytest.raises(ConfigError, match=r"--realtime-priority is 50.*--realtime auto"):
        options.realtime_of(options.Scheduling.off, 50, False, "", None, False)
    assert options.realtime_of(options.Scheduling.off, PRIORITY, False, "", None, False) is None
    wish = options.realtime_of(options.Scheduling.auto, 50, False, "2,3", None, False)
    assert wish == Realtime(scheduling="auto", priority=50, cpus=(2, 3))
