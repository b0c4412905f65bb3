"""Priorities: raised where the system allows it, ordinary where it does not, and never on anybody else's thread."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from rtmedia.io import priority

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux raises single threads")


def on_a_thread(body):
    result = []
    thread = threading.Thread(target=lambda: result.append(body()))
    thread.start()
    thread.join()
    return result[0]


def test_only_the_calling_thread_is_raised():
    before = os.sched_getscheduler(0)
    said, policy = on_a_thread(lambda: (priority.raise_this_thread(), os.sched_getscheduler(0)))
    assert (said == "realtime") == (policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR)
    assert os.sched_getscheduler(0) == before


def test_a_system_that_refuses_is_no_error(monkeypatch):
    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", refuse)
    assert priority.raise_this_thread() == ""
