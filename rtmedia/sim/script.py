"""Who says what and when: the transcript that goes with a recording, word by word.

The embedded conversation is a customer and an agent of a parcel service, 46 s. Its file format is one JSON object::

    {"duration_ms": 46100, "utterances": [
     {"speaker": "agent", "text": "Good morning, …", "confidence": 0.97, "start_ms": 300, "end_ms": 4011,
      "words": [["Good", 300, 468], ["morning,", 468, 870], …]}, …]}

Times are milliseconds from the recording's first frame.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from rtmedia.errors import ConfigError
from rtmedia.sim.speech import Speech
from rtmedia.sim.wav import decode_wav


@dataclass(frozen=True, slots=True)
class Word:
    """One word as it is written, and when it is heard."""

    text: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one speaker says in one turn."""

    speaker: str
    text: str
    confidence: float
    start_ms: float
    end_ms: float
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """The utterances of a recording, in the order in which they start."""

    utterances: tuple[Utterance, ...]


def parse_script(text: str, name: str) -> Script:
    """Read a transcript's JSON; `name` is what error messages call it.

    Raises
    ------
    ConfigError
        Not JSON, or a value is missing or of a wrong kind; the message names the utterance.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{name} is not JSON ({exc}); see rtmedia.sim.script for the format") from exc
    utterances = data.get("utterances") if isinstance(data, dict) else None
    if not isinstance(utterances, list):
        raise ConfigError(f"{name} has no list of utterances; see rtmedia.sim.script for the format")
    parsed = []
    for number, item in enumerate(utterances):
        try:
            parsed.append(_utterance(item))
        except (KeyError, TypeError, ValueError, OverflowError) as exc:  # noqa: PERF203  (names the utterance)
            raise ConfigError(f"{name}: utterance {number} is not usable ({exc!r}); see rtmedia.sim.script for the format") from exc
    return Script(tuple(sorted(parsed, key=lambda utterance: utterance.start_ms)))


def _utterance(item: Any) -> Utterance:
    if not isinstance(item, dict):
        raise TypeError(f"not an object: {item!r}")
    words = tuple(Word(_text(word), _time(start), _time(end)) for word, start, end in item.get("words", []))
    return Utterance(
        speaker=str(item.get("speaker", "")),
        text=_text(item["text"]),
        confidence=float(item.get("confidence", 1.0)),
        start_ms=_time(item["start_ms"]),
        end_ms=_time(item["end_ms"]),
        words=words,
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"text is {value!r}")
    return value


def _time(value: Any) -> float:
    time_ms = float(value)
    if not (math.isfinite(time_ms) and time_ms >= 0.0):
        raise ValueError(f"time is {value!r}")
    return time_ms


def read_script(path: str | Path) -> Script:
    """Read a transcript file."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"transcript file {path} cannot be read ({exc}); check the path") from exc
    return parse_script(text, f"transcript file {path}")


@functools.cache
def conversation() -> tuple[Speech, Script]:
    """The embedded conversation: 16 kHz mono, about -20 dBFS in speech, digital silence between the turns. Read-only."""
    folder = files("rtmedia.data")
    block, rate_hz = decode_wav(folder.joinpath("conversation.wav").read_bytes(), "the embedded conversation")
    script = parse_script(folder.joinpath("conversation.json").read_text("utf-8"), "the embedded transcript")
    block.flags.writeable = False  # everybody gets the same one
    return Speech(block, rate_hz), script
