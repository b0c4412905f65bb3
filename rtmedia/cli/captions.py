"""Events as a person reads them: who says what, and what befell the line."""

from __future__ import annotations

import re

from rtmedia.cli.terminal import clean
from rtmedia.events import Connected, Disconnected, Event, Problem, StallEnded, StallStarted, StreamEnded, Transcript

# "agent: Good morning": a short name without punctuation before the first colon.
_PREFIX = re.compile(r"^([^\W\d_][\w .'-]{0,23}):\s+(?=\S)")
_COLOURS = ("cyan", "magenta", "yellow", "green", "blue")


def speaker_and_text(event: Transcript) -> tuple[str, str]:
    """Who speaks (``""`` where nobody says so) and what, both safe to print."""
    speaker, text = clean(event.speaker, 24), clean(event.text)
    if not speaker and (match := _PREFIX.match(text)):
        speaker, text = match.group(1), text[match.end() :]
    return speaker, text


class Speakers:
    """A colour for each speaker, in the order in which they first speak."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def colour(self, speaker: str) -> str:
        """The colour of `speaker`; speakers beyond a hundred share one, a server may invent any number."""
        if speaker not in self._known and len(self._known) < 100:
            self._known[speaker] = _COLOURS[len(self._known) % len(_COLOURS)]
        return self._known.get(speaker, "white")


def notice(event: Event) -> tuple[str, str]:
    """Text and style of an event that is no caption; ``""`` for those that only the status line shows."""
    if isinstance(event, Connected):
        again = "" if event.epoch <= 1 else " again"
        return f"connected{again} to {clean(event.url)}", "green"
    if isinstance(event, Disconnected):
        if event.retry_in_s is None:
            return "", ""  # the end, which is said otherwise
        code = f" (code {event.close_code})" if event.close_code is not None else ""
        return f"connection lost{code}: {clean(event.reason)}; next attempt in {event.retry_in_s:.1f} s", "yellow"
    if isinstance(event, StallStarted):
        return "", ""
    if isinstance(event, StallEnded):
        return f"sound is back after {event.duration_ms / 1000:.1f} s", "yellow"
    if isinstance(event, StreamEnded):
        return clean(event.reason), "dim"
    if isinstance(event, Problem):
        return f"{event.kind}: {clean(event.message)}", "yellow"
    return "", ""
