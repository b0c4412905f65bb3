"""Files that commands write: whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rtmedia.errors import SinkError
from rtmedia.ports import Block


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    Raises
    ------
    SinkError
        The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, a pipe: nothing to replace
            yield path
            return
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as exc:
        raise SinkError(f"{path} cannot be written ({exc.strerror})", kind="file", device=str(path), hint="choose another path") from exc


def write_json(path: Path, values: Any) -> None:
    """Write `values` as JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")


def write_wav(path: Path, audio: Block, rate_hz: int, progress: Callable[[int], None] = lambda frames: None) -> None:
    """Write a block as 16-bit WAV, a second at a time."""
    # Opened here: a wave.open that fails leaves a half-made object behind, which complains when it is collected.
    with replacing(path) as temporary, temporary.open("wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(audio.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        for start in range(0, len(audio), rate_hz):
            block = audio[start : start + rate_hz]
            file.writeframes(np.clip(np.rint(block * np.float32(32768)), -32768, 32767).astype("<i2").tobytes())
            progress(len(block))
