"""How far an offline chain has come, told by an effect in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.ports import Block, Format


@dataclass(frozen=True)
class Watched:
    """An effect that changes nothing and tells how many frames have come by: the first of the chain sees every block.

    Parameters
    ----------
    tell
        Called with the frames of each block.
    """

    tell: Callable[[int], None]
    name: str = "progress"

    def values(self) -> tuple[float, ...]:
        return ()

    def make(self, format: Format, max_frames: int) -> Any:
        return _Instance(self.tell)


class _Instance:
    address = 0
    state_address = 0
    latency_frames = 0

    def __init__(self, tell: Callable[[int], None]) -> None:
        self.state: npt.NDArray[Any] = np.zeros(1)
        self._tell = tell

    def process(self, block: Block) -> None:
        self._tell(len(block))

    def reset(self) -> None: ...
    def update(self, values: tuple[float, ...]) -> None: ...
