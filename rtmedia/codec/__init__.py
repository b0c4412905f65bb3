"""Payload → block. A codec is a frozen description; its ``make`` loads the compiled decoder.

Importing this package, naming a codec and *encoding* need neither numba nor a compiler: only ``make`` does.
Codecs of other packages are found through the entry-point group ``rtmedia.codecs``.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from rtmedia.errors import ConfigError
from rtmedia.ports import Codec

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_BUILT_IN = {
    "pcm_s16le": "rtmedia.codec.pcm:PcmS16le",
    "pcm_s16be": "rtmedia.codec.pcm:PcmS16be",
    "pcm_f32le": "rtmedia.codec.pcm:PcmF32le",
    "pcmu": "rtmedia.codec.g711:Pcmu",
    "pcma": "rtmedia.codec.g711:Pcma",
}


def _points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points  # here: it brings all of `email` along

    return entry_points(group="rtmedia.codecs")


def codec_names() -> list[str]:
    """Every name that `codec_named` knows: the built-in ones first, then those of other packages."""
    return [*_BUILT_IN, *sorted({point.name for point in _points()} - set(_BUILT_IN))]


def is_codec(name: str) -> bool:
    """Whether `codec_named` knows `name`. The installed packages are asked only where it is not built in: that takes 10 ms."""
    return name in _BUILT_IN or name in codec_names()


def codec_named(name: str) -> Codec:
    """The codec called `name`.

    Raises
    ------
    ConfigError
        No codec has that name, or the package that offers it cannot be imported.
    """
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        made: Codec = getattr(import_module(module), attribute)()
        return made
    for point in _points():
        if point.name == name:
            try:
                codec = point.load()()
            except Exception as exc:
                raise ConfigError(f"codec {name!r} comes from {point.value!r}, which cannot be used ({exc}); repair or remove it") from exc
            if not isinstance(codec, Codec):
                raise ConfigError(f"codec {name!r} from {point.value!r} lacks name or make (rtmedia.ports.Codec); repair or remove it")
            return codec
    raise ConfigError(f"codec is {name!r}; the known codecs are {', '.join(codec_names())}")
