"""Where a recording speaks: levels and lengths that are known."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.sim.activity import HANGOVER_MARKS, speech_marks
from rtmedia.sim.script import conversation


def recording(pattern, rate_hz=16_000, level=0.2, noise=0.0):
    """A buzz where `pattern` (seconds, alternating loud and quiet) says so, over a little noise."""
    rng = np.random.default_rng(1)
    pieces = []
    for i, seconds in enumerate(pattern):
        t = np.arange(round(seconds * rate_hz)) / rate_hz
        pieces.append((i % 2 == 0) * level * np.sign(np.sin(2 * np.pi * 150 * t)) + noise * rng.standard_normal(t.size))
    return np.concatenate(pieces).astype(np.float32)[:, None]


@pytest.mark.parametrize("level", [0.002, 0.02, 0.5])
@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100])
def test_speech_is_where_the_sound_is_at_any_level_and_rate(level, rate_hz):
    marks = speech_marks(recording([1.0, 0.5, 0.3, 0.7], rate_hz, level, noise=level / 100), rate_hz)
    assert len(marks) == 250
    wanted = np.zeros(250, bool)
    wanted[:100] = wanted[150:180] = True
    wanted[100 : 100 + HANGOVER_MARKS] = wanted[180 : 180 + HANGOVER_MARKS] = True
    assert (marks != wanted).sum() <= 2  # a mark may lie across a border


def test_a_steady_sound_is_all_speech_and_silence_none():
    assert speech_marks(recording([2.0]), 16_000).all()
    assert not speech_marks(np.zeros((16_000, 2), np.float32), 16_000).any()
    assert len(speech_marks(np.zeros((0, 1), np.float32), 16_000)) == 0


def test_stereo_counts_both_channels():
    left = recording([0.5, 0.5])
    block = np.concatenate([left, left[::-1]], axis=1)
    marks = speech_marks(block, 16_000)
    assert marks[5:45].all()
    assert marks[60:].all()


def test_the_embedded_conversation_speaks_where_its_script_says():
    speech, script = conversation()
    marks = speech_marks(speech.block, speech.rate_hz)
    assert 0.4 < marks.mean() < 0.95
    for utterance in script.utterances:
        start = int(utterance.start_ms // 10)
        assert marks[start : start + 30].any()
