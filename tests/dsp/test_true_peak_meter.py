"""The true peak of recordings, whole and in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.dsp.true_peak import PHASES
from rtmedia.dsp.true_peak_meter import TruePeakMeter


def measured(x, sizes):
    meter, start, turn = TruePeakMeter(x.shape[1]), 0, 0
    while start < len(x):
        size = sizes[turn % len(sizes)]
        meter.feed(x[start : start + size])
        start, turn = start + size, turn + 1
    return meter.db


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sizes", [(1,), (7, 100), (5000,), (3, 16, 0, 11)])
def test_it_is_the_largest_of_four_convolutions_and_the_samples_whatever_the_pieces(channels, sizes):
    x = np.random.default_rng(2).uniform(-0.5, 0.5, (3_001, channels)).astype(np.float32)
    between = [np.abs(np.convolve(row, phase)).max() for row in x.T.astype(float) for phase in PHASES]
    assert measured(x, sizes) == pytest.approx(20 * np.log10(max(*between, np.abs(x).max())), abs=1e-4)


def test_a_sine_that_rises_between_its_samples():
    x = np.sin(np.pi / 2 * np.arange(4_000) + np.pi / 4)[:, None].astype(np.float32)
    fade = np.minimum(1, np.minimum(np.arange(4_000), np.arange(4_000)[::-1]) / 500)[:, None].astype(np.float32)
    assert 20 * np.log10(np.abs(x).max()) == pytest.approx(-3.01, abs=0.01)
    assert measured(x * fade, (333,)) == pytest.approx(0.0, abs=0.1)


def test_silence_has_none_and_what_is_no_number_counts_as_silence():
    assert TruePeakMeter(1).db == -120
    x = np.zeros((500, 2), np.float32)
    x[100], x[200] = np.nan, np.inf
    assert measured(x, (64,)) == -120
