"""Signatures are read without the compiler, and say what the compiler says."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmedia.rt import compile as compiler
from rtmedia.rt.signature import Array, Number, Numbers, Other, Signature, parse

NUMBERS = ("b1", "boolean", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "int32", "uint64", "float32", "float64")

number = st.sampled_from(NUMBERS)
array = st.builds(lambda kind, ndim: f"{kind}[{':, ' * (ndim - 1)}::1]", number, st.integers(1, 4))
several = st.builds(lambda kind, count: f"UniTuple({kind}, {count})", number, st.integers(1, 4))
argument = st.one_of(number, array, several)


@given(st.one_of(number, several, array, st.just("void")), st.lists(argument, max_size=6), st.sampled_from([", ", ",", " , "]))
def test_every_signature_is_read_as_numba_reads_it(returned, arguments, comma):
    text = f"{returned}({comma.join(arguments)})"
    assert parse(text) == compiler.described(text)


@pytest.mark.parametrize(
    "text",
    [
        "i8",
        "i8(",
        "(i8)",
        "i8(i8",
        "i8(nothing)",
        "nothing(i8)",
        "i8(void)",
        "i8(f4[:])",
        "i8(f4[::1, :])",
        "c8(i8)",
        "Tuple((i8, f8))(i8)",
    ],
)
def test_what_is_not_understood_is_left_to_numba(text):
    assert parse(text) is None


def test_what_only_numba_understands_is_described_as_far_as_it_goes():
    assert compiler.described("c8(c8, i8)") == Signature(Other("complex64"), (Other("complex64"), Number("int64")))


@pytest.mark.parametrize(
    ("text", "can"),
    [
        ("i8(i8, f4[:, ::1], b1)", True),
        ("void()", True),
        ("UniTuple(f8, 2)(i8)", True),
        ("UniTuple(f8, 3)(i8)", False),
        ("f4[::1](i8)", False),
        ("i8(UniTuple(i8, 2))", False),
    ],
)
def test_numbers_and_plain_arrays_go_through_an_address_and_nothing_else_does(text, can):
    signature = parse(text)
    assert signature is not None
    assert signature.can_be_called is can


def test_the_parts_can_be_looked_at():
    signature = parse("UniTuple(f8, 2)(f4[:, ::1], i8)")
    assert signature == Signature(Numbers(Number("float64"), 2), (Array(Number("float32"), 2), Number("int64")))
    assert signature.has_arrays
    assert signature.returned.element.is_float


def test_reading_a_signature_does_not_import_the_compiler():
    code = "import sys; from rtmedia.rt.signature import parse; parse('i8(i8)'); assert not {'numba', 'llvmlite'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
