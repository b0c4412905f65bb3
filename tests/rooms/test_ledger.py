"""The ledger: what is heard when, and where a packet spent its time."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.rooms.doorways import LEDGER_DTYPE, MARK_DTYPE, TICK_DTYPE
from rtmedia.rooms.ledger import BIN_MS, Histogram, Ledger
from rtmedia.units import NS_PER_MS
from tests.rooms.line_driver import Bench

RATE = 16_000
MS = NS_PER_MS


def records(dtype, rows):
    out = np.zeros(len(rows), dtype)
    for slot, row in zip(out, rows, strict=True):
        for name, value in row.items():
            slot[name] = value
    return out


def blocks(*rows):
    """(sink_pos, epoch, media_pos) of blocks of 160 frames."""
    return records(TICK_DTYPE, [{"sink_pos": s, "frames": 160, "epoch": e << 20, "media_pos": m} for s, e, m in rows])


def calls(*rows, dac_ms=0.0):
    """(sink_pos, frames, time_ms)."""
    return records(MARK_DTYPE, [{"sink_pos": s, "frames": f, "time_ns": int(t * MS), "dac_ns": int((t + dac_ms) * MS)} for s, f, t in rows])


def regular(count=100, chain=0, dac_ms=0.0):
    """Media frame 0 of connection 1 is handed over at 1000 ms, and everything goes on from there."""
    ledger = Ledger(RATE, RATE, chain)
    ledger.add_blocks(blocks(*((i * 160, 1, i * 160) for i in range(count))))
    ledger.add_calls(calls(*((i * 160, 160, 1_000 + i * 10) for i in range(count)), dac_ms=dac_ms))
    return ledger


def test_every_moment_is_heard_when_its_frame_leaves():
    ledger = regular()
    for media_pos in (0, 1, 159, 160, 161, 8_000, 15_839):
        assert ledger.heard_at_ns(1, media_pos) == 1_000 * MS + media_pos * 1_000_000_000 // RATE


def test_chain_and_device_come_on_top():
    ledger = regular(chain=80, dac_ms=12.0)
    assert ledger.heard_at_ns(1, 1_600) == pytest.approx((1_000 + 100 + 5 + 12) * MS, abs=2)


def test_a_moment_that_is_not_rendered_yet_is_unknown():
    ledger = regular()
    assert ledger.heard_at_ns(1, 100 * 160) is None
    assert ledger.heard_at_ns(2, 0) is None
    assert Ledger(RATE, RATE, 0).heard_at_ns(1, 0) is None


def test_a_moment_before_the_first_and_one_of_a_connection_that_is_gone_are_heard_already():
    ledger = Ledger(RATE, RATE, 0)
    ledger.add_blocks(blocks((0, 2, 48_000), (160, 2, 48_160)))
    ledger.add_calls(calls((0, 160, 1_000), (160, 160, 1_010)))
    assert ledger.heard_at_ns(2, 100) == 1_000 * MS
    assert ledger.heard_at_ns(1, 10**9) == 1_000 * MS


def test_a_moment_that_was_skipped_is_heard_with_the_next_that_was_not():
    ledger = Ledger(RATE, RATE, 0)
    ledger.add_blocks(blocks((0, 1, 0), (160, 1, 16_000), (320, 1, 16_160)))
    ledger.add_calls(calls((0, 160, 1_000), (160, 160, 1_010), (320, 160, 1_020)))
    assert ledger.heard_at_ns(1, 8_000) == 1_010 * MS


def test_captions_of_a_reconnect_do_not_match_the_old_connections_times():
    ledger = Ledger(RATE, RATE, 0)
    ledger.add_blocks(blocks(*((i * 160, 1, i * 160) for i in range(50)), *((8_000 + i * 160, 2, i * 160) for i in range(50))))
    ledger.add_calls(calls(*((i * 160, 160, 1_000 + i * 10) for i in range(100))))
    assert ledger.heard_at_ns(2, 1_600) == 1_600 * MS
    assert ledger.heard_at_ns(1, 1_600) == 1_100 * MS


def test_a_device_of_another_rate_is_counted_in_its_own_frames():
    ledger = Ledger(RATE, 48_000, 0)
    ticks = [{"sink_pos": i * 480, "frames": 480, "epoch": 1 << 20, "media_pos": i * 160} for i in range(50)]
    marks = [{"sink_pos": i * 480, "frames": 480, "time_ns": i * 10 * MS, "dac_ns": i * 10 * MS} for i in range(50)]
    ledger.add_blocks(records(TICK_DTYPE, ticks))
    ledger.add_calls(records(MARK_DTYPE, marks))
    assert ledger.heard_at_ns(1, 1_680) == 105 * MS


def packets(*rows):
    """(sink_pos, arrival, decoded, rendered) in frames and ms."""
    return records(
        LEDGER_DTYPE,
        [{"sink_pos": s, "arrival_ns": int(a * MS), "decoded_ns": int(d * MS), "rendered_ns": int(r * MS)} for s, a, d, r in rows],
    )


def test_the_terms_add_up_to_the_total():
    ledger = regular(chain=80, dac_ms=12.0)
    ledger.add_packets(packets(*((i * 320, 930 + i * 20, 930.5 + i * 20, 975 + i * 20) for i in range(40))))
    summary = ledger.latency_ms()
    means = {name: values["mean"] for name, values in summary.items()}
    assert means["decode"] == pytest.approx(0.5)
    assert means["buffer"] == pytest.approx(44.5)
    assert means["chain"] == pytest.approx(5.0)
    assert means["total"] == pytest.approx(70.0)
    assert means["device"] == pytest.approx(12.0 + 5.0)
    assert means["decode"] + means["buffer"] + means["ring"] + means["chain"] == pytest.approx(means["total"])
    assert ledger.histograms["total"].counts.sum() == 40


def test_a_packet_waits_until_its_call_and_is_closed_once():
    ledger = Ledger(RATE, RATE, 0)
    ledger.add_packets(packets((160, 900, 901, 950)))
    assert ledger.latency_ms() == {}
    ledger.add_calls(calls((0, 160, 1_000), (160, 160, 1_010)))
    ledger.add_packets(packets())
    ledger.add_packets(packets())
    assert ledger.histograms["total"].counts.sum() == 1
    assert ledger.latency_ms()["total"]["mean"] == 110.0


def test_memory_is_bounded_and_what_is_forgotten_does_not_block():
    ledger = Ledger(RATE, RATE, 0)
    ledger.add_packets(packets((0, 0, 0, 0)))
    for i in range(30):
        ledger.add_blocks(blocks(*((i * 160_000 + k * 160, 1, k) for k in range(1_000))))
        ledger.add_calls(calls(*((i * 160_000 + k * 160, 160, i * 10_000 + k * 10) for k in range(1_000))))
    ledger.add_packets(packets((29 * 160_000, 289_000, 289_001, 289_500)))
    assert ledger.histograms["total"].counts.sum() == 1
    assert len(ledger._blocks) < 10_000
    assert len(ledger._calls) < 10_000


def test_a_histogram_against_numpy(rng):
    values = rng.gamma(2.0, 30.0, 2_000)
    histogram = Histogram()
    histogram.add(values.tolist())
    summary = histogram.summary()
    assert summary["mean"] == pytest.approx(values.mean())
    for name, share in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100)):
        assert summary[name] == pytest.approx(np.percentile(values, share, method="inverted_cdf"), abs=2 * BIN_MS)
    histogram.add([-5.0, 1e9])
    assert histogram.counts.sum() == 2_002


@pytest.mark.parametrize("device_rate", [16_000, 48_000])
def test_on_a_real_line_the_terms_add_up_and_a_moment_is_heard_where_the_sound_is(device_rate):
    samples = np.zeros((48_000, 1), np.int16)
    samples[24_000] = 20_000
    bench = Bench(device_rate_hz=device_rate).load(samples)
    start_ns = bench.now_ns
    got = bench.run(280)
    line = bench.line
    ledger = Ledger(16_000, device_rate, line.chain_latency_frames)
    ledger.add_blocks(line.render.ticks.read(8_192))
    ledger.add_calls(line.play.marks.read(8_192))
    ledger.add_packets(line.render.ledger.read(8_192))
    # call n begins at start + (n + 1) * 10 ms and its frames follow
    heard_ns = start_ns + 10 * MS + int(np.argmax(np.abs(got[:, 0]))) * 1_000_000_000 // device_rate
    assert ledger.heard_at_ns(1, 24_000) == pytest.approx(heard_ns, abs=1.1e9 / 16_000)
    means = {name: values["mean"] for name, values in ledger.latency_ms().items()}
    assert means["decode"] + means["buffer"] + means["ring"] + means["chain"] == pytest.approx(means["total"])
    # the first packet came 15 ms after the start and was heard, with the rest, at once afterwards
    assert 20.0 < means["total"] < 80.0
