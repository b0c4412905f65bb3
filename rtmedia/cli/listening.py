"""What `demo` and `play` have in common: choose a view, run the session, leave the figures behind."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rtmedia.cli.files import write_json
from rtmedia.cli.preparing import prepare
from rtmedia.cli.session import KEYS_HINT, Session
from rtmedia.cli.terminal import glyphs_for, is_live, stderr_console, stdout_console
from rtmedia.cli.views import Deferred, JsonView, PlainView, QuietView, View
from rtmedia.stats import Stats

if TYPE_CHECKING:
    from rtmedia.config import Config


@dataclass(frozen=True, slots=True)
class Listening:
    """How a session is shown."""

    json: bool = False
    quiet: bool = False
    log_level: str = "warning"
    duration_s: float | None = None
    stats_json: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether standard output is a terminal, for a person."""
        return not self.json and not self.quiet and is_live()

    @property
    def keys(self) -> bool:
        """Whether keys are read."""
        return self.is_live and sys.stdin.isatty() and sys.platform != "win32"

    def view(self) -> View:
        """A view for where standard output goes."""
        if self.quiet and not self.json:
            return QuietView()
        out, errors = stdout_console(), stderr_console()
        if self.json:
            return JsonView(out, errors)
        if not self.is_live:
            return PlainView(out, errors)
        from rtmedia.cli.live import LiveView

        return LiveView(out, glyphs_for(out.encoding), KEYS_HINT if self.keys else "")

    def run(self, config: Config) -> Stats:
        """Play to the end."""
        prepare(quiet=self.quiet or self.json)
        from rtmedia.engine import Engine

        engine = Engine(config)
        session = Session(engine, Deferred(self.view), log_level=self.log_level, duration_s=self.duration_s, keys=self.keys)
        try:
            return session.run()
        finally:
            if self.stats_json is not None:
                write_json(Path(self.stats_json), engine.stats().as_dict())
