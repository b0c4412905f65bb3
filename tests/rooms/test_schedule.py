"""The control thread: who is called, when, and who is not any more."""

from __future__ import annotations

import threading

import pytest

from rtmedia.rooms.schedule import Schedule

pytestmark = pytest.mark.live


@pytest.fixture
def schedule(scaled):
    made = Schedule()
    yield made
    assert made.stop(scaled(5.0))


def test_a_look_is_made_again_after_as_long_as_it_says(schedule, scaled):
    done, times = threading.Event(), []

    def look():
        times.append(None)
        if len(times) == 5:
            done.set()
            return None
        return 0.001

    schedule.appoint(look)
    assert done.wait(scaled(10.0))
    assert len(times) == 5


def test_a_look_that_is_wanted_soon_does_not_wait_for_its_time(schedule, scaled):
    looks = threading.Semaphore(0)

    def look():
        looks.release()
        return 3_600.0

    appointment = schedule.appoint(look)
    for _ in range(4):
        assert looks.acquire(timeout=scaled(10.0))
        appointment.soon()
    assert looks.acquire(timeout=scaled(10.0))


def test_a_look_that_is_wanted_while_it_is_made_is_made_again(schedule, scaled):
    begun, go_on, again = threading.Event(), threading.Event(), threading.Event()

    def look():
        if begun.is_set():
            again.set()
            return None
        begun.set()
        go_on.wait(scaled(10.0))
        return 3_600.0

    appointment = schedule.appoint(look)
    assert begun.wait(scaled(10.0))
    appointment.soon()
    go_on.set()
    assert again.wait(scaled(10.0))


def test_a_cancelled_look_is_over_when_cancel_says_so(schedule, scaled):
    begun, go_on = threading.Event(), threading.Event()

    def look():
        begun.set()
        go_on.wait(scaled(10.0))
        return 0.0

    appointment = schedule.appoint(look)
    assert begun.wait(scaled(10.0))
    assert not appointment.cancel(0.01)
    go_on.set()
    assert appointment.cancel(scaled(10.0))
    appointment.soon()
    assert appointment.look is None


def test_a_look_may_cancel_itself_and_stop_the_thread(scaled):
    schedule, answers = Schedule(), []
    box = []

    def look():
        answers.append(box[0].cancel(0.0))
        answers.append(schedule.stop(0.0))
        return 0.0

    full = threading.Event()
    schedule.appoint(lambda: full.wait(scaled(10.0)) and None)
    box.append(schedule.appoint(look))
    full.set()
    schedule._thread.join(scaled(10.0))
    assert answers == [True, True]


def test_a_look_that_raises_is_told_and_the_others_go_on(schedule, scaled, caplog):
    other = threading.Event()

    def bad():
        raise KeyError("bad")

    schedule.appoint(bad)
    schedule.appoint(other.set)
    assert other.wait(scaled(10.0))
    assert any("look of the control thread failed" in message for message in caplog.messages)
