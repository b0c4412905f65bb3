"""The line: all rooms of one engine, their doorways and their memory, without a thread or a clock.

The engine gives each room a thread; the simulation calls `Line.step` with a clock of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.gain import Gain
from rtmedia.dsp.gate import SpectralGate
from rtmedia.dsp.limiter import Limiter
from rtmedia.dsp.resample import make_resampler
from rtmedia.dsp.varispeed import make_varispeed
from rtmedia.errors import ConfigError
from rtmedia.jitter.drift import SPLICE_ABOVE_MS, make_drift
from rtmedia.jitter.splice_map import SpliceMap
from rtmedia.jitter.state import CAP_MS, Buffer
from rtmedia.ports import Codec, Effect, EffectInstance, Format
from rtmedia.rooms.decode import Decode, decode_step
from rtmedia.rooms.play import Play
from rtmedia.rooms.render import GAIN_PLACE, HOLD_ON_PAUSE, LIMITER_PLACE, MAX_EFFECTS, PAUSED, SPARE_FRAMES, Render, render_step
from rtmedia.rt.memory import store_word
from rtmedia.rt.ring import FrameRing
from rtmedia.units import frames_of_ms


class Line:
    """Everything between the wire ring and the device's call, made in one go.

    Parameters
    ----------
    rate_hz, channels
        Of the source.
    device_rate_hz
        Of the sink.
    codec
        How payloads are written.
    effects
        Run in this order at the source's rate.
    transport, profile, price_ms, min_ms, max_ms, start_ms, drift
        See `rtmedia.config.Jitter`.
    gain_db, ceiling_db
        Of the last two stations.
    lead_ms
        Rendered audio that waits for the device.
    hold_limit_ms
        With `hold_on_pause`, how much may wait while paused.

    Notes
    -----
    Thread: built and owned by the driver.   Real-time: all memory is made here, none later.
    """

    def __init__(
        self,
        *,
        rate_hz: int,
        channels: int,
        device_rate_hz: int,
        codec: Codec,
        effects: Sequence[Effect],
        transport: str = "tcp",
        profile: str = "conversation",
        price_ms: float = 10_000.0,
        min_ms: float = 10.0,
        max_ms: float = 1_000.0,
        start_ms: float = 20.0,
        drift: str = "splice",
        gain_db: float = 0.0,
        ceiling_db: float = -1.0,
        lead_ms: float = 20.0,
        hold_on_pause: bool = False,
        hold_limit_ms: float = 30_000.0,
    ) -> None:
        if len(effects) > MAX_EFFECTS:
            raise ConfigError(f"{len(effects)} effects were given; the limit is {MAX_EFFECTS}")
        source = Format(rate_hz, channels)
        device = Format(device_rate_hz, channels)
        self.rate_hz, self.channels, self.device_rate_hz = rate_hz, channels, device_rate_hz
        store_ms = max(8_000.0, 1.5 * max_ms, CAP_MS[profile] + 4_000.0, hold_limit_ms + 4_000.0 if hold_on_pause else 0.0)
        self.buffer = Buffer(
            rate_hz,
            channels,
            transport=transport,
            profile=profile,
            price_ms=price_ms,
            min_ms=min_ms,
            max_ms=max_ms,
            start_ms=start_ms,
            store_ms=store_ms,
            splice_above_ms=0.0 if drift == "splice" else SPLICE_ABOVE_MS,
        )
        block = self.buffer.block_frames
        out_block = device_rate_hz // 100 + SPARE_FRAMES
        self.decode = Decode(codec.make(source, rate_hz // 4), rate_hz, channels)
        self.descriptions = tuple(effects)
        self.effects = [_steady(effect).make(source, block) for effect in effects]
        make = make_resampler if drift == "splice" else make_varispeed
        self.resampler = make(rate_hz, device_rate_hz, channels, block)
        self.gain = Gain(gain_db).make(device, out_block)
        self.limiter = Limiter(ceiling_db).make(device, out_block)
        self.lead_frames = max(frames_of_ms(lead_ms, device_rate_hz), device_rate_hz // 100)
        if drift != "splice":
            # Blocks of changing length drift past the device's calls: just before one the ring may hold a block less.
            self.lead_frames += device_rate_hz // 100
        self.audio = FrameRing(1 << math.ceil(math.log2(device_rate_hz)), channels)
        self.play = Play(self.audio, device_rate_hz)
        self.render = Render(
            self.buffer,
            self.decode.packet_records,
            self.decode.packet_frames,
            self.effects,
            self.resampler,
            self.gain,
            self.limiter,
            self.play,
            rate_hz=rate_hz,
            device_rate_hz=device_rate_hz,
            lead_frames=self.lead_frames,
            max_packet_frames=self.decode.max_frames,
            hold_limit_ms=hold_limit_ms,
            drift=None if drift == "splice" else make_drift(),
        )
        #: change(place, instance, values): how new settings reach an effect.
        self.change: Callable[[int, EffectInstance, tuple[float, ...]], None] = _change_directly
        if hold_on_pause:
            store_word(self.render.wishes, HOLD_ON_PAUSE, 1)

    @property
    def chain_latency_frames(self) -> int:
        """Frames, at the device's rate, by which sound is late after the jitter buffer: effects, resampler, limiter."""
        at_source = sum(effect.latency_frames for effect in self.effects)
        late = at_source * self.device_rate_hz / self.rate_hz + self.resampler.delay_frames
        return round(late + self.gain.latency_frames + self.limiter.latency_frames)

    def mute(self, splices: SpliceMap, origin: int) -> None:
        """From now on nobody listens: everything is decided as ever, but no block is made. Before the first step only.

        Parameters
        ----------
        splices
            Of the speech that will be heard.
        origin
            Where it begins, in frames of the sender's clock.
        """
        self.splices = splices  # kept alive
        self.buffer.state["splice_map"], self.buffer.state["map_origin"] = splices.address, origin
        self.buffer.conceal["header"]["muted"] = 1
        self.render.state["mute"] = 1
        self.play.state["primed"] = 1  # there is no first sound to wait for

    def step(self, now_ns: int) -> bool:
        """Decode what waits, then render what fits. For drivers with one thread."""
        worked = False
        while decode_step(self.decode.address, now_ns):
            worked = True
        return bool(render_step(self.render.address, now_ns)) or worked

    def pause(self, paused: bool) -> None:
        """Fade out, or back in, between two blocks. Thread: the control side."""
        store_word(self.render.wishes, PAUSED, int(paused))

    def update(self, *, gain_db: float | None = None, ceiling_db: float | None = None, effects: Sequence[Effect] | None = None) -> None:
        """Change settings while playing; each effect takes them over without a click. Thread: the control side."""
        if effects is not None:
            kinds = [type(effect) for effect in self.descriptions]
            if [type(effect) for effect in effects] != kinds:
                names = [effect.name for effect in self.descriptions]
                raise ConfigError(
                    f"update was given effects {[effect.name for effect in effects]}; a running engine keeps {names}: "
                    "give the same ones with new settings, or start another engine"
                )
            for place, (instance, effect) in enumerate(zip(self.effects, effects, strict=True)):
                self.change(place, instance, effect.values())
            self.descriptions = tuple(effects)
        if gain_db is not None:
            self.change(GAIN_PLACE, self.gain, Gain(gain_db).values())
        if ceiling_db is not None:
            self.change(LIMITER_PLACE, self.limiter, Limiter(ceiling_db).values())


def default_effects() -> tuple[Effect, ...]:
    """What cleans the sound unless told otherwise: spectral gate, then compressor, both at their lowest latency.

    6 ms instead of 10 costs the gate 0.04 of PESQ; without look-ahead the compressor lets the first 3 ms of an onset
    through, which the limiter behind it catches. Together that is 10 ms less between the speaker's mouth and the ear.
    """
    return (SpectralGate(latency="6ms"), Compressor(lookahead=False))


def _change_directly(place: int, instance: EffectInstance, values: tuple[float, ...]) -> None:
    """Where nobody has to know between which two blocks they are taken up."""
    instance.update(values)


def _steady(effect: Effect) -> Effect:
    """The variant of an effect for blocks that are always 10 ms, where it offers one (a method ``steady``)."""
    variant = getattr(effect, "steady", None)
    return variant() if variant is not None else effect
