"""Every kernel that a running engine reaches is there before its first thread: nothing is compiled or loaded later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import rtmedia

PROGRAM = """
import sys, threading, time
sys.path.insert(0, {root!r})
from numba.core import dispatcher
from rtmedia.rt import compile, machine

late, started = [], False

def watched(owner, name):
    made = getattr(owner, name)
    def watch(*arguments, **keywords):
        thread = threading.current_thread()
        if started or thread is not threading.main_thread():
            late.append(f"{{name}} on {{thread.name}}")
        return made(*arguments, **keywords)
    setattr(owner, name, watch)

watched(compile, "compile_object")
watched(machine, "link")
watched(dispatcher.Dispatcher, "compile")

from rtmedia import Config, Engine
from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.gain import Gain
from rtmedia.dsp.gate import SpectralGate

source = "loopback:?loop=1&loss=0.05&jitter_ms=20"
effects = (SpectralGate(), Compressor(), Gain(0.0))
with Engine(Config(source=source, sink="null", metrics_interval_s=0.2, effects=effects)) as engine:
    started = True
    while engine.stats().frames_played_total < 24_000:
        time.sleep(0.02)
    engine.pause()
    engine.resume()
    engine.update(gain_db=-6.0)
    played = engine.stats().frames_played_total
    while engine.stats().frames_played_total < played + 8_000:
        time.sleep(0.02)
print(late)
"""


@pytest.mark.live
def test_no_kernel_is_compiled_or_loaded_once_an_engine_runs(scaled):
    root = Path(rtmedia.__file__).parent.parent
    program = PROGRAM.format(root=str(root))
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=scaled(300.0))
    assert found.stdout.strip() == "[]"
