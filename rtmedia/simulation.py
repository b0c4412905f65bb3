"""The offline driver: the same rooms, no threads, and a clock that jumps to the next event.

A trace or a network model says when each packet arrives; the sink asks for 10 ms every 10 ms of simulated
time. Nothing here decides anything about sound: that is the line's doing, as it is in the engine.
"""

from __future__ import annotations

import functools
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.assembly import make_line
from rtmedia.config import Config
from rtmedia.errors import ConfigError
from rtmedia.events import Event
from rtmedia.jitter.splice_map import SpliceMap
from rtmedia.ports import EPOCH_SHIFT, FLAG_END_OF_STREAM, FLAG_NEW_EPOCH, NO_MEDIA_TIME, Block
from rtmedia.protocol.media_v1 import MediaV1
from rtmedia.protocol.messages import MEDIA_TIME_LIMIT_MS, TranscriptMessage
from rtmedia.replay import replay
from rtmedia.rooms.captions import PATIENCE_NS
from rtmedia.rooms.control import Control
from rtmedia.rooms.doorways import MESSAGE_DTYPE, TICK_DTYPE
from rtmedia.rooms.line import Line
from rtmedia.rooms.walk import walk
from rtmedia.sim.activity import MARK_MS, speech_marks
from rtmedia.sim.measures import Playout, measure, playout
from rtmedia.sim.options import ServerOptions
from rtmedia.sim.speech import Speech
from rtmedia.sim.stream import Lap, Material, Program
from rtmedia.sim.timetable import Timetable, timetable
from rtmedia.sim.trace import Trace
from rtmedia.stats import Stats
from rtmedia.units import NS_PER_MS, NS_PER_S

TICK_NS = 10 * NS_PER_MS
#: Most ticks between two looks of the control side: a fraction of what its rings hold.
POLL_TICKS = 1024
#: Simulated time begins here: far from 0, so that nothing takes it for "never".
EPOCH_NS = 1_000 * NS_PER_S
#: After the last packet, playback may take so long to end.
TAIL_LIMIT_NS = 60 * NS_PER_S
#: Of the loopback's settings: faults of a server or of one connection of several. A simulation is one connection that holds.
_ONLY_LIVE = (
    "junk",
    "json_audio",
    "disconnect_after_s",
    "hang_after_s",
    "hang_pong",
    "hang_times",
)


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
    playout_ms : float64 array
        For each tick, the playout delay that the report's figures are of; NaN while nothing plays. Empty for a capture, which may
        have many connections, each with a fastest packet of its own.
    arrivals : Trace or None
        When each packet sent came (`rtmedia.sim.trace.Trace`), in ms from the stream's beginning. None for a capture.
    """

    report: dict[str, Any]
    audio: Block
    rate_hz: int
    events: tuple[Event, ...]
    stats: Stats
    ticks: npt.NDArray[Any] = field(repr=False)
    playout_ms: npt.NDArray[np.float64] = field(repr=False, default_factory=lambda: np.empty(0))
    arrivals: Trace | None = field(repr=False, default=None)

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
    audio: bool = True,
    oracles: bool = True,
) -> SimulationReport:
    """Play a stream through the production rooms in simulated time.

    Parameters
    ----------
    config
        As for an engine; of `source` only a ``loopback:?…`` query is used, the sink not at all. Faults of the server in it
        (``junk json_audio disconnect_after_s hang_…``) are refused: there is one connection, and it holds.
    trace
        CSV of arrivals (``seq,send_ms,arrival_ms``), or ``model:NAME?setting=value`` (`rtmedia.sim.models`); without one, the
        loopback's network model.
    speech
        Any WAV; without one, the embedded conversation. Speech shorter than the trace repeats.
    seed
        Of the network model.
    capture
        A session that an engine wrote down (``Config(capture=…)``): instead of a network, everything is as it was.
        `config` must describe the captured line, or be None. `audio` and `oracles` mean nothing then.
    audio
        Whether to make the sound. Without it the run takes less time and ``audio`` has no frames, but splices are looked up on a grid
        of the speech sent instead of searched in what is played: the figures change a little. J stays within 2 % on most networks; it
        has been 17, 7 and 5 % off on the models ``ge_loss3``, ``ge_loss10`` and ``cellular``. Do not tune for lossy networks with it.
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
    ``fastest_ms``
        What the fastest packet took, from the sender's clock to the receiver's: the zero of the playout delay, ms.
    ``concealed_pct concealed_hold_pct concealed_advance_pct``
        Sound made up, %: all, while waiting for what came later, and in the place of what never did.
    ``closed_pct``
        Sound that was left out, %: of gaps, what was neither made up nor waited for. The oracles make up all that is lost; whoever
        compares a cost with theirs adds this share.
    ``speech_concealed_pct``
        The part of the ticks in which the source spoke (`rtmedia.sim.activity`) that is made up, %. None without speech.
    ``concealment_events events_per_min``
        Uninterrupted concealments: how many, and per minute played.
    ``accelerated_pct decelerated_pct stretch_peak_pct``
        Frames cut out and repeated, %; and the most that any second was changed by, % of that second.
    ``late_pct lost_pct duplicate_pct overflow_pct``
        Of packets sent, %: came after their time was over, never came, came twice, came so many at once that there was no room
        to receive them. Those are concealed, and neither late nor lost.
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
    if not audio:
        line.mute(_splices(program.lap, config.rate_hz), program.options.start_timestamp_ms * config.rate_hz // 1000)
    run = _Walk(line, MediaV1(config.header, config.conversation_id, config.rate_hz), program)
    run.run()
    ticks = np.concatenate([found.view(np.uint8) for found in run.ticks]).view(TICK_DTYPE)
    arrivals, start_ms = run.timetable.arrivals, program.options.start_timestamp_ms
    heard = playout(ticks, arrivals, rate_hz=config.rate_hz, start_ns=EPOCH_NS, start_media_ms=start_ms)
    report = _report(config, program, material, run, ticks, heard, oracles)
    stats = Stats(
        state="closed",
        source=config.source.partition("?")[0],
        sink="simulation",
        play_path="simulated",
        wire_overflow_total=run.overflow,
        **run.control.snapshot(),
    )
    return SimulationReport(report, np.concatenate(run.blocks), device_rate_hz, tuple(run.events), stats, ticks, heard.of_ticks(), arrivals)


def _again(capture: str | Path, config: Config | None) -> SimulationReport:
    found = replay(capture, config)
    stats = Stats(state="closed", source="capture", sink="simulation", play_path="simulated", **found.counted)
    return SimulationReport(found.report, found.audio, found.rate_hz, found.events, stats, found.ticks)


@functools.lru_cache(maxsize=4)
def _marks(speech: Speech) -> npt.NDArray[np.bool_]:
    return speech_marks(speech.block, speech.rate_hz)


@functools.lru_cache(maxsize=4)
def _splices(lap: Lap, rate_hz: int) -> SpliceMap:
    """Kept from one simulation to the next: a search over many settings asks for the same splices."""
    return SpliceMap(lap.block, rate_hz)


def _options(config: Config, trace: str | Path | None, speech: str | Path | None, seed: int | None) -> ServerOptions:
    """The loopback's query, with what the caller names put over it."""
    query = config.source if config.source.startswith("loopback:") else "loopback:"
    options = ServerOptions.from_query(query)
    for name in _ONLY_LIVE:
        value = getattr(options, name)
        if value != ServerOptions.__dataclass_fields__[name].default:
            raise ConfigError(
                f"{name} is {int(value) if isinstance(value, bool) else value}, which a simulation does not do: "
                "leave it out, or try it live with `rtmedia demo` or `rtmedia serve`"
            )
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

    def __init__(self, line: Line, protocol: MediaV1, program: Program) -> None:
        self.line = line
        self.control = Control(line)
        self.events: list[Event] = []
        self.blocks: list[Block] = []
        self.ticks: list[npt.NDArray[Any]] = []
        self.timetable = table = timetable(program)
        self._texts = [(EPOCH_NS + due_ns, protocol.feed(message)) for due_ns, message in table.texts]
        self._last_ns = EPOCH_NS + table.last_ns
        # The end of the stream comes with the tick in which the last message arrived.
        end_ns = EPOCH_NS + max(1, -(-table.last_ns // TICK_NS)) * TICK_NS
        self._records, self._octets = _wire(program, table, end_ns)
        self._arrivals_ns = self._records["arrival_ns"].copy()
        self._payload_addresses = int(self._octets.ctypes.data) + np.append(0, np.cumsum(self._records["length"]))
        self._records_address = int(self._records.ctypes.data)
        decode = line.decode
        self._rooms = (decode.address, line.render.address, line.play.address)
        self._at = 0  # in the records
        self._text_at = 0

    @property
    def overflow(self) -> int:
        """Messages that found no room."""
        return int(np.count_nonzero(self._records["length"] < 0))

    def run(self) -> None:
        """Deliver every message at its time, and pull until the stream is played out.

        The control side looks every `POLL_TICKS` ticks, when a text arrives or has been heard, and after every tick
        once the stream ends; the ticks between two looks are one compiled call.
        """
        control = self.control
        control.keep_ticks = self.ticks
        self.line.step(EPOCH_NS)  # fills the audio ring before the device first asks
        now_ns = EPOCH_NS
        due_ns: int | None = None
        while not control.ended:
            ticks = self._until(now_ns, due_ns)
            now_ns += self._play(now_ns, ticks, wait=due_ns is None) * TICK_NS
            self._take_texts(now_ns)
            events, due_ns = control.poll(now_ns)
            self.events.extend(events)
            if now_ns - self._last_ns > TAIL_LIMIT_NS:
                raise AssertionError(f"the stream did not end within {TAIL_LIMIT_NS // NS_PER_S} s of its last packet")
        self.events.extend(control.poll(now_ns, last=True)[0])

    def _until(self, now_ns: int, due_ns: int | None) -> int:
        """How many ticks may pass until control must look.

        `due_ns` is when the first caption in waiting will be heard, where that is known. It may become later, never earlier.
        """
        first = self.control.captions.first
        stops_ns = [now_ns + POLL_TICKS * TICK_NS]
        if self._at < len(self._records):
            stops_ns.append(int(self._arrivals_ns[-1]))  # the end: it may have to be sent again
        if first is not None:
            stops_ns.append(first[2] + PATIENCE_NS if due_ns is None else due_ns)
        if self._text_at < len(self._texts):
            stops_ns.append(self._texts[self._text_at][0])
        return max(1, -(-(min(stops_ns) - now_ns) // TICK_NS))

    def _take_texts(self, now_ns: int) -> None:
        while self._text_at < len(self._texts) and self._texts[self._text_at][0] <= now_ns:
            arrival_ns, item = self._texts[self._text_at]
            self._text_at += 1
            if isinstance(item, TranscriptMessage):
                self.control.captions.add(
                    text=item.text,
                    confidence=item.confidence,
                    timestamp_ms=item.timestamp_ms,
                    epoch=1,
                    arrival_ns=arrival_ns,
                    speaker=item.speaker,
                )

    def _play(self, now_ns: int, ticks: int, *, wait: bool) -> int:
        """Let the rooms walk through `ticks` ticks, or until the first caption's sound is rendered; returns how many it were."""
        line = self.line
        first = self.control.captions.first if wait else None
        frames = line.device_rate_hz // 100
        silent = bool(line.render.state["mute"][0])
        out = np.empty(((1 if silent else ticks) * frames, line.channels), np.float32)
        done = int(
            walk(
                *self._rooms,
                self._records_address + self._at * MESSAGE_DTYPE.itemsize,
                len(self._records) - self._at,
                int(self._payload_addresses[self._at]),
                out.ctypes.data,
                frames,
                ticks,
                now_ns,
                TICK_NS,
                first[0] if first is not None else 0,
                first[1] * line.rate_hz // 1000 if first is not None else 0,
            )
        )
        self.blocks.append(out[: 0 if silent else done * frames])
        now_ns += done * TICK_NS
        self._at = int(np.searchsorted(self._arrivals_ns, now_ns, side="right"))
        end = self._records[-1]
        if self._at == len(self._records) and end["length"] < 0:
            # the end must arrive: it is sent again, as the receive room does
            self._at -= 1
            end["length"] = 0
            end["arrival_ns"] = self._arrivals_ns[-1] = now_ns + TICK_NS
        return done


def _wire(program: Program, table: Timetable, end_ns: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """All that comes over the wire, as the receive room writes it: `MESSAGE_DTYPE` records, the end last, and their octets."""
    good = np.abs(table.timestamp_ms) < MEDIA_TIME_LIMIT_MS  # a protocol takes no others
    packet = table.packet[good]
    lengths, octets = program.payloads(packet)
    records = np.zeros(len(packet) + 1, MESSAGE_DTYPE)
    records["arrival_ns"][:-1] = EPOCH_NS + table.due_ns[good]
    records["seq"][:-1] = (program.first_seq(0) + packet) & 0xFFFFFFFF
    records["media_time_ns"][:-1] = table.timestamp_ms[good] * NS_PER_MS
    records["length"][:-1] = lengths
    records[-1] = (end_ns, 0, NO_MEDIA_TIME, 0, 0)
    records["flags"][0] = FLAG_NEW_EPOCH | 1 << EPOCH_SHIFT
    records["flags"][-1] = FLAG_END_OF_STREAM
    return records, octets


def _report(
    config: Config, program: Program, material: Material, run: _Walk, ticks: npt.NDArray[Any], heard: Playout, oracles: bool
) -> dict[str, Any]:
    speech = _marks(material.speech)
    lap = np.zeros(program.lap_packets * program.packet_ms // MARK_MS, np.bool_)  # padded as the program pads
    lap[: speech.size] = speech[: lap.size]
    captions = run.control.captions
    return measure(
        ticks,
        run.line.buffer.state[0],
        run.timetable.arrivals,
        heard,
        rate_hz=config.rate_hz,
        speech=lap,
        price_ms=config.jitter.price_ms,
        duplicates=run.timetable.duplicates,
        overflow=run.overflow,
        neteq=run.control.snapshot()["neteq"],
        oracles=oracles,
    ) | {"captions": captions.released, "caption_skew_ms": captions.skew_ms}
