"""How a trace is named: ``FILE.csv``, ``BUNDLE.npz:NAME``, ``model:NAME``. Light: nothing is read here."""

from __future__ import annotations

import re

_MEMBER = re.compile(r"(.*\.npz):(.*)", re.IGNORECASE | re.DOTALL)


def bundle_member(text: str) -> tuple[str, str] | None:
    """``BUNDLE.npz:NAME`` as a path and a name, whatever the case of the suffix; None for what is no such text."""
    found = _MEMBER.fullmatch(text)
    return (found[1], found[2]) if found else None
