"""The live driver: real threads, the null sink, a media server of our own or none that deserves the name."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from rtmedia import Config, Engine
from rtmedia.config import Credentials, Jitter
from rtmedia.dsp.gain import Gain
from rtmedia.engine import TRANSITIONS
from rtmedia.errors import AuthError, ConfigError, RtmediaError, SinkError, SourceError, StateError
from rtmedia.events import Connected, StateChanged, StreamEnded, Transcript
from rtmedia.io import sinks
from rtmedia.io.paced import NullSink

pytestmark = pytest.mark.live

SECRET = "s3cr3t-sentinel-7f1c"
STOP_S = 2.0


def quiet(source="loopback:?loop=1", **changes):
    return Config(**({"source": source, "sink": "null", "metrics_interval_s": 0, "effects": (), "reconnect": 0} | changes))


def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("rtm-")]


@pytest.fixture(autouse=True)
def nothing_is_left_behind(scaled):
    """No thread outlives its engine."""
    yield
    deadline = time.monotonic() + scaled(2.0)
    for thread in ours():
        thread.join(max(0.0, deadline - time.monotonic()))
    assert [thread.name for thread in ours()] == []


@contextmanager
def listening(answer=b""):
    """A TCP server that takes connections, says `answer`, and nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []

        def accept():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                taken.append(connection)
                if answer:
                    connection.recv(65_536)
                    connection.sendall(answer)
                    connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.getsockname()[1]}/media"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            server.close()
            for connection in taken:
                connection.close()
            thread.join()


def stopped_in_time(engine, scaled, call="stop"):
    began = time.monotonic()
    getattr(engine, call)()
    assert time.monotonic() - began <= scaled(STOP_S)
    assert engine.state in ("closed", "failed")


def until(condition, limit_s):
    """Wait for a condition that another thread brings about."""
    deadline = time.monotonic() + limit_s
    waiting = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        waiting.wait(0.005)


def test_the_table_of_states_is_closed():
    assert set(TRANSITIONS) == {state for after in TRANSITIONS.values() for state in after} | {"idle"}
    assert TRANSITIONS["closed"] == TRANSITIONS["failed"] == ()


def test_making_an_engine_starts_nothing_and_stopping_it_closes_it():
    engine = Engine(quiet())
    assert (engine.state, ours()) == ("idle", [])
    for call in ("pause", "resume"):
        with pytest.raises(StateError, match="idle"):
            getattr(engine, call)()
    with pytest.raises(StateError, match="update"):
        engine.update(gain_db=3.0)
    engine.stop()
    engine.stop()
    assert engine.state == "closed"
    with pytest.raises(StateError, match="closed"):
        engine.start()
    assert [event.after for event in engine.events()] == ["closed"]


def test_a_life_with_pauses_updates_captions_and_a_stop(scaled):
    with Engine(quiet(effects=(Gain(0.0),))) as engine:
        assert engine.state == "running"
        with pytest.raises(StateError):
            engine.start()
        until(lambda: engine.stats().frames_played_total > 4_000, scaled(5.0))
        engine.pause()
        engine.pause()
        assert engine.state == "paused"
        engine.resume()
        engine.resume()
        assert engine.state == "running"
        engine.update(gain_db=-6.0, effects=(Gain(-3.0),))
        engine.update(settings={"gain": {"gain_db": -2.0}}, bypass=("gain",))
        assert engine.effects == (Gain(-2.0),)
        assert engine.stats().bypassed == ("gain",)
        assert list(engine.stats().chain_ms) == ["gain", "resampler", "limiter"]
        with pytest.raises(ConfigError):
            engine.update(effects=())
        with pytest.raises(ConfigError):
            engine.update(gain_db=float("nan"))
        spoken = next(event for event in engine.events(timeout_s=scaled(10.0)) if isinstance(event, Transcript))
        assert abs(spoken.skew_ms) < 100.0 * scaled(1.0)
        running = engine.stats()
        stopped_in_time(engine, scaled)
        stopped_in_time(engine, scaled)
        stopped_in_time(engine, scaled, "abort")
    after = engine.stats()
    assert after.state == "closed"
    assert after.frames_played_total >= running.frames_played_total
    assert after == engine.stats()
    assert engine.wait(0)
    states = [event.after for event in engine.events() if isinstance(event, StateChanged)]
    assert states[-2:] == ["stopping", "closed"]


def test_the_end_of_the_stream_closes_the_engine_after_the_last_word(scaled, tmp_path):
    from tests.test_simulation import write_speech

    engine = Engine(quiet(f"loopback:?speech={write_speech(tmp_path / 's.wav', 1.0)}"))
    with engine:
        events = list(engine.events(timeout_s=scaled(10.0)))
    assert engine.state == "closed"
    kinds = [type(event) for event in events]
    assert StreamEnded in kinds
    assert Connected in kinds
    assert [event.after for event in events if isinstance(event, StateChanged)] == ["starting", "running", "stopping", "closed"]
    assert engine.stats().frames_played_total >= 16_000
    assert engine.stats().concealed_ms_total < 200.0


def test_many_threads_may_stop_at_once(scaled):
    engine = Engine(quiet())
    engine.start()
    threads = [threading.Thread(target=engine.stop if i % 2 else engine.abort) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(scaled(STOP_S))
        assert not thread.is_alive()
    assert engine.state == "closed"


def test_a_refused_connection_is_raised_by_start(scaled):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    engine = Engine(quiet(f"ws://127.0.0.1:{port}/media?access_token={SECRET}"))
    with pytest.raises(SourceError) as caught:
        engine.start()
    assert SECRET not in str(caught.value)
    assert engine.state == "failed"
    with pytest.raises(SourceError):
        engine.wait(scaled(1.0))
    with pytest.raises(SourceError):
        list(engine.events(timeout_s=0.1))
    stopped_in_time(engine, scaled)


@pytest.mark.parametrize(("status", "kind"), [(401, AuthError), (403, AuthError), (404, SourceError)])
def test_a_server_that_refuses_us_is_raised_by_start(status, kind):
    answer = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    with listening(answer) as url, pytest.raises(kind):
        Engine(quiet(url)).start()


def test_a_token_that_is_refused_is_raised_by_start():
    with pytest.raises(AuthError):
        Engine(quiet("loopback:?token_status=401")).start()


def test_a_sink_that_cannot_be_used_is_raised_by_start_before_any_thread():
    engine = Engine(quiet(sink="wav:/nonexistent/directory/file.wav"))
    with pytest.raises(SinkError):
        engine.start()
    assert engine.state == "failed"
    assert ours() == []
    engine.stop()


def test_an_unknown_loopback_setting_is_the_callers_mistake():
    with pytest.raises(ConfigError, match="nonsense"):
        Engine(quiet("loopback:?nonsense=1")).start()


def test_a_server_that_never_answers_does_not_delay_the_stop(scaled):
    with listening() as url:
        engine = Engine(quiet(url, handshake_timeout_s=60.0))
        starting = threading.Thread(target=_start, args=(engine,))
        starting.start()
        until(lambda: engine.state == "running", scaled(20.0))
        stopped_in_time(engine, scaled)
        starting.join(scaled(2.0))
        assert not starting.is_alive()


def _start(engine):
    with contextlib.suppress(RtmediaError):
        engine.start()


def test_a_stop_during_the_start_ends_the_start(scaled):
    engine = Engine(quiet())
    starting = threading.Thread(target=_start, args=(engine,))
    starting.start()
    until(lambda: engine.state != "idle", scaled(2.0))
    with pytest.raises(StateError):
        engine.resume()
    engine.abort()
    starting.join(scaled(35.0))
    assert not starting.is_alive()
    assert engine.state in ("closed", "failed")


class StuckSink(NullSink):
    """Its stop takes longer than anybody has."""

    release = threading.Event()

    def stop(self, timeout_s):
        super().stop(timeout_s)
        self.release.wait(30.0)
        return True


class RaisingSink(NullSink):
    def stop(self, timeout_s):
        super().stop(timeout_s)
        raise OSError("the driver is gone")


@pytest.mark.parametrize("kind", [StuckSink, RaisingSink])
def test_a_sink_that_does_not_stop_keeps_nobody(kind, scaled, monkeypatch, caplog):
    monkeypatch.setattr(sinks, "make_sink", lambda spec, device=None: kind())
    engine = Engine(quiet())
    engine.start()
    try:
        stopped_in_time(engine, scaled)
        assert any("sink null" in message for message in caplog.messages)
    finally:
        StuckSink.release.set()
    assert engine.wait(0)


def test_engines_share_their_threads_and_end_in_any_order(scaled):
    from rtmedia.sim.loopback import LoopbackServer

    with LoopbackServer("loop=1") as server:
        credentials = Credentials(server.client_id, server.client_secret, token_url=server.token_url)
        engines = [Engine(quiet(server.media_url, credentials=credentials)) for _ in range(6)]
        for engine in engines:
            engine.start()
        shared = [thread.name for thread in ours() if thread.name in ("rtm-decode", "rtm-render", "rtm-play", "rtm-control")]
        assert sorted(shared) == ["rtm-control", "rtm-decode", "rtm-play", "rtm-render"]
        for engine in (engines[3], engines[0]):
            until(lambda engine=engine: engine.stats().frames_played_total > 1_600, scaled(20.0))
            engine.stop()
            assert engine.state == "closed"
        late = Engine(quiet(server.media_url, credentials=credentials))
        late.start()
        for engine in (late, engines[5], engines[1], engines[2], engines[4]):
            until(lambda engine=engine: engine.stats().frames_played_total > 1_600, scaled(20.0))
            engine.stop()
            assert engine.state == "closed"
    assert not [engine for engine in engines if engine._left_behind]


def test_an_owner_that_never_reads_events_keeps_a_bounded_number(scaled):
    with Engine(quiet()) as engine:
        for _ in range(11_000):
            engine._emit(StateChanged(0, "a", "b"))
        assert len(engine._events) == 10_000
        stopped_in_time(engine, scaled)


def test_what_breaks_in_a_room_fails_the_engine_and_reaches_its_owner(scaled, monkeypatch):
    from rtmedia.rooms.control import Control

    monkeypatch.setattr(Control, "poll", lambda self, now_ns: 1 / 0)
    engine = Engine(quiet())

    def live():
        engine.start()
        engine.wait(scaled(5.0))  # where the failure came after the start

    with pytest.raises(RtmediaError, match="control thread ended by ZeroDivisionError"):
        live()
    assert engine.state == "failed"


def test_an_exception_in_the_with_body_ends_everything():
    with pytest.raises(KeyError), Engine(quiet()) as engine:
        raise KeyError("the owner's own")
    assert engine.state == "closed"


def test_no_secret_is_ever_seen(scaled, caplog):
    caplog.set_level(logging.DEBUG)
    from rtmedia.sim.loopback import LoopbackServer

    with LoopbackServer("loop=1") as server:
        credentials = Credentials(server.client_id, server.client_secret, token_url=server.token_url)
        config = quiet(f"{server.media_url}?trace={SECRET}", credentials=credentials, metrics_interval_s=0.05, jitter=Jitter())
        seen = []
        with Engine(config) as engine:
            until(lambda: engine.stats().packets_received_total > 20, scaled(5.0))
            seen += [repr(config), repr(engine), repr(engine.stats()), str(engine.stats().as_dict())]
        seen += [repr(event) for event in engine.events()]
        seen += [record.getMessage() for record in caplog.records if record.name.startswith("rtmedia")]
    assert len(seen) > 8
    for text in seen:
        assert SECRET not in text
        assert server.client_secret not in text
        assert "access_token" not in text
