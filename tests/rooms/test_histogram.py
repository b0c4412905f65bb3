"""Histograms of durations: one relative resolution from microseconds to seconds."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.rooms.histogram import BINS, QUANTILES, Histograms, bins_of, top_ms


def test_bins_are_in_order_without_a_hole_and_as_narrow_as_stated():
    edges = np.array([top_ms(i) for i in range(BINS)])
    widths = np.diff(edges)
    assert (widths > 0).all()
    assert np.max(widths / edges[1:]) <= 1 / 2
    far = edges[1:] > 0.128
    assert np.max(widths[far] / edges[1:][far]) < 0.0079
    assert np.max(widths[~far]) == pytest.approx(0.001)
    assert edges[-2] > 8_000.0


@pytest.mark.parametrize("duration_ns", [0, 999, 1_000, 255_999, 256_000, 257_999, 258_000, 20_001_000, 8_000_000_000])
def test_a_duration_lies_in_the_bin_whose_edges_are_around_it(duration_ns):
    found = int(bins_of(np.array([duration_ns]))[0])
    assert duration_ns / 1e6 < top_ms(found)
    assert found == 0 or duration_ns / 1e6 >= top_ms(found - 1)


def test_quantiles_against_numpy(rng):
    values = (rng.lognormal(0.0, 2.5, (3, 20_001)) * 1e6).astype(np.int64)
    histograms = Histograms(("one", "two", "three"))
    for part in np.array_split(values, 37, axis=1):
        histograms.add(part)
    assert histograms.total == 20_001
    for name, row in zip(histograms.names, values, strict=True):
        summary = histograms.summary()[name]
        assert summary["mean"] == pytest.approx(row.mean() / 1e6)
        assert summary["max"] == row.max() / 1e6
        for quantile, share in QUANTILES.items():
            exact = np.percentile(row, 100 * share, method="inverted_cdf") / 1e6
            assert exact <= summary[quantile] <= exact * 1.008 + 0.001


def test_the_same_durations_in_other_portions_give_the_same_to_the_bit(rng):
    values = rng.integers(0, 1 << 34, (1, 999))
    whole, parts = Histograms(("a",)), Histograms(("a",))
    whole.add(values)
    for part in np.array_split(values, 50, axis=1):
        parts.add(part)
    assert whole.summary() == parts.summary()


def test_what_is_outside_is_counted_at_the_ends():
    histograms = Histograms(("a",))
    histograms.add(np.array([[-5, 10**13]]))
    assert histograms.total == 2
    assert histograms.summary()["a"]["max"] == 10**7
    assert histograms.summary()["a"]["p99.9"] == 10**7


def test_before_the_first_there_is_nothing_to_say():
    assert Histograms(("a",)).summary() == {}
