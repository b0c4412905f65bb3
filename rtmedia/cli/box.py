"""What `doctor` can say about the machine's real-time grants: what `rtmedia.Realtime` would get here, and what to do for more.

Where it is harmless the thing itself is tried: a thread of a moment's life is made real-time and ordinary again, and told to
stay on one core. Nothing is changed that outlives the check.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rtmedia.cli.check import Check
from rtmedia.realtime.process import this_process
from rtmedia.realtime.rtkit import RealtimeKit
from rtmedia.realtime.system import CAP_IPC_LOCK, LOCK_ROOM_BYTES, UNLIMITED, Linux, Refused, System

_LIMITS = "/etc/security/limits.d/audio.conf, and log in again (for a service: LimitRTPRIO= and LimitMEMLOCK= in its systemd unit)"
_ENGINE_MIB = 800  # of address space that an engine with all effects maps, the interpreter included; measured
_TRIED_PRIORITY = 10


def read(path: str) -> str:
    """The first line of a small file of the system; empty where there is none."""
    with suppress(OSError):
        return Path(path).read_text("utf-8", "replace").strip()
    return ""


@contextmanager
def short_lived_thread() -> Iterator[int]:
    """The system's number of a thread that does nothing until the block ends."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="rtm-doctor", daemon=True)
    thread.start()
    try:
        yield thread.native_id or 0
    finally:
        over.set()
        thread.join()


def scheduling(name: str, system: System | None = None, rtkit: RealtimeKit | None = None) -> Check:
    """Real-time scheduling: tried on a thread that only waits."""
    system = system or this_process().system
    if sys.platform == "darwin":
        return Check(name, "ok", "macOS makes its audio threads real-time by itself; --realtime has nothing to add")
    try:
        with short_lived_thread() as thread:
            said = system.set_fifo(thread, _TRIED_PRIORITY)
        return Check(name, "ok", f"{said} was granted to a thread of this check")
    except Refused as exc:
        directly = str(exc)
    if not system.has_rtkit():
        return Check(name, "warn", directly, "run without --realtime: audio threads then compete with everything else")
    try:
        highest, most_us = (rtkit or RealtimeKit()).terms()
        return Check(
            name, "ok", f"RealtimeKit answers: priority up to {highest}, {most_us // 1000} ms at a stretch (not directly: {directly})"
        )
    except Refused as exc:
        hint = f"on a loaded machine put `@audio - rtprio 95` in {_LIMITS}, or install rtkit"
        return Check(name, "warn", f"{directly.partition(':')[0]}, and {exc}: audio threads compete with everything else", hint)


def memory(name: str, system: System | None = None) -> Check:
    """RLIMIT_MEMLOCK against what ``--lock-memory`` needs. Not tried: it would read all of this process's memory."""
    system = system or this_process().system
    if not isinstance(system, Linux):
        return Check(name, "ok", f"{system.name} cannot lock a whole process; --lock-memory is refused")
    swap = read("/proc/swaps").count("\n")
    text = "there is no swap, so only program code can leave memory" if not swap else f"{swap} swap area{'s' if swap > 1 else ''} in use"
    if system.may(CAP_IPC_LOCK) or system.limits("MEMLOCK")[0] == UNLIMITED:
        return Check(name, "ok", f"all memory may be locked, later memory too; {text}")
    limit_mib, need_mib = system.limits("MEMLOCK")[0] >> 20, max(_ENGINE_MIB, system.mapped_bytes() >> 20) + (LOCK_ROOM_BYTES >> 20)
    hint = f"for --lock-memory put `@audio - memlock unlimited` in {_LIMITS}"
    if need_mib > limit_mib:
        text = f"RLIMIT_MEMLOCK is {limit_mib} MiB, an engine needs about {need_mib}: --lock-memory is refused; {text}"
        return Check(name, "warn", text, hint) if swap else Check(name, "ok", text)
    return Check(
        name, "warn", f"RLIMIT_MEMLOCK is {limit_mib} MiB: --lock-memory holds what is there at the start, not what comes later", hint
    )


def cores(name: str, system: System | None = None) -> Check:
    """How many, which of them this process may use, and whether a thread can be held on one."""
    system = system or this_process().system
    count = os.cpu_count() or 1
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(count))
    text = f"{count}, of which this process may use {','.join(map(str, allowed))}"
    isolated = read("/sys/devices/system/cpu/isolated")
    text += f"; kept free by isolcpus: {isolated}" if isolated else ""
    try:
        with short_lived_thread() as thread:
            system.set_cpus(thread, (allowed[-1],))
    except Refused as exc:
        return Check(name, "ok", f"{text}; --cpus is refused: {exc}")
    if len(allowed) == 1:
        return Check(
            name, "warn", f"{text}: the interpreter and the audio threads take turns", "give the process a second core, or use --realtime"
        )
    return Check(name, "ok", f"{text}; a thread can be held on one (--cpus)")


def kernel(name: str) -> Check:
    """How soon a waking thread may interrupt the kernel itself, and what real-time threads may use up."""
    if not sys.platform.startswith("linux"):
        return Check(name, "ok", f"{platform.system()} {platform.release()}")
    model = preemption(read("/sys/kernel/realtime"), platform.version(), read("/sys/kernel/debug/sched/preempt"))
    text = f"Linux {platform.release().partition('-')[0]}, {model}"
    runtime_us, period_us = read("/proc/sys/kernel/sched_rt_runtime_us"), read("/proc/sys/kernel/sched_rt_period_us")
    if runtime_us == UNLIMITED_RT:
        hint = "sysctl kernel.sched_rt_runtime_us=950000: without it a real-time thread that never rests locks a core"
        return Check(name, "warn", f"{text}; real-time threads may use all of a core for ever", hint)
    if runtime_us.isdigit() and period_us.isdigit() and int(runtime_us) < int(period_us) // 2:
        hint = "sysctl kernel.sched_rt_runtime_us=950000"
        return Check(name, "warn", f"{text}; real-time threads may use only {runtime_us} of {period_us} µs", hint)
    shared = (
        f"; real-time threads may use {100 * int(runtime_us) // int(period_us)} % of the time"
        if runtime_us.isdigit() and period_us.isdigit()
        else ""
    )
    if model.startswith("PREEMPT_NONE"):
        return Check(name, "warn", text + shared, "boot with preempt=full (or voluntary), if underruns remain with --realtime")
    return Check(name, "ok", text + shared)


UNLIMITED_RT = "-1"


def preemption(realtime: str, version: str, debug: str) -> str:
    """The kernel's preemption model, from what it says of itself.

    Parameters
    ----------
    realtime, version, debug
        ``/sys/kernel/realtime``, ``uname -v``, and ``/sys/kernel/debug/sched/preempt``, which only root may read.
    """
    if realtime == "1" or "PREEMPT_RT" in version:
        return "PREEMPT_RT (fully preemptible)"
    if "(" in debug:  # "none voluntary (full) lazy"
        return f"PREEMPT_{debug.partition('(')[2].partition(')')[0].upper()} (chosen at boot)"
    if "PREEMPT_DYNAMIC" in version:
        return "PREEMPT_DYNAMIC (which model was chosen at boot, /sys/kernel/debug tells root)"
    return "PREEMPT (low latency)" if "PREEMPT" in version else "PREEMPT_NONE or VOLUNTARY (for servers)"


def timers(name: str) -> Check:
    """By how much Linux may delay an ordinary thread's wake-ups to gather them."""
    slack = read("/proc/self/timerslack_ns")
    if not slack.isdigit():
        return Check(name, "ok", "not told by this system")
    text = f"a sleep may end {int(slack) / 1000:g} µs late (timer slack); 0 for real-time threads"
    if int(slack) > 1_000_000:
        return Check(name, "warn", text, "somebody has raised it for this session: start from another shell, or use --realtime")
    return Check(name, "ok", text)


def governor(name: str) -> Check:
    """Whether the processor's clock follows the load, with the delay that this means."""
    found = {read(str(path)) for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")} - {""}
    if not found:
        return Check(name, "ok", "not told: a virtual machine, or the processor decides")
    text = ", ".join(sorted(found))
    if found & {"powersave", "conservative"} and read("/sys/devices/system/cpu/intel_pstate/status") != "active":
        return Check(name, "warn", f"{text}: the clock follows a short load late", "cpupower frequency-set -g performance (or schedutil)")
    return Check(name, "ok", text)


BOX: tuple[tuple[str, Callable[[str], Check]], ...] = (
    ("scheduling", scheduling),
    ("memory lock", memory),
    ("cores", cores),
    ("kernel", kernel),
    ("timer slack", timers),
    ("governor", governor),
)
