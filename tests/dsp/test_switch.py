"""Switching effects off and on: no click, no jump in time, no forgetting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.gain import Gain
from rtmedia.dsp.gate import SpectralGate
from rtmedia.dsp.limiter import Limiter
from rtmedia.dsp.normalizer import LoudnessNormalizer
from rtmedia.dsp.state import header_dtype, make_state
from rtmedia.dsp.switch import FADE_MS, Switch
from rtmedia.errors import ConfigError
from rtmedia.ports import RATES_HZ, Format
from rtmedia.rt.kernel import EFFECT_SIGNATURE, callback, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_block, view_f4
from rtmedia.rt.plugin import WISH_FIELDS, Instance
from tests.dsp.test_effect_properties import sound

ECHO_HEADER = header_dtype([*WISH_FIELDS, ("frames", "i8"), ("place", "i8")], ("ring",))


@callback(EFFECT_SIGNATURE)
def turn_over(block_address, frames, channels, state_address):
    head = carray(pointer_void(state_address), 1, ECHO_HEADER)[0]
    block = view_block(block_address, frames, channels)
    ring = view_f4(state_address + head.at_ring, head.frames * channels)
    for i in range(frames):
        for c in range(channels):
            at = head.place * channels + c
            block[i, c], ring[at] = -ring[at], block[i, c]
        head.place = (head.place + 1) % head.frames


@dataclass(frozen=True)
class TurnOver:
    """Somebody else's effect: upside down, and 37 frames late."""

    frames: int = 37
    name: str = "turn_over"

    def values(self):
        return ()

    def make(self, format, max_frames):
        state = make_state(ECHO_HEADER, {"ring": np.zeros((self.frames, format.channels), np.float32)})
        state["frames"] = self.frames
        return Instance(turn_over, state, format, max_frames, latency_frames=self.frames)


EFFECTS = {
    "gain": Gain(-12.0),
    "gate": SpectralGate(),
    "gate, 6 ms": SpectralGate(latency="6ms", any_block=False),
    "compressor": Compressor(warm_start=True),
    "compressor, no look-ahead": Compressor(lookahead=False, warm_start=True),
    "normalizer": LoudnessNormalizer(),
    "limiter": Limiter(-20.0),
    "somebody else's": TurnOver(),
}
every_effect = pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS.keys())
every_rate = pytest.mark.parametrize("rate_hz", RATES_HZ)

#: Milliseconds at which the switch is turned: at rest for long, back in the middle of a fade, every block.
TURNS_MS = [300, 500, 510, 700, 705, 740, 750, 760, 770, 780, 790, 800, 1000, 1010]


def tone(rate_hz, frequency_hz, seconds=1.4):
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * t)).astype(np.float32)[:, None]


def speech(rate_hz, seconds=1.4):
    """Syllables: harmonics of a gliding voice and hiss, with pauses."""
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 1.3 * t)) / rate_hz
    voiced = sum(np.sin(k * phase) / k for k in range(1, 20) if k * 160 < rate_hz / 2)
    hiss = np.random.default_rng(3).standard_normal(len(t))
    syllables = np.maximum(0, np.sin(2 * np.pi * 3.1 * t)) ** 2
    return (syllables * (0.25 * voiced + 0.02 * hiss) + 0.002 * hiss).astype(np.float32)[:, None]


SOUNDS = {"200 Hz": lambda rate: tone(rate, 200.0), "1 kHz": lambda rate: tone(rate, 1000.0), "speech": speech}
every_sound = pytest.mark.parametrize("make_sound", SOUNDS.values(), ids=SOUNDS.keys())


def run(made, x, turns_ms=(), block_ms=10):
    """`x` in blocks, the switch turned before the blocks that begin at `turns_ms`; and whether it was on, frame by frame."""
    rate_hz = made.format.rate_hz
    y, on = x.copy(), bool(made.state["wish"][0, 0])
    size = rate_hz * block_ms // 1000
    for start in range(0, len(y), size):
        if any(start <= turn * rate_hz // 1000 < start + size for turn in turns_ms):
            on = not on
            made.update((float(on),))
        made.process(y[start : start + size])
    return y


def steps(y):
    return np.abs(np.diff(y, axis=0))


@every_rate
@every_effect
@every_sound
@pytest.mark.parametrize("on", [True, False], ids=["from on", "from off"])
def test_no_step_at_a_switch_is_larger_than_the_sounds_own(rate_hz, effect, make_sound, on):
    x, format = make_sound(rate_hz), Format(rate_hz)
    wet = run(Switch(effect).make(format, rate_hz // 100), x)
    dry = run(Switch(effect, on=False).make(format, rate_hz // 100), x)
    y = run(Switch(effect, on=on).make(format, rate_hz // 100), x, TURNS_MS)
    assert np.array_equal(wet, run_plain(effect, x, format))
    own = np.maximum(steps(wet), steps(dry))
    assert steps(y).max() <= own.max() * 1.0001
    # At each frame: no more than the larger of the two, and what the fade, at its steepest, adds of their difference.
    apart = np.abs(wet - dry)
    slope = 1.5 / (FADE_MS / 1000 * rate_hz)
    assert (steps(y) <= own + np.maximum(apart[1:], apart[:-1]) * slope + 1e-6).all()


def run_plain(effect, x, format):
    made = effect.make(format, format.rate_hz // 100)
    y = x.copy()
    for start in range(0, len(y), made.max_frames):
        made.process(y[start : start + made.max_frames])
    return y


@every_effect
@pytest.mark.parametrize("channels", [1, 2])
def test_at_rest_it_is_the_effect_or_the_delayed_input_to_the_bit(effect, channels):
    format = Format(16_000, channels)
    x = sound(format, 800)
    on = Switch(effect).make(format, 160)
    off = Switch(effect, on=False).make(format, 160)
    late = on.latency_frames
    assert late == off.latency_frames == effect.make(format, 160).latency_frames
    assert np.array_equal(run(on, x), run_plain(effect, x, format))
    assert np.array_equal(run(off, x)[late:], x[: len(x) - late])


@every_effect
def test_the_effect_goes_on_working_while_it_is_off(effect):
    """After any number of switches it is where it would have been."""
    format = Format(16_000)
    x = speech(16_000)
    y = run(Switch(effect).make(format, 160), x, [200, 600])
    settled = (600 + int(FADE_MS)) * 16
    assert np.array_equal(y[settled:], run_plain(effect, x, format)[settled:])


def test_a_fade_is_dry_and_wet_in_shares_that_add_up_to_one():
    """Against the obvious: the same two signals, mixed by hand."""
    format, size = Format(48_000), 480
    x = speech(48_000)
    made = Switch(TurnOver()).make(format, size)
    y = run(made, x, [500, 900])
    late = made.latency_frames
    dry = np.concatenate([np.zeros((late, 1), np.float32), x[:-late]])
    t = np.zeros(len(x))
    fade = int(FADE_MS * 48)
    on_at, off_at = 900 * 48, 500 * 48
    t[:off_at] = 1.0
    t[off_at : off_at + fade] = 1 - np.arange(1, fade + 1) / fade
    t[on_at : on_at + fade] = np.arange(1, fade + 1) / fade
    t[on_at + fade :] = 1.0
    share = (t * t * (3 - 2 * t))[:, None]
    assert np.allclose(y, dry * (1 - share) - dry * share, atol=1e-6)


def test_turned_back_on_the_way_it_goes_back_from_where_it_is():
    made = Switch(Gain(-60.0)).make(Format(16_000), 1600)
    made.process(np.ones((160, 1), np.float32))
    found = []
    for wish in (0.0, 1.0, 0.0):
        made.update((wish,))
        block = np.ones((100, 1), np.float32)
        made.process(block)
        found.append(block[:, 0])
    y = np.concatenate(found)
    assert np.abs(np.diff(y)).max() < 1.6 / 320
    assert y[99] > 0.2
    assert y[-1] > y[199]


def test_an_effect_that_is_off_passes_on_nothing_that_is_no_number():
    made = Switch(Gain(0.0), on=False).make(Format(8_000), 80)
    x = np.full((80, 1), 0.25, np.float32)
    x[10], x[20] = np.nan, -np.inf
    made.process(x)
    assert not x[[10, 20]].any()
    assert (np.delete(x, [10, 20]) == 0.25).all()


def test_settings_reach_the_effect_inside():
    made = Switch(Gain(0.0)).make(Format(16_000), 320)
    made.settings.update((-20.0,))
    x = np.ones((320, 1), np.float32)
    made.process(x)
    assert x[-1] == pytest.approx(0.1)
    made.reset()
    x[:] = 1
    made.process(x)
    assert (x == 1).all()
    with pytest.raises(ConfigError, match="changes no sound"):
        made.settings.process(x)


class Steep(Gain):
    """Takes new settings over at once, and says so."""

    fade_settings = True

    def make(self, format, max_frames):
        made = super().make(format, max_frames)
        made.state["ramp_frames"] = 1
        return Instance(made._function, made.state, format, max_frames)


#: Effect, other settings of it, and the most by which a step may be larger than the sound's own: what is itself a ramp adds its slope.
ADJUSTED = {
    "gain": (Gain(-12.0), (0.0,), 1.01),
    "gate": (SpectralGate(), (6.0,), 1.01),
    "gate, off": (SpectralGate(), (0.0,), 1.05),  # its own cross-fade of 10 ms, a straight line
    "normalizer": (LoudnessNormalizer(), (-16.0, 20.0, 20.0, 3.0, 6.0), 1.01),
    # Back at the old settings it is not at once where it would have been: a syllable may be turned down less than without the change.
    "compressor": (Compressor(warm_start=True), (-50.0, 10.0, 12.0, 0.003, 0.25), 1.05),
    "compressor, no look-ahead": (Compressor(lookahead=False, warm_start=True), (-50.0, 0.0, 20.0, 0.0, 0.0), 1.01),
    "limiter": (Limiter(-1.0), (-20.0, 10.0), 1.01),
    "somebody else's": (Steep(0.0), (-30.0,), 1.0001),
}


@every_rate
@every_sound
@pytest.mark.parametrize(("effect", "values", "most"), ADJUSTED.values(), ids=ADJUSTED.keys())
def test_new_settings_make_no_step_that_is_larger_than_the_sounds_own(rate_hz, make_sound, effect, values, most):
    x, format, size = make_sound(rate_hz), Format(rate_hz), rate_hz // 100
    outputs = []
    for changes in ({}, {0: values}, {500: values, 760: effect.values(), 770: values, 1_000: effect.values()}):
        made = Switch(effect).make(format, size)
        y = x.copy()
        for block in range(len(x) // size):
            if block * 10 in changes:
                made.settings.update(changes[block * 10])
            made.process(y[block * size : (block + 1) * size])
        outputs.append(y[: len(x) // size * size])
    before, after, changed = outputs
    assert steps(changed).max() <= most * max(steps(before).max(), steps(after).max())
    assert np.array_equal(changed[: 500 * rate_hz // 1000], before[: 500 * rate_hz // 1000])
    assert not np.array_equal(changed, before)


def test_changes_that_come_in_the_middle_of_one_wait_and_the_newest_wins():
    made = Switch(Steep(0.0)).make(Format(16_000), 160)
    y = []
    for block in range(40):
        if block in (5, 6, 7):
            made.settings.update(({5: -20.0, 6: 10.0, 7: -6.0}[block],))
        x = np.ones((160, 1), np.float32)
        made.process(x)
        y.append(x[:, 0])
    y = np.concatenate(y)
    assert np.abs(np.diff(y)).max() < 0.9 * 1.6 / 320
    assert y[9 * 160 - 1] == pytest.approx(0.1)
    assert y.max() == 1.0  # nobody heard the second
    assert y[-1] == pytest.approx(10 ** (-6 / 20))


def test_an_effect_without_a_c_function_is_refused():
    class Python:
        address, state_address, latency_frames = 0, 0, 0

    @dataclass(frozen=True)
    class Description:
        name: str = "python"

        def values(self):
            return ()

        def make(self, format, max_frames):
            return Python()

    with pytest.raises(ConfigError, match="no C function"):
        Switch(Description()).make(Format(16_000), 160)


def test_an_update_of_some_settings_leaves_the_others_as_they_are():
    plain = Compressor(warm_start=True).make(Format(16_000), 160)
    switched = Switch(Compressor(warm_start=True)).make(Format(16_000), 160)
    for values in ((-30.0,), ()):
        plain.update(values)
        switched.settings.update(values)
        for made in (plain, switched):
            made.process(np.zeros((160, 1), np.float32))
        assert np.array_equal(switched.inner.state["taken"], plain.state["taken"])
