"""The offline driver: the same rooms, no threads, and a clock that jumps to the next event.

A trace or a network model says when each packet arrives; the sink asks for 10 ms every 10 ms of simulated
time. Nothing here decides anything about sound: that is the line's doing, as it is in the engine.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.config import Config, make_line
from rtmedia.errors import ConfigError
from rtmedia.events import Event
from rtmedia.jitter.state import ENDED, IDLE, WAIT
from rtmedia.ports import EPOCH_SHIFT, FLAG_END_OF_STREAM, FLAG_NEW_EPOCH, NO_MEDIA_TIME, Block
from rtmedia.protocol.media_v1 import MediaV1
from rtmedia.protocol.messages import Media, TranscriptMessage
from rtmedia.rooms.control import Control
from rtmedia.rooms.decode import decode_step
from rtmedia.rooms.line import Line
from rtmedia.sim.options import ServerOptions
from rtmedia.sim.stream import Material, Program, deliveries
from rtmedia.stats import Stats
from rtmedia.units import NS_PER_MS, NS_PER_S

TICK_NS = 10 * NS_PER_MS
#: Simulated time begins here: far from 0, so that nothing takes it for "never".
EPOCH_NS = 1_000 * NS_PER_S
#: After the last packet, playback may take so long to end.
TAIL_LIMIT_NS = 60 * NS_PER_S


@dataclass(frozen=True)
class SimulationReport:
    """What a simulation found.

    Attributes
    ----------
    report : dict
        See `simulate`.
    audio : float32 array, shape (frames, channels)
        What the device was given, at `rate_hz`.
    rate_hz : int
    events : tuple of Event
        With times on the simulated clock.
    stats : Stats
    ticks : record array
        One record a tick, `rtmedia.rooms.doorways.TICK_DTYPE`.
    """

    report: dict[str, Any]
    audio: Block
    rate_hz: int
    events: tuple[Event, ...]
    stats: Stats
    ticks: npt.NDArray[Any] = field(repr=False)

    def write_wav(self, path: str | Path) -> None:
        """Write the audio as 16-bit WAV."""
        samples = np.clip(np.rint(self.audio * 32768.0), -32768, 32767).astype("<i2")
        with wave.open(str(path), "wb") as file:
            file.setnchannels(self.audio.shape[1])
            file.setsampwidth(2)
            file.setframerate(self.rate_hz)
            file.writeframes(samples.tobytes())


def simulate(
    config: Config | None = None,
    trace: str | Path | None = None,
    speech: str | Path | None = None,
    *,
    seed: int | None = None,
) -> SimulationReport:
    """Play a stream through the production rooms in simulated time.

    Parameters
    ----------
    config
        As for an engine; of `source` only a ``loopback:?…`` query is used, the sink not at all.
    trace
        CSV of arrivals (``seq,send_ms,arrival_ms``); without one, the loopback's network model.
    speech
        Any WAV; without one, the embedded conversation. Speech shorter than the trace repeats.
    seed
        Of the network model.

    Returns
    -------
    SimulationReport
        Its ``report`` has: ``mean_delay_ms p50_delay_ms p95_delay_ms`` (playout delay of each output tick above the
        fastest packet of the whole stream, before the device's own buffering), ``concealed_pct concealment_events
        accelerated_pct decelerated_pct`` (of all frames played), ``late_pct lost_pct duplicate_pct`` (of packets sent),
        ``frames seconds`` and more. Two runs with equal arguments are equal to the bit.

    Notes
    -----
    Thread: the caller's.   Real-time: no.
    """
    config = config if config is not None else Config()
    options = _options(config, trace, speech, seed)
    program = Program(options, Material.of(options), config.rate_hz)
    device_rate_hz = config.device_rate_hz or config.rate_hz
    line = make_line(config, device_rate_hz)
    walk = _Walk(line, MediaV1(config.header, config.conversation_id, config.rate_hz))
    walk.run(program)
    ticks = np.concatenate(walk.ticks)
    report = _report(line, ticks, walk)
    stats = Stats(
        state="closed", source=config.source.partition("?")[0], sink="simulation", play_path="simulated", wire_overflow_total=walk.overflow, **walk.control.snapshot()
    )
    return SimulationReport(report, np.concatenate(walk.blocks), device_rate_hz, tuple(walk.events), stats, ticks)


def _options(config: Config, trace: str | Path | None, speech: str | Path | None, seed: int | None) -> ServerOptions:
    """The loopback's query, with what the caller names put over it."""
    query = config.source if config.source.startswith("loopback:") else "loopback:"
    options = ServerOptions.from_query(query)
    changes: dict[str, Any] = {"codec": config.codec, "channels": config.channels, "header": config.header}
    if trace is not None:
        changes["trace"] = str(trace)
    if speech is not None:
        changes.update(speech=str(speech), transcript="")
    settings = {name: getattr(options, name) for name in options.__dataclass_fields__} | changes
    if seed is not None:
        network = settings["network"]
        settings["network"] = type(network)(**{name: getattr(network, name) for name in network.__dataclass_fields__} | {"seed": seed})
    return ServerOptions(**settings)


class _Walk:
    """One run: the clock, the device and the network in turn."""

    def __init__(self, line: Line, protocol: MediaV1) -> None:
        self.line = line
        self.control = Control(line)
        self.protocol = protocol
        self.events: list[Event] = []
        self.blocks: list[Block] = []
        self.ticks: list[npt.NDArray[Any]] = []
        self.sent = self.lost = self.duplicates = self.overflow = 0
        self.fastest_ms = np.inf
        self._flags = FLAG_NEW_EPOCH | 1 << EPOCH_SHIFT

    def run(self, program: Program) -> None:
        """Deliver every message at its time, and pull until the stream is played out."""
        line, control = self.line, self.control
        control.keep_ticks = self.ticks
        out = np.zeros((line.device_rate_hz // 100, line.channels), np.float32)
        messages = deliveries(program)
        following = next(messages, None)
        line.step(EPOCH_NS)  # fills the audio ring before the device first asks
        now_ns = EPOCH_NS
        last_ns = EPOCH_NS
        ended = False
        count = 0
        while not control.ended:
            now_ns += TICK_NS
            while following is not None and EPOCH_NS + following.due_ns <= now_ns:
                last_ns = EPOCH_NS + following.due_ns
                self._take(following.data, last_ns)
                following = next(messages, None)
            if following is None and not ended:
                ended = line.decode.write(now_ns, 0, NO_MEDIA_TIME, FLAG_END_OF_STREAM, b"")
            line.play.pull(out, now_ns, now_ns)
            self.blocks.append(out.copy())
            line.step(now_ns)
            count += 1
            if control.captions.waiting or count % 64 == 0 or following is None:
                self.events.extend(control.poll(now_ns)[0])
            if following is None and now_ns - last_ns > TAIL_LIMIT_NS:
                raise AssertionError(f"the stream did not end within {TAIL_LIMIT_NS // NS_PER_S} s of its last packet")
        self.events.extend(control.poll(now_ns)[0])
        self._count(program)

    def _take(self, data: bytes | str, arrival_ns: int) -> None:
        item = self.protocol.feed(data)
        if type(item) is Media:
            time_ns = NO_MEDIA_TIME if item.timestamp_ms is None else item.timestamp_ms * NS_PER_MS
            if not self._write(arrival_ns, item.seq or 0, time_ns, item.payload):
                self.overflow += 1  # as live: half a minute of audio at once is more than the rings hold
                return
            self._flags = 0
            if item.timestamp_ms is not None:
                self.fastest_ms = min(self.fastest_ms, (arrival_ns - EPOCH_NS) / NS_PER_MS - item.timestamp_ms)
        elif type(item) is TranscriptMessage:
            self.control.captions.add(
                text=item.text,
                confidence=item.confidence,
                timestamp_ms=item.timestamp_ms,
                epoch=1,
                arrival_ns=arrival_ns,
                speaker=item.speaker,
            )

    def _write(self, arrival_ns: int, seq: int, time_ns: int, payload: bytes) -> bool:
        """Onto the wire ring; where that is full, decode has its turn first, as its thread would."""
        decode = self.line.decode
        if decode.write(arrival_ns, seq, time_ns, self._flags, payload):
            return True
        while decode_step(decode.address, arrival_ns):
            pass
        return decode.write(arrival_ns, seq, time_ns, self._flags, payload)

    def _count(self, program: Program) -> None:
        """Packets sent, lost and doubled by the network, asked of a second, equal network."""
        network = program.network(0)
        for index in range(program.packets or 0):
            arrivals = network.arrivals(index, index * program.packet_ns)
            self.sent += 1
            self.lost += not arrivals
            self.duplicates += max(0, len(arrivals) - 1)


def _report(line: Line, ticks: npt.NDArray[Any], walk: _Walk) -> dict[str, Any]:
    b = line.buffer.state[0]
    playing = ticks[~np.isin(ticks["op"], (IDLE, WAIT, ENDED))]
    if len(playing) == 0 or walk.sent == 0:
        raise ConfigError("nothing was played: no packet of the trace arrives; check its arrival_ms column")
    now_ms = (playing["time_ns"] - EPOCH_NS) / NS_PER_MS
    delay_ms = now_ms - playing["media_pos"] * 1000.0 / line.rate_hz - walk.fastest_ms
    frames = int(b["total"])
    percent = 100.0 / max(1, frames)
    per_packet = 100.0 / walk.sent
    return {
        "mean_delay_ms": float(delay_ms.mean()),
        "p50_delay_ms": float(np.percentile(delay_ms, 50)),
        "p95_delay_ms": float(np.percentile(delay_ms, 95)),
        "concealed_pct": int(b["concealed"]) * percent,
        "concealment_events": int(b["conceal_events"]),
        "accelerated_pct": int(b["accelerated"]) * percent,
        "decelerated_pct": int(b["decelerated"]) * percent,
        "late_pct": int(b["late"]) * per_packet,
        "lost_pct": walk.lost * per_packet,
        "duplicate_pct": walk.duplicates * per_packet,
        "resync_ms": int(b["resync"]) * 1000.0 / line.rate_hz,
        "stalls": int(b["stalls"]),
        "longest_stall_ms": int(b["longest_stall"]) * 1000.0 / line.rate_hz,
        "packets": walk.sent,
        "frames": frames,
        "seconds": frames / line.rate_hz,
        "captions": walk.control.captions.released,
        "caption_skew_ms": walk.control.captions.skew_ms,
    }
