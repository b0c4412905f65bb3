"""Consoles, and text of strangers made safe for them."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Characters that reorder the text around them: a caption could make a line read backwards.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str, limit: int = 2000) -> str:
    """`text` without control characters and reordering marks, on one line, cut to `limit` characters.

    Captions and close reasons come from a server; an escape sequence in one would be the terminal's command.
    """
    kept = "".join(" " if c in "\t\r\n\u2028\u2029" else c for c in text[: limit + 1] if c in "\t\r\n" or not _unsafe(c))
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def _unsafe(c: str) -> bool:
    return c in _BIDI or unicodedata.category(c) in ("Cc", "Cs")


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The few characters that are drawn with, by what the terminal's encoding can say."""

    playing: str = "►"
    paused: str = "‖"
    busy: str = "◌"
    ended: str = "■"
    on: str = "●"
    off: str = "○"
    arrow: str = "→"
    rule: str = "─"
    eighths: str = " ▏▎▍▌▋▊▉█"
    empty: str = "·"
    peak: str = "│"
    minus: str = "−"


ASCII = Glyphs(">", "=", "~", "#", "*", "o", ">", "-", " #", ".", "|", "-")


def glyphs_for(encoding: str | None) -> Glyphs:
    """Glyphs that `encoding` can write."""
    try:
        "►‖◌■●○→─▏·│−█".encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return ASCII
    return Glyphs()


def stdout_console() -> Console:
    """Console of standard output; no markup, no highlighting: what it prints is data."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)


def stderr_console() -> Console:
    """Console of standard error."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def is_live(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a status line can be kept at the bottom: a real terminal that moves its cursor, and nobody's log.

    As a console of standard output would say; but that takes as long to import as an engine takes to start.
    """
    moves = environ.get("TERM", "").lower() not in ("dumb", "unknown") and environ.get("TTY_COMPATIBLE") != "0"
    return sys.stdout.isatty() and moves and environ.get("CI", "") in ("", "0", "false")


def clock(seconds: float) -> str:
    """``0:07``, ``12:34``, ``1:02:03``."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
