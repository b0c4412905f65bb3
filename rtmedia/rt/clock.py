"""The monotonic clock and sleep, for compiled loops. Same clock as ``time.monotonic_ns``.

One exception: on Windows before Python 3.13 ``time.monotonic_ns`` counts in steps of 15.6 ms on a clock
of its own, and the same clock is ``time.perf_counter_ns``. Python code that compares its time with a
compiled loop's asks `now_ns` too, and is right everywhere.

Written as intrinsics on the C library's own functions because those symbols resolve when a cached
kernel is loaded again, which an address taken through ctypes would not.
"""

from __future__ import annotations

import sys
import time

from rtmedia.rt.kernel import kernel
from rtmedia.rt.later import cgutils, intrinsic, ir, types

_NS = 1_000_000_000

# CPython's monotonic clock is mach_absolute_time on macOS, which is CLOCK_UPTIME_RAW there.
_CLOCK_ID = getattr(time, "CLOCK_UPTIME_RAW", getattr(time, "CLOCK_MONOTONIC", 1))


def _kinds():  # type: ignore[no-untyped-def]
    """C's ``int64_t``, ``int``, and an address."""
    return ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()


def _call(builder, name, result, arguments):  # type: ignore[no-untyped-def]
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [a.type for a in arguments]), name)
    return builder.call(function, arguments)


def _posix_now(builder):  # type: ignore[no-untyped-def]
    word, int_, octets = _kinds()
    spec = cgutils.alloca_once(builder, ir.ArrayType(word, 2))
    _call(builder, "clock_gettime", int_, [int_(_CLOCK_ID), builder.bitcast(spec, octets)])
    seconds = builder.load(builder.gep(spec, [int_(0), int_(0)]))
    rest = builder.load(builder.gep(spec, [int_(0), int_(1)]))
    return builder.add(builder.mul(seconds, word(_NS)), rest)


def _posix_sleep(builder, duration):  # type: ignore[no-untyped-def]
    word, int_, octets = _kinds()
    spec = cgutils.alloca_once(builder, ir.ArrayType(word, 2))
    builder.store(builder.sdiv(duration, word(_NS)), builder.gep(spec, [int_(0), int_(0)]))
    builder.store(builder.srem(duration, word(_NS)), builder.gep(spec, [int_(0), int_(1)]))
    _call(builder, "nanosleep", int_, [builder.bitcast(spec, octets), ir.Constant(octets, None)])


def _windows_now(builder):  # type: ignore[no-untyped-def]
    word, int_, octets = _kinds()
    ticks = cgutils.alloca_once(builder, word)
    rate = cgutils.alloca_once(builder, word)
    _call(builder, "QueryPerformanceCounter", int_, [builder.bitcast(ticks, octets)])
    _call(builder, "QueryPerformanceFrequency", int_, [builder.bitcast(rate, octets)])
    count, hz = builder.load(ticks), builder.load(rate)
    whole = builder.mul(builder.sdiv(count, hz), word(_NS))
    return builder.add(whole, builder.sdiv(builder.mul(builder.srem(count, hz), word(_NS)), hz))


def _windows_sleep(builder, duration):  # type: ignore[no-untyped-def]
    word, int_, _ = _kinds()
    milliseconds = builder.trunc(builder.sdiv(builder.add(duration, word(999_999)), word(1_000_000)), int_)
    _call(builder, "Sleep", ir.VoidType(), [milliseconds])


@intrinsic
def _now(typingctx):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return _windows_now(builder) if sys.platform == "win32" else _posix_now(builder)

    return types.int64(), codegen


@intrinsic
def _sleep(typingctx, duration):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        (_windows_sleep if sys.platform == "win32" else _posix_sleep)(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@kernel("i8()", keep_gil=True)
def now_ns():
    """Monotonic time in nanoseconds; see the module for Python's name of the same clock."""
    return _now()


@kernel("void(i8)")
def sleep_ns(duration_ns):
    """Give the core away for at least about `duration_ns`; returns at once for zero or less.

    A signal may end it early. Linux adds its timer slack (50 us unless set), Windows rounds up to its tick.
    """
    if duration_ns > 0:
        _sleep(duration_ns)
