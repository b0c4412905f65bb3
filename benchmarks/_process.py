"""What a process costs, as the system counts it: processor time, whole and by thread, and resident memory.

Linux tells all of it under ``/proc``. Elsewhere there is only the process's own clock, and what is not known is None.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024 if hasattr(os, "sysconf") else 4.0


def rss_kib(pid: int | None = None) -> float | None:
    """Resident memory of a process."""
    try:
        return int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1]) * PAGE_KIB
    except OSError:
        return None


def cpu_s(pid: int) -> float | None:
    """Processor time of a process, all threads, the ended ones too: utime + stime."""
    try:
        return _ticks(Path(f"/proc/{pid}/stat").read_text()) * TICK_S
    except OSError:
        return None


def _ticks(stat: str) -> int:
    """Ticks in user mode and in the kernel (utime, stime) of a ``stat`` line; the name before them may hold blanks and brackets."""
    words = stat.rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


def threads_cpu_s(pid: int) -> dict[int, tuple[str, float]]:
    """Thread id → (name, processor time); empty where the system does not tell.

    Read it from outside: a process with hundreds of threads would wait for its own interpreter at each of the files.
    """
    found: dict[int, tuple[str, float]] = {}
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return found
    for task in tasks:
        try:
            stat = (task / "stat").read_text()
        except OSError:  # it has ended
            continue
        # nanoseconds where the scheduler keeps them: a tick of 10 ms is much for one stream
        try:
            spent = int((task / "schedstat").read_text().split()[0]) / 1e9
        except (OSError, ValueError, IndexError):
            spent = _ticks(stat) * TICK_S
        found[int(task.name)] = (stat.partition("(")[2].rpartition(")")[0], spent)
    return found


def thread_names() -> dict[str, str]:
    """Thread id → name, of this process's own: Python before 3.14 does not tell the system how its threads are called."""
    return {str(thread.native_id): thread.name for thread in threading.enumerate()}


def by_group(
    before: Mapping[int, tuple[str, float]], after: Mapping[int, tuple[str, float]], names: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Threads and seconds spent between two looks, by name without its numbers."""
    groups: dict[str, dict[str, float]] = {}
    for number, (name, spent) in after.items():
        group = groups.setdefault(re.sub(r"[-:_ ]*\d+", "", names.get(str(number), name)) or "?", {"threads": 0, "cpu_s": 0.0})
        group["threads"] += 1
        group["cpu_s"] += spent - before.get(number, ("", 0.0))[1]
    return dict(sorted(groups.items(), key=lambda item: -item[1]["cpu_s"]))
