"""The stream of `cold_start.py`: speech that begins at once, and a server that sends it over HTTP in real time, raw or as a WAV."""

from __future__ import annotations

import struct
import threading
import time
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

import numpy as np

RATE_HZ = 16_000
PACKET_MS = 20
_PACKET = RATE_HZ * PACKET_MS // 1000
_LOUD = 0.1
_SECONDS = 8
_FORMAT = struct.pack("<IHHIIHH", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
_ENDLESS_WAV = b"RIFF\xff\xff\xff\xffWAVEfmt " + _FORMAT + b"data\xff\xff\xff\xff"


def speech_at_once(path: Path) -> np.ndarray:
    """Write the embedded conversation from its first loud sample on as a WAV at `path`; returns the samples, 16 bits."""
    from rtmedia.sim.script import conversation

    speech, _ = conversation()
    assert speech.rate_hz == RATE_HZ
    sound = speech.block[:, 0]
    begin = int(np.flatnonzero(np.abs(sound) > _LOUD)[0])
    samples = np.rint(sound[begin : begin + _SECONDS * RATE_HZ] * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())
    return samples


class RawServer:
    """Sends the samples to whoever asks, a packet each 20 ms, from the beginning and for ever. Use with ``with``."""

    def __init__(self, samples: np.ndarray) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream")
                self.end_headers()
                began = time.monotonic()
                place = 0
                try:
                    if self.path.endswith(".wav"):
                        self.wfile.write(_ENDLESS_WAV)
                    while True:
                        packet = samples.take(range(place, place + _PACKET), mode="wrap")
                        self.wfile.write(packet.tobytes())
                        place += _PACKET
                        time.sleep(max(0.0, began + place / RATE_HZ - time.monotonic()))
                except OSError:
                    pass  # the listener has gone

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="raw-server", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/speech"

    def __enter__(self) -> RawServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)
