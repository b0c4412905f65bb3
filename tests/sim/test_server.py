"""The simulated server over real sockets on loopback. What is judged by time is judged in virtual time elsewhere."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import struct
import wave

import aiohttp
import numpy as np
import pytest

from rtmedia.codec import codec_named
from rtmedia.config import SCOPES
from rtmedia.errors import ConfigError
from rtmedia.sim.options import ServerOptions
from rtmedia.sim.server import MediaServer

SUBSCRIBE = {"type": "subscribe", "conversationId": "test", "format": "raw", "sampleRate": 16000}
TIMEOUT_S = 20.0
CLIENT = base64.b64encode(b"loopback:wonderful").decode()


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """0.4 s of seeded noise as a WAV file, and its samples."""
    path = tmp_path_factory.mktemp("speech") / "noise.wav"
    block = np.random.default_rng(7).uniform(-0.5, 0.5, (6400, 1)).astype(np.float32)
    payload = codec_named("pcm_s16le").encode(block)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(payload)
    path.with_suffix(".json").write_text(
        json.dumps({"utterances": [{"speaker": "agent", "text": "hiss", "confidence": 0.5, "start_ms": 100, "end_ms": 300}]})
    )
    return path, payload


def on_a_server(scenario, query="", speech=None):
    """Run `scenario(client)` against a server with these options."""
    if speech is not None:
        path = str(speech[0])
        query = f"speech={path}&transcript={path[:-4]}.json&{query}"

    async def run():
        server = MediaServer(ServerOptions.from_query(query), client_secret="wonderful")
        async with server as address, aiohttp.ClientSession() as session:
            await asyncio.wait_for(scenario(Client(session, address)), TIMEOUT_S)

    asyncio.run(run())


class Client:
    """The least client that works."""

    def __init__(self, session, address):
        self.session = session
        self.address = address

    async def token_answer(self, **changes):
        form = {"grant_type": "client_credentials", "client_id": "loopback", "client_secret": "wonderful", "scope": " ".join(SCOPES)}
        async with self.session.post(self.address.token_url, data=form | changes) as answer:
            return answer.status, answer.headers, await answer.json()

    async def token(self, **changes):
        return (await self.token_answer(**changes))[2]["access_token"]

    @contextlib.asynccontextmanager
    async def connected(self, token=None, **options):
        token = token or await self.token()
        async with self.session.ws_connect(self.address.media_url, params={"access_token": token}, **options) as socket:
            yield socket

    @contextlib.asynccontextmanager
    async def subscribed(self, **options):
        async with self.connected(**options) as socket:
            await socket.send_json(SUBSCRIBE)
            assert json.loads((await socket.receive()).data) == {"type": "ack"}
            yield socket


async def everything(socket):
    """All messages until the close: packets (seq, timestamp, payload), texts, close code."""
    packets, texts = [], []
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            packets.append((*struct.unpack_from("<I4xq", message.data), message.data[16:]))
        else:
            texts.append(json.loads(message.data))
    return packets, texts, socket.close_code


def test_a_whole_stream_is_the_source_and_ends_in_words(speech):
    async def scenario(client):
        async with client.subscribed() as socket:
            packets, texts, code = await everything(socket)
        assert b"".join(packet[2] for packet in packets) == speech[1]
        assert [packet[:2] for packet in packets] == [(n, 20 * n) for n in range(20)]
        assert texts == [
            {"type": "transcript", "text": "hiss", "confidence": 0.5, "timestamp": 100, "speaker": "agent"},
            {"type": "end"},
        ]
        assert code == 1000

    on_a_server(scenario, speech=speech)


def test_what_the_schedule_says_is_what_comes(speech):
    from rtmedia.sim.stream import Material, Program, deliveries

    query = "loss=0.2&duplicate=0.2&reorder=0.3&seed=4"

    async def scenario(client):
        async with client.subscribed() as socket:
            packets, _, _ = await everything(socket)
        options = ServerOptions.from_query(f"speech={speech[0]}&{query}")
        planned = [d.seq for d in deliveries(Program(options, Material.of(options), 16_000)) if d.seq is not None]
        assert [packet[0] for packet in packets] == planned

    on_a_server(scenario, query, speech)


def test_nothing_is_sent_before_its_time_and_the_log_says_when(speech, tmp_path):
    log = tmp_path / "sends.jsonl"

    async def scenario(client):
        async with client.subscribed() as socket:
            await everything(socket)

    on_a_server(scenario, f"log_sends={log}", speech)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["seq"] for line in lines] == list(range(20))
    assert [line["due_ns"] - lines[0]["due_ns"] for line in lines] == [n * 20_000_000 for n in range(20)]
    assert all(line["sent_ns"] >= line["due_ns"] - 100_000 for line in lines)


def test_token_requests_are_answered_over_http():
    async def scenario(client):
        status, headers, body = await client.token_answer()
        assert (status, body["token_type"], body["expires_in"]) == (200, "Bearer", 77)
        assert headers["Cache-Control"] == "no-store"
        assert (await client.token_answer(client_secret="wrong"))[0] == 401
        assert (await client.token_answer(grant_type="password"))[0] == 400
        async with client.session.post(
            client.address.token_url, data={"grant_type": "client_credentials"}, headers={"Authorization": f"Basic {CLIENT}"}
        ) as answer:
            assert answer.status == 200

    on_a_server(scenario, "expires_in_s=77")


@pytest.mark.parametrize("status", [400, 401, 403, 429, 503])
def test_token_failures_last_as_long_as_they_are_told(status):
    async def scenario(client):
        for _ in range(2):
            found, headers, _ = await client.token_answer()
            assert found == status
            assert headers.get("Retry-After") == ("3" if status in (429, 503) else None)
        assert (await client.token_answer())[0] == 200

    on_a_server(scenario, f"token_status={status}&token_times=2&retry_after=3")


async def refused(client, status, **request):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.session.ws_connect(client.address.media_url, **request)
    assert caught.value.status == status
    return caught.value.headers


def test_the_stream_wants_a_good_token_in_the_query_or_in_the_header():
    async def scenario(client):
        headers = await refused(client, 401)
        assert headers["WWW-Authenticate"].startswith("Bearer")
        await refused(client, 401, params={"access_token": "made up"})
        await refused(client, 403, params={"access_token": await client.token(scope=SCOPES[0])})
        token = await client.token()
        async with client.session.ws_connect(client.address.media_url, headers={"Authorization": f"Bearer {token}"}) as socket:
            await socket.send_json(SUBSCRIBE)
            assert json.loads((await socket.receive()).data) == {"type": "ack"}

    on_a_server(scenario)


def test_an_expired_token_is_refused():
    async def scenario(client):
        await refused(client, 401, params={"access_token": await client.token()})

    on_a_server(scenario, "expires_in_s=0")


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_handshake_failures_last_as_long_as_they_are_told(status):
    async def scenario(client):
        token = await client.token()
        await refused(client, status, params={"access_token": token})
        async with client.subscribed(token=token):
            pass

    on_a_server(scenario, f"media_status={status}&media_times=1")


def test_a_server_may_want_no_token():
    async def scenario(client):
        async with client.session.ws_connect(client.address.media_url) as socket:
            await socket.send_json(SUBSCRIBE)
            assert json.loads((await socket.receive()).data) == {"type": "ack"}

    on_a_server(scenario, "token_required=0")


@pytest.mark.parametrize(
    "message",
    [
        "hello",
        "[]",
        "[" * 5000,
        json.dumps(SUBSCRIBE | {"type": "join"}),
        json.dumps(SUBSCRIBE | {"conversationId": ""}),
        json.dumps(SUBSCRIBE | {"format": "opus"}),
        json.dumps(SUBSCRIBE | {"sampleRate": 12345}),
        json.dumps(SUBSCRIBE | {"sampleRate": True}),
        b"\x00\x01",
    ],
)
def test_a_wrong_subscription_is_closed_with_1008(message):
    async def scenario(client):
        async with client.connected() as socket:
            await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(message))
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1008

    on_a_server(scenario)


def test_a_missing_subscription_is_closed_with_1008(monkeypatch):
    monkeypatch.setattr("rtmedia.sim.server.SUBSCRIBE_TIMEOUT_S", 0.05)

    async def scenario(client):
        async with client.connected() as socket:
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1008

    on_a_server(scenario)


@pytest.mark.parametrize(("code", "seen"), [(0, 1006), (1001, 1001), (1011, 1011), (4000, 4000)])
def test_a_connection_is_cut_or_closed_and_the_next_goes_on_live(speech, code, seen):
    async def scenario(client):
        async with client.subscribed() as socket:
            before, texts, found = await everything(socket)
        assert found == seen
        assert 1 <= len(before) <= 8
        assert {"type": "end"} not in texts
        async with client.subscribed() as socket:
            after, texts, found = await everything(socket)
        assert texts[-1:] == [{"type": "end"}]
        assert found == 1000
        # an origin of its own, but the same clock and the same sound
        assert after[0][0] not in range(1000)
        assert after[0][1] >= before[-1][1] + 20
        for _, timestamp_ms, payload in after:
            assert payload == speech[1][timestamp_ms * 32 : timestamp_ms * 32 + 640]

    on_a_server(scenario, f"disconnect_after_s=0.15&disconnect_code={code}&disconnect_times=1", speech)


def test_after_the_end_was_heard_a_subscription_starts_anew(speech):
    async def scenario(client):
        for _ in range(2):
            async with client.subscribed() as socket:
                packets, _, _ = await everything(socket)
            assert len(packets) == 20

    on_a_server(scenario, speech=speech)


@pytest.mark.parametrize("pong", [1, 0])
def test_a_hung_server_is_silent_and_answers_pings_only_if_told(speech, pong):
    async def scenario(client):
        async with client.subscribed(autoping=False) as socket:
            await socket.ping(b"early")
            kinds = set()
            with contextlib.suppress(asyncio.TimeoutError):
                while True:  # the last packet is due at 0.1 s: 0.5 s without a message is the hang
                    message = await socket.receive(timeout=0.5)
                    kinds.add((message.type, bytes(message.data) if message.type is aiohttp.WSMsgType.PONG else None))
            assert (aiohttp.WSMsgType.PONG, b"early") in kinds
            await socket.ping(b"late")
            if pong:
                message = await socket.receive(timeout=5)
                assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"late")
            else:
                with pytest.raises(asyncio.TimeoutError):
                    await socket.receive(timeout=0.3)
            socket._response.connection.transport.abort()

    on_a_server(scenario, f"hang_after_s=0.1&hang_pong={pong}", speech)


def test_clients_of_one_conversation_hear_the_same_and_others_their_own(speech):
    async def scenario(client):
        async def listen(conversation):
            async with client.connected() as socket:
                await socket.send_json(SUBSCRIBE | {"conversationId": conversation, "sampleRate": 16000})
                await socket.receive()
                return (await everything(socket))[0]

        first, second = await asyncio.gather(listen("a"), listen("b"))
        assert [packet[1] for packet in first] == [packet[1] for packet in second] == [20 * n for n in range(20)]

    on_a_server(scenario, speech=speech)


def test_another_rate_is_served_too(speech):
    pytest.importorskip("soxr")

    async def scenario(client):
        async with client.connected() as socket:
            await socket.send_json(SUBSCRIBE | {"sampleRate": 48_000})
            await socket.receive()
            packets, _, _ = await everything(socket)
        assert {len(payload) for _, _, payload in packets} == {1920}

    on_a_server(scenario, speech=speech)


def test_stopping_closes_open_connections():
    async def run():
        server = MediaServer(ServerOptions(), client_secret="wonderful")
        address = await server.start()
        async with aiohttp.ClientSession() as session, Client(session, address).subscribed() as socket:
            await socket.receive()
            (_, _, code), _ = await asyncio.gather(everything(socket), server.stop())
            assert code == 1001
        await server.stop()

    asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))


def test_a_taken_port_is_refused_in_words():
    async def run():
        async with MediaServer(ServerOptions()) as address:
            with pytest.raises(ConfigError, match="cannot be listened on"):
                await MediaServer(ServerOptions(), port=address.port).start()

    asyncio.run(run())
