"""Words of a page from Python: what they take, and that nothing else is touched."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from rtmedia.rt.words import load_word, store_word


def test_a_word_is_stored_and_loaded_whole():
    page = np.zeros(4, np.int64)
    for value in (0, 1, -1, 2**63 - 1, -(2**63), np.int64(7)):
        store_word(page, 2, value)
        assert load_word(page, np.int64(2)) == value
    assert page.tolist() == [0, 0, 7, 0]


@pytest.mark.parametrize("index", [-1, 4, 2**62])
def test_an_index_outside_the_page_is_refused(index):
    page = np.zeros(4, np.int64)
    with pytest.raises(IndexError, match=f"index is {index}; the page has 4 words"):
        load_word(page, index)
    with pytest.raises(IndexError, match=f"index is {index}; the page has 4 words"):
        store_word(page, index, 1)
    assert not page.any()


@pytest.mark.parametrize(
    "page",
    [[0, 0], np.zeros(4), np.zeros(4, np.int32), np.zeros((2, 2), np.int64), np.zeros(8, np.int64)[::2], np.zeros(4, ">i8"), None],
    ids=["list", "float64", "int32", "square", "strided", "swapped", "None"],
)
def test_what_is_no_page_is_refused(page):
    with pytest.raises(TypeError, match="must be a C-ordered int64 array"):
        load_word(page, 0)
    with pytest.raises(TypeError, match="must be a C-ordered int64 array"):
        store_word(page, 0, 1)


def test_a_read_only_page_is_never_written():
    page = np.frombuffer(bytes(16), np.int64)
    assert load_word(page, 1) == 0
    with pytest.raises(TypeError):
        store_word(page, 1, 5)
    assert load_word(page, 1) == 0


@pytest.mark.parametrize("wrong", ["1", 1.0, None, 2**63])
def test_what_is_no_number_is_an_exception(wrong):
    page = np.zeros(4, np.int64)
    with pytest.raises((TypeError, OverflowError)):
        load_word(page, wrong)
    with pytest.raises((TypeError, OverflowError)):
        store_word(page, wrong, 0)
    with pytest.raises((TypeError, OverflowError)):
        store_word(page, 0, wrong)


def test_references_are_left_as_they_were():
    page = np.zeros(4, np.int64)
    before = sys.getrefcount(page), sys.getrefcount(None)
    for _ in range(1_000):
        load_word(page, 1)
        store_word(page, 1, 3)
        for call in (lambda: load_word(page, 9), lambda: store_word(page, 9, 0)):
            with pytest.raises(IndexError):
                call()
    assert sys.getrefcount(page) == before[0]
    assert abs(sys.getrefcount(None) - before[1]) < 100
