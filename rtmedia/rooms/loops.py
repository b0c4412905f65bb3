"""The compiled threads' lives: each enters its loop once and walks a table of rooms until told to stop.

Nothing here needs the interpreter: its lock is given up on entry and taken back on exit. A round goes over the rooms
that are ready (`rtmedia.rooms.table`); a loop that finds none sleeps on the table's bell.

*decode* is rung by whoever writes on a wire ring. With many streams that would be thousands of wakes a second for one
packet each, so with many rooms it rests after a round with work, and then takes all that has come in the meantime.
*render* is rung when a device has taken sound: then there is room for a block. It is not rung for packets: what they
hold is wanted at the next block. *paced* is the device of all sinks that have none: what is due at one time is pulled at
one time, and render is rung once for all of it.
"""

from __future__ import annotations

from rtmedia.rooms.decode import decode_step
from rtmedia.rooms.play import PACED_DTYPE, PLAY_DTYPE, play_pull
from rtmedia.rooms.render import MORE, render_step
from rtmedia.rooms.table import ALIVE_NS, BELL, DONE, READY, ROOMS, STOP, SWEEP_NS, USED, WANTED, WORDS
from rtmedia.rt.clock import now_ns, sleep_ns
from rtmedia.rt.kernel import exchange, kernel, load_acquire, pointer_void, store_release
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_i8
from rtmedia.rt.ring import ring_write
from rtmedia.rt.wake import WAKES, bell_ring, bell_wait

BURST = 32  # packets of one room before the next room has its turn

#: From so many rooms on, decode rests after a round with work. At 50 packets a second from each, more than one comes
#: meanwhile, so that resting saves wakes; and 1 ms is nothing beside a jitter buffer.
MANY, REST_NS = 24, 1_000_000

#: A paced device that is late by more than this has slept with the machine, and does not sprint.
TOO_LATE_NS = 500_000_000

# What a round has found.
NOTHING, WORKED, UNFINISHED = 0, 1, 2


@kernel("i8(i8)")
def _decode_some(room):
    """Move what one room has waiting, up to a burst."""
    now = now_ns()
    for moved in range(BURST):
        if decode_step(room, now) == 0:
            return WORKED if moved > 0 else NOTHING
    return UNFINISHED


@kernel("i8(i8)")
def _render_some(room):
    """One step of one room."""
    done = render_step(room, now_ns())
    return UNFINISHED if done == MORE else WORKED if done != 0 else NOTHING


@kernel("i8(i8, i8, i8)")
def _round(table, decoding, everybody):
    """Step the rooms that are ready, or all of them; returns the most that any of them has found."""
    control = view_i8(table, WORDS)
    used = load_acquire(control, USED)
    ready = view_i8(control[READY], used)
    rooms = view_i8(control[ROOMS], used)
    found = NOTHING
    for i in range(used):
        if everybody == 0 and load_acquire(ready, i) == 0:
            continue
        exchange(ready, i, 0)  # taken away before the step looks: what is said from here on is another call
        room = load_acquire(rooms, i)
        if room == 0:
            continue
        done = _decode_some(room) if decoding != 0 else _render_some(room)
        if done == UNFINISHED:
            store_release(ready, i, 1)
        found = max(found, done)
    return found


@kernel("void(i8, i8)")
def _walk(table, decoding):
    """Go round until told to stop."""
    control = view_i8(table, WORDS)
    sweep_at = now_ns()
    while load_acquire(control, STOP) == 0:
        now = now_ns()
        store_release(control, ALIVE_NS, now)
        store_release(control, DONE, load_acquire(control, WANTED))
        sweeping = now >= sweep_at
        if sweeping:
            sweep_at = now + SWEEP_NS
        found = _round(table, decoding, 1 if sweeping else 0)
        if found == UNFINISHED:
            continue
        if found == WORKED and decoding != 0 and load_acquire(control, USED) >= MANY:
            sleep_ns(REST_NS)
        else:
            bell_wait(control[BELL], sweep_at - now)


@kernel("void(i8)")
def decode_loop(table):
    """The decode thread's life. Thread: decode.   Real-time: yes."""
    _walk(table, 1)


@kernel("void(i8)")
def render_loop(table):
    """A render thread's life. Thread: render.   Real-time: yes."""
    _walk(table, 0)


@kernel("i8(i8, i8)")
def _pull_due(table, used):
    """Pull what is due from every paced room; returns when the next one is."""
    rooms = view_i8(view_i8(table, WORDS)[ROOMS], used)
    next_ns = now_ns() + SWEEP_NS
    for i in range(used):
        address = load_acquire(rooms, i)
        if address == 0:
            continue
        paced = carray(pointer_void(address), 1, PACED_DTYPE)[0]
        now = now_ns()
        if now >= paced.due_ns:
            play_pull(paced.play, paced.block, paced.frames, now, now, 0)
            if paced.capture != 0:
                ring_write(paced.capture, paced.block, paced.frames)
            paced.due_ns += paced.period_ns
            if now - paced.due_ns > TOO_LATE_NS:
                paced.due_ns = (now // paced.period_ns + 1) * paced.period_ns
            ready = carray(pointer_void(paced.play), 1, PLAY_DTYPE)[0].ready
            if ready != 0:
                store_release(view_i8(ready, 1), 0, 1)
                paced.rings = 1
        next_ns = min(next_ns, paced.due_ns)
    return next_ns


@kernel("void(i8, i8)")
def _ring_for_pulled(table, used):
    """Ring each render thread that has a room among the pulled ones."""
    rooms = view_i8(view_i8(table, WORDS)[ROOMS], used)
    rung = 0
    for i in range(used):
        address = load_acquire(rooms, i)
        if address == 0:
            continue
        paced = carray(pointer_void(address), 1, PACED_DTYPE)[0]
        if paced.rings != 0:
            paced.rings = 0
            bell = carray(pointer_void(paced.play), 1, PLAY_DTYPE)[0].bell
            if bell != rung:  # neighbours mostly share a thread; ringing twice does no harm
                bell_ring(bell)
                rung = bell


@kernel("void(i8)")
def paced_loop(table):
    """The life of the thread that is the device of sinks without one. Thread: play.   Real-time: yes."""
    control = view_i8(table, WORDS)
    while load_acquire(control, STOP) == 0:
        store_release(control, ALIVE_NS, now_ns())
        store_release(control, DONE, load_acquire(control, WANTED))
        used = load_acquire(control, USED)
        next_ns = _pull_due(table, used)
        _ring_for_pulled(table, used)
        if WAKES:
            bell_wait(control[BELL], next_ns - now_ns())
        else:  # it is only rung for when rooms come and go, and they can wait until the next is due
            sleep_ns(next_ns - now_ns())
