"""What does the Python side of a received packet cost?

One binary frame (20 ms of 16 kHz, 640 octets behind header and frame) goes from a socket on the loopback interface to the
wire ring, the way it does live: the receive room runs, and the clock stops when a payload lies on the ring and goes on when
the next one lies in the socket. Beside it, in the same run: the least there is, reading the octets into a buffer; what other
libraries take to read the same octets and find the message in them (and do none of the rest); and the parts of ours.

Waiting is in it: a packet every 20 ms finds the socket empty, so that the room asks whether there is something before it reads.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import websocket
from _bench import Row, arguments, compare, optional, report

from rtmedia.codec import codec_named
from rtmedia.io.frames import MessageReader
from rtmedia.io.websocket import WebSocketConnection
from rtmedia.protocol.media_v1 import MediaV1
from rtmedia.protocol.retry import Backoff
from rtmedia.rooms.line import Line
from rtmedia.rooms.receive import ReceiveRoom
from rtmedia.rt.ring import ring_skip
from rtmedia.units import NS_PER_MS

RATE_HZ = 16_000
PACKET_MS = 20
PACKET_OCTETS = 640
BURST = 32  # packets that came together, as after a stall of the network
SEGMENT = 50  # packets of one peer before the next has its turn
BASELINE = "recv_into a buffer: the least there is"

Segment = Callable[[int], list[int]]  # times of so many packets


def packet(seq: int) -> bytes:
    return struct.pack("<I4xq", seq, PACKET_MS * seq) + bytes(PACKET_OCTETS)


def frame(seq: int) -> bytes:
    message = packet(seq)
    return b"\x82\x7e" + struct.pack("!H", len(message)) + message


FRAMES = [frame(seq) for seq in range(BURST)]


class Wire:
    """The sending end: puts octets into the other one's socket and sees that they are there."""

    def __init__(self, sender: socket.socket, receiver: socket.socket) -> None:
        self._sender = sender
        self._receiver = receiver

    def put(self, octets: bytes) -> None:
        self._sender.sendall(octets)
        self.wait()

    def wait(self) -> None:
        select.select([self._receiver], [], [])


@contextmanager
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        receiver = socket.create_connection(listener.getsockname())
        sender, _ = listener.accept()
    sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sender, receiver:
        yield sender, receiver


def read_by(take: Callable[[], Any], wire: Wire) -> Segment:
    """`take` reads one message."""

    def segment(count: int) -> list[int]:
        times = []
        for i in range(count):
            wire.put(FRAMES[i % BURST])
            before = time.perf_counter_ns()
            take()
            times.append(time.perf_counter_ns() - before)
        return times

    return segment


def least(receiver: socket.socket, wire: Wire) -> Segment:
    receiver.setblocking(False)
    room = memoryview(bytearray(65_536))
    return read_by(lambda: receiver.recv_into(room), wire)


def websocket_client(receiver: socket.socket, wire: Wire) -> Segment:
    peer: Any = websocket.WebSocket(skip_utf8_validation=True)
    peer.sock, peer.connected = receiver, True
    receiver.settimeout(1.0)
    return read_by(peer.recv, wire)


def websockets_parser(receiver: socket.socket, wire: Wire) -> Segment:
    """The library's own parser without I/O, as both its clients drive it."""
    uri = optional("websockets.uri").parse_uri("ws://127.0.0.1/")
    protocol = optional("websockets.client").ClientProtocol(uri, state=optional("websockets.protocol").State.OPEN, max_size=None)
    receiver.settimeout(1.0)

    def take() -> bytes:
        protocol.receive_data(receiver.recv(65_536))
        (found,) = protocol.events_received()
        return found.data  # type: ignore[no-any-return]

    return read_by(take, wire)


def aiohttp_parser(receiver: socket.socket, wire: Wire) -> Segment:
    """The library's parser (in C where it was built) and its queue; what asyncio adds to each read is not in it."""
    parts = optional("aiohttp._websocket.reader")
    loop = asyncio.new_event_loop()
    queue = parts.WebSocketDataQueue(optional("aiohttp.base_protocol").BaseProtocol(loop), 65_536, loop=loop)
    try:
        reader = parts.WebSocketReader(queue, 0, False, True)
    except TypeError:  # before release 3.14
        reader = parts.WebSocketReader(queue, 0, False)
    receiver.settimeout(1.0)

    def take() -> bytes:
        reader.feed_data(receiver.recv(65_536))
        return queue._buffer.popleft()[0].data  # type: ignore[no-any-return]

    return read_by(take, wire)


def others(receiver: socket.socket, wire: Wire) -> tuple[dict[str, Callable[[], Segment]], list[str]]:
    """The libraries that are here; and the names of those that are not, or not in a release that this knows."""
    makers = {
        "websocket-client: recv": websocket_client,
        "websockets: recv, its parser": websockets_parser,
        "aiohttp: recv, its parser": aiohttp_parser,
    }
    made: dict[str, Callable[[], Segment]] = {}
    missing = []
    for name, make in makers.items():
        try:
            make(receiver, wire)(1)
        except (AttributeError, ImportError, TypeError, ValueError) as exc:  # noqa: PERF203
            missing.append(f"{name.partition(':')[0]} ({type(exc).__name__})")
            while select.select([receiver], [], [], 0)[0]:
                receiver.recv(65_536)
        else:
            made[name] = functools.partial(make, receiver, wire)
    return made, missing


# --- ours ----------------------------------------------------------------------------------------------------


class Ours:
    """A receive room on the main thread, connected to a server that sends when it is told to."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._line = Line(rate_hz=RATE_HZ, channels=1, device_rate_hz=RATE_HZ, codec=codec_named("pcm_s16le"), effects=())
        self._sender: Any = None
        self._connection: Any = None
        self._times: list[int] = []
        self._wanted, self._together = 0, 1
        self._since = 0
        self._room: Any = None

    def segment(self, together: int) -> Segment:
        """Times of one packet; `together` come at once."""

        def run(count: int) -> list[int]:
            self._times, self._wanted, self._together = [], max(count, 2 * together), together
            thread = threading.Thread(target=self._serve)
            thread.start()
            self._room = ReceiveRoom(
                make_connection=self._connect,
                protocol=MediaV1("aligned", "demo", RATE_HZ),
                write_wire=self._write,
                write_transcript=lambda **_: None,
                emit=lambda _: None,
                backoff=Backoff(1, lambda low, high: high),
            )
            self._room.run()
            thread.join()
            self._sender.close()
            return self._times[together:]  # the first has a handshake in it

        return run

    def _connect(self) -> WebSocketConnection:
        self._connection = WebSocketConnection(f"ws://127.0.0.1:{self._listener.getsockname()[1]}/")
        return self._connection

    def _serve(self) -> None:
        """Shake hands, take the subscription, and send the first packets."""
        self._sender, _ = self._listener.accept()
        self._sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._sender.recv(4_096)
        key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        self._sender.sendall(answer + accept + b"\r\n\r\n")
        self._sender.recv(4_096)
        self._since = time.perf_counter_ns()
        self._sender.sendall(b"".join(FRAMES[: self._together]))

    def _write(self, arrival_ns: int, seq: int, media_time_ns: int, flags: int, payload: Any) -> bool:
        """What the room takes for the ring: the real one, the stop of the clock, and the next packet."""
        decode = self._line.decode
        written = decode.write(arrival_ns, seq, media_time_ns, flags, payload)
        now = time.perf_counter_ns()
        self._times.append(now - self._since)
        if len(self._times) >= self._wanted:
            self._room.stop()
        elif len(self._times) % self._together == 0:
            ring_skip(decode.wire_octets.address, len(decode.wire_records.read(64)) * PACKET_OCTETS)
            Wire(self._sender, self._connection._stream).put(b"".join(FRAMES[: self._together]))
        self._since = time.perf_counter_ns()
        return written


def parts() -> dict[str, Segment]:
    """The steps by themselves, `BURST` times in a row."""
    line = Line(rate_hz=RATE_HZ, channels=1, device_rate_hz=RATE_HZ, codec=codec_named("pcm_s16le"), effects=())
    decode, protocol, reader = line.decode, MediaV1("aligned", "demo", RATE_HZ), MessageReader(1 << 20)
    octets = b"".join(FRAMES)
    messages = [memoryview(packet(seq)) for seq in range(BURST)]
    media: list[Any] = [protocol.feed(message) for message in messages]

    def timed(each: Callable[[], None], before: Callable[[], Any] = lambda: None) -> Segment:
        def run(count: int) -> list[int]:
            times = []
            for _ in range(max(1, count // BURST)):
                before()
                began = time.perf_counter_ns()
                each()
                times.append((time.perf_counter_ns() - began) // BURST)
            return times

        return run

    def read() -> None:
        for _ in range(BURST):
            reader.next()

    def feed() -> None:
        for message in messages:
            protocol.feed(message)

    def write() -> None:
        for seq, timestamp_ms, payload in media:
            decode.write(0, seq, timestamp_ms * NS_PER_MS, 0, payload)

    def empty() -> None:
        ring_skip(decode.wire_octets.address, len(decode.wire_records.read(64)) * PACKET_OCTETS)

    return {
        "part: MessageReader.next": timed(read, lambda: reader.feed(octets)),
        "part: MediaV1.feed": timed(feed),
        "part: Decode.write": timed(write, empty),
    }


def main() -> None:
    asked = arguments(__doc__ or "")
    rounds, count = (1, BURST) if asked.tiny else (60, SEGMENT)
    ours = Ours()
    segments = {"ours, whole: socket to wire ring": ours.segment(1), f"ours, whole, {BURST} packets came together": ours.segment(BURST)}
    segments |= parts()
    found: dict[str, list[int]] = {}
    with tcp_pair() as (sender, receiver):
        wire = Wire(sender, receiver)
        made, missing = others(receiver, wire)
        reading = {BASELINE: functools.partial(least, receiver, wire), **made}
        for turn in range(-1, rounds):
            for name in (*reading, *segments):
                segment = reading[name]() if name in reading else segments[name]
                times = segment(count)
                if turn >= 0:
                    found.setdefault(name, []).extend(times)
    rows: list[Row] = compare(
        "one binary frame of 20 ms, in Python",
        {name: np.array(times, float) for name, times in found.items()},
        BASELINE,
        block_ms=PACKET_MS,
    )
    report(__doc__ or "", rows, asked, missing=missing)
    if missing:
        print("not here: " + ", ".join(missing))


if __name__ == "__main__":
    main()
