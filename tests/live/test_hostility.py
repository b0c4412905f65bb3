"""The hostile host does what it says, and takes it all back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live import hostility
from tests.live.hostility import Hostility

NEVER_S = 30.0
ROOT = Path(__file__).resolve().parents[2]


def wait_until(true, timeout_s=NEVER_S):
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.002)


def state_of(pid):
    """``T`` is stopped; the name before it, in brackets, may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_memory_is_taken_in_steps_and_given_back(monkeypatch):
    monkeypatch.setattr(hostility, "STEP_MIB", 1)
    host = Hostility(allocate_mib=3)
    host.begin()
    wait_until(lambda: host.allocated_mib == 3)
    host.end()
    assert host.holds >= 3


def test_where_memory_is_short_less_is_taken(monkeypatch):
    monkeypatch.setattr(hostility, "STEP_MIB", 1)
    monkeypatch.setattr(hostility, "available_mib", lambda: 4)
    host = Hostility(allocate_mib=64)
    host.begin()
    wait_until(lambda: host.holds >= 4)
    host.end()
    assert host.allocated_mib == 2


def test_neighbours_run_as_nicely_as_they_were_told_and_leave():
    host = Hostility(neighbours=1, niceness=7)
    host.begin()
    (process,) = host._processes
    try:
        if hasattr(os, "getpriority"):
            own = os.getpriority(os.PRIO_PROCESS, 0)
            wait_until(lambda: os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, own + 7))
    finally:
        host.end()
    assert process.returncode is not None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_stopped_process_goes_on_afterwards():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        host = Hostility(stop_ms=50, stop_every_s=0.01, pid=process.pid)
        host.begin()
        try:
            wait_until(lambda: state_of(process.pid) == "T")
        finally:
            host.end()
        assert state_of(process.pid) != "T"
        process.kill()
    assert host.holds >= 1


KILLED = """\
import sys, time
from tests.live.hostility import Hostility
host = Hostility(**{what!r})
host.begin()
while not host.holds and host.stop_ms:
    time.sleep(0.001)
print("begun", flush=True)
time.sleep(600)
"""


def begun(what):
    """A process that has begun to be hostile."""
    process = subprocess.Popen([sys.executable, "-c", KILLED.format(what=what)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"begun"
    return process


def test_neighbours_go_with_whoever_began_them_however_that_ends(scaled):
    process = begun({"neighbours": 2})
    process.kill()
    # They have its standard output, too: it ends with the last of them.
    assert process.communicate(timeout=scaled(NEVER_S))[0] == b""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_stopped_process_goes_on_where_whoever_stopped_it_was_killed():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stopped:
        try:
            process = begun({"stop_ms": 600_000, "stop_every_s": 0.01, "pid": stopped.pid})
            wait_until(lambda: state_of(stopped.pid) == "T")
            process.kill()
            process.communicate()
            wait_until(lambda: state_of(stopped.pid) != "T")
        finally:
            stopped.kill()
