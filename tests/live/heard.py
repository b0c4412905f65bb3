"""Joins a recording with what the engine says it played: where each packet lies, and where speech is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.resample import make_resampler, resample
from rtmedia.jitter.state import OP_NAMES
from rtmedia.sim.script import conversation
from tests.live.alignment import Sound, band_limited, find
from tests.live.player import Played
from tests.sound_server import RATE_HZ

#: Source blocks with less are a pause or the closure of a stop consonant: their own silence is no gap.
SPEECH_RMS = 10 ** (-50 / 20)
_MIDDLE_MS = 10  # of a packet of 20 ms: clear of the cross-fades at its ends
_ENDED = OP_NAMES.index("ended")


@dataclass(frozen=True)
class Source:
    """The embedded conversation: as sent, as it would be at 48 kHz exactly, and as the engine's own resampler makes it."""

    sent: npt.NDArray[np.float32]
    sent_hz: int
    exact: Sound
    resampled: Sound

    @classmethod
    def first(cls, seconds: float) -> Source:
        speech, _ = conversation()
        sent = np.ascontiguousarray(speech.block[: int(seconds * speech.rate_hz), 0])
        return cls(sent, speech.rate_hz, band_limited(sent, speech.rate_hz, RATE_HZ), _resampled(sent, speech.rate_hz))

    def speaks(self) -> npt.NDArray[np.bool_]:
        """For each 10 ms: whether it, the one before and the two behind it all hold sound, without a hole of 1 ms."""
        block = self.sent_hz // 100
        blocks = self.sent[: len(self.sent) // block * block].reshape(-1, 10, block // 10)
        sounding = np.all(np.sqrt(np.mean(blocks.astype(np.float64) ** 2, axis=2)) > 0.1 * SPEECH_RMS, axis=1)
        sounding &= np.sqrt(np.mean(blocks.astype(np.float64) ** 2, axis=(1, 2))) > SPEECH_RMS
        padded = np.concatenate([[False], sounding, [False, False]])
        return np.asarray(padded[:-3] & sounding & padded[2:-1] & padded[3:])


def _resampled(sent: npt.NDArray[np.float32], from_hz: int) -> Sound:
    block = from_hz // 100
    made = make_resampler(from_hz, RATE_HZ, 1, block)
    out = np.zeros((made.max_out_frames, 1), np.float32)
    parts = []
    for at in range(0, len(sent) - block + 1, block):
        part = sent[at : at + block].copy()
        frames = resample(made.state_address, part.ctypes.data, block, out.ctypes.data)
        parts.append(out[:frames, 0].astype(np.float64))
    return np.concatenate(parts)


@dataclass(frozen=True)
class Found:
    """Where packets were found in a recording.

    Attributes
    ----------
    base
        Frame of the recording in which the audio ring's frame 0 was heard, without the chain's latency.
    deviation_frames, likeness
        For each packet that holds speech: its place against what the ledger says, and its correlation with the source.
    """

    base: int
    deviation_frames: npt.NDArray[np.int64]
    likeness: Sound


def find_packets(played: Played, recording: Sound, source: Source) -> Found:
    """Look for the middle of every packet that the ledger holds near the place that the ledger names."""
    ratio, frames = RATE_HZ // source.sent_hz, RATE_HZ * _MIDDLE_MS // 1000
    chain, near = int(played.facts["chain_latency_frames"]), RATE_HZ // 200

    def holding(length: int) -> list[tuple[int, Sound]]:
        """Where the ledger has the middle of a packet, and what is heard from there on, for packets in speech."""
        found = []
        for packet in played.packets:
            at = int(packet["media_pos"]) * ratio + frames // 2
            part = source.exact[at : at + length]
            if len(part) == length and np.sqrt(np.mean(part[:frames] ** 2)) > 3 * SPEECH_RMS:
                found.append((int(packet["sink_pos"]) + frames // 2 + chain, part))
        return found

    # Nothing is known at first: a fifth of a second is unmistakable, if neither loss nor splice falls into it. The best of
    # some is taken.
    long = holding(RATE_HZ // 5)
    tries = [(find(recording, part), said) for said, part in long[:: max(1, len(long) // 8)]]
    (place, _), said = max(tries, key=lambda one: one[0][1])
    guess = place - said
    places, likeness = [], []
    for said, part in holding(frames):
        low = max(0, guess + said - near)
        window = recording[low : guess + said + near + frames]
        if len(window) >= 2 * frames:
            place, alike = find(window, part)
            places.append(low + place - said)
            likeness.append(alike)
    base = int(np.median(places))
    return Found(base, np.array(places) - base, np.array(likeness))


def longest_gap_ms(played: Played, recording: Sound, source: Source, base: int, *, concealed: bool = True) -> float:
    """The longest stretch of exact silence in the recording while the engine stood inside speech.

    Parameters
    ----------
    concealed
        Whether blocks count that the engine had to make up, because nothing had come.
    """
    speaks = source.speaks()
    inside = np.zeros(len(recording) + 1, bool)
    # The stop cuts off what the device has not played yet.
    last = int(played.marks["sink_pos"][-1]) - RATE_HZ // 4
    for tick in played.ticks[played.ticks["sink_pos"] < last]:
        block = int(tick["media_pos"]) * 100 // source.sent_hz
        if tick["concealed"] > 0 and not concealed:
            continue
        if tick["op"] != _ENDED and tick["media_ms"] == tick["media_ms"] and block < len(speaks) and speaks[block]:
            at = base + int(tick["sink_pos"]) + int(played.facts["chain_latency_frames"])
            inside[at : at + int(tick["frames"])] = True
    assert inside.sum() > RATE_HZ, "less than a second of speech was heard: nothing to judge"
    silent = np.flatnonzero(np.diff(np.concatenate([[0], (inside[:-1] & (recording == 0.0)).astype(int), [0]])))
    return float(np.max(silent[1::2] - silent[::2], initial=0) * 1000 / RATE_HZ)
