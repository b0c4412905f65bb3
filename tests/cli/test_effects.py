"""Effects as text."""

from __future__ import annotations

from inspect import signature

import pytest

from rtmedia.cli.demo import demo
from rtmedia.cli.effects import parse_effects
from rtmedia.cli.play import play
from rtmedia.cli.process import process
from rtmedia.cli.simulate import simulate
from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.gate import NoiseProfile, SpectralGate
from rtmedia.errors import ConfigError
from rtmedia.presets import LIVE, OFFLINE, preset


def test_default_is_left_to_the_engine_and_none_is_none():
    assert parse_effects("default") == LIVE
    assert parse_effects("default", live=False) == OFFLINE
    assert parse_effects("transparent") == "transparent"
    assert parse_effects("none") == ()


@pytest.mark.parametrize("command", [play, demo, simulate, process])
def test_what_a_command_does_unless_told_otherwise_is_the_presets_table(command):
    """The option's default is written out, because help loads nothing."""
    assert signature(command).parameters["effects"].default == (OFFLINE if command is process else LIVE)


def test_effects_come_in_order_with_their_settings():
    assert parse_effects("compressor:ratio=4:threshold_db=-30, gate:depth_db=12:latency=6ms", live=False) == (
        Compressor(ratio=4.0, threshold_db=-30.0, warm_start=True),
        SpectralGate(depth_db=12.0, latency="6ms"),
    )


def test_a_live_effect_starts_from_what_the_engine_itself_would_take():
    assert parse_effects("gate,compressor") == tuple(effect for effect in preset(LIVE) if effect.name in ("spectral_gate", "compressor"))


def test_a_gate_is_told_a_noise_by_a_file(tmp_path):
    profile = NoiseProfile((-80.0, -81.5, -90.0))
    (tmp_path / "room.txt").write_text(profile.text + "\n", "utf-8")
    made = parse_effects(f"gate:noise=@{tmp_path / 'room.txt'}:adapt=0", live=False)
    assert made == (SpectralGate(noise=profile, adapt=0.0),)
    with pytest.raises(ConfigError, match=r"gate:noise is in a file that cannot be read: .*none\.txt"):
        parse_effects("gate:noise=@none.txt", live=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reverb", "the known effects are"),
        ("gate:depth=1", "depth_db"),
        ("gate:depth_db", "name=value"),
        ("gate:depth_db=deep", "give a number"),
        ("gate:any_block=maybe", "give 1 or 0"),
        ("gate:depth_db=500", "depth_db"),
        ("gate,,compressor", "the known effects are"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_effects(text)
