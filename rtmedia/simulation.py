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
from rtmedia.ports import EPOCH_SHIFT, FLAG_END_OF_STREAM, FLAG_NEW_EPOCH, NO_MEDIA_TIME, Block
from rtmedia.protocol.media_v1 import MediaV1
from rtmedia.protocol.messages import Media, TranscriptMessage
from rtmedia.replay import replay
from rtmedia.rooms.control import Control
from rtmedia.rooms.doorways import WIRE_DTYPE
from rtmedia.rooms.line import Line
from rtmedia.rooms.walk import walk
from rtmedia.sim.activity import MARK_MS, speech_marks
from rtmedia.sim.measures import measure
from rtmedia.sim.options import ServerOptions
from rtmedia.sim.stream import Delivery, Material, Program, deliveries
from rtmedia.sim.trace import Trace
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
    oracles: bool = True,
) -> SimulationReport:
    """Play a stream through the production rooms in simulated time.

    Parameters
    ----------
    config
        As for an engine; of `source` only a ``loopback:?…`` query is used, the sink not at all.
    trace
        CSV of arrivals (``seq,send_ms,arrival_ms``), or ``model:NAME?setting=value`` (`rtmedia.sim.models`); without one, the
        loopback's network model.
    speech
        Any WAV; without one, the embedded conversation. Speech shorter than the trace repeats.
    seed
        Of the network model.
    capture
        A session that an engine wrote down (``Config(capture=…)``): instead of a network, everything is as it was.
        `config` must describe the captured line, or be None. There are no oracles then.
    oracles
        Whether the report has the ``oracle_…`` keys; they cost a fifth of a second for two minutes of stream, up to two where
        the worst packet is seconds late.

    Returns
    -------
    SimulationReport
        Two runs with equal arguments are equal to the bit. With `capture`, the delays in the report are those that the
        jitter buffer measured, what needs the sent sound or the sender's clock is missing, and ``ticks_compared
        ticks_different first_difference`` hold the replay against the live session, tick by tick and bit by bit.

    Notes
    -----
    Thread: the caller's.   Real-time: no.

    The keys of ``report``; all values are plain numbers, None where there was nothing to measure, and ready for JSON. The
    playout delay is that of each tick of 10 ms above the fastest packet of the whole stream, before the device's own
    buffering; percentages are of all frames played unless something else is said.

    ``mean_delay_ms p50_delay_ms p95_delay_ms p99_delay_ms``
        Of the playout delay, ms.
    ``concealed_pct concealed_hold_pct concealed_advance_pct``
        Sound made up, %: all, while waiting for what came later, and in the place of what never did.
    ``speech_concealed_pct``
        The part of the ticks in which the source spoke (`rtmedia.sim.activity`) that is made up, %. None without speech.
    ``concealment_events events_per_min``
        Uninterrupted concealments: how many, and per minute played.
    ``accelerated_pct decelerated_pct stretch_peak_pct``
        Frames cut out and repeated, %; and the most that any second was changed by, % of that second.
    ``late_pct lost_pct duplicate_pct``
        Of packets sent, %: came after their time was over, never came, came twice.
    ``resync_ms``
        Sound left out in jumps because the delay was beyond what the profile allows, ms.
    ``stops_150ms longest_stop_ms`` (also ``stalls longest_stall_ms``)
        Concealments of 150 ms and more: how many, and the longest, ms.
    ``spikes recover50_ms recover90_ms``
        Rises of the playout delay by 150 ms and more within a second (`rtmedia.sim.measures.recoveries`): how many, and the
        median time from the top until 50 and 90 % of the rise are gone, ms. None where there is no spike, or where half
        of them do not recover within 30 s.
    ``packets frames seconds``
        Packets sent; frames and seconds played, concealment included.
    ``price_ms cost_j cost_j_3000 cost_j_10000 cost_j_30000``
        The price set in `config.jitter`, and ``mean_delay_ms + price x concealed share`` at that price and at three fixed
        ones, ms.
    ``oracle_constant_ms oracle_constant_j oracle_constant_concealed_pct``
        The best constant delay for these arrivals at ``price_ms``: delay in ms, cost in ms, packets missed in %.
    ``oracle_schedule_ms oracle_schedule_j oracle_schedule_concealed_pct``
        The same of the best schedule that knows all arrivals and does not stretch (`rtmedia.sim.oracle`).
    ``oracle_stretch_ms oracle_stretch_j oracle_stretch_concealed_pct``
        The same of the best one that may also play 10 % faster and slower, at no charge.
    ``neteq``
        Totals by the names of WebRTC's getStats: see `rtmedia.rooms.neteq`; and ``relativePacketArrivalDelay``, the sum
        over packets of their delay above the fastest of the last two seconds, s.
    ``captions caption_skew_ms``
        Captions shown, and the mean time by which those in time came after their first word was heard, ms.
    """
    if capture is not None:
        if trace is not None or speech is not None or seed is not None:
            raise ConfigError(
                "a capture was given together with trace, speech or seed; it brings packets and arrivals of its own: give one or the other"
            )
        return _again(capture, config)
    config = config if config is not None else Config()
    options = _options(config, trace, speech, seed)
    material = Material.of(options)
    program = Program(options, material, config.rate_hz)
    device_rate_hz = config.device_rate_hz or config.rate_hz
    line = make_line(config, device_rate_hz)
    run = _Walk(line, MediaV1(config.header, config.conversation_id, config.rate_hz))
    run.run(program)
    ticks = np.concatenate(run.ticks)
    report = _report(config, program, material, run, ticks, oracles)
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
        self.duplicates = self.overflow = 0
        self.arrivals: Trace
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

    def _count(self, program: Program) -> None:
        """When each packet arrived, and how many came twice: asked of a second, equal network."""
        network = program.network(0)
        packets = program.packets or 0
        arrival_ms = np.full(packets, np.nan)
        for index in range(packets):
            arrivals = network.arrivals(index, program.position_ms(index) * NS_PER_MS)
            if arrivals:
                arrival_ms[index] = min(arrivals) / NS_PER_MS
            self.duplicates += max(0, len(arrivals) - 1)
        seq = np.arange(packets, dtype=np.int64)
        send_ms = np.array([program.position_ms(index) for index in range(packets)], np.float64)
        length_ms = np.array([program.length_ms(index) for index in range(packets)], np.float64)
        self.arrivals = Trace("of the run", seq, send_ms, arrival_ms, length_ms)


def _report(config: Config, program: Program, material: Material, run: _Walk, ticks: npt.NDArray[Any], oracles: bool) -> dict[str, Any]:
    speech = speech_marks(material.speech.block, material.speech.rate_hz)
    lap = np.zeros(program.lap_packets * program.packet_ms // MARK_MS, np.bool_)  # padded as the program pads
    lap[: speech.size] = speech[: lap.size]
    captions = run.control.captions
    return measure(
        ticks,
        run.line.buffer.state[0],
        run.arrivals,
        rate_hz=config.rate_hz,
        start_ns=EPOCH_NS,
        start_media_ms=program.options.start_timestamp_ms,
        speech=lap,
        price_ms=config.jitter.price_ms,
        duplicates=run.duplicates,
        neteq=run.control.snapshot()["neteq"],
        oracles=oracles,
    ) | {"captions": captions.released, "caption_skew_ms": captions.skew_ms}
