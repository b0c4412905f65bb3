"""How good does it sound? PLCMOS of what is played on every arrival trace, and PESQ where packets are only lost.

Speech is played through `rtmedia.simulate` with effects off. The peers get the same arrivals and the same playout
decisions, splices included: our output is taken, each made-up stretch and the cross-fade after it are taken out again,
and filled by silence, by repetition of the last packet, or by the method of G.711 Appendix I. *clean* is the speech
itself. So the difference between the peers is the concealment, and that between *clean* and *ours* is everything.

PESQ compares with the speech itself at the same time, which stretching does not keep: for the traces of pure loss the
losses are also laid straight into the speech, without the jitter buffer, and judged by both.

Speech is a minute of telephone prompts (see `_speech.py`), in tiny mode the embedded conversation.
"""

from __future__ import annotations

import tempfile
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _bench import parser_for, report
from _peers import PEERS, Fill, Sound
from _scores import pesq, plcmos
from _speech import VOICES, prompts
from conceal import concealment

from rtmedia.config import Config
from rtmedia.jitter.state import OP_NAMES
from rtmedia.sim.script import conversation
from rtmedia.sim.trace import read_bundle
from rtmedia.simulation import SimulationReport, simulate

BUNDLE = Path(__file__).resolve().parents[1] / "tests" / "data" / "traces" / "traces.npz"
RATE_HZ = 16_000
BLOCK = RATE_HZ // 100
LOSS_ONLY = ("ge_loss3", "ge_loss10")
SOUNDING = [OP_NAMES.index(name) for name in ("normal", "accelerate", "decelerate", "drain", "hold", "advance", "pause")]


class Played:
    """One simulation, and where in it what was made up.

    Attributes
    ----------
    ours : float32 array
        What was played, from the first frame of the speech on.
    clean : float32 array
        The same length of the speech itself.
    gaps : list of (int, int)
        Begin and length of every stretch that was made up.
    """

    def __init__(self, speech: Sound, trace: str) -> None:
        speech = (np.clip(np.rint(speech * 32768.0), -32768, 32767) / 32768.0).astype(np.float32)  # as it is sent
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            with wave.open(str(path), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE_HZ)
                file.writeframes((speech * 32768.0).astype("<i2").tobytes())
            # The ceiling at full scale: the limiter shall change nothing.
            config = Config(effects=(), rate_hz=RATE_HZ, device_rate_hz=RATE_HZ, ceiling_db=0.0)
            found = simulate(config, f"{BUNDLE}:{trace}", path)
        self.report = found.report
        lap = -(-len(speech) // (2 * BLOCK)) * 2 * BLOCK  # the speech repeats, in whole packets
        self._lap = np.pad(speech, (0, lap - len(speech)))
        ticks = found.ticks[np.isin(found.ticks["op"], SOUNDING)]
        late = self._latency(found, ticks)
        begin = int(ticks["sink_pos"][0]) + late
        self.ours = found.audio[begin : int(ticks["sink_pos"][-1]) + late + BLOCK, 0].copy()
        self.clean = self.speech(0, len(self.ours))
        places = ticks["sink_pos"] + late - begin
        self.gaps = _gaps(places, ticks["concealed"])
        self._media = dict(zip(places.tolist(), ticks["media_pos"].tolist(), strict=True))

    def speech(self, at: int, frames: int) -> Sound:
        """The speech from media position `at` on."""
        return np.asarray(np.take(self._lap, np.arange(at, at + frames), mode="wrap"), np.float32)

    def _latency(self, found: SimulationReport, ticks: npt.NDArray[Any]) -> int:
        """Frames by which the line is late behind the jitter buffer: where most blocks are the speech, to the bit."""
        normal = ticks[(ticks["op"] == OP_NAMES.index("normal")) & (ticks["mean_square"] > 1e-5)][:40]

        def exact(late: int) -> int:
            return sum(
                bool((found.audio[t["sink_pos"] + late :][:BLOCK, 0] == self.speech(int(t["media_pos"]), BLOCK)).all()) for t in normal
            )

        late = max(range(4 * BLOCK), key=exact)
        if exact(late) < len(normal) // 2:
            raise AssertionError("the output does not hold the speech that was sent: is an effect on?")
        return late

    def filled(self, fill: Fill) -> Sound:
        """What would have been played if `fill` had made up what was missing."""
        sound = self.ours.copy()
        for at, length in self.gaps:
            end = at + length
            # Behind the gap our cross-fade is taken out: the next block begins at a known place in the speech.
            following = -(-end // BLOCK) * BLOCK
            media = self._media.get(following)
            if media is not None and following + BLOCK <= len(sound):
                sound[end : following + BLOCK] = self.speech(media - (following - end), following + BLOCK - end)
            if at >= RATE_HZ // 20:
                fill(sound, at, min(length, len(sound) - at), RATE_HZ)
        return sound


def _gaps(places: npt.NDArray[np.int64], concealed: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Begin and length of every run of blocks with something made up; its first block ends with it, its last begins with it."""
    gaps: list[tuple[int, int]] = []
    run = 0
    for i in range(len(places) + 1):
        if i < len(places) and concealed[i] > 0:
            run += 1
            continue
        if run:
            first, last = i - run, i - 1
            begin = int(places[first] + BLOCK - concealed[first])
            end = int(places[last] + concealed[last]) if run > 1 else int(places[first] + BLOCK)
            gaps.append((begin, end - begin))
        run = 0
    return gaps


def row(speech: Sound, trace: str, judged: bool) -> dict[str, object]:
    """What one trace did to the speech."""
    played = Played(speech, trace)
    sounds = {"clean": played.clean, "ours": played.ours, **{name: played.filled(fill) for name, fill in PEERS.items()}}
    stretched = played.report["accelerated_pct"] + played.report["decelerated_pct"]
    found: dict[str, object] = {
        "trace": trace,
        "concealed_pct": round(played.report["concealed_pct"], 2),
        "stretched_pct": round(stretched, 2),
    }
    return found | {name: round(plcmos(sound), 2) if judged else None for name, sound in sounds.items()}


def bare_row(speech: Sound, trace: str, judged: bool) -> dict[str, object]:
    """The trace's losses laid straight into the speech: concealment alone, no frame moves, so PESQ can judge it too."""
    lost = np.isnan(read_bundle(BUNDLE)[trace].arrival_ms)
    packet = 2 * BLOCK
    clean = np.resize(speech, len(lost) * packet).astype(np.float32)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], lost, [False]]).astype(np.int8)))
    found: dict[str, object] = {"trace": trace, "lost_pct": round(100.0 * float(lost.mean()), 2)}
    for name, fill in {"ours": concealment(RATE_HZ), **PEERS}.items():
        sound = clean.copy()
        for first, end in edges.reshape(-1, 2) * packet:
            if first >= RATE_HZ // 10 and end < len(sound) - RATE_HZ // 10:
                fill(sound, int(first), int(end - first), RATE_HZ)
        found[f"{name}: PLCMOS"] = round(plcmos(sound), 2) if judged else None
        found[f"{name}: PESQ"] = round(pesq(clean, sound), 2) if judged else None
    return found


def main() -> None:
    parser = parser_for(__doc__ or "")
    parser.add_argument("--voice", default="en", choices=VOICES, help="whose prompts")
    parser.add_argument("--half", type=int, default=1, choices=(0, 1), help="0: the half that concealment was tuned on")
    parser.add_argument("--traces", nargs="*", metavar="NAME", help="some of the bundle; all when left out")
    asked = parser.parse_args()
    names = ["ge_loss10"] if asked.tiny else asked.traces or sorted(read_bundle(BUNDLE))
    speech = conversation()[0].at(RATE_HZ, 1).block[:, 0] if asked.tiny else prompts(asked.voice, 60.0, asked.half)
    rows = [row(speech, name, not asked.tiny) for name in names]
    if len(rows) > 1:
        means = {key: round(float(np.mean([one[key] for one in rows])), 3) for key in rows[0] if key != "trace"}  # type: ignore[arg-type]
        rows.append({"trace": "mean", **means})
    facts = {"PLCMOS v2": rows}
    lossy = [name for name in LOSS_ONLY if name in names]
    if lossy:
        facts["losses alone, without the jitter buffer"] = [bare_row(speech, name, not asked.tiny) for name in lossy]
    report(__doc__ or "", [], asked, facts, voice=asked.voice, half=asked.half)


if __name__ == "__main__":
    main()
