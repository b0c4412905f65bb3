"""Effects as an option's text: ``voice``, ``none``, ``gate,compressor``, ``gate:depth_db=12,compressor:ratio=4``.

A setting that is text may lie in a file: ``gate:noise=@room.txt``.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from rtmedia.errors import ConfigError
from rtmedia.ports import Effect
from rtmedia.presets import KINDS, LIVE, OFFLINE, PRESETS, kind_of, preset

GROUP = "rtmedia.effects"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def parse_effects(text: str, *, live: bool = True) -> str | tuple[Effect, ...]:
    """The effects that `text` names: a preset (given back as it is, nothing is loaded for it), or a list of effects with settings.

    Parameters
    ----------
    live
        ``default`` is the engine's preset, and an effect's settings start from those that it has there; otherwise it is `OFFLINE`.

    Raises
    ------
    ConfigError
        An unknown effect or setting, or a value of the wrong kind.
    """
    wanted = text.strip()
    usual = LIVE if live else OFFLINE
    if wanted.lower() == "default":
        return usual
    if wanted.lower() in ("none", ""):
        return ()
    if wanted in PRESETS:
        return wanted
    bases = preset(usual)
    return tuple(_effect(part.strip(), bases) for part in wanted.split(","))


def parse_names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _effect(text: str, bases: tuple[Effect, ...]) -> Effect:
    name, *settings = (part.strip() for part in text.split(":"))
    kind = _kind(name)
    known = {item.name: item.default for item in fields(kind)} if is_dataclass(kind) else {}
    given: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals or key not in known:
            raise ConfigError(
                f"effect {name!r} has no setting {setting!r}; its settings are {', '.join(known) or 'none'}, written name=value"
            )
        given[key] = _value(f"{name}:{key}", value, known[key])
    for base in bases:
        if type(base) is kind:
            given = {name: getattr(base, name) for name in known} | given
    made: Effect = kind(**given)
    return made


def _kind(name: str) -> Any:
    if name in KINDS:
        return kind_of(name)
    from importlib.metadata import entry_points  # here: it takes 10 ms, and the effects of our own need none

    points = {point.name: point for point in entry_points(group=GROUP)}
    if name in points:
        try:
            return points[name].load()
        except Exception as exc:
            raise ConfigError(
                f"effect {name!r} comes from {points[name].value!r}, which cannot be used ({exc}); repair or remove it"
            ) from exc
    raise ConfigError(
        f"effect is {name!r}; the known effects are {', '.join(sorted({*KINDS, *points}))}, the presets {', '.join(PRESETS)}, "
        "or say none or default"
    )


def _value(what: str, text: str, default: object) -> object:
    """`text` as the type of `default`."""
    if isinstance(default, bool):
        if text.lower() in (*_TRUE, *_FALSE):
            return text.lower() in _TRUE
        raise ConfigError(f"{what} is {text!r}; give 1 or 0")
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            raise ConfigError(f"{what} is {text!r}; give a number") from None
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_text("utf-8").strip()
        except (OSError, ValueError) as exc:
            raise ConfigError(f"{what} is in a file that cannot be read: {exc}") from None
    return text
