"""Who is heard stumbling when the host treats its audio badly?

One tone, sent as a live stream of 20 ms packets by a media server on loopback, is played into a private PulseAudio whose
monitor is recorded: by an engine, and by the usual ways to play from Python (`_hostile_peers.py`), all with 20 ms of lead. Meanwhile
the host does nothing; keeps one or three threads of Python busy; collects garbage over a large heap; keeps the GIL for
200 ms at a time; keeps every core busy from other processes, at normal and at lower priority; takes and gives back 2 GiB;
or the media server is stopped for 300 ms every three seconds. Peers take turns within each condition. Media and sound server run before
all others where the system allows it (root, or a limit on real-time priority): in life they have machines and cores of their own.

The tone never rests, so silence in the recording is a gap, whoever caused it. What is missing from a recording may be the
sound server's own doing where the cores are not its own (busy neighbours): it then hits all peers alike, and a peer that plays
from memory in C, with ``--memory``, shows how much. What the engine had to make up because nothing had come is
concealment, not silence, until it fades out: it is given beside. ``why`` says of the engine's own underruns whether its render
thread had no turn for as long as the lead, or the device asked for more at once than that. ``held_ms`` is the sound between
socket and device: what waits in a peer's queue or ring in the end, and what the engine's ledger says (p95). A call of the
device is late when it comes more than one block after its time. Without a sound server only the engine runs, into its null sink.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from _bench import Target, figure, parser_for, report
from _hostile_peers import BLOCK, FROM_MEMORY, PACKET_MS, available
from _hostile_peers import RATE_HZ as SOURCE_HZ  # from here on the tree's own packages are found, too

from tests.live.hostility import available_mib
from tests.live.player import Played, play
from tests.sound_server import RATE_HZ, Recording, SoundServer, SoundServerMissing

TAKEN_MIB = 2048
CONDITIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "one busy thread": {"busy": 1},
    "three busy threads": {"busy": 3},
    "garbage collections": {"collect": True},
    "200 ms with the GIL": {"hold_ms": 200},
    "2 GiB taken and freed": {"allocate_mib": TAKEN_MIB},
    "all cores busy": {"neighbours": -1},
    "all cores busy, nice 19": {"neighbours": -1, "niceness": 19},
    "server stopped for 300 ms": {"stop_ms": 300, "stop_every_s": 3.0},
}
#: Where the engine must not miss a frame; busy neighbours take the cores from everybody, a stopped server has nothing to play.
FAULTLESS = tuple(name for name, host in CONDITIONS.items() if "neighbours" not in host and "stop_ms" not in host)
NEIGHBOURS = tuple(name for name, host in CONDITIONS.items() if "neighbours" in host)
OURS, PYAUDIO, RTMIXER = "rtmedia", "PyAudio, Python callback", "rtmixer, C callback"
LEAD_MS = 20.0
BLOCK_MS = 1000 * BLOCK / SOURCE_HZ
QUIET = 1e-3
GAP_MS = 2.0
HOSTILE_AFTER_S = 1.0
#: What is worth a table over all conditions.
SUMMARIES = {
    "silent_ms": "silence in what was heard, ms",
    "worst_gap_ms": "longest gap in what was heard, ms",
    "underrun_frames": "frames of underrun, as each counts its own",
    "late_worst_ms": "latest call of the device, ms after its time",
}
#: What was handed over just before the end is cut off by it.
CUT_OFF_S = 0.1


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


def of_recording(recording: Recording, stopping_ns: float) -> dict[str, Any]:
    """Silences between the first sound and the moment in which the player was told to stop."""
    samples = recording.samples()
    end = int((stopping_ns - recording.time_ns_of(0)) * RATE_HZ / 1e9 - CUT_OFF_S * RATE_HZ)
    heard = np.abs(samples[: max(0, end)]) > QUIET
    sounding = np.flatnonzero(heard)
    if len(sounding) == 0:
        return {"silent_ms": 1000.0 * len(heard) / RATE_HZ, "gaps": 1, "worst_gap_ms": 1000.0 * len(heard) / RATE_HZ, "plays_on": False}
    gaps_ms = (np.diff(np.append(sounding, len(heard))) - 1) * 1000 / RATE_HZ
    gaps_ms = gaps_ms[gaps_ms > GAP_MS]
    plays_on = bool(heard[-RATE_HZ // 2 :].mean() > 0.5)
    return {
        "silent_ms": float(gaps_ms.sum()),
        "gaps": len(gaps_ms),
        "worst_gap_ms": float(gaps_ms.max(initial=0.0)),
        "plays_on": plays_on,
    }


def of_calls(times_ns: np.ndarray) -> dict[str, Any]:
    """How the device was served, by the times of its calls."""
    if len(times_ns) < 3:
        return {"calls": None, "late_calls": None, "late_p99_ms": None, "late_worst_ms": None}
    late_ms = np.maximum(0.0, np.diff(times_ns[:-1]) / 1e6 - BLOCK_MS)
    return {
        "calls": len(times_ns),
        "late_calls": int(np.sum(late_ms > BLOCK_MS)),
        "late_p99_ms": float(np.percentile(late_ms, 99)),
        "late_worst_ms": float(late_ms.max()),
    }


def causes(played: Played) -> str:
    """Why the device went without, call by call: the render thread was kept from its turn, or the device asked for more than the lead."""
    calls, made_ns = played.marks, played.ticks["time_ns"]
    heard = np.flatnonzero(calls["frames"] > 0)
    if len(heard) == 0 or len(made_ns) == 0:
        return ""
    short = [i for i in np.flatnonzero(calls["frames"] < calls["asked"]) if heard[0] < i < heard[-1]]
    found: dict[str, int] = {}
    for i in short:
        now_ns = calls["time_ns"][i]
        rested_ms = (now_ns - made_ns[max(0, np.searchsorted(made_ns, now_ns) - 1)]) / 1e6
        recent = calls["time_ns"][: i + 1] > now_ns - LEAD_MS * 1e6
        asked_ms = calls["asked"][: i + 1][recent].sum() * 1000 / RATE_HZ
        cause = "render late" if rested_ms > LEAD_MS else "device in haste" if asked_ms > LEAD_MS + BLOCK_MS else "other"
        found[cause] = found.get(cause, 0) + 1
    return ", ".join(f"{cause}: {count}" for cause, count in found.items())


def run_engine(
    environ: Mapping[str, str], folder: Path, seconds: float, hostility: Mapping[str, Any], sink: str
) -> tuple[dict[str, Any], float]:
    """An engine in a process of its own: its row, and when it was told to stop."""
    played = play(
        dict(environ),
        folder,
        seconds=seconds,
        hostility=dict(hostility),
        hostile_after_s=HOSTILE_AFTER_S,
        server_first=True,
        timeout_s=seconds + 300.0,
        source=f"loopback:?speech={quote(str(folder / 'tone.wav'))}&packet_ms={PACKET_MS}",
        effects=[],
        sink=sink,
        lead_ms=LEAD_MS,
    )
    row = {
        "underrun_frames": played.stats["underrun_frames_total"],
        "device_xruns": played.stats["device_xruns_total"],
        "concealed_ms": played.stats["concealed_ms_total"],
        "held_ms": played.stats["latency_ms"].get("total", {}).get("p95"),
        **of_calls(played.marks["time_ns"]),
        "python_waited_ms": played.facts["longest_python_ms"],
        "taken_mib": played.facts["allocated_mib"] or None,
        "why": causes(played) if played.stats["underrun_frames_total"] else "",
    }
    return row, played.facts["stopping_at_s"] * 1e9


def run_peer(
    peer: str, environ: Mapping[str, str], folder: Path, seconds: float, hostility: Mapping[str, Any]
) -> tuple[dict[str, Any], float]:
    """A peer in a process of its own."""
    asked = {
        "peer": peer,
        "wav": str(folder / "tone.wav"),
        "seconds": seconds,
        "hostile_after_s": HOSTILE_AFTER_S,
        "lead_ms": LEAD_MS,
        "hostility": dict(hostility),
    }
    child = subprocess.run(
        [sys.executable, str(Path(__file__).resolve().with_name("_hostile_peers.py")), json.dumps(asked)],
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=seconds + 120.0,
        check=False,  # its complaints are shown below
    )
    if child.returncode:
        raise SystemExit(f"{peer} ended with {child.returncode}:\n{child.stderr[-2000:]}")
    found = json.loads(child.stdout.strip().splitlines()[-1])
    row = {
        "underrun_frames": found["underrun_frames"],
        "device_xruns": found["device_xruns"],
        "concealed_ms": None,
        "held_ms": found["waiting_ms"],
        **of_calls(np.array(found["times_ns"])),
        "python_waited_ms": found["longest_python_ms"],
        "taken_mib": found["allocated_mib"] or None,
        "why": "",
    }
    return row, found["stopping_ns"]


@contextmanager
def server() -> Iterator[SoundServer | None]:
    """A sound server of its own, or None where there cannot be one."""
    try:
        made = SoundServer()
    except SoundServerMissing as exc:
        print(f"{exc}; only the engine, into its null sink")
        yield None
        return
    with made:
        yield made


def measure(peer: str, sound: SoundServer | None, folder: Path, seconds: float, hostility: Mapping[str, Any]) -> dict[str, Any]:
    """One peer under one condition, once."""
    if sound is None:
        row, _ = run_engine(os.environ, folder, seconds, hostility, "null")
        return {"silent_ms": None, "gaps": None, "worst_gap_ms": None, "plays_on": None, **row}
    with sound.record(folder / "monitor.f32") as recording:
        if peer == OURS:
            row, stopping_ns = run_engine(sound.env, folder, seconds, hostility, "portaudio")
        else:
            row, stopping_ns = run_peer(peer, sound.env, folder, seconds, hostility)
    return {**of_recording(recording, stopping_ns), **row}


def across(rows: Sequence[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    """A line for each condition, a column for each peer; of several rounds the worst."""
    peers = dict.fromkeys(row["peer"] for row in rows)
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        line = found.setdefault(row["comparison"], {"the host": row["comparison"], **dict.fromkeys(peers)})
        known = [value for value in (line[row["peer"]], row[key]) if value is not None]
        line[row["peer"]] = max(known, default=None)
    return list(found.values())


def targets_of(rows: Sequence[Mapping[str, Any]]) -> list[Target]:
    """What the engine must keep up, and beside whom."""

    def worst(conditions: Sequence[str], peer: str, key: str) -> dict[str, float]:
        """By condition; empty where the peer or the condition was left out."""
        found: dict[str, float] = {}
        for row in rows:
            if row["comparison"] in conditions and row["peer"] == peer and row[key] is not None:
                found[row["comparison"]] = max(found.get(row["comparison"], 0.0), row[key])
        return found

    def told(found: Mapping[str, float], unit: str) -> str:
        bad = [f"{figure(value)} ({name})" for name, value in found.items() if value]
        return f"{', '.join(bad)} {unit}" if bad else f"0 {unit} in {len(found)} conditions"

    targets = []
    ours = worst(FAULTLESS, OURS, "underrun_frames")
    if ours:
        name = "rtmedia, frames that the device went without, its own process being hostile"
        targets.append(Target(name, "0 frames", told(ours, "frames"), not any(ours.values())))
    hostile = [name for name in FAULTLESS if name != "nothing"]
    theirs = worst(hostile, PYAUDIO, "silent_ms")
    targets.append(
        Target(
            "PyAudio's callback is heard failing meanwhile",
            "> 0 ms",
            told(theirs, "ms") if theirs else "not measured",
            any(theirs.values()) if theirs else None,
        )
    )
    ours, theirs = worst(hostile, OURS, "silent_ms"), worst(hostile, RTMIXER, "silent_ms")
    if ours and theirs and ours.keys() == theirs.keys():
        name = "rtmedia, silence in what was heard, all of these together, over rtmixer's"
        targets.append(Target.at_most(name, 1.0, sum(ours.values()) / max(1e-9, sum(theirs.values()))))
    for condition in NEIGHBOURS:
        ours, theirs = worst([condition], OURS, "silent_ms"), worst([condition], RTMIXER, "silent_ms")
        both = bool(ours and theirs)
        targets.append(
            Target(
                f"rtmedia, silence in what was heard, {condition}",
                f"≤ rtmixer's {figure(theirs[condition])} ms" if theirs else "≤ rtmixer's",
                f"{figure(ours[condition])} ms" if ours else "not measured",
                ours[condition] <= theirs[condition] if both else None,
            )
        )
    return targets


def main() -> None:
    assert __doc__ is not None
    parser = parser_for(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each peer under each condition (60)")
    parser.add_argument("--rounds", type=int, default=1, help="times that everything is done (1)")
    parser.add_argument("--condition", nargs="*", metavar="WORD", help="only conditions whose name holds one of these words")
    parser.add_argument("--peer", nargs="*", metavar="WORD", help="only peers whose name holds one of these words, and ours")
    parser.add_argument("--memory", action="store_true", help="peers once more, with the finished samples in memory: the easier task")
    asked = parser.parse_args()
    seconds = 2.0 if asked.tiny else asked.seconds
    words = ["three busy threads"] if asked.tiny else asked.condition
    conditions = {name: host for name, host in CONDITIONS.items() if not words or any(word in name for word in words)}
    if not hasattr(signal, "SIGSTOP"):
        conditions.pop("server stopped for 300 ms", None)
    rows: list[dict[str, Any]] = []
    with server() as sound, tempfile.TemporaryDirectory(prefix="rtmedia-bench-") as name:
        folder = Path(name)
        write_wav(folder / "tone.wav", tone(SOURCE_HZ, seconds + 20.0), SOURCE_HZ)
        here, missing = available()
        peers = [peer for peer in here if not asked.peer or any(word in peer for word in asked.peer)] if sound is not None else []
        peers = [OURS, *peers, *([peer + FROM_MEMORY for peer in peers] if asked.memory else [])]
        for turn in range(asked.rounds):
            for condition, hostility in conditions.items():
                # Who plays from memory has no server that could be stopped.
                playing = [peer for peer in peers if not ("stop_ms" in hostility and peer.endswith(FROM_MEMORY))]
                for place in range(len(playing)):
                    peer = playing[(turn + place) % len(playing)]
                    row = {"peer": peer, "round": turn + 1, **measure(peer, sound, folder, seconds, hostility)}
                    rows.append({"comparison": condition, **row})
                    heard = "" if row["silent_ms"] is None else f"{row['silent_ms']:.1f} ms silent, worst gap {row['worst_gap_ms']:.1f} ms"
                    print(f"{condition}, {peer}: {heard}, {row['underrun_frames']} frames of underrun", file=sys.stderr, flush=True)
    rows.sort(key=lambda row: (list(CONDITIONS).index(row["comparison"]), peers.index(row["peer"]), row["round"]))
    facts: dict[str, list[dict[str, Any]]] = {title: across(rows, key) for key, title in SUMMARIES.items() if rows[0][key] is not None}
    facts |= {
        condition: [{key: value for key, value in row.items() if key != "comparison"} for row in rows if row["comparison"] == condition]
        for condition in conditions
    }

    def draw(made: Path) -> list[Path]:
        from _hostile_plots import draw as draw_rows

        return draw_rows(made, rows)

    here_mib = available_mib()
    if here_mib is not None and here_mib // 2 < TAKEN_MIB:
        print(f"memory is short: {here_mib} MiB are available, so {here_mib // 2} MiB were taken at most instead of {TAKEN_MIB}")
    report(__doc__, [], asked, facts, targets=targets_of(rows), missing=missing if sound is not None else [], draw=draw, seconds=seconds)


if __name__ == "__main__":
    main()
