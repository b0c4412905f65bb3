"""Which settings a session's sound depends on: what a capture's header says, and what a replay is held to."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass
from typing import Any

import numpy as np

from rtmedia.config import Config, Jitter
from rtmedia.dsp.noise_profile import NoiseProfile
from rtmedia.errors import ConfigError
from rtmedia.ports import Effect
from rtmedia.presets import KINDS, effects_of, kind_of

#: Settings of `rtmedia.Config` that change what is heard once it has arrived; `jitter`, `effects` and the device's rate besides.
_PLAIN = ("rate_hz", "channels", "codec", "lead_ms", "gain_db", "ceiling_db", "on_pause", "hold_limit_s")


def settings_of(config: Config, device_rate_hz: int) -> dict[str, Any]:
    """What a line is made of, as plain values: equal settings and equal input give equal sound."""
    settings = {name: getattr(config, name) for name in _PLAIN}
    settings["device_rate_hz"] = device_rate_hz
    settings["jitter"] = asdict(config.jitter)
    settings["effects"] = [_described(effect) for effect in effects_of(config.effects)]
    settings["bypass"] = config.bypass
    plain: dict[str, Any] = json.loads(json.dumps(settings))  # tuples become lists, as when read back
    return plain


def _described(effect: Effect) -> dict[str, Any]:
    if is_dataclass(effect):
        return {"name": effect.name} | {item.name: _plain(getattr(effect, item.name)) for item in fields(effect)}
    return {"name": effect.name, "values": list(effect.values())}


def _plain(value: Any) -> Any:
    if isinstance(value, NoiseProfile):
        return value.text  # which the gate takes as well
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, (bool, int, float, str, type(None))) else repr(value)


def check_settings(config: Config, captured: dict[str, Any]) -> None:
    """Whether a line of `config` would be the captured one.

    Raises
    ------
    ConfigError
        Names the first setting that differs.
    """
    given = settings_of(config, config.device_rate_hz or device_rate_of(captured))
    captured = {"bypass": []} | captured  # captures of before there were switches
    for name, value in _flat(given).items():
        before = _flat(captured).get(name)
        if value != before:
            raise ConfigError(f"{name} is {value!r}, but the capture was made with {before!r}; give the same, or no configuration at all")


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": item for inner, item in value.items()})
        else:
            flat[name] = value
    return flat


def config_of(captured: dict[str, Any]) -> Config:
    """The configuration that a capture's header describes.

    Raises
    ------
    ConfigError
        The header is damaged, or names an effect that is not one of rtmedia's own.
    """
    try:
        plain = {name: captured[name] for name in _PLAIN}
        jitter = Jitter(**captured["jitter"])
        effects = tuple(_effect(dict(described)) for described in captured["effects"])
        return Config(**plain, jitter=jitter, effects=effects, bypass=tuple(captured.get("bypass", ())))
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise ConfigError(
            f"the capture's header is damaged ({type(exc).__name__}: {exc}); give the configuration it was made with"
        ) from exc


def device_rate_of(captured: dict[str, Any]) -> int:
    """The rate of the device that a capture was made with."""
    rate_hz = captured.get("device_rate_hz")
    if not isinstance(rate_hz, int) or not 8_000 <= rate_hz <= 384_000:
        raise ConfigError(f"the capture's device_rate_hz is {rate_hz!r}; it must lie between 8000 and 384000: the header is damaged")
    return rate_hz


def _effect(described: dict[str, Any]) -> Effect:
    name = described.pop("name")
    short = next((short for short, (known, _) in KINDS.items() if known == name), None)
    if short is None:
        raise ConfigError(
            f"the capture was made with the effect {name!r}, which is not one of rtmedia's own; give the configuration it was made with"
        )
    made: Effect = kind_of(short)(**described)
    return made


def layout_of(dtype: Any) -> list[list[Any]]:
    """A record's fields as plain values."""
    layout: list[list[Any]] = json.loads(json.dumps(dtype.descr))
    return layout
