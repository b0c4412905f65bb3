"""Rings against a list, in every order of calls that hypothesis can think of."""

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rtmedia.errors import ConfigError
from rtmedia.rt import ring as r
from rtmedia.rt.ring import FrameRing, OctetRing, RecordRing

DTYPE = np.dtype([("number", "i8"), ("tag", "u1"), ("level", "f4", (3,))])  # 21 octets


class RingMachine(RuleBasedStateMachine):
    """One ring of any kind beside a list of what it holds. Element k is made of k alone, octet by octet."""

    @initialize(
        kind=st.sampled_from(["frames", "octets", "records"]),
        power=st.integers(1, 4),
        channels=st.integers(1, 3),
        start=st.integers(0, 2**40),
        stretch=st.sampled_from([None, 1, 2, 5]),
    )
    def make(self, kind, power, channels, start, stretch):
        self.capacity = 2**power
        self.ring = {
            "frames": lambda: FrameRing(self.capacity, channels),
            "octets": lambda: OctetRing(self.capacity),
            "records": lambda: RecordRing(self.capacity, DTYPE),
        }[kind]()
        self.kind, self.address = kind, self.ring.address
        self.width = int(self.ring.control[r.WIDTH])
        # As after a long life: the counters may stand anywhere.
        self.ring.control[[r.WRITTEN, r.READ, r.SEEN_READ, r.SEEN_WRITTEN]] = start
        if stretch:
            self.ring.control[[r.STRETCH, r.LOOK]] = stretch, start + stretch
        self.start = self.next = start
        self.held: list[int] = []
        self.refused = 0

    def elements(self, numbers):
        """The octets of the elements `numbers`, shape (n, width)."""
        grid = np.array(list(numbers), np.int64).reshape(-1, 1) * 31 + np.arange(self.width) * 7
        return np.ascontiguousarray(grid.astype(np.uint8)).reshape(-1, self.width)

    def wrote(self, fitted, asked):
        assert fitted == min(asked, self.capacity - len(self.held))
        self.held += range(self.next, self.next + fitted)
        self.next += fitted
        self.refused += asked - fitted

    def took(self, octets, count):
        expected, self.held = self.held[:count], self.held[count:]
        np.testing.assert_array_equal(octets.reshape(-1, self.width), self.elements(expected))

    @rule(count=st.integers(0, 40))
    def write_by_address(self, count):
        source = self.elements(range(self.next, self.next + count))
        self.wrote(r.ring_write(self.address, source.ctypes.data, count), count)

    @rule(count=st.integers(0, 40))
    def read_by_address(self, count):
        target = np.full((count + 1, self.width), 0xEE, np.uint8)
        taken = r.ring_read(self.address, target.ctypes.data, count)
        assert taken == min(count, len(self.held))
        assert (target[taken:] == 0xEE).all()  # nothing was written past what was taken
        self.took(target[:taken], taken)

    @rule(count=st.integers(0, 20), frozen=st.booleans())
    def write_from_python(self, count, frozen):
        octets = self.elements(range(self.next, self.next + count))
        if self.kind == "frames":
            block = octets.view(np.float32)
            block.flags.writeable = not frozen
            self.wrote(self.ring.write(block), count)
        elif self.kind == "records" and count:
            self.wrote(int(self.ring.write(octets[:1].reshape(-1).view(DTYPE))), 1)

    @rule(count=st.integers(0, 20))
    def read_from_python(self, count):
        if self.kind == "frames":
            out = np.zeros((count, self.ring.channels), np.float32)
            taken = self.ring.read(out)
            assert taken == min(count, len(self.held))
            self.took(out[:taken].view(np.uint8), taken)
        elif self.kind == "records":
            records = self.ring.read(count)
            assert len(records) == min(count, len(self.held))
            self.took(records.view(np.uint8), len(records))

    @rule()
    def claim_and_commit(self):
        at = r.ring_claim(self.address)
        assert bool(at) == (len(self.held) < self.capacity)
        if at:
            self.at(at)[:] = self.elements([self.next])[0]
            assert r.ring_claim(self.address) == at  # asking again changes nothing
            r.ring_commit(self.address)
            self.wrote(1, 1)

    @rule()
    def front_and_release(self):
        at = r.ring_front(self.address)
        assert bool(at) == bool(self.held)
        if at:
            octets = self.at(at).copy()
            r.ring_release(self.address)
            self.took(octets, 1)

    @rule(index=st.integers(0, 17))
    def peek(self, index):
        at = r.ring_peek(self.address, index)
        assert bool(at) == (index < len(self.held))
        if at:
            np.testing.assert_array_equal(self.at(at), self.elements([self.held[index]])[0])

    @rule(count=st.integers(0, 20))
    def skip(self, count):
        assert r.ring_skip(self.address, count) == min(count, len(self.held))
        del self.held[:count]

    @rule(count=st.integers(-5, -1))
    def nothing_happens_for_less_than_nothing(self, count):
        assert r.ring_write(self.address, 0, count) == r.ring_read(self.address, 0, count) == r.ring_skip(self.address, count) == 0

    def at(self, address):
        offset = address - self.ring.store.ctypes.data
        assert offset % self.width == 0
        assert 0 <= offset < self.capacity * self.width
        return self.ring.store.reshape(-1).view(np.uint8)[offset : offset + self.width]

    @invariant()
    def counts_agree(self):
        if not hasattr(self, "ring"):
            return
        assert self.ring.readable == len(self.held)
        assert self.ring.writable == self.capacity - len(self.held)
        assert self.ring.written_total == self.next
        assert r.ring_read_total(self.address) == self.next - len(self.held)
        assert self.ring.refused_total == self.refused


TestRingMachine = RingMachine.TestCase
TestRingMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_full_ring_says_how_much_fitted_and_counts_the_rest():
    ring = FrameRing(4, channels=2)
    block = np.arange(12, dtype=np.float32).reshape(6, 2)
    assert ring.write(block) == 4
    assert ring.refused_total == 2
    out = np.zeros((6, 2), np.float32)
    assert ring.read(out) == 4
    np.testing.assert_array_equal(out[:4], block[:4])


def test_each_side_has_its_own_cache_lines():
    ring = FrameRing(64)
    assert ring.control.ctypes.data % 128 == ring.store.ctypes.data % 128 == 0
    writer, reader, nobody = (
        {word * 8 // 128 for word in words}
        for words in (
            (r.WRITTEN, r.SEEN_READ, r.REFUSED, r.BASE, r.LOOK),
            (r.READ, r.SEEN_WRITTEN, r.SEEN_BASE),
            (r.CAPACITY, r.WIDTH, r.STORE, r.STRETCH),
        )
    )
    assert len(writer | reader | nobody) == len(writer) + len(reader) + len(nobody)


def test_in_the_steady_state_a_side_does_not_look_at_the_other():
    ring = FrameRing(8)
    block = np.zeros((2, 1), np.float32)
    ring.write(block)
    ring.read(block)
    ring.write(block)
    assert ring.control[r.SEEN_READ] == 0  # four frames fitted in eight whatever the reader did


def test_a_ring_that_is_read_in_time_stays_at_the_front_of_its_store():
    ring = FrameRing(1 << 16)
    block, out = np.ones((160, 1), np.float32), np.zeros((160, 1), np.float32)
    for _ in range(1_000):  # more than twice its capacity
        assert ring.write(block) == ring.read(out) == 160
        assert out.all()
    used = np.flatnonzero(ring.store)
    assert used[-1] * 4 < r.REWIND_OCTETS + block.nbytes
    assert ring.written_total == 160_000
    assert ring.writable == ring.capacity


def test_a_ring_that_was_never_empty_goes_all_round_and_comes_back_once_it_is():
    ring = OctetRing(1 << 15)
    source, target = np.ones(1 << 12, np.uint8), np.zeros(1 << 13, np.uint8)
    at = source.ctypes.data, target.ctypes.data
    for _ in range(9):  # one block always waits
        r.ring_write(ring.address, at[0], 1 << 12)
        r.ring_read(ring.address, at[1], (1 << 12) - 1)
    assert ring.store[-1]
    assert r.ring_read(ring.address, at[1], 9) == 9
    ring.store[:] = 0
    r.ring_write(ring.address, at[0], 100)
    assert ring.store[:100].all()
    assert not ring.store[100:].any()


def test_what_waits_survives_a_rewind_of_the_rings_before_it():
    """A ring of records that rewinds beside one of octets: each keeps its own place."""
    records, octets = RecordRing(1 << 10, DTYPE), OctetRing(1 << 14)
    number, due = 0, 0
    payload = np.zeros(200, np.uint8)
    for turn in range(600):
        for _ in range(turn % 4):
            payload[:] = number % 251
            assert records.write(np.array([(number, 0, 0)], DTYPE))
            assert r.ring_write(octets.address, payload.ctypes.data, 200) == 200
            number += 1
        for record in records.read(2 + turn % 3):
            assert record["number"] == due
            assert r.ring_read(octets.address, payload.ctypes.data, 200) == 200
            assert (payload == due % 251).all()
            due += 1
    assert due > 800


@pytest.mark.parametrize("capacity", [0, 1, 3, 6, -4])
def test_a_capacity_must_be_a_power_of_two(capacity):
    with pytest.raises(ConfigError, match="power of two"):
        FrameRing(capacity)


def test_a_ring_refuses_what_it_cannot_hold():
    with pytest.raises(ConfigError, match="channels is 0"):
        FrameRing(4, channels=0)
    with pytest.raises(ConfigError, match="no Python objects"):
        RecordRing(4, np.dtype([("name", "O")]))
    with pytest.raises(ConfigError, match="at least one"):
        RecordRing(4, np.dtype([]))


@pytest.mark.parametrize(
    "block",
    [
        np.zeros((4, 1), np.float32),
        np.zeros((4, 2), np.float64),
        np.zeros((8,), np.float32),
        np.zeros((4, 4), np.float32)[:, ::2],
        np.zeros((2, 4), np.float32).T,
        [[0.0, 0.0]],
    ],
    ids=["channels", "float64", "flat", "strided", "Fortran", "list"],
)
def test_a_block_of_another_layout_is_refused_and_nothing_moves(block):
    ring = FrameRing(8, channels=2)
    for call in (ring.write, ring.read):
        with pytest.raises(ConfigError, match=r"C-ordered float32 \(frames, 2\)"):
            call(block)
    assert ring.written_total == ring.refused_total == 0


def test_a_read_only_block_can_be_written_to_a_ring_but_never_read_into():
    ring = FrameRing(4)
    frozen = np.frombuffer(np.arange(2, dtype=np.float32).tobytes(), np.float32).reshape(2, 1)
    assert ring.write(frozen) == 2
    with pytest.raises(ConfigError, match="read-only"):
        ring.read(frozen)
    assert ring.readable == 2


class _Named(np.ndarray):
    """An array of another class."""


def _unaligned(shape):
    octets = np.zeros(int(np.prod(shape)) * 4 + 1, np.uint8)
    return octets[1:].view(np.float32).reshape(shape)


@pytest.mark.parametrize("block", [np.zeros((3, 2), np.float32).view(_Named), _unaligned((3, 2))], ids=["subclass", "unaligned"])
def test_a_block_that_only_lies_or_is_called_otherwise_goes_through(block):
    ring = FrameRing(8, channels=2)
    block[:] = np.arange(6).reshape(3, 2)
    expected = np.array(block)
    assert ring.write(block) == 3
    block[:] = 0
    assert ring.read(block) == 3
    np.testing.assert_array_equal(block, expected)


@pytest.mark.parametrize("block", [None, 3, "text", b"octets", np.float32(1), np.zeros((), np.float32), object(), np.zeros((4, 2), ">f4")])
def test_what_is_no_block_at_all_is_refused_alike(block):
    ring = FrameRing(8, channels=2)
    for call in (ring.write, ring.read):
        with pytest.raises(ConfigError, match="block is"):
            call(block)
    assert ring.written_total == 0


def test_an_empty_block_is_a_block():
    ring = FrameRing(8)
    assert ring.write(np.zeros((0, 1), np.float32)) == ring.read(np.zeros((0, 1), np.float32)) == 0


def test_a_ring_keeps_no_block_and_its_calls_keep_the_ring():
    ring = FrameRing(8)
    block, write = np.ones((2, 1), np.float32), ring.write
    before = sys.getrefcount(block)
    for _ in range(100):
        ring.write(block)
        ring.read(block)
        with pytest.raises(ConfigError):
            ring.read(block.T)
    assert sys.getrefcount(block) == before
    inner, memory = ring._write, weakref.ref(ring.control)
    del ring, write
    gc.collect()
    assert memory() is not None
    assert inner(block) == 2  # what it writes to is still there
    del inner
    assert memory() is None


def test_records_of_an_equal_dtype_and_of_other_shapes_are_taken():
    ring = RecordRing(8, DTYPE)
    again = np.dtype(DTYPE.descr)
    assert again is not ring.dtype
    for number, record in enumerate((np.zeros(1, again), np.zeros((1, 1), DTYPE), np.zeros((), DTYPE), np.zeros(2, DTYPE)[:1])):
        record["number"] = number
        assert ring.write(record)
    assert ring.read(9)["number"].tolist() == [0, 1, 2, 3]


def test_records_that_were_read_belong_to_the_reader():
    ring = RecordRing(4, DTYPE)
    ring.write(np.array([(1, 2, (3, 4, 5))], DTYPE))
    taken = ring.read()
    for number in range(9):
        ring.write(np.array([(number, 0, 0)], DTYPE))
        ring.read()
    assert taken["number"].tolist() == [1]
    assert ring.read().dtype == DTYPE


def test_records_come_back_whole_and_in_order():
    ring = RecordRing(4, DTYPE)
    for number in range(5):
        record = np.array([(number, number % 256, (number, 0.5, -number))], DTYPE)
        assert ring.write(record) is (number < 4)
    assert ring.read(2)["number"].tolist() == [0, 1]
    assert ring.read(9)["level"].tolist() == [[2, 0.5, -2], [3, 0.5, -3]]
    assert len(ring.read()) == 0


def test_a_record_of_another_kind_is_refused():
    ring = RecordRing(4, DTYPE)
    for wrong in (np.zeros(1, np.int64), np.zeros(2, DTYPE), np.zeros(0, DTYPE)):
        with pytest.raises(ConfigError, match="this ring takes one"):
            ring.write(wrong)
    assert ring.write(np.zeros((), DTYPE))
    assert ring.write(np.zeros(3, DTYPE)[1])  # one record of an array
