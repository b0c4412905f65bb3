"""How a session is shown: the contract, and its three plain fulfilments (lines, JSON, nothing).

The loop in `rtmedia.cli.session` calls a view from one thread. A view may be slow, for nobody of the engine waits for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from rtmedia.cli.captions import notice, speaker_and_text
from rtmedia.cli.summary import summary_rows
from rtmedia.cli.terminal import clock, stderr_console
from rtmedia.errors import RtmediaError
from rtmedia.events import Event, Transcript
from rtmedia.stats import Stats

if TYPE_CHECKING:
    from rich.console import Console


class View(Protocol):
    """Shows one session."""

    def open(self) -> None:
        """The session begins; the engine is not started yet."""
        ...

    def event(self, event: Event) -> None: ...
    def log(self, level: int, line: str) -> None: ...
    def say(self, text: str) -> None:
        """A word from the command itself."""
        ...

    def tick(self, stats: Stats, now_s: float) -> None:
        """About ten times a second."""
        ...

    def finish(self, stats: Stats, error: BaseException | None) -> None:
        """The engine has ended. `error` will be reported by the command's end; called also without a single tick."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was, whatever happened; a later tick may draw again."""
        ...


class Deferred:
    """A view that is made when there is something to show: the engine's start does not wait for what draws.

    Parameters
    ----------
    make
        Makes the view; called once, or never.
    """

    def __init__(self, make: Callable[[], View]) -> None:
        self._make = make
        self._made: View | None = None

    @property
    def _view(self) -> View:
        if self._made is None:
            made = self._make()
            made.open()
            self._made = made
        return self._made

    def open(self) -> None: ...

    def event(self, event: Event) -> None:
        self._view.event(event)

    def log(self, level: int, line: str) -> None:
        self._view.log(level, line)

    def say(self, text: str) -> None:
        self._view.say(text)

    def tick(self, stats: Stats, now_s: float) -> None:
        self._view.tick(stats, now_s)

    def finish(self, stats: Stats, error: BaseException | None) -> None:
        self._view.finish(stats, error)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


class QuietView:
    """Shows nothing but log lines, on standard error; without any, nothing that draws is ever imported."""

    def __init__(self, errors: Console | None = None) -> None:
        self._errors = errors

    def open(self) -> None: ...
    def event(self, event: Event) -> None: ...
    def say(self, text: str) -> None: ...
    def tick(self, stats: Stats, now_s: float) -> None: ...
    def finish(self, stats: Stats, error: BaseException | None) -> None: ...
    def close(self) -> None: ...

    def log(self, level: int, line: str) -> None:
        if self._errors is None:
            self._errors = stderr_console()
        self._errors.print(line, soft_wrap=True)


class PlainView(QuietView):
    """Lines without control codes: for pipes, files, journals and dumb terminals.

    Parameters
    ----------
    status_every_s
        How often a line about the state is printed.
    """

    def __init__(self, out: Console, errors: Console, status_every_s: float = 10.0) -> None:
        super().__init__(errors)
        self._out = out
        self._every_s = status_every_s
        self._next_s: float | None = None
        self._uptime_s = 0.0

    def _print(self, text: str) -> None:
        self._out.print(text, soft_wrap=True)
        self._out.file.flush()

    def event(self, event: Event) -> None:
        if isinstance(event, Transcript):
            speaker, text = speaker_and_text(event)
            self._print(f"{clock(event.timestamp_ms / 1000)}  {speaker + ': ' if speaker else ''}{text}")
        elif text := notice(event)[0]:
            self._print(f"-- {text}")

    def say(self, text: str) -> None:
        self._print(text)

    def tick(self, stats: Stats, now_s: float) -> None:
        if self._next_s is None:
            self._next_s = now_s + self._every_s
        if now_s >= self._next_s:
            self._next_s = now_s + self._every_s
            self._print(
                f"-- {clock(stats.uptime_s)} {stats.state}, delay {stats.delay_ms:.0f} ms, {_latency(stats)}"
                f"concealed {stats.concealed_pct:.1f} %, "
                f"{stats.packets_lost_total} lost, {stats.underruns_total} underruns"
            )

    def finish(self, stats: Stats, error: BaseException | None) -> None:
        if stats.packets_received_total or error is None:
            from rtmedia.cli.rows import print_rows

            print_rows(self._out, summary_rows(stats))


class JsonView(QuietView):
    """One JSON object a line on standard output: every event, and the statistics at the end. Logs go to standard error."""

    def __init__(self, out: Console, errors: Console) -> None:
        super().__init__(errors)
        self._out = out

    def _print(self, values: Mapping[str, Any]) -> None:
        # The file, not the console: no width, no styles.
        self._out.file.write(json.dumps(values, ensure_ascii=False) + "\n")
        self._out.file.flush()

    def event(self, event: Event) -> None:
        self._print({"event": snake(type(event).__name__), **asdict(event)})

    def say(self, text: str) -> None:
        self._print({"event": "note", "text": text})

    def finish(self, stats: Stats, error: BaseException | None) -> None:
        if error is not None:
            message = str(error) if isinstance(error, RtmediaError) else f"{type(error).__name__}: {error}"
            self._print({"event": "error", "error": type(error).__name__, "message": message})
        self._print({"event": "stats", **stats.as_dict()})


def _latency(stats: Stats) -> str:
    total = stats.latency_ms.get("total")
    return f"latency {total['p50']:.0f} ms (p95 {total['p95']:.0f}), " if total else ""


def snake(name: str) -> str:
    """``StateChanged`` as ``state_changed``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
