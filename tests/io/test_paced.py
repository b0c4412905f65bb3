"""Sinks without a sound card, as an engine meets them."""

from __future__ import annotations

import gc
import os
import wave

import pytest

import rtmedia
from rtmedia.io import paced


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_disk_that_is_full_ends_the_engine_with_an_error_that_says_so() -> None:
    engine = rtmedia.Engine(rtmedia.Config(sink="wav:/dev/full", effects=(), metrics_interval_s=0))
    with pytest.raises(rtmedia.SinkError, match="/dev/full cannot be written"), engine:
        for _ in engine.events(timeout_s=30.0):
            pass
    assert engine.state == "failed"
    del engine
    gc.collect()  # a file that nobody closed would complain here


def test_a_device_that_asks_for_60_ms_at_once_is_served_and_hears_the_end(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(paced, "PERIOD_MS", 60)
    speech = tmp_path / "speech.wav"
    with wave.open(str(speech), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\x00\x10" * 16_000)
    engine = rtmedia.Engine(rtmedia.Config(source=f"loopback:?speech={speech}", sink="null", effects=(), metrics_interval_s=0))
    with engine:
        kinds = [type(event).__name__ for event in engine.events(timeout_s=30.0)]
    assert "StreamEnded" in kinds
    assert engine.stats().device_xruns_total == 0
