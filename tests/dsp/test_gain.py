"""The gain and its ramp."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.dsp.gain import Gain
from rtmedia.errors import ConfigError
from rtmedia.ports import Format


def test_a_gain_multiplies():
    x = np.full((10, 2), 0.25, np.float32)
    Gain(6.0).make(Format(16_000, 2), 10).process(x)
    assert np.allclose(x, 0.25 * 10**0.3, rtol=1e-6)


def test_a_change_is_a_straight_line_of_10_ms():
    made = Gain(0.0).make(Format(16_000), 400)
    x = np.ones((400, 1), np.float32)
    made.process(x[:100])
    made.update((-20.0,))
    made.process(x[100:])
    assert np.all(x[:100] == 1)
    assert np.allclose(np.diff(x[99:260, 0]), -0.9 / 160, atol=1e-6)
    assert np.allclose(x[259:], 0.1, rtol=1e-6)


def test_a_change_during_a_ramp_starts_where_the_ramp_is():
    made = Gain(0.0).make(Format(16_000), 400)
    x = np.ones((400, 1), np.float32)
    made.update((-20.0,))
    made.process(x[:80])
    made.update((0.0,))
    made.process(x[80:])
    assert np.abs(np.diff(x[:, 0])).max() < 0.9 / 160 + 1e-6
    assert x[-1] == 1


def test_a_wish_that_is_no_number_turns_the_sound_down_and_never_up():
    made = Gain(0.0).make(Format(16_000), 400)
    x = np.ones((400, 1), np.float32)
    made.update((float("nan"),))
    made.process(x)
    assert np.all(np.isfinite(x))
    assert x[-1] == pytest.approx(0.001)


def test_settings_outside_of_their_range_are_refused():
    with pytest.raises(ConfigError):
        Gain(41)


def test_a_gain_that_is_no_number_is_the_callers_mistake():
    with pytest.raises(ConfigError, match="gain_db is x"):
        Gain("x")
