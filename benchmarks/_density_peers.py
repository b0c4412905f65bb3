"""One process that receives many streams: an rtmedia engine, an aiortc receiver or a GStreamer pipeline for each.

    python _density_peers.py '{"peer": "rtmedia", "streams": 100, "port": 4711, "warm_up_s": 4, "measure_s": 8}'

It opens everything, says a line (``ready``, and the ports it listens on), is told the monotonic time at which the first packet
is due, takes a look at all streams at each of two further lines, and says how much sound was missed between them.

All peers get the same packets: 20 ms of 16 kHz PCM. Missed is, for each of them, the sound that the listener does not get within
`DEADLINE_MS` of the moment at which the sender was due to send it:

rtmedia
    frames of underrun, frames that concealment made up, packets dropped or late, and streams that play later than that.
    The socket is a WebSocket; then the whole live default chain.
aiortc
    its `RTCRtpReceiver` (RTP parser, statistics, jitter buffer, decoder thread) behind a transport that hands over
    plain datagrams, so neither ICE nor DTLS nor SRTP; one task reads the track and resamples with PyAV, as aiortc's own recorder does.
    L16 is decoded by its `PcmDecoder`. Missed: frames that come out of the resampler later than that, or never. No effects.
GStreamer
    ``udpsrc ! rtpjitterbuffer ! rtpL16depay ! audioconvert ! audioresample ! audiodynamic ! fakesink sync=true``, one
    pipeline a stream, the jitter buffer's latency and the sink's ``max-lateness`` together being the deadline.
    Missed: what the sink dropped as too late, what the jitter buffer lost, and what never came. One effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import threading
import time
from typing import Any

from _density_sender import FRAMES, PAYLOAD_TYPE, PERIOD_NS, phase_ns, say
from _process import thread_names

RATE_HZ = 16_000
PACKET_MS = 20
#: What GStreamer's jitter buffer takes when it is not told otherwise, and more than all of them need.
DEADLINE_MS = 200
#: As it is set, rtmedia plays 40 ms after a packet was sent, and a sender or a thread that was kept from its core for 30 ms is heard: a
#: deadline five times as hard as the others'. So it, too, uses most of what it has: least delay of the jitter buffer, and lead.
LEAST_DELAY_MS, LEAD_MS = 70, 60
#: Of it, how late the sink may be.
LATENESS_MS = 20


#: What rtmedia counts, in packets; and what else is told of it.
DROPPED = ("wire_overflow_total", "packet_overflow_total", "packets_late_total", "packets_lost_total")
TOLD = ("underrun_frames_total", "concealed_ms_total", "reconnects_total", "accelerated_ms_total", "decelerated_ms_total")


class Rtmedia:
    """An engine for each stream, a WebSocket each, no sound card."""

    def __init__(self, asked: dict[str, Any]) -> None:
        from rtmedia.config import Config, Jitter
        from rtmedia.engine import Engine

        source = f"ws://127.0.0.1:{asked['port']}/"
        # The sender, which must be cheap, answers no pings.
        jitter = Jitter(min_delay_ms=LEAST_DELAY_MS, start_delay_ms=LEAST_DELAY_MS)
        config = Config(source=source, sink="null", handshake_timeout_s=60.0, ping_interval_s=600.0, jitter=jitter, lead_ms=LEAD_MS)
        self.engines = [Engine(config.with_(conversation_id=f"s{k}")) for k in range(asked["streams"])]
        self.ports: list[int] = []

    def open(self) -> None:
        for engine in self.engines:
            engine.start()

    def look(self, first_ns: int) -> list[Any]:
        return [engine._snapshot() for engine in self.engines]  # `stats` would take what telemetry has gathered, all at once

    def missed(self, before: list[Any], after: list[Any], first_ns: int, seconds: float) -> dict[str, Any]:
        grown = {name: sum(getattr(b, name) - getattr(a, name) for a, b in zip(before, after, strict=True)) for name in (*DROPPED, *TOLD)}
        behind_ms = [self._behind_ms(k, first_ns) for k in range(len(self.engines))]
        latency = [stats.latency_ms.get("total", {}) for stats in after]
        played_ms = [(b.frames_played_total - a.frames_played_total) * 1000 / RATE_HZ for a, b in zip(before, after, strict=True)]
        lasted_ms = [1000 * (b.uptime_s - a.uptime_s) for a, b in zip(before, after, strict=True)]  # a look at all takes a moment
        silent_ms = sum(max(0.0, lasted - 60 - ms) for lasted, ms in zip(lasted_ms, played_ms, strict=True))
        late_streams = sum(ms is None or ms > DEADLINE_MS for ms in behind_ms)
        missed_ms = min(
            len(self.engines) * seconds * 1000,
            grown["underrun_frames_total"] * 1000 / RATE_HZ
            + grown["concealed_ms_total"]
            + PACKET_MS * sum(grown[name] for name in DROPPED)
            + silent_ms
            + late_streams * seconds * 1000,
        )
        streams_hurt = sum(
            b.underrun_frames_total > a.underrun_frames_total or b.concealed_ms_total > a.concealed_ms_total
            for a, b in zip(before, after, strict=True)
        )
        known = [ms for ms in behind_ms if ms is not None]
        return {
            "missed_ms": missed_ms,
            "streams_hurt": streams_hurt,
            "late_streams": late_streams,
            "delay_ms": {
                "p95 of all, packet to device": max((found.get("p95", 0.0) for found in latency), default=None),
                "worst stream now, due to heard": max(known, default=None),
            },
            "details": {**grown, "silent_ms": silent_ms},
        }

    def _behind_ms(self, stream: int, first_ns: int) -> float | None:
        """By how much the sound that was heard lately was behind the moment at which it was due to be sent."""
        engine = self.engines[stream]
        begin_ns = first_ns + phase_ns(stream)
        # Some time ago: what is late by less than the deadline is known by now, even to a control thread that looks now and then.
        position = max(0, time.monotonic_ns() - begin_ns - 2_500_000_000) * RATE_HZ // 1_000_000_000
        with engine._supervision._lock:
            heard_ns = engine._control.ledger.heard_at_ns(1, position) if engine._control is not None else None
        return None if heard_ns is None else (heard_ns - begin_ns) / 1e6 - position * 1000 / RATE_HZ

    def close(self) -> None:
        for engine in self.engines:
            threading.Thread(target=engine.abort).start()


class Aiortc:
    """A real receiver for each stream, behind a transport without encryption."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.streams = asked["streams"]
        self.ports: list[int] = []
        self.made: list[list[tuple[int, int]]] = [[] for _ in range(self.streams)]  # number of the frame, when it was ready
        self.loop = asyncio.new_event_loop()

    def open(self) -> None:
        threading.Thread(target=self.loop.run_forever, name="asyncio", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._open(), self.loop).result()

    async def _open(self) -> None:
        import aiortc.rtcrtpreceiver as receiving
        from aiortc.codecs.g711 import PcmDecoder
        from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpReceiveParameters
        from aiortc.rtp import RtpPacket

        class L16Decoder(PcmDecoder):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__("pcm_s16be")  # type: ignore[arg-type]
                self.codec.sample_rate = RATE_HZ

        class Transport(asyncio.DatagramProtocol):
            """What stands in for `RTCDtlsTransport`: a queue as aioice has it, and the parser."""

            state = "connected"
            _stats_id = "transport"

            def __init__(self) -> None:
                self.queue: asyncio.Queue[bytes] = asyncio.Queue()

            def datagram_received(self, data: bytes, addr: Any) -> None:
                self.queue.put_nowait(data)

            def _register_rtp_receiver(self, receiver: Any, parameters: Any) -> None:
                self.receiver = receiver

            async def _send_rtp(self, data: bytes) -> None:
                pass

            async def run(self) -> None:
                while True:
                    data = await self.queue.get()
                    await self.receiver._handle_rtp_packet(RtpPacket.parse(data), arrival_time_ms=time.time_ns() // 1_000_000)

        receiving.get_decoder = lambda codec: L16Decoder()
        codec = RTCRtpCodecParameters(mimeType="audio/L16", clockRate=RATE_HZ, channels=1, payloadType=PAYLOAD_TYPE)
        self.kept: list[Any] = []
        for k in range(self.streams):
            line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            line.bind(("127.0.0.1", 0))
            line.setblocking(False)
            self.ports.append(line.getsockname()[1])
            endpoint, transport = await self.loop.create_datagram_endpoint(Transport, sock=line)
            receiver = receiving.RTCRtpReceiver("audio", transport)
            receiver._track = receiving.RemoteStreamTrack(kind="audio")
            await receiver.receive(RTCRtpReceiveParameters(codecs=[codec]))
            self.kept += [
                endpoint,
                receiver,
                self.loop.create_task(transport.run()),
                self.loop.create_task(self._listen(k, receiver.track)),
            ]

    async def _listen(self, stream: int, track: Any) -> None:
        from av import AudioResampler

        resampler = AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
        made = self.made[stream]
        while True:
            frame = await track.recv()
            number = frame.pts // FRAMES
            for whole in resampler.resample(frame):
                whole.to_ndarray()
            made.append((number, time.monotonic_ns()))

    def look(self, first_ns: int) -> int:
        return (time.monotonic_ns() - first_ns) // PERIOD_NS

    def missed(self, before: int, after: int, first_ns: int, seconds: float) -> dict[str, Any]:
        """Of the frames that were due in the time between, those that were not ready in theirs."""
        limit_ns = DEADLINE_MS * 1_000_000
        last = after - DEADLINE_MS // PACKET_MS - 1  # the newest still have time
        missed = hurt = 0
        delays_ms: list[float] = []
        for k, made in enumerate(list(self.made)):
            begin_ns = first_ns + phase_ns(k)
            late_ns = {n: ready_ns - begin_ns - n * PERIOD_NS for n, ready_ns in list(made) if before <= n < last}
            bad = max(0, last - before) - sum(late <= limit_ns for late in late_ns.values())
            missed += bad
            hurt += bad > 0
            delays_ms += [late / 1e6 for late in late_ns.values()]
        delays_ms.sort()
        return {
            "missed_ms": float(missed * PACKET_MS),
            "streams_hurt": hurt,
            "late_streams": hurt,
            "delay_ms": {
                "p95 of all, due to ready": delays_ms[int(0.95 * len(delays_ms))] if delays_ms else None,
                "worst of all, due to ready": delays_ms[-1] if delays_ms else None,
            },
            "details": {"frames": len(delays_ms)},
        }

    def close(self) -> None:
        """The process ends; its decoder threads wait for nothing that must be kept."""


class GStreamer:
    """A pipeline for each stream."""

    LINE = (
        "udpsrc name=in address=127.0.0.1 port=0 caps=application/x-rtp,media=audio,clock-rate=16000,encoding-name=L16,"
        "channels=1,payload={payload} ! rtpjitterbuffer name=jitter latency={latency} ! rtpL16depay ! audioconvert ! audioresample ! "
        "audio/x-raw,format=F32LE,rate=16000 ! audiodynamic characteristics=soft-knee mode=compressor threshold=0.1 ratio=0.33 ! "
        "fakesink name=out sync=true max-lateness={lateness} qos=false"
    )

    def __init__(self, asked: dict[str, Any]) -> None:
        import gi

        gi.require_version("Gst", "1.0")
        from gi.repository import Gst

        Gst.init(None)
        self.gst = Gst
        text = self.LINE.format(payload=PAYLOAD_TYPE, latency=DEADLINE_MS - LATENESS_MS, lateness=LATENESS_MS * 1_000_000)
        self.pipelines = [Gst.parse_launch(text) for _ in range(asked["streams"])]
        self.ports: list[int] = []

    def open(self) -> None:
        for pipeline in self.pipelines:
            if pipeline.set_state(self.gst.State.PLAYING) == self.gst.StateChangeReturn.FAILURE:
                raise RuntimeError("a pipeline does not start")
            self.ports.append(pipeline.get_by_name("in").get_property("port"))

    def look(self, first_ns: int) -> list[dict[str, int]]:
        found = []
        for pipeline in self.pipelines:
            sink = pipeline.get_by_name("out").get_property("stats")
            jitter = pipeline.get_by_name("jitter").get_property("stats")
            found.append(
                {name: sink.get_value(name) for name in ("rendered", "dropped")}
                | {name: jitter.get_value(name) for name in ("num-lost", "num-late")}
            )
        return found

    def missed(self, before: list[dict[str, int]], after: list[dict[str, int]], first_ns: int, seconds: float) -> dict[str, Any]:
        grown = [{name: b[name] - a[name] for name in a} for a, b in zip(before, after, strict=True)]
        due = int(seconds * 1000 / PACKET_MS) - 3  # a look at all of them takes a moment
        bad = [max(0, due - g["rendered"], g["dropped"] + g["num-lost"] + g["num-late"]) for g in grown]
        return {
            "missed_ms": float(sum(bad) * PACKET_MS),
            "streams_hurt": sum(count > 0 for count in bad),
            "late_streams": sum(count > 0 for count in bad),
            "delay_ms": {"fixed by the pipeline": float(DEADLINE_MS - LATENESS_MS)},
            "details": {name: sum(g[name] for g in grown) for name in ("rendered", "dropped", "num-lost", "num-late")},
        }

    def close(self) -> None:
        for pipeline in self.pipelines:
            pipeline.set_state(self.gst.State.NULL)


PEERS = {"rtmedia": Rtmedia, "aiortc": Aiortc, "GStreamer": GStreamer}


def allow_many_files() -> None:
    """An engine has four file numbers; the usual limit is 1024."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(asked: dict[str, Any]) -> None:
    allow_many_files()
    began_s = time.monotonic()
    peer = PEERS[asked["peer"]](asked)
    peer.open()
    say(ready=True, ports=peer.ports, open_s=time.monotonic() - began_s)
    first_ns = json.loads(sys.stdin.readline())["first_ns"]
    looks = []
    for _ in range(2):  # asked for from outside, where the costs are read
        sys.stdin.readline()
        looks.append((peer.look(first_ns), time.monotonic_ns(), time.process_time()))
        say(looked=True)
    (before, began_ns, spent_s), (after, ended_ns, spent_after_s) = looks
    seconds = (ended_ns - began_ns) / 1e9
    say(
        **peer.missed(before, after, first_ns, seconds),
        seconds=seconds,
        own_cpu_s=spent_after_s - spent_s,
        names=thread_names(),
    )
    peer.close()
    sys.stdout.flush()
    os._exit(0)  # nobody waits for hundreds of threads of a peer


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main(json.loads(sys.argv[1]))
