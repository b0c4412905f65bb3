"""A simulation without sound decides as one with it, whatever its channels do."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

import rtmedia.data
from rtmedia import Config, simulate
from rtmedia.sim.speech import read_speech


def test_opposite_channels_are_spliced_without_sound_as_with_it(tmp_path):
    """A mean of the channels would be silence, and silence is spliced anywhere."""
    sound = read_speech(Path(rtmedia.data.__file__).parent / "conversation.wav").at(16_000).block[: 20 * 16_000, 0]
    with wave.open(str(tmp_path / "opposite.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((np.column_stack([sound, -sound]) * 32_000).astype("<i2").tobytes())
    rows = [(n, 20 * n, 20 * n + 40 if n % 250 < 230 else 20 * (n - n % 250 + 250) + 40) for n in range(1_000)]
    (tmp_path / "t.csv").write_text("".join(f"{seq},{send},{arrival}\n" for seq, send, arrival in rows))
    config = Config(channels=2, effects=())
    heard, silent = (
        simulate(config, tmp_path / "t.csv", tmp_path / "opposite.wav", audio=audio, oracles=False).report for audio in (True, False)
    )
    assert heard["accelerated_pct"] > 0.5
    assert silent["accelerated_pct"] == pytest.approx(heard["accelerated_pct"], rel=0.1)
    assert silent["mean_delay_ms"] == pytest.approx(heard["mean_delay_ms"], rel=0.05)
