"""The players that rtmedia is held against: fed with the same WebSocket stream, each in its own documented way.

``python _latency_players.py PEER URL SECONDS`` is one of them, in a process of its own, as an engine is.

* *sounddevice*: ``OutputStream(latency="low")`` whose callback takes blocks from a queue of 20 (its example
  ``play_long_file.py``), with nothing put there beforehand, since what waits there is latency. An empty queue is silence, a
  full one drops.
* *ffplay*, *mpv*: raw samples through a pipe, with the settings that their manuals and wikis give for low latency.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

RATE_HZ, PACKET_FRAMES, HEADER_OCTETS = 16_000, 320, 16

FFPLAY = [
    *("ffplay", "-hide_banner", "-loglevel", "error", "-nodisp", "-fflags", "nobuffer", "-flags", "low_delay"),
    *("-probesize", "32", "-analyzeduration", "0", "-f", "s16le", "-ar", str(RATE_HZ), "-i", "pipe:0"),
]
MPV = [
    *("mpv", "--no-config", "--no-terminal", "--profile=low-latency", "--audio-buffer=0", "--no-video", "--ao=pulse"),
    *("--demuxer=rawaudio", f"--demuxer-rawaudio-rate={RATE_HZ}", "--demuxer-rawaudio-channels=1"),
    *("--demuxer-rawaudio-format=s16le", "-"),
]
PEERS = ("sounddevice, latency='low'", "ffplay, nobuffer low_delay", "mpv, profile low-latency")


def missing(peer: str) -> str:
    """Why a peer cannot run here; empty where it can."""
    name = peer.partition(",")[0]
    if name == "sounddevice":
        try:
            return "" if find_spec("sounddevice") and __import__("sounddevice") else "sounddevice is not installed"
        except OSError as exc:  # it is, but there is no PortAudio for it
            return f"sounddevice cannot be used ({exc})"
    return "" if shutil.which(name) else f"{name} is not installed"


async def feed(url: str, seconds: float, take: Callable[[bytes], None]) -> None:
    """Subscribe, and give every packet's samples to `take`."""
    import aiohttp

    deadline = time.monotonic() + seconds
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.send_json({"type": "subscribe", "conversationId": "demo", "format": "raw", "sampleRate": RATE_HZ})
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                take(message.data[HEADER_OCTETS:])
            if time.monotonic() > deadline:
                return


def with_sounddevice(url: str, seconds: float) -> None:
    import numpy as np
    import sounddevice

    blocks: queue.Queue[bytes] = queue.Queue(maxsize=20)

    def take(packet: bytes) -> None:
        with contextlib.suppress(queue.Full):
            blocks.put_nowait(packet)

    def callback(out: Any, frames: int, info: Any, status: Any) -> None:
        try:
            out[:, 0] = np.frombuffer(blocks.get_nowait(), "<i2")
        except queue.Empty:
            out[:] = 0

    with sounddevice.OutputStream(samplerate=RATE_HZ, blocksize=PACKET_FRAMES, channels=1, dtype="int16", latency="low", callback=callback):
        asyncio.run(feed(url, seconds, take))
        time.sleep(0.3)


def with_a_pipe(command: list[str], url: str, seconds: float) -> None:
    player = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0)
    assert player.stdin is not None
    pipe = player.stdin
    packets: queue.SimpleQueue[bytes] = queue.SimpleQueue()  # a player that does not read must not hold up the socket

    def write() -> None:
        with contextlib.suppress(OSError):
            while packet := packets.get():
                pipe.write(packet)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        asyncio.run(feed(url, seconds, packets.put))
        time.sleep(0.5)
    finally:
        packets.put(b"")
        player.kill()
        player.wait()


def main() -> None:
    peer, url, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    if peer == PEERS[0]:
        with_sounddevice(url, seconds)
    else:
        with_a_pipe(FFPLAY if peer == PEERS[1] else MPV, url, seconds)
    print(json.dumps({"peer": peer}))


if __name__ == "__main__":
    main()
