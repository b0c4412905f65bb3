"""Effects over a recording: the instances that play live, over an array or a stream of blocks, the output in line with the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.limiter import Limiter
from rtmedia.errors import ConfigError
from rtmedia.ports import Block, Effect, Format
from rtmedia.presets import OFFLINE, effects_of

#: Frames per call; any number gives the same bits.
_BLOCK_FRAMES = 4096


class Chain:
    """Effects and limiter over a recording that comes in pieces: whatever its length, memory does not grow.

    Parameters
    ----------
    format : Format
    effects : str or sequence of Effect, optional
        As for `process`.
    ceiling_db : float
        Of the limiter that always follows.

    Attributes
    ----------
    effects : tuple of Effect
        What was made, without the limiter.
    latency_frames : int
        Frames that `feed` holds back at first, and `flush` gives out in the end.

    Notes
    -----
    Thread: one.   Real-time: no (makes arrays).
    All that `feed` and `flush` return, put together, is as long as what was fed and in line with it.

    Examples
    --------
    >>> import numpy as np
    >>> chain = Chain(Format(16_000), "voice")
    >>> pieces = [chain.feed(np.zeros((1_000, 1), np.float32)) for _ in range(4)] + [chain.flush()]
    >>> sum(len(piece) for piece in pieces)
    4000
    """

    def __init__(self, format: Format, effects: str | Sequence[Effect] | None = None, ceiling_db: float = -1.0) -> None:
        self.format = format
        self.effects = effects_of(effects, OFFLINE)
        self._instances = [effect.make(format, _BLOCK_FRAMES) for effect in (*self.effects, Limiter(ceiling_db))]
        self.latency_frames = sum(instance.latency_frames for instance in self._instances)
        self._ahead = self.latency_frames  # of the output: what came out before the first frame that was fed

    def feed(self, block: Block) -> Block:
        """The next piece, float32 ``(frames, channels)``, which is not written to; returns what is finished, at first less.

        Raises
        ------
        ConfigError
            The piece has another shape, or holds integers.
        """
        if np.ndim(block) != 2 or np.shape(block)[1] != self.format.channels or np.asarray(block).dtype.kind != "f":
            raise ConfigError(
                f"block is {getattr(block, 'dtype', type(block).__name__)} {np.shape(block)}; it must be float32 (frames, "
                f"{self.format.channels}) of full scale ±1.0: divide integers by their full scale"
            )
        return self._cut(self._through(np.array(block, np.float32, order="C")))

    def flush(self) -> Block:
        """The rest. The chain is as new afterwards."""
        found = self._cut(self._through(np.zeros((self.latency_frames, self.format.channels), np.float32)))
        for instance in self._instances:
            instance.reset()
        self._ahead = self.latency_frames
        return found

    def _through(self, block: Block) -> Block:
        for start in range(0, len(block), _BLOCK_FRAMES):
            for instance in self._instances:
                instance.process(block[start : start + _BLOCK_FRAMES])
        return block

    def _cut(self, block: Block) -> Block:
        early = min(self._ahead, len(block))
        self._ahead -= early
        return block[early:]


def process(
    audio: npt.ArrayLike,
    rate_hz: int,
    effects: str | Sequence[Effect] | None = None,
    *,
    ceiling_db: float = -1.0,
    progress: Callable[[int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Pass a recording through effects and the limiter.

    Parameters
    ----------
    audio : array, shape (frames,) or (frames, channels)
        float32 or float64 with full scale ±1.0, or int16; one or two channels.
    rate_hz : int
        One of `rtmedia.ports.RATES_HZ` for the default effects.
    effects : str or sequence of Effect, optional
        The name of a preset (`rtmedia.presets`), or effects in order. ``None`` is ``"voice"``; ``()`` or ``"transparent"`` is none; the
        limiter always follows, as it does live.
    ceiling_db : float
        Of the limiter, -40 to 0.
    progress : callable, optional
        Called now and then with the number of frames done; the last time with all of them.

    Returns
    -------
    float32 array of the shape of `audio`
        In line with the input: the effects' latency is taken out.

    Raises
    ------
    ConfigError
        Where type, shape or rate cannot be used, or `effects` names no preset.

    Notes
    -----
    Thread: any, one recording each.   Real-time: no (makes arrays). For recordings that do not fit into memory see `Chain`.

    Examples
    --------
    >>> import numpy as np
    >>> process(np.zeros(480, np.int16), 16_000, "voice").shape
    (480,)
    """
    samples = _as_block(audio)
    chain = Chain(Format(rate_hz, samples.shape[1]), effects, ceiling_db)
    out = np.empty_like(samples)
    done = 0
    for start in range(0, len(samples), 16 * _BLOCK_FRAMES):
        piece = chain.feed(samples[start : start + 16 * _BLOCK_FRAMES])
        out[done : done + len(piece)] = piece
        done += len(piece)
        if progress is not None:
            progress(done)
    rest = chain.flush()
    out[done:] = rest
    if progress is not None:
        progress(len(out))
    return out.reshape(np.shape(audio))


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
