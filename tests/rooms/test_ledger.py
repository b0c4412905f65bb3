"""The ledger: what is heard when, and where a packet spent its time."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.rooms.doorways import LEDGER_DTYPE, MARK_DTYPE, TICK_DTYPE
from rtmedia.rooms.ledger import KEEP, STATIONS, Ledger
from rtmedia.rt.clock import now_ns
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


def blocks(*rows, made_ms=0.0):
    """(sink_pos, epoch, media_pos) of blocks of 160 frames, each made at `made_ms` and 10 ms later than the one before."""
    return records(
        TICK_DTYPE,
        [{"sink_pos": s, "frames": 160, "epoch": e << 20, "media_pos": m, "made_ns": int((made_ms + s / 16) * MS)} for s, e, m in rows],
    )


def calls(*rows, dac_ms=0.0):
    """(sink_pos, frames, time_ms)."""
    return records(MARK_DTYPE, [{"sink_pos": s, "frames": f, "time_ns": int(t * MS), "dac_ns": int((t + dac_ms) * MS)} for s, f, t in rows])


def regular(count=100, chain=0, dac_ms=0.0):
    """Media frame 0 of connection 1 is made at 980 and handed over at 1000 ms, and everything goes on from there."""
    ledger = Ledger(RATE, RATE, chain)
    ledger.add_blocks(blocks(*((i * 160, 1, i * 160) for i in range(count)), made_ms=980.0))
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
    """(sink_pos, arrival, written, taken, decoded, rendered) in frames and ms."""
    names = ("arrival_ns", "written_ns", "taken_ns", "decoded_ns", "rendered_ns")
    return records(LEDGER_DTYPE, [{"sink_pos": row[0]} | {n: round(t * MS) for n, t in zip(names, row[1:], strict=True)} for row in rows])


def means(ledger):
    return {name: values["mean"] for name, values in ledger.latency_ms().items()}


def test_every_station_has_its_own_time_and_all_of_them_make_the_total():
    ledger = regular(chain=240, dac_ms=12.0)
    # made at 980 + 20 i, 20 ms before its call
    ledger.add_packets(packets(*((i * 320, *(t + i * 20 for t in (930, 930.1, 931, 931.5, 979.8))) for i in range(40))))
    found = means(ledger)
    expected = {"socket": 0.1, "wire": 0.9, "decode": 0.5, "buffer": 48.3, "render": 0.2}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    # 15 ms of chain: out of the next block, and 5 ms into its call
    assert found["chain"] == pytest.approx(10.0)
    assert found["ring"] == pytest.approx(20.0)
    assert found["total"] == pytest.approx(80.0)
    assert found["device"] == pytest.approx(12.0 + 5.0)
    assert found["heard"] == pytest.approx(97.0)
    assert sum(found[name] for name in STATIONS) == pytest.approx(found["total"])
    assert ledger.residual_ms == 0.0
    assert ledger.histograms.total == 40


@pytest.mark.parametrize("station", STATIONS)
def test_a_wait_in_one_station_is_found_in_that_station_and_nowhere_else(station):
    def played(late):
        """Everything from `late` on happens 30 ms later."""
        times = np.array([930.0, 930.25, 931.0, 931.5, 979.75, 980.0, 990.0, 1_010.0])
        times[STATIONS.index(late) + 1 if late else len(times) :] += 30.0
        ledger = Ledger(RATE, RATE, 160)
        made = blocks((0, 1, 0), (160, 1, 160))
        made["made_ns"] = (times[5:7] * MS).astype(np.int64)
        ledger.add_blocks(made)
        ledger.add_calls(calls((0, 160, times[7] - 10.0), (160, 160, times[7])))
        ledger.add_packets(packets((0, *times[:5])))
        assert ledger.residual_ms == 0.0
        return means(ledger)

    before, after = played(None), played(station)
    changed = {name: round(after[name] - before[name], 6) for name in after if after[name] != before[name]}
    assert changed == {station: 30.0, "total": 30.0, "heard": 30.0}


@pytest.mark.parametrize(
    ("made_ms", "stamps"),
    [
        (1_015.0, (930, 930.1, 931, 931.5, 979.8)),  # the block was on the ring after the call that took it
        (980.0, (930, 932.5, 931, 931.5, 979.8)),  # on the wire ring after decode had taken it
        (980.0, (932.0, 930.1, 931, 931.5, 979.8)),  # on the wire ring before it had arrived
        (970.0, (930, 930.1, 931, 931.5, 979.8)),  # on the audio ring before it was begun
    ],
)
def test_stamps_that_contradict_each_other_are_noticed(made_ms, stamps):
    ledger = Ledger(RATE, RATE, 0)
    ledger.add_blocks(blocks((0, 1, 0), made_ms=made_ms))
    ledger.add_calls(calls((0, 160, 1_000)))
    ledger.add_packets(packets((0, *stamps)))
    assert ledger.histograms.total == 1
    assert ledger.residual_ms > 1.0


def test_a_packet_waits_until_its_call_and_is_closed_once():
    ledger = Ledger(RATE, RATE, 0)
    ledger.add_packets(packets((160, 900, 900, 901, 901, 950)))
    assert ledger.latency_ms() == {}
    ledger.add_calls(calls((0, 160, 1_000), (160, 160, 1_010)))
    ledger.add_packets(packets())
    assert ledger.latency_ms() == {}, "its block is not known yet"
    ledger.add_blocks(blocks((0, 1, 0), (160, 1, 160), made_ms=950))
    ledger.add_packets(packets())
    ledger.add_packets(packets())
    assert ledger.histograms.total == 1
    assert ledger.latency_ms()["total"]["mean"] == 110.0


def test_a_packet_whose_block_or_call_left_no_record_is_not_counted_and_holds_up_nobody():
    ledger = Ledger(RATE, RATE, 0)
    ledger.add_blocks(blocks((0, 1, 0), (320, 1, 320), (480, 1, 480), (640, 1, 640), made_ms=950))
    ledger.add_calls(calls((0, 160, 1_000), (160, 160, 1_010), (480, 160, 1_030), (640, 160, 1_040)))
    ledger.add_packets(packets(*((i * 160, 900, 900, 901, 901, 950) for i in range(5))))
    assert ledger.histograms.total == 3
    assert ledger.latency_ms()["total"]["max"] == 140.0


def test_memory_is_bounded_and_what_is_forgotten_does_not_block():
    ledger = Ledger(RATE, RATE, 0)
    ledger.add_packets(packets((0, 0, 0, 0, 0, 0)))
    for i in range(30):
        ledger.add_blocks(blocks(*((i * 160_000 + k * 160, 1, k) for k in range(1_000))))
        ledger.add_calls(calls(*((i * 160_000 + k * 160, 160, i * 10_000 + k * 10) for k in range(1_000))))
    ledger.add_packets(packets((29 * 160_000, 289_000, 289_000, 289_001, 289_001, 289_500)))
    assert ledger.histograms.total == 1
    assert len(ledger._blocks) < 3 * KEEP
    assert len(ledger._calls) < 3 * KEEP


def test_a_ledger_that_looks_often_needs_little_memory():
    ledger = Ledger(RATE, RATE, 0)
    for k in range(5_000):
        ledger.add_blocks(blocks((k * 160, 1, k)))
        ledger.add_calls(calls((k * 160, 160, k * 10)))
    octets = sum(recent._store.nbytes for recent in (ledger._blocks, ledger._calls, ledger._packets))
    assert octets < 128 << 10
    assert len(ledger._blocks) >= KEEP
    assert ledger.heard_at_ns(1, 4_500) == pytest.approx(45_000 * MS, abs=10 * MS)


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
    found = means(ledger)
    assert sum(found[name] for name in STATIONS) == pytest.approx(found["total"])
    assert ledger.residual_ms == 0.0
    # the first packet came 15 ms after the start and was heard, with the rest, at once afterwards
    assert 20.0 < found["total"] < 80.0


def test_with_threads_every_stamp_is_the_machines_clock_and_in_order():
    bench = Bench()
    bench.line.stamp_by_clock()
    before_ns = now_ns()
    bench.load(np.zeros((16_000, 1), np.int16)).run(130)
    after_ns = now_ns()
    records, ticks = bench.line.render.ledger.read(8_192), bench.line.render.ticks.read(8_192)
    assert len(records) == 50
    made_ns = ticks["made_ns"][np.searchsorted(ticks["sink_pos"], records["sink_pos"], "right") - 1]
    stamps = np.stack([*(records[name] for name in ("written_ns", "taken_ns", "decoded_ns", "rendered_ns")), made_ns])
    assert (np.diff(stamps, axis=0) >= 0).all()
    assert before_ns <= stamps.min() <= stamps.max() <= after_ns


def test_without_threads_no_clock_is_read_and_all_stamps_are_the_steps_own():
    bench = Bench().load(np.zeros((16_000, 1), np.int16))
    start_ns = bench.now_ns
    bench.run(130)
    records, ticks = bench.line.render.ledger.read(8_192), bench.line.render.ticks.read(8_192)
    assert np.array_equal(records["written_ns"], records["arrival_ns"])
    for name in ("taken_ns", "decoded_ns", "rendered_ns"):
        assert ((records[name] - start_ns) % (10 * MS) == 0).all(), name
    assert np.array_equal(ticks["made_ns"], ticks["time_ns"])
