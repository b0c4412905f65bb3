"""The other side of many lines, as cheap as Python makes it: one process, one thread, plain sockets, finished frames.

    python _density_sender.py '{"wire": "ws", "streams": 100}'

``ws`` listens, upgrades whoever connects and waits for the subscription; ``rtp`` sends datagrams to the ports it is told.
Its standard input and output are a line each: it says which port it listens on and when all streams are subscribed, is told
the monotonic time at which the first packet is due, and, when its input closes, says what it did.

Every stream gets 20 ms of speech every 20 ms, at 16 kHz or as asked, all from the same recording but each from another place. The
streams are spread over the period in slots of 1 ms: a wake-up for each packet would cost more than the packets.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
import sys
import threading
import time
from typing import Any

PERIOD_NS = 20_000_000
SLOTS = 20
FRAMES = 320
OCTETS = 2 * FRAMES
PAYLOAD_TYPE = 96
LATE_NS = 5_000_000  # a sender that is later than this has measured itself
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_WS_HEADER = struct.Struct("!BBH")
_MEDIA_HEADER = struct.Struct("<I4xq")
_RTP_HEADER = struct.Struct("!BBHII")


def phase_ns(stream: int) -> int:
    """By how much a stream is behind the first one."""
    return stream % SLOTS * (PERIOD_NS // SLOTS)


def speech(rate_hz: int = 16_000) -> list[bytes]:
    """20 ms packets of the embedded conversation, little-endian."""
    import numpy as np

    from rtmedia.sim.script import conversation

    block = conversation()[0].at(rate_hz, 1).block[:, 0]
    octets = np.clip(np.rint(block * 32767.0), -32768, 32767).astype("<i2").tobytes()
    size = OCTETS * rate_hz // 16_000
    return [octets[at : at + size] for at in range(0, len(octets) - size + 1, size)]


def ws_frames(packets: list[bytes]) -> list[bytearray]:
    """Binary frames (RFC 6455 section 5.2) with room for the media header."""
    head = _WS_HEADER.pack(0x82, 126, _MEDIA_HEADER.size + len(packets[0]))
    return [bytearray(head + bytes(_MEDIA_HEADER.size) + packet) for packet in packets]


def rtp_frames(packets: list[bytes]) -> list[bytearray]:
    """RTP packets (RFC 3550 section 5.1) of L16 (RFC 3551 section 4.5.11: big-endian)."""
    import numpy as np

    return [bytearray(_RTP_HEADER.size) + np.frombuffer(packet, "<i2").astype(">i2").tobytes() for packet in packets]


def upgrade(line: socket.socket) -> None:
    """Answer a WebSocket handshake and take the subscription."""
    line.settimeout(20.0)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        octets = line.recv(1)  # not one octet of what follows
        if not octets:
            raise ConnectionError("the client went away during the handshake")
        head += octets
    key = next(text.partition(b":")[2].strip() for text in head.split(b"\r\n") if text.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    line.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    if not line.recv(65_536):  # the subscription is a few hundred octets
        raise ConnectionError("the client went away before it subscribed")
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setblocking(False)


def accept(streams: int) -> list[socket.socket]:
    """Listen until all streams are subscribed."""
    with socket.create_server(("127.0.0.1", 0), backlog=min(4_096, 2 * streams)) as server:
        say(port=server.getsockname()[1])
        lines = []
        while len(lines) < streams:
            line = server.accept()[0]
            try:
                upgrade(line)
            except (OSError, StopIteration):  # it gave up waiting, and will come again
                line.close()
            else:
                lines.append(line)
    return lines


def connected(ports: list[int]) -> list[socket.socket]:
    lines = []
    for port in ports:
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        line.connect(("127.0.0.1", port))
        line.setblocking(False)
        lines.append(line)
    return lines


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


class Sender:
    """Sends everything at its time until `stopping`."""

    def __init__(self, lines: list[socket.socket], wire: str, rate_hz: int) -> None:
        packets = speech(rate_hz)
        self.frames = ws_frames(packets) if wire == "ws" else rtp_frames(packets)
        self.wire = wire
        self.slots = [[(k, lines[k], k * 37) for k in range(slot, len(lines), SLOTS)] for slot in range(SLOTS)]
        self.stopping = threading.Event()
        self.refused = 0  # the receiver's socket was full
        self.gone = 0
        self.late_slots = 0
        self.worst_late_ns = 0
        self.packets = 0

    def run(self, first_ns: int) -> None:
        slot_ns = PERIOD_NS // SLOTS
        tick = 0
        while not self.stopping.is_set():
            due_ns = first_ns + tick * slot_ns
            late_ns = time.monotonic_ns() - due_ns
            if late_ns < 0:
                time.sleep(-late_ns / 1e9)
            elif late_ns > LATE_NS:
                self.late_slots += 1
                self.worst_late_ns = max(self.worst_late_ns, late_ns)
            self._send(self.slots[tick % SLOTS], tick // SLOTS)
            tick += 1

    def _send(self, streams: list[tuple[int, socket.socket, int]], seq: int) -> None:
        frames, count = self.frames, len(self.frames)
        websocket = self.wire == "ws"
        media, rtp = _MEDIA_HEADER.pack_into, _RTP_HEADER.pack_into
        for number, line, offset in streams:
            frame = frames[(seq + offset) % count]
            if websocket:
                media(frame, 4, seq, 20 * seq)
            else:
                rtp(frame, 0, 0x80, PAYLOAD_TYPE, seq & 0xFFFF, seq * FRAMES & 0xFFFF_FFFF, number + 1)
            try:
                if line.send(frame) < len(frame):
                    self.refused += 1  # a part of a frame: this stream is broken, and counted
            except BlockingIOError:
                self.refused += 1
            except OSError:
                self.gone += 1
            self.packets += 1


def main(asked: dict[str, Any]) -> None:
    lines = accept(asked["streams"]) if asked["wire"] == "ws" else connected(asked["ports"])
    sender = Sender(lines, asked["wire"], asked.get("rate_hz", 16_000))
    say(ready=True)
    first_ns = json.loads(sys.stdin.readline())["first_ns"]

    def wait_for_end_of_input() -> None:
        while os.read(0, 4_096):
            pass
        sender.stopping.set()

    threading.Thread(target=wait_for_end_of_input, daemon=True).start()
    cpu_s, wall_s = time.process_time(), time.monotonic()
    sender.run(first_ns)
    wall_s = time.monotonic() - wall_s
    say(
        cpu_pct=100.0 * (time.process_time() - cpu_s) / wall_s,
        packets=sender.packets,
        refused=sender.refused,
        gone=sender.gone,
        late_slots=sender.late_slots,
        worst_late_ms=sender.worst_late_ns / 1e6,
    )


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main(json.loads(sys.argv[1]))
