"""The server as a child process: it is ready when it says so, and never outlives its parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
import websocket

from rtmedia.config import SCOPES
from rtmedia.errors import ConfigError
from rtmedia.sim.loopback import LoopbackServer


def subscribe(server):
    form = {
        "grant_type": "client_credentials",
        "client_id": server.client_id,
        "client_secret": server.client_secret,
        "scope": " ".join(SCOPES),
    }
    token = requests.post(server.token_url, data=form, timeout=10).json()["access_token"]
    socket = websocket.create_connection(f"{server.media_url}?access_token={token}", timeout=10)
    socket.send(json.dumps({"type": "subscribe", "conversationId": "x", "format": "raw", "sampleRate": 16000}))
    return socket


def test_a_client_of_another_library_hears_the_conversation():
    with LoopbackServer("loopback:?seed=1") as server:
        socket = subscribe(server)
        assert json.loads(socket.recv()) == {"type": "ack"}
        first = socket.recv()
        assert len(first) == 16 + 640
        assert first[:16] == bytes(16)
        assert len(socket.recv()) == 656
        socket.close()


def test_describing_a_server_loads_no_server():
    code = "import sys; from rtmedia.sim.loopback import LoopbackServer; LoopbackServer('loss=0.1')"
    heavy = "{'aiohttp', 'asyncio', 'numba', 'soxr', 'soundfile', 'scipy'}"
    subprocess.run([sys.executable, "-c", f"{code}; assert not {heavy} & set(sys.modules)"], check=True, timeout=60)


def test_a_cut_connection_leaves_no_complaint_behind():
    with LoopbackServer("disconnect_after_s=0.05") as server:
        socket = subscribe(server)
        with pytest.raises((OSError, websocket.WebSocketException)):  # noqa: PT012  (until the cut)
            while True:
                socket.recv()
        socket.close()
        server._complaints.seek(0)
        assert server._complaints.read() == b""


def test_closing_ends_the_child_and_may_be_repeated():
    server = LoopbackServer()
    assert "secret" not in repr(server)
    with server:
        child = server._process
        assert server.client_secret not in repr(server)
        assert server.pid == child.pid
        socket = subscribe(server)
        socket.recv()
    assert child.returncode == 0
    server.close()
    assert server.pid is None
    socket.close()


def test_each_server_has_credentials_of_its_own():
    assert LoopbackServer().client_secret != LoopbackServer().client_secret


def test_a_child_that_cannot_serve_says_why(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.wav"):
        LoopbackServer(f"speech={tmp_path}/gone.wav").start()
    with pytest.raises(ConfigError, match="is no setting"):
        LoopbackServer("loopback:?nonsense=1")


@pytest.mark.skipif(sys.platform == "win32", reason="looks at the process table of POSIX")
def test_a_child_dies_with_its_parent():
    program = (
        "import os, sys; from rtmedia.sim.loopback import LoopbackServer\n"
        "server = LoopbackServer().start(); print(server.pid, flush=True); os._exit(3)"
    )
    parent = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert parent.returncode == 3
    pid = int(parent.stdout)
    # It is nobody's child now, so there is nothing to wait for but its absence.
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        try:
            if Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0] == "Z":
                return  # ended, and waits for a parent that no longer is
        except OSError:
            return
        time.sleep(0.02)
    pytest.fail("the child still runs")


def test_the_command_prints_where_it_listens_and_how_to_enter():
    process = subprocess.Popen(
        [sys.executable, "-m", "rtmedia.sim.server", "--port", "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        ready = json.loads(process.stdout.readline())
        assert set(ready) == {"port", "url", "token_url", "client_id", "client_secret"}
        assert ready["url"] == f"ws://127.0.0.1:{ready['port']}/api/v2/platform/media"
        process.stdin.close()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.stdout.close()
