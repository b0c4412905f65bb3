"""A table: the rooms that one compiled thread walks, and how they come and go while it does.

How to think about it. A room has a place in the table: its address, and a *ready* word. Whoever has something for the
room sets the word and rings the table's bell (`rtmedia.rt.wake.call_room`). The loop looks at ready words alone, which
are next to each other: walking past three hundred rooms that have nothing to do costs a fraction of a microsecond each.
Now and then it steps all of them regardless (`SWEEP_NS`), because a wish may be waiting that nobody rang for.

A room's memory may go only when the loop is past it. The owner clears the place and counts WANTED up; the loop copies
WANTED to DONE between its rounds. Once DONE has reached the owner's number, the loop is out of the room, and has seen the
number, so that every later round sees the place cleared too. Until then, for good if it hangs inside some room, the place and a
reference to all the memory behind it are kept.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import numpy.typing as npt

from rtmedia.errors import StateError
from rtmedia.rt.memory import aligned_zeros
from rtmedia.rt.wake import Bell
from rtmedia.rt.words import load_word, store_word

#: Rooms in one table; far above what a machine can carry, and 64 KiB.
PLACES = 4_096

# Words of a table's control page. The owner's:
STOP, USED, WANTED = 0, 1, 2
# the loop's:
ALIVE_NS, DONE = 16, 17
# nobody's:
ROOMS, READY, BELL = 32, 33, 34
WORDS = 48

#: A loop steps every room at least so often, rung for or not, and shows that it is alive.
SWEEP_NS = 50_000_000

_LOOK_S = 0.0005  # while a room's leave is waited for
_LEAST_LOOKS = 20


class Table:
    """Memory of one table, and the owner's half of it.

    Notes
    -----
    Thread: any.   Real-time: no; the loop's half is `rtmedia.rooms.loops`.
    """

    def __init__(self, places: int = PLACES) -> None:
        self.rooms: npt.NDArray[np.int64] = aligned_zeros(places, np.int64)
        self.ready: npt.NDArray[np.int64] = aligned_zeros(places, np.int64)
        self.control: npt.NDArray[np.int64] = aligned_zeros(WORDS, np.int64)
        self.bell = Bell()
        self.control[ROOMS], self.control[READY] = self.rooms.ctypes.data, self.ready.ctypes.data
        self.control[BELL] = self.bell.address
        self.address = int(self.control.ctypes.data)
        self._lock = threading.Lock()
        self._owners: dict[int, object] = {}  # by place: keeps the memory behind an address
        self._parting: dict[int, int] = {}  # cleared places that the loop may still be in, until DONE has come to the number
        self._given_up: set[int] = set()  # of these, those that nobody waits for any more

    def __len__(self) -> int:
        """Rooms in the table."""
        return len(self._owners) - len(self._parting)

    @property
    def hangs(self) -> bool:
        """Whether the loop has not come past a room that left long ago."""
        with self._lock:
            self._reap()
            return bool(self._given_up)

    def put(self, address: int, owner: object) -> int:
        """Give a room a place; the loop steps it at once.

        Parameters
        ----------
        owner
            Holds the room's memory; kept until the room has left.

        Raises
        ------
        StateError
            The table is full.
        """
        with self._lock:
            self._reap()
            place = next((place for place in range(len(self.rooms)) if place not in self._owners), None)
            if place is None:
                raise StateError(f"{len(self.rooms)} rooms share one thread, and more are not possible: stop some engines first")
            self._owners[place] = owner
            store_word(self.rooms, place, address)
            store_word(self.ready, place, 1)
            store_word(self.control, USED, max(self._owners) + 1)
        self.bell.ring()
        return place

    def ready_address(self, place: int) -> int:
        """Where whoever has something for the room says so."""
        return int(self.ready.ctypes.data) + 8 * place

    def part(self, place: int) -> None:
        """Take a room out; `left` tells when the loop is past it. Its memory is kept until then, if need be for good."""
        with self._lock:
            store_word(self.rooms, place, 0)
            wanted = int(self.control[WANTED]) + 1
            store_word(self.control, WANTED, wanted)
            self._parting[place] = wanted
        self.bell.ring()

    def left(self, place: int, timeout_s: float) -> bool:
        """Whether the loop is past a room that was taken out, within that time and some looks; False: it hangs, perhaps in that room.

        However little time is left, the loop gets some: a machine that was stopped has used it all before the loop could run.
        """
        deadline = time.monotonic() + timeout_s
        looks = 0
        while True:
            with self._lock:
                self._reap()
                if place not in self._parting:
                    return True
                if looks >= _LEAST_LOOKS and time.monotonic() >= deadline:
                    self._given_up.add(place)
                    return False
            looks += 1
            time.sleep(_LOOK_S)

    def _reap(self) -> None:
        """Let go of what the loop has passed; with the lock."""
        done = load_word(self.control, DONE)
        for place, wanted in list(self._parting.items()):
            if wanted <= done:
                del self._parting[place], self._owners[place]
                self._given_up.discard(place)
        store_word(self.control, USED, max(self._owners, default=-1) + 1)

    def stop(self) -> None:
        """Ask the loop to leave."""
        store_word(self.control, STOP, 1)
        self.bell.ring()

    @property
    def alive_ns(self) -> int:
        """When the loop last came round (monotonic)."""
        return int(load_word(self.control, ALIVE_NS))
