"""Recordings through effects, by one function."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.dsp.gain import Gain
from rtmedia.dsp.gate import SpectralGate
from rtmedia.dsp.limiter import Limiter
from rtmedia.errors import ConfigError
from rtmedia.ports import Format
from rtmedia.presets import PRESETS, preset
from rtmedia.processing import Chain, process

RNG_SEED = 1


def speechlike(frames, channels=1):
    rng = np.random.default_rng(RNG_SEED)
    loud = np.repeat(rng.uniform(0, 0.5, frames // 400 + 1), 400)[:frames]
    return (rng.uniform(-1, 1, (frames, channels)) * loud[:, None]).astype(np.float32)


@pytest.mark.parametrize("effects", [(), (SpectralGate(0.0),), (SpectralGate(0.0), Gain(0.0))])
def test_the_output_is_in_line_with_the_input(effects):
    x = speechlike(5000, 2)
    assert np.array_equal(process(x, 16_000, effects), x)


@pytest.mark.parametrize("shape", [(0,), (1,), (777,), (777, 1), (9000, 2), (0, 2)])
def test_the_shape_is_kept(shape):
    got = process(np.zeros(shape), 16_000)
    assert got.shape == shape
    assert got.dtype == np.float32


def test_int16_and_double_mean_the_same_as_float32():
    x = (speechlike(3000)[:, 0] * 32767).astype(np.int16)
    wanted = process((x / np.float32(32768)).astype(np.float32), 16_000)
    assert np.array_equal(process(x, 16_000), wanted)
    assert np.array_equal(process(x / 32768, 16_000), wanted)


def test_the_input_is_not_written_to():
    x = speechlike(3000)
    before = x.copy()
    process(x, 16_000)
    assert np.array_equal(x, before)


def test_it_is_the_live_chain_to_the_bit():
    x = speechlike(8000)
    chain = [effect.make(Format(16_000), 160) for effect in (*preset("voice"), Limiter())]
    late = sum(instance.latency_frames for instance in chain)
    live = np.concatenate([x, np.zeros((late, 1), np.float32)])
    for start in range(0, len(live), 160):
        for instance in chain:
            instance.process(live[start : start + 160])
    assert np.array_equal(process(x, 16_000), live[late:])


def test_the_limiter_always_follows():
    assert np.abs(process(np.ones(2000), 16_000, [Gain(20.0)])).max() <= np.float32(10 ** (-1 / 20))
    assert np.abs(process(np.ones(2000), 16_000, [Gain(20.0)], ceiling_db=-6.0)).max() <= np.float32(10 ** (-6 / 20))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_called_by_its_name(name):
    x = speechlike(4000)
    assert np.array_equal(process(x, 16_000, name), process(x, 16_000, preset(name)))


def test_without_effects_named_it_is_the_preset_voice():
    x = speechlike(4000)
    assert np.array_equal(process(x, 16_000), process(x, 16_000, "voice"))


@pytest.mark.parametrize("sizes", [(1,), (7, 700), (5000,), (1, 100_000)])
@pytest.mark.parametrize("frames", [0, 5, 300, 70_000])
def test_a_recording_in_pieces_is_the_same_to_the_bit(sizes, frames):
    x = speechlike(frames, 2)
    frames = min(frames, 3_000) if sizes == (1,) else frames
    x = x[:frames]
    chain = Chain(Format(16_000, 2), "voice")
    for _ in range(2):  # after the end it is as new
        pieces, start, turn = [], 0, 0
        while start < frames:
            size = sizes[turn % len(sizes)]
            pieces.append(chain.feed(x[start : start + size]))
            start, turn = start + size, turn + 1
        pieces.append(chain.flush())
        assert np.array_equal(np.concatenate(pieces), process(x, 16_000, "voice"))


def test_a_chain_refuses_what_is_no_block():
    with pytest.raises(ConfigError, match="block is float32"):
        Chain(Format(16_000), ()).feed(np.zeros(100, np.float32))


def test_progress_is_told_up_to_the_end():
    told = []
    process(np.zeros(200_000), 16_000, (), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 200_000
    assert len(told) > 2


@pytest.mark.parametrize("audio", [np.zeros(10, np.int32), np.zeros((10, 3)), np.zeros((2, 2, 2)), np.float32(0)])
def test_what_is_no_audio_is_refused(audio):
    with pytest.raises(ConfigError, match="audio"):
        process(audio, 16_000)


def test_what_is_no_effect_is_refused():
    with pytest.raises(ConfigError, match="effects holds"):
        process(np.zeros(10), 16_000, [lambda block: block])


def test_one_effect_that_is_in_no_sequence_and_a_class_are_refused_by_name():
    for wrong in (Gain(3.0), Gain, [Gain]):
        with pytest.raises(ConfigError, match="Gain"):
            process(np.zeros(100), 16_000, wrong)


@pytest.mark.parametrize("block", [np.ones((10, 1), np.int16), np.zeros((10, 2), np.float32), np.zeros((0, 2), np.float32), np.zeros(10)])
def test_a_piece_of_another_kind_is_refused(block):
    with pytest.raises(ConfigError, match=r"it must be float32 \(frames, 1\)"):
        Chain(Format(16_000), ()).feed(block)


def test_a_setting_may_be_a_number_of_numpy():
    assert Gain(np.float32(3)).make(Format(16_000), 160).state["wish"][0, 0] == 3
