"""Single keys, on a pseudo-terminal."""

from __future__ import annotations

import io
import os
import sys

import pytest

from rtmedia.cli.keys import Keys

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")


@pytest.fixture
def terminal(monkeypatch):
    """Master end, and a stream on the slave end, which belongs to us as far as `Keys` can tell."""
    master, slave = os.openpty()
    monkeypatch.setattr(Keys, "_foreground", staticmethod(lambda fd: True))
    with os.fdopen(slave, "r") as stream:
        yield master, stream
    os.close(master)


def modes(stream):
    import termios

    return termios.tcgetattr(stream.fileno())


def test_keys_come_one_by_one_without_a_line_feed(terminal):
    master, stream = terminal
    with Keys(stream) as keys:
        assert keys.active
        assert keys.read() == ""
        os.write(master, b" q")
        assert keys.read() == " q"


def test_the_terminal_is_given_back_as_it_was(terminal):
    _, stream = terminal
    before = modes(stream)

    def breaks():
        with Keys(stream):
            assert modes(stream) != before
            raise RuntimeError

    with pytest.raises(RuntimeError):
        breaks()
    assert modes(stream) == before


def test_ctrl_c_remains_a_signal(terminal):
    import termios

    _, stream = terminal
    with Keys(stream):
        assert modes(stream)[3] & termios.ISIG


@pytest.mark.parametrize("stream", [io.StringIO("q"), None], ids=["a text", "whatever pytest gives"])
def test_where_there_is_no_terminal_there_are_no_keys(stream):
    with Keys(stream) as keys:
        assert not keys.active
        assert keys.read() == ""


def test_a_job_in_the_background_leaves_the_terminal_alone(monkeypatch, terminal):
    _, stream = terminal
    monkeypatch.setattr(Keys, "_foreground", staticmethod(lambda fd: False))
    before = modes(stream)
    with Keys(stream) as keys:
        assert not keys.active
        assert modes(stream) == before
