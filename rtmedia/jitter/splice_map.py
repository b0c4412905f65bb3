"""Splices looked up instead of searched for: what makes a simulation without sound fast.

The search for a splice is nearly all that deciding costs. A simulation plays the same speech again and again, and the
search's answer depends on the speech, not on the network: so it is kept. For each 5 ms of the speech, either direction,
every 10 ms of audio ahead and every 1.25 ms of longest lag there is room for one answer; whoever comes by first has the
real `find_splice` look at the undisturbed speech and leaves the answer there. What the buffer has at hand is rounded
*down* to such a room, so that what is found there can always be done.

The answers do not depend on who asked first, nor on when: several simulations may share one map, in several threads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.stretch import find_splice, noise_floor_update, quiet_limit
from rtmedia.jitter.state import BUFFER_DTYPE, LONGEST_LAG_MS, SHORTEST_LAG_MS, SPLICE_HISTORY_MS, WINDOW_MS
from rtmedia.rt.kernel import copy_octets, kernel, load_acquire, pointer_void, store_release
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros, view_f4, view_f8

FUTURES = WINDOW_MS // 10 + 1  # of 0, 10, … ms
LAG_MS = 1.25
LAGS = int(LONGEST_LAG_MS / LAG_MS) + 1  # longest lags of 0, 1.25, … 15 ms
ENTRY = 4  # lag (0: not looked yet, -1: none), splice point after the place, likeness, mean square

MAP_DTYPE = np.dtype(
    [
        ("frames", "i8"),  # of the speech, whole places
        ("step", "i8"),  # frames of one place
        ("row", "i8"),  # frames of one channel of `speech`
        ("speech", "i8"),  # float32, one channel after the other: SPLICE_HISTORY_MS of its end, all of it, WINDOW_MS of its beginning
        ("powers", "i8"),  # float64: sum of all squares before each frame, to 10 ms beyond the end; of the channels' mean
        ("floors", "i8"),  # float64: the noise floor at each place
        ("answers", "i8"),  # float32
    ]
)


class SpliceMap:
    """The memory of one speech's map.

    Parameters
    ----------
    speech : float32 array, shape (frames, channels)
        It is heard again and again.
    rate_hz : int

    Notes
    -----
    Thread: any.   Real-time: made before; 6 kB for each 10 ms of speech, of which only what is used is touched.
    """

    def __init__(self, speech: npt.NDArray[np.float32], rate_hz: int) -> None:
        step = rate_hz // 200 if rate_hz % 200 == 0 else rate_hz // 100
        block = rate_hz // 100
        padded = np.pad(speech, ((0, -len(speech) % block), (0, 0)))
        places = len(padded) // step
        before, after = SPLICE_HISTORY_MS * rate_hz // 1000, WINDOW_MS * rate_hz // 1000
        around = padded[np.arange(-before, len(padded) + after) % len(padded)]
        self.speech = np.ascontiguousarray(around.T, np.float32)
        squares = np.square(padded, dtype=np.float64).mean(axis=1)
        self.powers: npt.NDArray[np.float64] = np.append(0.0, np.cumsum(np.resize(squares, len(padded) + block)))
        self.floors = aligned_zeros(places, np.float64)
        self.answers: npt.NDArray[np.float32] = np.zeros(places * 2 * FUTURES * LAGS * ENTRY, np.float32)
        self.state = aligned_zeros(1, MAP_DTYPE)
        state = self.state[0]
        state["frames"], state["step"], state["row"] = places * step, step, self.speech.shape[1]
        for name in ("speech", "powers", "floors", "answers"):
            state[name] = getattr(self, name).ctypes.data
        self.address = int(self.state.ctypes.data)
        _find_floors(self.powers, step, block, self.floors, aligned_zeros(8, np.float64))


@kernel("void(f8[::1], i8, i8, f8[::1], f8[::1])")
def _find_floors(powers, step, block, floors, follower):
    """The noise floor before each place, once the speech has been heard."""
    for _ in range(2):
        for place in range(floors.shape[0]):
            floors[place] = follower[0]
            at = place * step
            if at % block == 0:
                noise_floor_update(follower, (powers[at + block] - powers[at]) / block)


@kernel("f8(i8, i8, i8)")
def recall_mean_square(address, position, frames):
    """Mean square of the speech that belongs to a stretch of the timeline of at most 10 ms."""
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    known = carray(pointer_void(b.splice_map), 1, MAP_DTYPE)[0]
    media = (position - b.shift - b.map_origin) % known.frames
    powers = view_f8(known.powers, known.frames + b.block + 1)
    return (powers[media + frames] - powers[media]) / frames


@kernel("i8(i8, i8, i8, i8, i8)")
def recall_splice(address, history, future, longest, direction):
    """`find_splice` for the buffer at `address`, from the map; the buffer's ``splice_result`` is relative to m.

    Parameters
    ----------
    history, future, longest, direction
        As in `find_splice`, from m on.

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    b = carray(pointer_void(address), 1, BUFFER_DTYPE)[0]
    known = carray(pointer_void(b.splice_map), 1, MAP_DTYPE)[0]
    step = known.step
    media = (b.m - b.shift - b.map_origin) % known.frames
    ahead = -media % step  # the next place begins so many frames after m
    place = ((media + ahead) % known.frames) // step
    tens = min((future - ahead) // b.block, FUTURES - 1)
    lags = min(int(longest / (LAG_MS * b.frames_per_ms)), LAGS - 1)
    if tens < 1 or lags < 1:
        return 0
    index = ((place * 2 + (1 if direction > 0 else 0)) * FUTURES + tens) * LAGS + lags
    answer = view_f4(known.answers + index * ENTRY * 4, ENTRY)
    lag = load_acquire(answer, 0)
    result = view_f8(b.splice_result, 8)
    if lag == np.float32(0.0):
        past = int(SPLICE_HISTORY_MS * b.frames_per_ms)
        count = tens * b.block
        shortest = int(SHORTEST_LAG_MS * b.frames_per_ms)
        window = view_f4(b.window, (past + count) * b.channels)
        for c in range(b.channels):
            copy_octets(b.window + 4 * c * (past + count), known.speech + 4 * (c * known.row + place * step), 4 * (past + count))
        last = past + count - (2 * shortest if direction > 0 else shortest)
        limit = quiet_limit(view_f8(known.floors, place + 1)[place])
        scratch = view_f8(b.scratch, b.scratch_size)
        most = int(lags * LAG_MS * b.frames_per_ms)
        lag = np.float32(-1.0)
        if find_splice(window, past, count, shortest, most, past, last, direction, b.rate_hz, limit, scratch, result) != 0:
            lag = np.float32(result[1])
            answer[1] = result[0] - past
            answer[2] = result[2]
            answer[3] = result[3]
        store_release(answer, 0, lag)
    if lag < np.float32(0.0):
        return 0
    result[0] = answer[1] + ahead
    result[1] = lag
    result[2] = answer[2]
    result[3] = answer[3]
    return 1 if direction > 0 or result[0] - lag >= -history else 0
