"""Sinks by name: ``portaudio``, ``wav:FILE``, ``null``, and what other packages register."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, cast

from rtmedia.errors import ConfigError
from rtmedia.ports import Sink

GROUP = "rtmedia.sinks"


def _built_in(name: str) -> Any:
    if name == "portaudio":
        from rtmedia.io.portaudio import PortAudioSink

        return PortAudioSink
    if name in ("wav", "null"):
        from rtmedia.io.paced import NullSink, WavSink

        return WavSink if name == "wav" else NullSink
    return None


def make_sink(spec: str, device: str | None = None) -> Sink:
    """Make the sink that `spec` names; it is not opened.

    Parameters
    ----------
    spec
        ``NAME`` or ``NAME:TARGET``, such as ``"wav:out.wav"``.
    device
        Part of the device's name, for sinks that have devices.

    Raises
    ------
    ConfigError
        Nobody registered that name.
    """
    name, _, target = spec.partition(":")
    made = _built_in(name)
    if made is None:
        for entry in entry_points(group=GROUP):
            if entry.name == name:
                made = entry.load()
                break
        else:
            known = sorted({"portaudio", "wav", "null", *(entry.name for entry in entry_points(group=GROUP))})
            raise ConfigError(f"sink is {spec!r}; the known sinks are {', '.join(known)}")
    return cast("Sink", made(target, device))
