"""The words of a call: every type goes in and comes out, from Python and from another kernel."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core.errors import NumbaError

from rtmedia.rt.compiled import Kernel
from rtmedia.rt.kernel import kernel


@kernel("f8(b1, u1, i4, u8, f4, f8)")
def weigh(flag, octet, short, long, single, double):
    return (1.0 if flag else 2.0) + 4.0 * octet + 8.0 * short + 16.0 * (long >> np.uint64(63)) + 32.0 * single + 64.0 * double


@kernel("b1(f4)")
def is_loud(level):
    return level > np.float32(0.5)


@kernel("f4(f4)", inline=True)
def doubled(level):
    return level * np.float32(2.0)


@kernel("UniTuple(f8, 2)(f4[:, ::1])")
def ends(block):
    return block[0, 0], block[block.shape[0] - 1, block.shape[1] - 1]


@kernel("void(f4[:, ::1], i8[::1], f4)")
def mark(block, where, level):
    for i in range(where.shape[0]):
        block[where[i], block.shape[1] - 1] = level


@kernel("f8(f4[:, ::1], i8[::1], f4)")
def all_of_it(block, where, level):
    """Calls each of the others."""
    mark(block, where, doubled(level))
    first, last = ends(block)
    total = weigh(is_loud(level), 1, -1, 2**63, level, 0.5)
    return total + 1000.0 * first + 10_000.0 * last


def test_numbers_of_every_width_arrive_as_they_were_given():
    assert weigh(True, 3, -2, 2**63, 0.5, 0.25) == 1 + 12 - 16 + 16 + 16 + 16
    assert weigh(False, 255, 2**31 - 1, 0, 0.0, 0.0) == 2 + 1020 + 8 * (2**31 - 1)
    assert is_loud(0.75) is True
    assert is_loud(0.25) is False


def test_numpys_numbers_are_taken_as_pythons():
    given = (np.bool_(True), np.uint8(3), np.int32(-2), np.uint64(2**63), np.float32(0.5), np.float64(0.25))
    assert weigh(*given) == weigh(True, 3, -2, 2**63, 0.5, 0.25)


def test_arrays_pairs_and_truth_values_pass_between_kernels():
    block = np.zeros((5, 2), np.float32)
    block[0, 0] = 0.5
    assert all_of_it(block, np.array([1, 4]), 0.75) == weigh(True, 1, -1, 2**63, 0.75, 0.5) + 500.0 + 15_000.0
    assert block[:, 1].tolist() == [0.0, 1.5, 0.0, 0.0, 1.5]


def test_a_part_of_its_callers_and_a_pair_can_be_called_from_python_too():
    assert doubled(1.25) == 2.5
    assert ends(np.array([[1, 2], [3, 4]], np.float32)) == (1.0, 4.0)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 2)),
        np.zeros(4, np.float32),
        np.zeros((4, 4), np.float32)[:, ::2],
        np.asfortranarray(np.zeros((4, 2), np.float32)),
        np.zeros((4, 2), ">f4"),
        [[0.0, 0.0]],
        None,
    ],
    ids=["float64", "one dimension", "every other", "columns first", "other octet order", "a list", "nothing"],
)
def test_an_array_that_is_not_what_the_kernel_takes_is_refused(wrong):
    with pytest.raises(TypeError):
        mark(wrong, np.array([0]), 1.0)


def test_an_array_that_may_not_be_written_is_refused():
    block = np.zeros((4, 2), np.float32)
    block.flags.writeable = False
    with pytest.raises(TypeError, match="writeable"):
        mark(block, np.array([0]), 1.0)


@pytest.mark.parametrize("given", [(), (0.5, 0.5), ("loud",), (None,)], ids=["none", "two", "text", "nothing"])
def test_a_wrong_call_is_refused(given):
    with pytest.raises(TypeError):
        is_loud(*given)


def test_a_kernel_that_allocates_does_not_link():
    with pytest.raises(NumbaError, match="allocates"):

        @kernel("f8(i8)")
        def greedy(count):
            return np.zeros(count).sum()


def test_functions_of_one_name_made_in_functions_are_different_kernels():
    def made(factor):
        @kernel("i8(i8)")
        def times(number):
            return number * factor

        return times

    twice, thrice = made(2), made(3)
    assert (twice(7), thrice(7)) == (14, 21)
    assert [twice.from_cache, thrice.from_cache] == [False, False]
    assert twice.symbol != thrice.symbol


def test_a_module_that_is_loaded_twice_gets_code_of_its_own():
    again = Kernel(is_loud.py_func, "b1(f4)")
    assert again.symbol != is_loud.symbol
    assert again.address != is_loud.address
    assert again(0.75)
