"""Many engines, few threads: what is shared, how it begins and ends, and what is left of it (nothing)."""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from rtmedia.codec import codec_named
from rtmedia.errors import StateError
from rtmedia.ports import EPOCH_SHIFT, FLAG_NEW_EPOCH
from rtmedia.rooms import pool
from rtmedia.rooms.line import Line
from rtmedia.rooms.pool import ROOMS_PER_THREAD, Places, Seat, usable_cores
from rtmedia.rooms.table import Table
from rtmedia.rt.clock import now_ns

pytestmark = pytest.mark.live
RATE = 16_000
MS = 1_000_000


def ours():
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("rtm-"))


def until(condition, limit_s):
    deadline = time.monotonic() + limit_s
    waiting = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        waiting.wait(0.005)


@pytest.fixture(autouse=True)
def nothing_is_left(scaled):
    yield
    until(lambda: not ours(), scaled(5.0))
    assert pool._process.pool is None


class Player:
    """A line without an engine: in the pool, with a null sink, and a sender in the test's own thread."""

    def __init__(self):
        self.line = Line(rate_hz=RATE, channels=1, device_rate_hz=RATE, codec=codec_named("pcm_s16le"), effects=())
        self.seat = Seat(self.line)
        self.line.play.start_paced(np.zeros((160, 1), np.float32), 10 * MS, None)
        self.sent = 0

    def send(self):
        flags = FLAG_NEW_EPOCH | 1 << EPOCH_SHIFT if self.sent == 0 else 0
        sound = np.full(320, 8_000, "<i2").tobytes()
        assert self.line.decode.write(now_ns(), self.sent, self.sent * 20 * MS, flags, sound)
        self.sent += 1

    @property
    def played(self):
        return self.line.play.cell.read()[0]

    def stop(self, limit_s):
        assert self.line.play.stop_paced(limit_s)
        assert self.seat.leave(limit_s) == []


def test_twenty_lines_share_the_compiled_threads_and_all_are_heard(scaled):
    players = [Player() for _ in range(20)]
    try:
        assert ours() == ["rtm-decode", "rtm-play", "rtm-render", *["rtm-render-2"] * (usable_cores() > 1)]
        if sys.platform.startswith("linux"):
            assert set(pool.threads().values()) <= {int(name) for name in os.listdir("/proc/self/task")}
        assert {name for player in players for name in player.seat.threads()} == {"decode", "render"}
        until(lambda: [player.send() for player in players] and all(player.played > RATE // 5 for player in players), scaled(30.0))
        assert all(player.line.decode.state["received"][0] for player in players)
        assert all(player.seat.alive_ns()["render"] > 0 for player in players)
    finally:
        for player in players:
            player.stop(scaled(5.0))


def test_a_render_thread_more_is_begun_when_the_others_have_enough():
    places = [Places(("render", _idle_room(), None)) for _ in range(ROOMS_PER_THREAD)]
    assert ours() == ["rtm-render"]
    places += [Places(("render", _idle_room(), None)) for _ in range(2)]
    if usable_cores() > 1:
        assert ours() == ["rtm-render", "rtm-render-2"]
        assert places[-1].taken["render"][0] is places[-2].taken["render"][0]  # the one with fewer rooms
    for each in places:
        assert each.leave(5.0) == []


def _idle_room():
    """No room at all: an empty place, which the loop passes."""
    return 0


def test_lines_come_and_go_in_any_order_and_leave_no_thread_and_no_memory(scaled):
    chance, players, lines = random.Random(7), [], []
    for _ in range(50):
        if players and chance.random() < 0.5:
            players.pop(chance.randrange(len(players))).stop(scaled(5.0))
        else:
            players.append(Player())
            players[-1].send()
            lines.append(weakref.ref(players[-1].line))
    while players:
        players.pop(chance.randrange(len(players))).stop(scaled(5.0))
    assert ours() == []
    gc.collect()
    assert [line() for line in lines if line() is not None] == []


def test_leaving_twice_is_leaving_once(scaled):
    player, other = Player(), Player()
    player.stop(scaled(5.0))
    player.stop(scaled(5.0))
    assert "rtm-decode" in ours()
    other.stop(scaled(5.0))


def test_a_full_table_is_the_callers_to_know():
    table = Table(2)
    table.put(0, None)
    table.put(0, None)
    with pytest.raises(StateError, match="2 rooms"):
        table.put(0, None)
    assert len(table) == 2


def test_a_room_whose_loop_hangs_is_kept_and_reported():
    table = Table(2)  # nobody walks it: a loop that never comes round

    class Memory:
        pass

    memory = Memory()
    place, kept = table.put(8, memory), weakref.ref(memory)
    del memory
    table.part(place)
    assert not table.left(place, 0.01)
    gc.collect()
    assert kept() is not None
    assert len(table) == 0
    assert table.rooms[place] == 0
    assert table.put(16, None) != place


def test_a_thread_that_hangs_in_a_room_is_named_and_gets_no_other_room(scaled, monkeypatch):
    first, second = Player(), Player()
    with monkeypatch.context() as patched:
        patched.setattr(Table, "_reap", lambda self: None)  # as if the loops did not come round
        assert first.seat.leave(0.01) == ["rtm-decode", "rtm-render"]
        assert not first.line.play.stop_paced(0.01)
        third = Player()
        assert ours() == ["rtm-decode", "rtm-decode-2", "rtm-play", "rtm-play-2", "rtm-render", "rtm-render-2"]
    # They had only been late: what left is let go of, and they get rooms again.
    assert not any(walker.hangs for walker in pool._process.pool.walkers)
    until(lambda: third.send() or third.played > 0, scaled(10.0))
    third.stop(scaled(5.0))
    second.stop(scaled(5.0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_of_fork_has_no_pool_and_may_make_one(scaled):
    player = Player()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            fresh = pool.threads() == {}
            player.stop(1.0)  # the parent's: nothing to wait for
            own = Player()
            own.send()
            until(lambda: own.line.decode.state["received"][0] == 1, scaled(10.0))
            own.stop(scaled(5.0))
            code = 0 if fresh else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    player.stop(scaled(5.0))


def test_a_thread_that_cannot_be_started_leaves_nothing_behind(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    line = Line(rate_hz=RATE, channels=1, device_rate_hz=RATE, codec=codec_named("pcm_s16le"), effects=())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            Seat(line)
    assert pool._process.pool is None
