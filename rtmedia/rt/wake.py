"""A bell: one word that a compiled loop sleeps on, and that anybody rings who has something for it.

How to think about it. The word is in one of three states::

    IDLE      the loop is awake, nobody has rung since it last looked
    RUNG      somebody has rung since
    ASLEEP    the loop sleeps, or is about to

Whoever has something for the loop says so in memory first (a ring's counter, a *ready* word) and then rings: the word
becomes RUNG, and only a ringer that found ASLEEP there makes the system call that wakes the loop. The loop, when it
has found nothing to do, says ASLEEP; if it finds RUNG there, it looks again instead. The sleep itself is Linux's
*futex*: it begins only if the word still says ASLEEP, which the kernel checks and does in one step against any wake
(U. Drepper, "Futexes are tricky", 2011). Every change of the word is an exchange, so each side knows what the other had
said; and the loop looks for work only after an exchange of its own, so it sees all that was said before a ring which it
has taken away. `tests/rt/test_wake_model.py` walks every execution.

Any number of threads ring, from compiled code or Python; one loop sleeps. Ringing never waits: an exchange, and at
times a system call that only moves the sleeper to the run queue.

Where there is no futex that we know how to call (other systems than Linux, other processors than those below), the
loop sleeps half a millisecond at a time and looks again: correct, and a poll of about 2 % of a core.
"""

from __future__ import annotations

import platform
import sys

import numpy as np
import numpy.typing as npt

from rtmedia.rt.clock import sleep_ns
from rtmedia.rt.kernel import exchange, kernel, store_release
from rtmedia.rt.later import cgutils, intrinsic, ir, types
from rtmedia.rt.memory import aligned_zeros, view_i8

IDLE, RUNG, ASLEEP = 0, 1, 2
WORDS = 16  # a bell's own pair of cache lines

#: One look while nobody can wake us.
POLL_NS = 500_000

#: Machine: the number of futex(2). arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux.
_FUTEX_NUMBERS = {"x86_64": 202, "aarch64": 98}
_FUTEX = _FUTEX_NUMBERS.get(platform.machine(), 0) if sys.platform.startswith("linux") and sys.maxsize > 2**32 else 0
_WAIT_PRIVATE, _WAKE_PRIVATE = 0 | 128, 1 | 128
_NS = 1_000_000_000

#: Whether a ring wakes; else the loop polls.
WAKES = _FUTEX != 0


def _futex(builder, address, *arguments):  # type: ignore[no-untyped-def]
    """The C library's ``syscall``, whose arguments are of variable number; what it returns is of no interest."""
    if not WAKES:
        return
    word = ir.IntType(64)
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(word, [word], var_arg=True), "syscall")
    words = [argument if isinstance(argument, ir.Value) else word(argument) for argument in (_FUTEX, address, *arguments)]
    builder.call(function, words + [word(0)] * (7 - len(words)))


@intrinsic
def _futex_wait(typingctx, address, expected, timeout_ns):  # type: ignore[no-untyped-def]
    """Sleep while the 32-bit word at `address` is `expected`, `timeout_ns` at most. Ends early whenever it likes."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word, number = ir.IntType(64), ir.IntType(32)
        spec = cgutils.alloca_once(builder, ir.ArrayType(word, 2))
        builder.store(builder.sdiv(args[2], word(_NS)), builder.gep(spec, [number(0), number(0)]))
        builder.store(builder.srem(args[2], word(_NS)), builder.gep(spec, [number(0), number(1)]))
        _futex(builder, args[0], _WAIT_PRIVATE, args[1], builder.ptrtoint(spec, word))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def _futex_wake(typingctx, address):  # type: ignore[no-untyped-def]
    """Wake the one thread that sleeps on `address`, if it does. Never waits."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        _futex(builder, args[0], _WAKE_PRIVATE, 1)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@kernel("void(i8, i8)")
def sleep_on(bell, timeout_ns):
    """Sleep while the bell says ASLEEP, at most `timeout_ns`; where nobody can wake us, a little."""
    if WAKES:
        _futex_wait(bell, ASLEEP, timeout_ns)  # it looks at the word's low half
    else:
        sleep_ns(min(timeout_ns, POLL_NS))


@kernel("void(i8)", keep_gil=True)
def wake(bell):
    """Wake whoever sleeps on the bell; where that cannot be, they wake by themselves."""
    if WAKES:
        _futex_wake(bell)


@kernel("void(i8)", keep_gil=True)
def bell_ring(bell):
    """Have the loop look again, after what it shall see has been written. Thread: any.   Real-time: yes, never waits."""
    if exchange(view_i8(bell, 1), 0, RUNG) == ASLEEP:
        wake(bell)


@kernel("void(i8, i8)")
def bell_wait(bell, timeout_ns):
    """Sleep until somebody rings, at most about `timeout_ns`; returns at once if somebody has rung since the last call.

    May return early. The caller looks for work after each return.

    Thread: the one that the bell belongs to.   Real-time: yes; it is the loop's own rest.
    """
    word = view_i8(bell, 1)
    if timeout_ns > 0 and exchange(word, 0, ASLEEP) != RUNG:
        sleep_on(bell, timeout_ns)
    exchange(word, 0, IDLE)


@kernel("void(i8, i8)", keep_gil=True)
def call_room(ready, bell):
    """Say that a room has something to do: its ready word at address `ready`, then the bell; 0 and 0: nobody listens."""
    if ready != 0:
        store_release(view_i8(ready, 1), 0, 1)
        bell_ring(bell)


class Bell:
    """Memory of one bell.

    Notes
    -----
    Thread: any rings, one waits.   Real-time: yes (`bell_ring`, `bell_wait`, from compiled code).
    """

    def __init__(self) -> None:
        self.memory: npt.NDArray[np.int64] = aligned_zeros(WORDS, np.int64)
        self.address = int(self.memory.ctypes.data)

    def ring(self) -> None:
        """See `bell_ring`. Thread: any."""
        bell_ring(self.address)

    def wait(self, timeout_ns: int) -> None:
        """See `bell_wait`. Thread: the sleeper."""
        bell_wait(self.address, timeout_ns)
