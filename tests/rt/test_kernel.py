"""Atomics and addresses: what the intrinsics accept, and what they do."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numba import types
from numba.core.errors import NumbaError

from rtmedia.rt import cell, clock, plugin, ring
from rtmedia.rt.kernel import copy_octets, kernel, load_acquire, store_release
from rtmedia.rt.memory import aligned_zeros, view_block, view_f4, view_f8, view_i8, view_u1


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32, np.float32, np.float64])
def test_atomics_move_every_number_of_four_or_eight_octets(dtype):
    @numba.njit
    def exchange(array, value):
        store_release(array, 2, value)
        return load_acquire(array, 2)

    array = np.zeros(4, dtype)
    assert exchange(array, dtype(7)) == 7
    assert array.tolist() == [0, 0, 7, 0]


@pytest.mark.parametrize("dtype", ["i2", "u1", "b1", "c8"])
def test_atomics_refuse_what_a_processor_does_not_move_whole(dtype):
    @numba.njit
    def look(array):
        return load_acquire(array, 0)

    with pytest.raises(NumbaError):
        look(np.zeros(2, dtype))


def test_an_error_in_a_kernel_is_the_compilers_own_and_said_once():
    with pytest.raises(NumbaError) as caught:

        @kernel("i8(i8)")
        def wrong(number):
            return number.nothing

    assert caught.value.__context__ is None or isinstance(caught.value.__context__, NumbaError)


def test_views_share_the_memory_they_look_at():
    memory = np.arange(8, dtype=np.float64)
    at = memory.ctypes.data
    assert view_f8(at, 8).tolist() == memory.tolist()
    view_i8(at, 8)[0] = np.float64(5).view(np.int64)
    view_block(at + 8, 2, 2)[1, 1] = 1.5
    assert memory[0] == 5
    assert memory.view(np.float32)[5] == 1.5
    assert view_f4(at, 16).tobytes() == view_u1(at, 64).tobytes() == memory.tobytes()


@kernel("void(i8, i8, i8)")
def copy(destination, source, count):
    copy_octets(destination, source, count)


@pytest.mark.parametrize("count", [0, 1, 7, 64, 1000])
def test_octets_are_copied_and_no_more(count):
    source, target = np.arange(1001).astype(np.uint8), np.full(1001, 9, np.uint8)
    copy(target.ctypes.data, source.ctypes.data, count)
    assert target.tobytes() == source[:count].tobytes() + bytes([9]) * (1001 - count)


@pytest.mark.parametrize(("shape", "dtype"), [(1, np.uint8), ((7, 3), np.float32), (5, np.dtype([("a", "i8"), ("b", "u1")]))])
def test_memory_is_zeroed_aligned_and_of_the_shape_asked_for(shape, dtype):
    for alignment in (64, 128, 4096):
        memory = aligned_zeros(shape, dtype, alignment)
        assert memory.ctypes.data % alignment == 0
        assert memory.shape == (shape if isinstance(shape, tuple) else (shape,))
        assert not memory.view(np.uint8).any()


def test_kernels_have_explicit_signatures_and_release_the_gil():
    assert copy.signatures == [(types.int64,) * 3]
    assert not copy.keep_gil
    with pytest.raises(TypeError):
        copy("a", "b", "c")


def test_short_kernels_keep_the_gil_and_long_ones_give_it_away():
    """Beside a busy thread, giving it away for some nanoseconds may cost a switch interval to get it back."""
    short = [getattr(ring, name) for name in dir(ring) if name.startswith("ring_")]
    short += [cell.cell_write, cell.cell_read, clock.now_ns, plugin.wishes_write, plugin.wishes_take]
    assert all(made.keep_gil for made in short)
    assert not any(made.keep_gil for made in (clock.sleep_ns, plugin.run_effect, plugin.run_codec))
