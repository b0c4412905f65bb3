"""The status line: the most important of what is known, in whatever width there is.

Pure: figures in, text out. It is never wider than it may be, because a line that wraps scrolls the terminal at each redraw.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from rtmedia.cli.meter import Meter, decibels
from rtmedia.cli.terminal import Glyphs, clock
from rtmedia.stats import Stats

_STATES = {  # state -> (glyph, style); what is not here is busy
    "running": ("playing", "bold green"),
    "paused": ("paused", "bold yellow"),
    "closed": ("ended", "dim"),
    "failed": ("ended", "bold red"),
}
_WORDS = {"running": "playing", "idle": "opening", "starting": "opening", "closed": "ended"}
METER_LEAST, METER_MOST = 8, 32
_GAP = 3


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of the line; of those that do not fit, the highest `rank` goes first."""

    rank: int
    text: Text


def status_line(stats: Stats, meter: Meter, glyphs: Glyphs, width: int, *, connection: str = "", hint: str = "") -> Text:
    """One line about an engine.

    Parameters
    ----------
    connection
        What to say instead of the state of the connection, such as a countdown.
    hint
        What the keys do; shown where there is room.
    """
    glyph, style = _STATES.get(stats.state, ("busy", "bold cyan"))
    word = _WORDS.get(stats.state, stats.state)
    level = Text(f"{decibels(meter.level_db, glyphs)} dB", "default")
    parts = [
        _Part(0, Text.assemble((f"{getattr(glyphs, glyph)} {word:<7}", style))),
        _Part(6, Text(clock(stats.uptime_s))),
        _Part(1, level),
        _Part(2, _delay(stats, glyphs)),
        _Part(5, Text(f"buffer {stats.buffered_ms:3.0f} ms", "dim")),
        _Part(3, Text(f"concealed {stats.concealed_pct:.1f} %", "yellow" if stats.concealed_pct >= 1.0 else "dim")),
        _Part(4, _connection(stats, glyphs, connection)),
    ]
    if hint:
        parts.append(_Part(7, Text(hint, "bright_black")))
    room = width - 2  # a space on both sides; the last column stays free, or some terminals wrap
    while len(parts) > 1 and _length(parts) + METER_LEAST + 1 > room:
        parts.remove(max(parts, key=lambda part: part.rank))
    left = room - _length(parts) - 1
    line = Text(" ", no_wrap=True, overflow="crop")
    for number, part in enumerate(parts):
        if part.text is level and left >= METER_LEAST:
            line.append_text(meter.bar(min(METER_MOST, left), glyphs)).append(" ")
        line.append_text(part.text)
        if number < len(parts) - 1:
            line.append(" " * _GAP)
    line.truncate(max(1, width - 1))
    return line


def _length(parts: list[_Part]) -> int:
    return sum(part.text.cell_len for part in parts) + _GAP * (len(parts) - 1)


def _delay(stats: Stats, glyphs: Glyphs) -> Text:
    # Its target beside it: a delay on its way to another one is no fault.
    return Text.assemble(("delay ", "dim"), f"{stats.delay_ms:.0f}", (f"{glyphs.arrow}{stats.target_delay_ms:.0f} ms", "dim"))


def _connection(stats: Stats, glyphs: Glyphs, said: str) -> Text:
    if said:
        return Text(f"{glyphs.off} {said}", "yellow")
    if stats.connected:
        rtt = f" {stats.rtt_ms:.1f} ms" if stats.rtt_ms is not None else ""
        return Text.assemble((glyphs.on, "green"), (f" connected{rtt}", "dim"))
    return Text(f"{glyphs.off} {'no connection' if stats.state == 'running' else 'offline'}", "yellow" if stats.state == "running" else "dim")
