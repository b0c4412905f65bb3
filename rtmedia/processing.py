"""Effects over a recording: the instances that play live, over an array, and the output in line with the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.gate import SpectralGate
from rtmedia.dsp.limiter import Limiter
from rtmedia.errors import ConfigError
from rtmedia.ports import Block, Effect, Format

#: Frames per call; any number gives the same bits.
_BLOCK_FRAMES = 4096


def process(audio: npt.ArrayLike, rate_hz: int, effects: Sequence[Effect] | None = None) -> npt.NDArray[np.float32]:
    """Pass a recording through effects and the limiter.

    Parameters
    ----------
    audio : array, shape (frames,) or (frames, channels)
        float32 or float64 with full scale ±1.0, or int16; one or two channels.
    rate_hz : int
        One of `rtmedia.ports.RATES_HZ` for the default effects.
    effects : sequence of Effect, optional
        In order. ``None`` is spectral gate and compressor, ``()`` is none; the limiter always follows, as it does live.

    Returns
    -------
    float32 array of the shape of `audio`
        In line with the input: the effects' latency is taken out.

    Raises
    ------
    ConfigError
        Where type, shape or rate cannot be used.

    Notes
    -----
    Thread: any, one recording each.   Real-time: no (makes arrays).

    Examples
    --------
    >>> import numpy as np
    >>> process(np.zeros(480, np.int16), 16_000).shape
    (480,)
    """
    samples = _as_block(audio)
    frames, channels = samples.shape
    chain: tuple[Effect, ...] = (SpectralGate(), Compressor()) if effects is None else tuple(effects)
    for effect in chain:
        if not isinstance(effect, Effect):
            raise ConfigError(f"effects holds {effect!r}; every entry needs name, make and values (rtmedia.ports.Effect)")
    format = Format(rate_hz, channels)
    instances = [effect.make(format, _BLOCK_FRAMES) for effect in (*chain, Limiter())]
    late = sum(instance.latency_frames for instance in instances)
    out = np.zeros((frames + late, channels), np.float32)
    out[:frames] = samples
    for start in range(0, len(out), _BLOCK_FRAMES):
        block = out[start : start + _BLOCK_FRAMES]
        for instance in instances:
            instance.process(block)
    return np.ascontiguousarray(out[late:]).reshape(np.shape(audio))


def _as_block(audio: npt.ArrayLike) -> Block:
    """`audio` as ``(frames, channels)`` of float32; the input is never written to."""
    samples: npt.NDArray[Any] = np.asarray(audio)
    if samples.dtype not in (np.float32, np.float64, np.int16):
        raise ConfigError(f"audio is {samples.dtype}; it must be float32, float64 or int16: convert it with astype")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] not in (1, 2)):
        raise ConfigError(
            f"audio has shape {samples.shape}; it must be (frames,) or (frames, channels) with 1 or 2 channels: transpose it or mix it down"
        )
    block: Block = (samples[:, None] if samples.ndim == 1 else samples).astype(np.float32, order="C")
    if samples.dtype == np.int16:
        block /= np.float32(32768)
    return block
