"""The loop between engine and view, with an engine that does as it is told."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from rtmedia.cli.logs import Mailbox, logging_to
from rtmedia.cli.session import Session
from rtmedia.errors import ConfigError, SinkError, SourceError, StateError
from rtmedia.events import StreamEnded, Transcript
from rtmedia.stats import Stats

PATIENCE_S = 20.0


class FakeEngine:
    """The calls of an engine, without sound: events wait in a list, `end` ends it."""

    def __init__(self, events=(), start_error=None, ends_by_itself=False):
        self.config = SimpleNamespace(gain_db=0.0, bypass=())
        self.effects = ()
        self.state = "idle"
        self.calls = []
        self._events = list(events)
        self._start_error = start_error
        self._ends_by_itself = ends_by_itself
        self._changed = threading.Condition()
        self._failure = None

    def start(self):
        self.calls.append("start")
        if self._start_error is not None:
            self._failure, self.state = self._start_error, "failed"
            raise self._start_error
        self.state = "running"
        if self._ends_by_itself:
            self.end()

    def end(self, failure=None):
        with self._changed:
            self._failure, self.state = failure, "failed" if failure else "closed"
            self._changed.notify_all()

    def stop(self):
        self.calls.append("stop")
        self._events.append(StreamEnded(0, "what was here has been played"))
        self.end()

    def abort(self):
        self.calls.append("abort")
        self.end()

    def pause(self):
        self.calls.append("pause")
        self.state = "paused"

    def resume(self):
        self.calls.append("resume")
        self.state = "running"

    def update(self, *, gain_db=0.0, bypass=None):
        if bypass is not None:
            self.calls.append(f"bypass {','.join(bypass)}")
            return
        if gain_db > 2:
            raise ConfigError("gain_db is 3; it must lie between -60 and 2")
        self.calls.append(f"gain {gain_db:g}")

    def events(self, timeout_s=None):
        while self._events:
            yield self._events.pop(0)
        with self._changed:
            if self.state not in ("closed", "failed"):
                self._changed.wait(timeout_s)

    def wait(self, timeout_s=None):
        if self._failure is not None:
            raise self._failure
        return self.state in ("closed", "failed")

    def stats(self):
        return Stats(state=self.state)


class Recorder:
    """A view that remembers; `on_tick` is what the user does while looking."""

    def __init__(self, on_tick=lambda view: None):
        self.events, self.logs, self.said, self.ticks, self.finished, self.closed = [], [], [], 0, None, 0
        self._on_tick = on_tick

    def open(self): ...

    def event(self, event):
        self.events.append(event)

    def log(self, level, line):
        self.logs.append(line)

    def say(self, text):
        self.said.append(text)

    def tick(self, stats, now_s):
        self.ticks += 1
        assert self.ticks < PATIENCE_S * 20, "the session does not end"
        self._on_tick(self)

    def finish(self, stats, error):
        self.finished = (stats, error)

    def close(self):
        self.closed += 1


def pressing(session, *keys):
    """Let the session find one key at each look."""
    waiting = list(keys)
    session._keys = SimpleNamespace(__enter__=None)

    class Pressed:
        def __enter__(self):
            return self

        def __exit__(self, *_): ...

        def read(self):
            return waiting.pop(0) if waiting else ""

    session._keys = Pressed()
    return session


WORDS = Transcript(0, "Hello", 0.9, 300)


def test_a_session_ends_when_the_engine_does_and_shows_every_event():
    view = Recorder()
    stats = Session(FakeEngine([WORDS, WORDS], ends_by_itself=True), view, keys=False).run()
    assert view.events == [WORDS, WORDS]
    assert stats.state == "closed"
    assert view.finished[1] is None
    assert view.closed


def test_keys_pause_resume_change_the_gain_and_end():
    engine, view = FakeEngine(), Recorder()
    pressing(Session(engine, view), " ", " ", "+", "-", "q").run()
    assert engine.calls == ["start", "pause", "resume", "gain 1", "gain 0", "stop"]
    assert view.said == ["gain +1 dB", "gain +0 dB"]


def test_a_gain_beyond_its_limit_is_told_and_changes_nothing():
    engine, view = FakeEngine(), Recorder()
    pressing(Session(engine, view), "+++-", "q").run()
    assert engine.calls == ["start", "gain 1", "gain 2", "gain 1", "stop"]
    assert "must lie between" in view.logs[0]


@pytest.mark.parametrize(
    ("begun", "calls"),
    [
        ((), ["bypass gate,compressor", "bypass "]),
        (("gate",), ["bypass gate,compressor", "bypass gate"]),
        (("gate", "compressor"), ["bypass ", "bypass gate,compressor"]),
    ],
)
def test_one_key_switches_the_effects_off_and_back(begun, calls):
    engine, view = FakeEngine(), Recorder()
    engine.config.bypass = begun
    engine.effects = tuple(SimpleNamespace(name=name) for name in ("gate", "compressor"))
    pressing(Session(engine, view), "e", "e", "q").run()
    assert engine.calls == ["start", *calls, "stop"]
    assert set(view.said) == {"effects off", "effects on"}


def test_without_effects_there_is_nothing_to_switch():
    engine, view = FakeEngine(), Recorder()
    pressing(Session(engine, view), "e", "q").run()
    assert engine.calls == ["start", "stop"]
    assert view.said == ["no effects"]


def test_a_duration_stops_the_engine():
    engine = FakeEngine()
    Session(engine, Recorder(), duration_s=0.25, keys=False).run()
    assert engine.calls == ["start", "stop"]


def test_the_end_that_we_asked_for_is_not_said_to_be_the_servers():
    engine, view = FakeEngine(), Recorder()
    pressing(Session(engine, view), "q").run()
    assert view.events == []


@pytest.mark.parametrize("error", [SinkError("busy", kind="busy"), ConfigError("wrong")])
def test_a_start_that_fails_is_shown_and_raised(error):
    view = Recorder()
    with pytest.raises(type(error)):
        Session(FakeEngine(start_error=error), view, keys=False).run()
    assert view.finished[1] is error
    assert view.closed


def test_a_failure_in_the_middle_is_shown_and_raised():
    engine = FakeEngine()
    view = Recorder(on_tick=lambda view: engine.end(SourceError("gone")))
    with pytest.raises(SourceError):
        Session(engine, view, keys=False).run()
    assert isinstance(view.finished[1], SourceError)


def test_whoever_leaves_before_the_start_is_not_scolded():
    engine = FakeEngine(start_error=StateError("start was called while closed"))
    session = Session(engine, Recorder(), keys=False)
    session._asked_s = time.monotonic()
    assert session.run().state == "failed"


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as on POSIX")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_in_order_and_is_given_back_afterwards(signum):
    before = signal.getsignal(signum)
    engine = FakeEngine()

    def once(view):
        if view.ticks == 2:
            os.kill(os.getpid(), signum)

    Session(engine, Recorder(on_tick=once), keys=False).run()
    assert engine.calls == ["start", "stop"]
    assert signal.getsignal(signum) is before


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as on POSIX")
def test_a_second_signal_ends_at_once():
    engine = FakeEngine()
    engine.stop = lambda: engine.calls.append("stop")  # hangs

    def impatient(view):
        if view.ticks in (2, 5):
            os.kill(os.getpid(), signal.SIGINT)

    Session(engine, Recorder(on_tick=impatient), keys=False).run()
    assert engine.calls == ["start", "stop", "abort"]


def test_a_view_that_breaks_still_ends_the_engine_and_closes():
    engine = FakeEngine()

    def breaks(view):
        raise OSError("the terminal is gone")

    view = Recorder(on_tick=breaks)
    with pytest.raises(OSError, match="gone"):
        Session(engine, view, keys=False).run()
    assert engine.calls[-1] == "abort"
    assert view.closed


def test_log_lines_go_through_the_view():
    engine = FakeEngine()

    def logs(view):
        if view.ticks == 1:
            logging.getLogger("rtmedia.metrics").info("%s", '{"state": "running"}')
            logging.getLogger("rtmedia").error("the engine failed: %s", SourceError("gone"))  # the last line says it
            engine.end()

    view = Recorder(on_tick=logs)
    Session(engine, view, log_level="info", keys=False).run()
    assert [line.partition("rtmedia.metrics: ")[2] for line in view.logs] == ['{"state": "running"}']


def test_a_mailbox_keeps_the_newest_and_never_waits():
    mailbox = Mailbox(size=3)
    with logging_to(mailbox, "info"):
        for number in range(10):
            logging.getLogger("rtmedia").info("line %d", number)
    mailbox.emit(logging.LogRecord("rtmedia", logging.INFO, "", 0, "wrong %d", ("argument",), None))
    logging.getLogger("rtmedia").info("not any more")
    assert [line.rpartition(": ")[2] for _, line in mailbox.take()] == ["line 8", "line 9", "'wrong %d'"]


def test_an_unknown_log_level_is_a_usage_error():
    with pytest.raises(ConfigError, match="loud"), logging_to(Mailbox(), "loud"):
        pass
