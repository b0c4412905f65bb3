"""Seeded models of networks and senders, as arrival traces.

A model is a *network* (`rtmedia.sim.models.networks`) behind a *sender* (`rtmedia.sim.models.sender`); any goes with any::

    make_trace("tcp", seed=3, seconds=120, loss=0.01, rtt_ms=80)
    make_trace("tcp", sender="tts", lead_ms=3000)
    trace_from_text("tcp?loss=0.01&rtt_ms=80&seed=3&sender=talk")

One name, one seed and one version of NumPy give one trace; sender and network draw from generators of their own, so that the
same packets can be sent through two networks. `MODELS` holds the networks, and under names of their own the settings that
the recorded traces of this project were made with.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from rtmedia.errors import ConfigError
from rtmedia.sim.models import networks
from rtmedia.sim.models.parts import Floats
from rtmedia.sim.models.sender import SENDERS
from rtmedia.sim.trace import Trace

__all__ = ["MODELS", "PRESETS", "make_trace", "settings_of", "trace_from_text"]

_NETWORKS: dict[str, Callable[..., Floats]] = {
    "gauss": networks.gauss,
    "gamma": networks.gamma,
    "pareto": networks.pareto,
    "head_of_line": networks.head_of_line,
    "spikes": networks.spikes,
    "step": networks.step,
    "cellular_mix": networks.cellular,
    "wifi_udp": networks.wifi_udp,
    "outage": networks.outage,
    "tcp": networks.tcp,
}

#: Networks with settings, under a name: those of the recorded traces, and what a long outage is.
PRESETS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "perfect": ("gauss", {"sd_ms": 0.0}),
    "gauss5": ("gauss", {"sd_ms": 5.0}),
    "gamma_reorder": ("gamma", {}),
    "pareto_inorder": ("pareto", {}),
    "ge_loss3": ("gauss", {"sd_ms": 2.0, "loss": 0.03, "burst_packets": 2.5}),
    "ge_loss10": ("gauss", {"sd_ms": 2.0, "loss": 0.10, "burst_packets": 4.0}),
    "ws_stall": ("head_of_line", {}),
    "wifi_spikes": ("spikes", {}),
    "step150": ("step", {}),
    "drift_fast200": ("gauss", {"sd_ms": 2.0, "drift_ppm": 200.0}),
    "drift_slow200": ("gauss", {"sd_ms": 2.0, "drift_ppm": -200.0}),
    "cellular": ("cellular_mix", {}),
}


def make_trace(name: str, seed: int = 1, seconds: float = 80.0, **settings: Any) -> Trace:
    """A trace of the model `name`.

    Parameters
    ----------
    name
        One of `MODELS`.
    seed
        Not negative.
    seconds
        Media time of the stream.
    settings
        ``sender``: one of `rtmedia.sim.models.sender.SENDERS`; ``drift_ppm``: its clock against the receiver's, +100 makes
        100 ppm more sound than is played; and the settings of both network and sender, see `settings_of`.

    Raises
    ------
    ConfigError
        An unknown name or setting, or a value out of its limits.
    """
    if name not in MODELS:
        raise ConfigError(f"model is {name!r}; the models are {', '.join(MODELS)}")
    network, preset = PRESETS.get(name, (name, {}))
    settings = {"sender": "regular", "drift_ppm": 0.0, **preset, **settings}
    sender, drift_ppm = str(settings.pop("sender")), float(settings.pop("drift_ppm"))
    if sender not in SENDERS:
        raise ConfigError(f"sender is {sender!r}; the senders are {', '.join(SENDERS)}")
    known = {"network": _settings(_NETWORKS[network]), "sender": _settings(SENDERS[sender])}
    unknown = sorted(set(settings) - known["network"].keys() - known["sender"].keys())
    if unknown:
        own = ", ".join([*known["network"], *known["sender"]])
        raise ConfigError(f"{unknown[0]!r} is no setting of the model {name} with the sender {sender}; the settings are {own}")
    if not -100_000.0 <= drift_ppm <= 100_000.0:
        raise ConfigError(f"drift_ppm is {drift_ppm}; it must lie between -100000 and 100000")
    if not 0 <= seed < 2**63:
        raise ConfigError(f"seed is {seed}; it must not be negative")
    packets = SENDERS[sender](_chance(seed, sender), seconds, **_chosen(settings, known["sender"]))
    leave_ms = packets.leave_ms / (1.0 + drift_ppm * 1e-6)
    arrival_ms = _NETWORKS[network](_chance(seed, name), leave_ms, **_chosen(settings, known["network"]))
    regular = bool(np.all(np.diff(packets.media_ms) == packets.length_ms[0]) and np.all(packets.length_ms == packets.length_ms[0]))
    # Hundredths of a millisecond, as the recorded traces and their bundle have them.
    seq = np.arange(leave_ms.size, dtype=np.int64)
    arrival_ms = np.asarray(np.round(arrival_ms, 2), np.float64)
    return Trace(name, seq, packets.media_ms, arrival_ms, None if regular else packets.length_ms)


def trace_from_text(text: str, seed: int = 1) -> Trace:
    """The trace that ``NAME?setting=value&…`` describes; `seed` and `seconds` are settings too.

    Parameters
    ----------
    text
        Of which ``model:`` in front may be missing.
    seed
        Where the text gives none.
    """
    name, _, query = text.removeprefix("model:").partition("?")
    if name not in MODELS:
        raise ConfigError(f"model is {name!r}; the models are {', '.join(MODELS)}")
    kinds = settings_of(name)
    settings: dict[str, Any] = {"seed": seed}
    pairs = parse_qsl(query, keep_blank_values=True)
    for setting, value in pairs:
        if setting == "sender":
            if value not in SENDERS:
                raise ConfigError(f"sender is {value!r}; the senders are {', '.join(SENDERS)}")
            kinds = {**kinds, **_settings(SENDERS[value])}
    if len({setting for setting, _ in pairs}) != len(pairs):
        raise ConfigError(f"model:{name} has a setting twice ({query}); give each once")
    for setting, value in pairs:
        if setting not in kinds:
            raise ConfigError(f"{setting!r} is no setting of model:{name}; the settings are {', '.join(kinds)}")
        settings[setting] = _converted(setting, value, kinds[setting])
    return make_trace(name, **settings)


def settings_of(name: str, sender: str = "regular") -> dict[str, Any]:
    """Everything that can be set of a model and a sender, with its default."""
    network, preset = PRESETS.get(name, (name, {}))
    common = {"seed": 1, "seconds": 80.0, "sender": "regular", "drift_ppm": 0.0}
    return {**common, **_settings(SENDERS[sender]), **_settings(_NETWORKS[network]), **preset}


def _model(name: str) -> Callable[..., Trace]:
    def model(seed: int = 1, seconds: float = 80.0, **settings: Any) -> Trace:
        return make_trace(name, seed, seconds, **settings)

    network, preset = PRESETS.get(name, (name, {}))
    chosen = f"\n\nHere with {', '.join(f'{key} = {value}' for key, value in preset.items())}." if preset else ""
    model.__name__ = model.__qualname__ = name
    model.__doc__ = f"{inspect.getdoc(_NETWORKS[network])}{chosen}"
    return model


#: Every model by name: a function of ``(seed, seconds, **settings)`` that says in its docstring what it does.
MODELS: dict[str, Callable[..., Trace]] = {name: _model(name) for name in (*PRESETS, *_NETWORKS)}


def _settings(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}


def _chosen(settings: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name in known}


def _chance(seed: int, name: str) -> np.random.Generator:
    # By name: two models, or a sender and a network, do not share their luck under one seed.
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _converted(name: str, value: str, default: Any) -> Any:
    if isinstance(default, str):
        return value
    try:
        return int(value) if isinstance(default, int) else float(value)
    except ValueError:
        raise ConfigError(f"{name} is {value!r}; give {'a whole number' if isinstance(default, int) else 'a number'}") from None
