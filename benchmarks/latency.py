"""How long does a packet take from the socket to the device, and does the ledger tell the truth?

On a perfect network, with the default settings (gate and compressor on) and without effects. The engine's own figures come
with their terms; then they are held against what a private PulseAudio really played: a chirp in the stream is looked
for in the monitor's recording, and the moment in which it stands there is compared with the moment in which the ledger
has it handed to the device and leaving it; so are the captions of the embedded conversation. Without a sound server
only the engine's own figures are given, from its null sink.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import wave
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from _bench import arguments, machine_facts

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rtmedia.rooms.ledger import Ledger  # noqa: E402
from tests.live.alignment import band_limited, compare, find  # noqa: E402
from tests.live.heard import Source  # noqa: E402
from tests.live.player import Played, play  # noqa: E402
from tests.sound_server import RATE_HZ, Recording, SoundServer, SoundServerMissing  # noqa: E402

SOURCE_HZ = 16_000
EVERY_MS, CHIRP_MS = 250, 30
TERMS = ("decode", "buffer", "ring", "chain", "total", "device")


def chirp() -> np.ndarray:
    """From 500 to 6000 Hz: its autocorrelation has one narrow peak."""
    t = np.arange(SOURCE_HZ * CHIRP_MS // 1000) / SOURCE_HZ
    sweep = np.sin(2 * np.pi * (500 * t + 5500 / (2 * CHIRP_MS / 1000) * t**2))
    return 0.5 * sweep * np.hanning(len(t))


def chirps(path: Path, seconds: float) -> None:
    period = np.zeros(SOURCE_HZ * EVERY_MS // 1000)
    period[: len(chirp())] = chirp()
    sound = np.tile(period, int(seconds * 1000 / EVERY_MS))
    sound += 1e-3 * np.random.default_rng(1).standard_normal(len(sound))  # nothing here is digital silence
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SOURCE_HZ)
        file.writeframes(np.rint(sound * 32767).astype("<i2").tobytes())


def own_figures(played: Played, peer: str) -> dict[str, Any]:
    row: dict[str, Any] = {"comparison": "socket to device", "peer": peer, "packets": int(played.stats["packets_received_total"])}
    row["underrun_frames"], row["spliced_ms"] = played.stats["underrun_frames_total"], _spliced_ms(played)
    for name in TERMS:
        for quantile, value in played.stats["latency_ms"].get(name, {}).items():
            row[f"{name}_{quantile}_ms"] = value
    return row


def _spliced_ms(played: Played) -> float:
    return float(played.stats["accelerated_ms_total"] + played.stats["decelerated_ms_total"])


def quantiles(name: str, values_ms: list[float]) -> dict[str, float]:
    return {f"{name}_p{share}_ms": float(np.percentile(values_ms, share)) for share in (5, 50, 95)}


def chirps_heard(played: Played, recording: Recording) -> dict[str, Any]:
    """Each chirp's time in the recording against the ledger's two times."""
    heard = recording.samples().astype(np.float64)
    wanted = band_limited(chirp().astype(np.float32), SOURCE_HZ, RATE_HZ)
    ledger = Ledger(SOURCE_HZ, RATE_HZ, int(played.facts["chain_latency_frames"]))
    ledger.add_blocks(played.ticks)
    ledger.add_calls(played.marks)
    calls = played.marks[played.marks["frames"] > 0]
    after_hand_over, after_leaving = [], []
    for packet in played.packets:
        if int(packet["media_pos"]) % (SOURCE_HZ * EVERY_MS // 1000) or packet["media_pos"] == 0:
            continue
        out = int(packet["sink_pos"]) + int(played.facts["chain_latency_frames"])
        call = calls[np.searchsorted(calls["sink_pos"], out, "right") - 1]
        leaves_ns = ledger.heard_at_ns(int(packet["epoch"]) >> 20, int(packet["media_pos"]))
        if leaves_ns is None or out >= call["sink_pos"] + call["frames"]:
            continue
        # the place: from half a chirp's period before the moment that the ledger names
        origin_ns = recording.time_ns_of(0)
        low = int((int(call["time_ns"]) - origin_ns) * RATE_HZ / 1e9) - RATE_HZ * EVERY_MS // 2000
        window = heard[max(0, low) : low + RATE_HZ * EVERY_MS // 1000]
        if low < 0 or len(window) < 2 * len(wanted):
            continue
        place, alike = find(window, wanted)
        if alike > 0.95:
            recorded_ns = recording.time_ns_of(low + place)
            inside_ns = (out - int(call["sink_pos"])) * 1e9 / RATE_HZ  # the call's first frame is not the chirp's
            after_hand_over.append((recorded_ns - int(call["time_ns"]) - inside_ns) / 1e6)
            after_leaving.append((recorded_ns - leaves_ns) / 1e6)
    return {
        "comparison": "ledger and recording",
        "peer": "chirps",
        "found": len(after_hand_over),
        **(quantiles("recorded_after_hand_over", after_hand_over) if after_hand_over else {}),
        **(quantiles("recorded_after_leaving", after_leaving) if after_leaving else {}),
    }


def captions_heard(played: Played, recording: Recording, seconds: float) -> dict[str, Any]:
    """Release of each caption minus the moment in which its first word stands in the recording."""
    heard, source = recording.samples().astype(np.float64), Source.first(seconds - 1.0)
    segments = compare(heard, source.exact, RATE_HZ)
    skews = []
    for event in played.events:
        if event["kind"] != "Transcript" or not segments:
            continue
        near = min(segments, key=lambda segment: abs(segment.at_ms - event["timestamp_ms"]))
        word = near.offset_frames + event["timestamp_ms"] * RATE_HZ / 1000
        skews.append((event["time_ns"] - recording.time_ns_of(word)) / 1e6)
    return {
        "comparison": "captions and recording",
        "peer": "embedded conversation",
        "found": len(skews),
        "said_ms": played.stats["caption_skew_ms"],
        **(quantiles("released_after_recorded", skews) if skews else {}),
    }


def main() -> None:
    assert __doc__ is not None
    asked = arguments(__doc__)
    seconds, rounds = (2.5, 1) if asked.tiny else (20.0, 2)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="rtmedia-bench-") as name:
        folder = Path(name)
        chirps(folder / "chirps.wav", seconds + 5.0)
        source = f"loopback:?speech={quote(str(folder / 'chirps.wav'))}"
        settings: dict[str, dict[str, Any]] = {"default settings": {}, "no effects": {"effects": []}}
        try:
            sound = SoundServer()
        except SoundServerMissing as exc:
            print(f"{exc}; only the engine's own figures")
            for peer, chosen in settings.items():
                rows.append(own_figures(play(dict(os.environ), folder, seconds=seconds, sink="null", timeout_s=300.0, **chosen), peer))
        else:
            with sound:
                for _ in range(rounds):
                    for peer, chosen in settings.items():
                        with sound.record(folder / "monitor.f32") as recording:
                            played = play(sound.env, folder, seconds=seconds, timeout_s=300.0, **chosen)
                        rows.append(own_figures(played, peer))
                        if chosen:
                            rows.append(captions_heard(played, recording, seconds))
                    with sound.record(folder / "monitor.f32") as recording:
                        played = play(sound.env, folder, seconds=seconds, timeout_s=300.0, source=source, effects=[])
                    rows.append(chirps_heard(played, recording))
    question = __doc__.strip().splitlines()[0]
    facts = machine_facts()
    print(question)
    print(", ".join(f"{name} {value}" for name, value in facts.items() if value is not None))
    for row in rows:
        print(f"\n{row['comparison']}: {row['peer']}")
        for key, value in row.items():
            if key not in ("comparison", "peer"):
                print(f"  {key:40}{value:>10.2f}" if isinstance(value, float) else f"  {key:40}{value!s:>10}")
    if asked.json:
        result = {"question": question, "machine": facts, "tiny": asked.tiny, "seconds": seconds, "rows": rows}
        asked.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
