"""What travels through the rings between rooms: the records, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: receive → decode. The payload's octets follow in a ring of their own.
WIRE_DTYPE = np.dtype(
    [
        ("arrival_ns", "i8"),  # monotonic time right after the socket was read
        ("seq", "i8"),  # as on the wire, 32 bits
        ("media_time_ns", "i8"),  # sender's clock, or NO_MEDIA_TIME
        ("flags", "i8"),  # rtmedia.ports.FLAG_*
        ("length", "i8"),  # octets
        ("written_ns", "i8"),  # when it was on the ring; the last field, see MESSAGE_DTYPE
    ]
)

#: decode → render. The samples follow in a ring of their own.
PACKET_DTYPE = np.dtype(
    [
        ("seq", "i8"),  # extended to 64 bits
        ("media_pos", "i8"),  # first frame on the sender's clock
        ("arrival_ns", "i8"),
        ("written_ns", "i8"),
        ("taken_ns", "i8"),  # when decode took it from the wire ring
        ("decoded_ns", "i8"),
        ("frames", "i8"),
        ("flags", "i8"),  # rtmedia.jitter.state.FLAG_*
        ("epoch", "i8"),  # which connection
    ]
)

#: render → control, once a block.
TICK_DTYPE = np.dtype(
    [
        ("tick", "i8"),
        ("time_ns", "i8"),  # of render's step
        ("sink_pos", "i8"),  # first frame of the block, counted at the device's rate
        ("frames", "i8"),  # of the block at the device's rate
        ("epoch", "i8"),
        ("media_pos", "i8"),  # source frame that the block begins with
        ("op", "i8"),
        ("concealed", "i8"),  # source frames made up
        ("delay_ms", "f8"),
        ("control_ms", "f8"),
        ("target_ms", "f8"),
        ("spike_ms", "f8"),
        ("relative_ms", "f8"),
        ("buffered_ms", "f8"),
        ("resample_ratio", "f8"),  # frames at the device's rate, as a share of what the rates say
        ("media_ms", "f8"),  # timeline position at the start of the block
        ("peak", "f8"),  # of the block as it leaves
        ("mean_square", "f8"),
        ("made_ns", "i8"),  # when the block was on the audio ring; the last field, see CAPTURED_TICK_DTYPE
    ]
)

#: render → control, once a packet, when its first frame is rendered.
LEDGER_DTYPE = np.dtype(
    [
        ("seq", "i8"),
        ("arrival_ns", "i8"),
        ("written_ns", "i8"),
        ("taken_ns", "i8"),
        ("decoded_ns", "i8"),
        ("rendered_ns", "i8"),  # when the making of that block began
        ("sink_pos", "i8"),  # where its first frame lies at the device's rate
        ("epoch", "i8"),
        ("media_pos", "i8"),
    ]
)

#: play → control, once a call of the device.
MARK_DTYPE = np.dtype(
    [
        ("time_ns", "i8"),  # when the device asked
        ("sink_pos", "i8"),  # frames handed over before this call
        ("frames", "i8"),  # taken from the audio ring in this call
        ("asked", "i8"),
        ("dac_ns", "i8"),  # when its first frame leaves the speaker, as the device says
        ("flags", "i8"),  # the device's own (PortAudio's PaStreamCallbackFlags)
    ]
)

# What a capture keeps (`rtmedia.rooms.recorder`): all that the compiled rooms take from outside. Of the two records
# that end with a time stamp of the ledger it keeps all but that: the stamp decides nothing, and a replay has no clock.

#: A message as it is given to a wire ring: a `WIRE_DTYPE` without the time at which it was there.
MESSAGE_DTYPE = np.dtype(WIRE_DTYPE.descr[:-1])

#: A tick without the time at which its block was there.
CAPTURED_TICK_DTYPE = np.dtype(TICK_DTYPE.descr[:-1])


def captured_ticks(ticks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`TICK_DTYPE` records as a capture keeps them."""
    octets = np.ascontiguousarray(ticks).view(np.uint8).reshape(-1, TICK_DTYPE.itemsize)[:, : CAPTURED_TICK_DTYPE.itemsize]
    return np.ascontiguousarray(octets).reshape(-1).view(CAPTURED_TICK_DTYPE)


#: decode → capture, once a message taken from the wire ring.
DECODED_DTYPE = np.dtype(
    [
        ("number", "i8"),  # of the message, from 0
        ("time_ns", "i8"),
    ]
)

#: render → capture, once a step that found anything new.
STEP_DTYPE = np.dtype(
    [
        ("number", "i8"),  # from 0; a gap is a record that found no room
        ("time_ns", "i8"),
        ("fresh", "i8"),  # the device's cell could be read
        ("sink_pos", "i8"),  # the words of that cell, as they were seen
        ("device_ns", "i8"),
        ("largest", "i8"),
        ("underruns", "i8"),
        ("paused", "i8"),
        ("changes", "i8"),  # settings taken up before anything else
        ("tries", "i8"),  # packets offered to the jitter buffer; the last may have found no room
        ("blocks", "i8"),  # made
    ]
)

#: control → render while a capture runs: new settings for one effect.
CHANGE_DTYPE = np.dtype(
    [
        ("place", "i8"),  # in the chain
        ("count", "i8"),  # of the values that are given
        ("values", "f4", (14,)),
    ]
)
