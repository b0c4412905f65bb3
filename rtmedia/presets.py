"""Chains of effects by name: one table, used by engine, simulation, `rtmedia.process` and the command alike.

The order is always the same: gate, normaliser, compressor; then resampler, gain and limiter, which are stations of the
engine's own. Noise is taken out first, so that nothing behind it takes noise for speech and turns it up; the normaliser brings all callers
to one level, which is what the compressor's threshold counts on; the limiter comes last, where nothing can undo it.

A name is looked up without loading a compiler: the effects themselves are imported when they are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from rtmedia.errors import ConfigError
from rtmedia.ports import Effect

#: The effects of our own: what options and entry points call them -> the name of the description, and where its class is.
KINDS: dict[str, tuple[str, str]] = {
    "gate": ("spectral_gate", "rtmedia.dsp.gate:SpectralGate"),
    "normalizer": ("loudness_normalizer", "rtmedia.dsp.normalizer:LoudnessNormalizer"),
    "compressor": ("compressor", "rtmedia.dsp.compressor:Compressor"),
    "limiter": ("limiter", "rtmedia.dsp.limiter:Limiter"),
    "gain": ("gain", "rtmedia.dsp.gain:Gain"),
    "meter": ("meter", "rtmedia.dsp.meters:Meter"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One effect of a preset: its kind (`KINDS`), and settings that are not its defaults."""

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return KINDS[self.kind][0]

    def make(self) -> Effect:
        """The description; loads its kernels."""
        made: Effect = kind_of(self.kind)(**self.settings)
        return made


#: Name -> effects in their order. What each costs is in docs/effects.md, and checked against the instances by a test.
#: The compressor begins settled: the first word of a call or a file is not to fade in over 300 ms.
PRESETS: dict[str, tuple[Part, ...]] = {
    "voice": (
        Part("gate", {"latency": "10ms"}),
        Part("normalizer"),
        Part("compressor", {"lookahead": True, "warm_start": True}),
    ),
    # 6 ms instead of 10 costs the gate 0.04 of PESQ; without look-ahead the compressor lets the first 3 ms of an onset
    # through, which the limiter behind it catches. Together that is 10 ms less between the speaker's mouth and the ear.
    "voice-low-latency": (
        Part("gate", {"latency": "6ms"}),
        Part("normalizer"),
        Part("compressor", {"lookahead": False, "warm_start": True}),
    ),
    "transparent": (),
}
#: Of an engine or a simulation; `rtmedia.process` may look ahead, so its default is "voice".
LIVE, OFFLINE = "voice-low-latency", "voice"


def kind_of(short: str) -> Any:
    """The class of one of `KINDS`; loads its kernels."""
    module, _, attribute = KINDS[short][1].partition(":")
    return getattr(import_module(module), attribute)


def preset(name: str) -> tuple[Effect, ...]:
    """The effects of a preset.

    Raises
    ------
    ConfigError
        There is none of this name.

    Examples
    --------
    >>> [effect.name for effect in preset("transparent")]
    []
    """
    return tuple(part.make() for part in _parts(name))


def effects_of(effects: str | Sequence[Effect] | None, default: str = LIVE) -> tuple[Effect, ...]:
    """A chain, however it was given: the name of a preset, effects, or None for `default`.

    Raises
    ------
    ConfigError
        There is no such preset, or something in the sequence is no effect.
    """
    if effects is None:
        return preset(default)
    if isinstance(effects, str):
        return preset(effects)
    chain = tuple(effects) if isinstance(effects, Iterable) else effects
    check_effects(chain)
    return chain


def check_effects(effects: str | Iterable[Any] | None) -> None:
    """Whether `effects_of` would take it, without making anything.

    Raises
    ------
    ConfigError
        It would not.
    """
    if isinstance(effects, str):
        _parts(effects)
        return
    if effects is not None and not isinstance(effects, Iterable):
        raise ConfigError(f"effects is {effects!r}; give a preset's name or a sequence: one effect as (effect,)")
    for effect in effects or ():
        if isinstance(effect, type) or not isinstance(effect, Effect):
            raise ConfigError(f"effects holds {effect!r}; every entry needs name, make and values (rtmedia.ports.Effect)")


def names_of(effects: str | Sequence[Effect] | None, default: str = LIVE) -> tuple[str, ...]:
    """The names of a chain's effects in their order, without loading a compiler."""
    if effects is None or isinstance(effects, str):
        return tuple(part.name for part in _parts(effects if effects is not None else default))
    return tuple(effect.name for effect in effects)


def check_bypass(bypass: Iterable[str], names: Sequence[str]) -> tuple[str, ...]:
    """The names of effects in `bypass`, each being one of the chain's; what options call an effect (``gate``) is understood.

    Raises
    ------
    ConfigError
        A name is none of the chain's.
    """
    return tuple(dict.fromkeys(full_name("bypass", name, names) for name in ((bypass,) if isinstance(bypass, str) else bypass)))


def full_name(what: str, name: str, names: Sequence[str]) -> str:
    """The name of an effect of the chain, however it was called; `what` names it for whom.

    Raises
    ------
    ConfigError
        It is none of the chain's.
    """
    full = KINDS[name][0] if isinstance(name, str) and name not in names and name in KINDS else name
    if full in names:
        return full
    known = ", ".join(dict.fromkeys(names)) or "none"
    raise ConfigError(f"{what} holds {name!r}; the effects of this chain are: {known} (the stations behind them cannot be switched)")


def _parts(name: str) -> tuple[Part, ...]:
    if name not in PRESETS:
        raise ConfigError(f"effects is {name!r}; the presets are {', '.join(PRESETS)}: choose one, or give a sequence of effects")
    return PRESETS[name]
