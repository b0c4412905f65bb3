"""The other side of the line: a media server with its identity provider, in one process, on loopback.

* ``POST /oauth/token`` gives tokens (see `rtmedia.sim.identity`).
* ``GET /api/v2/platform/media`` is the WebSocket: token, subscription, ``{"type": "ack"}``, then timed packets and
  transcripts through a network model or a trace (see `rtmedia.sim.stream`), ``{"type": "end"}``, close 1000.

A *session* is what subscriptions of one conversation share: the moment when its stream began. Whoever connects again
hears the live position; whoever subscribes after somebody heard the end starts a new session.

``python -m rtmedia.sim.server`` serves until its standard input closes, so that a child never outlives its parent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import WSMessage, WSMsgType, web

from rtmedia.errors import ConfigError, RtmediaError
from rtmedia.ports import RATES_HZ
from rtmedia.sim.identity import Identity
from rtmedia.sim.options import ServerOptions
from rtmedia.sim.stream import Material, Program, deliveries
from rtmedia.units import NS_PER_MS, NS_PER_S

TOKEN_PATH = "/oauth/token"
MEDIA_PATH = "/api/v2/platform/media"
SUBSCRIBE_TIMEOUT_S = 10.0
_MOST_SESSIONS = 1000
_NEVER_NS = 2**63


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @property
    def media_url(self) -> str:
        """The WebSocket's URL, without a token."""
        return f"ws://{self._netloc}{MEDIA_PATH}"

    @property
    def token_url(self) -> str:
        """Where tokens are fetched."""
        return f"http://{self._netloc}{TOKEN_PATH}"

    @property
    def _netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(slots=True)
class _Session:
    """One conversation's stream."""

    program: Program
    start_ns: int
    connections: int = 0
    heard_to_the_end: bool = False


@dataclass(slots=True, eq=False)
class _Line:
    """One client's connection."""

    socket: web.WebSocketResponse
    request: web.Request
    hung: bool = False
    sends: list[tuple[int, int, int]] = field(default_factory=list)  # seq, due_ns, sent_ns

    def cut(self) -> None:
        """End the connection without a closing handshake, as a dying network does."""
        if self.request.transport is not None:
            self.request.transport.abort()


class MediaServer:
    """A simulated media server; ``async with`` starts and stops it.

    Parameters
    ----------
    options
        Its behaviour.
    host, port
        Where it listens; port 0 takes a free one.
    client_id, client_secret
        The client that it knows.

    Notes
    -----
    Thread: that of its event loop.   Real-time: no; sends at absolute deadlines, usually within 1 ms.
    """

    def __init__(
        self, options: ServerOptions, host: str = "127.0.0.1", port: int = 0, *, client_id: str = "loopback", client_secret: str = ""
    ) -> None:
        self.options = options
        self.client_id = client_id
        self._client_secret = client_secret or secrets.token_urlsafe(24)
        self._material = Material.of(options)
        self._identity = Identity(client_id, self._client_secret, options.expires_in_s)
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None
        self._programs: dict[int, Program] = {}
        self._sessions: dict[tuple[str, int], _Session] = {}
        self._lines: set[_Line] = set()
        self._counts = {"token": 0, "media": 0, "connection": 0}

    @property
    def client_secret(self) -> str:
        """The secret that goes with `client_id`."""
        return self._client_secret

    async def start(self) -> Address:
        """Listen. Raises `ConfigError` where the address cannot be used."""
        self._program(RATES_HZ[1])  # 16 kHz, what the media API is asked for: ready before anybody asks
        application = web.Application()
        application.router.add_post(TOKEN_PATH, self._token)
        application.router.add_get(MEDIA_PATH, self._media)
        # No access log: request lines hold tokens.
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as exc:
            await self._runner.cleanup()
            raise ConfigError(f"{self._host}:{self._port} cannot be listened on ({exc.strerror}); choose another port") from exc
        return Address(self._host, int(self._runner.addresses[0][1]))

    async def stop(self) -> None:
        """Close every connection (1001) and the listening socket."""
        for line in list(self._lines):
            with contextlib.suppress(asyncio.TimeoutError, ConnectionError):
                await asyncio.wait_for(line.socket.close(code=1001, message=b"server stops"), 0.2)
            if line.request.transport is not None:
                line.request.transport.close()  # after what is buffered: a reset would eat the close frame
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Address:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _token(self, request: web.Request) -> web.Response:
        options = self.options
        refusal = self._forced("token", options.token_status, options.token_times)
        if refusal is not None:
            return refusal
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        answer = self._identity.grant(form, request.headers.get("Authorization", ""), time.monotonic_ns())
        return web.json_response(answer.body, status=answer.status, headers=answer.headers)

    def _forced(self, kind: str, status: int, times: int) -> web.Response | None:
        """The failure that the options ask for, while it lasts."""
        self._counts[kind] += 1
        if not status or (times and self._counts[kind] > times):
            return None
        headers = {"Retry-After": self.options.retry_after} if self.options.retry_after and status in (429, 503) else {}
        return web.json_response({"error": f"simulated {status}"}, status=status, headers=headers)

    async def _media(self, request: web.Request) -> web.StreamResponse:
        options = self.options
        refusal = self._forced("media", options.media_status, options.media_times)
        if refusal is not None:
            return refusal
        if options.token_required:
            scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
            token = bearer.strip() if scheme.lower() == "bearer" else request.query.get("access_token", "")
            answer = self._identity.check(token, time.monotonic_ns())
            if answer is not None:
                return web.json_response(answer.body, status=answer.status, headers=answer.headers)
        # Pings are answered by hand: a hung server must be able not to. Audio does not compress: no deflate.
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=1 << 16)
        await socket.prepare(request)
        line = _Line(socket, request)
        self._lines.add(line)
        try:
            await self._serve(line)
        except (ConnectionError, asyncio.TimeoutError):
            pass  # the client is gone, which is its right
        finally:
            self._lines.discard(line)
        return socket

    async def _serve(self, line: _Line) -> None:
        asked = await self._subscription(line)
        if asked is None:
            return
        conversation_id, rate_hz = asked
        # Another rate than the usual must first be resampled: not on the loop, where others' packets wait.
        program = await asyncio.to_thread(self._program, rate_hz)
        number = self._counts["connection"]
        self._counts["connection"] += 1
        await line.socket.send_json({"type": "ack"})
        reading = asyncio.ensure_future(self._read(line))
        sending = asyncio.ensure_future(self._send(line, self._session(conversation_id, program), number))
        try:
            await asyncio.wait((reading, sending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, sending):
                task.cancel()
            results = await asyncio.gather(reading, sending, return_exceptions=True)
            await self._log(number, line.sends)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _subscription(self, line: _Line) -> tuple[str, int] | None:
        """Conversation and rate of the first message, or None after closing with 1008 (policy violation)."""
        deadline = time.monotonic() + SUBSCRIBE_TIMEOUT_S
        while True:
            try:
                message = await line.socket.receive(max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                await line.socket.close(code=1008, message=b"no subscription came")
                return None
            if await self._answered(line, message):
                continue
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return None
            asked = _parse_subscription(message)
            if isinstance(asked, str):
                await line.socket.close(code=1008, message=asked.encode()[:120])
                return None
            return asked

    async def _answered(self, line: _Line, message: WSMessage) -> bool:
        """Whether `message` was a ping or pong; a ping is answered unless the line hangs in that way too."""
        if message.type is WSMsgType.PING and (not line.hung or self.options.hang_pong):
            await line.socket.pong(message.data)
        return message.type in (WSMsgType.PING, WSMsgType.PONG)

    async def _read(self, line: _Line) -> None:
        """Take what the client sends until it closes."""
        async for message in line.socket:
            await self._answered(line, message)

    def _program(self, rate_hz: int) -> Program:
        if rate_hz not in self._programs:
            self._programs.setdefault(rate_hz, Program(self.options, self._material, rate_hz))
        return self._programs[rate_hz]

    def _session(self, conversation_id: str, program: Program) -> _Session:
        key = (conversation_id, program.rate_hz)
        session = self._sessions.get(key)
        if session is None or session.heard_to_the_end:
            session = self._sessions[key] = _Session(program, time.monotonic_ns())
            while len(self._sessions) > _MOST_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
        return session

    async def _send(self, line: _Line, session: _Session, number: int) -> None:
        """Send everything at its time, until the end, the cut or the hang."""
        options, socket = self.options, line.socket
        begin_ns = time.monotonic_ns()
        position_ns = begin_ns - session.start_ns if session.connections else 0
        begin_ns = session.start_ns + position_ns
        connection = session.connections
        session.connections += 1
        cut_ns = _moment_ns(begin_ns, options.disconnect_after_s, options.disconnect_times, number)
        hang_ns = _moment_ns(begin_ns, options.hang_after_s, options.hang_times, number)
        for delivery in deliveries(session.program, connection, position_ns):
            due_ns = session.start_ns + delivery.due_ns
            if due_ns >= min(cut_ns, hang_ns):
                break
            await _sleep_until(due_ns)
            if isinstance(delivery.data, str):
                await socket.send_str(delivery.data)
            else:
                await socket.send_bytes(delivery.data)
            if delivery.seq is not None and options.log_sends:
                line.sends.append((delivery.seq, due_ns, time.monotonic_ns()))
        else:
            session.heard_to_the_end = True
            await socket.send_json({"type": "end"})
            await socket.close(code=1000, message=b"end of stream")
            return
        if hang_ns < cut_ns:
            await _sleep_until(hang_ns)
            line.hung = True
            await (_sleep_until(cut_ns) if cut_ns < _NEVER_NS else asyncio.Event().wait())
        await _sleep_until(cut_ns)
        if options.disconnect_code:
            await socket.close(code=options.disconnect_code, message=b"simulated")
        else:
            line.cut()

    async def _log(self, number: int, sends: list[tuple[int, int, int]]) -> None:
        """Append a connection's sends to the log: at its end, because a disk must not delay a packet."""
        if not (self.options.log_sends and sends):
            return

        def write() -> None:
            with Path(self.options.log_sends).open("a", encoding="utf-8") as file:
                for seq, due_ns, sent_ns in sends:
                    file.write(json.dumps({"connection": number, "seq": seq, "due_ns": due_ns, "sent_ns": sent_ns}) + "\n")

        await asyncio.to_thread(write)


def _parse_subscription(message: WSMessage) -> tuple[str, int] | str:
    """Conversation and rate, or what is wrong with the message."""
    if message.type is not WSMsgType.TEXT:
        return "the subscription must be a text message"
    try:
        asked = json.loads(message.data)
    except (ValueError, RecursionError):
        return "the subscription is not JSON"
    if not isinstance(asked, dict) or asked.get("type") != "subscribe":
        return "the first message must be of type subscribe"
    conversation_id, rate_hz = asked.get("conversationId"), asked.get("sampleRate")
    if not isinstance(conversation_id, str) or not 1 <= len(conversation_id) <= 200:
        return "conversationId must be a text of 1 to 200 characters"
    if asked.get("format") != "raw":
        return "format must be raw"
    if not isinstance(rate_hz, int) or isinstance(rate_hz, bool) or rate_hz not in RATES_HZ:
        return f"sampleRate must be one of {', '.join(map(str, RATES_HZ))}"
    return conversation_id, rate_hz


def _moment_ns(begin_ns: int, after_s: float, times: int, number: int) -> int:
    """When something befalls connection `number`, which is only done to the first `times` (0: all)."""
    if not after_s or (times and number >= times):
        return _NEVER_NS
    return begin_ns + round(after_s * NS_PER_S)


async def _sleep_until(due_ns: int) -> None:
    """Sleep to an absolute monotonic time; an error made once is not carried on to the next packet."""
    remaining_ns = due_ns - time.monotonic_ns()
    if remaining_ns > NS_PER_MS // 20:
        await asyncio.sleep(remaining_ns / NS_PER_S)


async def serve(
    options: ServerOptions,
    host: str = "127.0.0.1",
    port: int = 0,
    on_ready: Callable[[Address, MediaServer], None] | None = None,
    stop: asyncio.Event | None = None,
    *,
    client_id: str = "loopback",
    client_secret: str = "",
) -> None:
    """Serve until `stop` is set or the task is cancelled; `on_ready` hears of the address once it listens."""
    server = MediaServer(options, host, port, client_id=client_id, client_secret=client_secret)
    async with server as address:
        if on_ready is not None:
            on_ready(address, server)
        await (stop or asyncio.Event()).wait()


def main(arguments: list[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """The process that `rtmedia.sim.loopback` starts: one JSON line when ready, then serve until stdin closes.

    The client's name and secret come from ``RTMEDIA_SIM_CLIENT_ID`` and ``RTMEDIA_SIM_CLIENT_SECRET``; where these are
    not set the secret is made up and stands in the JSON line, so that somebody can know it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m rtmedia.sim.server", description="A simulated media server. It ends when its standard input does."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--query", default="", help='settings, for example "loss=0.02&jitter_ms=30" (see rtmedia.sim.options)')
    given = parser.parse_args(arguments)
    client_secret = environ.get("RTMEDIA_SIM_CLIENT_SECRET", "")

    def ready(address: Address, server: MediaServer) -> None:
        line: dict[str, Any] = {"port": address.port, "url": address.media_url, "token_url": address.token_url}
        if not client_secret:
            line |= {"client_id": server.client_id, "client_secret": server.client_secret}
        # What is alive now stays alive: the collector need not look at it again between two packets.
        gc.collect()
        gc.freeze()
        print(json.dumps(line), flush=True)

    async def run() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def wait_for_end_of_input() -> None:
            # os.read: a thread that sits in sys.stdin's own lock would stop the interpreter from ending.
            with contextlib.suppress(OSError):
                while os.read(0, 4096):
                    pass
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                loop.call_soon_threadsafe(stop.set)

        threading.Thread(target=wait_for_end_of_input, name="rtm-sim-stdin", daemon=True).start()
        client_id = environ.get("RTMEDIA_SIM_CLIENT_ID") or "loopback"
        options = ServerOptions.from_query(given.query)
        await serve(options, given.host, given.port, ready, stop, client_id=client_id, client_secret=client_secret)

    with _fine_timers(), contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(run())
        except RtmediaError as exc:
            print(json.dumps({"error": str(exc)}), flush=True)
            return 2
    return 0


@contextlib.contextmanager
def _fine_timers() -> Iterator[None]:
    """On Windows sleeps end on a 15.6 ms grid unless a process asks for 1 ms (timeBeginPeriod)."""
    if sys.platform != "win32":
        yield
        return
    import ctypes

    winmm = ctypes.WinDLL("winmm")
    winmm.timeBeginPeriod(1)
    try:
        yield
    finally:
        winmm.timeEndPeriod(1)


if __name__ == "__main__":
    sys.exit(main())
