"""Cells as Python sees them; their protocol is proved in test_cell_model.py."""

from __future__ import annotations

import gc
import sys
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmedia.errors import ConfigError
from rtmedia.rt.cell import VERSION, Cell, cell_read, cell_write
from rtmedia.rt.clock import sleep_ns

WORD = st.integers(-(2**63), 2**63 - 1)


def test_a_new_cell_holds_zeros():
    assert Cell(3).read() == (0, 0, 0)


@given(st.lists(st.lists(WORD, min_size=2, max_size=2), min_size=1, max_size=5))
def test_the_newest_words_are_read_as_often_as_one_likes(versions):
    cell = Cell(2)
    for words in versions:
        cell.write(*words)
    assert cell.read() == cell.read() == tuple(versions[-1])
    assert cell.memory[VERSION] == 2 * len(versions)


@pytest.mark.parametrize("words", [(), (1,), (1, 2, 3)])
def test_another_number_of_words_is_refused_and_memory_stays(words):
    cell = Cell(2)
    cell.write(7, 8)
    with pytest.raises(ConfigError, match="this cell holds 2"):
        cell.write(*words)
    assert cell.read() == (7, 8)


def test_reading_leaves_no_references_and_keeps_the_cells_memory():
    cell = Cell(3)
    cell.write(2**40, 2**41, -(2**42))
    read, memory = cell._read, weakref.ref(cell.memory)
    before = sys.getallocatedblocks()
    for _ in range(10_000):
        read()
    assert sys.getallocatedblocks() - before < 1_000
    del cell
    gc.collect()
    assert read() == (2**40, 2**41, -(2**42))
    del read
    assert memory() is None


def test_a_disturbed_read_says_so_and_leaves_no_references():
    cell = Cell(2)
    cell.memory[VERSION] = 1
    before = sys.getallocatedblocks()
    assert all(cell._read() is None for _ in range(2_000))
    assert sys.getallocatedblocks() - before < 500


def test_a_cell_holds_at_least_one_word():
    with pytest.raises(ConfigError, match="at least 1"):
        Cell(0)


def test_a_reader_gives_up_while_the_writer_is_inside():
    cell = Cell(1)
    cell.memory[VERSION] = 1
    assert cell_read(cell.address, np.zeros(1, np.int64), 50) == 0


def test_a_python_reader_waits_out_a_writer_that_lost_its_core():
    cell = Cell(1)
    cell.write(5)
    cell.memory[VERSION] += 1  # inside

    def leave():
        sleep_ns(20_000_000)
        cell.memory[VERSION] -= 1
        cell_write(cell.address, np.array([6], np.int64))

    writer = threading.Thread(target=leave)
    writer.start()
    assert cell.read() in ((5,), (6,))
    writer.join()
    assert cell.read() == (6,)
