"""The compiled threads: each enters its loop once and walks a table of rooms until told to stop.

A table is an array of addresses; 0 is an empty place. One engine is a table of one. Nothing here needs
the interpreter: its lock is given up on entry and taken back on exit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rtmedia.rooms.decode import decode_step
from rtmedia.rooms.render import render_step
from rtmedia.rt.clock import now_ns, sleep_ns
from rtmedia.rt.kernel import kernel, load_acquire, store_release
from rtmedia.rt.memory import aligned_zeros, load_word, store_word

# Words of a loop's control page, on cache lines of their own: the first is the engine's, the second the loop's.
STOP, ALIVE_NS = 0, 16
IDLE_NS = 500_000  # a poll costs about 2 us; 0.5 ms is 2 % of a packet


class Table:
    """The rooms that one compiled thread walks.

    Parameters
    ----------
    places : int
        How many rooms it can hold.
    """

    def __init__(self, places: int = 1) -> None:
        self.rooms: npt.NDArray[np.int64] = aligned_zeros(places, np.int64)
        self.control: npt.NDArray[np.int64] = aligned_zeros(32, np.int64)

    def put(self, place: int, address: int) -> None:
        """Set a place; the loop takes it up on its next round. Thread: the owner of the table."""
        store_word(self.rooms, place, address)

    def stop(self) -> None:
        """Ask the loop to leave."""
        store_word(self.control, STOP, 1)

    @property
    def alive_ns(self) -> int:
        """When the loop last came round (monotonic)."""
        return int(load_word(self.control, ALIVE_NS))


@kernel("void(i8[::1], i8[::1])")
def decode_loop(rooms, control):
    """The decode thread's life. Thread: decode.   Real-time: yes."""
    while load_acquire(control, STOP) == 0:
        now = now_ns()
        store_release(control, ALIVE_NS, now)
        worked = 0
        for i in range(rooms.shape[0]):
            room = load_acquire(rooms, i)
            if room != 0:
                for _ in range(32):  # a burst, but every engine gets its turn
                    if decode_step(room, now) == 0:
                        break
                    worked = 1
        if worked == 0:
            sleep_ns(IDLE_NS)


@kernel("void(i8[::1], i8[::1])")
def render_loop(rooms, control):
    """The render thread's life. Thread: render.   Real-time: yes."""
    while load_acquire(control, STOP) == 0:
        now = now_ns()
        store_release(control, ALIVE_NS, now)
        worked = 0
        for i in range(rooms.shape[0]):
            room = load_acquire(rooms, i)
            if room != 0:
                worked |= render_step(room, now)
        if worked == 0:
            sleep_ns(IDLE_NS)
