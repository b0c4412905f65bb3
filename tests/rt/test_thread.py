"""What compiled code says about its thread, and the handler that makes a thread ordinary."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading

import pytest

from rtmedia.rt.thread import step_down, thread_id


@pytest.mark.skipif(
    sys.platform.startswith("linux") and platform.machine() not in ("x86_64", "aarch64"), reason="number of gettid not known"
)
def test_compiled_code_and_python_have_one_number_for_a_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append((thread_id(), threading.get_native_id())))
    thread.start()
    thread.join()
    assert found[0][0] == found[0][1]
    assert thread_id() == threading.get_native_id() != found[0][0]


def test_stepping_down_an_ordinary_thread_changes_nothing():
    """It is called as the system would call it: through its address, with a signal's number."""
    result = []

    def body():
        ctypes.CFUNCTYPE(None, ctypes.c_int)(step_down.address)(24)
        result.append(True)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert result == [True]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="scheduling classes of Linux")
def test_what_the_interrupted_code_finds_in_errno_is_its_own():
    """An idle thread without powers may not become an ordinary one, unless RLIMIT_NICE says so: the call inside fails."""
    result = []

    def body():
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        version_3, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        ctypes.CDLL(None).capset(version_3, nothing)  # of this thread alone
        ctypes.set_errno(4711)
        ctypes.CFUNCTYPE(None, ctypes.c_int, use_errno=True)(step_down.address)(24)
        result.append(ctypes.get_errno())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert result == [4711]
