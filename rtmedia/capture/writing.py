"""A session's capture under way."""

from __future__ import annotations

from rtmedia.capture.settings import layout_of, settings_of
from rtmedia.config import Config
from rtmedia.io.capture import VERSION, CaptureFile
from rtmedia.rooms.control import Control
from rtmedia.rooms.line import Line
from rtmedia.rooms.recorder import TABLES, Recorder


class Capture:
    """A session's capture under way: the taps in the line, and the file.

    Notes
    -----
    Thread: the engine's; see `rtmedia.rooms.recorder` and `rtmedia.io.capture` for theirs.   Real-time: no.
    """

    def __init__(self, path: str, config: Config, line: Line, control: Control) -> None:
        header = {
            "format": VERSION,
            "settings": settings_of(config, line.device_rate_hz),
            "tables": {name: layout_of(dtype) for name, dtype in TABLES.items()},
        }
        self._recorder = Recorder(line, control)
        self._file = CaptureFile(path, header, self._recorder.collect, self._recorder.end)
        self.take_transcript = self._recorder.take_transcript
        self._told = False

    def problem(self) -> str:
        """Why the capture has ended before the session, once; otherwise empty."""
        found = "" if self._told else self._file.problem or self._recorder.problem
        self._told = self._told or bool(found)
        return found

    def close(self, timeout_s: float) -> bool:
        """Write the rest, when no room runs any more; False when that took longer."""
        return self._file.close(timeout_s)
