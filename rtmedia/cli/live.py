"""The live view: captions scroll above, one status line stays at the bottom.

Everything is drawn by the thread that calls, ten times a second.
"""

from __future__ import annotations

import logging

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from rtmedia.cli.bottom import Bottom
from rtmedia.cli.captions import Speakers, notice, speaker_and_text
from rtmedia.cli.meter import Meter
from rtmedia.cli.rows import print_rows
from rtmedia.cli.status import status_line
from rtmedia.cli.summary import summary_rows
from rtmedia.cli.terminal import Glyphs, clock
from rtmedia.events import Connected, Disconnected, Event, StallEnded, StallStarted, StreamEnded, Transcript
from rtmedia.stats import Stats

_COLUMNS_FROM = 60  # width from which time and speaker get columns of their own
_NAMES_LEAST, _NAMES_MOST = 8, 16
_FLASH_S = 2.0


class LiveView:
    """A terminal's view.

    Parameters
    ----------
    keys
        What the keys do, or ``""`` where none are read.

    Notes
    -----
    Thread: main.   Real-time: no.
    """

    def __init__(self, console: Console, glyphs: Glyphs, keys: str = "") -> None:
        self._console = console
        self._glyphs = glyphs
        self._keys = keys
        self._meter = Meter()
        self._speakers = Speakers()
        self._connection = ""
        self._retry_at_s: float | None = None
        self._now_s = 0.0
        self._introduced = False
        self._names_wide = _NAMES_LEAST
        self._flash = ("", 0.0)
        self._bottom = Bottom(console)

    def open(self) -> None: ...

    def _print(self, renderable: RenderableType) -> None:
        self._bottom.print(renderable)

    def event(self, event: Event) -> None:
        if isinstance(event, Transcript):
            self._print(self._caption(event))
            return
        self._remember(event)
        text, style = notice(event)
        if text:
            self._print(self._row("", Text(text, style)))

    def _remember(self, event: Event) -> None:
        """What the status line says about the connection until something else happens."""
        if isinstance(event, Disconnected):
            self._connection = "reconnecting" if event.retry_in_s is not None else ""
            self._retry_at_s = None if event.retry_in_s is None else self._now_s + event.retry_in_s
        elif isinstance(event, StallStarted):
            if self._retry_at_s is None:
                self._connection = "no sound comes"
        elif isinstance(event, Connected | StallEnded):
            self._connection, self._retry_at_s = "", None
        elif isinstance(event, StreamEnded):
            self._connection, self._retry_at_s = "ended", None

    def _caption(self, event: Transcript) -> RenderableType:
        speaker, text = speaker_and_text(event)
        # A recogniser that is not sure shows it; late words say that they are.
        said = Text(text, "dim" if event.confidence < 0.5 else "default")
        if event.late:
            said.append("  late", "bright_black")
        self._names_wide = min(_NAMES_MOST, max(self._names_wide, len(speaker)))
        name = Text(speaker, f"bold {self._speakers.colour(speaker)}") if speaker else None
        return self._row(clock(event.timestamp_ms / 1000), said, name)

    def _row(self, time: str, text: Text, name: Text | None = None) -> RenderableType:
        if self._console.width < _COLUMNS_FROM:
            line = Text(f"{time} " if time else "", "bright_black")
            return (line.append_text(name).append(" ") if name is not None else line).append_text(text)
        row = Table.grid(padding=(0, 2), pad_edge=False)
        row.add_column(width=6, justify="right", style="bright_black", no_wrap=True)
        if name is not None:
            row.add_column(width=self._names_wide, no_wrap=True, overflow="ellipsis")
        row.add_column(overflow="fold")
        row.add_row(time, *([name] if name is not None else []), text)
        return row

    def say(self, text: str) -> None:
        self._flash = (text, self._now_s + _FLASH_S)

    def log(self, level: int, line: str) -> None:
        style = "red" if level >= logging.ERROR else "yellow" if level >= logging.WARNING else "bright_black"
        self._print(Text(line, style))

    def tick(self, stats: Stats, now_s: float) -> None:
        self._now_s = now_s
        if not self._introduced and stats.device and stats.rate_hz:
            self._introduced = True
            rate = f"{stats.device_rate_hz / 1000:g} kHz"
            self._print(self._row("", Text(f"{stats.source} {self._glyphs.arrow} {stats.device} ({rate}, {stats.play_path})", "dim")))
            if self._keys:
                self._print(self._row("", Text(self._keys, "dim")))
        self._meter.feed(stats.rms_dbfs, stats.peak_dbfs, now_s)
        said = self._connection
        if self._retry_at_s is not None:
            said += f" in {max(0.0, self._retry_at_s - now_s):.1f} s"
        flash = self._flash[0] if now_s < self._flash[1] else ""
        self._bottom.draw(status_line(stats, self._meter, self._glyphs, self._console.width, connection=said, flash=flash))

    def finish(self, stats: Stats, error: BaseException | None) -> None:
        self.close()
        if stats.packets_received_total or error is None:
            self._console.print()
            print_rows(self._console, summary_rows(stats))

    def close(self) -> None:
        self._bottom.close()
