"""The source of the bell and of the loops that sleep on it, walked through every execution: nothing that was said is slept through.

Time does not pass here and nobody wakes by chance, so a wake-up that only a timeout would repair is found: as a state from which
nobody can go on (`tests/rt/weak_memory.py`).
"""

from __future__ import annotations

import pytest

from rtmedia.rooms import loops, table
from rtmedia.rt import wake
from tests.rt.weak_memory import Memory, Violation, explore, kernel_source

TABLE, BELL, ROOMS, READY = 0, 100, 200, 300  # addresses
WRITTEN, DATA, OWN = 400, 500, 600  # of the room in place i: WRITTEN + i, DATA + 10 * i and on, OWN + i


class Walked:
    """The kernels over model memory; `edits` changes their source: {"bell_wait": ((before, after), …)}."""

    def __init__(self, edits):
        self.memory = Memory()
        names = {name: getattr(module, name) for module in (wake, table, loops) for name in dir(module) if name.isupper()}
        names |= {"wake": self.memory.wake, "sleep_on": lambda bell, _: self.memory.sleep(bell, wake.ASLEEP)}
        names |= {"now_ns": lambda: 0, "sleep_ns": lambda _: None, "_decode_some": self._step, "_render_some": self._step}
        for module, name in ((wake, "bell_ring"), (wake, "bell_wait"), (wake, "call_room"), (loops, "_round"), (loops, "_walk")):
            names[name] = kernel_source(self.memory, getattr(module, name), names, tuple(edits.get(name, ())))
        self.names = names
        self.taken: dict[int, int] = {}

    def _step(self, room):
        """What a room does: takes all that has been written for it, and looks at it."""
        place = room - 1
        self.memory.load(OWN + place)
        written = self.memory.load(WRITTEN + place, "acquire")
        before = self.taken.get(place, 0)
        for at in range(before, written):
            if self.memory.load(DATA + 10 * place + at) != at + 1:
                raise Violation(f"room {place} sees no message {at}")
        self.taken[place] = written
        return loops.WORKED if written > before else loops.NOTHING

    def say(self, place, at):
        """A writer has one message for a room: message, counter, bell."""

        def call(notes):
            self.memory.store(DATA + 10 * place + at, at + 1)
            self.memory.store(WRITTEN + place, at + 1, "release")
            self.names["call_room"](READY + place, BELL)
            return notes + 1

        return call

    def take(self, count):
        """The loop, until it has taken `count` messages. It looks at its rooms only when they are ready."""

        def call(notes):
            self.taken = {}
            while sum(self.taken.values()) < count:
                if self.names["_round"](TABLE, 1, 0) == loops.NOTHING:
                    self.names["bell_wait"](BELL, 1)
            return count

        return call

    def walk(self):
        """The loop's whole life."""

        def call(notes):
            self.taken = {}
            self.names["_walk"](TABLE, 1)
            return sum(self.taken.values())

        return call

    def stop(self):
        def call(notes):
            self.memory.store(TABLE + table.STOP, 1, "release")
            self.names["bell_ring"](BELL)
            return notes

        return call

    def remove(self, place, wrong_order=False):
        """`Table.remove`, and what follows once the loop has answered: the room's memory is given back."""

        def call(notes):
            steps = [(ROOMS + place, 0), (TABLE + table.WANTED, 1)]
            for location, value in reversed(steps) if wrong_order else steps:
                self.memory.store(location, value, "release")
            self.names["bell_ring"](BELL)
            if self.memory.load(TABLE + table.DONE, "acquire") < 1:
                return notes
            self.memory.store(OWN + place, "gone")
            return notes + 1

        return call


def explored(programs, *, edits=None, weak=True, rooms=1):
    walked = Walked(edits or {})
    start = dict.fromkeys(range(TABLE, TABLE + table.WORDS), 0)
    start |= {BELL: wake.IDLE, TABLE + table.USED: rooms, TABLE + table.ROOMS: ROOMS, TABLE + table.READY: READY, TABLE + table.BELL: BELL}
    for place in range(rooms):
        start |= {
            ROOMS + place: place + 1,
            READY + place: 0,
            WRITTEN + place: 0,
            OWN + place: "here",
            **{DATA + 10 * place + at: 0 for at in range(4)},
        }
    made = [[getattr(walked, name)(*arguments) for name, *arguments in program] for program in programs]
    return explore(made, walked.memory, start, [0] * len(made), weak=weak)


TAKEN = {
    "one writer, one message": ([[("take", 1)], [("say", 0, 0)]], 1),
    "one writer, two messages": ([[("take", 2)], [("say", 0, 0), ("say", 0, 1)]], 1),
    "two writers, two rooms": ([[("take", 2)], [("say", 0, 0)], [("say", 1, 0)]], 2),
}


@pytest.mark.parametrize("weak", [False, True], ids=["interleaved", "weak"])
@pytest.mark.parametrize("shape", TAKEN)
def test_what_was_said_is_taken_in_every_execution(shape, weak):
    programs, rooms = TAKEN[shape]
    report = explored(programs, rooms=rooms, weak=weak)
    assert {end[0] for end in report.ends} == {rooms if rooms > 1 else len(programs[1])}


@pytest.mark.parametrize("weak", [False, True], ids=["interleaved", "weak"])
def test_a_loop_that_is_told_to_stop_leaves_in_every_execution(weak):
    report = explored([[("walk",)], [("stop",)]], weak=weak)
    assert report.ends
    explored([[("walk",)], [("say", 0, 0), ("stop",)]], weak=weak)


@pytest.mark.parametrize("weak", [False, True], ids=["interleaved", "weak"])
def test_a_room_whose_leave_is_acknowledged_is_met_in_no_execution(weak):
    report = explored([[("walk",)], [("remove", 0), ("stop",)]], weak=weak)
    assert {end[1] for end in report.ends} == {0, 1}  # acknowledged at the first look, or not yet


def instead(kernel, before, after):
    return {kernel: ((before, after),)}


LOST = {
    "rung before it was said": instead(
        "call_room",
        "store_release(view_i8(ready, 1), 0, 1)\n        bell_ring(bell)",
        "bell_ring(bell)\n        store_release(view_i8(ready, 1), 0, 1)",
    ),
    "a ring that wakes nobody": instead("bell_ring", "wake(bell)", "pass"),
    "a ring that is not noticed before the sleep": instead(
        "bell_wait", "exchange(word, 0, ASLEEP) != RUNG", "(exchange(word, 0, ASLEEP), True)[1]"
    ),
    "ready is taken away after the step": {
        "_round": (
            ("exchange(ready, i, 0)  #", "pass  #"),
            ("        if done == UNFINISHED:", "        exchange(ready, i, 0)\n        if done == UNFINISHED:"),
        )
    },
}
#: A room's own counter is acquired by its step, so what these lose is the order between it and the ready word.
LOST_ON_WEAK_MACHINES = {
    "the bell is rung without an order": instead("bell_ring", "exchange(", "exchange_relaxed("),
    "the bell is heard without an order": {
        "bell_wait": (
            ("exchange(word, 0, ASLEEP)", "exchange_relaxed(word, 0, ASLEEP)"),
            ("    exchange(word, 0, IDLE)", "    exchange_relaxed(word, 0, IDLE)"),
        )
    },
    "ready is said without an order": instead("call_room", "store_release(", "store_relaxed("),
}


@pytest.mark.parametrize("mutant", LOST)
@pytest.mark.parametrize("weak", [False, True], ids=["interleaved", "weak"])
def test_a_bell_with_a_step_missing_sleeps_through_something(mutant, weak):
    with pytest.raises(Violation):
        explored(TAKEN["one writer, two messages"][0], edits=LOST[mutant], weak=weak)


@pytest.mark.parametrize("mutant", LOST_ON_WEAK_MACHINES)
def test_a_bell_without_an_order_sleeps_through_something_on_a_weak_machine_only(mutant):
    programs = TAKEN["one writer, two messages"][0]
    explored(programs, edits=LOST_ON_WEAK_MACHINES[mutant], weak=False)
    with pytest.raises(Violation):
        explored(programs, edits=LOST_ON_WEAK_MACHINES[mutant], weak=True)


ANSWER = "store_release(control, DONE, load_acquire(control, WANTED))"
MET = {
    "answered without an order": instead("_walk", ANSWER, "store_relaxed(control, DONE, load_acquire(control, WANTED))"),
    "asked without an order": instead("_walk", ANSWER, "store_release(control, DONE, load_relaxed(control, WANTED))"),
}


@pytest.mark.parametrize("mutant", MET)
def test_an_answer_without_an_order_lets_a_room_be_met_that_is_gone(mutant):
    with pytest.raises(Violation):
        explored([[("walk",)], [("remove", 0), ("stop",)]], edits=MET[mutant])


@pytest.mark.parametrize(
    "mutant", [None, instead("_round", "room = load_acquire(rooms, i)", f"room = load_acquire(rooms, i)\n        {ANSWER}")]
)
def test_a_loop_that_answers_within_its_round_or_is_asked_too_early_meets_a_room_that_is_gone(mutant):
    with pytest.raises(Violation):
        explored([[("walk",)], [("remove", 0, mutant is None), ("stop",)]], edits=mutant)
