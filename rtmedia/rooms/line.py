"""The line: all rooms of one engine, their doorways and their memory, without a thread or a clock.

The engine gives each room a thread; the simulation calls `Line.step` with a clock of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from rtmedia.dsp.gain import Gain
from rtmedia.dsp.limiter import Limiter
from rtmedia.dsp.resample import make_resampler
from rtmedia.dsp.switch import Switch
from rtmedia.dsp.varispeed import make_varispeed
from rtmedia.errors import ConfigError
from rtmedia.jitter.drift import SPLICE_ABOVE_MS, make_drift
from rtmedia.jitter.splice_map import SpliceMap
from rtmedia.jitter.state import CAP_MS, Buffer
from rtmedia.ports import Codec, Effect, EffectInstance, Format
from rtmedia.presets import check_bypass, effects_of, full_name
from rtmedia.rooms.decode import Decode, decode_step
from rtmedia.rooms.lead import LEAD_RISE_MS
from rtmedia.rooms.play import Play
from rtmedia.rooms.render import (
    GAIN_PLACE,
    HOLD_ON_PAUSE,
    LIMITER_PLACE,
    MAX_EFFECTS,
    PAUSED,
    SPARE_FRAMES,
    SWITCH_PLACE,
    Render,
    render_step,
)
from rtmedia.rt.ring import FrameRing
from rtmedia.rt.words import store_word
from rtmedia.units import frames_of_ms, ms_of_frames

#: What a device may ask for at once and still be given whole: several times what any is known to, and the audio ring, which is
#: never empty and so goes round through all of its memory, stays small.
MOST_ASKED_MS = 400.0


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
        Run in this order at the source's rate, each behind a switch (`rtmedia.dsp.switch`).
    bypass
        Names of those that begin switched off.
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
        bypass: Iterable[str] = (),
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
        self.bypass = check_bypass(bypass, self.names)
        self.effects = [Switch(_steady(effect), on=effect.name not in self.bypass).make(source, block) for effect in effects]
        make = make_resampler if drift == "splice" else make_varispeed
        self.resampler = make(rate_hz, device_rate_hz, channels, block)
        self.gain = Gain(gain_db).make(device, out_block)
        self.limiter = Limiter(ceiling_db).make(device, out_block)
        self.lead_frames = max(frames_of_ms(lead_ms, device_rate_hz), device_rate_hz // 100)
        if drift != "splice":
            # Blocks of changing length drift past the device's calls: just before one the ring may hold a block less.
            self.lead_frames += device_rate_hz // 100
        most = self.lead_frames + frames_of_ms(LEAD_RISE_MS + MOST_ASKED_MS, device_rate_hz)
        self.audio = FrameRing(1 << math.ceil(math.log2(most)), channels)
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
    def names(self) -> tuple[str, ...]:
        """Of the effects, in order."""
        return tuple(effect.name for effect in self.descriptions)

    @property
    def chain_latency_frames(self) -> int:
        """Frames, at the device's rate, by which sound is late after the jitter buffer: effects, resampler, limiter."""
        at_source = sum(effect.latency_frames for effect in self.effects)
        late = at_source * self.device_rate_hz / self.rate_hz + self.resampler.delay_frames
        return round(late + self.gain.latency_frames + self.limiter.latency_frames)

    @property
    def chain_ms(self) -> dict[str, float]:
        """The same in ms, station by station, in the order of a block's way; a name that comes again gets a number."""
        stations = [
            (effect.name, ms_of_frames(made.latency_frames, self.rate_hz))
            for effect, made in zip(self.descriptions, self.effects, strict=True)
        ]
        stations += [
            ("resampler", self.resampler.delay_frames * 1000.0 / self.device_rate_hz),
            ("limiter", ms_of_frames(self.limiter.latency_frames, self.device_rate_hz)),
        ]
        late: dict[str, float] = {}
        for name, late_ms in stations:
            again = sum(known.partition(" ")[0] == name for known in late)
            late[f"{name} {again + 1}" if again else name] = late_ms
        return late

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

    def stamp_by_clock(self) -> None:
        """The ledger's stamps are the machine's clock from now on; else they are the times that the steps are given.

        For the driver with threads, before it starts them.
        """
        self.decode.stamp_by_clock()
        self.render.state["clocked"] = 1

    def pause(self, paused: bool) -> None:
        """Fade out, or back in, between two blocks. Thread: the control side."""
        store_word(self.render.wishes, PAUSED, int(paused))

    def update(
        self,
        *,
        gain_db: float | None = None,
        ceiling_db: float | None = None,
        effects: str | Sequence[Effect] | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        bypass: Iterable[str] | None = None,
    ) -> None:
        """Change settings while playing; each effect takes them over without a click. All of them, or, at a mistake, none.

        Thread: the control side.
        """
        changes: list[tuple[int, EffectInstance, tuple[float, ...]]] = []
        descriptions = self.descriptions if effects is None else self._same_kinds(effects_of(effects))
        if settings is not None and not isinstance(settings, Mapping):
            raise ConfigError(f"settings is {settings!r}; give a dict: {{effect: {{setting: value}}}}")
        for name, values in (settings or {}).items():
            descriptions = _with_settings(descriptions, name, values)
        for place, (before, after) in enumerate(zip(self.descriptions, descriptions, strict=True)):
            _check_live(before, after)
            if after is not before:
                changes.append((place, self.effects[place].settings, after.values()))
        off = self.bypass if bypass is None else check_bypass(bypass, self.names)
        for place, name in enumerate(self.names):
            if (name in off) != (name in self.bypass):
                changes.append((SWITCH_PLACE + place, self.effects[place], (float(name not in off),)))
        if gain_db is not None:
            changes.append((GAIN_PLACE, self.gain, Gain(gain_db).values()))
        if ceiling_db is not None:
            changes.append((LIMITER_PLACE, self.limiter, Limiter(ceiling_db).values()))
        for change in changes:
            self.change(*change)
        self.descriptions, self.bypass = descriptions, off

    def _same_kinds(self, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        if [type(effect) for effect in effects] != [type(effect) for effect in self.descriptions]:
            raise ConfigError(
                f"update was given effects {[effect.name for effect in effects]}; a running engine keeps {list(self.names)}: "
                "give the same ones with new settings, switch some off with bypass, or start another engine"
            )
        return effects


def _with_settings(effects: tuple[Effect, ...], name: str, values: Mapping[str, Any]) -> tuple[Effect, ...]:
    """The chain with other settings in all effects called `name`."""
    name = full_name("settings", name, [effect.name for effect in effects])
    changed = []
    for effect in effects:
        if effect.name == name:
            known: list[str] = [item.name for item in fields(effect)] if is_dataclass(effect) else []
            if not isinstance(values, Mapping):
                raise ConfigError(f"settings of {name!r} are {values!r}; give a dict: {{{name!r}: {{setting: value}}}}")
            if not set(values) <= set(known):
                wrong = ", ".join(sorted(map(str, set(values) - set(known))))
                raise ConfigError(f"effect {name!r} has no setting {wrong}; its settings are {', '.join(known) or 'none'}")
            effect = replace(effect, **values)  # type: ignore[type-var]
        changed.append(effect)
    return tuple(changed)


def _check_live(before: Effect, after: Effect) -> None:
    """Whether an instance made from `before` can become `after`: what is not among the ``values`` is fixed when it is made."""
    if after is before or not is_dataclass(before) or not is_dataclass(after):
        return
    for item in fields(before):
        old, new = getattr(before, item.name), getattr(after, item.name)
        if old is new or old == new or not item.init:
            continue
        try:
            fixed = replace(before, **{item.name: new}).values() == before.values()  # type: ignore[attr-defined]
        except ConfigError:  # valid only together with another change
            continue
        if fixed:
            raise ConfigError(
                f"{item.name} of effect {after.name!r} is {new!r}, but it was made with {old!r}, and that cannot change while playing: "
                "keep it, or start another engine"
            )


def _change_directly(place: int, instance: EffectInstance, values: tuple[float, ...]) -> None:
    """Where nobody has to know between which two blocks they are taken up."""
    instance.update(values)


def _steady(effect: Effect) -> Effect:
    """The variant of an effect for blocks that are always 10 ms, where it offers one (a method ``steady``)."""
    variant = getattr(effect, "steady", None)
    return variant() if variant is not None else effect
