"""A simulated media server in a process of its own: what the source ``loopback:`` connects to.

Its own process, because a server in ours would share the GIL with whatever the embedder does, and its send times
would then be measured as the network's.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

from rtmedia.errors import ConfigError, SourceError
from rtmedia.sim.options import ServerOptions


class LoopbackServer:
    """A `rtmedia.sim.server` child process; ``with`` starts and closes it.

    Parameters
    ----------
    options
        Its behaviour, or a query like ``"loopback:?loss=0.02"``.
    timeout_s
        How long it may take to be ready.

    Attributes
    ----------
    client_id, client_secret : str
        The client that this server knows; random, for this process only.

    Notes
    -----
    Thread: any one at a time.   Real-time: no.
    The child ends when this process closes its standard input, which the system does too when this process dies.
    """

    def __init__(self, options: ServerOptions | str = "", *, timeout_s: float = 30.0) -> None:
        self.options = ServerOptions.from_query(options) if isinstance(options, str) else options
        self.client_id = f"loopback-{secrets.token_hex(4)}"
        self.client_secret = secrets.token_urlsafe(24)
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self._ready: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"LoopbackServer({self.media_url if self._ready else 'not started'})"

    @property
    def media_url(self) -> str:
        """The WebSocket's URL, without a token."""
        return str(self._ready["url"])

    @property
    def token_url(self) -> str:
        """Where tokens are fetched."""
        return str(self._ready["token_url"])

    @property
    def pid(self) -> int | None:
        """The child's process number while it runs."""
        return self._process.pid if self._process is not None else None

    def begin(self) -> None:
        """Start the child and leave it to itself: it takes most of a second to listen, which `start` waits for.

        Raises
        ------
        SourceError
            There is no such process to be had.
        """
        if self._process is not None:
            return
        environ = dict(os.environ, RTMEDIA_SIM_CLIENT_ID=self.client_id, RTMEDIA_SIM_CLIENT_SECRET=self.client_secret)
        # The child must find this very package, also where it is not installed.
        package = str(Path(__file__).resolve().parent.parent.parent)
        environ["PYTHONPATH"] = os.pathsep.join([package, *filter(None, [environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "rtmedia.sim.server", "--query", self.options.to_query()]
        # Ctrl-C is for the parent, which then closes the child in its own order.
        apart: dict[str, Any] = (
            {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
            if sys.platform == "win32"
            else {"start_new_session": True}
        )
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  (a pipe that nobody reads would block the child)
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, env=environ, **apart
            )
        except OSError as exc:
            self.close()
            raise SourceError(f"the loopback server cannot be started ({exc.strerror}); check {sys.executable}", retryable=False) from exc

    def start(self) -> LoopbackServer:
        """Start the child, unless that has begun, and wait until it listens.

        Raises
        ------
        ConfigError
            The child refuses the options (a file that cannot be read).
        SourceError
            It did not become ready.
        """
        self.begin()
        if not self._ready:
            self._ready = self._first_line()
        return self

    def _first_line(self) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        stdout = self._process.stdout
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=lambda: lines.put(stdout.readline()), name="rtm-sim-ready", daemon=True).start()
        try:
            line = lines.get(timeout=self._timeout_s)
        except queue.Empty:
            self.close()
            raise SourceError(
                f"the loopback server was not ready after {self._timeout_s} s; the machine is overloaded: try again"
            ) from None
        try:
            ready = json.loads(line)
        except ValueError:
            ready = {}
        if "error" in ready:
            self.close()
            raise ConfigError(ready["error"])
        if not {"url", "token_url"} <= set(ready):
            said = self._last_complaint()
            self.close()
            raise SourceError(
                f"the loopback server ended before it was ready ({said}); are rtmedia and aiohttp installed?", retryable=False
            )
        return dict(ready)

    def _last_complaint(self) -> str:
        assert self._process is not None and self._complaints is not None
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            return "it printed something else"
        self._complaints.seek(0)
        lines = self._complaints.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"

    def close(self, timeout_s: float = 3.0) -> None:
        """End the child, within `timeout_s`: its input closes, then it is asked to end, then it is ended. Repeatable."""
        process, self._process = self._process, None
        if process is not None:
            deadline = time.monotonic() + timeout_s
            if process.stdin is not None:
                process.stdin.close()
            for share, insist in ((0.7, process.terminate), (0.9, process.kill), (None, None)):
                left_s = deadline - time.monotonic()
                try:
                    process.wait(left_s * share if share else max(0.1, left_s))
                    break
                except subprocess.TimeoutExpired:
                    if insist is not None:
                        insist()
            if process.stdout is not None:
                process.stdout.close()
        if self._complaints is not None:
            self._complaints.close()
            self._complaints = None

    def __enter__(self) -> LoopbackServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
