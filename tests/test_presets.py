"""Chains by name: what is in them, what they cost in time, and that naming one loads no compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rtmedia import Config
from rtmedia.assembly import make_line
from rtmedia.cli.effects import parse_effects
from rtmedia.config import Jitter
from rtmedia.dsp.gain import Gain
from rtmedia.errors import ConfigError
from rtmedia.ports import RATES_HZ
from rtmedia.presets import KINDS, LIVE, OFFLINE, PRESETS, check_bypass, effects_of, names_of, preset

#: Delay of a whole chain, resampler to a device at 48 kHz and limiter included.
MOST_MS = {"voice": 20.0, "voice-low-latency": 10.0, "transparent": 3.5}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 32_000, 44_100, 48_000])
def test_a_preset_costs_no_more_time_than_it_says(name, rate_hz):
    line = make_line(Config(rate_hz=rate_hz, effects=name), 48_000)
    assert line.chain_latency_frames / 48 <= MOST_MS[name]


@pytest.mark.parametrize("name", PRESETS)
def test_at_8_khz_the_resampler_takes_longer(name):
    assert make_line(Config(rate_hz=8_000, effects=name), 48_000).chain_latency_frames / 48 <= MOST_MS[name] + 1.5


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize(
    "config", [Config(), Config(effects="voice"), Config(jitter=Jitter(drift="resample"))], ids=["default", "voice", "drift"]
)
def test_the_terms_of_the_chain_add_up_to_its_delay(config, rate_hz):
    for device_rate_hz in (16_000, 44_100, 48_000):
        line = make_line(config.with_(rate_hz=rate_hz), device_rate_hz)
        assert list(line.chain_ms)[-2:] == ["resampler", "limiter"]
        assert sum(line.chain_ms.values()) == pytest.approx(line.chain_latency_frames * 1000 / device_rate_hz, abs=600 / device_rate_hz)


def test_two_effects_of_one_name_are_two_terms():
    line = make_line(Config(effects=(Gain(1.0), Gain(2.0), Gain(3.0))), 16_000)
    assert list(line.chain_ms) == ["gain", "gain 2", "gain 3", "resampler", "limiter"]


@pytest.mark.parametrize("name", PRESETS)
def test_the_names_in_the_table_are_the_effects_own(name):
    assert names_of(name) == tuple(effect.name for effect in preset(name))


def test_every_kind_is_called_what_the_table_says():
    from rtmedia.presets import kind_of

    for short, (name, _) in KINDS.items():
        assert kind_of(short)().name == name


def test_the_defaults_are_two_presets():
    assert names_of(None) == names_of(LIVE)
    assert effects_of(None) == preset("voice-low-latency")
    assert effects_of(None, OFFLINE) == preset("voice")
    assert effects_of("transparent") == effects_of(()) == ()


def test_naming_a_preset_loads_no_compiler():
    code = "import sys, rtmedia; rtmedia.Config(effects='voice', bypass=('gate',)); print('numba' in sys.modules)"
    root = Path(__file__).parent.parent
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


@pytest.mark.parametrize("effects", ["loud", "", ("gate",), (3,)])
def test_what_is_neither_a_preset_nor_effects_is_refused(effects):
    with pytest.raises(ConfigError, match="effects"):
        Config(effects=effects)
    with pytest.raises(ConfigError, match="effects"):
        effects_of(effects)


def test_a_bypass_names_effects_of_the_chain():
    assert Config(bypass=["compressor", "gate", "compressor"]).bypass == ("compressor", "spectral_gate")
    assert check_bypass("compressor", ("compressor",)) == ("compressor",)
    with pytest.raises(ConfigError, match="bypass holds 'reverb'; the effects of this chain are: spectral_gate"):
        Config(bypass=("reverb",))
    with pytest.raises(ConfigError, match="chain are: none"):
        Config(effects=(), bypass=("compressor",))
    with pytest.raises(ConfigError, match="bypass holds 'limiter'"):
        Config(bypass=("limiter",))


def test_an_option_names_a_preset_without_loading_it():
    assert parse_effects("voice") == "voice"
    assert parse_effects("default") == LIVE
    assert parse_effects("default", live=False) == OFFLINE
