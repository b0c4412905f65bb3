"""Windows's calls, with a library that answers as its documentation says."""

from __future__ import annotations

import pytest

from rtmedia.realtime.system import Refused
from rtmedia.realtime.windows import Windows


class FakeKernel32:
    def __init__(self, *, opens=1, sets=1):
        self.opens, self.sets = opens, sets
        self.calls = []
        self.open = 0
        self.priority = 0

    def OpenThread(self, access, inherit, thread):
        self.open += bool(self.opens)
        return 99 if self.opens else 0

    def CloseHandle(self, handle):
        self.open -= 1

    def SetThreadPriority(self, handle, priority):
        self.calls.append(("priority", priority))
        self.priority = priority
        return self.sets

    def GetThreadPriority(self, handle):
        return self.priority

    def SetThreadAffinityMask(self, handle, mask):
        self.calls.append(("mask", mask))
        return self.sets


def test_a_thread_is_made_time_critical_and_its_handle_closed():
    library = FakeKernel32()
    windows = Windows(library)
    assert windows.set_fifo(7, 10) == "THREAD_PRIORITY_TIME_CRITICAL"
    assert library.calls == [("priority", 15)]
    assert windows.priority_of(7) == 15
    windows.step_down(7)
    assert windows.priority_of(7) == 0
    assert library.open == 0


def test_cores_become_a_mask():
    library = FakeKernel32()
    assert Windows(library).set_cpus(7, (2, 0)) == (0, 2)
    assert library.calls == [("mask", 0b101)]
    assert library.open == 0


@pytest.mark.parametrize(
    "ask",
    [
        lambda: Windows(FakeKernel32(opens=0)).set_fifo(7, 10),
        lambda: Windows(FakeKernel32(sets=0)).set_fifo(7, 10),
        lambda: Windows(FakeKernel32(sets=0)).step_down(7),
        lambda: Windows(FakeKernel32(sets=0)).set_cpus(7, (1,)),
        lambda: Windows(FakeKernel32()).set_cpus(7, (64,)),
        lambda: Windows(FakeKernel32()).lock_memory(),
    ],
)
def test_what_fails_is_a_refusal(ask):
    with pytest.raises(Refused):
        ask()


def test_a_thread_that_has_gone_has_no_priority():
    library = FakeKernel32(opens=0)
    assert Windows(library).priority_of(7) is None
    library = FakeKernel32()
    library.priority = 0x7FFFFFFF  # THREAD_PRIORITY_ERROR_RETURN
    assert Windows(library).priority_of(7) is None
