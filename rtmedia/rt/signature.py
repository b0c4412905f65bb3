"""What a kernel takes and gives back, read from its signature without the compiler.

numba's own types say it all, and cost a third of a second to import: too much for a start that finds every
kernel on the disk. What a kernel can take when it is called through its address is little (numbers and
C-ordered arrays of them) and is read here; everything else is asked of numba (`rtmedia.rt.compile.described`).
"""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

#: numba's short names and long ones, by NumPy's name of the same number.
_NAMES = {
    **{f"{letter}{octets}": f"{word}{8 * octets}" for letter, word in (("i", "int"), ("u", "uint")) for octets in (1, 2, 4, 8)},
    "b1": "bool",
    "bool": "bool",
    "boolean": "bool",
    "f4": "float32",
    "f8": "float64",
    "void": "void",
}
_NAMES.update({name: name for name in list(_NAMES.values()) if name != "bool"})

_CALL = re.compile(r"(.+?)\s*\(((?:[^()]|\([^()]*\))*)\)", re.ASCII)
_PAIR = re.compile(r"UniTuple\(\s*(\w+)\s*,\s*(\d+)\s*\)", re.ASCII)
_PLAIN = re.compile(r"(\w+)\s*(?:\[((?:\s*:\s*,)*)\s*::\s*1\s*\])?", re.ASCII)
_COMMA = re.compile(r",(?![^\[(]*[\])])")


class Number(NamedTuple):
    """One number, or nothing (``void``); `name` is NumPy's."""

    name: str

    @property
    def is_float(self) -> bool:
        return self.name.startswith("float")


class Array(NamedTuple):
    """A C-ordered array that owns nothing."""

    element: Number
    ndim: int


class Numbers(NamedTuple):
    """Several numbers of one type: a tuple."""

    element: Number
    length: int


class Other(NamedTuple):
    """What only numba understands."""

    name: str


class Signature(NamedTuple):
    """The types of a function: `args`, and what it gives back."""

    returned: Any
    args: tuple[Any, ...]

    @property
    def has_arrays(self) -> bool:
        """Whether an argument is one."""
        return any(isinstance(kind, Array) for kind in self.args)

    @property
    def can_be_called(self) -> bool:
        """Whether compiled code can reach such a function by address; an array cannot be given back."""
        pair = isinstance(self.returned, Numbers) and self.returned.length <= 2  # fits two registers everywhere
        return (pair or isinstance(self.returned, Number)) and all(
            isinstance(kind, Array) or (isinstance(kind, Number) and kind != VOID) for kind in self.args
        )


VOID = Number("void")
BOOL = Number("bool")


def _kind(text: str) -> Any:
    """The type that `text` names; None where numba has to be asked."""
    pair = _PAIR.fullmatch(text)
    if pair:
        return Numbers(Number(_NAMES[pair[1]]), int(pair[2])) if _NAMES.get(pair[1], "void") != "void" else None
    plain = _PLAIN.fullmatch(text)
    if not plain or plain[1] not in _NAMES:
        return None
    number = Number(_NAMES[plain[1]])
    if plain[2] is None:
        return number
    return Array(number, 1 + plain[2].count(",")) if number != VOID else None


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Signature | None:
    """Read a signature as numba writes them, ``"i8(i8, f4[:, ::1])"``; None where it says more than is understood here."""
    call = _CALL.fullmatch(text.strip())
    if not call:
        return None
    inside = call[2].strip()
    returned = _kind(call[1].strip())
    args = tuple(_kind(part.strip()) for part in _COMMA.split(inside)) if inside else ()
    return None if returned is None or None in args or VOID in args else Signature(returned, args)
