"""Sinks by name: ``portaudio``, ``wav:FILE``, ``null``, and what other packages register."""

from __future__ import annotations

import logging
import threading
from typing import Any, cast

from rtmedia.errors import ConfigError
from rtmedia.ports import Sink

GROUP = "rtmedia.sinks"

log = logging.getLogger("rtmedia")


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
        from importlib.metadata import entry_points  # here: it takes as long to import as half of a sound library

        for entry in entry_points(group=GROUP):
            if entry.name == name:
                made = entry.load()
                break
        else:
            known = sorted({"portaudio", "wav", "null", *(entry.name for entry in entry_points(group=GROUP))})
            raise ConfigError(f"sink is {spec!r}; the known sinks are {', '.join(known)}")
    return cast("Sink", made(target, device))


def stop_sink(sink: Sink, timeout_s: float) -> bool:
    """Whether the sink let go in time. A driver that hangs, or a sink that raises, must not keep its owner.

    Notes
    -----
    Thread: any; the sink is stopped on one of its own.   Real-time: no.
    """
    stopped: list[bool] = []

    def stop() -> None:
        try:
            stopped.append(sink.stop(timeout_s))
        except Exception as exc:
            log.error("the sink %s failed to stop: %s: %s", sink.device, type(exc).__name__, exc)

    thread = threading.Thread(target=stop, name="rtm-sink-stop", daemon=True)
    thread.start()
    thread.join(timeout_s)
    return stopped == [True]
