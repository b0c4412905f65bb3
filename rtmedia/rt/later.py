"""Names of the compiler's that a kernel's module needs, without importing the compiler.

numba takes a third of a second to import, and a start whose kernels are all on the disk compiles nothing. So
modules take from here what they would take from numba: `carray` and `intrinsic`, and the modules that only
an intrinsic's definition looks into (`cgutils`, `ir`, `models`, `types`). numba is imported when it asks one of
them for its type, which it does while it compiles a caller.

Notes
-----
Thread: any.   Real-time: no; kernels hold numba's own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any


class Later:
    """A module that is imported when something of it is asked for.

    Parameters
    ----------
    name
        The module's full name. Where it is one of rtmedia's, the module that holds this must import it under
        ``if TYPE_CHECKING:`` as well: `rtmedia.rt.cache` reads there on what the machine code depends.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def load(self) -> Any:
        """The module itself."""
        return import_module(self._name)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # whoever looks at all objects of a module is not one who compiles
            raise AttributeError(attribute)
        value = getattr(self.load(), attribute)
        setattr(self, attribute, value)
        return value


class _StandIn:
    """Something of numba's in a kernel's body: numba takes it for the original (`_numba_type_` is its own protocol)."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)

    def _original(self) -> Any:
        raise NotImplementedError

    @functools.cached_property
    def _numba_type_(self) -> Any:
        from rtmedia.rt.compile import type_of

        return type_of(self._original())

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Outside compiled code; what that does, the original decides."""
        return self._original()(*arguments, **keywords)


class Intrinsic(_StandIn):
    """An instruction of our own: `function` is what ``numba.extending.intrinsic`` takes."""

    def _original(self) -> Any:
        definition: Any = self.__wrapped__  # type: ignore[attr-defined]
        # A type of our own is registered where its module is imported, and a caller's types are inferred only after this.
        for value in definition.__globals__.values():
            if isinstance(value, Later):
                value.load()
        from numba.extending import intrinsic as numbas

        return numbas(definition)


class _Carray(_StandIn):
    def _original(self) -> Any:
        from numba import carray as numbas

        return numbas


def intrinsic(definition: Callable[..., Any]) -> Intrinsic:
    """``numba.extending.intrinsic``, applied when a caller is compiled."""
    return Intrinsic(definition)


@_Carray
def carray(pointer, shape, dtype=None):  # type: ignore[no-untyped-def]
    """``numba.carray``: an array over the memory at `pointer`."""


cgutils = Later("numba.core.cgutils")
ir = Later("llvmlite.ir")
models = Later("numba.core.datamodel.models")
types = Later("numba.core.types")
