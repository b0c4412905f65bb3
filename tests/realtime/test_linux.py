"""Linux's answers, each provoked: limits, powers, `mlockall`, the signal that a belt is made of."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import threading

import pytest

from rtmedia.realtime import system as system_module
from rtmedia.realtime.system import (
    CAP_IPC_LOCK,
    CAP_SYS_NICE,
    MCL_CURRENT,
    MCL_FUTURE,
    MCL_ONFAULT,
    UNLIMITED,
    Linux,
    Refused,
    System,
    this_system,
)

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="system calls of Linux")

MIB = 1 << 20


class FakeLibrary:
    """The C library's three functions: `handler` is whoever has SIGXCPU, `mlock_errors` answers call by call."""

    def __init__(self, handler=None, mlock_errors=()):
        self.handler = handler
        self.mlock_errors = list(mlock_errors)
        self.locks = []
        self.unlocked = 0

    def signal(self, number, handler):
        assert number == signal.SIGXCPU
        before, self.handler = self.handler, handler
        return before

    def mlockall(self, flags):
        self.locks.append(flags)
        error = self.mlock_errors.pop(0) if self.mlock_errors else 0
        ctypes.set_errno(error)
        return -1 if error else 0

    def munlockall(self):
        self.unlocked += 1
        return 0


class Box(Linux):
    """Linux with the limits and powers that a test gives it."""

    def __init__(self, *, powers=(), mapped=100 * MIB, library=None, **limits):
        super().__init__()
        self.powers, self.mapped = powers, mapped
        self.given = {"RTPRIO": (0, 0), "MEMLOCK": (8 * MIB, 8 * MIB), "RTTIME": (UNLIMITED, UNLIMITED), "CPU": (UNLIMITED, UNLIMITED)}
        self.given.update(limits)
        self.was_set = []
        self._library = library if library is not None else FakeLibrary()

    def may(self, capability):
        return capability in self.powers

    def limits(self, name):
        return self.given[name]

    def set_limits(self, name, soft, hard):
        self.was_set.append((name, soft, hard))
        self.given[name] = (soft, hard)

    def mapped_bytes(self):
        return self.mapped


@pytest.fixture
def scheduled(monkeypatch):
    """What was asked of the scheduler; ``scheduled.error`` is what it answers."""

    class Scheduled(list):
        error = None

    calls = Scheduled()

    def setscheduler(thread, policy, parameter):
        calls.append((thread, policy, parameter.sched_priority))
        if calls.error is not None:
            raise calls.error

    monkeypatch.setattr(system_module.os, "sched_setscheduler", setscheduler)
    return calls


# --- scheduling -------------------------------------------------------------------------------------------------------


def test_without_a_limit_nobody_is_asked(scheduled):
    with pytest.raises(Refused, match=r"RLIMIT_RTPRIO is 0.*limits\.d"):
        Box().set_fifo(7, 10)
    assert scheduled == []


@pytest.mark.parametrize("box", [{"powers": (CAP_SYS_NICE,)}, {"RTPRIO": (10, 10)}, {"RTPRIO": (UNLIMITED, UNLIMITED)}])
def test_root_or_a_high_limit_is_enough(scheduled, box):
    machine = Box(**box)
    assert machine.set_fifo(7, 10) == "SCHED_FIFO 10"
    assert scheduled == [(7, 0x40000000 | 1, 10)]  # no child process inherits it
    assert machine.was_set == []


def test_a_soft_limit_is_raised_for_the_call_as_far_as_needed_where_the_hard_one_allows(scheduled):
    machine = Box(RTPRIO=(0, 95))
    machine.set_fifo(7, 10)
    assert machine.was_set == [("RTPRIO", 10, 95), ("RTPRIO", 0, 95)]
    scheduled.error = PermissionError(errno.EPERM, "Operation not permitted")
    with pytest.raises(Refused):
        machine.set_fifo(7, 10)
    assert machine.limits("RTPRIO") == (0, 95)
    with pytest.raises(Refused, match="is 95"):
        machine.set_fifo(7, 97)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EPERM, "Operation not permitted"), "container"),
        (ProcessLookupError(errno.ESRCH, "No such process"), "No such process"),
        (OSError(errno.ENOSYS, "Function not implemented"), "not implemented"),
    ],
)
def test_a_schedulers_refusal_is_explained(scheduled, error, said):
    scheduled.error = error
    with pytest.raises(Refused, match=said):
        Box(powers=(CAP_SYS_NICE,)).set_fifo(7, 10)


def test_a_thread_is_made_ordinary_again_and_keeps_the_flag_that_only_root_may_take_off(scheduled):
    thread = threading.get_native_id()
    Box().step_down(thread)
    assert scheduled == [(thread, 0x40000000, 0)]
    scheduled.error = PermissionError(errno.EPERM, "Operation not permitted")
    with pytest.raises(Refused, match="not permitted"):
        Box().step_down(thread)
    scheduled.error = ProcessLookupError(errno.ESRCH, "No such process")
    Box().step_down(thread)


def test_a_thread_of_another_process_is_nobodys_to_step_down(scheduled):
    Box().step_down(1 if os.getpid() != 1 else 2**22 + 1)
    assert scheduled == []


def test_a_core_that_no_machine_has_is_refused_with_those_that_there_are():
    with pytest.raises(Refused, match="this process has"):
        Linux().set_cpus(0, (8191,))


def test_a_thread_that_is_not_there_has_no_priority():
    assert Linux().priority_of(2**22 + 1) is None
    assert Linux().priority_of(0) is not None


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("box", [{"powers": (CAP_IPC_LOCK,)}, {"MEMLOCK": (UNLIMITED, UNLIMITED)}])
def test_without_a_limit_later_memory_is_locked_too_but_only_once_it_is_touched(box):
    library = FakeLibrary()
    assert "later memory" in Box(library=library, **box).lock_memory()
    assert library.locks == [MCL_CURRENT, MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT]


def test_an_old_linux_locks_what_there_is():
    library = FakeLibrary(mlock_errors=[0, errno.EINVAL])
    assert "later memory is not" in Box(library=library, powers=(CAP_IPC_LOCK,)).lock_memory()


def test_a_limit_that_is_too_low_is_refused_before_anything_is_locked():
    library = FakeLibrary()
    with pytest.raises(Refused, match=r"8 MiB, 132 are needed.*memlock"):
        Box(library=library).lock_memory()
    assert library.locks == []


def test_under_a_finite_limit_no_later_allocation_is_put_at_risk():
    library = FakeLibrary()
    assert "later memory is not" in Box(library=library, MEMLOCK=(500 * MIB, 500 * MIB)).lock_memory()
    assert library.locks == [MCL_CURRENT]


def test_a_lock_that_fails_is_refused_with_the_systems_word():
    with pytest.raises(Refused, match="mlockall: Cannot allocate memory"):
        Box(library=FakeLibrary(mlock_errors=[errno.ENOMEM]), powers=(CAP_IPC_LOCK,)).lock_memory()


# --- the belt ---------------------------------------------------------------------------------------------------------


def test_the_belt_is_a_handler_and_a_soft_limit_and_comes_off_again():
    library = FakeLibrary()
    machine = Box(library=library)
    machine.arm_belt(150_000, None)
    assert library.handler not in (None, 0)
    assert machine.limits("RTTIME") == (150_000, UNLIMITED)
    machine.disarm_belt()
    assert library.handler is None
    assert machine.limits("RTTIME") == (UNLIMITED, UNLIMITED)


def test_rtkits_hard_limit_stays_because_limits_go_down_only():
    machine = Box()
    machine.arm_belt(150_000, 200_000)
    assert machine.limits("RTTIME") == (150_000, 200_000)
    machine.disarm_belt()
    assert machine.limits("RTTIME") == (200_000, 200_000)


def test_a_lower_hard_limit_is_never_raised():
    machine = Box(RTTIME=(90_000, 100_000))
    machine.arm_belt(150_000, 200_000)
    assert machine.limits("RTTIME") == (100_000, 100_000)
    machine.disarm_belt()
    assert machine.limits("RTTIME") == (90_000, 100_000)


def test_a_belt_is_tightened_again_after_the_signal_has_moved_it():
    machine = Box()
    machine.arm_belt(150_000, None)
    machine.given["RTTIME"] = (1_150_000, UNLIMITED)
    machine.arm_belt(150_000, None)
    assert machine.limits("RTTIME") == (150_000, UNLIMITED)
    machine.disarm_belt()
    assert machine.limits("RTTIME") == (UNLIMITED, UNLIMITED)


def test_somebody_elses_handler_is_left_in_its_place():
    library = FakeLibrary(handler=4711)
    with pytest.raises(Refused, match="handler"):
        Box(library=library).arm_belt(150_000, None)
    assert library.handler == 4711


def test_a_limit_of_computing_time_keeps_its_signal():
    library = FakeLibrary()
    with pytest.raises(Refused, match="RLIMIT_CPU"):
        Box(library=library, CPU=(60, 60)).arm_belt(150_000, None)
    assert library.handler is None


def test_a_limit_that_cannot_be_set_takes_the_handler_off_again():
    class Stubborn(Box):
        def set_limits(self, name, soft, hard):
            raise Refused("no")

    library = FakeLibrary()
    with pytest.raises(Refused):
        Stubborn(library=library).arm_belt(150_000, None)
    assert library.handler is None


# --- other systems ----------------------------------------------------------------------------------------------------


def test_a_system_that_can_do_nothing_says_so(monkeypatch):
    monkeypatch.setattr(system_module.sys, "platform", "darwin")
    system = this_system()
    assert type(system) is System
    for ask in (lambda: system.set_fifo(1, 1), lambda: system.set_cpus(1, (0,)), system.lock_memory):
        with pytest.raises(Refused):
            ask()
    assert system.priority_of(1) is None
    assert not system.has_rtkit()
