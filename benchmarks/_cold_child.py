"""One start of the engine, timed from inside: a line of JSON for each phase, on the monotonic clock. See `cold_start.py`."""

from __future__ import annotations

import time

STARTED_NS = time.monotonic_ns()  # the interpreter has come so far

import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402


def tell(phase: str, at_ns: int | None = None) -> None:
    print(json.dumps({"phase": phase, "at_ns": at_ns or time.monotonic_ns()}), flush=True)


def told(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; when it is done, so is `phase`."""

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        result = function(*arguments, **keywords)
        tell(phase)
        return result

    return wrapped


def main(source: str, sink: str) -> None:
    """Play until somebody ends us."""
    tell("interpreter", STARTED_NS)
    import rtmedia

    config = rtmedia.Config(source=source, sink=sink)
    made = rtmedia.Engine(config)
    tell("configuration")
    from rtmedia import engine as driver

    driver.load_line = told("kernels", driver.load_line)
    from rtmedia.io import sinks

    sinks.make_sink = _timed(sinks.make_sink)
    with made as engine:
        for event in engine.events(timeout_s=30):
            if type(event).__name__ == "Connected":
                tell("connected", event.time_ns)
                break
        while not engine.stats().packets_received_total:
            time.sleep(0.001)
        tell("first packet")
        while not engine.stats().latency_ms:
            time.sleep(0.001)
        tell("first packet heard")
        tell("without the compiler" if "numba" not in sys.modules else "with the compiler")
        engine.wait()


def _timed(make_sink: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*arguments: Any) -> Any:
        made = make_sink(*arguments)
        made.open = told("sink opened", made.open)
        return made

    return wrapped


main(*sys.argv[1:])
