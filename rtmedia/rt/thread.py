"""What compiled code can say about, and do to, the thread that it runs on.

`thread_id` is the system's number of the thread, the same as ``threading.get_native_id``. `step_down` is a signal handler:
a thread that the system finds computing for too long at real-time priority becomes an ordinary one, whatever it is doing.
"""

from __future__ import annotations

import platform
import sys

from rtmedia.rt.kernel import callback, kernel
from rtmedia.rt.later import cgutils, intrinsic, ir, types

#: The number of Linux's system call ``gettid``; the C library has the function itself only since glibc 2.30.
_GETTID = {"x86_64": 186, "aarch64": 178, "riscv64": 178, "loongarch64": 178, "ppc64le": 207, "s390x": 236}

_SCHED_OTHER, _SCHED_RESET_ON_FORK = 0, 0x40000000  # without the latter, which it has, an ordinary user's thread may not step down


def _call(builder, name, result, arguments):  # type: ignore[no-untyped-def]
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [a.type for a in arguments]), name)
    return builder.call(function, arguments)


@intrinsic
def _thread_id(typingctx):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word, int_ = ir.IntType(64), ir.IntType(32)
        if sys.platform == "win32":
            return builder.zext(_call(builder, "GetCurrentThreadId", int_, []), word)
        if sys.platform == "darwin":
            found = cgutils.alloca_once(builder, word)
            builder.store(word(0), found)
            _call(builder, "pthread_threadid_np", int_, [ir.Constant(ir.IntType(8).as_pointer(), None), found])
            return builder.load(found)
        if sys.platform.startswith("linux") and platform.machine() in _GETTID:
            return _call(builder, "syscall", word, [word(_GETTID[platform.machine()])])
        return word(0)

    return types.int64(), codegen


@intrinsic
def _step_down(typingctx):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        if sys.platform.startswith("linux"):
            int_ = ir.IntType(32)
            parameter = cgutils.alloca_once(builder, int_)  # struct sched_param
            builder.store(int_(0), parameter)
            errno = _call(builder, "__errno_location", int_.as_pointer(), [])  # glibc's and musl's name of it
            before = builder.load(errno)
            _call(builder, "sched_setscheduler", int_, [int_(0), int_(_SCHED_OTHER | _SCHED_RESET_ON_FORK), parameter])
            builder.store(before, errno)
        return context.get_dummy_value()

    return types.void(), codegen


@kernel("i8()")
def thread_id():
    """The system's number of the calling thread; 0 where it is not known. Thread: any.   Real-time: yes."""
    return _thread_id()


@callback("void(i4)")
def step_down(signal_number):
    """A handler of SIGXCPU: the thread that gets it is scheduled like any other from now on.

    Linux sends that signal to the thread that has computed for longer than RLIMIT_RTTIME at real-time priority without once
    sleeping. ``sched_setscheduler`` is one system call: safe in a handler, and no interpreter is needed. A sandbox may refuse
    it; errno, which the interrupted code may be about to read, is as before either way.

    Thread: whichever computes too long.   Real-time: yes.
    """
    _step_down()
