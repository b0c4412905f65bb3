"""What `demo` and `play` have in common: choose a view, run the session, leave the figures behind."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rtmedia.cli.files import write_json
from rtmedia.cli.live import LiveView
from rtmedia.cli.preparing import prepare
from rtmedia.cli.session import KEYS_HINT, Session
from rtmedia.cli.terminal import glyphs_for, is_live, stderr_console, stdout_console
from rtmedia.cli.views import JsonView, PlainView, QuietView, View
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

    def view(self) -> tuple[View, bool]:
        """A view for where standard output goes, and whether keys are read."""
        out, errors = stdout_console(), stderr_console()
        if self.json:
            return JsonView(out, errors), False
        if self.quiet:
            return QuietView(errors), False
        if not is_live(out):
            return PlainView(out, errors), False
        keys = sys.stdin.isatty() and sys.platform != "win32"
        return LiveView(out, glyphs_for(out.encoding), KEYS_HINT if keys else ""), keys

    def run(self, config: Config) -> Stats:
        """Play to the end."""
        prepare(stderr_console(), quiet=self.quiet or self.json)
        from rtmedia.engine import Engine

        view, keys = self.view()
        engine = Engine(config)
        session = Session(engine, view, log_level=self.log_level, duration_s=self.duration_s, keys=keys)
        try:
            return session.run()
        finally:
            if self.stats_json is not None:
                write_json(Path(self.stats_json), engine.stats().as_dict())
