"""Ten thousand rounds of every ring and cell operation allocate nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

from rtmedia.rt.cell import Cell
from rtmedia.rt.ring import FrameRing, RecordRing
from tests.rt import soak_kernels as k


@pytest.fixture
def counted() -> Iterator[None]:
    _nrt_python.memsys_enable_stats()
    yield
    _nrt_python.memsys_disable_stats()


def allocations(function, *arguments) -> tuple[int, int]:
    """Blocks of memory and array owners that one call made."""
    before = rtsys.get_allocation_stats()
    function(*arguments)
    after = rtsys.get_allocation_stats()
    return after.alloc - before.alloc, after.mi_alloc - before.mi_alloc


@pytest.mark.usefixtures("counted")
def test_rings_and_cells_allocate_nothing_in_compiled_code():
    frames, records, cell = FrameRing(16), RecordRing(8, k.RECORD), Cell(16)
    arguments = (frames.address, records.address, cell.address, np.zeros(16, np.int64))
    # The call from Python wraps its array: once, however many rounds the loop makes.
    assert allocations(k.every_operation, *arguments, 10_000) == allocations(k.every_operation, *arguments, 0)
    assert frames.written_total > 10_000
    assert records.written_total > 1_000


@pytest.mark.usefixtures("counted")
def test_the_count_would_show_an_allocation():
    assert allocations(k.an_allocation, 1_000) > (0, 0)
