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
_GAP = 2


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of the line; of those that do not fit, the highest `rank` goes first."""

    rank: int
    text: Text


def status_line(stats: Stats, meter: Meter, glyphs: Glyphs, width: int, *, connection: str = "", flash: str = "") -> Text:
    """One line about an engine.

    Parameters
    ----------
    connection
        What to say instead of the state of the connection, such as a countdown.
    flash
        Said for a moment instead of the connection, such as a new volume.

    Notes
    -----
    Figures have fixed widths, so that the meter does not twitch when one of them gains a digit.
    """
    glyph, style = _STATES.get(stats.state, ("busy", "bold cyan"))
    word = _WORDS.get(stats.state, stats.state)
    level = Text(f"{decibels(meter.level_db, glyphs)} dB", "default")
    parts = [
        _Part(0, Text.assemble((f"{getattr(glyphs, glyph)} {word:<7}", style))),
        _Part(5, Text(clock(stats.uptime_s).ljust(5))),
        _Part(1, level),
        _Part(2, _delay(stats, glyphs)),
        _Part(6, Text(f"buffer {stats.buffered_ms:.0f} ms".ljust(13), "dim")),
        _Part(7, Text(_latency(stats).ljust(18), "dim")),
        _Part(3, Text(f"concealed {stats.concealed_pct:.1f} %".ljust(16), "yellow" if stats.concealed_pct >= 1.0 else "dim")),
        _Part(4, Text(f"{flash:<16}", "bold cyan") if flash else _connection(stats, glyphs, connection)),
    ]
    if stats.state in ("idle", "starting"):
        parts = [parts[0], parts[1]]  # there is nothing to measure yet
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
    text = Text.assemble(("delay ", "dim"), f"{stats.delay_ms:.0f}", (f"{glyphs.arrow}{stats.target_delay_ms:.0f} ms", "dim"))
    text.pad_right(16 - text.cell_len)
    return text


def _latency(stats: Stats) -> str:
    """From the socket to the device, of 95 % of all packets."""
    total = stats.latency_ms.get("total")
    return f"latency p95 {total['p95']:.0f} ms" if total else ""


def _connection(stats: Stats, glyphs: Glyphs, said: str) -> Text:
    if said:
        return Text(f"{glyphs.off} {said}", "yellow")
    if stats.connected:
        rtt = f"{stats.rtt_ms:.1f} ms" if stats.rtt_ms is not None else ""
        return Text.assemble((glyphs.on, "green"), (f" online {rtt:<8}", "dim"))
    return Text(
        f"{glyphs.off} {'no connection' if stats.state == 'running' else 'offline'}", "yellow" if stats.state == "running" else "dim"
    )
