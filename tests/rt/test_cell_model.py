"""The source of the sequence locks (cells, an effect's wishes), walked through every weak-memory execution.

The writer publishes (k, 10 k, 100 k) for k = 1, 2, …; whatever a reader keeps must be one of these, whole, and
never older than what it kept before.
"""

from __future__ import annotations

import pytest

from rtmedia.rt import cell, plugin
from tests.rt.weak_memory import Memory, Violation, explore, kernel_source

CELL = 0
NAMES = {"VERSION": cell.VERSION, "FIRST": cell.FIRST}


class Words(list):
    """A private array, as far as the kernels ask."""

    @property
    def shape(self):
        return (len(self),)


def version_of(words):
    """The k of (k, 10 k, 100 k)."""
    if any(word != words[0] * 10**place for place, word in enumerate(words)):
        raise Violation(f"the reader kept {words}: words of different versions")
    return words[0]


def walk(writer_edits=(), reader_edits=(), *, weak=True, writes=2, reads=2, readers=1, count=2, tries=2):
    memory = Memory()
    write = kernel_source(memory, cell.cell_write, NAMES, tuple(writer_edits))
    read = kernel_source(memory, cell.cell_read, NAMES, tuple(reader_edits))

    def publish(notes):
        write(CELL, Words((notes + 1) * 10**place for place in range(count)))
        return notes + 1

    def look(notes):
        words = Words([None] * count)
        if not read(CELL, words, tries):
            return (*notes, "disturbed")
        kept = version_of(words)
        if any(kept < before for before in notes if before != "disturbed"):
            raise Violation(f"the reader kept version {kept} after {notes}")
        return (*notes, kept)

    start = dict.fromkeys(range(CELL, CELL + cell.FIRST + count), 0)
    return explore([[publish] * writes, *[[look] * reads] * readers], memory, start, [0, *[()] * readers], weak=weak)


@pytest.mark.parametrize(
    "shape", [{"writes": 3, "reads": 2}, {"writes": 2, "reads": 3}, {"count": 3}, {"readers": 2, "reads": 1, "tries": 1}]
)
def test_no_weak_execution_mixes_versions_or_runs_backwards(shape):
    report = walk(**shape)
    results = {result for end in report.ends for notes in end[1:] for result in notes}
    assert results == {*range(shape.get("writes", 2) + 1), "disturbed"}  # every version can be met, and so can the writer inside


def test_no_interleaving_mixes_versions_or_runs_backwards():
    walk(weak=False, writes=3, reads=2)


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_the_writer_never_waits_and_a_reader_gives_up_after_its_tries(tries):
    count = 2
    report = walk(tries=tries, reads=1, writes=2, count=count)
    assert report.longest_call <= max(1 + 2 + count, tries * (2 + count))


def relaxed(kernel_line: str) -> tuple[str, str]:
    return kernel_line, kernel_line.replace("store_release", "store_relaxed").replace("load_acquire", "load_relaxed")


ODD = "store_release(memory, VERSION, version + 1)"
WORD = "store_release(memory, FIRST + i, words[i])"
EVEN = "store_release(memory, VERSION, version + 2)"
BEFORE = "before = load_acquire(memory, VERSION)"
TAKE = "words[i] = load_acquire(memory, FIRST + i)"
RECHECK = "if load_acquire(memory, VERSION) == before:"

MUTANTS = {
    "the version is not checked again": ((), [(RECHECK, "if True:")]),
    "an odd version is taken": ((), [("if before & 1:", "if False:")]),
    "the version never becomes odd": ([(ODD, "pass")], ()),
    "the version is published before the words": ([(EVEN, "pass"), (ODD, EVEN)], ()),
}
WEAKER = {
    "words stored without release": ([relaxed(WORD)], ()),
    "words loaded without acquire": ((), [relaxed(TAKE)]),
    "the even version stored without release": ([relaxed(EVEN)], ()),
    "the first look without acquire": ((), [relaxed(BEFORE)]),
    "words stored plainly": ([(WORD, "memory[FIRST + i] = words[i]")], ()),
    "words loaded plainly": ((), [(TAKE, "words[i] = memory[FIRST + i]")]),
}


@pytest.mark.parametrize("mutant", MUTANTS)
@pytest.mark.parametrize("weak", [False, True], ids=["interleaved", "weak"])
def test_a_cell_with_a_step_missing_is_caught(mutant, weak):
    with pytest.raises(Violation):
        walk(*MUTANTS[mutant], weak=weak)


@pytest.mark.parametrize("mutant", WEAKER)
def test_a_cell_with_weaker_accesses_is_caught_by_the_weak_machine_only(mutant):
    walk(*WEAKER[mutant], weak=False)
    with pytest.raises(Violation):
        walk(*WEAKER[mutant], weak=True)


def test_the_second_look_at_the_version_needs_no_acquire_of_its_own():
    """Nothing is read after it; the loads of the words have already ordered it."""
    walk(reader_edits=[relaxed(RECHECK)])


def test_the_odd_version_needs_no_release_of_its_own():
    """The release of the words that follow carries it."""
    walk(writer_edits=[relaxed(ODD)])


# Boehm's other way: relaxed words between fences. Both are right; ours costs nothing on x86 and no barrier on ARM.

WORDS_RELAXED = ([relaxed(WORD)], [relaxed(TAKE)])
WRITER_FENCE = (ODD, ODD + "\n    fence_{}()")
READER_FENCE = (RECHECK, "fence_{}()\n        " + RECHECK)


@pytest.mark.parametrize(("writer", "reader"), [("release", "acquire"), ("seq_cst", "seq_cst")])
def test_relaxed_words_between_fences_are_as_good(writer, reader):
    walk([*WORDS_RELAXED[0], (ODD, WRITER_FENCE[1].format(writer))], [*WORDS_RELAXED[1], (RECHECK, READER_FENCE[1].format(reader))])


@pytest.mark.parametrize(("writer", "reader"), [("release", ""), ("", "acquire"), ("", "")])
def test_relaxed_words_need_both_fences(writer, reader):
    writer_edits = [*WORDS_RELAXED[0], *([(ODD, WRITER_FENCE[1].format(writer))] if writer else [])]
    reader_edits = [*WORDS_RELAXED[1], *([(RECHECK, READER_FENCE[1].format(reader))] if reader else [])]
    with pytest.raises(Violation):
        walk(writer_edits, reader_edits)


# An effect's wishes are the same lock with one try, by address.

TAKEN = 5_000


def walk_wishes(writer_edits=(), taker_edits=()):
    memory = Memory()
    scratch = Words([None] * 2)
    # Addresses count elements here: the version at 0, the wishes behind it.
    names = {"_WISH_OFFSET": 1, "MAX_WISHES": 2}
    write = kernel_source(memory, plugin.wishes_write, names, tuple(writer_edits))
    take = kernel_source(memory, plugin.wishes_take, names, tuple(taker_edits))
    shared = take.__globals__["view_f4"]
    take.__globals__["view_f4"] = lambda base, count: scratch if base == TAKEN else shared(base, count)

    def publish(notes):
        write(0, Words([notes + 1, (notes + 1) * 10]))
        return notes + 1

    def look(notes):
        seen, _ = notes
        version = take(0, seen, TAKEN, 2)
        if version == seen:
            return notes
        if version_of(scratch) * 2 != version or version < seen:
            raise Violation(f"version {version} came with the wishes {scratch}, after version {seen}")
        return version, scratch[0]

    return explore([[publish] * 3, [look] * 3], memory, dict.fromkeys(range(3), 0), [0, (0, 0)], weak=True)


def test_wishes_are_taken_over_whole_or_not_at_all():
    ends = walk_wishes().ends
    assert {end[1] for end in ends} == {(0, 0), (2, 1), (4, 2), (6, 3)}


@pytest.mark.parametrize(
    ("writer", "taker"),
    [
        ((("store_release(version, 0, before + 1)", "pass"),), ()),
        ((("store_release(wishes, i, values[i])", "store_relaxed(wishes, i, values[i])"),), ()),
        (
            (),
            (
                ("before = load_acquire(version, 0)", "before = load_relaxed(version, 0)"),
                ("load_acquire(wishes, i)", "load_relaxed(wishes, i)"),
            ),
        ),
        ((), (("before if load_acquire(version, 0) == before else seen", "before"),)),
        ((), (("load_acquire(wishes, i)", "wishes[i]"),)),
    ],
)
def test_wishes_with_a_weaker_protocol_are_caught(writer, taker):
    with pytest.raises(Violation):
        walk_wishes(writer, taker)
