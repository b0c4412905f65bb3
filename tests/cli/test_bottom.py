"""The line at the bottom, judged by what a small terminal makes of its octets."""

from __future__ import annotations

import io
import re

from rich.console import Console
from rich.text import Text

from rtmedia.cli.bottom import Bottom


class Terminal(io.StringIO):
    """Just enough of a terminal: text, line feeds, carriage returns, cursor up, erase, and lines that break at the edge."""

    def __init__(self, width):
        super().__init__()
        self.width, self.rows, self.row, self.column, self.cursor, self.writes = width, [""], 0, 0, True, 0

    def write(self, text):
        self.writes += bool(text)
        for token in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|.|\n|\r", text):
            self._take(token)
        return len(text)

    def _take(self, token):
        if token == "\n":
            self.row, self.column = self.row + 1, 0
        elif token == "\r":
            self.column = 0
        elif token.endswith("A") and len(token) > 1:
            self.row = max(0, self.row - int(token[2:-1]))
        elif token == "\x1b[J":
            self.rows = [*self.rows[: self.row], self.rows[self.row][: self.column]]
        elif token == "\x1b[K":
            self.rows[self.row] = self.rows[self.row][: self.column]
        elif token in ("\x1b[?25l", "\x1b[?25h"):
            self.cursor = token.endswith("h")
        elif len(token) == 1:
            if self.column == self.width:
                self.row, self.column = self.row + 1, 0
                self._grow()
            line = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = line[: self.column] + token + line[self.column + 1 :]
            self.column += 1
        self._grow()

    def _grow(self):
        while len(self.rows) <= self.row:
            self.rows.append("")

    def narrow(self, width):
        """The user makes the window narrower: rows break, the cursor stays behind its character."""
        broken, cursor = [], 0
        for number, line in enumerate(self.rows):
            parts = [line[i : i + width] for i in range(0, len(line), width)] or [""]
            broken += parts
            if number == self.row:
                cursor = len(broken) - 1
        self.width, self.rows, self.row = width, broken, cursor
        self.column = len(broken[cursor])

    @property
    def seen(self):
        return [line.rstrip() for line in self.rows if line.strip()]


def made(width=40):
    terminal = Terminal(width)
    console = Console(file=terminal, force_terminal=True, width=width, height=20, color_system=None, markup=False, highlight=False)
    return terminal, console, Bottom(console)


def test_what_is_printed_appears_above_and_in_order():
    terminal, _, bottom = made()
    bottom.draw(Text("status 1"))
    bottom.print(Text("first"))
    bottom.draw(Text("status 2"))
    bottom.print(Text("second"))
    assert terminal.seen == ["first", "second", "status 2"]


def test_a_shorter_line_leaves_nothing_of_the_longer_one():
    terminal, _, bottom = made()
    bottom.draw(Text("a rather long status"))
    bottom.draw(Text("short"))
    assert terminal.seen == ["short"]


def test_an_unchanged_line_is_not_written_again():
    terminal, _, bottom = made()
    bottom.draw(Text("status"))
    before = terminal.writes
    for _ in range(100):
        bottom.draw(Text("status"))
    assert terminal.writes == before


def test_each_redraw_is_one_write():
    terminal, _, bottom = made()
    bottom.draw(Text("one"))
    before = terminal.writes
    bottom.draw(Text("two"))
    bottom.print(Text("above"))
    assert terminal.writes == before + 2


def test_a_terminal_made_narrower_keeps_no_debris():
    terminal, console, bottom = made(40)
    bottom.print(Text("caption"))
    bottom.draw(Text("x" * 39))
    terminal.narrow(12)
    console.width = 12
    bottom.print(Text("another"))
    bottom.draw(Text("narrow"))
    assert terminal.seen == ["caption", "another", "narrow"]


def test_a_terminal_made_wider_keeps_no_debris():
    terminal, console, bottom = made(20)
    bottom.print(Text("caption"))
    bottom.draw(Text("x" * 19))
    terminal.width = console.width = 60
    bottom.draw(Text("wide"))
    assert terminal.seen == ["caption", "wide"]


def test_closing_takes_the_line_away_and_gives_the_cursor_back():
    terminal, _, bottom = made()
    bottom.print(Text("caption"))
    bottom.draw(Text("status"))
    assert not terminal.cursor
    bottom.close()
    assert terminal.cursor
    assert terminal.seen == ["caption"]
    before = terminal.writes
    bottom.close()
    assert terminal.writes == before


def test_a_terminal_that_is_gone_does_not_hinder_the_end():
    terminal, _, bottom = made()
    bottom.draw(Text("status"))
    terminal.close()
    terminal.write = lambda text: (_ for _ in ()).throw(OSError("gone"))
    bottom.close()
