"""decode against a slow, obvious model, and its rules one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmedia.codec import codec_named
from rtmedia.jitter.state import FLAG_END, FLAG_PAUSE_BEFORE
from rtmedia.ports import EPOCH_SHIFT, FLAG_END_OF_STREAM, FLAG_NEW_EPOCH, NO_MEDIA_TIME, Format
from rtmedia.rooms.decode import RESTART_BITS, Decode, decode_step
from rtmedia.units import NS_PER_MS

RATE = 16_000
FRAMES = 320
MS = NS_PER_MS


@dataclass
class Bench:
    """A decode room with its doorways open: payloads in, records and samples out."""

    rate: int = RATE
    channels: int = 1
    codec: str = "pcm_s16le"
    room: Decode = field(init=False)
    now_ns: int = 0

    def __post_init__(self):
        self.room = Decode(codec_named(self.codec).make(Format(self.rate, self.channels), self.rate // 4), self.rate, self.channels)

    def write(self, seq, *, time_ms=None, frames=FRAMES, flags=0, arrival_ns=None, value=1000, payload=None):
        self.now_ns += 20 * MS
        arrival_ns = self.now_ns if arrival_ns is None else arrival_ns
        payload = np.full(frames * self.channels, value, "<i2").tobytes() if payload is None else payload
        time_ns = NO_MEDIA_TIME if time_ms is None else round(time_ms * MS)
        return self.room.write(arrival_ns, seq & 0xFFFFFFFF, time_ns, flags, payload)

    def end(self):
        return self.room.write(self.now_ns, 0, NO_MEDIA_TIME, FLAG_END_OF_STREAM, b"")

    def step(self):
        return decode_step(self.room.address, self.now_ns + 1)

    def read(self):
        records = self.room.packet_records.read(512)
        out = []
        for record in records:
            block = np.zeros((int(record["frames"]), self.channels), np.float32)
            self.room.packet_frames.read(block)
            out.append((record.copy(), block))
        return out

    def drain(self):
        while self.step():
            pass
        return self.read()

    @property
    def state(self):
        return self.room.state[0]

    @property
    def lost(self):
        d = self.state
        expected = d["expected_before"] + d["highest"] - d["base"] + 1
        return int(expected - d["received_before"] - d["epoch_received"])


def fed(bench, rows):
    """Everything that comes out of `rows`: dicts for `Bench.write`."""
    out = []
    for row in rows:
        assert bench.write(**row)
        out += bench.drain()
    return out


def positions(out):
    return [int(record["media_pos"]) for record, _ in out]


def model(sent):
    """What must come out of packets (seq number unwrapped, arrival order) of one stream without strays."""
    seen, out, highest = set(), [], None
    for number in sent:
        if number in seen:
            continue
        seen.add(number)
        out.append(number)
        highest = number if highest is None else max(highest, number)
    return out, highest


@settings(max_examples=80)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(-8, 8), min_size=1, max_size=150),
    st.sampled_from(["none", "exact", "rounded", "epoch", "constant"]),
    st.sampled_from([320, 160, 441, 960]),
)
def test_any_order_any_copies_any_gaps_come_out_as_the_model_says(first, wobble, stamps, frames):
    numbers = [i + by for i, by in enumerate(wobble)]  # reordered, doubled, missing
    bench = Bench()
    rows = []
    for number in numbers:
        exact_ms = number * frames * 1000 / RATE
        time_ms = {
            "none": None,
            "exact": exact_ms + 10_000,
            "rounded": float(round(exact_ms)) + 10_000,
            "epoch": float(round(exact_ms)) + 1_750_000_000_000,
            "constant": 777.0,
        }[stamps]
        rows.append({"seq": first + number, "time_ms": time_ms, "frames": frames, "value": (number + 50) * 7})
    out = fed(bench, rows)
    wanted, highest = model(numbers)
    assert [round(float(block[0, 0]) * 32768) for _, block in out] == [(number + 50) * 7 for number in wanted]
    origin = positions(out)[0] - numbers[0] * frames
    assert [position - origin for position in positions(out)] == [number * frames for number in wanted]
    low = min(wanted)
    assert bench.state["duplicate"] == len(numbers) - len(wanted)
    assert bench.lost == highest - low + 1 - len(wanted)
    assert bench.state["implausible"] == bench.state["restarts"] == 0
    assert all(record["epoch"] == out[0][0]["epoch"] for record, _ in out)
    assert not any(record["flags"] for record, _ in out)


def test_the_number_wraps_at_32_bits_and_goes_on():
    out = fed(Bench(), [{"seq": 2**32 - 3 + i, "time_ms": i * 20.0} for i in range(8)])
    assert positions(out) == [i * FRAMES for i in range(8)]
    assert np.diff([int(record["seq"]) for record, _ in out]).tolist() == [1] * 7


def test_a_copy_of_an_old_packet_is_known_within_the_window():
    bench = Bench()
    out = fed(bench, [{"seq": i} for i in range(400)] + [{"seq": i} for i in (0, 1, 399, 200, 5)])
    assert len(out) == 400
    assert bench.state["duplicate"] == 5
    assert bench.lost == 0


def test_one_wild_number_is_dropped_and_counted_and_nothing_else_suffers():
    bench = Bench()
    out = fed(bench, [{"seq": i, "time_ms": i * 20.0} for i in range(10)] + [{"seq": 3_000_000_000, "time_ms": 200.0}])
    assert len(out) == 10  # the stray waits for a witness
    out += fed(bench, [{"seq": i, "time_ms": i * 20.0} for i in range(10, 30)])
    assert positions(out) == [i * FRAMES for i in range(30)]
    assert bench.state["implausible"] == 1
    assert bench.state["restarts"] == 0


def test_one_wild_timestamp_is_dropped_and_counted_too():
    bench = Bench()
    rows = [{"seq": i, "time_ms": i * 20.0 + (3_600_000.0 if i == 10 else 0.0)} for i in range(30)]
    out = fed(bench, rows)
    assert positions(out) == [i * FRAMES for i in range(30) if i != 10]
    assert bench.state["implausible"] == 1


def test_two_that_agree_begin_a_new_stream_and_the_first_of_them_is_not_lost():
    bench = Bench()
    out = fed(bench, [{"seq": i, "time_ms": i * 20.0} for i in range(10)])
    out += fed(bench, [{"seq": 900_000 + i, "time_ms": 5.0 + i * 20, "value": i} for i in range(10)])
    assert len(out) == 20
    assert [round(float(block[0, 0]) * 32768) for _, block in out[10:]] == list(range(10))
    epochs = [int(record["epoch"]) for record, _ in out]
    assert epochs == [epochs[0]] * 10 + [epochs[0] + 1] * 10
    assert bench.state["restarts"] == 1
    assert bench.lost == 0


def test_a_stream_can_be_joined_in_the_middle():
    out = fed(Bench(), [{"seq": 123_456 + i, "time_ms": 9_999_999.0 + i * 20} for i in range(5)])
    assert np.diff(positions(out)).tolist() == [FRAMES] * 4


def test_a_new_connection_with_other_numbers_is_a_new_epoch_at_once():
    bench = Bench()
    first, second = (FLAG_NEW_EPOCH | connection << EPOCH_SHIFT for connection in (1, 2))
    out = fed(bench, [{"seq": i, "time_ms": i * 20.0, "flags": 0 if i else first} for i in range(5)])
    out += fed(bench, [{"seq": 7 + i, "time_ms": 1e12 + i * 20, "flags": 0 if i else second} for i in range(5)])
    assert [int(record["epoch"]) >> RESTART_BITS for record, _ in out] == [1] * 5 + [2] * 5
    assert bench.state["restarts"] == 0
    assert bench.lost == 0


def test_connections_are_counted_even_where_the_writer_does_not():
    bench = Bench()
    out = fed(bench, [{"seq": 5, "flags": FLAG_NEW_EPOCH}, {"seq": 6}, {"seq": 5, "flags": FLAG_NEW_EPOCH}, {"seq": 6}])
    epochs = [int(record["epoch"]) >> RESTART_BITS for record, _ in out]
    assert epochs == [epochs[0]] * 2 + [epochs[0] + 1] * 2


@pytest.mark.parametrize("pause_ms", [20, 500, 4_900])
def test_a_pause_of_the_sender_is_marked_and_keeps_its_length(pause_ms):
    rows = [{"seq": i, "time_ms": i * 20.0 + (pause_ms if i >= 5 else 0)} for i in range(10)]
    out = fed(Bench(), rows)
    assert positions(out) == [i * FRAMES + (pause_ms * 16 if i >= 5 else 0) for i in range(10)]
    assert [bool(record["flags"] & FLAG_PAUSE_BEFORE) for record, _ in out] == [i == 5 for i in range(10)]


def test_a_pause_of_more_than_five_seconds_begins_the_stream_anew():
    bench = Bench()
    out = fed(bench, [{"seq": i, "time_ms": i * 20.0 + (6_000 if i >= 5 else 0)} for i in range(10)])
    assert len(out) == 10
    assert bench.state["restarts"] == 1
    assert bench.state["implausible"] == 0


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_timestamps_that_step_back_do_not_take_the_sound_with_them(lost):
    rows = [{"seq": i, "time_ms": i * 20.0 + 10_000.0 - (2_000 if i >= 10 else 0)} for i in range(30) if not 10 <= i < 10 + lost]
    bench = Bench()
    out = fed(bench, rows)
    assert [p - positions(out)[0] for p in positions(out)] == [i * FRAMES for i in range(30) if not 10 <= i < 10 + lost]
    assert bench.state["restarts"] == 0


def test_stamps_taken_late_do_not_tear_the_sound(rng):
    rows = [{"seq": i, "time_ms": i * 20.0 + 1e12 + rng.uniform(0.0, 18.0)} for i in range(500)]
    out = fed(Bench(), rows)
    assert np.diff(positions(out)).tolist() == [FRAMES] * 499
    assert not any(record["flags"] for record, _ in out)


def test_a_clock_that_drifts_against_the_samples_shifts_rarely_and_by_whole_packets():
    rows = [{"seq": i, "time_ms": i * 20.0 * 1.0005} for i in range(5_000)]  # 500 ppm: 50 ms over 100 s
    steps = np.diff(positions(fed(Bench(), rows)))
    assert (steps == FRAMES).sum() >= len(steps) - 3


@pytest.mark.parametrize("packet_ms", [10, 20, 30, 40, 60, 100, 120])
def test_packets_of_any_length_lie_end_to_end(packet_ms):
    frames = packet_ms * 16
    out = fed(Bench(), [{"seq": i, "time_ms": i * packet_ms, "frames": frames} for i in range(20)])
    assert positions(out) == [i * frames for i in range(20)]


def test_the_length_may_change_in_mid_stream_even_over_a_loss():
    rows, at = [], 0
    for i in range(40):
        ms = 20 if i < 20 else 60 if i < 30 else 10
        rows.append({"seq": i, "time_ms": float(at), "frames": ms * 16})
        at += ms
    out = fed(Bench(), [row for i, row in enumerate(rows) if i not in (5, 35)])
    assert positions(out) == [int(row["time_ms"] * 16) for i, row in enumerate(rows) if i not in (5, 35)]


def test_odd_and_oversized_payloads_cost_themselves_only():
    bench = Bench()
    rows = [{"seq": i, "time_ms": i * 20.0} for i in range(12)]
    rows[3]["payload"] = b"\x01" * 641
    rows[5]["payload"] = b""
    rows[7]["payload"] = bytes(200_000)
    rows[9]["payload"] = bytes(2 * (RATE // 4 + 1))
    out = fed(bench, rows)
    assert positions(out) == [i * FRAMES for i in range(12) if i not in (3, 5, 7, 9)]
    assert bench.state["undecodable"] == 4
    assert bench.lost == 0


def test_a_stereo_stream_keeps_its_channels_apart():
    bench = Bench(channels=2)
    samples = np.arange(640, dtype="<i2")
    out = fed(bench, [{"seq": 0, "payload": samples.tobytes()}])
    assert np.array_equal(out[0][1], samples.reshape(-1, 2) / np.float32(32768))


@settings(max_examples=40)
@given(st.lists(st.floats(0.0, 60.0), min_size=2, max_size=100))
def test_jitter_is_rfc_3550s(lateness):
    bench = Bench()
    wanted, before = 0.0, None
    for i, late in enumerate(lateness):
        arrival = int((1_000 + i * 20.0 + late) * MS)
        bench.write(i, time_ms=i * 20.0, arrival_ns=arrival)
        bench.drain()
        transit = arrival - i * 20.0 * MS
        if before is not None:
            wanted += (abs(transit - before) - wanted) / 16.0
        before = transit
    assert bench.state["jitter_ns"] == pytest.approx(wanted, abs=1.0)


@pytest.mark.parametrize("stamp", [None, 5.0])
def test_jitter_is_known_without_useful_stamps(stamp):
    bench = Bench()
    for i in range(200):
        bench.write(i, time_ms=stamp, arrival_ns=int((i * 20.0 + (i % 2) * 8.0) * MS))
        bench.drain()
    assert bench.state["jitter_ns"] / MS == pytest.approx(8.0, rel=0.01)


def test_a_full_packet_ring_holds_back_and_loses_nothing():
    bench = Bench()
    for i in range(600):
        assert bench.write(i, time_ms=i * 20.0)
    steps = 0
    while bench.step():
        steps += 1
    assert 50 < steps < 512  # two seconds of samples, or as many records
    assert bench.room.packet_records.refused_total == 0
    out = bench.read()
    while len(out) < 600:
        more = bench.drain()
        assert more
        out += more
    assert positions(out) == [i * FRAMES for i in range(600)]
    assert bench.lost == 0


def test_a_full_wire_ring_refuses_whole_payloads_and_goes_on_afterwards():
    bench = Bench()
    accepted = 0
    while bench.write(accepted, time_ms=accepted * 20.0):
        accepted += 1
        assert accepted < 100_000
    assert accepted >= 1_500  # half a minute
    out = []
    while len(out) < accepted:
        out += bench.drain()
    assert bench.write(accepted + 5, time_ms=(accepted + 5) * 20.0)  # five were refused
    out += bench.drain()
    assert positions(out) == [i * FRAMES for i in [*range(accepted), accepted + 5]]
    assert bench.lost == 5


def test_the_end_comes_after_everything_and_also_alone():
    bench = Bench()
    fed(bench, [{"seq": i} for i in range(3)])
    bench.end()
    assert [int(record["flags"]) for record, _ in bench.drain()] == [FLAG_END]
    empty = Bench()
    empty.end()
    assert [int(record["flags"]) for record, _ in empty.drain()] == [FLAG_END]


def test_a_stray_as_the_last_packet_does_not_hold_back_the_end():
    bench = Bench()
    fed(bench, [{"seq": i, "time_ms": i * 20.0} for i in range(3)] + [{"seq": 2_000_000_000, "time_ms": 60.0}])
    bench.end()
    assert [int(record["flags"]) for record, _ in bench.drain()] == [FLAG_END]
    assert bench.state["implausible"] == 1


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**32 - 1),
            st.one_of(st.just(NO_MEDIA_TIME), st.integers(-(2**62), 2**62)),
            st.sampled_from([0, 0, 0, FLAG_NEW_EPOCH, FLAG_END_OF_STREAM]),
            st.binary(max_size=64),
        ),
        max_size=60,
    )
)
def test_whatever_comes_the_room_goes_on_and_its_totals_add_up(items):
    bench = Bench()
    for seq, time_ns, flags, payload in items:
        assert bench.room.write(1, seq, time_ns, flags, payload)
    out = bench.drain()
    assert bench.write(1, flags=FLAG_NEW_EPOCH)
    assert bench.write(2)
    out = bench.drain()
    assert len([1 for record, _ in out if record["frames"] == FRAMES]) == 2
    d = bench.state
    audio = sum(1 for item in items if not item[2] & FLAG_END_OF_STREAM)
    assert d["received"] + d["implausible"] == audio + 2
    assert bench.lost >= 0
