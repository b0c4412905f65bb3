"""A level meter in characters, with the ballistics of one that has a needle.

The bar rises at once and falls by `FALL_DB_PER_S`; the highest peak stays for `HOLD_S`. Pure: time is an argument.
"""

from __future__ import annotations

from rich.text import Text

from rtmedia.cli.terminal import Glyphs

FLOOR_DB = -60.0
FALL_DB_PER_S = 24.0
HOLD_S = 1.2
# From here on the colour changes: speech is meant to live under the first, nothing should pass the second.
LOUD_DB, HOT_DB = -12.0, -4.0


class Meter:
    """Levels over time.

    Notes
    -----
    Thread: main.   Real-time: no.
    """

    def __init__(self) -> None:
        self.level_db = FLOOR_DB
        self.peak_db = FLOOR_DB
        self._peak_s = 0.0
        self._before_s: float | None = None

    def feed(self, rms_db: float, peak_db: float, now_s: float) -> None:
        """Take the levels of now."""
        passed_s = 0.0 if self._before_s is None else max(0.0, now_s - self._before_s)
        self._before_s = now_s
        self.level_db = max(rms_db, self.level_db - FALL_DB_PER_S * passed_s, FLOOR_DB)
        if peak_db >= self.peak_db or now_s - self._peak_s > HOLD_S:
            self.peak_db, self._peak_s = max(peak_db, FLOOR_DB), now_s

    def bar(self, width: int, glyphs: Glyphs) -> Text:
        """The meter, `width` characters wide."""
        cells = len(glyphs.eighths) - 1
        filled = round(_share(self.level_db) * width * cells)
        mark = min(width - 1, int(_share(self.peak_db) * width)) if self.peak_db > FLOOR_DB else -1
        bar = Text(no_wrap=True)
        for column in range(width):
            part = min(cells, max(0, filled - column * cells))
            style = _style(FLOOR_DB * (1.0 - (column + 0.5) / width))
            if part == cells or (part and column != mark):
                bar.append(glyphs.eighths[part], style)
            elif column == mark:
                bar.append(glyphs.peak, style)
            else:
                bar.append(glyphs.empty, "bright_black")
        return bar


def _share(level_db: float) -> float:
    return min(1.0, max(0.0, 1.0 - level_db / FLOOR_DB))


def _style(level_db: float) -> str:
    return "red" if level_db > HOT_DB else "yellow" if level_db > LOUD_DB else "green"


def decibels(level_db: float, glyphs: Glyphs) -> str:
    """A level in four characters; ``  --`` at the end of the meter."""
    return f"{level_db:4.0f}".replace("-", glyphs.minus) if level_db > FLOOR_DB else "  --"
