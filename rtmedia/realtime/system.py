"""Every call of the system that real-time settings need, one small method each. Tests put another object in its place.

A method that is refused raises `Refused`, whose text is for people. Nothing is decided here.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
from pathlib import Path

#: <linux/capability.h>: which of root's powers a process has.
CAP_IPC_LOCK, CAP_SYS_NICE = 14, 23
#: <sys/mman.h> on Linux: what is mapped now, what will be, and that only once it is touched.
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
UNLIMITED = -1


class Refused(Exception):
    """The system said no; the text says to what and why."""


class System:
    """The calls that every system has, and an answer where it has none.

    Notes
    -----
    Thread: any.   Real-time: no.
    """

    name = sys.platform

    def set_fifo(self, thread: int, priority: int) -> str:
        """Schedule `thread` before everything ordinary; returns what it has become."""
        raise Refused(f"{self.name} has no call for it that another thread may make; its sound system's own threads are real-time already")

    def step_down(self, thread: int) -> None:
        """The opposite."""

    def priority_of(self, thread: int) -> int | None:
        """The real-time priority of `thread`, 0 for an ordinary one; None where that cannot be known, or the thread has gone."""
        return None

    def set_cpus(self, thread: int, cpus: tuple[int, ...]) -> tuple[int, ...]:
        """Restrict `thread` to `cpus`; returns those that it got."""
        raise Refused(f"{self.name} does not let a program choose cores")

    def lock_memory(self) -> str:
        """Keep all pages; returns how far."""
        raise Refused(f"{self.name} cannot lock a whole process")

    def unlock_memory(self) -> None:
        """The opposite."""

    def locked_bytes(self) -> int:
        """How much is locked now, by whomever."""
        return 0

    def has_rtkit(self) -> bool:
        """Whether RealtimeKit can exist here."""
        return False

    def arm_belt(self, soft_us: int, hard_us: int | None) -> None:
        """No belt is needed where nobody can become a real-time thread."""

    def disarm_belt(self) -> None:
        """The opposite."""

    # --- the interpreter's own ----------------------------------------------------------------------------------------

    def switch_interval_s(self) -> float:
        """After how long a waiting thread asks for the interpreter."""
        return sys.getswitchinterval()

    def set_switch_interval(self, seconds: float) -> None:
        """Set it, for the whole process."""
        sys.setswitchinterval(seconds)

    def freeze_gc(self) -> int:
        """Collect once, then put all that is left out of the collector's sight; returns how many objects."""
        gc.collect()
        gc.freeze()
        return gc.get_freeze_count()

    def frozen_objects(self) -> int:
        """How many are out of sight now, by whomever."""
        return gc.get_freeze_count()

    def unfreeze_gc(self) -> None:
        """The opposite."""
        gc.unfreeze()


class Linux(System):
    """Linux: `sched(7)`, `mlock(2)`, `getrlimit(2)`.

    Notes
    -----
    Thread: any.   Real-time: no.
    """

    name = "linux"

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._library.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
        self._library.signal.restype = ctypes.c_void_p
        self._armed: tuple[int, int] | None = None  # RLIMIT_RTTIME as it was

    # --- what is allowed ----------------------------------------------------------------------------------------------

    def status(self, key: str) -> str:
        """A line of ``/proc/self/status``; empty where there is none."""
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text("utf-8", "replace").splitlines():
                if line.startswith(f"{key}:"):
                    return line.partition(":")[2].strip()
        return ""

    def may(self, capability: int) -> bool:
        """Whether this process has one of root's powers."""
        return bool(int(self.status("CapEff") or "0", 16) >> capability & 1)

    def limits(self, name: str) -> tuple[int, int]:
        """Soft and hard limit, such as of ``"RTPRIO"``; `UNLIMITED` is -1."""
        import resource

        soft, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
        return soft, hard

    def set_limits(self, name: str, soft: int, hard: int) -> None:
        """Set both; a hard limit that was lowered stays so."""
        import resource

        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (soft, hard))
        except (ValueError, OSError) as exc:
            raise Refused(f"RLIMIT_{name} cannot be set ({exc})") from exc

    def mapped_bytes(self) -> int:
        """The address space, which is what a lock of everything counts."""
        return 1024 * int((self.status("VmSize") or "0").split()[0])

    def locked_bytes(self) -> int:
        """As `System.locked_bytes`."""
        return 1024 * int((self.status("VmLck") or "0").split()[0])

    # --- threads ------------------------------------------------------------------------------------------------------

    def set_fifo(self, thread: int, priority: int) -> str:
        """As `System.set_fifo`: SCHED_FIFO with SCHED_RESET_ON_FORK, so that no child process inherits it."""
        soft, hard = self.limits("RTPRIO")
        short = not self.may(CAP_SYS_NICE) and 0 <= soft < priority
        if short:
            if 0 <= hard < priority:
                raise Refused(f"RLIMIT_RTPRIO is {hard}: give the user `rtprio 95` in /etc/security/limits.d and log in again")
            self.set_limits("RTPRIO", priority, hard)  # up to the hard limit a process may help itself
        try:
            os.sched_setscheduler(thread, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))  # type: ignore[attr-defined,unused-ignore]
        except PermissionError as exc:
            raise Refused("not permitted, though the limit allows it: a container or a control group without real-time budget") from exc
        except OSError as exc:
            raise Refused(f"{exc.strerror}") from exc
        finally:
            if short:  # it is looked at in that call only, and child processes would inherit it
                with contextlib.suppress(Refused):
                    self.set_limits("RTPRIO", soft, hard)
        return f"SCHED_FIFO {priority}"

    def step_down(self, thread: int) -> None:
        """As `System.step_down`; SCHED_RESET_ON_FORK stays, which only root may take off and which means nothing to an ordinary thread."""
        if not Path(f"/proc/self/task/{thread}").exists():  # its number may be another process's thread by now
            return
        try:
            os.sched_setscheduler(thread, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))  # type: ignore[attr-defined,unused-ignore]
        except ProcessLookupError:
            return
        except OSError as exc:
            raise Refused(f"{exc.strerror}") from exc

    def priority_of(self, thread: int) -> int | None:
        """As `System.priority_of`; only SCHED_FIFO and SCHED_RR, which RealtimeKit gives, have one."""
        try:
            return int(os.sched_getparam(thread).sched_priority)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return None

    def set_cpus(self, thread: int, cpus: tuple[int, ...]) -> tuple[int, ...]:
        """As `System.set_cpus`; the kernel leaves out what the process may not use."""
        try:
            os.sched_setaffinity(thread, cpus)  # type: ignore[attr-defined,unused-ignore]
        except (OSError, OverflowError) as exc:
            allowed = ",".join(map(str, sorted(os.sched_getaffinity(0))))  # type: ignore[attr-defined,unused-ignore]
            raise Refused(f"none of the cores {','.join(map(str, cpus))} may be used; this process has {allowed}") from exc
        return tuple(sorted(os.sched_getaffinity(thread)))  # type: ignore[attr-defined,unused-ignore]

    def has_rtkit(self) -> bool:
        """As `System.has_rtkit`."""
        return True

    # --- memory -------------------------------------------------------------------------------------------------------

    def lock_memory(self) -> str:
        """As `System.lock_memory`.

        Notes
        -----
        MCL_FUTURE under a finite limit would turn every later allocation beyond it into a failure, in libraries that never
        expect one; and a locked stack that grows beyond it is a segmentation fault. So: with a finite limit only what is mapped
        now is locked, and only where room is left.

        Without MCL_ONFAULT each later allocation, the stack of each new thread (8 MiB) included, would be filled at once:
        0.35 s for 64 MiB, measured, instead of 0.1 ms.
        """
        if self.may(CAP_IPC_LOCK) or self.limits("MEMLOCK")[0] == UNLIMITED:
            self._mlockall(MCL_CURRENT)
            try:
                self._mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)
            except Refused:  # Linux before 4.4
                return "all that is mapped now; later memory is not (this Linux has no MCL_ONFAULT)"
            return "all, later memory from its first use on"
        limit, mapped = self.limits("MEMLOCK")[0], self.mapped_bytes()
        room = LOCK_ROOM_BYTES
        if mapped + room > limit:
            raise Refused(
                f"RLIMIT_MEMLOCK is {limit >> 20} MiB, {(mapped + room) >> 20} are needed: "
                "give the user `memlock unlimited` in /etc/security/limits.d and log in again"
            )
        self._mlockall(MCL_CURRENT)
        return f"all that is mapped now ({mapped >> 20} MiB); later memory is not: RLIMIT_MEMLOCK is {limit >> 20} MiB"

    def _mlockall(self, flags: int) -> None:
        if self._library.mlockall(flags) != 0:
            raise Refused(f"mlockall: {os.strerror(ctypes.get_errno())}")

    def unlock_memory(self) -> None:
        """As `System.unlock_memory`."""
        self._library.munlockall()

    # --- the belt -----------------------------------------------------------------------------------------------------

    def arm_belt(self, soft_us: int, hard_us: int | None) -> None:
        """Have a real-time thread that computes for `soft_us` without a rest put back; killed after `hard_us` where given.

        Raises
        ------
        Refused
            SIGXCPU belongs to somebody else in this process, or means something else (RLIMIT_CPU).
        """
        from rtmedia.rt.thread import step_down

        if self.limits("CPU")[0] != UNLIMITED:
            raise Refused("RLIMIT_CPU is set, and SIGXCPU is its signal")
        ours = int(step_down.address)
        before = self._library.signal(signal.SIGXCPU, ours)
        if before not in (None, 0, ours):  # SIG_DFL is 0
            self._library.signal(signal.SIGXCPU, before)
            raise Refused("the host process has a handler of SIGXCPU")
        soft, hard = self.limits("RTTIME")
        if self._armed is None:
            self._armed = soft, hard
        lower = hard if hard_us is None else hard_us if hard == UNLIMITED else min(hard, hard_us)
        try:
            self.set_limits("RTTIME", soft_us if lower == UNLIMITED else min(soft_us, lower), lower)
        except Refused:
            self.disarm_belt()
            raise

    def disarm_belt(self) -> None:
        """Put signal and limit back, as far as a hard limit that was lowered allows."""
        if self._armed is None:
            return
        (soft, _), self._armed = self._armed, None
        hard = self.limits("RTTIME")[1]
        with contextlib.suppress(Refused):
            self.set_limits("RTTIME", soft if hard == UNLIMITED else hard if soft == UNLIMITED else min(soft, hard), hard)
        self._library.signal(signal.SIGXCPU, None)


#: Left for stacks that grow, which count as locked: two of the usual 8 MiB, and as much again for the heap's end.
LOCK_ROOM_BYTES = 32 << 20


def this_system() -> System:
    """The one that this process runs on."""
    if sys.platform.startswith("linux"):
        return Linux()
    if sys.platform == "win32":
        from rtmedia.realtime.windows import Windows

        return Windows()
    return System()
