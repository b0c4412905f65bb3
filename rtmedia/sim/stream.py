"""What the simulated server sends and when, without a clock: speech → packets → a network's fates → due times.

Program time is nanoseconds since the stream began. A server turns it into real time by adding one number.
"""

from __future__ import annotations

import base64
import bisect
import functools
import heapq
import itertools
import json
import math
import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rtmedia.codec import codec_named
from rtmedia.errors import ConfigError
from rtmedia.ports import RATES_HZ, Block
from rtmedia.sim.models import trace_from_text
from rtmedia.sim.names import bundle_member
from rtmedia.sim.network import Network, NetworkModel, TraceNetwork
from rtmedia.sim.options import ServerOptions
from rtmedia.sim.script import Script, Utterance, conversation, read_script
from rtmedia.sim.speech import Speech, read_speech
from rtmedia.sim.trace import Trace, read_bundle, read_trace
from rtmedia.units import NS_PER_MS, frames_of_ms, gain_of_db

_HEADERS = {"aligned": struct.Struct("<I4xq"), "packed": struct.Struct("<Iq")}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message that arrives at `due_ns` (program time); `seq` is None for all but audio."""

    due_ns: int
    data: bytes | str
    seq: int | None = None


@dataclass(frozen=True, eq=False)
class Lap:
    """The speech as a stream repeats it: `block`, whole packets of it, and the same encoded."""

    block: Block
    encoded: bytes
    packets: int


@functools.lru_cache(maxsize=8)
def _lap(speech: Speech, codec_name: str, rate_hz: int, channels: int, frames: int, noise_dbfs: float, seed: int) -> Lap:
    block = _padded(speech.at(rate_hz, channels).block, frames)
    if noise_dbfs > -120.0:
        noise = np.random.default_rng(seed).standard_normal(block.shape, np.float32)
        block = block + noise * np.float32(gain_of_db(noise_dbfs))
    codec = codec_named(codec_name)
    if not hasattr(codec, "encode"):
        raise ConfigError(f"codec {codec_name!r} has no encode; the simulated server needs one")
    return Lap(block, codec.encode(block), block.shape[0] // frames)


@dataclass(frozen=True)
class Material:
    """The files behind a program, read once."""

    speech: Speech
    script: Script
    trace: Trace | None

    @classmethod
    def of(cls, options: ServerOptions) -> Material:
        """Read what `options` name; `ConfigError` where that cannot be done."""
        if options.speech:
            speech = read_speech(options.speech)
            script = read_script(options.transcript) if options.transcript else Script(())
        else:
            speech, script = conversation()
        trace = _trace(options.trace, options.network.seed) if options.trace else None
        if trace is not None:
            _check_lengths(trace)
        return cls(speech, script, trace)


def _check_lengths(trace: Trace) -> None:
    if trace.regular and trace.packet_ms not in range(10, 121, 10):
        raise ConfigError(f"trace {trace.name} has a packet every {trace.packet_ms} ms; 10, 20, … 120 ms can be replayed")
    begin_ms, length_ms = trace.timeline()
    odd = np.flatnonzero((length_ms < 10) | (length_ms > 120) | (length_ms % 10 != 0))
    if odd.size:
        at = odd[0]
        raise ConfigError(f"trace {trace.name} has a packet of {length_ms[at]} ms at {begin_ms[at]} ms; 10, 20, … 120 ms can be replayed")


def _trace(name: str, seed: int) -> Trace:
    if name.startswith("model:"):
        return trace_from_text(name, seed)
    bundled = bundle_member(name)
    if bundled is None:
        return read_trace(name)
    path, member = bundled
    try:
        facts = os.stat(path)
    except OSError:
        facts = None
    return _of_bundle(path, member, facts)


@functools.lru_cache(maxsize=32)
def _of_bundle(path: str, member: str, facts: os.stat_result | None) -> Trace:
    """One trace of a bundle; `facts` tell whether the file is still the same."""
    bundle = read_bundle(path, member)
    if member not in bundle:
        raise ConfigError(f"trace bundle {path} has no {member!r}; it has {', '.join(sorted(read_bundle(path)))}")
    return bundle[member]


class Program:
    """The stream that a server tells everybody: encoded once for one rate, cut into packets on demand.

    Parameters
    ----------
    options, material
        What to send.
    rate_hz
        The rate that the subscription asks for.

    Notes
    -----
    Thread: any; immutable.   Real-time: no.
    """

    def __init__(self, options: ServerOptions, material: Material, rate_hz: int) -> None:
        if rate_hz not in RATES_HZ:
            raise ConfigError(f"rate_hz is {rate_hz}; the supported rates are {RATES_HZ}")
        self.options = options
        self.rate_hz = rate_hz
        self.trace = material.trace
        self.packet_ms = round(material.trace.packet_ms) if material.trace is not None else options.packet_ms
        self.packet_ns = self.packet_ms * NS_PER_MS
        frames = frames_of_ms(self.packet_ms, rate_hz)
        noise = options.noise_dbfs, options.network.seed if options.noise_dbfs > -120.0 else 0
        self.lap = _lap(material.speech, options.codec, rate_hz, options.channels, frames, *noise)
        self._encoded = self.lap.encoded
        self.lap_packets = self.lap.packets
        self._packet_octets = len(self._encoded) // self.lap_packets
        #: Begin and length of every packet of a trace whose sender pauses or changes its packets, in ms; else None.
        self._timeline: tuple[list[int], list[int]] | None = None
        if self.trace is not None and not self.trace.regular:
            begin_ms, length_ms = self.trace.timeline()
            self._timeline = begin_ms.tolist(), length_ms.tolist()
        self._octets_per_s = len(self._encoded) // self.lap.block.shape[0] * rate_hz
        self.utterances = material.script.utterances if options.transcripts else ()
        #: Packets until the end of the stream; None where it has none.
        self.packets: int | None = None
        if not options.loop:
            self.packets = int(self.trace.seq[-1] - self.trace.seq[0]) + 1 if self.trace is not None else self.lap_packets

    def payload(self, index: int) -> bytes:
        """Encoded audio of packet `index`; the speech repeats."""
        if self._timeline is None:
            start = index % self.lap_packets * self._packet_octets
            return self._encoded[start : start + self._packet_octets]
        octets_per_frame = self._octets_per_s // self.rate_hz
        start = self.position_ms(index) * self.rate_hz // 1000 * octets_per_frame % len(self._encoded)
        size = frames_of_ms(self.length_ms(index), self.rate_hz) * octets_per_frame
        audio = self._encoded[start : start + size]
        while len(audio) < size:
            audio += self._encoded[: size - len(audio)]
        return audio

    def position_ms(self, index: int) -> int:
        """Media time of a packet's first frame since the stream began."""
        if self._timeline is None:
            return index * self.packet_ms
        begin_ms, length_ms = self._timeline
        lap, row = divmod(index, len(begin_ms))
        return lap * (begin_ms[-1] + length_ms[-1]) + begin_ms[row]

    def length_ms(self, index: int) -> int:
        """Media in a packet."""
        return self.packet_ms if self._timeline is None else self._timeline[1][index % len(self._timeline[1])]

    def payloads(self, indices: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Octets of each of these packets, and all their audio, one behind the other."""
        if self._timeline is not None:
            packets = [self.payload(index) for index in indices.tolist()]
            return np.array([len(packet) for packet in packets], np.int64), np.frombuffer(b"".join(packets), np.uint8)
        lap = np.frombuffer(self._encoded, np.uint8).reshape(self.lap_packets, self._packet_octets)
        return np.full(len(indices), self._packet_octets, np.int64), lap[indices % self.lap_packets].reshape(-1)

    def timestamps_ms(self) -> npt.NDArray[np.int64]:
        """`timestamp_ms` of every packet of a program that ends."""
        packets = self.packets or 0
        if self._timeline is not None:
            return np.array([self.timestamp_ms(index) for index in range(packets)], np.int64)
        return self.options.start_timestamp_ms + np.arange(packets, dtype=np.int64) * self.packet_ms

    def lengths_ms(self) -> npt.NDArray[np.float64]:
        """`length_ms` of every packet of a program that ends."""
        if self._timeline is None:
            return np.full(self.packets or 0, self.packet_ms, np.float64)
        return np.array([self.length_ms(index) for index in range(self.packets or 0)], np.float64)

    def timestamp_ms(self, index: int) -> int:
        """Media time of a packet's first frame on the server's clock."""
        return self.options.start_timestamp_ms + self.position_ms(index)

    def network(self, connection: int) -> Network:
        """The network of the connection with this number, from 0."""
        if self.trace is not None:
            return TraceNetwork(self.trace, repeat=self.options.loop)
        return NetworkModel(self.options.network, connection)

    def first_seq(self, connection: int) -> int:
        """Sequence number of a connection's first packet: each connection has an origin of its own."""
        if connection == 0:
            return self.options.start_seq
        return random.Random(f"{self.options.network.seed}/{connection}/origin").getrandbits(32)

    def index_at(self, position_ns: int) -> int:
        """The first packet that the sender has not sent at `position_ns`."""
        if self._timeline is not None:
            begin_ms, length_ms = self._timeline
            lap, rest_ns = divmod(position_ns, (begin_ms[-1] + length_ms[-1]) * NS_PER_MS)
            return int(lap) * len(begin_ms) + bisect.bisect_left(begin_ms, rest_ns / NS_PER_MS)
        drift_ppm = 0.0 if self.trace is not None else self.options.network.drift_ppm
        return math.ceil(position_ns * (1.0 + drift_ppm * 1e-6) / self.packet_ns)

    def ended_at(self, position_ns: int) -> bool:
        """Whether everything has been sent at `position_ns`."""
        return self.packets is not None and self.index_at(position_ns) >= self.packets


def _padded(block: Block, frames: int) -> Block:
    """Silence up to a whole number of packets, at least one."""
    missing = max(frames - block.shape[0], -block.shape[0] % frames)
    return np.concatenate([block, np.zeros((missing, block.shape[1]), np.float32)]) if missing else block


def deliveries(program: Program, connection: int = 0, position_ns: int = 0) -> Iterator[Delivery]:
    """All messages of one connection that begins at `position_ns`, in the order of their due times."""
    network = program.network(connection)
    first = program.index_at(position_ns)
    first_seq = program.first_seq(connection)
    junk = random.Random(f"{program.options.network.seed}/{connection}/junk")
    last = program.packets
    indices = itertools.count(first) if last is None else range(first, last)
    audio: Iterator[tuple[int, int, Utterance | None]] = ((program.position_ms(index) * NS_PER_MS, index, None) for index in indices)
    waiting: list[tuple[int, int, Delivery]] = []  # a heap; the middle number keeps equals in order
    order = 0
    for send_ns, number, utterance in heapq.merge(audio, texts(program, first), key=lambda event: event[0]):
        if utterance is None:
            horizon_ns = network.earliest_ns(number, send_ns)
            while waiting and waiting[0][0] <= horizon_ns:
                yield heapq.heappop(waiting)[2]
            seq = (first_seq + number - first) & 0xFFFFFFFF
            data = _audio_message(program, seq, number)
            for due_ns in network.arrivals(number, send_ns):
                order += 1
                heapq.heappush(waiting, (due_ns, order, Delivery(due_ns, data, seq)))
                if junk.random() < program.options.junk:
                    order += 1
                    heapq.heappush(waiting, (due_ns, order, Delivery(due_ns, _junk_message(junk))))
        else:
            due_ns = max(network.text_arrival_ns(send_ns), position_ns)
            order += 1
            heapq.heappush(waiting, (due_ns, order, Delivery(due_ns, text_message(utterance, number))))
    while waiting:
        yield heapq.heappop(waiting)[2]


def texts(program: Program, first: int) -> Iterator[tuple[int, int, Utterance]]:
    """Send time, timestamp and utterance, from packet `first` on, lap after lap, sorted."""
    lead_ms = program.options.transcript_lead_ms
    begin_ms = program.position_ms(first)
    end_ms = math.inf if program.packets is None else program.position_ms(program.packets)
    for lap in itertools.count():
        lap_ms = lap * program.lap_packets * program.packet_ms
        if not program.utterances or lap_ms >= end_ms:
            return
        for utterance in program.utterances:
            start_ms = lap_ms + utterance.start_ms
            if start_ms >= end_ms:
                return
            # What a later connection finds already said stays unsaid; the first one gets everything.
            if first and start_ms - lead_ms < begin_ms:
                continue
            send_ms = max(begin_ms, start_ms - lead_ms)
            yield round(send_ms * NS_PER_MS), program.options.start_timestamp_ms + round(start_ms), utterance


def _audio_message(program: Program, seq: int, index: int) -> bytes | str:
    payload, timestamp_ms = program.payload(index), program.timestamp_ms(index)
    if program.options.json_audio:
        coded = base64.b64encode(payload).decode("ascii")
        return json.dumps({"type": "media", "seq": seq, "timestamp": timestamp_ms, "audioData": coded})
    return _HEADERS[program.options.header].pack(seq, timestamp_ms) + payload


def text_message(utterance: Utterance, timestamp_ms: int) -> str:
    """An utterance as it travels."""
    message: dict[str, object] = {
        "type": "transcript",
        "text": utterance.text,
        "confidence": utterance.confidence,
        "timestamp": timestamp_ms,
    }
    if utterance.speaker:
        message["speaker"] = utterance.speaker
    return json.dumps(message, ensure_ascii=False)


#: Messages that no receiver can use. None carries a plausible sequence number together with usable audio.
_JUNK: tuple[bytes | str, ...] = (
    b"",
    b"\x00",
    b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b",
    bytes(15),
    "",
    "not JSON",
    "null",
    "[]",
    "17",
    '"media"',
    "{}",
    '{"type": 5}',
    '{"type": "transcript"}',
    '{"type": "transcript", "text": 3, "timestamp": "soon"}',
    '{"type": "transcript", "text": "no time"}',
    '{"type": "media", "seq": -1, "timestamp": 0, "audioData": "AAAA"}',
    '{"type": "media", "seq": 1.5, "timestamp": 0, "audioData": "AAAA"}',
    '{"type": "media", "seq": 1, "timestamp": 0, "audioData": "?"}',
    '{"type": "media", "seq": 1}',
    '{"type": "unheard of", "seq": 7}',
    '{"type": "transcript", "text": "cut o',
    "[" * 3000,
)


def _junk_message(chance: random.Random) -> bytes | str:
    message = chance.choice(_JUNK)
    if message == b"":
        return bytes(chance.getrandbits(8) for _ in range(chance.randrange(12)))  # shorter than either header
    return message
