"""Effects and codecs as the compiled loops see them: an address and a page of memory.

Every effect's state begins with the same 64 octets, `WISH_FIELDS`: up to 14 settings that the control
thread may change while audio runs, and a version. The control thread is their only writer; the kernel
compares the version once per call and takes the new settings over in its own way (a ramp, a block
boundary), so that nothing clicks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError
from rtmedia.ports import Block, Format
from rtmedia.rt.kernel import call_codec, call_effect, kernel, store_release
from rtmedia.rt.memory import aligned_zeros

MAX_WISHES = 14
#: The common head of every effect's state; a state's dtype starts with these fields.
WISH_FIELDS: list[Any] = [("wish_version", "i8"), ("wish", "f4", (MAX_WISHES,))]


@kernel("void(i8, i8, i8, i8, i8)")
def run_effect(function, block, frames, channels, state):
    call_effect(function, block, frames, channels, state)


@kernel("i8(i8, i8, i8, i8, i8, i8)")
def run_codec(function, payload, length, out, max_frames, state):
    return call_codec(function, payload, length, out, max_frames, state)


@kernel("void(i8[::1], i8)")
def publish(words, version):
    store_release(words, 0, version)


class Instance:
    """One effect at work. Built by an effect's ``make``.

    Parameters
    ----------
    function
        A ``numba.cfunc`` with `rtmedia.rt.kernel.EFFECT_SIGNATURE`, or an address of a C function; kept alive.
    state : record array, shape (1,)
        Begins with `WISH_FIELDS`; initialised by the effect's ``make``.
    latency_frames : int
        Frames by which the output lags the input.

    Notes
    -----
    Thread: `process` belongs to one thread; `update` to one other.   Real-time: the C function, yes; `process` adds a Python call.
    """

    def __init__(self, function: Any, state: npt.NDArray[Any], format: Format, max_frames: int, latency_frames: int = 0) -> None:
        names = state.dtype.names or ()
        if names[:2] != ("wish_version", "wish") or state.shape != (1,):
            raise ConfigError("an effect's state must be one record that begins with rtmedia.rt.plugin.WISH_FIELDS")
        self._function = function
        self.address = int(getattr(function, "address", function))
        self.state = state
        self.format = format
        self.max_frames = max_frames
        self.latency_frames = latency_frames
        self._initial = state.tobytes()
        self._head = state.view(np.uint8).reshape(-1)[:8].view(np.int64)

    @property
    def state_address(self) -> int:
        return int(self.state.ctypes.data)

    def process(self, block: Block) -> None:
        """Work on `block` in place, in pieces of at most ``max_frames``."""
        if block.dtype != np.float32 or block.ndim != 2 or block.shape[1] != self.format.channels or not block.flags.c_contiguous:
            raise ConfigError(
                f"block is {block.dtype} {block.shape}; this effect takes C-ordered float32 (frames, {self.format.channels}): "
                "convert with numpy.ascontiguousarray(block, numpy.float32)"
            )
        channels = block.shape[1]
        for start in range(0, block.shape[0], self.max_frames):
            frames = min(self.max_frames, block.shape[0] - start)
            run_effect(self.address, block.ctypes.data + start * channels * 4, frames, channels, self.state_address)

    def reset(self) -> None:
        """Return to the state after ``make``, settings included. Not while a room is running."""
        self.state.view(np.uint8).reshape(-1)[:] = np.frombuffer(self._initial, np.uint8)

    def update(self, values: tuple[float, ...]) -> None:
        """Ask for new settings; the kernel takes them up at its next call."""
        if len(values) > MAX_WISHES:
            raise ConfigError(f"{len(values)} settings were given; an effect has at most {MAX_WISHES}")
        self.state["wish"][0, : len(values)] = values
        publish(self._head, int(self._head[0]) + 1)


class DecoderInstance:
    """One codec at work. Built by a codec's ``make``."""

    def __init__(self, function: Any, state: npt.NDArray[Any], format: Format) -> None:
        self._function = function
        self.address = int(getattr(function, "address", function))
        self.state = state
        self.format = format

    @property
    def state_address(self) -> int:
        return int(self.state.ctypes.data)

    def decode(self, payload: bytes, max_frames: int) -> Block | None:
        """Decode one payload; ``None`` where it cannot be used. For tests and offline work."""
        source = np.frombuffer(payload, np.uint8)
        out = aligned_zeros((max_frames, self.format.channels), np.float32)
        frames = run_codec(self.address, source.ctypes.data, len(payload), out.ctypes.data, max_frames, self.state_address)
        return out[:frames].copy() if frames >= 0 else None
