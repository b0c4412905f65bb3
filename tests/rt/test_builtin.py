"""Compiled functions as built-in ones: what they take, what they refuse, and what they leave behind."""

from __future__ import annotations

import ctypes
import gc
import sys
import weakref

import numpy as np
import pytest

from rtmedia.rt.builtin import (
    API_DTYPE,
    BUFFER_DTYPE,
    CHANGEABLE,
    READABLE,
    builtin,
    call_0,
    call_1,
    call_3,
    is_array,
    length_of,
    memory_for,
    memory_of,
    python_api,
)
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_i8, view_u1

DTYPE = np.dtype([*API_DTYPE.descr, *BUFFER_DTYPE.descr, ("calls", "i8")])
BUFFER_AT = API_DTYPE.itemsize


@kernel("i8(i8, i8, i8)")
def nth_octet(me, arguments, count):
    """nth_octet(buffer, index): -1 behind the end."""
    m = carray(pointer_void(memory_of(me)), 1, DTYPE)[0]
    m.calls += 1
    if count != 2:
        call_0(m.bad_argument)
        return 0
    given = view_i8(arguments, 2)
    index = call_1(m.as_int64, given[1])
    if index == -1 and call_0(m.error) != 0:
        return 0
    buffer = memory_of(me) + BUFFER_AT
    if call_3(m.get_buffer, given[0], buffer, 0) & 0xFFFFFFFF != 0:
        return 0
    octet = np.int64(view_u1(m.address, m.length)[index]) if 0 <= index < m.length else -1
    call_1(m.release_buffer, buffer)
    return call_1(m.from_int64, octet)


@pytest.fixture
def memory():
    made = np.zeros(1, DTYPE)
    python_api(made)
    return made


def test_it_reads_whatever_lies_in_memory_in_one_piece(memory):
    nth = builtin(nth_octet, memory)
    octets = bytes(range(10, 20))
    for buffer in (octets, bytearray(octets), memoryview(octets), memoryview(b"__" + octets)[2:], np.frombuffer(octets, np.uint8)):
        assert nth(buffer, 3) == 13
    assert nth(octets, 10) == -1
    assert nth(octets, np.int64(9)) == 19
    assert memory["calls"][0] == 7


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((b"abc",), TypeError),
        ((b"abc", 1, 2), TypeError),
        ((), TypeError),
        (("text", 1), TypeError),
        ((None, 1), TypeError),
        ((b"abc", 1.0), TypeError),
        ((b"abc", "1"), TypeError),
        ((b"abc", 2**63), OverflowError),
        ((memoryview(b"abcdef")[::2], 1), BufferError),
    ],
)
def test_what_it_cannot_take_is_an_exception(memory, arguments, error):
    with pytest.raises(error):
        builtin(nth_octet, memory)(*arguments)


def test_minus_one_is_a_number_like_any_other(memory):
    assert builtin(nth_octet, memory)(b"abc", -1) == -1


def test_it_gives_back_the_buffer_and_keeps_no_reference(memory):
    nth = builtin(nth_octet, memory)
    buffer = bytearray(b"abc")
    view = memoryview(buffer)
    before = sys.getrefcount(view)
    for _ in range(100):
        nth(view, 1)
        with pytest.raises(TypeError):
            nth(view, "x")
    assert sys.getrefcount(view) == before
    view.release()  # would fail if anybody still looked at it
    buffer.append(1)


def test_it_keeps_its_memory_alive_and_lets_go_of_it(memory):
    nth = builtin(nth_octet, memory)
    before = sys.getrefcount(memory)
    assert nth.__self__ is memory
    del nth
    gc.collect()
    assert sys.getrefcount(memory) == before - 1


def test_it_has_a_name_and_says_what_it_does(memory):
    nth = builtin(nth_octet, memory)
    assert nth.__name__ == "nth_octet"
    assert "behind the end" in nth.__doc__


LOOK = np.dtype([*API_DTYPE.descr, *((name, "i8") for name in ("array_class", "dtype", "ndim", "flags"))])


@kernel("i8(i8, i8, i8)")
def second_length(me, arguments, count):
    """The length of the second axis, or -1 of what is not such an array."""
    m = carray(pointer_void(memory_of(me)), 1, LOOK)[0]
    array = view_i8(arguments, 1)[0]
    fits = is_array(array, m.array_class, m.dtype, m.ndim, m.flags)
    return call_1(m.from_int64, length_of(array, 1) if fits else -1)


def test_an_array_is_known_by_its_class_dtype_dimensions_and_flags():
    frozen = np.zeros((3, 5))
    frozen.flags.writeable = False
    cases = {
        CHANGEABLE: (5, -1, -1, -1, -1, -1, -1, -1, -1),
        READABLE: (5, 5, -1, -1, -1, -1, -1, -1, -1),
    }

    class Named(np.ndarray):
        pass

    arrays = [np.zeros((3, 5)), frozen, np.zeros((3, 5)).T, np.zeros((3, 5, 1)), np.zeros(5), np.zeros((3, 5), ">f8")]
    given = (*arrays, [[0.0]], None, np.zeros((3, 5)).view(Named))
    for flags, lengths in cases.items():
        look = builtin(second_length, memory_for(LOOK, {"ndim": 2, "flags": flags}, array_class=np.ndarray, dtype=np.dtype(float)))
        assert tuple(look(one) for one in given) == lengths


def test_memory_keeps_what_it_was_given_and_lets_go_of_it():
    class Thing:
        pass

    thing = Thing()
    kept = weakref.ref(thing)
    memory = memory_for(LOOK, {"ndim": 2, "flags": 0}, array_class=np.ndarray, dtype=thing)
    del thing
    assert kept() is not None
    word = ctypes.c_int64.from_address(memory.ctypes.data + LOOK.fields["dtype"][1])
    assert word.value == id(kept())
    del memory
    assert kept() is None
