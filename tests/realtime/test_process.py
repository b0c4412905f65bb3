"""Several engines, one process: the strongest wish wins, and the last one out puts everything back."""

from __future__ import annotations

import gc
import sys

import pytest

from rtmedia.realtime.process import Process, this_process
from rtmedia.realtime.system import Refused, System
from tests.realtime.fakes import FakeSystem


def test_the_shortest_switch_interval_wins_and_the_last_engine_puts_it_back():
    process = Process(system := FakeSystem())
    first, second, third = object(), object(), object()
    assert process.set_switch_interval(first, 0.002) == "2 ms instead of 5, for the whole process"
    process.set_switch_interval(second, 0.001)
    assert "another engine asks for less" in process.set_switch_interval(third, 0.004)
    assert system.interval_s == 0.001
    process.release(second)
    assert system.interval_s == 0.002
    process.release(first)
    assert system.interval_s == 0.004
    process.release(third)
    assert system.interval_s == 0.005


def test_a_switch_interval_that_somebody_else_has_changed_is_left_alone():
    process = Process(system := FakeSystem())
    owner = object()
    process.set_switch_interval(owner, 0.001)
    system.interval_s = 0.010
    process.release(owner)
    assert system.interval_s == 0.010


def test_memory_is_locked_once_and_let_go_by_the_last():
    process = Process(system := FakeSystem())
    first, second = object(), object()
    assert process.lock_memory(first) == process.lock_memory(second) == "all"
    assert len(system.asked("lock_memory")) == 1
    process.release(first)
    assert system.locked
    process.release(second)
    assert not system.locked


def test_memory_that_the_host_had_locked_stays_locked():
    process = Process(system := FakeSystem())
    system.locked = 1
    owner = object()
    process.lock_memory(owner)
    process.release(owner)
    assert system.asked("unlock_memory") == []


def test_a_refused_lock_is_held_by_nobody():
    process = Process(system := FakeSystem(lock_memory="no"))
    owner = object()
    with pytest.raises(Refused):
        process.lock_memory(owner)
    process.release(owner)
    assert system.asked("unlock_memory") == []


def test_the_frozen_heap_thaws_with_the_last_engine():
    process = Process(system := FakeSystem())
    first, second = object(), object()
    process.freeze_gc(first)
    process.freeze_gc(second)
    process.release(first)
    assert system.frozen == 200
    process.release(second)
    assert system.frozen == 0


@pytest.mark.parametrize(("before", "after"), [(50, 0), (0, 50)])
def test_a_heap_that_the_host_froze_stays_frozen(before, after):
    process = Process(system := FakeSystem())
    owner = object()
    system.frozen = before
    process.freeze_gc(owner)
    system.frozen += after
    process.release(owner)
    assert system.frozen == 150


def test_a_shared_thread_keeps_the_highest_priority():
    process = Process(system := FakeSystem())
    first, second = object(), object()
    process.set_fifo(first, 7, 20)
    assert "another engine asked for" in process.set_fifo(second, 7, 10)
    assert system.priorities == {7: 20}
    process.set_fifo(second, 7, 30)
    assert system.priorities == {7: 30}


def test_a_thread_that_goes_on_for_an_engine_that_did_not_ask_is_ordinary_before_the_belt_comes_off():
    process = Process(system := FakeSystem())
    owner = object()
    process.set_fifo(owner, 7, 10)
    process.arm_belt(owner)
    process.release(owner)
    assert system.priorities == {7: 0}
    assert [call[0] for call in system.calls[-2:]] == ["step_down", "disarm_belt"]


def test_a_shared_thread_is_ordinary_when_the_last_engine_that_asked_has_stopped():
    process = Process(system := FakeSystem())
    first, second = object(), object()
    process.set_fifo(first, 7, 20)
    process.set_fifo(second, 7, 10)
    process.release(first)
    assert system.priorities == {7: 20}
    process.release(second)
    assert system.priorities == {7: 0}
    process.release(second)
    assert len(system.asked("step_down")) == 1


@pytest.mark.parametrize("since", [None, 0, 30])
def test_a_thread_that_ended_or_that_somebody_else_has_changed_is_left_alone(since):
    process = Process(system := FakeSystem())
    owner = object()
    process.set_fifo(owner, 7, 10)
    system.priorities[7] = since
    process.release(owner)
    assert system.asked("step_down") == []


@pytest.mark.parametrize("before", [5, 10, 80])
def test_a_thread_that_was_made_real_time_by_its_own_maker_stays_so(before):
    process = Process(system := FakeSystem())
    owner = object()
    system.priorities[7] = before
    said = process.set_fifo(owner, 7, 10)
    assert ("somebody else" in said) == (before > 10)
    process.release(owner)
    assert system.asked("step_down") == []


def test_the_belt_stays_on_while_a_thread_cannot_be_put_back():
    process = Process(system := FakeSystem(step_down="no"))
    first, second = object(), object()
    process.set_fifo(first, 7, 10)
    process.arm_belt(first)
    process.release(first)
    assert system.asked("disarm_belt") == []
    system.refuse = {}
    process.arm_belt(second)
    process.release(second)
    assert system.priorities == {7: 0}
    assert len(system.asked("disarm_belt")) == 1


def test_a_shared_thread_stays_on_the_cores_of_the_first_wish():
    process = Process(system := FakeSystem())
    first, second = object(), object()
    process.set_cpus(first, 7, (1, 2))
    process.set_cpus(second, 7, (2, 1))
    with pytest.raises(Refused, match="cores 1,2"):
        process.set_cpus(second, 7, (3,))
    assert system.affinity[7] == (1, 2)
    process.release(first)
    with pytest.raises(Refused):
        process.set_cpus(object(), 7, (3,))
    process.release(second)
    process.set_cpus(first, 7, (3,))
    assert system.affinity[7] == (3,)


def test_the_belt_is_worn_until_the_last_engine_has_stopped():
    process = Process(system := FakeSystem())
    first, second = object(), object()
    process.arm_belt(first)
    process.arm_belt(first)
    process.arm_belt(second, 100_000)
    assert system.asked("arm_belt")[-1] == (75_000, 100_000)  # the warning comes before the end
    process.release(first)
    assert system.asked("disarm_belt") == []
    process.release(second)
    assert len(system.asked("disarm_belt")) == 1
    process.release(second)
    assert len(system.asked("disarm_belt")) == 1


def test_the_interpreters_own_settings_on_this_machine():
    process, owner, before_s, frozen = Process(System()), object(), sys.getswitchinterval(), gc.get_freeze_count()
    process.set_switch_interval(owner, 0.0007)
    process.freeze_gc(owner)
    assert sys.getswitchinterval() == pytest.approx(0.0007)
    assert gc.get_freeze_count() > frozen
    process.release(owner)
    assert sys.getswitchinterval() == pytest.approx(before_s)
    assert gc.get_freeze_count() == frozen


def test_a_process_has_one_memory_of_its_wishes():
    assert this_process() is this_process()
