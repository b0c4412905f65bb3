"""What was begun in a group ends with it, whatever its processes think of that."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from contextlib import contextmanager

import pytest

from rtmedia.cli import group as module
from rtmedia.cli.group import Group

#: Says that it is there by a connection, which the system closes when it ends.
CHILD = """\
import signal, socket, sys, time
for name in {deaf!r}:
    signal.signal(getattr(signal, name), signal.SIG_IGN)
there = socket.create_connection(("127.0.0.1", {port}))
there.sendall(b"x")
time.sleep(600)
"""
PARENT = """\
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {child!r}])
{then}
"""
WAITS = "time.sleep(600)"
TIDIES = """\
try:
    time.sleep(600)
finally:
    child.kill()
    print("tidied", flush=True)
"""


@contextmanager
def family(scaled, then, deaf=()):
    """A group with a child of its own, the connection that says whether that one lives, and what was printed."""
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryFile() as output:
        listener.settimeout(scaled(60.0))
        child = CHILD.format(deaf=tuple(deaf), port=listener.getsockname()[1])
        group = Group([sys.executable, "-c", PARENT.format(child=child, then=then)], os.environ, output)
        try:
            there, _ = listener.accept()
            with there:
                there.settimeout(scaled(60.0))
                assert there.recv(1) == b"x"
                yield group, there, output
        finally:
            group.end()


def has_ended(there):
    try:
        return there.recv(1) == b""
    except ConnectionResetError:
        return True


def test_one_that_is_interrupted_takes_apart_what_it_has_begun(scaled):
    with family(scaled, TIDIES) as (group, there, output):
        group.end(scaled(60.0))
        assert has_ended(there)
        output.seek(0)
        if sys.platform != "win32":
            assert b"tidied" in output.read()


@pytest.mark.parametrize("deaf", [(), ("SIGINT",), ("SIGINT", "SIGTERM")], ids=["hears", "deaf to Ctrl-C", "deaf"])
def test_children_do_not_outlive_one_that_cares_for_none(scaled, deaf, monkeypatch):
    monkeypatch.setattr(module, "_ASKED_S", 0.2)
    with family(scaled, WAITS, deaf) as (group, there, _):
        group.end()
        assert has_ended(there)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows finds children through a parent that is there")
def test_children_do_not_outlive_one_that_has_ended_by_itself(scaled):
    with family(scaled, "pass") as (group, there, _):
        group.process.wait(scaled(60.0))
        group.end()
        group.end()
        assert has_ended(there)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX's signals")
def test_who_has_had_enough_while_it_ends_leaves_nobody_behind(scaled, monkeypatch):
    def enough(self, timeout_s):
        raise KeyboardInterrupt

    monkeypatch.setattr(Group, "_wait", enough)
    with family(scaled, "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); " + WAITS, ("SIGINT", "SIGTERM")) as found:
        group, there, _ = found
        with pytest.raises(KeyboardInterrupt):
            group.end()
        assert group.process.returncode is not None
        assert has_ended(there)
