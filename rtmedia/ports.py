"""The contracts between the engine and what plugs into it.

Effects and codecs are C functions with a page of memory (`EffectInstance`, `CodecInstance`), because
they run inside compiled loops. Sources and sinks are Python objects that move no audio themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError, SinkError

Block = npt.NDArray[np.float32]

#: Rates every kernel is built for.
RATES_HZ = (8_000, 16_000, 24_000, 32_000, 44_100, 48_000)


@dataclass(frozen=True, slots=True)
class Format:
    """Rate and channels of a stream of blocks (float32, ``(frames, channels)``, full scale ±1.0)."""

    rate_hz: int
    channels: int = 1

    def __post_init__(self) -> None:
        if not 1_000 <= self.rate_hz <= 384_000:
            raise ConfigError(f"rate_hz is {self.rate_hz}; it must lie between 1000 and 384000: check the stream's rate")
        if self.channels not in (1, 2):
            raise ConfigError(f"channels is {self.channels}; mono (1) and stereo (2) are supported: mix the others down first")


class EffectInstance(Protocol):
    """An effect made for one format: an address to call and one record of state.

    The C function is ``void process(float32 *block, int64 frames, int64 channels, void *state)``; it works
    in place, on 1 to ``max_frames`` frames, and never allocates, locks, logs, raises or touches the interpreter.
    """

    address: int
    state: npt.NDArray[Any]
    latency_frames: int

    @property
    def state_address(self) -> int: ...
    def process(self, block: Block) -> None: ...
    def reset(self) -> None: ...
    def update(self, values: tuple[float, ...]) -> None: ...


@runtime_checkable
class Effect(Protocol):
    """A frozen description of an effect (a dataclass of settings)."""

    @property
    def name(self) -> str: ...
    def make(self, format: Format, max_frames: int) -> EffectInstance: ...
    def values(self) -> tuple[float, ...]:
        """The settings that may change while playing, in the order that ``update`` takes them."""
        ...


class CodecInstance(Protocol):
    """A codec made for one stream.

    ``int64 decode(uint8 *payload, int64 length, float32 *out, int64 max_frames, void *state)`` returns the
    frames written to ``out`` (interleaved), or a negative number for a payload it cannot use.
    """

    address: int
    state: npt.NDArray[Any]

    @property
    def state_address(self) -> int: ...
    def decode(self, payload: bytes, max_frames: int) -> Block | None: ...


@runtime_checkable
class Codec(Protocol):
    """A frozen description of a codec."""

    @property
    def name(self) -> str: ...
    def make(self, format: Format, max_frames: int) -> CodecInstance: ...


#: write(arrival_ns, seq, media_time_ns, flags, payload) -> written; False when the wire ring is full.
#: seq is the 32-bit number from the wire; media_time_ns is media time on the sender's clock, or
#: `NO_MEDIA_TIME` where the packet carries none. The payload is good during the call only: it may lie in the
#: connection's buffer, which the next read overwrites.
WireWriter = Callable[[int, int, int, int, "bytes | bytearray | memoryview"], bool]

NO_MEDIA_TIME = -(2**63)

#: Wire flags.
FLAG_NEW_EPOCH = 1  # first packet of a connection: its sequence number and time define the origin
FLAG_END_OF_STREAM = 2  # no payload: the peer ended the stream; play what is left

EPOCH_SHIFT = 8  # with FLAG_NEW_EPOCH, the bits from here on hold the number of the connection, from 1


class TranscriptWriter(Protocol):
    """Takes a transcript from the receive thread to the control thread."""

    def __call__(self, *, text: str, confidence: float, timestamp_ms: int, epoch: int, arrival_ns: int, speaker: str = "") -> None: ...


class PlayRoom(Protocol):
    """What a sink may do with the last room (`rtmedia.rooms.play.Play`): let its compiled code be called."""

    rate_hz: int

    @property
    def channels(self) -> int: ...
    @property
    def callback_address(self) -> int:
        """A ``PaStreamCallback``; its user data is `address`."""
        ...

    @property
    def address(self) -> int: ...
    def pull(self, out: Block, time_ns: int, dac_ns: int) -> None:
        """Fill `out` once."""
        ...

    def start_paced(self, block: Block, period_ns: int, capture: Any | None) -> None:
        """Be asked for `block` every `period_ns`, without the GIL; a `rtmedia.rt.ring.FrameRing` given as `capture` takes a copy."""
        ...

    def stop_paced(self, timeout_s: float) -> bool:
        """End it; False when it did not end in time. Any number of times."""
        ...


class Sink(Protocol):
    """Where sound goes. It moves no audio in Python: it lets compiled code be called.

    Life: ``open`` (finds the device, says its rate), ``start`` (sound is asked for from now on), ``stop``. A sink may have a method
    ``begin`` as well, with the arguments of ``open``: it is called first and returns at once; whatever takes its time can then be
    under way, on a thread of the sink's, while the kernels load. What has begun is stopped, opened or not.

    Attributes
    ----------
    device : str
        What was opened, as a person knows it.
    play_path : str
        ``"callback"``, ``"blocking write"`` or ``"paced"``.
    failure : SinkError or None
        What ended the sink while it played, if anything did; the engine looks, fails, and raises it.
    """

    device: str
    play_path: str
    failure: SinkError | None

    def open(self, channels: int, rate_hz: int | None, source_rate_hz: int) -> int:
        """Find the device; returns its rate. `SinkError` where it cannot be used."""
        ...

    def start(self, play: PlayRoom) -> None:
        """Begin to ask `play` for sound."""
        ...

    def stop(self, timeout_s: float) -> bool:
        """End it; False when the device did not let go in time. May be called twice."""
        ...
