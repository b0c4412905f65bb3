"""One process with some engines that play, and what its memory consists of.

    python _memory_engines.py '{"streams": 9, "port": 4711, "rate_hz": 16000}'

Speaks lines of JSON: ``ready`` once all play, then one answer to each line that it is given, with what `mappings` and `owners` find.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4_096
_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)$")
#: glibc's arenas begin on multiples of this (malloc/arena.c, HEAP_MAX_SIZE) and are as long: what is not used yet, closed.
_ARENA = 64 << 20


class _Touched:
    """Which pages of this process are resident (``/proc/self/pagemap``, bit 63); everything counts where the system does not tell."""

    def __init__(self) -> None:
        try:
            self._file: int | None = os.open("/proc/self/pagemap", os.O_RDONLY)
        except OSError:
            self._file = None

    def octets(self, start: int, length: int) -> int:
        if self._file is None:
            return length
        first, last = start // PAGE, (start + length - 1) // PAGE
        entries = np.frombuffer(os.pread(self._file, 8 * (last - first + 1), 8 * first), np.uint64)
        there = np.flatnonzero(entries >> np.uint64(63)) + first
        begin, end = np.maximum(there * PAGE, start), np.minimum((there + 1) * PAGE, start + length)
        return int((end - begin).sum())


def mappings() -> dict[str, float]:
    """Resident KiB by the kind of mapping; empty where the system does not tell (``/proc/self/smaps`` is Linux's)."""
    try:
        lines = Path("/proc/self/smaps").read_text().splitlines()
    except OSError:
        return {}
    import resource

    limit = resource.getrlimit(resource.RLIMIT_STACK)[0]
    stack = limit if 0 < limit <= _ARENA else 8 << 20  # what the C library gives a thread that asks for nothing
    found: list[tuple[int, int, str, str]] = []
    rss: list[int] = []
    for line in lines:
        head = _MAPPING.match(line)
        if head is not None:
            found.append((int(head[1], 16), int(head[2], 16), head[3], head[4]))
        elif line.startswith("Rss:"):
            rss.append(int(line.split()[1]))
    touched = _Touched()
    kinds: dict[str, float] = {}
    for place, ((start, end, _, name), kib) in enumerate(zip(found, rss, strict=True)):
        before, after = found[place - 1] if place else None, found[place + 1] if place + 1 < len(found) else None
        if name in ("[heap]", "[stack]"):
            kind = {"[heap]": "malloc: main arena", "[stack]": "thread stacks"}[name]
        elif name:
            kind = "files: code and constants"
        elif start % _ARENA == 0 and after is not None and after[2].startswith("---") and after[:2] == (end, start + _ARENA):
            kind = "malloc: arenas of threads"
        else:
            kind = "mapped: stores of rings, the interpreter's objects"
            guarded = before is not None and before[2].startswith("---") and before[1] == start and before[1] - before[0] == PAGE
            if guarded and end - start >= stack:  # a stack; what lies above it may have become one mapping with it
                own = touched.octets(start, stack) / 1024
                kinds["thread stacks"] = kinds.get("thread stacks", 0.0) + own
                kib -= own
        kinds[kind] = kinds.get(kind, 0.0) + kib
    return kinds


def _inside(thing: object) -> Iterator[tuple[str, object]]:
    if isinstance(thing, dict):
        yield from ((str(name), value) for name, value in thing.items())
    elif isinstance(thing, list | tuple):
        yield from ((str(place), value) for place, value in enumerate(thing))
    else:
        yield from getattr(thing, "__dict__", {}).items()
        for kind in type(thing).__mro__:
            for name in getattr(kind, "__slots__", ()):
                if hasattr(thing, name):
                    yield name, getattr(thing, name)


def _root(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


#: What belongs to the process, though a line leads there.
SHARED = (
    "rtmedia.rooms.pool",
    "rtmedia.rooms.table",
    "rtmedia.rooms.schedule",
    "rtmedia.rt.wake",
    "rtmedia.io.paced",
    "rtmedia.io.together",
)
#: How the table names what lies behind an engine's attributes; the longest that fits.
OWNERS = {
    "_line.buffer.conceal": "jitter buffer: concealment",
    "_line.buffer": "jitter buffer",
    "_line.decode.wire_": "decode: wire ring",
    "_line.decode.packet_": "decode: packet ring",
    "_line.decode": "decode",
    "_line.effects": "effects",
    "_line.resampler": "resampler",
    "_line.limiter": "limiter and gain",
    "_line.gain": "limiter and gain",
    "_line.audio": "audio ring",
    "_line.play": "play",
    "_line.render": "render: telemetry and work",
    "_control": "control: ledger, captions, meters",
    "_receive": "receive",
}


def owners(engine: Any) -> list[dict[str, Any]]:
    """Every array that an engine leads to, once, by owner: KiB given out, and KiB that are there."""
    touched, seen, memory = _Touched(), set(), {}
    waiting: list[tuple[str, object]] = [
        (name, getattr(engine, name)) for name in ("_line", "_control", "_receive", "_sink") if hasattr(engine, name)
    ]
    while waiting:
        path, thing = waiting.pop(0)  # breadth first: an array belongs to whom it is nearest to
        if id(thing) in seen or isinstance(thing, type) or type(thing).__module__ in SHARED:
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            root = _root(thing)
            memory.setdefault(root.ctypes.data, (path, root.nbytes))
        elif type(thing).__module__.startswith("rtmedia") or isinstance(thing, dict | list | tuple):
            waiting += [(f"{path}.{name}", value) for name, value in _inside(thing)]
    found: dict[str, list[float]] = {}
    for start, (path, octets) in memory.items():
        known = [prefix for prefix in OWNERS if path.startswith(prefix)]
        owner = OWNERS[max(known, key=len)] if known else "others"
        total = found.setdefault(owner, [0.0, 0.0, 0])
        total[0] += octets / 1024
        total[1] += touched.octets(start, octets) / 1024 if octets else 0
        total[2] += 1
    return [
        {"owner": name, "arrays": count, "KiB given out": given, "KiB there": there}
        for name, (given, there, count) in sorted(found.items(), key=lambda one: -one[1][1])
    ]


def main(asked: dict[str, Any]) -> None:
    from _process import rss_kib

    from rtmedia.config import Config
    from rtmedia.engine import Engine

    config = Config(
        source=f"ws://127.0.0.1:{asked['port']}/",
        sink="null",
        rate_hz=asked["rate_hz"],
        handshake_timeout_s=60.0,
        ping_interval_s=600.0,  # the sender, which must be cheap, answers no pings
    )
    engines = [Engine(config.with_(conversation_id=f"s{k}")) for k in range(asked["streams"])]
    for engine in engines:
        engine.start()
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        gc.collect()
        stats = [engine.stats() for engine in engines]
        print(
            json.dumps(
                {
                    "rss_kib": rss_kib(),
                    "kinds": mappings(),
                    "threads": threading.active_count(),
                    "objects": sys.getallocatedblocks(),
                    "played_s": min(one.frames_played_total for one in stats) / asked["rate_hz"],
                    "owners": owners(engines[-1]),
                }
            ),
            flush=True,
        )
    for engine in engines:
        threading.Thread(target=engine.abort, daemon=True).start()
    time.sleep(0.1)
    os._exit(0)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main(json.loads(sys.argv[1]))
