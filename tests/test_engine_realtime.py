"""Real-time settings through an engine: refused, granted, given back; the sound goes on whatever the machine answers."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from rtmedia import Config, Engine, Realtime
from rtmedia.events import Problem
from rtmedia.realtime import grants as grants_module
from rtmedia.realtime.grants import Grants
from rtmedia.realtime.process import Process
from rtmedia.realtime.system import Linux, Refused
from rtmedia.rooms import pool
from tests.realtime.fakes import FakeKit, FakeSystem

pytestmark = pytest.mark.live

EVERYTHING = Realtime(scheduling="auto", lock_memory=True, cpus=(0,), switch_interval_ms=1, freeze_gc=True)
THREADS = {"decode", "render", "play"}


def quiet(realtime):
    return Config(source="loopback:?loop=1", sink="null", metrics_interval_s=0, effects=(), realtime=realtime)


@pytest.fixture
def machine(monkeypatch):
    """``machine(system)``: what an engine finds itself on."""

    def put(system):
        monkeypatch.setattr(grants_module, "this_process", lambda: process)
        monkeypatch.setattr(grants_module, "RealtimeKit", lambda: FakeKit(absent="nobody there"))
        process = Process(system)
        return system

    return put


def until(condition, scaled, limit_s=10.0):
    deadline = time.monotonic() + scaled(limit_s)
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_what_is_refused_is_an_event_a_statistic_and_no_exception(machine, scaled, caplog):
    machine(FakeSystem(set_fifo="no budget", set_cpus="no", lock_memory="no", set_switch_interval="no", freeze_gc="no"))
    with Engine(quiet(EVERYTHING)) as engine:
        until(lambda: "cpus.play" in engine.stats().realtime, scaled)
        until(lambda: engine.stats().frames_played_total > 0, scaled)
        said = engine.stats().realtime
    problems = [event for event in engine.events() if isinstance(event, Problem) and event.kind == "realtime"]
    assert set(said) == {*(f"{what}.{name}" for what in ("scheduling", "cpus") for name in THREADS), "memory", "gc", "switch_interval"}
    assert all(answer.startswith("refused: ") for answer in said.values())
    assert len(problems) == 3  # the process's, the rooms', the device's
    assert "scheduling.decode, scheduling.render refused: no budget; RealtimeKit: nobody there" in problems[1].message
    assert "no budget" in caplog.text
    assert engine.stats().realtime == said


def test_what_is_granted_is_told_and_given_back(machine, scaled):
    system = machine(FakeSystem())
    with Engine(quiet(EVERYTHING)) as engine:
        until(lambda: "cpus.play" in engine.stats().realtime, scaled)
        assert len(system.priorities) == 3
        assert threading.get_native_id() not in system.priorities
        assert system.locked
    assert all(answer.startswith("granted ") for answer in engine.stats().realtime.values())
    assert [event for event in engine.events() if isinstance(event, Problem)] == []
    assert (system.locked, system.frozen, system.interval_s) == (0, 0, 0.005)
    assert system.asked("disarm_belt")


def test_threads_that_go_on_for_an_engine_that_did_not_ask_are_ordinary_again(machine, scaled):
    system = machine(FakeSystem())
    with Engine(quiet(None)) as other:
        with Engine(quiet(Realtime(scheduling="fifo"))) as engine:
            until(lambda: "scheduling.play" in engine.stats().realtime, scaled)
            assert sorted(system.priorities.values()) == [8, 9, 10]
            assert set(pool.threads().values()) == set(system.priorities)
        assert set(pool.threads().values()) == set(system.priorities)
        assert set(system.priorities.values()) == {0}
        assert system.calls[-1] == ("disarm_belt",)
        played = other.stats().frames_played_total
        until(lambda: other.stats().frames_played_total > played, scaled)


def test_a_loss_while_playing_is_told(machine, scaled):
    system = machine(FakeSystem())
    with Engine(quiet(Realtime(scheduling="fifo"))) as engine:
        until(lambda: "scheduling.play" in engine.stats().realtime, scaled)
        system.priorities = dict.fromkeys(system.priorities, 0)
        until(lambda: engine.stats().realtime["scheduling.render"].startswith("lost: "), scaled)
    assert any(isinstance(event, Problem) and "lost" in event.message for event in engine.events())


def test_an_engine_that_fails_to_start_gives_everything_back(machine, monkeypatch):
    system = machine(FakeSystem())

    def broken(self, threads):
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(Grants, "apply", broken)
    with pytest.raises(ZeroDivisionError):
        Engine(quiet(EVERYTHING)).start()
    assert (system.locked, system.frozen, system.interval_s) == (0, 0, 0.005)


def test_an_engine_that_asks_for_nothing_asks_nobody(machine):
    system = machine(FakeSystem())
    with Engine(quiet(Realtime())) as engine:
        assert engine.stats().realtime == {}
    assert system.calls == []


@pytest.fixture
def granting():
    """A Linux that makes a thread of ours real-time."""
    if not sys.platform.startswith("linux"):
        pytest.skip("SCHED_FIFO is Linux's")
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        Linux().set_fifo(thread.native_id, 3)
    except Refused as exc:
        pytest.skip(f"not granted here: {exc}")
    finally:
        over.set()
        thread.join()


@pytest.mark.usefixtures("granting")
def test_on_this_machine_the_threads_are_real_time_while_they_play(scaled):
    import resource

    before = resource.getrlimit(resource.RLIMIT_RTTIME)
    with Engine(quiet(Realtime(scheduling="fifo", priority=3, switch_interval_ms=1))) as engine:
        until(lambda: "scheduling.play" in engine.stats().realtime, scaled)
        policies = {os.sched_getscheduler(int(task)) for task in os.listdir("/proc/self/task")}
        assert policies == {0, 0x40000000 | os.SCHED_FIFO}
        assert resource.getrlimit(resource.RLIMIT_RTTIME)[0] == 150_000
        until(lambda: engine.stats().frames_played_total > 0, scaled)
    assert engine.stats().realtime["scheduling.play"] == "granted SCHED_FIFO 3"
    assert resource.getrlimit(resource.RLIMIT_RTTIME) == before
    assert {os.sched_getscheduler(int(task)) for task in os.listdir("/proc/self/task")} == {0}


@pytest.mark.usefixtures("granting")
def test_on_this_machine_shared_threads_are_ordinary_before_the_belt_comes_off(scaled):
    import resource

    before = resource.getrlimit(resource.RLIMIT_RTTIME)
    with Engine(quiet(None)):
        with Engine(quiet(Realtime(scheduling="fifo", priority=3))) as engine:
            until(lambda: "scheduling.play" in engine.stats().realtime, scaled)
            threads = pool.threads().values()
            assert {os.sched_getscheduler(thread) for thread in threads} == {0x40000000 | os.SCHED_FIFO}
        assert {os.sched_getscheduler(thread) for thread in threads} == {0x40000000 | os.SCHED_OTHER}
        assert resource.getrlimit(resource.RLIMIT_RTTIME) == before
