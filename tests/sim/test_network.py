"""The network model keeps its promises: shares, bursts, order, stalls, drift, and one fate per seed."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmedia.errors import ConfigError
from rtmedia.sim.network import NetworkModel, NetworkOptions, TraceNetwork
from rtmedia.sim.trace import parse_trace, read_bundle

MS = 1_000_000
PACKETS = 20_000
GOLDEN = [[49.361], [], [80.701], [108.469]]
DATA = Path(__file__).parent.parent / "data" / "traces"


def fates(packets=PACKETS, stream=0, **options):
    model = NetworkModel(NetworkOptions(**options), stream)
    return [model.arrivals(index, index * 20 * MS) for index in range(packets)]


def firsts_ms(found):
    return np.array([fate[0] / MS if fate else np.nan for fate in found])


def delays_ms(found):
    return firsts_ms(found) - np.arange(len(found)) * 20.0


def test_the_perfect_network_delivers_at_once():
    assert fates(100) == [[index * 20 * MS] for index in range(100)]


EVERYTHING = {
    "delay_ms": 40,
    "jitter_ms": 15,
    "loss": 0.05,
    "burst_packets": 3,
    "duplicate": 0.02,
    "reorder": 0.03,
    "stall_every_s": 4,
    "stall_ms": 300,
    "drift_ppm": 120,
}


def test_one_seed_is_one_fate_and_other_seeds_and_streams_are_others():
    assert fates(2000, seed=3, **EVERYTHING) == fates(2000, seed=3, **EVERYTHING)
    assert fates(2000, seed=3, **EVERYTHING) != fates(2000, seed=4, **EVERYTHING)
    assert fates(2000, stream=1, seed=3, **EVERYTHING) != fates(2000, seed=3, **EVERYTHING)


def test_this_seed_has_this_fate_on_every_python():
    found = fates(4, seed=1, delay_ms=40, jitter_ms=15, loss=0.3)
    assert [[round(at / MS, 3) for at in fate] for fate in found] == GOLDEN


def test_an_effect_does_not_disturb_the_chances_of_another():
    lost = [not fate for fate in fates(3000, loss=0.1)]
    assert lost == [not fate for fate in fates(3000, loss=0.1, jitter_ms=20, duplicate=0.3, reorder=0.2)]


@pytest.mark.parametrize("loss", [0.0, 0.02, 0.2, 1.0])
def test_the_share_of_lost_packets_is_the_one_asked_for(loss):
    share = np.mean([not fate for fate in fates(loss=loss)])
    assert abs(share - loss) <= 3.5 * (loss * (1 - loss) / PACKETS) ** 0.5


@pytest.mark.parametrize(("burst", "density"), [(2.5, 1.0), (8.0, 1.0), (8.0, 0.5)])
def test_bursts_have_their_length_and_keep_the_share(burst, density):
    lost = [not fate for fate in fates(60_000, loss=0.05, burst_packets=burst, burst_density=density)]
    assert np.mean(lost) == pytest.approx(0.05, abs=0.01)
    lengths = [len(list(run)) for is_lost, run in groupby(lost) if is_lost]
    if density == 1.0:
        assert np.mean(lengths) == pytest.approx(burst, rel=0.12)
    else:
        assert 1.2 < np.mean(lengths) < burst


def test_plain_loss_comes_in_runs_of_chance():
    lost = [not fate for fate in fates(60_000, loss=0.2)]
    lengths = [len(list(run)) for is_lost, run in groupby(lost) if is_lost]
    assert np.mean(lengths) == pytest.approx(1 / 0.8, rel=0.03)


@pytest.mark.parametrize(
    ("shape", "mean_ms", "deviation_ms"),
    [
        ("half-normal", 10 * (2 / np.pi) ** 0.5, 10 * (1 - 2 / np.pi) ** 0.5),
        ("normal", 0, 10),
        ("exponential", 10, 10),
    ],
)
def test_jitter_has_the_shape_asked_for(shape, mean_ms, deviation_ms):
    delay_ms = delays_ms(fates(delay_ms=80, jitter_ms=10, jitter_shape=shape, in_order=False)) - 80
    assert delay_ms.mean() == pytest.approx(mean_ms, abs=0.3)
    assert delay_ms.std() == pytest.approx(deviation_ms, rel=0.04)


def test_jitter_alone_never_reorders_unless_it_may():
    assert (np.diff(firsts_ms(fates(3000, jitter_ms=30))) >= 0).all()
    assert (np.diff(firsts_ms(fates(3000, jitter_ms=30, in_order=False))) < 0).any()


def test_reordered_packets_are_overtaken_and_the_others_wait_for_nobody():
    found = firsts_ms(fates(reorder=0.05, reorder_ms=100))
    late_ms = found - np.arange(PACKETS) * 20.0
    held = late_ms > 0
    assert held.mean() == pytest.approx(0.05, abs=0.006)
    assert late_ms[held].min() >= 50
    assert late_ms[held].max() <= 100


def test_duplicates_come_after_their_packet():
    found = fates(duplicate=0.1, jitter_ms=5)
    twice = [fate for fate in found if len(fate) == 2]
    assert len(twice) / PACKETS == pytest.approx(0.1, abs=0.01)
    assert all(0 <= second - first <= 60 * MS for first, second in twice)


def test_a_stall_delivers_everything_at_its_end():
    found = firsts_ms(fates(1000, delay_ms=10, stall_every_s=4, stall_ms=300))
    for start_ms in range(4000, 20_000, 4000):
        assert not ((found >= start_ms) & (found < start_ms + 300)).any()
        assert (found == start_ms + 300).sum() == 15
    assert found[0] == 10  # none at the very start


def test_the_sender_clock_drifts():
    assert fates(2, drift_ppm=0)[1] == [20 * MS]
    assert fates(50_001, drift_ppm=200)[50_000][0] == pytest.approx(1000e9 - 0.2e9, abs=0.001e9)
    assert fates(50_001, drift_ppm=-200)[50_000][0] == pytest.approx(1000e9 + 0.2e9, abs=0.001e9)


@given(
    seed=st.integers(0, 99),
    jitter_ms=st.floats(0, 100),
    drift_ppm=st.floats(-500, 500),
    stall_ms=st.sampled_from([0, 100, 900]),
    shape=st.sampled_from(["half-normal", "normal", "exponential"]),
    in_order=st.booleans(),
)
def test_nothing_arrives_before_its_announced_earliest_time(seed, jitter_ms, drift_ppm, stall_ms, shape, in_order):
    options = NetworkOptions(
        delay_ms=5,
        jitter_ms=jitter_ms,
        jitter_shape=shape,
        drift_ppm=drift_ppm,
        stall_ms=stall_ms,
        stall_every_s=1 if stall_ms else 0,
        in_order=in_order,
        duplicate=0.1,
        reorder=0.1,
        seed=seed,
    )
    model = NetworkModel(options)
    for index in range(100):
        earliest_ns = model.earliest_ns(index, index * 20 * MS)
        assert all(at >= earliest_ns for at in model.arrivals(index, index * 20 * MS))
        assert model.text_arrival_ns(index * 20 * MS) >= earliest_ns


@pytest.mark.parametrize(
    "options",
    [
        {"loss": 1.5},
        {"loss": -0.1},
        {"loss": float("nan")},
        {"delay_ms": -1},
        {"burst_packets": 0.5},
        {"loss": 0.5, "burst_density": 0.2},
        {"stall_ms": 100},
        {"stall_every_s": 4},
        {"stall_every_s": 1, "stall_ms": 1000},
        {"jitter_shape": "gauss"},
        {"drift_ppm": 1e6},
    ],
)
def test_impossible_settings_are_refused_by_name(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        NetworkOptions(**options)


def test_a_trace_is_replayed_to_the_nanosecond():
    for trace in read_bundle(DATA / "traces.npz").values():
        network = TraceNetwork(trace)
        for index, arrival_ms in enumerate(trace.arrival_ms.tolist()):
            expected = [] if np.isnan(arrival_ms) else [round(arrival_ms * MS)]
            assert network.arrivals(index, index * 20 * MS) == expected
            if expected:
                assert network.earliest_ns(index, index * 20 * MS) <= expected[0]
        assert network.arrivals(len(trace), 0) == []


def test_a_trace_repeats_a_lap_later():
    trace = parse_trace("3,60,100\n4,80,\n6,120,140\n", "x")
    network = TraceNetwork(trace, repeat=True)
    found = [network.arrivals(index, 0) for index in range(8)]
    assert found == [[40 * MS], [], [], [80 * MS], [120 * MS], [], [], [160 * MS]]
    assert network.earliest_ns(5, 0) == 160 * MS
