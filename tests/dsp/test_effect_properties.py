"""What every effect promises, whatever it does to the sound."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numba.core import config as numba_config
from numba.core.runtime import _nrt_python, rtsys

from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.gain import Gain
from rtmedia.dsp.gate import SpectralGate
from rtmedia.dsp.limiter import Limiter
from rtmedia.dsp.meters import Meter
from rtmedia.dsp.normalizer import LoudnessNormalizer
from rtmedia.dsp.switch import Switch
from rtmedia.ports import RATES_HZ, Effect, Format
from rtmedia.rt.kernel import call_effect, kernel


class SwitchedOff(Switch):
    @property
    def name(self):
        return "switched_off"


EFFECTS = {
    "gain": Gain(-3.0),
    "limiter": Limiter(-6.0),
    "compressor": Compressor(),
    "compressor, no look-ahead, warm": Compressor(lookahead=False, warm_start=True),
    "gate": SpectralGate(),
    "gate, 6 ms": SpectralGate(20.0, "6ms"),
    "gate, off": SpectralGate(0.0),
    "normalizer": LoudnessNormalizer(),
    "meter": Meter(),
    "switch": Switch(Compressor(warm_start=True)),
    "switch, off": SwitchedOff(SpectralGate(), on=False),
}
CHANGED = {
    "gain": (3.0,),
    "limiter": (-12.0, 30.0),
    "compressor": (-40.0, 10.0, 4.0, 0.01, 0.1),
    "spectral_gate": (10.0, 0.5),
    "loudness_normalizer": (-30.0, 10.0, 10.0, 6.0, 12.0),
    "meter": (),
    "switch": (0.0,),
    "switched_off": (1.0,),
}

every_effect = pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS.keys())
every_format = pytest.mark.parametrize(
    "format", [Format(r, c) for r in RATES_HZ for c in (1, 2)], ids=lambda f: f"{f.rate_hz}x{f.channels}"
)
two_formats = pytest.mark.parametrize("format", [Format(16_000, 1), Format(44_100, 2)], ids=lambda f: f"{f.rate_hz}x{f.channels}")


def sound(format, duration_ms=300, seed=1):
    """Noise with loud and quiet parts, some over full scale."""
    rng = np.random.default_rng(seed)
    frames = format.rate_hz * duration_ms // 1000
    loudness = np.repeat(10 ** rng.uniform(-3, 0.2, frames // 200 + 1), 200)[:frames, None]
    return (rng.uniform(-1, 1, (frames, format.channels)) * loudness).astype(np.float32)


def through(made, x):
    y = x.copy()
    made.process(y)
    return y


def split(total, largest, seed):
    rng = np.random.default_rng(seed)
    while total:
        n = int(min(total, rng.integers(1, largest + 1)))
        yield n
        total -= n


@every_effect
def test_it_is_an_effect(effect):
    assert isinstance(effect, Effect)
    assert len(effect.values()) == len(CHANGED[effect.name])
    with pytest.raises(AttributeError):
        effect.name = "other"


@every_effect
@every_format
def test_any_split_into_blocks_gives_the_same_bits(effect, format):
    x = sound(format)
    whole = through(effect.make(format, len(x)), x)
    for largest in (7, 700):
        made = effect.make(format, 512)
        y, start = x.copy(), 0
        for n in split(len(x), largest, seed=2):
            made.process(y[start : start + n])
            start += n
        assert np.array_equal(y, whole)


@every_effect
@two_formats
def test_any_split_gives_the_same_bits_after_a_change_of_settings(effect, format):
    x = sound(format, 400)
    half = len(x) // 2 + 17
    outputs = []
    for largest in (len(x), 97):
        made = effect.make(format, 512)
        y, start = x.copy(), 0
        for part in (half, len(x) - half):
            for n in split(part, largest, seed=3):
                made.process(y[start : start + n])
                start += n
            made.update(CHANGED[effect.name])
        outputs.append(y)
    assert np.array_equal(outputs[0], outputs[1])
    if effect.values():
        assert not np.array_equal(outputs[0], through(effect.make(format, 512), x))


@every_effect
@every_format
def test_silence_stays_silent(effect, format):
    silence = np.zeros((format.rate_hz // 2, format.channels), np.float32)
    assert not through(effect.make(format, 512), silence).any()


@every_effect
@two_formats
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 3e38], ids=["NaN", "inf", "-inf", "huge"])
def test_what_is_not_sound_costs_at_most_its_own_moment(effect, format, poison):
    x = sound(format, 2000)
    broken = x.copy()
    at = len(x) // 4
    broken[at : at + 3] = poison
    made = effect.make(format, 512)
    y = through(made, broken)
    finite = np.isfinite(y).all(axis=1)
    assert finite[:at].all()
    assert finite[at + 3 :].all()
    # One second later it sounds as if nothing had been; a finite bang may change an adaptive effect for longer, by a little.
    tail = slice(at + 3 + format.rate_hz, None)
    wanted = through(effect.make(format, 512), x)[tail]
    share = 0.5 if np.isfinite(poison) else 0.1
    assert np.sqrt(np.mean((y[tail] - wanted) ** 2)) < share * np.sqrt(np.mean(wanted**2))


@every_effect
@two_formats
def test_reset_equals_new(effect, format):
    x = sound(format)
    made = effect.make(format, 512)
    first = through(made, x)
    made.update(CHANGED[effect.name])
    through(made, sound(format, seed=9))
    made.reset()
    assert np.array_equal(through(made, x), first)


@every_effect
@every_format
def test_the_latency_is_the_stated_one(effect, format):
    """Where a single click comes out again."""
    made = effect.make(format, 512)
    assert 0 <= made.latency_frames <= 0.021 * format.rate_hz
    x = np.zeros((format.rate_hz // 4, format.channels), np.float32)
    at = format.rate_hz // 8
    x[at] = 0.5
    y = through(made, x)
    assert np.abs(y).max(axis=1).argmax() == at + made.latency_frames


@kernel("void(i8, i8, i8, i8, i8, i8)")
def call_often(times, function, block, frames, channels, state):
    for _ in range(times):
        call_effect(function, block, frames, channels, state)


@numba.njit("f8(i8)")  # a kernel could not: it does not link
def allocate(frames):
    return np.zeros(frames).sum()


@pytest.fixture
def allocations():
    """Numba's own count of allocations, switched on."""
    _nrt_python.memsys_enable_stats()
    yield rtsys.get_allocation_stats
    if not numba_config.NRT_STATS:
        _nrt_python.memsys_disable_stats()


def test_an_allocation_would_be_seen(allocations):
    before = allocations()
    allocate(10)
    assert allocations().alloc > before.alloc


@every_effect
@two_formats
def test_a_thousand_calls_allocate_nothing(effect, format, allocations):
    frames = format.rate_hz // 100
    made = effect.make(format, frames)
    block = sound(format)[:frames].copy()
    call_often(1, made.address, block.ctypes.data, frames, format.channels, made.state_address)
    before = allocations()
    call_often(1000, made.address, block.ctypes.data, frames, format.channels, made.state_address)
    assert allocations() == before
