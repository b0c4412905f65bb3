"""A real sound server without a sound card.

PulseAudio with a null sink takes sound at the pace of a clock, as a card does, and offers what it was given at
the sink's monitor, where it is recorded. The server is private: its socket, state and ALSA configuration lie in
one temporary directory, and nothing finds it but processes that run with `SoundServer.env`.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

RATE_HZ = 48_000
_OCTETS_PER_FRAME = 4  # one channel of float32

# Nothing of the system's configuration: its list of cards is what differs between machines.
_ALSA_CONFIG = """\
pcm.!default {{ type pulse server "{server}" }}
ctl.!default {{ type pulse server "{server}" }}
"""


class SoundServerMissing(Exception):
    """This machine has no PulseAudio, or no way from ALSA to it."""


class Recording:
    """What the sink has played, growing while it is recorded: mono float32 at 48 kHz."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamps: list[tuple[int, int]] = []  # (monotonic ns, frames that had come by then)

    @property
    def frames(self) -> int:
        return self.path.stat().st_size // _OCTETS_PER_FRAME if self.path.exists() else 0

    def samples(self) -> npt.NDArray[np.float32]:
        return np.fromfile(self.path, np.float32, count=self.frames)

    def time_ns_of(self, frame: float) -> float:
        """When `frame` was recorded, on the monotonic clock: no stretch comes earlier than its last frame, the best ones just then."""
        stamps = np.array(self.stamps[len(self.stamps) // 10 :], np.float64)
        return float(np.min(stamps[:, 0] - stamps[:, 1] * 1e9 / RATE_HZ) + frame * 1e9 / RATE_HZ)


class SoundServer:
    """Use as a context manager; `env` is the environment for child processes that shall play into it.

    Parameters
    ----------
    timeout_s : float
        The longest wait for any one answer.
    """

    sink_name = "rtm"

    def __init__(self, timeout_s: float = 10.0) -> None:
        missing = [program for program in ("pulseaudio", "pactl", "parec") if shutil.which(program) is None]
        if missing:
            raise SoundServerMissing(f"{', '.join(missing)} not installed: no sound server for the live tests")
        if not any(glob.glob(f"/usr/lib{folder}/alsa-lib/libasound_module_pcm_pulse.so") for folder in ("", "64", "/*")):
            raise SoundServerMissing("ALSA's pulse plug-in (libasound2-plugins) is not installed: no sound server for the live tests")
        self._timeout_s = timeout_s
        # Not pytest's directory: the path of a Unix socket has at most 107 characters.
        self._directory = Path(tempfile.mkdtemp(prefix="rtmedia-sound-"))
        self._process: subprocess.Popen[bytes] | None = None
        address = f"unix:{self._directory}/native"
        alsa = self._directory / "asound.conf"
        alsa.write_text(_ALSA_CONFIG.format(server=address), "utf-8")
        self.env = os.environ | {
            "PULSE_SERVER": address,
            "PULSE_RUNTIME_PATH": str(self._directory),
            "PULSE_STATE_PATH": str(self._directory),
            "PULSE_COOKIE": str(self._directory / "cookie"),
            "XDG_RUNTIME_DIR": str(self._directory),
            "ALSA_CONFIG_PATH": str(alsa),
        }

    def __enter__(self) -> SoundServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self) -> None:
        """Start the server and wait until it answers. Also after `stop`: a server that comes back."""
        log = self._directory / "log"
        environment = {name: value for name, value in self.env.items() if name != "PULSE_SERVER"}
        # Before others where the system allows it (it goes on without): what is measured is who plays, not the instrument.
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *("pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1"),
                    *("--high-priority=yes", "--realtime=yes", "--disallow-exit=yes"),
                    f"--load=module-native-protocol-unix auth-anonymous=1 socket={self._directory}/native",
                    # norewinds: else the monitor loses up to one latency of whatever begins after silence.
                    f"--load=module-null-sink sink_name={self.sink_name} rate={RATE_HZ} channels=1 format=float32le norewinds=1",
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + self._timeout_s
        while self._pactl("info").returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"pulseaudio does not answer; its log:\n{log.read_text('utf-8', 'replace')[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server as a crash would: whoever plays loses the device."""
        if self._process is not None:
            end(self._process, self._timeout_s)
            self._process = None

    @property
    def pid(self) -> int:
        """Of the server that runs."""
        assert self._process is not None
        return self._process.pid

    @contextmanager
    def thawed(self) -> Iterator[None]:
        """Whoever freezes the server in the body: afterwards it goes on."""
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def pactl(self, *arguments: str) -> str:
        """Run one command against the server, such as ``("load-module", "module-null-sink", "sink_name=other")``."""
        result = self._pactl(*arguments)
        if result.returncode:
            raise RuntimeError(f"pactl {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout.strip()

    def sink_latency_ms(self) -> float:
        """What the sink is set to: by so much the monitor has a sound before the sink would play it.

        The least that any client asks for, a recorder of the monitor included; the sink renders in blocks of that length.
        """
        configured = re.search(rf"Name: {self.sink_name}\n.*?configured ([0-9]+) usec", self.pactl("list", "sinks"), re.DOTALL)
        if configured is None:
            raise RuntimeError(f"pactl list sinks does not tell the latency of {self.sink_name}")
        return int(configured[1]) / 1000

    def _pactl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pactl", *arguments], env=self.env | {"LC_ALL": "C"}, capture_output=True, text=True, timeout=self._timeout_s
        )

    @contextmanager
    def record(self, path: Path, tail_s: float = 0.3) -> Iterator[Recording]:
        """Record the sink's monitor into `path` (raw float32) from before the body until `tail_s` after it."""
        recording = Recording(path)
        process = subprocess.Popen(
            [
                *("parec", f"--device={self.sink_name}.monitor", "--raw", "--format=float32le", "--channels=1"),
                *(f"--rate={RATE_HZ}", "--latency-msec=10"),
            ],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        writer = threading.Thread(target=_write, args=(process, recording), daemon=True)
        writer.start()
        try:
            self._grow(process, recording, 1)
            yield recording
            self._grow(process, recording, recording.frames + int(tail_s * RATE_HZ))
        finally:
            end(process, self._timeout_s)
            writer.join(self._timeout_s)

    def _grow(self, process: subprocess.Popen[bytes], recording: Recording, frames: int) -> None:
        deadline = time.monotonic() + self._timeout_s
        while recording.frames < frames:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the recording of {self.sink_name}.monitor stopped at {recording.frames} frames")
            time.sleep(0.01)


def _write(process: subprocess.Popen[bytes], recording: Recording) -> None:
    """What comes from the recorder goes into the file, with a note when it came."""
    assert process.stdout is not None
    octets = 0
    with recording.path.open("wb", buffering=0) as output, process.stdout:
        while data := os.read(process.stdout.fileno(), 1 << 16):
            octets += output.write(data)
            recording.stamps.append((time.monotonic_ns(), octets // _OCTETS_PER_FRAME))


def end(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Ask a process to leave, then insist."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout_s)
