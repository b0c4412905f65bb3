"""How late are a packet's time of arrival, and the packet, when another thread keeps the interpreter busy?

A process sends a binary frame every 20 ms and writes into it when it did. Here one thread counts, and never gives the
interpreter away before it is asked to; beside it a packet is received, by the receive room and its connection, and by
websocket-client's ``recv`` with a look at the clock after it. *Stamp*: the time of arrival as the receiver tells it, after
the sending. *In hand*: when the payload could be written to a ring. A stamp that is late looks like a bad network to whoever
measures jitter; and each time the receiver gives the interpreter away, it waits for it up to a switch interval (5 ms).
"""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import websocket
from _bench import arguments, report

from rtmedia.io.websocket import WebSocketConnection
from rtmedia.protocol.media_v1 import MediaV1
from rtmedia.protocol.retry import Backoff
from rtmedia.rooms.receive import ReceiveRoom
from rtmedia.rt.clock import now_ns

SENDER = r"""
import base64, hashlib, socket, struct, sys, time
clock = time.perf_counter_ns if sys.platform == "win32" else time.monotonic_ns
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
peer, _ = listener.accept()
peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
head = b""
while b"\r\n\r\n" not in head:
    head += peer.recv(4096)
key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
peer.sendall(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
peer.recv(4096)
due = time.monotonic()
for number in range(int(sys.argv[1])):
    due += 0.02
    time.sleep(max(0.0, due - time.monotonic()))
    message = struct.pack("<I4xq", number, 20 * number) + struct.pack("<q", clock()) + bytes(632)
    peer.sendall(b"\x82\x7e" + struct.pack("!H", len(message)) + message)
end = b'{"type":"end"}'
peer.sendall(b"\x81" + bytes([len(end)]) + end + b"\x88\x02\x03\xe8")
while peer.recv(4096):
    pass
"""

Found = list[tuple[int, int]]  # stamp and in hand, after the sending


def ours(url: str) -> Found:
    found: Found = []

    def write(arrival_ns: int, seq: int, media_time_ns: int, flags: int, payload: Any) -> bool:
        here_ns = now_ns()
        if len(payload) >= 8:
            (sent_ns,) = struct.unpack_from("<q", payload)
            found.append((arrival_ns - sent_ns, here_ns - sent_ns))
        return True

    ReceiveRoom(
        make_connection=lambda: WebSocketConnection(url),
        protocol=MediaV1(),
        write_wire=write,
        write_transcript=lambda **_: None,
        emit=lambda _: None,
        backoff=Backoff(1, lambda low, high: high),
    ).run()
    return found


def websocket_client(url: str) -> Found:
    found: Found = []
    protocol = MediaV1()
    peer = websocket.create_connection(url, skip_utf8_validation=True)
    peer.send("subscribe")
    while isinstance(message := peer.recv(), bytes):
        arrival_ns = now_ns()
        media: Any = protocol.feed(message)
        here_ns = now_ns()
        (sent_ns,) = struct.unpack_from("<q", media.payload)
        found.append((arrival_ns - sent_ns, here_ns - sent_ns))
    peer.close()
    return found


def count(stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        for _ in range(100_000):
            number += 1


def beside_a_busy_thread(receive: Callable[[str], Found], packets: int) -> Found:
    with subprocess.Popen([sys.executable, "-c", SENDER, str(packets)], stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout is not None
        url = f"ws://127.0.0.1:{int(sender.stdout.readline())}/"
        stop = threading.Event()
        busy = threading.Thread(target=count, args=(stop,))
        busy.start()
        try:
            return receive(url)
        finally:
            stop.set()
            busy.join()
            sender.kill()


def main() -> None:
    asked = arguments(__doc__ or "")
    rounds, packets = (1, 5) if asked.tiny else (4, 250)
    peers = {"ours": ours, "websocket-client: recv": websocket_client}
    found: dict[str, Found] = {name: [] for name in peers}
    for turn in range(rounds):
        for name in sorted(peers, reverse=bool(turn % 2)):
            found[name] += beside_a_busy_thread(peers[name], packets)
    rows = []
    for name, times in found.items():
        row: dict[str, Any] = {"peer": name, "packets": len(times)}
        for column, what in enumerate(("stamp", "in hand")):
            late_ms = np.array(times)[:, column] / 1e6
            for label, share in (("p50", 50), ("p99", 99), ("worst", 100)):
                row[f"{what} {label}, ms"] = float(np.percentile(late_ms, share))
        rows.append(row)
    report(__doc__ or "", [], asked, {"after the sending, beside one busy thread": rows})


if __name__ == "__main__":
    main()
