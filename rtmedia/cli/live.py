"""The live view: captions scroll above, one status line stays at the bottom.

Everything is drawn by the thread that calls: rich's own refresher is off, so that the loop's ten times a second is all
there is, and each redraw is one write.
"""

from __future__ import annotations

import logging

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rtmedia.cli.captions import Speakers, notice, speaker_and_text
from rtmedia.cli.meter import Meter
from rtmedia.cli.status import status_line
from rtmedia.cli.summary import summary
from rtmedia.cli.terminal import Glyphs, clock
from rtmedia.events import Connected, Disconnected, Event, StallEnded, StallStarted, StreamEnded, Transcript
from rtmedia.stats import Stats

_NAMES_WIDE = 60  # columns from which speakers get a column of their own


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
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=True, redirect_stderr=True)

    def open(self) -> None:
        self._live.start()

    def _print(self, renderable: RenderableType) -> None:
        self._console.print(renderable)

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
            self._connection = "no sound comes"
        elif isinstance(event, Connected | StallEnded):
            self._connection, self._retry_at_s = "", None
        elif isinstance(event, StreamEnded):
            self._connection, self._retry_at_s = "ended", None

    def _caption(self, event: Transcript) -> RenderableType:
        speaker, text = speaker_and_text(event)
        caption = Text()
        colour = self._speakers.colour(speaker) if speaker else "default"
        if speaker:
            caption.append(f"{speaker}  ", f"bold {colour}")
        # A recogniser that is not sure shows it; late words say that they are.
        caption.append(text, "dim" if event.confidence < 0.5 else "default")
        if event.late:
            caption.append("  late", "bright_black")
        return self._row(clock(event.timestamp_ms / 1000), caption)

    def _row(self, time: str, text: Text) -> RenderableType:
        if self._console.width < _NAMES_WIDE:
            return Text.assemble((f"{time} " if time else "", "bright_black"), text)
        row = Table.grid(padding=(0, 2), pad_edge=False)
        row.add_column(width=6, justify="right", style="bright_black", no_wrap=True)
        row.add_column(overflow="fold")
        row.add_row(time, text)
        return row

    def say(self, text: str) -> None:
        self._print(self._row("", Text(text, "cyan")))

    def log(self, level: int, line: str) -> None:
        style = "red" if level >= logging.ERROR else "yellow" if level >= logging.WARNING else "bright_black"
        self._print(Text(line, style))

    def tick(self, stats: Stats, now_s: float) -> None:
        self._now_s = now_s
        if not self._introduced and stats.device and stats.rate_hz:
            self._introduced = True
            rate = f"{stats.device_rate_hz / 1000:g} kHz"
            self._print(self._row("", Text(f"{stats.source} {self._glyphs.arrow} {stats.device} ({rate}, {stats.play_path})", "dim")))
        self._meter.feed(stats.rms_dbfs, stats.peak_dbfs, now_s)
        said = self._connection
        if self._retry_at_s is not None:
            said += f" in {max(0.0, self._retry_at_s - now_s):.1f} s"
        width = self._console.width
        line = status_line(stats, self._meter, self._glyphs, width, connection=said, hint=self._keys)
        rule = Text(self._glyphs.rule * max(1, width - 1), "bright_black", no_wrap=True, overflow="crop")
        self._live.update(Group(rule, line) if self._console.height > 4 else line, refresh=True)

    def finish(self, stats: Stats, error: BaseException | None) -> None:
        self.close()
        if stats.packets_received_total or error is None:
            self._print(Text(self._glyphs.rule * max(1, self._console.width - 1), "bright_black", no_wrap=True, overflow="crop"))
            self._print(summary(stats))

    def close(self) -> None:
        self._live.stop()
