"""Single words that Python and compiled code tell each other, each whole and in order.

A page of such words is watched by a loop (`rtmedia.rooms.table`), and Python looks at them and sets them between other things, so
both functions are built-in ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rtmedia.rt.builtin import (
    API_DTYPE,
    CHANGEABLE,
    READABLE,
    builtin,
    call_0,
    call_1,
    data_of,
    is_array,
    length_of,
    memory_for,
    memory_of,
)
from rtmedia.rt.kernel import kernel, load_acquire, pointer_void, store_release
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_i8

_DTYPE = np.dtype([*API_DTYPE.descr, *((name, "i8") for name in ("array_class", "dtype", "none"))])


@kernel("i8(i8, i8, i8)")
def python_load(me, arguments, count):
    """load(words, index) -> the word, or None"""
    p = carray(pointer_void(memory_of(me)), 1, _DTYPE)[0]
    if count != 2:
        call_0(p.bad_argument)
        return 0
    given = view_i8(arguments, 2)
    index = call_1(p.as_int64, given[1])
    if index == -1 and call_0(p.error) != 0:
        return 0
    if is_array(given[0], p.array_class, p.dtype, 1, READABLE) and 0 <= index < length_of(given[0], 0):
        return call_1(p.from_int64, load_acquire(view_i8(data_of(given[0]), index + 1), index))
    call_1(p.keep, p.none)
    return p.none


@kernel("i8(i8, i8, i8)")
def python_store(me, arguments, count):
    """store(words, index, value) -> whether it could"""
    p = carray(pointer_void(memory_of(me)), 1, _DTYPE)[0]
    if count != 3:
        call_0(p.bad_argument)
        return 0
    given = view_i8(arguments, 3)
    index, value = call_1(p.as_int64, given[1]), call_1(p.as_int64, given[2])
    if (index == -1 or value == -1) and call_0(p.error) != 0:
        return 0
    fits = is_array(given[0], p.array_class, p.dtype, 1, CHANGEABLE) and 0 <= index < length_of(given[0], 0)
    if fits:
        store_release(view_i8(data_of(given[0]), index + 1), index, value)
    return call_1(p.from_bool, fits)


_memory = memory_for(_DTYPE, {}, array_class=np.ndarray, dtype=np.dtype(np.int64), none=None)
_load = builtin(python_load, _memory)
_store = builtin(python_store, _memory)


def store_word(words: npt.NDArray[np.int64], index: int, value: int) -> None:
    """``words[index] = value`` with release, for Python's side of a page that compiled code watches."""
    if not _store(words, index, value):
        _refuse(words, index)


def load_word(words: npt.NDArray[np.int64], index: int) -> int:
    """``words[index]`` with acquire, for Python's side of a page that compiled code writes."""
    found: int | None = _load(words, index)
    return _refuse(words, index) if found is None else found


def _refuse(words: object, index: int) -> int:
    if type(words) is np.ndarray and words.dtype == np.int64 and words.ndim == 1 and words.flags.carray:
        raise IndexError(f"index is {index}; the page has {len(words)} words: 0 to {len(words) - 1}")
    raise TypeError(f"words is {type(words).__name__} {getattr(words, 'dtype', '')}; it must be a C-ordered int64 array of one dimension")
