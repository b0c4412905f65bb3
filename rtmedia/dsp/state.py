"""One page of memory for everything a kernel remembers.

A state is one record: a *header* whose layout is fixed when the kernel is compiled, followed by arrays
whose lengths depend on the format. The header holds the offset ``at_<array>`` of each array, in octets
from the record's start, so that a kernel needs nothing but one address. To reset is to copy the first
image back; to look inside is to print the record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError
from rtmedia.rt.memory import aligned_zeros

_ALIGNMENT = 64  # one cache line, and the widest vector


def header_dtype(fields: Iterable[Any], arrays: Iterable[str] = ()) -> np.dtype[Any]:
    """The fixed part of a state: `fields`, then an offset for each name in `arrays`."""
    return np.dtype([*fields, *((f"at_{name}", "i8") for name in arrays)], align=True)


def make_state(header: np.dtype[Any], arrays: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """A record array of shape (1,): zeroed header, then a copy of each array, its offset noted in the header."""
    names = list(header.names or ())
    fields: Mapping[str, Any] = header.fields or {}
    formats: list[Any] = [fields[name][0] for name in names]
    offsets = [fields[name][1] for name in names]
    end = header.itemsize
    at = {}
    for name, initial in arrays.items():
        at[name] = -(-end // _ALIGNMENT) * _ALIGNMENT
        names.append(name)
        formats.append((initial.dtype, initial.shape))
        offsets.append(at[name])
        end = at[name] + initial.nbytes
    itemsize = -(-end // _ALIGNMENT) * _ALIGNMENT
    dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize})
    state = aligned_zeros(1, dtype)
    for name, initial in arrays.items():
        state[f"at_{name}"] = at[name]
        state[name][0] = initial
    return state


def check_range(effect: str, name: str, value: float, low: float, high: float) -> None:
    """Refuse a setting outside of its limits (and NaN)."""
    if not isinstance(value, Real) or not low <= value <= high:
        raise ConfigError(f"{effect}: {name} is {value}; it must lie between {low:g} and {high:g}: choose a value in that range")
