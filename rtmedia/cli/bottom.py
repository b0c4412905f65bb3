"""One line that stays at the bottom of a terminal while others scroll by above it.

Each redraw is one write, and an unchanged line is not written at all. The line ends without a line feed, so the
cursor tells where it is; a terminal that was made narrower has broken the line into several rows, and all of them
are taken back before the next one is drawn. (A terminal that cuts instead of breaking loses a row above, once.)
"""

from __future__ import annotations

import contextlib

from rich.console import Console, RenderableType
from rich.text import Text

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_ERASE_BELOW, _ERASE_RIGHT = "\x1b[J", "\x1b[K"


class Bottom:
    """The line, with an empty row above it.

    Notes
    -----
    Thread: one.   Real-time: no; a terminal that is held (Ctrl-S) holds the caller.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._line = ""
        self._cells = 0
        self._width = 0
        self._shown = False
        self._hidden = False

    def draw(self, line: Text) -> None:
        """Show `line` instead of the one before."""
        width = self._console.width
        ansi = self._ansi(line, end="")
        if self._shown and width == self._width:
            if ansi != self._line:
                self._write(f"\r{ansi}{_ERASE_RIGHT}")
        else:
            self._write(f"{self._taken_back()}\n{ansi}")
        self._line, self._cells, self._width, self._shown = ansi, line.cell_len, width, True

    def print(self, renderable: RenderableType) -> None:
        """Print above the line."""
        above = self._ansi(renderable, end="\n")
        if not self._shown:
            self._write(above)
            return
        width = self._console.width
        # Between two sizes the old line may not fit: it is left out until the next draw.
        self._write(f"{self._taken_back()}{above}" + (f"\n{self._line}" if width == self._width else ""))
        self._shown = width == self._width

    def close(self) -> None:
        """Take the line away and give the cursor back. Any number of times."""
        after = self._taken_back() + (_SHOW if self._hidden else "")
        self._shown, self._hidden = False, False
        if after:
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                self._console.file.write(after)
                self._console.file.flush()

    def _taken_back(self) -> str:
        """What takes the line and the empty row away, and leaves the cursor where the row began."""
        if not self._shown:
            return ""
        rows = max(1, -(-self._cells // max(1, self._console.width)))
        return f"\r\x1b[{rows}A{_ERASE_BELOW}"

    def _ansi(self, renderable: RenderableType, end: str) -> str:
        with self._console.capture() as captured:
            self._console.print(renderable, end=end, soft_wrap=isinstance(renderable, Text) and end == "")
        return captured.get()

    def _write(self, text: str) -> None:
        if not self._hidden:
            self._hidden, text = True, _HIDE + text
        self._console.file.write(text)
        self._console.file.flush()
