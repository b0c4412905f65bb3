"""Whole sessions over loopback, with the engine itself and without a sound card."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtmedia.cli.kernels import kernel_modules, load
from rtmedia.cli.main import app

COMMAND = [sys.executable, "-m", "rtmedia"]
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("CLIENT_ID", "CLIENT_SECRET", "URL", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(f"RTMEDIA_{name}", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture(autouse=True, scope="module")
def _compiled():
    """Children find their kernels on disk: no time limit below has to allow for a compilation."""
    load(kernel_modules())


def lines_of(output):
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def test_a_demo_as_json_is_events_and_then_statistics(tmp_path):
    result = CliRunner().invoke(app, ["demo", "--sink", "null", "--duration", "1.5", "--json", "--stats-json", "stats.json"])
    assert result.exit_code == 0, result.output
    lines = lines_of(result.stdout)
    names = [line["event"] for line in lines]
    assert names[0] == "state_changed"
    assert {"connected", "transcript"} <= set(names)
    assert names[-1] == "stats"
    words = next(line for line in lines if line["event"] == "transcript")
    assert words["speaker"] == "agent"
    assert words["text"].startswith("Good morning")
    assert lines[-1]["packets_received_total"] > 20
    assert json.loads((tmp_path / "stats.json").read_text("utf-8"))["state"] == "closed"


def test_a_demo_into_a_pipe_is_plain_lines_without_control_codes(monkeypatch):
    monkeypatch.setattr("rtmedia.io.portaudio.list_devices", lambda instance=None: [])
    result = CliRunner().invoke(app, ["demo", "--duration", "1.2"])
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert "0:00  agent: Good morning" in result.output
    assert "writing demo.wav instead" in result.output
    assert "latency" in result.output
    assert Path("demo.wav").stat().st_size > 16_000


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["loopback:?token_status=401"], 5),
        (["loopback:?media_status=403"], 5),
        (["loopback:?media_status=503", "--reconnect", "0"], 4),
        (["ws://127.0.0.1:9/", "--reconnect", "0"], 4),
        (["loopback:", "--sink", "wav:"], 3),
        (["loopback:", "--sink", "teapot"], 2),
    ],
)
def test_what_ends_a_session_decides_the_exit_code(words, code):
    words = ["play", *words, *([] if "--sink" in words else ["--sink", "null"])]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code, result.output
    assert sum(line.startswith("rtmedia: ") for line in result.output.splitlines()) == 1
    assert "Traceback" not in result.output


def first_line(process, prefix):
    for line in process.stdout:
        if line.startswith(prefix):
            return line
    pytest.fail(f"no line begins with {prefix!r}: {process.stderr.read()}")


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as on POSIX")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_ends_with_the_summary_and_exit_code_0(signum, scaled):
    with subprocess.Popen(
        [*COMMAND, "demo", "--sink", "null"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        first_line(process, "0:00")
        process.send_signal(signum)
        output, errors = process.communicate(timeout=scaled(20))
    assert process.returncode == 0, errors
    assert "underruns" in output
    assert "the server ended" not in output


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")
def test_a_served_stream_is_played_by_the_command_that_serve_prints(scaled):
    with subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        ready = json.loads(server.stdout.readline())
        credentials = Path(ready["credentials"])
        assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
        assert stat.S_IMODE(credentials.parent.stat().st_mode) == 0o700
        secret = json.loads(credentials.read_text("utf-8"))["client_secret"]
        assert secret not in json.dumps(ready)
        result = CliRunner().invoke(app, [*shlex.split(ready["play"])[1:], "--sink", "null", "--duration", "0.5", "--json"])
        assert result.exit_code == 0, result.output
        assert lines_of(result.stdout)[-1]["packets_received_total"] > 10
        assert secret not in result.output
        server.terminate()
        assert server.wait(scaled(10)) == 0
    assert not credentials.parent.exists()


# A pseudo-terminal by a helper process: a fork of this one, which has threads, would be unsafe.
IN_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_in_a_terminal_captions_scroll_above_a_status_line_and_q_ends(scaled):
    environ = dict(os.environ, TERM="xterm-256color", COLUMNS="100", LINES="24", CI="")
    command = [sys.executable, "-c", IN_A_TERMINAL, *COMMAND, "demo", "--sink", "null"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, start_new_session=True, bufsize=0
    ) as process:
        watchdog = threading.Timer(scaled(60), process.kill)
        watchdog.start()
        seen, asked = b"", False
        while octets := process.stdout.read(65_536):
            seen += octets
            if not asked and b"playing" in seen.partition(b"Good morning")[2]:
                asked = bool(process.stdin.write(b"q"))
        watchdog.cancel()
    text = seen.decode("utf-8")
    assert asked, text[-2000:]
    assert process.returncode == 0, text[-2000:]
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert text.rindex("\x1b[?25h") < text.index("underruns")
