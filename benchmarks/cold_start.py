"""How long from the start of the process to the first sample at the device?

A server of the benchmark's own speaks at once and without a pause, in real time: as a WebSocket for rtmedia, over HTTP for mpv
and ffplay, which are measured as they are (a WAV, which they look into before they play) and with the least buffering they offer
(raw samples, the format told). All play into one private PulseAudio; its monitor is recorded, and the first sample there that is
no silence ends the measurement. It begins just before the process is made. The peers take turns. rtmedia starts with its
kernels on the disk (as after any first start), once without (a cold cache), and after ``rtmedia warmup``; its phases are told by the
process itself. Python's own files (.pyc) are there for all starts but the cold one.

``--tiny`` and ``--warm-only`` leave the cold cache out. What is not installed is skipped and named; without a sound server rtmedia plays
into its null sink and says itself when the first packet is heard.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _bench import Row, Target, compare, interleaved, parser_for, report
from _cold_stream import RATE_HZ as STREAM_HZ
from _cold_stream import RawServer, speech_at_once

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rtmedia.sim.loopback import LoopbackServer  # noqa: E402
from tests.sound_server import RATE_HZ, Recording, SoundServer, SoundServerMissing, end  # noqa: E402

CHILD = Path(__file__).with_name("_cold_child.py")
LOUD = 0.005  # -46 dBFS: no resampler's ripple, no dither
PATIENCE_S, COLD_PATIENCE_S = 30.0, 900.0
PHASES = ("interpreter", "configuration", "kernels", "sink opened", "connected", "first packet", "first sample")


@dataclass
class Start:
    """One start: nanoseconds from the making of the process to each phase it told, and to the first sample."""

    phases: dict[str, int] = field(default_factory=dict)

    @property
    def first_sample_ns(self) -> int:
        return self.phases["first sample"]


@dataclass
class Place:
    """Where all play: the sound server and its recording (None: there is none), and the children's environment."""

    environment: dict[str, str]
    server: SoundServer | None = None
    recording: Recording | None = None

    @property
    def sink(self) -> str:
        return "portaudio" if self.server is not None else "null"

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None, patience_s: float = PATIENCE_S) -> Start:
        """Start `command`, wait for its first sample, end it, wait for silence."""
        from_frame = self.recording.frames if self.recording is not None else 0
        began_ns = time.monotonic_ns()
        process = subprocess.Popen(
            command,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            heard_ns = self._first_loud(from_frame, process, patience_s) if self.recording is not None else self._told(process, patience_s)
        finally:
            end(process, 10.0)
        assert process.stdout is not None
        said = process.stdout.read() if self.recording is not None else self._said
        told = [json.loads(line) for line in said.splitlines() if line.startswith(b"{")]
        phases = {note["phase"]: note["at_ns"] - began_ns for note in told if note.get("phase")}
        phases["first sample"] = heard_ns - began_ns
        self._wait_for_silence()
        return Start(phases)

    def _first_loud(self, from_frame: int, process: subprocess.Popen[bytes], patience_s: float) -> int:
        assert self.recording is not None
        deadline = time.monotonic() + patience_s
        looked = from_frame
        while True:
            sound = _samples(self.recording, looked)
            loud = np.flatnonzero(np.abs(sound) > LOUD)
            if len(loud):
                return int(self.recording.time_ns_of(looked + int(loud[0])))
            looked += len(sound)
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"{process.args} was not heard within {patience_s} s: {_complaint(process)}")
            time.sleep(0.01)

    def _told(self, process: subprocess.Popen[bytes], patience_s: float) -> int:
        """Without a recording: when the process says that the first packet is heard."""
        assert process.stdout is not None
        self._said = b""
        deadline = time.monotonic() + patience_s
        for line in process.stdout:
            self._said += line
            note = json.loads(line) if line.startswith(b"{") else {}
            if note.get("phase") == "first packet heard":
                return int(note["at_ns"])
            if time.monotonic() > deadline:
                break
        process.kill()
        raise RuntimeError(f"{process.args} did not play: {_complaint(process)}")

    def _wait_for_silence(self) -> None:
        if self.recording is None:
            return
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            before = self.recording.frames
            while self.recording.frames < before + RATE_HZ // 5:
                time.sleep(0.02)
            if not np.any(np.abs(_samples(self.recording, before)) > LOUD):
                return
        raise RuntimeError("the sound server plays on after the player has gone")


def _complaint(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    return process.stderr.read().decode("utf-8", "replace")[-1000:]


def _samples(recording: Recording, from_frame: int) -> np.ndarray:
    return np.fromfile(recording.path, np.float32, count=recording.frames - from_frame, offset=4 * from_frame)


@contextmanager
def place(folder: Path, skipped: list[str]) -> Iterator[Place]:
    """A sound server of our own, or none."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / "pyc"), "SDL_AUDIODRIVER": "pulseaudio"}
    with ExitStack() as stack:
        try:
            server = stack.enter_context(SoundServer())
        except SoundServerMissing as exc:
            skipped.append(str(exc))
            yield Place(environment)
            return
        recording = stack.enter_context(server.record(folder / "recording.f32"))
        sound = {name: value for name, value in server.env.items() if os.environ.get(name) != value}
        yield Place({**environment, **sound}, server, recording)


def _peers(at: Place, media_url: str, raw_url: str, skipped: list[str]) -> dict[str, Sequence[str]]:
    """Each player's command, ours first."""
    ours = {"rtmedia, Engine": [sys.executable, str(CHILD), media_url, at.sink]}
    if at.server is None:
        return ours
    ours["rtmedia play"] = [sys.executable, "-m", "rtmedia", "play", media_url, "--quiet"]
    mpv = ("mpv", "--no-config", "--no-video", "--really-quiet", "--ao=pulse")
    ffplay = ("ffplay", "-nodisp", "-loglevel", "error")
    rate = str(STREAM_HZ)
    others = {
        "mpv": [*mpv, raw_url + ".wav"],
        "mpv, low latency": [*mpv, "--profile=low-latency", "--cache=no", "--audio-buffer=0.02", raw_url + ".wav"],
        "mpv, low latency, told the format": [
            *(*mpv, "--profile=low-latency", "--cache=no", "--audio-buffer=0.02", "--demuxer=rawaudio"),
            *(f"--demuxer-rawaudio-rate={rate}", "--demuxer-rawaudio-channels=1", "--demuxer-rawaudio-format=s16le", raw_url),
        ],
        "ffplay": [*ffplay, raw_url + ".wav"],
        "ffplay, low latency, told the format": [
            *(*ffplay, "-fflags", "nobuffer", "-flags", "low_delay", "-probesize", "32", "-analyzeduration", "0"),
            *("-f", "s16le", "-ar", rate, "-ch_layout", "mono", raw_url),
        ],
    }
    for name, command in others.items():
        if shutil.which(command[0]) is None:
            skipped.append(f"{command[0]} is not installed")
        else:
            ours[name] = command
    return ours


def _imports(rounds: int, environment: Mapping[str, str]) -> dict[str, np.ndarray]:
    """A whole interpreter for each."""

    def peer(code: str) -> Callable[[], None]:
        return lambda: subprocess.run([sys.executable, "-c", code], env=dict(environment), check=True) and None

    codes = ("pass", "import rtmedia", "import numpy", "import llvmlite.binding", "import numba")
    return interleaved({code: peer(code) for code in codes}, rounds=rounds, warm_up=1)


def _cold(at: Place, command: Sequence[str], folder: Path) -> dict[str, Any]:
    """A first start without anything, the next one, and a warm-up in another place."""
    cold, warmed = (
        {"RTMEDIA_CACHE_DIR": str(folder / name), "PYTHONPYCACHEPREFIX": str(folder / f"{name}-pyc")} for name in ("cold", "warmed")
    )
    figures: dict[str, Any] = {"cold cache, first sample_s": at.start(command, cold, COLD_PATIENCE_S).first_sample_ns / 1e9}
    figures["second start, first sample_s"] = at.start(command, cold).first_sample_ns / 1e9
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "rtmedia", "warmup", "--quiet"], env={**at.environment, **warmed}, check=True)
    figures["rtmedia warmup_s"] = time.monotonic() - began
    figures["after warmup, first sample_s"] = at.start(command, warmed).first_sample_ns / 1e9
    return figures


def measure(rounds: int, cold: bool, folder: Path, skipped: list[str]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """All starts; returns the rows, the tables of facts, and what is to be drawn."""
    speech = folder / "speech.wav"
    samples = speech_at_once(speech)
    with ExitStack() as stack:
        at = stack.enter_context(place(folder, skipped))
        media = stack.enter_context(LoopbackServer(f"loopback:?speech={speech}&transcripts=0&token_required=0&loop=1"))
        raw = stack.enter_context(RawServer(samples))
        peers = _peers(at, media.media_url, raw.url, skipped)
        starts: dict[str, list[Start]] = {name: [] for name in peers}
        for turn in range(-1, rounds):  # the first one warms what there is to warm
            for place_in_turn in range(len(peers)):
                name = list(peers)[(turn + place_in_turn) % len(peers)]
                found = at.start(peers[name], patience_s=COLD_PATIENCE_S if turn < 0 else PATIENCE_S)
                if turn >= 0:
                    starts[name].append(found)
        times = {name: np.array([start.first_sample_ns for start in found], np.float64) for name, found in starts.items()}
        rows = compare("process start to first sample", times, "rtmedia, Engine")
        rows += compare("import, whole process", _imports(max(3, rounds), at.environment), "pass")
        phases = _phases(starts["rtmedia, Engine"])
        facts: dict[str, Any] = {"phases of rtmedia's start (each since the one before)": phases}
        if cold:
            seconds = _cold(at, peers["rtmedia, Engine"], folder)
            facts["cold"] = [{"peer": name, "seconds": value} for name, value in seconds.items()]
    return rows, facts, {"times_ms": {name: list(found / 1e6) for name, found in times.items()}, "phases": phases}


def _phases(starts: Sequence[Start]) -> list[dict[str, Any]]:
    """What each phase adds, as medians over the starts."""
    rows = []
    before = np.zeros(len(starts))
    for phase in PHASES:
        if not all(phase in start.phases for start in starts):
            continue
        until = np.array([start.phases[phase] for start in starts]) / 1e6
        rows.append(
            {
                "phase": phase,
                "p50_ms": float(np.median(until - before)),
                "worst_ms": float(np.max(until - before)),
                "until_p50_ms": float(np.median(until)),
            }
        )
        before = until
    compiler = [start for start in starts if "with the compiler" in start.phases]
    assert not compiler, f"{len(compiler)} of {len(starts)} warm starts imported the compiler"
    return rows


def targets_of(rows: Sequence[Row]) -> list[Target]:
    """What was aimed at."""
    p50_ms = {row.peer: row.p50_ns / 1e6 for row in rows}
    ours = p50_ms["rtmedia, Engine"]
    targets = [
        Target.at_most(f"first sample, warm cache, {name}, p50", 1_000.0, p50_ms.get(name), "ms")
        for name in ("rtmedia, Engine", "rtmedia play")
    ]
    for name in ("mpv", "mpv, low latency", "mpv, low latency, told the format"):
        theirs = p50_ms.get(name)
        targets.append(Target.at_most(f"first sample, rtmedia, Engine over {name}", 1.0, None if theirs is None else ours / theirs))
    targets.append(
        Target.at_most("import rtmedia, beyond the bare interpreter, p50", 50.0, p50_ms["import rtmedia"] - p50_ms["pass"], "ms")
    )
    return targets


def main() -> None:
    parser = parser_for(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=9, help="starts of each player that count")
    parser.add_argument("--warm-only", action="store_true", help="leave the cold cache out, which takes minutes")
    asked = parser.parse_args()
    skipped: list[str] = []
    with tempfile.TemporaryDirectory(prefix="rtm-cold-") as name:
        rows, facts, drawn = measure(1 if asked.tiny else asked.rounds, not (asked.tiny or asked.warm_only), Path(name), skipped)
    if asked.tiny or asked.warm_only:
        skipped.append("a cold cache, which takes minutes, was not asked for")

    def picture(folder: Path) -> list[Path]:
        from _cold_plots import draw

        return draw(folder, drawn["times_ms"], drawn["phases"])

    targets = [] if asked.tiny else targets_of(rows)
    report(__doc__ or "", rows, asked, facts, targets=targets, missing=skipped, draw=picture, times_ms=drawn["times_ms"])


if __name__ == "__main__":
    main()
