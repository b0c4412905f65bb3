"""walk: the rooms of one line on one thread, many ticks of a virtual device in one compiled call.

The simulation's counterpart of `rtmedia.rooms.loops`: there three threads and a clock that runs, here one
thread and a clock that jumps from tick to tick. The steps are the same functions.
"""

from __future__ import annotations

from rtmedia.jitter.state import BUFFER_DTYPE
from rtmedia.rooms.decode import RESTART_BITS, decode_step, wire_write
from rtmedia.rooms.doorways import MESSAGE_DTYPE
from rtmedia.rooms.play import PLAY_DTYPE, play_pull
from rtmedia.rooms.render import RENDER_DTYPE, render_step
from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray


@kernel("i8(i8, i8, i8)")
def deliver(decode, record, payload):
    """One message (a `MESSAGE_DTYPE` record at an address, its octets at another) onto the wire ring; 1 when it fitted.

    Where the ring is full, decode has its turn first, as its thread would have had.
    """
    message = carray(pointer_void(record), 1, MESSAGE_DTYPE)[0]
    for turn in range(2):
        if wire_write(decode, message.arrival_ns, message.seq, message.media_time_ns, message.flags, payload, message.length):
            return 1
        if turn == 0:
            while decode_step(decode, message.arrival_ns):
                pass
    return 0


@kernel("void(i8, i8, i8, i8, i8, i8)")
def tick(play, decode, render, out, frames, now_ns):
    """The device asks for `frames` at address `out`, then decode and render have their turn."""
    play_pull(play, out, frames, now_ns, now_ns, 0)
    while decode_step(decode, now_ns):
        pass
    render_step(render, now_ns)


_RECORD_OCTETS = MESSAGE_DTYPE.itemsize


@kernel("i8(i8, i8, i8, i8, i8, i8, i8, i8, i8, i8, i8, i8, i8)")
def walk(decode, render, play, messages, count, payloads, out, frames, ticks, now_ns, tick_ns, epoch, media_pos):
    """Play up to `ticks` ticks that begin after `now_ns`; each message is delivered before the tick that it arrives in ends.

    Parameters
    ----------
    decode, render, play
        Addresses of a line's rooms.
    messages, count
        Address of `MESSAGE_DTYPE` records in the order of arrival. The length of one that found no room becomes -1.
    payloads
        Address of their octets, one after the other.
    out, frames
        Address of the block that the device hears: `frames` frames a tick; of a muted line, one tick's.
    ticks, now_ns, tick_ns
        How many at most, after which time, how far apart.
    epoch, media_pos
        A moment that somebody waits for: the walk ends with the tick that renders a block of this connection from
        `media_pos` on, or of a later one. Epoch 0: nobody does. It ends, too, with every tick 100 ms after the stream's end.

    Returns
    -------
    int
        Ticks that were played.

    Notes
    -----
    Thread: the simulation's.   Real-time: yes.
    """
    p = carray(pointer_void(play), 1, PLAY_DTYPE)[0]
    r = carray(pointer_void(render), 1, RENDER_DTYPE)[0]
    b = carray(pointer_void(r.buffer), 1, BUFFER_DTYPE)[0]
    at = 0
    for i in range(ticks):
        now = now_ns + (i + 1) * tick_ns
        while at < count:
            message = carray(pointer_void(messages + at * _RECORD_OCTETS), 1, MESSAGE_DTYPE)[0]
            if message.arrival_ns > now:
                break
            length = message.length
            if deliver(decode, messages + at * _RECORD_OCTETS, payloads) == 0:
                message.length = -1
            payloads += length
            at += 1
        tick(play, decode, render, out if r.mute else out + i * frames * p.channels * 4, frames, now)
        if b.ended_run >= r.rate_hz // 10:
            return i + 1
        connection = b.heard_epoch >> RESTART_BITS
        if epoch > 0 and (connection > epoch or (connection == epoch and b.heard_media_pos >= media_pos)):
            return i + 1
    return ticks
