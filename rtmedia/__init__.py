"""rtmedia: a live media stream, heard cleanly, with no interpreter between the socket and the speaker.

Importing this package imports neither numba nor PyAudio; each public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # type checkers take the name for true; importing `typing` takes longer than all else here
if TYPE_CHECKING:
    from typing import Any

    from rtmedia.config import Config, Credentials, Jitter
    from rtmedia.dsp.compressor import Compressor
    from rtmedia.dsp.gain import Gain
    from rtmedia.dsp.gate import SpectralGate
    from rtmedia.dsp.limiter import Limiter
    from rtmedia.dsp.meters import Loudness, Meter, loudness
    from rtmedia.dsp.noise_profile import NoiseProfile, learn_noise
    from rtmedia.dsp.normalizer import LoudnessNormalizer
    from rtmedia.dsp.switch import Switch
    from rtmedia.engine import Engine
    from rtmedia.errors import (
        AuthError,
        ConfigError,
        RoomError,
        RtmediaError,
        SinkError,
        SourceError,
        StateError,
        WireError,
    )
    from rtmedia.ports import Effect, Format
    from rtmedia.presets import preset
    from rtmedia.processing import Chain, process
    from rtmedia.realtime import Realtime
    from rtmedia.simulation import SimulationReport, simulate
    from rtmedia.stats import Stats

__version__ = "0.1.0"

_HOMES = {
    "Config": "config",
    "Credentials": "config",
    "Jitter": "config",
    "Realtime": "realtime",
    "Engine": "engine",
    "simulate": "simulation",
    "process": "processing",
    "Chain": "processing",
    "preset": "presets",
    "Effect": "ports",
    "Format": "ports",
    "SimulationReport": "simulation",
    "Stats": "stats",
    "SpectralGate": "dsp.gate",
    "Compressor": "dsp.compressor",
    "Gain": "dsp.gain",
    "Limiter": "dsp.limiter",
    "LoudnessNormalizer": "dsp.normalizer",
    "NoiseProfile": "dsp.noise_profile",
    "learn_noise": "dsp.noise_profile",
    "Meter": "dsp.meters",
    "Loudness": "dsp.meters",
    "loudness": "dsp.meters",
    "Switch": "dsp.switch",
    "RtmediaError": "errors",
    "ConfigError": "errors",
    "StateError": "errors",
    "SourceError": "errors",
    "AuthError": "errors",
    "WireError": "errors",
    "SinkError": "errors",
    "RoomError": "errors",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'rtmedia' has no attribute {name!r}")
    value = getattr(import_module(f"rtmedia.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
