"""A bell, live: with real threads that sleep, and real rings that wake them. What cannot be is in test_wake_model.py."""

from __future__ import annotations

import threading

import pytest

from rtmedia.rt import wake
from rtmedia.rt.memory import aligned_zeros
from rtmedia.rt.wake import ASLEEP, IDLE, RUNG, Bell, bell_wait, call_room
from rtmedia.rt.words import load_word, store_word

FOREVER_NS = 3_600 * 1_000_000_000  # where only a ring can end a wait within a test's life


def test_a_ring_before_the_wait_is_not_lost():
    bell = Bell()
    bell.ring()
    bell.ring()
    assert bell.memory[0] == RUNG
    bell.wait(FOREVER_NS)
    assert bell.memory[0] == IDLE


def test_nothing_is_waited_for_without_time():
    bell = Bell()
    for timeout_ns in (0, -1, 1, 1_000_000):
        bell.wait(timeout_ns)
    assert bell.memory[0] == IDLE


def test_a_room_that_nobody_listens_for_is_called_in_vain():
    call_room(0, 0)


def test_calling_a_room_sets_its_word_and_rings():
    ready, bell = aligned_zeros(1, "i8"), Bell()
    call_room(int(ready.ctypes.data), bell.address)
    assert (ready[0], bell.memory[0]) == (1, RUNG)


def test_a_sleeper_that_was_rung_for_is_woken(scaled):
    bell = Bell()
    sleeper = threading.Thread(target=bell_wait, args=(bell.address, FOREVER_NS if wake.WAKES else 1), daemon=True)
    sleeper.start()
    while sleeper.is_alive() and load_word(bell.memory, 0) != ASLEEP:
        pass
    bell.ring()
    sleeper.join(scaled(20.0))
    assert not sleeper.is_alive()


@pytest.mark.parametrize("writers", [1, 3])
def test_every_message_of_many_writers_arrives_at_a_sleeper_without_a_timeout(writers, scaled):
    """Each writer waits for the answer before it writes the next message: one ring slept through, and all stand still."""
    bell, rounds = Bell(), 500
    asked, answered = aligned_zeros(writers, "i8"), aligned_zeros(writers, "i8")
    answers = [Bell() for _ in range(writers)]
    timeout_ns = FOREVER_NS if wake.WAKES else 1_000_000

    def serve():
        done = 0
        while done < writers * rounds:
            for writer in range(writers):
                number = load_word(asked, writer)
                if number != load_word(answered, writer):
                    store_word(answered, writer, number)
                    answers[writer].ring()
                    done += 1
            if done < writers * rounds:
                bell.wait(timeout_ns)

    def ask(writer):
        for number in range(1, rounds + 1):
            store_word(asked, writer, number)
            bell.ring()
            while load_word(answered, writer) != number:
                answers[writer].wait(timeout_ns)

    threads = [threading.Thread(target=serve, daemon=True)]
    threads += [threading.Thread(target=ask, args=(writer,), daemon=True) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(scaled(60.0))
        assert not thread.is_alive()
    assert answered.tolist() == [rounds] * writers


def test_without_a_futex_a_wait_is_a_short_sleep(monkeypatch):
    """What other systems compile, as Python: it sleeps for no longer than a poll, and wakes nobody."""
    slept = []
    monkeypatch.setattr(wake, "WAKES", False)
    monkeypatch.setattr(wake, "sleep_ns", slept.append)
    wake.sleep_on.py_func(0, 10**9)
    wake.sleep_on.py_func(0, 1_000)
    wake.wake.py_func(0)
    assert slept == [wake.POLL_NS, 1_000]
