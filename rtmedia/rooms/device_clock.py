"""The device's clock, as far as render knows it: which frame of the sound card belongs to which time of the machine.

Arrivals are stamped by the machine's monotonic clock, blocks are counted by the sound card's. A delay-locked loop on the
device's calls translates (F. Adriaensen, "Using a DLL to filter time", LAC 2005): a sound card that runs 200 ppm slow
looks like slowly changing network delay, and a device that stalls does not look like a network that does.
"""

from __future__ import annotations

import math

import numpy as np

from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros

BANDWIDTH_HZ = 0.1  # fast enough for a sound card's drift, slow against its bursts
RESET_MS = 40.0  # a larger error is a stall, not a clock
# After a start or a stall the device fills its own memory: it asks at once for what it then plays one by one. Such calls
# come early by their own length, no clock does; for so long they are taken as the new truth.
SETTLE_MS = 500.0

CLOCK_DTYPE = np.dtype(
    [
        ("rate_hz", "i8"),
        # at device frame `pos` the monotonic clock shows `ns`
        ("pos", "f8"),
        ("ns", "f8"),
        ("ns_per_frame", "f8"),
        ("known", "i8"),  # `ns` has been set
        ("seen_ns", "i8"),  # the call looked at last
        ("resets", "i8"),
        ("settled_pos", "f8"),  # device frame from which on an early call is jitter
    ]
)


class DeviceClock:
    """The memory of one device's clock.

    Parameters
    ----------
    rate_hz
        What the device says its rate is.
    """

    def __init__(self, rate_hz: int) -> None:
        self.state = aligned_zeros(1, CLOCK_DTYPE)
        self.state["rate_hz"], self.state["ns_per_frame"] = rate_hz, 1e9 / rate_hz
        self.address = int(self.state.ctypes.data)


@kernel("f8(i8, i8)")
def device_ms(clock, time_ns):
    """A monotonic time on the device's clock: milliseconds of frames taken from the audio ring.

    Thread: render.   Real-time: yes.
    """
    k = carray(pointer_void(clock), 1, CLOCK_DTYPE)[0]
    frames = k.pos + (time_ns - k.ns) / k.ns_per_frame
    return frames * 1000.0 / k.rate_hz


@kernel("void(i8, i8, i8, i8, i8)")
def follow_device(clock, time_ns, fresh, sink_pos, called_ns):
    """One step of the delay-locked loop, when the device has called since the last look.

    Parameters
    ----------
    time_ns
        Now.
    fresh
        1 where the device's words could be read; 0: the two that follow mean nothing.
    sink_pos, called_ns
        Device frames given until the device's newest call, and its time; 0 before the first.

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    k = carray(pointer_void(clock), 1, CLOCK_DTYPE)[0]
    if fresh == 0 or called_ns == 0:
        if k.known == 0:  # no device yet: its clock begins now
            k.ns = float(time_ns)
            k.known = 1
        return
    if called_ns == k.seen_ns:
        return
    first = k.seen_ns == 0
    k.seen_ns = called_ns
    moved = sink_pos - k.pos
    predicted = k.ns + moved * k.ns_per_frame
    error = called_ns - predicted
    stalled = first or k.known == 0 or abs(error) > RESET_MS * 1e6
    filling = sink_pos < k.settled_pos and error < -0.5 * moved * k.ns_per_frame
    if stalled or filling:
        if stalled:
            k.settled_pos = sink_pos + SETTLE_MS * k.rate_hz / 1000.0
        k.ns = float(called_ns)
        k.pos = float(sink_pos)
        k.ns_per_frame = 1e9 / k.rate_hz
        k.known = 1
        k.resets += 1
        return
    if moved <= 0:  # the ring was empty: the device went on, our frames did not
        k.ns = float(called_ns)
        return
    omega = 2.0 * math.pi * BANDWIDTH_HZ * moved / k.rate_hz
    k.ns = predicted + min(1.0, math.sqrt(2.0) * omega) * error
    k.pos = float(sink_pos)
    per_frame = k.ns_per_frame + omega * omega * error / moved
    nominal = 1e9 / k.rate_hz
    k.ns_per_frame = min(max(per_frame, nominal * 0.99), nominal * 1.01)
