"""The source of the ring's kernels, walked through every execution of one writer and one reader.

Sequential consistency shows torn and overwritten elements octet by octet; the weak machine shows what a
missing acquire or release would do on any processor and under any compiler (`tests/rt/weak_memory.py`).
An element is WIDTH octets; octet `j` of element `k` holds the pair (k, j), so that a reader knows at once
whether it holds the element that is due, whole.
"""

from __future__ import annotations

import pytest

from rtmedia.rt import ring
from tests.rt.weak_memory import Memory, Report, Violation, explore, kernel_source

CONTROL, STORE = 0, 1_000
SOURCE, TARGET = 10_000, 20_000  # private memory of the writer and of the reader
WIDTH = 2
HELPERS = ("_rewind", "_look_for_written")
KERNELS = (
    "ring_writable",
    "ring_write",
    "ring_read",
    "ring_claim",
    "ring_commit",
    "ring_front",
    "ring_peek",
    "ring_release",
    "ring_skip",
)


class RingUnderTest:
    """The kernels of one ring over model memory; `edits` changes their source: {"ring_write": ((before, after), …)}."""

    def __init__(self, edits: dict[str, tuple[tuple[str, str], ...]]) -> None:
        self.memory = Memory()
        self.private: dict[int, tuple[int, int]] = {}
        names = {name: getattr(ring, name) for name in dir(ring) if name.isupper()}
        names |= {"copy_octets": self._copy}
        for name in HELPERS + KERNELS:  # what the kernels call stands before them
            made = kernel_source(self.memory, getattr(ring, name), names, edits.get(name, ()))
            if name in HELPERS:
                names[name] = made
            setattr(self, name, made)

    def _copy(self, destination: int, source: int, count: int) -> None:
        for i in range(count):
            octet = self.private[source + i] if source >= SOURCE else self.memory.load(source + i)
            if destination >= TARGET:
                self.private[destination + i] = octet
            else:
                self.memory.store(destination + i, octet)

    # Calls of the writer. Its notes: (elements written, elements refused).

    def write(self, count):
        def call(notes):
            written, refused = notes
            self.private = {SOURCE + i * WIDTH + j: (written + i, j) for i in range(count) for j in range(WIDTH)}
            fitted = self.ring_write(CONTROL, SOURCE, count)
            if not 0 <= fitted <= count:
                raise Violation(f"{fitted} of {count} elements were written")
            return written + fitted, refused + count - fitted

        return call

    def writable(self, count):
        """As rooms do that write all or nothing."""
        write = self.write(count)

        def call(notes):
            return write(notes) if self.ring_writable(CONTROL) >= count else notes

        return call

    def claim(self):
        def call(notes):
            written, refused = notes
            at = self.ring_claim(CONTROL)
            if not at:
                return notes
            for j in range(WIDTH):
                self.memory.store(at + j, (written, j))
            self.ring_commit(CONTROL)
            return written + 1, refused

        return call

    # Calls of the reader. Its notes: elements read.

    def read(self, count):
        def call(notes):
            self.private = {}
            taken = self.ring_read(CONTROL, TARGET, count)
            if not 0 <= taken <= count:
                raise Violation(f"{taken} of {count} elements were read")
            got = [self.private[TARGET + i] for i in range(taken * WIDTH)]
            due = [(notes + i, j) for i in range(taken) for j in range(WIDTH)]
            if got != due:
                raise Violation(f"the reader holds {got}; due was {due}")
            return notes + taken

        return call

    def _use(self, at, number):
        got = [self.memory.load(at + j) for j in range(WIDTH)]
        if got != [(number, j) for j in range(WIDTH)]:
            raise Violation(f"the reader sees {got}; due was element {number}")

    def front(self):
        def call(notes):
            at = self.ring_front(CONTROL)
            if not at:
                return notes
            self._use(at, notes)
            self.ring_release(CONTROL)
            return notes + 1

        return call

    def peek_and_skip(self, index):
        """Look `index` places ahead, then throw away what was looked past."""

        def call(notes):
            at = self.ring_peek(CONTROL, index)
            if at:
                self._use(at, notes + index)
            return notes + self.ring_skip(CONTROL, index)

        return call


def walk(capacity, writer, reader, *, weak, edits=None, start=0, stretch=None) -> Report:
    """Explore `writer` against `reader` (lists of (method, argument…)) from counters that stand at `start`.

    The ring rewinds where it is empty after `stretch` elements, or never.
    """
    under_test = RingUnderTest(edits or {})
    octets = dict.fromkeys(range(STORE, STORE + capacity * WIDTH), ("nothing", 0))
    control = dict.fromkeys(range(CONTROL, CONTROL + ring.WORDS), 0)
    control |= {ring.CAPACITY: capacity, ring.WIDTH: WIDTH, ring.STORE: STORE}
    control |= dict.fromkeys((ring.WRITTEN, ring.SEEN_READ, ring.READ, ring.SEEN_WRITTEN), start)
    control |= {ring.STRETCH: stretch, ring.LOOK: start + stretch} if stretch else {ring.LOOK: ring.NEVER}
    programs = [[getattr(under_test, name)(*arguments) for name, *arguments in calls] for calls in (writer, reader)]
    report = explore(programs, under_test.memory, control | octets, [(start, 0), start], weak=weak)
    for (written, _), read in report.ends:
        if not read <= written <= read + capacity:
            raise Violation(f"{written} elements were written and {read} read over a ring of {capacity}")
    return report


BLOCKS = [
    (2, [("write", 1)] * 4, [("read", 1)] * 4),
    (2, [("write", 2), ("write", 2), ("write", 1)], [("read", 2), ("read", 2), ("read", 2)]),
    (2, [("write", 3), ("write", 2)], [("read", 1), ("read", 3), ("read", 1)]),
    (4, [("write", 3), ("write", 3), ("write", 2)], [("read", 2), ("read", 3), ("read", 4)]),
    (4, [("write", 4), ("write", 4)], [("read", 3), ("read", 3), ("read", 3)]),
]
IN_PLACE = [
    (2, [("claim",)] * 4, [("front",)] * 4),
    (2, [("write", 2), ("claim",), ("claim",)], [("peek_and_skip", 1), ("front",), ("read", 2)]),
    (4, [("claim",), ("write", 3), ("claim",), ("claim",)], [("peek_and_skip", 2), ("front",), ("peek_and_skip", 1), ("read", 4)]),
]


@pytest.mark.parametrize(("capacity", "writer", "reader"), BLOCKS + IN_PLACE)
@pytest.mark.parametrize("start", [0, 3])
def test_no_weak_execution_loses_tears_or_reorders_an_element(capacity, writer, reader, start):
    report = walk(capacity, writer, reader, weak=True, start=start)
    assert len(report.ends) > 1  # the threads did meet


@pytest.mark.parametrize(("capacity", "writer", "reader"), [*BLOCKS[:3], *IN_PLACE[:2]])
def test_no_interleaving_of_single_octets_loses_tears_or_reorders_an_element(capacity, writer, reader):
    assert walk(capacity, writer, reader, weak=False, start=1).states > 500


def test_what_one_side_does_first_the_other_finds():
    """Ends of all executions: from a reader that was always early to one that took everything."""
    ends = walk(2, [("write", 1)] * 3, [("read", 1)] * 3, weak=True).ends
    assert ((2, 1), 0) in ends  # the third write met a full ring and was counted
    assert ((3, 0), 3) in ends
    assert all(written + refused == 3 for (written, refused), _ in ends)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_call_ends_after_a_fixed_number_of_its_own_steps(count):
    """Wait-free: whatever the other side does, ring_write and ring_read make at most 26 accesses beside the octets copied."""
    report = walk(4, [("write", count)] * 3, [("read", count)] * 3, weak=True, start=3, stretch=1)
    assert report.longest_call <= 26 + count * WIDTH


PUBLISH = "        store_release(control, WRITTEN, written + fitted)  # publish after the copy\n"
GIVE_BACK = "        store_release(control, READ, read + taken)  # give the room back after the copy\n"
WRITE_COPY = "        width = control[WIDTH]\n        at = (written"
READ_COPY = "        capacity = control[CAPACITY]\n        width = control[WIDTH]\n        at = (read"

ORDER_MUTANTS = {
    "publish before the copy": {"ring_write": ((PUBLISH, ""), (WRITE_COPY, PUBLISH + WRITE_COPY))},
    "give back before the copy": {"ring_read": ((GIVE_BACK, ""), (READ_COPY, GIVE_BACK + READ_COPY))},
    "one element too many fits": {
        "ring_write": (
            ("free = capacity - (written - control[SEEN_READ])\n    if", "free = 1 + capacity - (written - control[SEEN_READ])\n    if"),
        )
    },
    "one element too many is ready": {
        "ring_read": (("ready = control[SEEN_WRITTEN] - read\n    if", "ready = 1 + control[SEEN_WRITTEN] - read\n    if"),)
    },
    "the wrapped part lands behind": {
        "ring_write": (("copy_octets(control[STORE], source", "copy_octets(control[STORE] + width, source"),)
    },
    "the wrapped part is taken twice": {
        "ring_read": (("target + first * width, control[STORE], (taken", "target + first * width, control[STORE] + at * width, (taken"),)
    },
}
MEMORY_MUTANTS = {
    "WRITTEN stored without release": {"ring_write": ((PUBLISH, PUBLISH.replace("release", "relaxed")),)},
    "READ stored without release": {"ring_read": ((GIVE_BACK, GIVE_BACK.replace("release", "relaxed")),)},
    "READ loaded without acquire": {"ring_write": (("load_acquire(control, READ)", "load_relaxed(control, READ)"),)},
    "WRITTEN loaded without acquire": {"_look_for_written": (("load_acquire(control, WRITTEN)", "load_relaxed(control, WRITTEN)"),)},
    "WRITTEN stored plainly": {"ring_write": ((PUBLISH, "        control[WRITTEN] = written + fitted\n"),)},
    "WRITTEN loaded plainly": {"_look_for_written": (("load_acquire(control, WRITTEN)", "control[WRITTEN]"),)},
}


def walk_mutant(edits, *, weak):
    walk(2, [("write", 2), ("write", 1), ("write", 2)], [("read", 1), ("read", 2), ("read", 2)], weak=weak, edits=edits)


@pytest.mark.parametrize("mutant", ORDER_MUTANTS)
@pytest.mark.parametrize("weak", [False, True], ids=["interleaved", "weak"])
def test_a_ring_with_its_steps_in_the_wrong_order_is_caught(mutant, weak):
    with pytest.raises((Violation, KeyError)):  # KeyError: memory that nobody owns
        walk_mutant(ORDER_MUTANTS[mutant], weak=weak)


@pytest.mark.parametrize("mutant", MEMORY_MUTANTS)
def test_a_ring_with_weaker_accesses_is_caught(mutant):
    with pytest.raises(Violation):
        walk_mutant(MEMORY_MUTANTS[mutant], weak=True)


@pytest.mark.parametrize("mutant", MEMORY_MUTANTS)
def test_only_the_weak_machine_can_catch_weaker_accesses(mutant):
    """On a machine without reordering the same mutants are right: that is why no test on x86 would find them."""
    walk_mutant(MEMORY_MUTANTS[mutant], weak=False)


@pytest.mark.parametrize(
    ("kernel", "edit"),
    [
        ("ring_commit", ("store_release", "store_relaxed")),
        ("ring_release", ("store_release", "store_relaxed")),
        ("ring_claim", ("load_acquire", "load_relaxed")),
        ("_look_for_written", ("load_acquire", "load_relaxed")),
    ],
)
def test_work_in_place_with_weaker_accesses_is_caught(kernel, edit):
    with pytest.raises(Violation):
        walk(2, [("claim",)] * 4, [("front",)] * 4, weak=True, edits={kernel: (edit,)})


def test_a_skip_that_gives_back_without_release_is_caught():
    """What was peeked at must have been read before the writer gets its place."""
    edits = {"ring_skip": (("store_release", "store_relaxed"),)}
    with pytest.raises(Violation):
        walk(2, [("write", 2), ("write", 2)], [("peek_and_skip", 1), ("peek_and_skip", 1)], weak=True, edits=edits)


# Rewinding: the writer of an empty ring begins again at the front of the store.

REWINDS = [
    (2, [("write", 1)] * 4, [("read", 1)] * 4),
    (4, [("write", 1), ("write", 2), ("write", 3)], [("read", 2), ("read", 2), ("read", 3)]),
    (4, [("claim",), ("claim",), ("write", 3), ("claim",)], [("front",), ("read", 2), ("front",), ("peek_and_skip", 1)]),
    (4, [("writable", 2), ("writable", 3), ("writable", 1)], [("read", 4), ("peek_and_skip", 1), ("read", 4)]),
]


@pytest.mark.parametrize(("capacity", "writer", "reader"), [*REWINDS, *BLOCKS, *IN_PLACE])
@pytest.mark.parametrize("stretch", [1, 2])
def test_no_weak_execution_of_a_ring_that_rewinds_loses_tears_or_reorders_an_element(capacity, writer, reader, stretch):
    report = walk(capacity, writer, reader, weak=True, start=3, stretch=stretch)
    assert len(report.ends) > 1


@pytest.mark.parametrize(("capacity", "writer", "reader"), REWINDS[:3])
def test_no_interleaving_of_single_octets_upsets_a_ring_that_rewinds(capacity, writer, reader):
    assert walk(capacity, writer, reader, weak=False, start=1, stretch=1).states > 500


EMPTY = "if control[SEEN_READ] == written:"
REWIND_MUTANTS = {
    "READ loaded without acquire": {"_rewind": (("load_acquire", "load_relaxed"),)},
    "READ loaded plainly": {"_rewind": (("load_acquire(control, READ)", "control[READ]"),)},
    "a ring that is not empty": {"_rewind": ((EMPTY, "if control[SEEN_READ] >= written - 1:"),)},
    "a reader that keeps its old BASE": {"_look_for_written": (("if written > read:", "if written < read:"),)},
    "a reader that looks at the BASE of an empty ring": {"_look_for_written": (("if written > read:", "if written >= read:"),)},
    "WRITTEN loaded without acquire": {"_look_for_written": (("load_acquire", "load_relaxed"),)},
    "BASE changed after the publication": {
        "ring_write": (("    _rewind(control, written)\n", ""), (PUBLISH, PUBLISH + "        _rewind(control, written)\n"))
    },
}


@pytest.mark.parametrize("mutant", REWIND_MUTANTS)
def test_a_rewind_that_is_wrong_in_one_step_is_caught(mutant):
    with pytest.raises(Violation):
        walk(4, [("write", 1), ("write", 2), ("write", 2)], [("read", 2)] * 4, weak=True, edits=REWIND_MUTANTS[mutant], stretch=1)
