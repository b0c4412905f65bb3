"""The receive room on one thread, with a clock that a test moves."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

from rtmedia.errors import AuthError, SourceError, WireError
from rtmedia.events import Connected, Disconnected, Event, Problem
from rtmedia.ports import EPOCH_SHIFT, FLAG_END_OF_STREAM, FLAG_NEW_EPOCH, NO_MEDIA_TIME
from rtmedia.protocol.media_v1 import MediaV1
from rtmedia.protocol.oauth import Token
from rtmedia.protocol.retry import Backoff
from rtmedia.protocol.session import Aborted, Action, ConnectionEnded, TokenRefused, Verdict, refusal
from rtmedia.rooms.receive import ReceiveRoom
from rtmedia.units import NS_PER_MS, NS_PER_S

AUDIO = bytes(640)
SECRET = "t0k3n"


def packet(seq: int, timestamp_ms: int | None = None, audio: bytes = AUDIO) -> bytes:
    return struct.pack("<I4xq", seq, seq * 20 if timestamp_ms is None else timestamp_ms) + audio


def packets(count: int, start: int = 0) -> list[bytes]:
    return [packet(seq) for seq in range(start, start + count)]


def text(**fields: Any) -> str:
    return json.dumps(fields)


END = text(type="end", reason="hung up")


def first_of(connection: int) -> int:
    """The flags of a connection's first audio."""
    return FLAG_NEW_EPOCH | connection << EPOCH_SHIFT


class FakeConnection:
    """Plays a script: messages, None (a second of silence), exceptions, and callables to do something first."""

    def __init__(self, world: World, script: list[Any]) -> None:
        self.world = world
        self.script = list(script)
        self.refuse: SourceError | None = self.script.pop(0) if script and isinstance(script[0], _Refuse) else None
        self.token: Token | None = None
        self.sent: list[str] = []
        self.closed = False
        self.aborted = False
        self.rtt_ms: float | None = None
        self.octets_received = 0

    def open(self, token: Token | None) -> None:
        if self.aborted:
            raise Aborted("aborted")
        self.token = token
        if isinstance(self.refuse, _Refuse):
            raise self.refuse.error

    def send(self, text: str) -> None:
        self.sent.append(text)

    def receive(self, timeout_s: float) -> tuple[str | bytes, int] | None:
        while True:
            if self.aborted:
                raise Aborted("aborted")
            assert self.script, "the room went on after its script"
            item = self.script.pop(0)
            if callable(item):
                item()
                continue
            if isinstance(item, BaseException):
                raise item
            if item is None:
                self.world.now_ns += int(timeout_s * NS_PER_S)
                return None
            self.world.now_ns += 20 * NS_PER_MS
            self.octets_received += len(item)
            self.rtt_ms = 12.5
            return item, self.world.now_ns

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class _Refuse(SourceError):
    """In a script's first place: ``open`` raises `error`."""

    def __init__(self, error: SourceError) -> None:
        super().__init__("")
        self.error = error


class Tokens:
    """Gives out t0k3n-1, t0k3n-2, … ; a new one only after `invalidate`."""

    def __init__(self, error: SourceError | None = None) -> None:
        self.number = 1
        self.asked = 0
        self.error = error

    def token(self, now_ns: int) -> Token:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Token(f"{SECRET}-{self.number}", 0, 2**62)

    def invalidate(self, token: Token | None) -> None:
        self.number += 1


class World:
    """All that surrounds a room."""

    def __init__(self, *scripts: list[Any], limit: Any = 5, **settings: Any) -> None:
        self.now_ns = 1_000 * NS_PER_S
        self.waits: list[float] = []
        self.events: list[Event] = []
        self.wire: list[tuple[int, int, int, int, bytes]] = []
        self.transcripts: list[dict[str, Any]] = []
        self.room_in_wire = 10**9
        self.on_wait: Callable[[], bool] = lambda: False
        self.connections: list[FakeConnection] = []
        self.scripts = list(scripts)
        self.protocol = MediaV1(conversation_id="talk")
        self.stopping = threading.Event()
        self.room = ReceiveRoom(
            make_connection=self.make_connection,
            protocol=self.protocol,
            write_wire=self.write_wire,
            write_transcript=lambda **fields: self.transcripts.append(fields),
            emit=self.events.append,
            backoff=Backoff(limit, lambda low, high: high),
            url="wss://media.example/x",
            stopping=self.stopping,
            clock_ns=lambda: self.now_ns,
            wait=self.wait,
            **settings,
        )

    def wait_before_going(self, seconds: float, then: Callable[[], None]) -> None:
        """From now on the room waits for `go` when it has connected: for `seconds` of its clock, and `then` happens."""
        gate = threading.Event()

        def wait() -> None:
            self.now_ns += int(seconds * NS_PER_S)
            then()
            assert gate.is_set(), "nobody let the room go"

        gate.wait = wait  # type: ignore[assignment,method-assign]
        self.room._going = gate

    def make_connection(self) -> FakeConnection:
        self.connections.append(FakeConnection(self, self.scripts.pop(0)))
        return self.connections[-1]

    def write_wire(self, arrival_ns: int, seq: int, media_time_ns: int, flags: int, payload: Any) -> bool:
        if self.room_in_wire <= 0:
            return False
        self.room_in_wire -= 1
        self.wire.append((arrival_ns, seq, media_time_ns, flags, bytes(payload)))
        return True

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now_ns += int(seconds * NS_PER_S)
        return self.on_wait() or self.stopping.is_set()

    def run(self) -> World:
        self.room.run()
        return self

    def run_until_it_fails(self) -> SourceError:
        with pytest.raises(SourceError) as caught:
            self.room.run()
        return caught.value

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    @property
    def flags(self) -> list[int]:
        return [entry[3] for entry in self.wire]


LOST = ConnectionEnded(1006, "lost")


# --- one connection ------------------------------------------------------------------------------------------


def test_audio_reaches_the_wire_with_its_arrival_its_number_and_its_time():
    world = World([packet(7, 0), packet(8, 20), END, ConnectionEnded(1000, "")]).run()
    start_ns = 1_000 * NS_PER_S
    assert world.wire[:2] == [
        (start_ns + 20 * NS_PER_MS, 7, 0, first_of(1), AUDIO),
        (start_ns + 40 * NS_PER_MS, 8, 20 * NS_PER_MS, 0, AUDIO),
    ]


def test_the_subscription_is_sent_and_told():
    world = World([END, ConnectionEnded(1000, "")]).run()
    assert world.connections[0].sent == [world.protocol.subscribe()]
    assert world.of(Connected) == [Connected(1_000 * NS_PER_S, "wss://media.example/x", 1, 1)]


def test_the_end_of_the_stream_is_written_without_audio_and_returns():
    world = World([*packets(2), END, ConnectionEnded(1000, "")]).run()
    assert world.wire[-1][1:] == (2, NO_MEDIA_TIME, FLAG_END_OF_STREAM, b"")
    (disconnected,) = world.of(Disconnected)
    assert (disconnected.reason, disconnected.close_code, disconnected.retry_in_s) == ("hung up", 1000, None)
    assert world.connections[0].closed
    assert not world.room.counters.connected


def test_after_the_end_the_server_may_close_badly_or_not_at_all():
    assert World([END, LOST]).run().flags == [FLAG_END_OF_STREAM]
    world = World([END, None]).run()
    assert world.flags == [FLAG_END_OF_STREAM]
    assert world.connections[0].closed


def test_a_transcript_that_follows_the_end_is_still_taken_but_not_for_ever():
    late = text(type="transcript", text="bye", timestamp=5)
    world = World([END, late, *[text(type="ack")] * 60]).run()
    assert [item["text"] for item in world.transcripts] == ["bye"]
    assert 0 < len(world.connections[0].script) < 60


def test_the_end_waits_for_room_in_the_wire_because_it_must_arrive():
    world = World([*packets(2), END, ConnectionEnded(1000, "")])
    world.room_in_wire = 2

    def drained() -> bool:
        world.room_in_wire = 1 if len(world.waits) == 3 else 0
        return False

    world.on_wait = drained
    world.run()
    assert world.waits == [0.01] * 3
    assert world.flags == [first_of(1), 0, FLAG_END_OF_STREAM]


def test_a_stop_while_the_end_waits_for_room_is_obeyed():
    world = World([END, LOST])
    world.room_in_wire = 0
    world.on_wait = lambda: True
    assert world.run().wire == []


def test_transcripts_carry_epoch_and_arrival():
    world = World([text(type="transcript", text="hi", confidence=0.5, timestamp=0), END, LOST]).run()
    assert world.transcripts == [
        {"text": "hi", "confidence": 0.5, "timestamp_ms": 0, "epoch": 1, "arrival_ns": 1_000 * NS_PER_S + 20 * NS_PER_MS, "speaker": ""}
    ]


def test_audio_without_number_or_time_is_numbered_from_the_last():
    bare = text(type="media", audioData="AAAA" * 2 + "AAA=")
    numbered = text(type="media", audioData="AAA=", seq=2**32 - 1, timestamp=40)
    world = World([bare, bare, numbered, bare, END, LOST]).run()
    assert [entry[1] for entry in world.wire[:4]] == [0, 1, 2**32 - 1, 0]
    assert [entry[2] for entry in world.wire[:4]] == [NO_MEDIA_TIME, NO_MEDIA_TIME, 40 * NS_PER_MS, NO_MEDIA_TIME]


class Lent:
    """Another thread's part: it takes what has come, and looks in when nothing has; it never waits."""

    def __init__(self, *steps: Any) -> None:
        self.steps = steps
        self.served = False

    def __call__(self, connection: Any, take: Any, alone: Any) -> None:
        for step in self.steps:
            if isinstance(step, Exception):
                raise step
            if callable(step):
                step()
            elif take(step):
                self.served = True
                return


def test_a_connection_that_is_lent_serves_until_a_second_after_the_end():
    second_ns = NS_PER_S
    lent = Lent((packet(7, 0), second_ns), None, (END, 2 * second_ns), (packet(8, 20), 3 * second_ns))
    world = World([None], share=lent).run()
    assert world.flags == [first_of(1), FLAG_END_OF_STREAM, 0]
    assert lent.served
    assert [event.reason for event in world.of(Disconnected)] == ["hung up"]


def test_a_lent_connection_never_waits_for_room_and_its_own_thread_delivers_the_end():
    world: World
    waits_while_lent: list[float] = []

    def fill() -> None:
        world.room_in_wire = 0

    def note() -> None:
        waits_while_lent.extend(world.waits)
        world.room_in_wire = 1

    world = World([None], share=Lent(fill, (END, NS_PER_S), note, LOST))
    world.run()
    assert waits_while_lent == []
    assert world.flags == [FLAG_END_OF_STREAM]


def test_what_ends_a_lent_connection_is_answered_as_ever():
    class Once(Lent):
        def __call__(self, connection: Any, take: Any, alone: Any) -> None:
            if not self.served:
                self.served = True
                raise LOST
            alone()

    world = World([None], [*packets(2), END, LOST], share=Once()).run()
    assert world.flags == [first_of(2), 0, FLAG_END_OF_STREAM]


def test_a_full_wire_drops_the_newest_counts_it_and_tells_once_a_second():
    world = World([*packets(60), END, LOST])
    world.room_in_wire = 0
    world.on_wait = lambda: True
    world.run()
    assert world.room.counters.wire_overflow == 60
    assert [problem.kind for problem in world.of(Problem)] == ["wire_overflow"] * 2


def test_the_mark_of_a_new_epoch_is_not_dropped_with_its_packet():
    world = World([])

    def make_room() -> None:
        world.room_in_wire = 10

    world.room_in_wire = 0
    world.scripts = [[packet(0), make_room, packet(1), packet(2), END, LOST]]
    world.run()
    assert [(entry[1], entry[3]) for entry in world.wire] == [(1, first_of(1)), (2, 0), (3, FLAG_END_OF_STREAM)]


def test_bad_messages_are_counted_and_told_once_a_second_and_the_stream_goes_on():
    world = World([b"", "{", text(type="video"), b"\xff" * 100, packet(0), END, LOST]).run()
    counters = world.room.counters
    assert counters.rejected["short"] == counters.rejected["not_json"] == counters.rejected["unknown_type"] == 1
    assert counters.messages["media"] == 2  # 0xff… is a time of -1 ms
    assert [problem.kind for problem in world.of(Problem)] == ["malformed"]


def test_octets_and_round_trip_are_read_from_the_connection_over_reconnects():
    first, second = packets(3), packets(2)
    world = World([*first, LOST], [*second, END, LOST]).run()
    counters = world.room.counters
    assert counters.bytes_received == 5 * 656 + len(END)
    assert counters.rtt_ms == 12.5


def test_a_payload_that_lies_in_the_connections_buffer_is_written_before_the_next_is_read():
    buffer = bytearray(656)
    script: list[Any] = []
    for seq in range(3):
        script += [lambda seq=seq: buffer.__setitem__(slice(None), packet(seq, audio=bytes([seq]) * 640)), memoryview(buffer)]
    world = World([*script, END, LOST]).run()
    assert [entry[4] for entry in world.wire[:3]] == [bytes([seq]) * 640 for seq in range(3)]


def test_counters_may_be_read_at_any_time_from_the_first_attempt_on():
    counts: list[int] = []
    world = World([], [])
    look = lambda: counts.append(world.room.counters.bytes_received)  # noqa: E731
    world.scripts = [[look, packet(0), look, LOST], [look, packet(1), look, END, LOST]]
    assert world.room.counters.snapshot()["bytes_received_total"] == 0
    world.run()
    assert counts == [0, 656, 656, 2 * 656]


# --- reconnecting --------------------------------------------------------------------------------------------


def test_a_lost_connection_is_made_again_subscribed_again_and_is_a_new_epoch():
    world = World([*packets(2), LOST], [*packets(2, start=900), END, ConnectionEnded(1000, "")]).run()
    assert world.flags == [first_of(1), 0, first_of(2), 0, FLAG_END_OF_STREAM]
    assert [connection.sent for connection in world.connections] == [[world.protocol.subscribe()]] * 2
    assert all(connection.closed for connection in world.connections)
    assert [event.epoch for event in world.of(Connected)] == [1, 2]
    assert world.waits == [0.5]
    first = world.of(Disconnected)[0]
    assert (first.close_code, first.retry_in_s) == (1006, 0.5)
    assert "lost" in first.reason
    assert (world.room.counters.connections, world.room.counters.reconnects) == (2, 1)


@pytest.mark.parametrize("code", [1000, 1001])
def test_a_clean_close_without_an_end_is_not_the_end(code: int):
    world = World([*packets(1), ConnectionEnded(code, "")], [END, LOST]).run()
    assert len(world.connections) == 2


def test_failures_in_a_row_wait_longer_until_they_are_given_up():
    world = World(*[[_Refuse(SourceError("down"))] for _ in range(4)], limit=3)
    error = world.run_until_it_fails()
    assert world.waits == [0.5, 1.0, 2.0]
    assert "given up after 4 attempts in a row; the last said: down" in str(error)
    assert [event.retry_in_s for event in world.of(Disconnected)] == [0.5, 1.0, 2.0, None]
    assert type(error) is SourceError


def test_an_open_connection_alone_does_not_end_a_series_of_failures():
    error = World(*[[text(type="ack"), *packets(49), LOST] for _ in range(3)], limit=2, octets_per_s=10**9).run_until_it_fails()
    assert "given up" in str(error)


@pytest.mark.parametrize(
    ("audio", "settings"),
    [(packets(50), {"octets_per_s": 10**9}), ([packet(0, audio=bytes(32_000))], {"octets_per_s": 32_000})],
)
def test_fifty_packets_or_a_second_of_audio_end_a_series_of_failures(audio: list[bytes], settings: dict[str, int]):
    world = World([LOST], [LOST], [*audio, LOST], [LOST], [END, LOST], limit=2, **settings).run()
    assert world.waits == [0.5, 1.0, 0.5, 1.0]
    assert [event.attempt for event in world.of(Connected)] == [1, 2, 3, 1, 2]


def test_what_the_server_asks_to_wait_is_waited():
    world = World([_Refuse(refusal(503, retry_after_s=20.0))], [END, LOST]).run()
    assert world.waits == [20.5]


@pytest.mark.parametrize("error", [refusal(404), refusal(403), WireError("no WebSocket"), ConnectionEnded(1008, "policy")])
def test_a_failure_that_nothing_heals_is_raised_as_it_is(error: SourceError):
    script: list[Any] = [error] if isinstance(error, ConnectionEnded) else [_Refuse(error)]
    world = World(script)
    assert world.run_until_it_fails() is error
    assert world.waits == []
    assert world.of(Disconnected)[0].retry_in_s is None


def test_a_servers_own_close_codes_are_obeyed():
    table = {4001: Verdict(Action.FINAL, "banned"), 4002: Verdict(Action.RETRY, "moved")}
    error = World([ConnectionEnded(4002, "")], [ConnectionEnded(4001, "")], close_codes=table).run_until_it_fails()
    assert "4001" in str(error)


def test_the_last_close_code_is_kept():
    world = World([ConnectionEnded(1012, "")], [END, ConnectionEnded(1001, "")])
    world.run()
    assert world.room.counters.last_close_code == 1001


def test_a_connection_without_messages_is_given_up_after_the_idle_timeout():
    world = World([packet(0), None, None, None], [END, LOST], idle_timeout_s=2.5).run()
    assert len(world.connections) == 2
    assert "no message for 3.0 s" in world.of(Disconnected)[0].reason


def test_without_an_idle_timeout_silence_is_waited_out():
    world = World([packet(0), *[None] * 1000, END, LOST]).run()
    assert len(world.connections) == 1


def test_an_exception_that_nobody_foresaw_reaches_the_owner_and_the_connection_is_closed():
    world = World([ZeroDivisionError("bug")])
    with pytest.raises(ZeroDivisionError):
        world.room.run()
    assert world.connections[0].closed


# --- tokens --------------------------------------------------------------------------------------------------


def test_every_reconnection_brings_a_fresh_token():
    tokens = Tokens()
    world = World([LOST], [LOST], [END, LOST], tokens=tokens).run()
    assert tokens.asked == 3
    assert [connection.token and connection.token.value for connection in world.connections] == [f"{SECRET}-{n}" for n in (1, 2, 3)]


def test_a_refused_token_is_replaced_at_once_and_once():
    tokens = Tokens()
    world = World([_Refuse(refusal(401))], [END, LOST], tokens=tokens).run()
    assert world.waits == [0.0]
    assert world.connections[1].token == Token(f"{SECRET}-2", 0, 2**62)


def test_a_second_refusal_in_a_row_waits_like_any_failure():
    tokens = Tokens()
    world = World(*[[_Refuse(refusal(401))] for _ in range(4)], tokens=tokens, limit=2)
    error = world.run_until_it_fails()
    assert world.waits == [0.0, 0.5, 1.0]
    assert tokens.number == 5
    assert "401" in str(error)


def test_after_good_audio_a_refused_token_is_replaced_at_once_again():
    script: list[Any] = [_Refuse(refusal(401))]
    world = World(script, [*packets(50), LOST], list(script), [END, LOST], tokens=Tokens()).run()
    assert world.waits == [0.0, 0.5, 0.0]


def test_a_close_that_says_unauthorised_is_a_refused_token_too():
    world = World([ConnectionEnded(3000, "")], [END, LOST], tokens=Tokens()).run()
    assert world.waits == [0.0]


def test_without_credentials_a_refused_token_is_final():
    error = World([_Refuse(TokenRefused("HTTP 401"))]).run_until_it_fails()
    assert type(error) is AuthError
    assert not error.retryable
    assert "no credentials" in str(error)


def test_a_client_that_is_refused_ends_the_room_and_no_connection_is_tried():
    error = AuthError("wrong secret")
    world = World([], tokens=Tokens(error))
    assert world.run_until_it_fails() is error
    assert world.connections[0].token is None
    assert world.of(Connected) == []


def test_a_token_server_in_trouble_is_tried_again():
    tokens = Tokens(SourceError("503"))
    world = World([], [END, LOST], tokens=tokens)

    def healed() -> bool:
        tokens.error = None
        return False

    world.on_wait = healed
    world.run()
    assert world.waits == [0.5]


def test_no_event_and_no_error_shows_a_token():
    world = World(*[[_Refuse(refusal(401))] for _ in range(4)], tokens=Tokens(), limit=2)
    error = world.run_until_it_fails()
    assert SECRET not in repr(world.events) + repr(error) + repr(world.connections[0].token) + repr(vars(world.room))


# --- stopping ------------------------------------------------------------------------------------------------


def test_a_stop_while_receiving_aborts_closes_and_returns():
    world = World([])
    world.scripts = [[packet(0), world.room.stop, packet(1)]]
    world.run()
    assert (world.connections[0].aborted, world.connections[0].closed) == (True, True)
    assert world.flags == [first_of(1)]
    assert world.of(Disconnected)[0].reason == "stopped"


def test_a_stop_during_the_wait_for_a_retry_returns():
    world = World([LOST])
    world.on_wait = lambda: (world.room.stop(), True)[1]
    world.run()
    assert len(world.connections) == 1


def test_a_stop_before_the_start_connects_to_nobody():
    world = World()
    world.room.stop()
    world.room.stop()
    assert world.run().connections == []


def test_a_stop_that_comes_while_the_connection_is_made_still_aborts_it():
    world = World([])
    make = world.make_connection

    def stop_first() -> FakeConnection:
        world.room.stop()
        return make()

    world.room._make_connection = stop_first
    world.run()
    assert world.connections[0].aborted
    assert world.connections[0].closed


def test_a_stop_during_the_token_is_no_failure():
    world = World([])

    class Stopping(Tokens):
        def token(self, now_ns: int) -> Token:
            world.room.stop()
            raise Aborted("stopped")

    world.room._tokens = Stopping()
    world.run()
    assert world.of(Connected) == []


def test_a_failure_that_comes_with_the_stop_is_no_failure():
    world = World([])
    world.scripts = [[world.stopping.set, LOST]]
    world.run()
    assert world.of(Disconnected)[0].reason == "stopped"


# --- connected ahead ---------------------------------------------------------------------------------------------


def test_a_room_that_is_not_to_go_yet_connects_and_subscribes_later():
    world = World([END, LOST])
    sent_before = []

    def go() -> None:
        sent_before.extend(world.connections[0].sent)
        assert not world.room.counters.connected
        world.room.go(world.write_wire)

    world.wait_before_going(0.3, go)
    world.run()
    assert sent_before == []
    assert len(world.connections) == 1
    assert len(world.connections[0].sent) == 1
    assert world.of(Connected)[0].attempt == 1


def test_a_connection_that_waited_for_a_compilation_is_made_anew_at_no_attempts_cost():
    world = World([], [END, LOST], limit=0)
    world.wait_before_going(30.0, lambda: world.room.go(world.write_wire))
    world.run()
    assert [connection.closed for connection in world.connections] == [True, True]
    assert world.connections[0].sent == []
    assert [(event.attempt, event.epoch) for event in world.of(Connected)] == [(1, 1)]
    assert world.waits == []


def test_a_stop_before_the_room_was_to_go_is_no_failure():
    world = World([])
    world.wait_before_going(0.1, world.room.stop)
    world.run()
    assert world.connections[0].closed
    assert world.connections[0].sent == []
    assert world.of(Connected) == []
    assert world.of(Disconnected)[0].reason == "stopped"


def test_what_refuses_a_room_ahead_of_time_ends_it_all_the_same():
    world = World([_Refuse(SourceError("no", retryable=False))])
    world.room._going.clear()
    world.run_until_it_fails()
