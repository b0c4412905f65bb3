"""Options that several commands share, each written once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rtmedia.realtime import PRIORITY as PRIORITY

if TYPE_CHECKING:
    from rtmedia.realtime import Realtime

CONNECTION, STREAM, SOUND, BUFFER, OUTPUT = "Connection", "Stream", "Sound", "Jitter buffer", "Output"
REALTIME = "Real time (see docs/realtime.md)"


class Header(str, Enum):
    """How a packet's header is written."""

    aligned = "aligned"
    packed = "packed"


class TokenIn(str, Enum):
    """Where the token travels."""

    query = "query"
    header = "header"


class Profile(str, Enum):
    """What the jitter buffer aims at, or a named set of defaults."""

    conversation = "conversation"
    listening = "listening"
    kiosk_low = "kiosk-low"

    @property
    def of_config(self) -> Literal["default", "kiosk-low"]:
        """For `rtmedia.Config`."""
        return "kiosk-low" if self is Profile.kiosk_low else "default"

    @property
    def of_jitter(self) -> Literal["conversation", "listening"]:
        """For `rtmedia.Jitter`."""
        return "listening" if self is Profile.listening else "conversation"


class Transport(str, Enum):
    """What carries the packets."""

    auto = "auto"
    tcp = "tcp"
    udp = "udp"


class Drift(str, Enum):
    """How the delay is brought back to its target."""

    splice = "splice"
    resample = "resample"


class Scheduling(str, Enum):
    """Who makes the compiled threads real-time."""

    auto = "auto"
    fifo = "fifo"
    rtkit = "rtkit"
    off = "off"


@dataclass(frozen=True, slots=True)
class Settings:
    """What stands before the command."""

    debug: bool = False
    log_level: str = "warning"


def settings_of(context: typer.Context) -> Settings:
    """The settings that `rtmedia.cli.main` left in the context."""
    return context.obj if isinstance(context.obj, Settings) else Settings()


# typer reads these annotations at run time, on Python 3.10 too: Optional, not `| None`.
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=OUTPUT)]
StatsJson = Annotated[
    str | None, typer.Option("--stats-json", metavar="FILE", help="Write the final statistics there.", rich_help_panel=OUTPUT)
]
LogLevel = Annotated[
    str | None,
    typer.Option(
        "--log-level", metavar="LEVEL", help="debug, info (with a metrics line every 2 s), warning or error.", rich_help_panel=OUTPUT
    ),
]
Duration = Annotated[
    float | None,
    typer.Option("--duration", metavar="SECONDS", min=0.1, help="Stop after so many seconds of playing.", rich_help_panel=OUTPUT),
]
Network = Annotated[
    str,
    typer.Option(
        "--network", metavar="QUERY", help='What the simulated network does, e.g. "jitter_ms=30&loss=0.02".', rich_help_panel=CONNECTION
    ),
]
EffectsOption = Annotated[
    str,
    typer.Option(
        "--effects",
        "--preset",
        metavar="NAME|LIST",
        help="A preset (voice, voice-low-latency, transparent), or effects: gate,compressor or gate:depth_db=12,compressor:ratio=4.",
        rich_help_panel=SOUND,
    ),
]
Bypass = Annotated[
    str,
    typer.Option("--bypass", metavar="NAMES", help="Effects that begin switched off, e.g. gate,compressor.", rich_help_panel=SOUND),
]
GainDb = Annotated[float, typer.Option("--gain-db", metavar="DB", help="Gain before the limiter.", rich_help_panel=SOUND)]
Capture = Annotated[
    str | None,
    typer.Option(
        "--capture",
        metavar="FILE",
        help="Write the whole session there, for `rtmedia replay`. It holds the sound and the transcripts.",
        rich_help_panel=OUTPUT,
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", metavar="NAME", help="Part of the device's name; see `rtmedia devices`.", rich_help_panel=SOUND)
]
Codec = Annotated[
    str,
    typer.Option("--codec", metavar="NAME", help="pcm_s16le, pcm_s16be, pcm_f32le, pcmu, pcma, or a plug-in's.", rich_help_panel=STREAM),
]
Rate = Annotated[int, typer.Option("--rate", metavar="HZ", help="Rate of the stream.", rich_help_panel=STREAM)]
Channels = Annotated[int, typer.Option("--channels", help="1 or 2.", rich_help_panel=STREAM)]
HeaderOption = Annotated[Header, typer.Option("--header", help="How a packet's header is written.", rich_help_panel=STREAM)]
ProfileOption = Annotated[
    Profile,
    typer.Option(
        "--profile",
        help="At most 1.5 s behind; or every word, up to 20 s behind; or the lowest latency, for a good network and a machine on time.",
        rich_help_panel=BUFFER,
    ),
]
TransportOption = Annotated[
    Transport, typer.Option("--transport", help="tcp: in order, with stalls; udp: lost and reordered; auto: tcp.", rich_help_panel=BUFFER)
]
DriftOption = Annotated[
    Drift,
    typer.Option(
        "--drift",
        help="Delay is corrected by splices (speech), or by playing up to 0.5 % faster or slower (music).",
        rich_help_panel=BUFFER,
    ),
]
MinDelayMs = Annotated[
    float | None,
    typer.Option("--min-delay-ms", metavar="MS", help="Least target delay; the profile's own (10 or 5) otherwise.", rich_help_panel=BUFFER),
]
MaxDelayMs = Annotated[
    float | None,
    typer.Option("--max-delay-ms", metavar="MS", help="Largest target delay; the profile's own otherwise.", rich_help_panel=BUFFER),
]
PriceMs = Annotated[
    float | None,
    typer.Option(
        "--price-ms",
        metavar="MS",
        help="Delay that is worth as much as 100 % concealment: higher is smoother and later; the profile's own (10000 or 3000) otherwise.",
        rich_help_panel=BUFFER,
    ),
]
RealtimeOption = Annotated[
    Scheduling,
    typer.Option(
        "--realtime",
        help="Schedule the audio threads before all ordinary ones: directly (fifo), through RealtimeKit, or whichever is granted (auto).",
        rich_help_panel=REALTIME,
    ),
]
RealtimePriority = Annotated[
    int, typer.Option("--realtime-priority", metavar="N", help="1 to 98, for --realtime.", rich_help_panel=REALTIME)
]
LockMemory = Annotated[
    bool, typer.Option("--lock-memory", help="Nothing of this process is swapped out or read from disk again.", rich_help_panel=REALTIME)
]
Cpus = Annotated[str, typer.Option("--cpus", metavar="LIST", help="Cores for the audio threads, e.g. 2,3.", rich_help_panel=REALTIME)]
SwitchIntervalMs = Annotated[
    float | None,
    typer.Option(
        "--switch-interval-ms",
        metavar="MS",
        help="After how long a waiting Python thread, such as the one that reads the socket, is let in; Python's own is 5.",
        rich_help_panel=REALTIME,
    ),
]
FreezeGc = Annotated[
    bool, typer.Option("--freeze-gc", help="The garbage collector looks at nothing older than the start.", rich_help_panel=REALTIME)
]


def realtime_of(
    scheduling: Scheduling, priority: int, lock_memory: bool, cpus: str, switch_interval_ms: float | None, freeze_gc: bool
) -> Realtime | None:
    """The setting that these options describe; None where nothing is asked for.

    Raises
    ------
    ConfigError
        A value that no machine could grant, or a priority without ``--realtime``.
    """
    from rtmedia.errors import ConfigError
    from rtmedia.realtime import Realtime

    if scheduling is Scheduling.off and priority != PRIORITY:
        raise ConfigError(f"--realtime-priority is {priority}, but --realtime is off, so no thread would have it: give --realtime auto too")
    try:
        cores = tuple(int(core) for core in cpus.split(",")) if cpus else ()
    except ValueError:
        raise ConfigError(f"--cpus is {cpus!r}; give numbers of cores between commas, such as 2,3") from None
    wish = Realtime(
        scheduling=scheduling.value,
        priority=priority,
        lock_memory=lock_memory,
        cpus=cores,
        switch_interval_ms=switch_interval_ms,
        freeze_gc=freeze_gc,
    )
    return wish if wish.asks else None
