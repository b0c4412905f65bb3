"""The offline driver: the same rooms, no threads, and a clock that jumps to the next event.

A trace or a network model says when each packet arrives; the sink asks for 10 ms every 10 ms of simulated
time. Nothing here decides anything about sound: that is the line's doing, as it is in the engine.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.assembly import make_line
from rtmedia.config import Config
from rtmedia.errors import ConfigError
from rtmedia.events import Event
from rtmedia.jitter.state import ENDED, IDLE, WAIT
from rtmedia.ports import EPOCH_SHIFT, FLAG_END_OF_STREAM, FLAG_NEW_EPOCH, NO_MEDIA_TIME, Block
from rtmedia.protocol.media_v1 import MediaV1
from rtmedia.protocol.messages import Media, TranscriptMessage
from rtmedia.replay import replay
from rtmedia.rooms.control import Control
from rtmedia.rooms.doorways import WIRE_DTYPE
from rtmedia.rooms.line import Line
from rtmedia.rooms.walk import walk
from rtmedia.sim.options import ServerOptions
from rtmedia.sim.stream import Delivery, Material, Program, deliveries
from rtmedia.stats import Stats
from rtmedia.units import NS_PER_MS, NS_PER_S

TICK_NS = 10 * NS_PER_MS
#: Ticks between two looks of the control side, when nobody waits for it.
POLL_TICKS = 64
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
    capture: str | Path | None = None,
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
    capture
        A session that an engine wrote down (``Config(capture=…)``): instead of a network, everything is as it was.
        `config` must describe the captured line, or be None.

    Returns
    -------
    SimulationReport
        Its ``report`` has: ``mean_delay_ms p50_delay_ms p95_delay_ms`` (playout delay of each output tick above the
        fastest packet of the whole stream, before the device's own buffering), ``concealed_pct concealment_events
        accelerated_pct decelerated_pct`` (of all frames played), ``late_pct lost_pct duplicate_pct`` (of packets sent),
        ``frames seconds`` and more. Two runs with equal arguments are equal to the bit. With `capture`, delays are
        those that the jitter buffer measured, and ``ticks_compared ticks_different first_difference`` hold the replay
        against the live session, tick by tick and bit by bit.

    Notes
    -----
    Thread: the caller's.   Real-time: no.
    """
    if capture is not None:
        if trace is not None or speech is not None or seed is not None:
            raise ConfigError(
                "a capture was given together with trace, speech or seed; it brings packets and arrivals of its own: give one or the other"
            )
        return _again(capture, config)
    config = config if config is not None else Config()
    options = _options(config, trace, speech, seed)
    program = Program(options, Material.of(options), config.rate_hz)
    device_rate_hz = config.device_rate_hz or config.rate_hz
    line = make_line(config, device_rate_hz)
    run = _Walk(line, MediaV1(config.header, config.conversation_id, config.rate_hz))
    run.run(program)
    ticks = np.concatenate(run.ticks)
    report = _report(line, ticks, run)
    stats = Stats(
        state="closed",
        source=config.source.partition("?")[0],
        sink="simulation",
        play_path="simulated",
        wire_overflow_total=run.overflow,
        **run.control.snapshot(),
    )
    return SimulationReport(report, np.concatenate(run.blocks), device_rate_hz, tuple(run.events), stats, ticks)


def _again(capture: str | Path, config: Config | None) -> SimulationReport:
    found = replay(capture, config)
    stats = Stats(state="closed", source="capture", sink="simulation", play_path="simulated", **found.counted)
    return SimulationReport(found.report, found.audio, found.rate_hz, found.events, stats, found.ticks)


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
        self._following: Delivery | None = None
        self._last_ns = EPOCH_NS  # the newest arrival
        self._ended = False
        self._arrived: list[tuple[int, int, int, int, int]] = []  # fields of `WIRE_DTYPE`, for the next ticks
        self._payloads: list[bytes] = []
        self._flags = FLAG_NEW_EPOCH | 1 << EPOCH_SHIFT

    def run(self, program: Program) -> None:
        """Deliver every message at its time, and pull until the stream is played out.

        The control side looks every `POLL_TICKS` ticks, and after every tick while a caption waits or the stream
        ends; the ticks between two looks are one compiled call.
        """
        control = self.control
        control.keep_ticks = self.ticks
        messages = deliveries(program)
        self._following = next(messages, None)
        self.line.step(EPOCH_NS)  # fills the audio ring before the device first asks
        now_ns = EPOCH_NS
        count = 0
        while not control.ended:
            ticks = 1 if control.captions.waiting or self._following is None else POLL_TICKS - count % POLL_TICKS
            ticks = self._receive(messages, now_ns, ticks)
            self._play(now_ns, ticks)
            now_ns += ticks * TICK_NS
            count += ticks
            self.events.extend(control.poll(now_ns)[0])
            if self._following is None and now_ns - self._last_ns > TAIL_LIMIT_NS:
                raise AssertionError(f"the stream did not end within {TAIL_LIMIT_NS // NS_PER_S} s of its last packet")
        self.events.extend(control.poll(now_ns)[0])
        self._count(program)

    def _receive(self, messages: Iterator[Delivery], now_ns: int, ticks: int) -> int:
        """Take the messages of the next ticks; returns how many ticks may pass until control must look."""
        following = self._following
        while following is not None and (due_ns := EPOCH_NS + following.due_ns) <= now_ns + ticks * TICK_NS:
            self._take(following.data, due_ns)
            self._last_ns = due_ns
            following = next(messages, None)
            if self.control.captions.waiting or following is None:
                ticks = max(1, -(-(due_ns - now_ns) // TICK_NS))  # not beyond the tick in which it arrived
        self._following = following
        if following is None and not self._ended:
            self._ended = True
            self._arrived.append((now_ns + ticks * TICK_NS, 0, NO_MEDIA_TIME, FLAG_END_OF_STREAM, 0))
        return ticks

    def _take(self, data: bytes | str, arrival_ns: int) -> None:
        item = self.protocol.feed(data)
        if type(item) is Media:
            time_ns = NO_MEDIA_TIME if item.timestamp_ms is None else item.timestamp_ms * NS_PER_MS
            self._arrived.append((arrival_ns, item.seq or 0, time_ns, self._flags, len(item.payload)))
            self._payloads.append(item.payload)
            self._flags = 0
        elif type(item) is TranscriptMessage:
            self.control.captions.add(
                text=item.text,
                confidence=item.confidence,
                timestamp_ms=item.timestamp_ms,
                epoch=1,
                arrival_ns=arrival_ns,
                speaker=item.speaker,
            )

    def _play(self, now_ns: int, ticks: int) -> None:
        """Let the rooms walk through `ticks` ticks with what has arrived for them."""
        line = self.line
        records = np.array(self._arrived, WIRE_DTYPE)
        octets = np.frombuffer(b"".join(self._payloads) or b"\0", np.uint8)
        self._arrived.clear()
        self._payloads.clear()
        frames = line.device_rate_hz // 100
        out = np.empty((ticks * frames, line.channels), np.float32)
        self.overflow += walk(
            line.decode.wire_records.address,
            line.decode.wire_octets.address,
            line.decode.address,
            line.render.address,
            line.play.address,
            records.ctypes.data,
            len(records),
            octets.ctypes.data,
            out.ctypes.data,
            frames,
            ticks,
            now_ns,
            TICK_NS,
        )
        if len(records) and records["flags"][-1] == FLAG_END_OF_STREAM and records["length"][-1] < 0:
            self._ended = False  # the end must arrive: it is sent again, as the receive room does
            self.overflow -= 1
        self.blocks.append(out)
        stamped = records[(records["media_time_ns"] != NO_MEDIA_TIME) & (records["length"] > 0)]
        if len(stamped):
            delays_ms = (stamped["arrival_ns"] - EPOCH_NS) / NS_PER_MS - stamped["media_time_ns"] // NS_PER_MS
            self.fastest_ms = min(self.fastest_ms, float(delays_ms.min()))

    def _count(self, program: Program) -> None:
        """Packets sent, lost and doubled by the network, asked of a second, equal network."""
        network = program.network(0)
        for index in range(program.packets or 0):
            arrivals = network.arrivals(index, index * program.packet_ns)
            self.sent += 1
            self.lost += not arrivals
            self.duplicates += max(0, len(arrivals) - 1)


def _report(line: Line, ticks: npt.NDArray[Any], run: _Walk) -> dict[str, Any]:
    b = line.buffer.state[0]
    playing = ticks[~np.isin(ticks["op"], (IDLE, WAIT, ENDED))]
    if len(playing) == 0 or run.sent == 0:
        raise ConfigError("nothing was played: no packet of the trace arrives; check its arrival_ms column")
    now_ms = (playing["time_ns"] - EPOCH_NS) / NS_PER_MS
    delay_ms = now_ms - playing["media_pos"] * 1000.0 / line.rate_hz - run.fastest_ms
    frames = int(b["total"])
    percent = 100.0 / max(1, frames)
    per_packet = 100.0 / run.sent
    return {
        "mean_delay_ms": float(delay_ms.mean()),
        "p50_delay_ms": float(np.percentile(delay_ms, 50)),
        "p95_delay_ms": float(np.percentile(delay_ms, 95)),
        "concealed_pct": int(b["concealed"]) * percent,
        "concealment_events": int(b["conceal_events"]),
        "accelerated_pct": int(b["accelerated"]) * percent,
        "decelerated_pct": int(b["decelerated"]) * percent,
        "late_pct": int(b["late"]) * per_packet,
        "lost_pct": run.lost * per_packet,
        "duplicate_pct": run.duplicates * per_packet,
        "resync_ms": int(b["resync"]) * 1000.0 / line.rate_hz,
        "stalls": int(b["stalls"]),
        "longest_stall_ms": int(b["longest_stall"]) * 1000.0 / line.rate_hz,
        "packets": run.sent,
        "frames": frames,
        "seconds": frames / line.rate_hz,
        "captions": run.control.captions.released,
        "caption_skew_ms": run.control.captions.skew_ms,
    }
