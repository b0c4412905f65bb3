"""Views over memory that is known by its address only.

Rooms, rings, effects and codecs find each other's memory through 64-bit addresses held in records,
because an address is the only thing that fits through a C function, a table of rooms and numba's
cache alike. A view made here owns nothing: whoever made the memory keeps it alive (`Arena`).
"""

from __future__ import annotations

import contextlib
import math
import mmap
from typing import Any

import numpy as np

from rtmedia.rt.kernel import kernel, pointer_f4, pointer_f8, pointer_i8, pointer_u1
from rtmedia.rt.later import carray


@kernel("f4[::1](i8, i8)", inline=True)
def view_f4(address, count):
    """`count` float32 at `address`, without a copy."""
    return carray(pointer_f4(address), count)


@kernel("f4[:, ::1](i8, i8, i8)", inline=True)
def view_block(address, frames, channels):
    """A block: float32 ``(frames, channels)``, C order, at `address`."""
    return carray(pointer_f4(address), (frames, channels))


@kernel("f8[::1](i8, i8)", inline=True)
def view_f8(address, count):
    """`count` float64 at `address`, without a copy."""
    return carray(pointer_f8(address), count)


@kernel("i8[::1](i8, i8)", inline=True)
def view_i8(address, count):
    """`count` int64 at `address`, without a copy."""
    return carray(pointer_i8(address), count)


@kernel("u1[::1](i8, i8)", inline=True)
def view_u1(address, count):
    """`count` octets at `address`, without a copy."""
    return carray(pointer_u1(address), count)


def aligned_zeros(shape: int | tuple[int, ...], dtype: Any, alignment: int = 128) -> np.ndarray[Any, Any]:
    """Zeroed, page-touched memory that starts on a multiple of `alignment` octets.

    128 octets: two cache lines, because x86 fetches them in pairs and Apple's cores use 128.
    """
    dtype = np.dtype(dtype)
    octets = math.prod(shape if isinstance(shape, tuple) else (shape,)) * dtype.itemsize
    raw = np.empty(octets + alignment, np.uint8)
    raw[:] = 0  # touch every page now: the first write of the audio path must not fault
    start = -raw.ctypes.data % alignment
    return raw[start : start + octets].view(dtype).reshape(shape)


def reserved_zeros(shape: int | tuple[int, ...], dtype: Any, ready_octets: int) -> np.ndarray[Any, Any]:
    """Zeroed memory of which the first `ready_octets` are touched; the rest costs nothing until it is used.

    For stores that are made for the worst case and used at their front. What lies behind costs a page fault a page
    (about a microsecond) when it is first written, except where the process has locked its memory: then all of it is
    there from the start. Where pages are large (2 MiB) on request, none is asked for. The array starts on a page.
    """
    dtype = np.dtype(dtype)
    octets = math.prod(shape if isinstance(shape, tuple) else (shape,)) * dtype.itemsize
    if octets <= ready_octets:
        return aligned_zeros(shape, dtype)
    # A file of none: memory of its own, which no allocator has used before or hands to another afterwards.
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
    pages = mmap.mmap(-1, octets, **private)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    raw = np.frombuffer(pages, np.uint8)
    raw[:ready_octets] = 0
    return raw.view(dtype).reshape(shape)


_SAMPLE = np.dtype(np.float32)


def is_block(block: object) -> bool:
    """Whether it is float32, two-dimensional and C-ordered: what a call that is not checked itself may be given to read."""
    return isinstance(block, np.ndarray) and block.dtype == _SAMPLE and block.ndim == 2 and block.flags.c_contiguous
