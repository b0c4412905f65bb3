"""What others play with: PyAudio's and python-sounddevice's callbacks in Python, python-rtmixer's in C behind a ring.

Each runs in a process of its own, as its documentation shows it: a callback that takes the next block from a queue and answers
silence when there is none; or a ring that a thread fills, and that is played again once it has run empty. None of them
brings a network part: `Feed` is the usual one, websocket-client's `WebSocketApp` on a thread. Before the first sound they wait
for as much as an engine holds, its lead and one packet. ``from memory`` is the easier task: the finished samples are there
before anything plays.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rtmedia.sim.loopback import LoopbackServer  # noqa: E402
from tests.live.hostility import Hostility, put_first  # noqa: E402

RATE_HZ = 16_000  # of the stream; the sound server does the rest, as it does for any player of such a stream
BLOCK = RATE_HZ // 100
PACKET_MS = 20
HEADER_OCTETS = 16

#: Which are there: name, what must be installed, and how it is told to the child.
PEERS: dict[str, tuple[str, str]] = {
    "PyAudio, Python callback": ("pyaudio", "pip install PyAudio"),
    "sounddevice, Python callback": ("sounddevice", "pip install sounddevice"),
    "rtmixer, C callback": ("rtmixer", "pip install rtmixer"),
}
FROM_MEMORY = ", from memory"


def available() -> tuple[list[str], list[str]]:
    """Peers that are installed, and those that are not, with what would bring them."""
    here = [name for name, (module, _) in PEERS.items() if find_spec(module)]
    return here, [f"{name} ({hint})" for name, (_, hint) in PEERS.items() if name not in here]


class Feed:
    """Receives the stream on a thread and hands each packet's int16 samples to `take`."""

    def __init__(self, url: str, take: Callable[[bytes], None]) -> None:
        import websocket

        self._take = take
        self._client = websocket.WebSocketApp(url, on_open=self._subscribe, on_message=self._message)
        self._thread = threading.Thread(target=self._client.run_forever, name="feed", daemon=True)
        self._thread.start()

    def _subscribe(self, client: Any) -> None:
        client.send(json.dumps({"type": "subscribe", "conversationId": "bench", "format": "raw", "sampleRate": RATE_HZ}))

    def _message(self, client: Any, message: Any) -> None:
        if isinstance(message, bytes):
            self._take(message[HEADER_OCTETS:])

    def close(self) -> None:
        self._client.close()
        self._thread.join(3.0)


class Queued:
    """Blocks of 10 ms between the feed's thread and a callback, and what the callback went without."""

    def __init__(self) -> None:
        self.blocks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.times_ns: list[int] = []
        self.underrun_frames = 0
        self.xruns = 0

    def put(self, samples: bytes) -> None:
        for at in range(0, len(samples), 2 * BLOCK):
            self.blocks.put(samples[at : at + 2 * BLOCK])

    def next(self, xrun: bool) -> bytes:
        """For the callback."""
        self.times_ns.append(time.monotonic_ns())
        self.xruns += xrun
        try:
            return self.blocks.get_nowait()
        except queue.Empty:
            self.underrun_frames += BLOCK
            return bytes(2 * BLOCK)

    def wait_for(self, ms: float) -> None:
        while self.blocks.qsize() * 10 < ms:
            time.sleep(0.002)

    def found(self) -> dict[str, Any]:
        waiting_ms = self.blocks.qsize() * 10.0
        return {"times_ns": self.times_ns, "underrun_frames": self.underrun_frames, "device_xruns": self.xruns, "waiting_ms": waiting_ms}


def with_pyaudio(queued: Queued, suffer: Callable[[], None]) -> None:
    import pyaudio

    def answer(data: Any, frames: int, info: Any, status: int) -> tuple[bytes, int]:
        return queued.next(bool(status & pyaudio.paOutputUnderflow)), pyaudio.paContinue

    audio = pyaudio.PyAudio()
    stream = audio.open(format=pyaudio.paInt16, channels=1, rate=RATE_HZ, output=True, frames_per_buffer=BLOCK, stream_callback=answer)
    suffer()
    stream.close()
    audio.terminate()


def with_sounddevice(queued: Queued, suffer: Callable[[], None]) -> None:
    import sounddevice

    def fill(out: Any, frames: int, info: Any, status: Any) -> None:
        out[:] = queued.next(bool(status.output_underflow))

    with sounddevice.RawOutputStream(samplerate=RATE_HZ, channels=1, blocksize=BLOCK, dtype="int16", latency="low", callback=fill):
        suffer()


def with_rtmixer(suffer: Callable[[], None], url: str | None, samples: bytes, held_ms: float) -> dict[str, Any]:
    import rtmixer

    def as_float(pcm: bytes) -> np.ndarray:
        return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768

    held = int(held_ms * RATE_HZ / 1000)
    mixer = rtmixer.Mixer(samplerate=RATE_HZ, channels=1, blocksize=BLOCK, latency="low")
    waiting = 0
    with mixer:
        if url is None:
            sound = as_float(samples)
            mixer.play_buffer(sound, channels=1)
            suffer()
        else:
            ring = rtmixer.RingBuffer(mixer.samplesize, 1 << 15)
            action = None

            def take(pcm: bytes) -> None:
                nonlocal action
                ring.write(as_float(pcm))
                # An action ends when its ring is empty; it begins anew with as much as the first one had.
                if (action is None or action not in mixer.actions) and ring.read_available >= held:
                    action = mixer.play_ringbuffer(ring)

            feed = Feed(url, take)
            while action is None:
                time.sleep(0.002)
            suffer()
            waiting = ring.read_available
            feed.close()
    return {"times_ns": [], "underrun_frames": None, "device_xruns": mixer.stats.output_underflows, "waiting_ms": waiting * 1000 / RATE_HZ}


@contextmanager
def stream(wav: Path) -> Iterator[LoopbackServer]:
    """The same server as an engine's, in its own process; no token, because none of the peers knows what that is."""
    with LoopbackServer(f"speech={quote(str(wav))}&token_required=0&packet_ms={PACKET_MS}") as server:
        put_first(server.pid or 0)
        yield server


def play(peer: str, wav: Path, seconds: float, hostile_after_s: float, lead_ms: float, hostility: dict[str, Any]) -> dict[str, Any]:
    """Play in this process, which is for nothing else."""
    host = Hostility(**hostility)
    held_ms = lead_ms + PACKET_MS
    stopping_ns = 0

    def suffer() -> None:
        nonlocal stopping_ns
        deadline = time.monotonic() + seconds
        if hostility:
            time.sleep(hostile_after_s)
            host.begin()
        time.sleep(max(0.0, deadline - time.monotonic()))
        host.end()
        stopping_ns = time.monotonic_ns()

    name = peer.removesuffix(FROM_MEMORY)
    if name == peer:
        with stream(wav) as server:
            host.pid = server.pid or 0
            if name.startswith("rtmixer"):
                found = with_rtmixer(suffer, server.media_url, b"", held_ms)
            else:
                queued = Queued()
                feed = Feed(server.media_url, queued.put)
                queued.wait_for(held_ms)
                (with_pyaudio if name.startswith("PyAudio") else with_sounddevice)(queued, suffer)
                found = queued.found()
                feed.close()
    else:
        samples = wav.read_bytes()[44:]
        if name.startswith("rtmixer"):
            found = with_rtmixer(suffer, None, samples, held_ms)
        else:
            queued = Queued()
            queued.put(samples)
            (with_pyaudio if name.startswith("PyAudio") else with_sounddevice)(queued, suffer)
            found = queued.found() | {"waiting_ms": None}
    return found | {"stopping_ns": stopping_ns, "longest_python_ms": host.longest_ms, "allocated_mib": host.allocated_mib}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(json.dumps(play(wav=Path(asked.pop("wav")), **asked)))
