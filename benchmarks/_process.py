"""What a process costs, as the system counts it: processor time, whole and by thread, and resident memory.

Linux tells all of it under ``/proc``. Elsewhere there is only the process's own clock, and what is not known is None.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path

TASKS = Path("/proc/self/task")
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024 if hasattr(os, "sysconf") else 4.0


def rss_kib() -> float | None:
    """Resident memory of this process."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_KIB
    except OSError:
        return None


def _ticks(stat: str) -> int:
    """utime + stime of a ``stat`` line; the name before them may hold blanks and brackets."""
    words = stat.rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


def cpu_s() -> float:
    """Processor time of this process, all threads, the ended ones too."""
    return time.process_time()


def threads_cpu_s() -> dict[int, tuple[str, float]]:
    """Thread id → (name, processor time); empty where the system does not tell.

    Python before 3.14 does not tell the system how its threads are called, so their names are asked of Python.
    """
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found: dict[int, tuple[str, float]] = {}
    try:
        tasks = list(TASKS.iterdir())
    except OSError:
        return found
    for task in tasks:
        try:
            stat = (task / "stat").read_text()
        except OSError:  # it has ended
            continue
        number = int(task.name)
        name = names.get(number) or stat.partition("(")[2].rpartition(")")[0]
        # nanoseconds where the scheduler keeps them: a tick of 10 ms is much for one stream
        try:
            spent = int((task / "schedstat").read_text().split()[0]) / 1e9
        except (OSError, ValueError, IndexError):
            spent = _ticks(stat) * TICK_S
        found[number] = (name, spent)
    return found


def by_group(before: Mapping[int, tuple[str, float]], after: Mapping[int, tuple[str, float]]) -> dict[str, dict[str, float]]:
    """Threads and seconds spent between two looks, by name without its numbers."""
    groups: dict[str, dict[str, float]] = {}
    for number, (name, spent) in after.items():
        group = groups.setdefault(re.sub(r"[-:_ ]*\d+", "", name) or "?", {"threads": 0, "cpu_s": 0.0})
        group["threads"] += 1
        group["cpu_s"] += spent - before.get(number, ("", 0.0))[1]
    return dict(sorted(groups.items(), key=lambda item: -item[1]["cpu_s"]))
