"""One session of an engine in front of a person or a pipe: the loop that `demo` and `play` share.

How to think about it. The engine runs on its own threads and waits for nobody here. This loop, on the main thread,
takes what the engine says (`events`, `stats`), what the user says (keys, signals, the time limit), and hands all of
it to a view. It ends when the engine has ended, never before: to leave is to ask the engine to stop.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from rtmedia.cli.keys import Keys
from rtmedia.cli.leave import Leave
from rtmedia.cli.logs import Mailbox, logging_to
from rtmedia.cli.views import View
from rtmedia.errors import RtmediaError
from rtmedia.events import Event, StreamEnded
from rtmedia.stats import Stats

if TYPE_CHECKING:
    from rtmedia.engine import Engine

TICK_S = 0.1
# The engine has the interpreter for itself until it is connected, or for so long: what is to be shown can wait, the sound cannot.
HEAD_START_S = 0.5
GAIN_STEP_DB = 1.0
KEYS_HINT = "space pauses, + and - change the volume, e switches the effects off and on, q ends"
# While the engine is being built nothing can be taken apart; after so long it is anyway.
BUILD_PATIENCE_S = 4.0


class Session:
    """Runs `engine` to its end.

    Parameters
    ----------
    duration_s
        Stop after so much playing; ``None`` plays to the end.

    Notes
    -----
    Thread: main.   Real-time: no.
    """

    def __init__(
        self, engine: Engine, view: View, *, log_level: str = "warning", duration_s: float | None = None, keys: bool = True
    ) -> None:
        self._engine = engine
        self._view = view
        self._log_level = log_level
        self._duration_s = duration_s
        self._mailbox = Mailbox()
        self._keys = Keys() if keys else None
        self._leave = Leave()
        self._start_error: BaseException | None = None
        self._starter = threading.Thread(target=self._start, name="rtm-start", daemon=True)
        self._stopper: threading.Thread | None = None
        self._asked_s: float | None = None
        self._aborted = False
        self._playing_since_s: float | None = None
        self._gain_db = engine.config.gain_db
        self._bypass = engine.config.bypass

    def run(self) -> Stats:
        """Start the engine, show it, and return its last figures.

        Raises
        ------
        RtmediaError
            What ended the engine, if it was a failure.
        """
        view = self._view
        error: BaseException | None = None
        with self._leave, logging_to(self._mailbox, self._log_level):
            try:
                view.open()
                with self._keys or _NoKeys() as keys:
                    self._starter.start()
                    self._starter.join(HEAD_START_S)
                    error = self._loop(keys)
                self._logs()
                view.finish(self._engine.stats(), error)
            finally:
                view.close()
                if self._engine.state not in ("closed", "failed"):  # the display broke, or nobody has patience any more
                    self._engine.abort()
        if error is not None:
            raise error
        return self._engine.stats()

    def _start(self) -> None:
        # Not on the main thread: a start may wait ten seconds for a server, and the user may have changed his mind.
        try:
            self._engine.start()
        except BaseException as exc:
            self._start_error = exc

    def _loop(self, keys: Keys | _NoKeys) -> BaseException | None:
        next_s = time.monotonic()
        while True:
            for event in self._engine.events(timeout_s=max(0.0, next_s - time.monotonic())):
                self._tell(event)
                if time.monotonic() >= next_s:
                    break  # a flood of events must not stop the clock
            now_s = time.monotonic()
            ended, error = self._ended()
            if ended:
                for event in self._engine.events(timeout_s=0.0):
                    self._tell(event)
                return error
            if now_s < next_s:  # the engine is not started yet, or said everything: do not spin
                time.sleep(min(TICK_S, next_s - now_s))
                continue
            next_s = now_s + TICK_S
            self._logs()
            self._view.tick(self._engine.stats(), now_s)
            for key in keys.read():
                self._key(key)
            self._wishes(now_s)
            if self._leave.suspend_asked:
                self._view.close()  # the shell shall find the terminal as it was; the next tick draws again
                self._leave.suspend()

    def _ended(self) -> tuple[bool, BaseException | None]:
        if self._start_error is not None and self._engine.state in ("closed", "failed"):
            left_in_time = self._asked_s is not None and isinstance(self._start_error, RtmediaError)
            return True, None if left_in_time else self._start_error
        if self._engine.state not in ("closed", "failed"):
            return False, None
        try:
            return self._engine.wait(0.0), None
        except BaseException as exc:
            return True, exc

    def _tell(self, event: Event) -> None:
        # Asked to stop, the engine ends the stream itself and plays out: that was not the server.
        if not (isinstance(event, StreamEnded) and self._asked_s is not None):
            self._view.event(event)

    def _logs(self) -> None:
        for level, line in self._mailbox.take():
            self._view.log(level, line)

    def _key(self, key: str) -> None:
        engine = self._engine
        try:
            if key == " ":
                if engine.state == "running":
                    engine.pause()
                elif engine.state == "paused":
                    engine.resume()
            elif key in ("q", "Q", "\x04"):
                self._ask()
            elif key in "+=-" and engine.state in ("running", "paused"):
                wanted = self._gain_db + (-GAIN_STEP_DB if key == "-" else GAIN_STEP_DB)
                engine.update(gain_db=wanted)
                self._gain_db = wanted
                self._view.say(f"gain {wanted:+.0f} dB")
            elif key in ("e", "E") and engine.state in ("running", "paused"):
                self._switch_effects()
        except RtmediaError as exc:  # it ended meanwhile, or the gain is at its limit
            self._view.log(30, str(exc))

    def _switch_effects(self) -> None:
        """All off, or back to what the session began with: to hear what they do."""
        names = tuple(dict.fromkeys(effect.name for effect in self._engine.effects))
        if not names:
            self._view.say("no effects")
            return
        begun = self._engine.config.bypass
        off = len(self._bypass) < len(names)
        self._bypass = names if off else begun if len(begun) < len(names) else ()
        self._engine.update(bypass=self._bypass)
        self._view.say("effects off" if off else "effects on")

    def _wishes(self, now_s: float) -> None:
        """Signals and the time limit."""
        if self._playing_since_s is None and self._engine.state == "running":
            self._playing_since_s = now_s
        over = self._duration_s is not None and self._playing_since_s is not None and now_s - self._playing_since_s >= self._duration_s
        if over or self._leave.count:
            self._ask()
        if self._asked_s is None or (self._stopper is not None and not (self._leave.count > 1 and not self._aborted)):
            return
        if self._leave.count > 1:
            self._aborted = True
        elif self._engine.state in ("idle", "starting") and now_s - self._asked_s < BUILD_PATIENCE_S:
            return
        stop = self._engine.abort if self._aborted else self._engine.stop
        self._stopper = threading.Thread(target=stop, name="rtm-stop", daemon=True)
        self._stopper.start()

    def _ask(self) -> None:
        if self._asked_s is None:
            self._asked_s = time.monotonic()


class _NoKeys:
    """Nobody at a keyboard."""

    def __enter__(self) -> _NoKeys:
        return self

    def __exit__(self, *_: object) -> None: ...

    def read(self) -> str:
        return ""
