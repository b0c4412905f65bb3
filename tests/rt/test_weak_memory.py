"""The explorer itself, held against the textbook's litmus tests (Alglave, Maranget, Tautschnig 2014)."""

from __future__ import annotations

import pytest

from tests.rt.weak_memory import Memory, Violation, explore


def outcomes(*programs, weak=True, locations="xyz"):
    """All results of a litmus test; a program is a list of ("store", where, what, order) and ("load", where, order)."""
    memory = Memory()

    def call(steps):
        def run(notes):
            loaded = []
            for step in steps:
                if step[0] == "store":
                    memory.store(step[1], step[2], step[3])
                elif step[0] == "load":
                    loaded.append(memory.load(step[1], step[2]))
                else:
                    memory.fence(step[1])
            return tuple(loaded)

        return run

    report = explore([[call(steps)] for steps in programs], memory, dict.fromkeys(locations, 0), [()] * len(programs), weak=weak)
    return {tuple(value for notes in end for value in notes) for end in report.ends}


def message_passing(publish, look, *, writer_fence=None, reader_fence=None):
    writer = [("store", "x", 1, "relaxed"), ("fence", writer_fence), ("store", "y", 1, publish)]
    reader = [("load", "y", look), ("fence", reader_fence), ("load", "x", "relaxed")]
    return outcomes(*[[step for step in program if step != ("fence", None)] for program in (writer, reader)])


def test_release_and_acquire_carry_a_message():
    assert message_passing("release", "acquire") == {(0, 0), (0, 1), (1, 1)}


@pytest.mark.parametrize(("publish", "look"), [("relaxed", "acquire"), ("release", "relaxed"), ("relaxed", "relaxed")])
def test_without_either_half_the_message_may_be_stale(publish, look):
    assert (1, 0) in message_passing(publish, look)


def test_fences_carry_a_message_between_relaxed_accesses():
    assert (1, 0) not in message_passing("relaxed", "relaxed", writer_fence="release", reader_fence="acquire")
    assert (1, 0) in message_passing("relaxed", "relaxed", writer_fence="release")
    assert (1, 0) in message_passing("relaxed", "relaxed", reader_fence="acquire")


def test_store_buffering_is_seen_unless_fences_forbid_it():
    def program(fence, mine, other):
        return [("store", mine, 1, "release"), *fence, ("load", other, "acquire")]

    assert (0, 0) in outcomes(program([], "x", "y"), program([], "y", "x"))
    assert (0, 0) not in outcomes(program([], "x", "y"), program([], "y", "x"), weak=False)
    strong = [("fence", "seq_cst")]
    assert (0, 0) not in outcomes(program(strong, "x", "y"), program(strong, "y", "x"))


def test_one_location_never_runs_backwards():
    writer = [("store", "x", 1, "relaxed"), ("store", "x", 2, "relaxed")]
    reader = [("load", "x", "relaxed"), ("load", "x", "relaxed")]
    assert outcomes(writer, reader) == {(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)}


def test_what_one_thread_passed_on_a_third_thread_knows():
    first = [("store", "x", 1, "relaxed"), ("store", "y", 1, "release")]
    second = [("load", "y", "acquire"), ("store", "z", 1, "release")]
    third = [("load", "z", "acquire"), ("load", "x", "relaxed")]
    seen = outcomes(first, second, third)
    assert (1, 1, 1) in seen
    assert (1, 1, 0) not in seen  # y before z before x: causality is transitive


def test_independent_writers_may_be_seen_in_different_orders():
    reader = [[("load", a, "acquire"), ("load", b, "acquire")] for a, b in ("xy", "yx")]
    assert (1, 0, 1, 0) in outcomes([("store", "x", 1, "release")], [("store", "y", 1, "release")], *reader)


def test_unordered_plain_accesses_are_a_race_and_ordered_ones_are_not():
    def programs(order):
        writer = [("store", "x", 1, "plain"), ("store", "y", 1, order)]
        return writer, [("load", "y", "acquire"), ("load", "x", "plain")]

    with pytest.raises(Violation, match="data race"):
        outcomes(*programs("relaxed"))
    with pytest.raises(Violation, match="data race"):
        outcomes(*programs("release"))  # the reader looks even where it saw y == 0
