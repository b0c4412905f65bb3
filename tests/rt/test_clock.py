"""The compiled clock is Python's monotonic clock, and sleeping gives the core away."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from rtmedia.rt.clock import now_ns, sleep_ns
from rtmedia.rt.kernel import kernel

# Where time.monotonic_ns has steps of 15.6 ms (see rtmedia.rt.clock) the same clock has another name.
python_ns = time.perf_counter_ns if sys.platform == "win32" else time.monotonic_ns


@kernel("i8(i8)")
def steps_back(times):
    """How often the clock ran backwards in `times` readings."""
    wrong, before = 0, now_ns()
    for _ in range(times):
        now = now_ns()
        wrong += now < before
        before = now
    return wrong


@kernel("i8(i8)")
def slept_ns(duration_ns):
    before = now_ns()
    sleep_ns(duration_ns)
    return now_ns() - before


def test_compiled_and_python_time_are_one_clock():
    for _ in range(100):
        before, inside, after = python_ns(), now_ns(), python_ns()
        assert before <= inside <= after


def test_the_clock_never_runs_backwards():
    assert steps_back(200_000) == 0


@pytest.mark.parametrize("duration_ns", [1, 1_000, 2_000_000, 1_001_000_000])
def test_sleep_lasts_at_least_as_long_as_asked(duration_ns):
    assert slept_ns(duration_ns) >= duration_ns


@pytest.mark.parametrize("duration_ns", [0, -1, -(2**62)])
def test_no_time_is_no_sleep(duration_ns):
    assert min(slept_ns(duration_ns) for _ in range(100)) < 20_000


def test_python_runs_on_while_a_compiled_loop_sleeps():
    sleeper = threading.Thread(target=sleep_ns, args=(300_000_000,))
    sleeper.start()
    rounds = 0
    while sleeper.is_alive():
        rounds += 1
    assert rounds > 1_000  # a sleep that held the GIL would leave one
