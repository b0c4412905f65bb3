"""Effects switched and adjusted in a running line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.gain import Gain
from rtmedia.dsp.gate import SpectralGate
from rtmedia.errors import ConfigError
from rtmedia.presets import preset
from tests.rooms.line_driver import Bench
from tests.rooms.test_line import steps, voice

VOICE = preset("voice")


#: What the device asks for, and what is switched off from then on: at rest for long, and turned back in the middle of a fade.
TURNS = ((100, True), (1, False), (1, True), (3, False), (95, True), (150, False))


def switched(effects, name, samples, **settings):
    """The line's output with the effect on, off, and switched by `TURNS`."""
    benches = [Bench(effects=effects, bypass=bypass, **settings).load(samples) for bypass in ((), (name,), ())]
    wet, dry = benches[0].run(500), benches[1].run(500)
    got = [benches[2].run(150)]
    for calls, off in TURNS:
        benches[2].line.update(bypass=(name,) if off else ())
        got.append(benches[2].run(calls))
    assert len({bench.line.chain_latency_frames for bench in benches}) == 1
    return wet, dry, np.concatenate(got)


@pytest.mark.parametrize("device_rate_hz", [16_000, 48_000])
@pytest.mark.parametrize("name", [effect.name for effect in VOICE])
def test_a_switch_while_playing_makes_no_step_of_its_own(name, device_rate_hz):
    wet, dry, y = switched(VOICE, name, voice(6), device_rate_hz=device_rate_hz)
    assert steps(y) <= 1.001 * max(steps(wet), steps(dry))
    assert not np.array_equal(y, wet)


@pytest.mark.parametrize("effect", VOICE, ids=lambda effect: effect.name)
def test_off_is_the_dry_sound_in_its_place_and_on_again_is_as_if_it_had_never_been_off(effect):
    wet, dry, y = switched((effect,), effect.name, voice(6))
    off, on = slice(155 * 160, 250 * 160), slice(360 * 160, None)
    assert np.array_equal(y[off], dry[off])
    assert np.array_equal(y[on], wet[on])
    assert not np.array_equal(wet[off], dry[off])


def test_all_off_is_the_input_delayed_to_the_bit():
    samples = voice(4)
    plain, off = Bench(min_ms=20.0).load(samples), Bench(effects=VOICE, bypass=[effect.name for effect in VOICE], min_ms=20.0).load(samples)
    late = off.line.chain_latency_frames - plain.line.chain_latency_frames
    a, b = plain.run(300), off.run(300)
    assert late > 0
    assert np.array_equal(b[8_000 + late :], a[8_000 : len(a) - late])


def test_names_are_those_of_the_chain_and_stats_say_which_are_off():
    from rtmedia.rooms.control import Control

    bench = Bench(effects=VOICE, bypass=("gate",))
    control = Control(bench.line)
    assert control.snapshot()["bypassed"] == ("spectral_gate",)
    bench.line.update(bypass=("compressor",))
    assert control.snapshot()["bypassed"] == ("compressor",)
    assert list(control.snapshot()["chain_ms"])[:1] == ["spectral_gate"]
    with pytest.raises(ConfigError, match="bypass holds 'reverb'"):
        bench.line.update(bypass=("reverb",), gain_db=-60.0)
    assert bench.line.bypass == ("compressor",)


def test_two_effects_of_one_name_are_switched_together():
    bench = Bench(effects=(Gain(-20.0), Gain(-20.0)), bypass=("gain",)).load(voice(4))
    bench.run(150)
    assert np.abs(bench.run(20)).max() > 0.2
    bench.line.update(bypass=())
    bench.run(10)
    assert np.abs(bench.run(20)).max() < 0.01


def test_settings_are_given_effect_by_effect():
    bench = Bench(effects=(Gain(0.0), Compressor())).load(voice(4))
    bench.run(100)
    bench.line.update(settings={"gain": {"gain_db": -30.0}, "compressor": {"ratio": 1.0}})
    bench.run(60)
    assert np.abs(bench.run(20)).max() < 0.03
    assert bench.line.descriptions == (Gain(-30.0), Compressor(ratio=1.0))


def test_new_settings_of_a_whole_chain_make_no_step_of_their_own():
    loud = {"compressor": {"threshold_db": -50.0, "ratio": 20.0}, "spectral_gate": {"depth_db": 6.0}}
    before = {"compressor": {"threshold_db": -24.0, "ratio": 12.0}, "spectral_gate": {"depth_db": 26.0}}
    samples = voice(6)
    plain, other, bench = (Bench(effects=VOICE).load(samples) for _ in range(3))
    other.line.update(settings=loud)
    own = max(steps(plain.run(500)), steps(other.run(500)))
    got = [bench.run(200)]
    for settings in (loud, before, loud, before):
        bench.line.update(settings=settings)
        got.append(bench.run(30))
    assert steps(np.concatenate(got)) <= 1.01 * own


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"reverb": {"size": 1}}, "settings holds 'reverb'"),
        ({"gate": {"depth": 1}}, "no setting depth; its settings are depth_db"),
        ({"gate": {"depth_db": 99}}, "depth_db is 99"),
        ({"gate": 12}, "settings of 'spectral_gate' are 12"),
        ({"gate": {1: 2}}, "no setting 1"),
        ({"gate": {"latency": "6ms"}}, "latency of effect 'spectral_gate' is '6ms', but it was made with '10ms'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_and_nothing_is_changed(settings, said):
    bench = Bench(effects=(SpectralGate(), Gain(0.0)))
    with pytest.raises(ConfigError, match=said):
        bench.line.update(settings={"gain": {"gain_db": -60.0}} | settings, gain_db=-60.0, bypass=("gain",))
    assert bench.line.descriptions == (SpectralGate(), Gain(0.0))
    assert bench.line.bypass == ()
    assert bench.line.effects[1].settings.state["wish"][0, 0] == 0.0
    assert bench.line.gain.state["wish"][0, 0] == 0.0


def test_a_setting_that_is_fixed_when_an_effect_is_made_is_refused_among_effects_too():
    bench = Bench(effects=(Compressor(),))
    with pytest.raises(ConfigError, match="lookahead"):
        bench.line.update(effects=(Compressor(lookahead=False),))


def test_a_chain_that_is_given_by_name_must_be_the_one_that_runs():
    bench = Bench(effects=VOICE)
    bench.line.update(effects="voice")
    with pytest.raises(ConfigError, match="update was given effects"):
        bench.line.update(effects="transparent")


def test_an_effect_of_somebody_else_needs_no_fields():
    class Mine:
        """Wraps a gain; is no dataclass and has no settings by name."""

        name = "mine"

        def values(self):
            return (0.0,)

        def make(self, format, max_frames):
            return Gain(-40.0).make(format, max_frames)

    bench = Bench(effects=(Mine(),)).load(voice(3))
    bench.run(100)
    assert np.abs(bench.run(20)).max() < 0.01
    bench.line.update(bypass=("mine",))
    bench.run(10)
    assert np.abs(bench.run(20)).max() > 0.1
    with pytest.raises(ConfigError, match="its settings are none"):
        bench.line.update(settings={"mine": {"gain_db": 1.0}})


def test_valid_only_together_is_valid_together():
    @dataclass(frozen=True)
    class Both(Gain):
        low_db: float = -1.0

        def __post_init__(self):
            super().__post_init__()
            if self.low_db > self.gain_db:
                raise ConfigError("low_db above gain_db")

        def values(self):
            return (self.gain_db, self.low_db)

    bench = Bench(effects=(Both(),))
    bench.line.update(settings={"gain": {"gain_db": 6.0, "low_db": 3.0}})
    assert bench.line.descriptions[0].gain_db == 6.0
