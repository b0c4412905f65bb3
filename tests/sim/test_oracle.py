"""The bounds, against an enumeration of everything that a buffer could have done."""

from __future__ import annotations

import functools
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmedia.errors import ConfigError
from rtmedia.sim import oracle
from rtmedia.sim.oracle import Bound, constant_oracle, lateness_ms, oracle_report, schedule_oracle
from rtmedia.sim.trace import Trace, read_bundle

BUNDLE = read_bundle(Path(__file__).parent.parent / "data" / "traces" / "traces.npz")


def trace_of(delays_ms, packet_ms=20.0, seq=None):
    """A regular stream; None is a lost packet."""
    seq = np.arange(len(delays_ms)) if seq is None else np.array(seq)
    send_ms = seq * packet_ms
    delays = np.array([np.nan if delay is None else delay for delay in delays_ms])
    return Trace("made up", seq, send_ms, send_ms + delays)


class Everything:
    """The rules, written down packet by packet: what a buffer may do at each tick, and what it costs."""

    def __init__(self, trace, price_ms, shift, phase_ms=0.0):
        self.packet_ms, self.price_ms, self.shift = trace.packet_ms, price_ms, shift
        self.arrival_ms = {int(k): a for k, a in zip(trace.seq - trace.seq[0], trace.arrival_ms, strict=True)}
        self.packets = max(self.arrival_ms) + 1
        self.fastest_ms = min(a - k * self.packet_ms for k, a in self.arrival_ms.items() if not math.isnan(a))
        self.first_ms = phase_ms + 10 * math.ceil((self.fastest_ms - phase_ms) / 10 - 1e-9)
        self.ticks = int(self.packets * self.packet_ms) // 10
        # Whoever is later than the latest packet by more than a tick gains nothing but the end of the stream.
        latest_ms = max(a - k * self.packet_ms for k, a in self.arrival_ms.items() if not math.isnan(a)) - self.fastest_ms
        self.levels = math.ceil(latest_ms) + 12 + shift
        self.fraction = (self.first_ms - self.fastest_ms + 1e-6) % 1.0 - 1e-6

    def is_there(self, now_ms, media_ms, length_ms):
        first, last = math.floor(media_ms / self.packet_ms), math.ceil((media_ms + length_ms) / self.packet_ms) - 1
        wanted = range(max(0, first), min(self.packets - 1, last) + 1)
        return all(self.arrival_ms.get(k, math.nan) <= now_ms + 1e-6 for k in wanted)  # NaN is never

    def steps(self, tick, level):
        """(next level, price paid) of every allowed action."""
        now_ms = self.first_ms + 10 * tick
        media_ms = round(now_ms - self.fastest_ms - self.fraction) - level
        yield level, self.price_ms  # conceal, media goes on
        if level + 10 < self.levels:
            yield level + 10, self.price_ms  # conceal, media waits
        for more in range(-self.shift, self.shift + 1):
            if 0 <= level - more < self.levels and self.is_there(now_ms, media_ms, 10 + more):
                yield level - more, 0.0

    def cheapest(self):
        @functools.cache
        def rest(tick, level):
            if tick == self.ticks:
                return 0.0
            return level + min(paid + rest(tick + 1, following) for following, paid in self.steps(tick, level))

        return min(rest(0, level) for level in range(self.levels)) / self.ticks + self.fraction


delays = st.one_of(st.none(), st.integers(0, 60).map(float), st.floats(0, 45).map(lambda x: round(x, 2)))


@given(
    st.lists(delays, min_size=2, max_size=6).filter(lambda values: any(value is not None for value in values)),
    st.sampled_from([10.0, 20.0, 30.0]),
    st.sampled_from([30.0, 100.0, 1_000.0]),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([0.0, 3.25]),
)
@settings(max_examples=150, deadline=None)
def test_the_schedule_oracle_finds_what_an_exhaustive_search_finds(delays_ms, packet_ms, price_ms, shift, phase_ms):
    trace = trace_of(delays_ms, packet_ms)
    found = schedule_oracle(trace, price_ms, stretch=shift / 10, phase_ms=phase_ms)
    wanted = Everything(trace, price_ms, shift, phase_ms).cheapest()
    assert found.cost_ms == pytest.approx(wanted, abs=1e-6)
    assert found.cost_ms == pytest.approx(found.delay_ms + price_ms * found.concealed_pct / 100)


@pytest.mark.parametrize("shift", [0, 1])
def test_and_what_trying_every_sequence_of_actions_finds(shift):
    trace = trace_of([3.0, 21.5])
    world = Everything(trace, 200.0, shift)
    best = math.inf
    for level, actions in itertools.product(range(world.levels), itertools.product(range(3 + 2 * shift), repeat=world.ticks)):
        total, at = 0.0, level
        for tick, action in enumerate(actions):
            allowed = list(world.steps(tick, at))
            if action >= len(allowed):
                break
            total += at
            at, paid = allowed[action]
            total += paid
        else:
            best = min(best, total)
    assert schedule_oracle(trace, 200.0, stretch=shift / 10).cost_ms == pytest.approx(best / world.ticks + world.fraction)


@pytest.mark.parametrize("name", sorted(BUNDLE))
def test_the_bounds_are_in_order(name):
    trace = BUNDLE[name]
    constant = constant_oracle(trace, 10_000.0)
    schedule, stretching = (schedule_oracle(trace, 10_000.0, stretch=stretch) for stretch in (0.0, 0.1))
    assert stretching.cost_ms <= schedule.cost_ms
    assert schedule.cost_ms <= constant.cost_ms + 10.0  # a constant delay waits for the next tick
    assert stretching.concealed_pct + 1e-9 >= 100.0 * np.isinf(lateness_ms(trace)).mean() - 0.1


def test_a_dearer_concealment_is_used_less():
    trace = BUNDLE["cellular"]
    bounds = [schedule_oracle(trace, price_ms) for price_ms in (3_000.0, 10_000.0, 30_000.0)]
    assert bounds[0].concealed_pct >= bounds[1].concealed_pct >= bounds[2].concealed_pct
    assert bounds[0].delay_ms <= bounds[1].delay_ms <= bounds[2].delay_ms


def test_a_perfect_network_needs_no_delay():
    for stretch in (0.0, 0.1):
        assert schedule_oracle(trace_of([40.0] * 50), 10_000.0, stretch=stretch) == Bound(0.0, 0.0, 0.0)
    assert constant_oracle(trace_of([40.0] * 50), 10_000.0) == Bound(0.0, 0.0, 0.0)


def test_what_comes_between_two_ticks_waits_for_the_next():
    assert schedule_oracle(trace_of([43.0] * 50), 10_000.0).cost_ms == pytest.approx(7.0)
    assert schedule_oracle(trace_of([43.0] * 50), 10_000.0, phase_ms=3.0).cost_ms == pytest.approx(0.0)


def test_what_never_came_is_concealed_by_everybody():
    trace = trace_of([5.0 if i % 10 else None for i in range(100)])
    assert constant_oracle(trace, 10_000.0).concealed_pct == 10.0
    assert schedule_oracle(trace, 10_000.0, stretch=0.1).concealed_pct == pytest.approx(10.0, abs=0.6)


def test_a_packet_without_a_row_is_a_lost_one():
    with_rows, without = trace_of([0.0, None, 0.0, 0.0]), trace_of([0.0, 0.0, 0.0], seq=[0, 2, 3])
    assert lateness_ms(with_rows).tolist() == lateness_ms(without).tolist() == [0.0, math.inf, 0.0, 0.0]
    assert schedule_oracle(with_rows, 500.0) == schedule_oracle(without, 500.0)


def test_the_constant_oracle_gives_up_packets_only_below_their_price():
    trace = trace_of([10.0 + i for i in range(98)] + [None, None])
    # one ms less delay costs one packet of a hundred: worth it only below a price of 100 ms
    assert constant_oracle(trace, 101.0) == Bound(pytest.approx(97.0 + 2.02), 97.0, 2.0)
    assert constant_oracle(trace, 99.0).delay_ms == 0.0


def test_delays_above_the_first_cap_are_found_where_they_pay(monkeypatch):
    # every 8 s nothing comes for 5 s: at a high price it is best to be 5 s late all the time
    arrival_ms = np.arange(2_000) * 20.0
    stall = (arrival_ms % 8_000 < 5_000) & (arrival_ms >= 8_000)
    delays_ms = np.where(stall, 5_000 - arrival_ms % 8_000, 0.0)
    trace = trace_of(delays_ms.tolist())
    grown = schedule_oracle(trace, 30_000.0)
    assert grown.delay_ms > 3_000
    monkeypatch.setattr(oracle, "FIRST_LEVELS_MS", 10_000)
    assert schedule_oracle(trace, 30_000.0) == grown


def test_an_outage_of_a_minute_takes_no_memory_and_ends():
    delays_ms = [5.0] * 200 + [60_000.0 - 20.0 * i for i in range(3_000)] + [5.0] * 200
    bound = schedule_oracle(trace_of(delays_ms), 10_000.0, stretch=0.1)
    assert 80.0 < bound.concealed_pct < 90.0
    assert bound.delay_ms < 2_000


def test_the_report_holds_plain_numbers():
    report = oracle_report(BUNDLE["cellular"], 10_000.0)
    assert {type(value) for value in report.values()} == {float}
    assert report["oracle_stretch_j"] < report["oracle_schedule_j"] < report["oracle_constant_j"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lateness_ms(trace_of([None, None])), "no packet of trace made up arrives"),
        (lambda: schedule_oracle(trace_of([0.0]), 1.0, stretch=1.0), "between 0 and 0.9"),
    ],
)
def test_what_cannot_be_asked_is_said(call, words):
    with pytest.raises(ConfigError, match=words):
        call()
