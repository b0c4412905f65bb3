"""What the compiler made of the kernels: the orderings are there, and nothing that allocates, locks or raises.

The kernels are compiled afresh from their ``py_func``, because a kernel loaded from the cache shows no code.
"""

from __future__ import annotations

import re

import numba
import pytest

from rtmedia.rt import cell, plugin, ring, wake

ACQUIRE, RELEASE, EXCHANGE = "load atomic i64 acquire", "store atomic i64 release", "xchg atomic i64 seq_cst"

#: Kernel: the atomic accesses that its code must hold at least.
EXPECTED = {
    ring.ring_write: {ACQUIRE, RELEASE},
    ring.ring_read: {ACQUIRE, RELEASE},
    ring.ring_claim: {ACQUIRE},
    ring.ring_commit: {RELEASE},
    ring.ring_front: {ACQUIRE},
    ring.ring_peek: {ACQUIRE},
    ring.ring_release: {RELEASE},
    ring.ring_skip: {ACQUIRE, RELEASE},
    ring.ring_readable: {ACQUIRE},
    ring.ring_writable: {ACQUIRE},
    ring.ring_written: {ACQUIRE},
    ring.ring_read_total: {ACQUIRE},
    ring.ring_refused: {ACQUIRE},
    cell.cell_write: {RELEASE},
    cell.cell_read: {ACQUIRE},
    wake.bell_ring: {EXCHANGE},
    wake.bell_wait: {EXCHANGE},
    # float32 travels as the 32-bit integer of its octets
    plugin.wishes_write: {RELEASE, "store atomic i32 release"},
    plugin.wishes_take: {ACQUIRE, "load atomic i32 acquire"},
}

#: Kernel: the kernels that it calls.
CALLED = {wake.bell_ring: {wake.wake}, wake.bell_wait: {wake.sleep_on}}

#: Memory copies and arithmetic; nothing else may be called from the audio path.
HARMLESS = re.compile(r"llvm\.(memcpy|memset|memmove|s?max|s?min|smax|smin|umin|umax|assume|lifetime|experimental)")


def body_of(kernel) -> str:
    """The LLVM code of the kernel alone, without numba's wrapper for Python and its runtime."""
    made = numba.njit(kernel.signatures[0], nogil=True, error_model="numpy")(kernel.py_func)
    code = made.inspect_llvm(made.signatures[0])
    functions = re.findall(r"^define [^\n]*@(\S+?)\(.*?^}", code, re.MULTILINE | re.DOTALL)
    bodies = [found.group(0) for found in re.finditer(r"^define [^\n]*\n.*?^}", code, re.MULTILINE | re.DOTALL)]
    name = kernel.py_func.__name__
    mine = [
        body
        for function, body in zip(functions, bodies, strict=True)
        if name in function and not function.startswith(("_ZN7cpython", "cfunc."))
    ]
    assert len(mine) == 1, functions
    return mine[0]


@pytest.fixture(scope="module", params=list(EXPECTED), ids=lambda kernel: kernel.py_func.__name__)
def compiled(request):
    return request.param, body_of(request.param)


def atomics(body):
    found = re.findall(r"(load) atomic (\w+), [^\n]*? (\w+), align (\d+)|(store) atomic (\w+) [^\n]*? (\w+), align (\d+)", body)
    # "atomicrmw xchg i64* %p, i64 %v seq_cst", or "… ptr %p, i64 %v seq_cst, align 8": its own alignment where none is stated
    exchanged = re.findall(r"atomicrmw (xchg) [^\n,]*, (i(\d+)) \S+ (\w+)", body)
    stated = re.findall(r"atomicrmw [^\n]*, align (\d+)", body)
    found = [tuple(part for part in parts if part) for parts in found]
    found += [(kind, type_, order, str(int(bits) // 8)) for kind, type_, bits, order in exchanged]
    assert set(stated) <= {alignment for *_, alignment in found}
    return found


def test_the_orderings_reach_the_compiler(compiled):
    kernel, body = compiled
    accesses = {f"{kind} atomic {type_} {order}" for kind, type_, order, _ in atomics(body)}
    assert accesses == EXPECTED[kernel]


def test_atomic_accesses_state_their_own_alignment(compiled):
    """A stated alignment smaller than the number would become a call into a locking library."""
    for _, type_, _, alignment in atomics(compiled[1]):
        assert alignment == {"i64": "8", "i32": "4"}[type_]


def test_nothing_is_called_that_could_allocate_lock_or_raise(compiled):
    called = {name.strip('"') for name in re.findall(r"(?:call|invoke)[^\n@]*@([\w.\"-]+)\(", compiled[1])}
    called -= {other.symbol for other in CALLED.get(compiled[0], ())}
    # Numba counts references of arrays that it was given; an array by address has none to count.
    assert {name for name in called if not HARMLESS.match(name)} <= {"NRT_incref", "NRT_decref"} - {"NRT_Allocate"}
    assert "NRT_MemInfo_alloc" not in compiled[1]


@pytest.mark.parametrize("kernel", [ring.ring_write, ring.ring_read], ids=["ring_write", "ring_read"])
def test_no_copy_follows_the_publication_on_any_path(kernel):
    blocks = re.split(r"^(?=[\w.$\"-]+:)", body_of(kernel), flags=re.MULTILINE)
    by_name = {block.split(":", 1)[0].strip('"'): block for block in blocks[1:]}
    publishes = [
        block for block in blocks if " i64 %" in block and "store atomic" in block and "memcpy" not in block.split("store atomic")[-1]
    ]
    assert any("memcpy" in block for block in blocks)
    assert publishes
    waiting, reached = [block.split("store atomic")[-1] for block in publishes], set()
    while waiting:
        text = waiting.pop()
        assert "memcpy" not in text
        for name in re.findall(r'label %"?([\w.$-]+)', text):
            if name not in reached:
                reached.add(name)
                waiting.append(by_name[name])
