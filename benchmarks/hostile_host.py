"""Who is heard stumbling when the host process keeps the interpreter busy?

The same tone is played into a private PulseAudio, whose monitor is recorded, by an engine (from its loopback server: socket,
jitter buffer, compiled callback) and by the usual way to play from Python: a callback in Python, given the finished
samples from memory. In the same process the host does nothing, keeps one or three threads busy, collects garbage over
a large heap, or keeps the GIL for 200 ms at a time. The tone never rests, so that silence in the recording is a gap.
Peers take turns within each condition. Where there is no sound server only the engine runs, into its null sink.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from _bench import arguments, machine_facts

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.live.hostility import Hostility  # noqa: E402
from tests.live.player import play  # noqa: E402
from tests.sound_server import RATE_HZ, SoundServer, SoundServerMissing  # noqa: E402

CONDITIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "one busy thread": {"busy": 1},
    "three busy threads": {"busy": 3},
    "garbage collections": {"collect": True},
    "200 ms with the GIL": {"hold_ms": 200},
}
SOURCE_HZ = 16_000
BLOCK = RATE_HZ // 100
QUIET = 1e-3
GAP_MS = 2.0
HOSTILE_AFTER_S = 1.0


def tone(rate_hz: int, seconds: float) -> np.ndarray:
    """Harmonics of 150 Hz with unrelated phases: sounds like a voice that does not breathe, and is nowhere quiet."""
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, 12)
    return 0.1 * sum(np.cos(2 * np.pi * 150 * (k + 1) * t + phase) / (k + 1) for k, phase in enumerate(phases))


def write_wav(path: Path, sound: np.ndarray, rate_hz: int) -> None:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.rint(sound * 32767).astype("<i2").tobytes())


def gaps_ms(recording: np.ndarray) -> np.ndarray:
    """Lengths of the silences between the first and the last sound."""
    sounding = np.flatnonzero(np.abs(recording) > QUIET)
    if len(sounding) == 0:
        return np.array([np.inf])
    silences = (np.diff(sounding) - 1) * 1000 / RATE_HZ
    return silences[silences > GAP_MS]


def of_calls(times_ns: np.ndarray) -> dict[str, Any]:
    """How the device was served: a call that comes more than one block late is late."""
    between_ms = np.diff(times_ns[:-1]) / 1e6 if len(times_ns) > 2 else np.zeros(1)
    return {"calls": len(times_ns), "late_calls": int(np.sum(between_ms > 20.0)), "longest_wait_ms": float(between_ms.max())}


def run_engine(environ: dict[str, str], folder: Path, seconds: float, hostility: dict[str, Any], sink: str) -> dict[str, Any]:
    write_wav(folder / "tone.wav", tone(SOURCE_HZ, seconds + 5.0), SOURCE_HZ)
    played = play(
        environ,
        folder,
        seconds=seconds,
        hostility=hostility,
        hostile_after_s=HOSTILE_AFTER_S,
        timeout_s=300.0,
        source=f"loopback:?speech={quote(str(folder / 'tone.wav'))}",
        effects=[],
        sink=sink,
    )
    return {
        **of_calls(played.marks["time_ns"]),
        "underrun_frames": played.stats["underrun_frames_total"],
        "device_xruns": played.stats["device_xruns_total"],
        "concealed_pct": played.stats["concealed_pct"],
        "latency_p95_ms": played.stats["latency_ms"].get("total", {}).get("p95"),
        "longest_python_ms": played.facts["longest_python_ms"],
    }


def run_child(peer: str, environ: dict[str, str], seconds: float, hostility: dict[str, Any]) -> dict[str, Any]:
    asked = json.dumps({"peer": peer, "seconds": seconds, "hostility": hostility})
    child = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--child", asked],
        env=environ,
        capture_output=True,
        text=True,
        timeout=seconds + 120.0,
        check=False,  # its complaints are shown below
    )
    if child.returncode:
        raise SystemExit(f"{peer} ended with {child.returncode}:\n{child.stderr[-2000:]}")
    return dict(json.loads(child.stdout.strip().splitlines()[-1]))


def child(peer: str, seconds: float, hostility: dict[str, Any]) -> None:
    """A peer with a callback in Python."""
    samples = tone(RATE_HZ, seconds + 30.0).astype(np.float32)
    times_ns: list[int] = []
    flags: list[int] = []

    def block() -> np.ndarray:
        at = len(times_ns) * BLOCK
        times_ns.append(time.monotonic_ns())
        return samples[at : at + BLOCK]

    host = Hostility(**hostility)

    def suffer() -> None:
        time.sleep(HOSTILE_AFTER_S)
        if hostility:
            host.begin()
        time.sleep(seconds - HOSTILE_AFTER_S)
        host.end()

    if peer == "PyAudio, Python callback":
        import pyaudio

        def answer(data: Any, frames: int, info: Any, status: int) -> tuple[bytes, int]:
            flags.append(status & pyaudio.paOutputUnderflow)
            return block().tobytes(), pyaudio.paContinue

        audio = pyaudio.PyAudio()
        stream = audio.open(
            format=pyaudio.paFloat32, channels=1, rate=RATE_HZ, output=True, frames_per_buffer=BLOCK, stream_callback=answer
        )
        suffer()
        stream.close()
        audio.terminate()
    else:
        import sounddevice

        def fill(out: Any, frames: int, info: Any, status: Any) -> None:
            flags.append(int(status.output_underflow))
            out[:, 0] = block()

        with sounddevice.OutputStream(samplerate=RATE_HZ, channels=1, blocksize=BLOCK, dtype="float32", latency="low", callback=fill):
            suffer()
    result = {**of_calls(np.array(times_ns)), "device_xruns": int(np.count_nonzero(flags)), "longest_python_ms": host.longest_ms}
    print(json.dumps({**result, "underrun_frames": None, "concealed_pct": None, "latency_p95_ms": None}))


@contextmanager
def server() -> Iterator[SoundServer | None]:
    try:
        made = SoundServer()
    except SoundServerMissing as exc:
        print(f"{exc}; only the engine, into its null sink")
        yield None
        return
    with made:
        yield made


def measure(peer: str, sound: SoundServer | None, seconds: float, hostility: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="rtmedia-bench-") as name:
        folder = Path(name)
        if sound is None:
            row = run_engine(dict(os.environ), folder, seconds, hostility, "null")
            return {**row, "gaps": None, "gap_ms": None, "worst_gap_ms": None}
        with sound.record(folder / "monitor.f32") as recording:
            if peer == "rtmedia":
                row = run_engine(sound.env, folder, seconds, hostility, "portaudio")
            else:
                row = run_child(peer, sound.env, seconds, hostility)
        gaps = gaps_ms(recording.samples())
        return {**row, "gaps": len(gaps), "gap_ms": float(gaps.sum()), "worst_gap_ms": float(gaps.max(initial=0.0))}


COLUMNS = {
    "calls": "calls",
    "late_calls": "late",
    "longest_wait_ms": "longest wait ms",
    "underrun_frames": "underrun frames",
    "gaps": "gaps",
    "gap_ms": "gaps ms",
    "worst_gap_ms": "worst gap ms",
    "concealed_pct": "concealed %",
    "longest_python_ms": "Python waited ms",
}


def table(rows: list[dict[str, Any]]) -> str:
    lines = [" " * 50 + "".join(f"{title:>17}" for title in COLUMNS.values())]
    for row in rows:
        values = ("-" if row[name] is None else f"{row[name]:.1f}" if isinstance(row[name], float) else str(row[name]) for name in COLUMNS)
        lines.append(f"{row['comparison']:22}{row['peer']:28}" + "".join(f"{value:>17}" for value in values))
    return "\n".join(lines)


def main() -> None:
    assert __doc__ is not None
    asked = arguments(__doc__)
    seconds, rounds = (2.0, 1) if asked.tiny else (10.0, 2)
    conditions = {"three busy threads": CONDITIONS["three busy threads"]} if asked.tiny else CONDITIONS
    rows = []
    with server() as sound:
        peers = ["rtmedia"]
        if sound is not None:
            peers += ["PyAudio, Python callback"] if find_spec("pyaudio") else []
            peers += ["sounddevice, Python callback"] if find_spec("sounddevice") else []
        for turn in range(rounds):
            for condition, hostility in conditions.items():
                for place in range(len(peers)):
                    peer = peers[(turn + place) % len(peers)]
                    rows.append({"comparison": condition, "peer": peer, "round": turn, **measure(peer, sound, seconds, hostility)})
    rows.sort(key=lambda row: (list(CONDITIONS).index(row["comparison"]), row["peer"] != "rtmedia", row["peer"], row["round"]))
    question = __doc__.strip().splitlines()[0]
    facts = machine_facts()
    print(question)
    print(", ".join(f"{name} {value}" for name, value in facts.items() if value is not None))
    print(table(rows))
    if asked.json:
        result = {"question": question, "machine": facts, "tiny": asked.tiny, "seconds": seconds, "rows": rows}
        asked.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(**json.loads(sys.argv[2]))
    else:
        main()
