"""Effects and codecs as the compiled loops see them: an address and a page of memory.

Every effect's state begins with the same 64 octets, `WISH_FIELDS`: up to 14 settings that the control
thread may change while audio runs, and a version. The control thread is their only writer; the kernel
calls `wishes_take` once per call and takes new settings over in its own way (a ramp, a block boundary),
so that nothing clicks. The wishes are a sequence lock as in `rtmedia.rt.cell`: the version is odd while they
are being written, and a kernel that meets it there keeps what it has until its next call.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError
from rtmedia.ports import Block, Format
from rtmedia.rt.builtin import API_DTYPE, CHANGEABLE, builtin, call_0, call_1, data_of, is_array, length_of, memory_for, memory_of
from rtmedia.rt.kernel import call_codec, call_effect, kernel, load_acquire, pointer_void, store_release
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros, view_f4, view_i8

MAX_WISHES = 14
#: The common head of every effect's state; a state's dtype starts with these fields.
WISH_FIELDS: list[Any] = [("wish_version", "i8"), ("wish", "f4", (MAX_WISHES,))]
#: What the kernel itself has taken over; an effect that uses `take_wishes` has these right behind `WISH_FIELDS`.
TAKEN_FIELDS: list[Any] = [("seen_version", "i8"), ("taken", "f4", (MAX_WISHES,))]
_HEAD = dict(np.dtype(WISH_FIELDS).fields or {})


@kernel("void(i8, i8, i8, i8, i8)")
def run_effect(function, block, frames, channels, state):
    call_effect(function, block, frames, channels, state)


_PROCESS_DTYPE = np.dtype(
    [
        *API_DTYPE.descr,
        *((name, "i8") for name in ("function", "state", "channels", "max_frames", "array_class", "dtype", "kept")),
    ]
)


@kernel("i8(i8, i8, i8)")
def python_process(me, arguments, count):
    """process(block) -> whether it could: the effect over a block of any length, in pieces, without the interpreter's lock"""
    p = carray(pointer_void(memory_of(me)), 1, _PROCESS_DTYPE)[0]
    could = False
    if count == 1:
        block = view_i8(arguments, 1)[0]
        could = is_array(block, p.array_class, p.dtype, 2, CHANGEABLE) and length_of(block, 1) == p.channels
        if could:
            data, length = data_of(block), length_of(block, 0)
            thread = call_0(p.save_thread)
            for start in range(0, length, p.max_frames):
                frames = min(p.max_frames, length - start)
                call_effect(p.function, data + start * p.channels * 4, frames, p.channels, p.state)
            call_1(p.restore_thread, thread)
    return call_1(p.from_bool, could)


@kernel("i8(i8, i8, i8, i8, i8, i8)")
def run_codec(function, payload, length, out, max_frames, state):
    return call_codec(function, payload, length, out, max_frames, state)


_WISH_OFFSET = 8
_SEEN_OFFSET = _WISH_OFFSET + 4 * MAX_WISHES
_TAKEN_OFFSET = _SEEN_OFFSET + 8


@kernel("void(i8, f4[::1])", keep_gil=True)
def wishes_write(state, values):
    """Publish new settings in the head of the state at address `state`. Thread: control, alone."""
    version = view_i8(state, 1)
    wishes = view_f4(state + _WISH_OFFSET, MAX_WISHES)
    before = version[0]
    store_release(version, 0, before + 1)
    for i in range(min(values.shape[0], MAX_WISHES)):
        store_release(wishes, i, values[i])
    store_release(version, 0, before + 2)


@kernel("i8(i8, i8, i8, i8)", keep_gil=True)
def wishes_take(state, seen, target, count):
    """Copy the first `count` settings to the float32s at address `target` if they are newer than version `seen`.

    Returns the version that `target` now holds. `seen` comes back when nothing is new, or when the control thread
    is writing at this moment: the next call will find it. `target` is a scratch, not the settings in use: a copy
    that was disturbed leaves a mixture there.

    Thread: the one that runs the effect.   Real-time: yes.
    """
    version = view_i8(state, 1)
    before = load_acquire(version, 0)
    if before == seen or before & 1:
        return seen
    wishes = view_f4(state + _WISH_OFFSET, MAX_WISHES)
    taken = view_f4(target, count)
    for i in range(min(count, MAX_WISHES)):
        taken[i] = load_acquire(wishes, i)
    return before if load_acquire(version, 0) == before else seen


@kernel("b1(i8)")
def take_wishes(state):
    """Bring the settings in ``taken`` up to date (`TAKEN_FIELDS`); whether they are newer than at the last call.

    Thread: the one that runs the effect.   Real-time: yes.
    """
    seen = view_i8(state + _SEEN_OFFSET, 1)
    version = wishes_take(state, seen[0], state + _TAKEN_OFFSET, MAX_WISHES)
    newer = version != seen[0]
    seen[0] = version
    return newer


class Instance:
    """One effect at work. Built by an effect's ``make``.

    Parameters
    ----------
    function
        What `rtmedia.rt.kernel.callback` makes of `rtmedia.rt.kernel.EFFECT_SIGNATURE` (or anything with such an ``address``), or the
        address of a C function; kept alive.
    state : record array, shape (1,)
        Begins with `WISH_FIELDS`; initialised by the effect's ``make``.
    latency_frames : int
        Frames by which the output lags the input.

    Notes
    -----
    Thread: `process` belongs to one thread; `update` to one other.   Real-time: the C function, yes; `process` adds a Python call.
    """

    def __init__(self, function: Any, state: npt.NDArray[Any], format: Format, max_frames: int, latency_frames: int = 0) -> None:
        if max_frames < 1:
            raise ConfigError(f"max_frames is {max_frames}; it must be at least 1: give the length of a block")
        fields: dict[str, Any] = dict(state.dtype.fields or {})
        if any(fields.get(name) != where for name, where in _HEAD.items()) or state.shape != (1,) or state.ctypes.data % 8:
            raise ConfigError("an effect's state must be one record that begins with rtmedia.rt.plugin.WISH_FIELDS, on 8 octets")
        self._function = function
        self.address = int(getattr(function, "address", function))
        self.state = state
        self.format = format
        self.max_frames = max_frames
        self.latency_frames = latency_frames
        self._initial = zlib.compress(state.tobytes(), 1)  # nearly all of it is zeros
        # Asked for once: NumPy takes longer to tell an address than some effects take for a block.
        self.state_address = int(state.ctypes.data)
        numbers = {"function": self.address, "state": self.state_address, "channels": format.channels, "max_frames": max_frames}
        kept = (function, state)
        memory = memory_for(_PROCESS_DTYPE, numbers, array_class=np.ndarray, dtype=np.dtype(np.float32), kept=kept)
        self._process: Callable[[Block], bool] = builtin(python_process, memory)

    def __getstate__(self) -> Any:
        raise TypeError("an effect at work is bound to its memory's address and cannot be copied: make another from its description")

    def process(self, block: Block) -> None:
        """Work on `block` in place, in pieces of at most ``max_frames``."""
        if self._process(block):
            return
        if not isinstance(block, np.ndarray) or type(block) is np.ndarray or not self._process(block.view(np.ndarray)):
            raise ConfigError(
                f"block is {getattr(block, 'dtype', type(block).__name__)} {getattr(block, 'shape', '')}; "
                f"this effect changes C-ordered float32 (frames, {self.format.channels}) in place: "
                "convert with numpy.array(block, numpy.float32)"
            )

    def reset(self) -> None:
        """Return to the state after ``make``, settings included. Not while a room is running."""
        self.state.view(np.uint8).reshape(-1)[:] = np.frombuffer(zlib.decompress(self._initial), np.uint8)

    def update(self, values: tuple[float, ...]) -> None:
        """Ask for new settings; the kernel takes them up at its next call."""
        if len(values) > MAX_WISHES:
            raise ConfigError(f"{len(values)} settings were given; an effect has at most {MAX_WISHES}")
        wishes_write(self.state_address, np.array(values, np.float32))


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
