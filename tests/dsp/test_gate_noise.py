"""What the gate takes for noise: given beforehand, told while it runs, held, followed."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.dsp.gate import NoiseProfile, SpectralGate, learn_noise
from rtmedia.errors import ConfigError
from rtmedia.ports import RATES_HZ, Format


def white(frames, level=0.01, seed=1, channels=1):
    return np.random.default_rng(seed).normal(0, level, (frames, channels)).astype(np.float32)


def fan(frames, rate_hz=16_000, level=0.01, seed=1):
    """Noise that falls with the frequency, the same density at every rate, and a partial."""
    rng = np.random.default_rng(seed)
    frequency_hz = np.fft.rfftfreq(frames, 1 / rate_hz)
    spectrum = (rng.normal(size=len(frequency_hz)) + 1j * rng.normal(size=len(frequency_hz))) / (1 + frequency_hz / 500)
    wave = np.fft.irfft(spectrum * np.sqrt(frames * rate_hz / 16_000) / 2, frames)
    wave += 0.3 * np.sin(2 * np.pi * 220 * np.arange(frames) / rate_hz)
    return (level * wave).astype(np.float32)[:, None]


def attenuation_db(x, y, made, part):
    late = made.latency_frames
    return 10 * np.log10(np.mean(np.square(x[part], dtype=float)) / np.mean(np.square(y[late:][part], dtype=float)))


def through(made, x):
    """As long as `x` and the latency."""
    y = np.concatenate([x, np.zeros((made.latency_frames, x.shape[1]), np.float32)])
    made.process(y)
    return y


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("latency", ["10ms", "6ms"])
def test_a_noise_that_was_learnt_at_16_khz_is_turned_down_from_the_first_frame_on(rate_hz, latency):
    profile = learn_noise(fan(32_000)[:, 0], 16_000)
    x = fan(rate_hz // 2, rate_hz, seed=2)
    first = slice(rate_hz // 50, rate_hz // 10)
    known = SpectralGate(noise=profile, latency=latency).make(Format(rate_hz), 512)
    unknown = SpectralGate(latency=latency).make(Format(rate_hz), 512)
    assert attenuation_db(x, through(known, x), known, first) > 15
    # What is unknown was heard in the very frames that it is judged by; but no word could be told from it there.
    word = x.copy()
    word[: rate_hz // 10] *= 10
    assert attenuation_db(word, through(known, word), known, first) < 3
    assert attenuation_db(word, through(unknown, word), unknown, first) > 15


def test_with_adapt_zero_only_the_given_noise_is_ever_turned_down():
    x = np.concatenate([white(16_000), white(48_000, 0.04, seed=2)])
    before, long_after = slice(2000, 15_000), slice(40_000, 64_000)
    held = SpectralGate(noise=learn_noise(white(16_000, seed=3), 16_000), adapt=0).make(Format(16_000), 512)
    follows = SpectralGate(noise=learn_noise(white(16_000, seed=3), 16_000)).make(Format(16_000), 512)
    y = through(held, x)
    assert attenuation_db(x, y, held, before) > 20
    assert attenuation_db(x, y, held, long_after) < 2
    assert attenuation_db(x, through(follows, x), follows, long_after) > 20


def test_with_adapt_zero_and_no_noise_given_nothing_is_turned_down():
    x = white(16_000)
    made = SpectralGate(adapt=0).make(Format(16_000), 512)
    assert abs(attenuation_db(x, through(made, x), made, slice(1000, 16_000))) < 0.3


def test_an_estimate_can_be_held_and_let_go_while_it_runs():
    made = SpectralGate().make(Format(16_000), 512)
    through(made, white(16_000))
    made.hold()
    louder = white(32_000, 0.04, seed=2)
    assert attenuation_db(louder, through(made, louder), made, slice(16_000, 32_000)) < 2
    made.resume()
    assert attenuation_db(louder, through(made, louder), made, slice(16_000, 32_000)) > 20


def test_held_it_keeps_the_very_numbers():
    made = SpectralGate().make(Format(16_000, 2), 512)
    through(made, white(16_000, channels=2))
    made.hold()
    before = made.noise_profile()
    through(made, white(16_000, 0.04, seed=2, channels=2))
    assert made.noise_profile() == before


def test_a_running_gate_takes_what_it_is_told_from_the_next_hop_on():
    made = SpectralGate().make(Format(16_000), 512)
    through(made, white(16_000, 0.001))
    x = white(8000, 0.04, seed=2)
    made.learn_noise(white(8000, 0.04, seed=3))
    assert attenuation_db(x, through(made, x), made, slice(320, 1600)) > 15


@pytest.mark.parametrize("format", [Format(16_000, 1), Format(44_100, 2)], ids=str)
def test_any_split_gives_the_same_bits_when_it_is_told_a_noise_in_between(format):
    x = white(format.rate_hz, 0.02, channels=format.channels)
    half = len(x) // 2 + 11
    profile = learn_noise(white(format.rate_hz, 0.02, seed=5), format.rate_hz)
    outputs = []
    for largest in (len(x), 97):
        made = SpectralGate(adapt=0).make(format, 512)
        y = x.copy()
        for first, last in ((0, half), (half, len(x))):
            for start in range(first, last, largest):
                made.process(y[start : min(start + largest, last)])
            made.learn_noise(profile)
        outputs.append(y)
    assert np.array_equal(outputs[0], outputs[1])


def test_reset_forgets_what_it_was_told_but_not_what_it_was_made_with():
    x = white(8000)
    profile = learn_noise(white(8000, seed=2), 16_000)
    for effect in (SpectralGate(), SpectralGate(noise=profile), SpectralGate(noise=profile, adapt=0)):
        made = effect.make(Format(16_000), 512)
        first = through(made, x)
        made.learn_noise(white(8000, 0.1, seed=3))
        made.hold()
        through(made, x)
        made.reset()
        assert np.array_equal(through(made, x), first)


def test_a_noise_that_is_half_written_is_left_for_the_next_hop():
    made = SpectralGate(adapt=0).make(Format(16_000), 512)
    x = white(3200)
    plain = through(SpectralGate(adapt=0).make(Format(16_000), 512), x)
    made.learn_noise(white(8000, seed=2))
    made.state["offer_version"] += 1  # as in the middle of a second offer
    assert np.array_equal(through(made, x), plain)
    made.state["offer_version"] += 1
    assert attenuation_db(x, through(made, x), made, slice(480, 3200)) > 15


def test_a_gate_says_what_it_takes_for_noise():
    made = SpectralGate().make(Format(48_000), 512)
    through(made, fan(96_000, 48_000))
    told = np.array(made.noise_profile().density_db)
    measured = np.array(learn_noise(fan(32_000, seed=2), 16_000).density_db)
    band = slice(8, 200)  # 250 Hz to 6.2 kHz
    assert abs(np.mean(told[band] - measured[band])) < 2


def test_a_rise_of_twelve_decibels_is_followed_within_six_tenths_of_a_second():
    for seed in range(3):
        x = np.concatenate([fan(48_000, seed=seed), 4 * fan(32_000, seed=seed + 10)])
        made = SpectralGate().make(Format(16_000), 512)
        assert attenuation_db(x, through(made, x), made, slice(48_000 + 9600, 48_000 + 12_800)) > 20


def test_slower_adaptation_follows_a_rise_later():
    x = np.concatenate([fan(48_000), 4 * fan(32_000, seed=10)])
    found = []
    for adapt in (2.0, 1.0, 0.5):
        made = SpectralGate(adapt=adapt).make(Format(16_000), 512)
        y = through(made, x)
        found.append([attenuation_db(x, y, made, slice(48_000 + at, 48_000 + at + 1600)) for at in (5600, 9600, 19_200)])
    assert found[0][0] > 15 > found[1][0]
    assert found[1][1] > 15 > found[2][1]
    assert found[2][2] > 15


def test_a_profile_is_a_value():
    profile = learn_noise(white(16_000), 16_000)
    assert hash(profile) == hash(NoiseProfile.from_text(profile.text))
    assert profile == NoiseProfile.from_text(profile.text)
    assert SpectralGate(noise=profile) == SpectralGate(noise=profile.text)
    assert SpectralGate(noise="") == SpectralGate()
    assert hash(SpectralGate(noise=profile).steady()) == hash(SpectralGate(noise=profile, any_block=False))


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000])
def test_white_noise_has_the_same_density_at_every_frequency_and_rate(rate_hz):
    level = 0.01
    profile = learn_noise(white(4 * rate_hz, level * np.sqrt(rate_hz / 16_000), channels=2), rate_hz)
    density_db = 10 * np.log10(level**2 / 8000)
    assert len(profile.density_db) == int(rate_hz / 62.5) + 1
    assert abs(np.mean(profile.density_db[2:-2]) - density_db) < 0.3
    assert profile.density(np.array([23_000.0])) == pytest.approx(10 ** (density_db / 10), rel=0.15)


def test_digital_silence_in_a_recording_does_not_count():
    x = white(16_000)
    padded = np.concatenate([np.zeros((16_000, 1), np.float32), x])
    assert np.allclose(learn_noise(x, 16_000).density_db, learn_noise(padded, 16_000).density_db, atol=1.0)


def test_what_is_no_noise_is_refused():
    with pytest.raises(ConfigError, match="record more"):
        learn_noise(white(1000), 16_000)
    with pytest.raises(ConfigError, match="digital silence"):
        learn_noise(np.zeros(16_000), 16_000)
    with pytest.raises(ConfigError, match="finite"):
        learn_noise(np.full(16_000, np.nan), 16_000)
    with pytest.raises(ConfigError, match="line of numbers"):
        NoiseProfile.from_text("room.wav")
    with pytest.raises(ConfigError, match="at least 2 densities"):
        NoiseProfile((float("nan"),))
    with pytest.raises(ConfigError, match="give a profile"):
        SpectralGate(noise=[1.0, 2.0])
    with pytest.raises(ConfigError, match="adapt is 3"):
        SpectralGate(adapt=3)
    with pytest.raises(ConfigError, match="adapt is -1"):
        SpectralGate().make(Format(16_000), 512).resume(-1)


def test_integers_are_no_noise():
    with pytest.raises(ConfigError, match="int16; give floats of full scale"):
        learn_noise(np.ones(16_000, np.int16), 16_000)
