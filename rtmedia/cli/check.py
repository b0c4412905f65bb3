"""One answer of `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One answer; `hint` says what to do, and is empty for ``ok``."""

    name: str
    status: Status
    message: str
    hint: str = ""
