"""A child process that speaks lines of JSON, which is how the parts of a benchmark talk that must not share an interpreter."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


class RunFailed(Exception):
    """A peer or the sender did not come to its end."""


class Child:
    """A child that speaks lines of JSON."""

    def __init__(self, python: str, file: str, asked: dict[str, Any]) -> None:
        self._name = f"{file} {asked}"
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by end); a pipe that nobody reads would fill up
        self._process = subprocess.Popen(
            [python, str(HERE / file), json.dumps(asked)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True
        )

    def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(timeout=10)
            self._said.seek(0)
            raise RunFailed(f"{self._name[:200]} ended with {self._process.returncode}: {self._said.read().strip()[-600:]}")
        return dict(json.loads(line))

    def tell(self, **facts: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(facts) + "\n")
        self._process.stdin.flush()

    @property
    def pid(self) -> int:
        return self._process.pid

    def let_go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was still to be written has nobody to read it
                    pipe.close()
