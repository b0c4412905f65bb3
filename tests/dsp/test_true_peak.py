"""Peaks between the samples, against the Recommendation's filter as NumPy convolves it."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.dsp.lanes import LANES, store8
from rtmedia.dsp.true_peak import AHEAD, MOST, PHASES, TAPS, true_peak8
from rtmedia.rt.kernel import kernel


@kernel("void(i8, i8, i8)")
def measure(x, frames, out):
    for i in range(0, frames, LANES):
        store8(out + 4 * i, true_peak8(x + 4 * i))


def test_each_lane_is_the_largest_of_four_convolutions_and_its_sample():
    x = np.random.default_rng(1).uniform(-1, 1, 800 + TAPS - 1).astype(np.float32)
    out = np.zeros(800, np.float32)
    measure(x.ctypes.data, 800, out.ctypes.data)
    wanted = np.max([np.abs(np.convolve(x.astype(float), phase, "valid")) for phase in PHASES], axis=0)
    wanted = np.maximum(wanted, np.abs(x[TAPS // 2 :][:800]))
    assert np.abs(out - wanted).max() < 1e-6
    assert wanted.max() <= MOST * np.abs(x).max()


def test_the_filter_is_as_printed_two_phases_and_their_mirror_images():
    assert PHASES.shape == (4, TAPS)
    assert np.array_equal(PHASES, PHASES[::-1, ::-1])
    assert np.array_equal(PHASES * 2**13, np.round(PHASES * 2**13))
    assert AHEAD == TAPS // 2 - 1


@pytest.mark.parametrize(("amplitude", "over_db"), [(1.0, 3.01)])
def test_a_quarter_rate_sine_at_45_degrees_rises_3_db_above_its_samples(amplitude, over_db):
    x = (amplitude * np.sin(np.pi / 2 * np.arange(400) + np.pi / 4)).astype(np.float32)
    out = np.zeros(320, np.float32)
    measure(x.ctypes.data, 320, out.ctypes.data)
    assert 20 * np.log10(out.max() / np.abs(x).max()) == pytest.approx(over_db, abs=0.25)  # the filter itself reads 0.2 dB too much
