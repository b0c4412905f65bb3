"""Logging of the command: straight to stderr, or into a mailbox that the display empties.

In a session no thread of the engine may wait for the terminal (somebody pressed Ctrl-S): records go into a bounded
mailbox, and the thread that draws takes them out.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from rtmedia.errors import ConfigError, RtmediaError

LEVELS = ("debug", "info", "warning", "error")
_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")


class Mailbox(logging.Handler):
    """Keeps the newest `size` lines.

    Notes
    -----
    Thread: `emit` any, `take` one.   Real-time: no; never waits for input or output.
    """

    def __init__(self, size: int = 1000) -> None:
        super().__init__()
        self._lines: deque[tuple[int, str]] = deque(maxlen=size)

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and any(isinstance(value, RtmediaError) for value in record.args):
            return  # what ended the engine; the command's own last line says it
        try:
            self._lines.append((record.levelno, _FORMAT.format(record)))
        except Exception:  # a record with wrong arguments; logging's own answer would print to the terminal
            self._lines.append((record.levelno, f"{record.name}: {record.msg!r}"))

    def take(self) -> Iterator[tuple[int, str]]:
        """Level and text of the lines that wait."""
        while self._lines:
            yield self._lines.popleft()


def level_number(name: str) -> int:
    """The number of a level's name."""
    if name.lower() not in LEVELS:
        raise ConfigError(f"log level is {name!r}; choose one of {', '.join(LEVELS)}")
    return int(getattr(logging, name.upper()))


@contextmanager
def logging_to(handler: logging.Handler, level: str) -> Iterator[None]:
    """Send rtmedia's records of `level` and the warnings of everybody else to `handler`, for a while."""
    number = level_number(level)
    root, ours = logging.getLogger(), logging.getLogger("rtmedia")
    before = ours.level
    root.addHandler(handler)
    logging.captureWarnings(True)  # a library's warning would land in the middle of the display
    ours.setLevel(number)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        ours.setLevel(before)
        root.removeHandler(handler)


def stderr_handler() -> logging.Handler:
    """Lines on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMAT)
    return handler
