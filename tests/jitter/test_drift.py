"""The controller of the speed: a delay that answers to it, clocks that differ, networks that change."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.jitter.drift import MOST, SLEW_PER_S, SPLICE_ABOVE_MS, drift_ratio, make_drift

TICK_MS = 10.0


def run(seconds, *, ppm=0.0, delay_ms=20.0, control=lambda t_s: 20.0, network=lambda t_s: 0.0, steering=lambda t_s: True, state=None):
    """Delay and speed over time: the delay falls by the speed and rises by the drift, and jumps where the network does."""
    state = state if state is not None else make_drift()
    address = state.ctypes.data
    delays, speeds = [], []
    for n in range(int(seconds * 100)):
        t_s = n / 100
        speed = 1.0 - drift_ratio(address, delay_ms + network(t_s), control(t_s), TICK_MS, steering(t_s))
        delay_ms += (ppm * 1e-6 - speed) * TICK_MS
        delays.append(delay_ms + network(t_s))
        speeds.append(speed)
    return np.array(delays), np.array(speeds), state[0]


@pytest.mark.parametrize("ppm", [-500, -20, 0, 300, 500])
def test_a_difference_of_clocks_is_found_and_costs_no_delay(ppm):
    delays, speeds, state = run(120, ppm=ppm)
    assert np.abs(delays - 20.0).max() < 1.6
    assert np.abs(delays[6_000:] - 20.0).max() < 0.1
    assert np.abs(speeds[6_000:] * 1e6 - ppm).max() < 5.0
    assert state["drift"] * 1e6 == pytest.approx(ppm, abs=1.0)


@pytest.mark.parametrize("step_ms", [-35.0, -10.0, 10.0, 30.0])
def test_a_step_is_worked_off_within_the_limits_of_speed_and_of_its_change(step_ms):
    delays, speeds, _ = run(90, network=lambda t_s: step_ms if t_s >= 10 else 0.0)
    assert np.abs(speeds).max() <= MOST + 1e-12
    assert np.abs(np.diff(speeds)).max() <= SLEW_PER_S * TICK_MS / 1000 + 1e-12
    assert np.abs(delays[6_000:] - 20.0).max() < 0.5
    over = (delays[1_000:] - 20.0) * -np.sign(step_ms)
    assert over.max() < 0.14 * min(abs(step_ms), 20.0) + 0.5  # of a second-order loop with damping 1: e^-2


def test_what_happens_at_the_limit_says_nothing_about_the_clocks():
    _, _, state = run(8, delay_ms=20.0 + 3 * SPLICE_ABOVE_MS)
    assert state["drift"] == 0.0
    assert state["speed"] == pytest.approx(MOST, rel=1e-3)


def test_a_delay_aimed_at_that_jumps_for_a_second_is_not_heard():
    """Late packets: C rises by 20 ms every five seconds and falls back; the sum of all glides stays below 0.3 %."""
    delays, speeds, _ = run(120, control=lambda t_s: 20.0 + (20.0 if t_s % 5 < 1 else 0.0))
    assert np.ptp(speeds[3_000:]) < 0.003
    assert delays[6_000:].mean() == pytest.approx(24.0, abs=4.0)


def test_a_higher_aim_never_makes_it_play_faster():
    """The network gets worse: at first the delay has grown by the wait, and C more; what was aimed at before is no reason to hurry."""
    _, speeds, _ = run(12, network=lambda t_s: 10.0 if t_s >= 5 else 0.0, control=lambda t_s: 50.0 if t_s >= 5 else 20.0)
    assert speeds.max() < 1e-6
    assert speeds[-1] < -0.0005


def test_while_nothing_is_known_the_drift_is_followed():
    _, _, state = run(120, ppm=400)
    before = state["drift"]
    drifted = np.array([state], state.dtype)
    delays, speeds, _ = run(10, delay_ms=35.0, ppm=400, steering=lambda t_s: False, state=drifted)
    assert drifted["drift"][0] == before
    assert np.abs(speeds * 1e6 - 400).max() < 2.0
    assert np.abs(delays - 35.0).max() < 0.1


def test_equal_inputs_give_equal_bits():
    a, b = (run(20, ppm=123, delay_ms=31.0) for _ in range(2))
    assert np.array_equal(a[0], b[0])
    assert np.array_equal(a[1], b[1])
