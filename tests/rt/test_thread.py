"""What compiled code says about its thread, and the handler that makes a thread ordinary."""

from __future__ import annotations

import ctypes
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
