"""Models of networks and senders: their statistics, their promises, and that one seed is one trace."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmedia import Config, simulate
from rtmedia.errors import ConfigError
from rtmedia.sim.models import MODELS, PRESETS, make_trace, settings_of, trace_from_text
from rtmedia.sim.models.parts import gilbert_elliott, in_order, stalled
from rtmedia.sim.models.sender import SENDERS
from rtmedia.sim.options import ServerOptions
from rtmedia.sim.stream import Material, Program, deliveries
from rtmedia.sim.trace import read_bundle

BUNDLE = Path(__file__).parent.parent / "data" / "traces" / "traces.npz"
PLAIN = Config(effects=())
SEEDS = range(1, 13)


def above_fastest_ms(trace):
    delay_ms = trace.arrival_ms - trace.send_ms
    return delay_ms - np.nanmin(delay_ms)


def figures(trace):
    """Share (%) of packets lost or slower than so many ms above the fastest, mean, largest, reordered."""
    above_ms = above_fastest_ms(trace)
    arrived_ms = trace.arrival_ms[~np.isnan(trace.arrival_ms)]
    miss = [100.0 * np.mean(~(above_ms <= limit_ms)) for limit_ms in (10, 20, 40, 60, 100, 150, 200, 300)]
    overtaken = 100.0 * np.mean(arrived_ms < np.maximum.accumulate(arrived_ms))
    return np.array([*miss, np.nanmean(above_ms), np.nanmax(above_ms), 100.0 * trace.lost / len(trace), overtaken])


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_recorded_trace_could_be_one_more_seed_of_its_model(name):
    recorded = read_bundle(BUNDLE)[name]
    found = np.array([figures(make_trace(name, seed, recorded.duration_ms / 1000.0)) for seed in SEEDS])
    middle, spread = np.median(found, axis=0), found.max(axis=0) - found.min(axis=0)
    # A spread of twelve seeds on either side, and what rounding and one packet more or less may do.
    off = np.abs(figures(recorded) - middle)
    slack = np.maximum(0.06, 0.05 * middle)
    assert np.all(off <= spread + slack), (off - spread).round(2)


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("sender", sorted(SENDERS))
def test_one_seed_is_one_trace_and_another_seed_another(name, sender):
    made, again, other = (MODELS[name](seed, 30.0, sender=sender) for seed in (3, 3, 4))
    assert np.array_equal(made.arrival_ms, again.arrival_ms, equal_nan=True)
    assert np.array_equal(made.send_ms, again.send_ms)
    if name != "perfect":
        assert not np.array_equal(made.arrival_ms, other.arrival_ms, equal_nan=True)
    assert np.all(np.diff(made.send_ms) > 0)
    assert np.all(made.arrival_ms[~np.isnan(made.arrival_ms)] > 0)
    assert made.length_ms is None or set(made.length_ms.tolist()) <= {10.0, 20.0, 40.0, 60.0, 120.0}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_only_models_that_say_so_lose_or_reorder(name):
    trace = make_trace(name, 5, 60.0)
    lossy = name in {"ge_loss3", "ge_loss10", "cellular", "cellular_mix", "wifi_udp"}
    reordering = name in {"gamma", "gamma_reorder", "step", "step150"}
    arrived_ms = trace.arrival_ms[~np.isnan(trace.arrival_ms)]
    assert (trace.lost > 0) == lossy
    assert bool(np.any(np.diff(arrived_ms) < 0)) == reordering
    assert inspect.getdoc(MODELS[name])


@given(st.floats(0.005, 0.3), st.floats(1.0, 8.0), st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_bursty_loss_has_its_rate_and_its_bursts(loss, burst_packets, seed):
    lost = gilbert_elliott(np.random.default_rng(seed), 400_000, loss, burst_packets)
    starts = np.count_nonzero(np.diff(lost.astype(np.int8)) == 1)
    slack = 6.0 * (2.0 * burst_packets / (400_000 * loss)) ** 0.5  # six standard deviations of a sum of geometric lengths
    assert np.mean(lost) == pytest.approx(loss, rel=slack)
    # Runs of plain random loss are 1 / (1 - loss) long.
    wanted = burst_packets if burst_packets > 1.0 else 1.0 / (1.0 - loss)
    assert np.count_nonzero(lost) / starts == pytest.approx(wanted, rel=slack)


@given(st.lists(st.none() | st.floats(0, 1e5), min_size=1, max_size=60))
def test_in_order_holds_back_and_never_hurries(times):
    raw = np.array([np.nan if time is None else time for time in times])
    held = in_order(raw)
    assert np.array_equal(np.isnan(held), np.isnan(raw))
    arrived = ~np.isnan(raw)
    assert np.all(np.diff(held[arrived]) >= 0)
    assert np.all(held[arrived] >= raw[arrived])


def test_a_stall_ends_in_one_burst():
    arrival_ms = np.arange(100) * 20.0
    held = stalled(arrival_ms, np.array([501.0]), np.array([200.0]))
    waited = (arrival_ms >= 501.0) & (arrival_ms < 701.0)
    assert np.array_equal(held[~waited], arrival_ms[~waited])
    assert held[waited][0] == 701.0
    assert np.allclose(np.diff(held[waited]), 0.1)


def test_a_hole_in_tcp_costs_a_round_trip_and_three_packets():
    trace = make_trace("tcp", 2, 600.0, loss=0.002, rtt_ms=100.0, jitter_ms=0.0)
    above_ms = above_fastest_ms(trace)
    held = above_ms > 1.0
    first = np.flatnonzero(held & ~np.concatenate([[False], held[:-1]]))
    stall_ms = above_ms[first]
    # Three packets behind the hole 60 ms, then the acknowledgement and the retransmission, a round trip.
    assert np.median(stall_ms) == pytest.approx(160.0, abs=0.5)
    assert np.mean(np.abs(stall_ms - 160.0) < 0.5) > 0.9
    assert len(first) == pytest.approx(0.002 * len(trace), rel=0.5)
    assert trace.lost == 0


def test_a_long_round_trip_with_a_short_timer_is_recovered_by_the_timer():
    # Alone in 120 ms packets, three later ones take longer than the timer's 200 ms.
    trace = make_trace("tcp", 2, 1200.0, loss=0.005, rtt_ms=20.0, jitter_ms=0.0, packet_ms=120)
    above_ms = above_fastest_ms(trace)
    held_ms = above_ms[above_ms > 1.0]
    # 200 ms after the acknowledgement of the packet before, which came 20 ms after that one left, 120 ms earlier.
    assert np.median(held_ms[held_ms > 90.0]) == pytest.approx(200.0, abs=0.5)


def test_tcp_stalls_more_with_more_loss_and_a_longer_way():
    def mean_ms(**settings):
        return np.mean([above_fastest_ms(make_trace("tcp", seed, **settings)).mean() for seed in range(4)])

    assert mean_ms(loss=0.001) < mean_ms(loss=0.01) < mean_ms(loss=0.02)
    assert mean_ms(rtt_ms=20.0) < mean_ms(rtt_ms=80.0) < mean_ms(rtt_ms=200.0)


@pytest.mark.parametrize("stall_s", [0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
def test_an_outage_lasts_as_long_as_it_says(stall_s):
    trace = make_trace("outage", 1, 60.0, stall_s=stall_s, jitter_ms=0.0)
    gaps_ms = np.diff(trace.arrival_ms)
    assert gaps_ms.max() == pytest.approx(stall_s * 1000.0, abs=20.01)
    assert above_fastest_ms(trace).max() == pytest.approx(stall_s * 1000.0, abs=20.01)


@pytest.mark.parametrize("drift_ppm", [-500.0, -200.0, 50.0, 1000.0])
def test_the_clock_drifts_as_it_is_told(drift_ppm):
    trace = make_trace("gauss", 1, 120.0, sd_ms=1.0, drift_ppm=drift_ppm)
    slope = np.polyfit(trace.send_ms, trace.arrival_ms - trace.send_ms, 1)[0]
    assert slope * 1e6 == pytest.approx(-drift_ppm, abs=10.0)


def test_a_step_is_as_high_as_it_is_told_and_may_stay():
    trace = make_trace("step", 1, 60.0, step_ms=-30.0, at_s=20.0, back_s=0.0, sd_ms=1.0)
    delay_ms = trace.arrival_ms - trace.send_ms
    assert np.median(delay_ms[1100:]) - np.median(delay_ms[:900]) == pytest.approx(-30.0, abs=1.0)


def test_a_synthesiser_runs_ahead_by_its_lead_and_never_more():
    trace = make_trace("perfect", 4, 120.0, sender="tts", lead_ms=3000.0, speed=10.0)
    delay_ms = trace.arrival_ms - trace.send_ms
    assert delay_ms.min() == pytest.approx(40.0 - 3000.0, abs=0.1)
    assert delay_ms.max() <= 40.1
    starts = np.flatnonzero(np.diff(trace.send_ms, prepend=-1e9) > 20.0)
    assert np.allclose(delay_ms[starts], 40.0, atol=0.1)


def test_a_sender_that_pauses_skips_time_and_no_number():
    trace = make_trace("perfect", 4, 300.0, sender="talk", talk_s=1.0, pause_s=0.5)
    steps_ms = np.diff(trace.send_ms)
    assert np.array_equal(np.diff(trace.seq), np.ones(len(trace) - 1))
    assert np.all(steps_ms % 20.0 == 0)
    assert len(trace) * 20.0 / trace.duration_ms == pytest.approx(1.0 / 1.5, rel=0.1)
    assert not trace.regular


def test_packets_change_their_length_and_the_media_has_no_hole():
    trace = make_trace("perfect", 4, 60.0, sender="sizes", lengths_ms="20,60,10", every_s=10.0)
    assert set(trace.length_ms.tolist()) == {10.0, 20.0, 60.0}
    assert np.allclose(trace.send_ms[1:], (trace.send_ms + trace.length_ms)[:-1])
    # What is said in 60 ms cannot leave before it has been said.
    assert np.allclose((trace.arrival_ms - trace.send_ms)[5:], (trace.length_ms - 10.0 + 40.0)[5:], atol=60.0)


@pytest.mark.parametrize("sender", sorted(SENDERS))
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_what_a_sender_means_is_what_the_program_sends(sender, rate_hz):
    options = ServerOptions(trace=f"model:gauss5?sender={sender}&seconds=30&seed=2", transcripts=False)
    material = Material.of(options)
    program = Program(options, material, rate_hz)
    found = [delivery for delivery in deliveries(program) if delivery.seq is not None]
    trace = material.trace
    lengths_ms = trace.length_ms if trace.length_ms is not None else np.full(len(trace), 20.0)
    assert [delivery.seq for delivery in found] == trace.seq.tolist()
    assert [int.from_bytes(delivery.data[8:16], "little") for delivery in found] == trace.send_ms.tolist()
    assert [len(delivery.data) - 16 for delivery in found] == (lengths_ms * rate_hz / 1000 * 2).tolist()
    assert [round(delivery.due_ns / 1e6, 2) for delivery in found] == trace.arrival_ms.tolist()


def test_packets_of_changing_length_carry_the_sound_without_a_seam():
    plain, changing = (
        Program(options, Material.of(options), 16_000)
        for options in (ServerOptions(transcripts=False), ServerOptions(trace="model:perfect?sender=sizes&seconds=30", transcripts=False))
    )
    whole = b"".join(plain.payload(index) for index in range(1_000))
    found = b"".join(changing.payload(index) for index in range(changing.packets))
    assert found[: len(whole)] == whole


@pytest.mark.parametrize("sender", sorted(SENDERS))
def test_every_sender_can_be_heard(sender):
    result = simulate(PLAIN, f"model:gauss5?seconds=20&sender={sender}", seed=2)
    assert result.report["lost_pct"] == 0.0
    assert result.stats.underruns_total == 0
    assert np.isfinite(result.audio).all()
    if sender != "tts":  # how well sound that comes early is played is the jitter buffer's business
        assert result.report["concealed_pct"] < 2.0


def test_a_pause_of_the_sender_is_neither_delay_nor_concealment():
    report = simulate(PLAIN, "model:perfect?sender=talk&seconds=20", seed=1).report
    assert report["mean_delay_ms"] == pytest.approx(10.0, abs=2.0)  # 20 ms for the first seconds
    assert report["p99_delay_ms"] < 30.0
    assert report["concealed_pct"] == report["speech_concealed_pct"] == 0.0
    # What knows the future needs no more than it needs without pauses: nothing.
    assert report["oracle_schedule_j"] < 10.0


def test_a_model_is_named_like_a_file():
    trace = trace_from_text("model:tcp?loss=0.02&rtt_ms=150&seed=3&seconds=30&sender=talk&talk_s=3&packet_ms=40")
    same = make_trace("tcp", 3, 30.0, loss=0.02, rtt_ms=150.0, sender="talk", talk_s=3.0, packet_ms=40)
    assert np.array_equal(trace.arrival_ms, same.arrival_ms)
    assert (trace.name, trace.packet_ms) == ("tcp", 40.0)
    assert {"loss", "seed", "lead_ms"} <= set(settings_of("tcp", "tts"))


def test_the_simulation_gives_its_seed_to_a_model_that_has_none():
    first, second = (simulate(PLAIN, "model:ws_stall?seconds=10", seed=seed) for seed in (1, 2))
    named = simulate(PLAIN, "model:ws_stall?seconds=10&seed=2", seed=1)
    assert first.report != second.report
    assert second.report == named.report


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model:gone", "the models are perfect, gauss5"),
        ("model:tcp?los=0.1", "'los' is no setting of model:tcp; the settings are seed"),
        ("model:tcp?loss=high", "loss is 'high'; give a number"),
        ("model:tcp?seed=1.5", "seed is '1.5'; give a whole number"),
        ("model:tcp?loss=0.1&loss=0.2", "twice"),
        ("model:tcp?loss=1", "loss is 1.0; it must lie between"),
        ("model:tcp?seed=-1", "seed is -1"),
        ("model:tcp?seconds=1e9", "seconds asks for"),
        ("model:tcp?seconds=0", "seconds asks for"),
        ("model:tcp?sender=parrot", "the senders are regular, talk"),
        ("model:tcp?lead_ms=100", "'lead_ms' is no setting"),
        ("model:tcp?packet_ms=15", "packets last 10, 20"),
        ("model:tcp?sender=sizes&lengths_ms=20,x", "lengths_ms is '20,x'"),
        ("model:outage?stall_s=9&every_s=5", "shorter than its period"),
        ("model:ws_stall?low_ms=300&high_ms=200", "the longest stall cannot be shorter"),
        ("model:ge_loss3?loss=0.9&burst_packets=2", "burst_packets is 2.0"),
    ],
)
def test_a_model_that_cannot_be_is_refused_with_its_reason(text, complaint):
    with pytest.raises(ConfigError, match=complaint.replace("?", r"\?")):
        simulate(PLAIN, text)
