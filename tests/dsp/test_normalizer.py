"""The normaliser against a slow reference, on speech of all levels, and on all that is not speech."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from rtmedia.dsp.k_weighting import coefficients
from rtmedia.dsp.meters import loudness
from rtmedia.dsp.normalizer import LoudnessNormalizer
from rtmedia.errors import ConfigError
from rtmedia.ports import RATES_HZ, Format
from tests.dsp.programmes import at_loudness, conversation, noise

RATE_HZ = 16_000
TARGET_LUFS = LoudnessNormalizer().target_lufs


def normalized(x, rate_hz=RATE_HZ, **settings):
    """The output, and the gain in dB and the level in LUFS every 100 ms."""
    made = LoudnessNormalizer(**settings).make(Format(rate_hz, x.shape[1]), rate_hz // 10)
    y = x.astype(np.float32)
    gains, levels = [], []
    for start in range(0, len(y), rate_hz // 10):
        made.process(y[start : start + rate_hz // 10])
        gains.append(float(made.state["gain_db"][0]))
        levels.append(float(made.state["level_lufs"][0]))
    return y, np.array(gains), np.array(levels)


def reference(x, rate_hz, target=-23.0, most=20.0, least=-20.0, rise=3.0, fall=6.0):
    """The gain in dB at each tick's end, by the module's description, with lists, in double precision."""
    for b0, b1, b2, a1, a2 in coefficients(rate_hz):
        x = lfilter((b0, b1, b2), (1, a1, a2), x, axis=0)
    size = rate_hz // 100
    ticks = [np.sum(x[i : i + size] ** 2) / size for i in range(0, len(x) - size + 1, size)]

    def db(power):
        return -0.691 + 10 * np.log10(power) if power > 1e-12 else -120.0

    def gated(powers):
        return np.mean([p for p in powers if p >= 0.1 * np.mean(powers)])

    heard, sure, level, speaking = [], 0, -26.0, False
    gain = goal = target + 26.0
    gains = []
    for n in range(1, len(ticks) + 1):
        if n % 10 == 0 and n >= 40:
            steps = [db(np.mean(ticks[i - 5 : i])) for i in range(n, 0, -5)]  # the latest first
            floor = min(steps[:60])
            block = ticks[n - 40 : n]
            moved = np.mean(np.minimum(np.abs(np.diff(steps[:20])), 4.0))
            proof = 0.5 if db(np.mean(block)) + gain > target + 3 else 1.0
            speech = (
                db(np.mean(block)) > max(-60, floor + 7 * proof)
                and moved > 1.7 * proof
                and np.sum(block) ** 2 > 5 * np.sum(np.square(block))
            )
            speaking = speech and db(np.mean(ticks[n - 10 : n])) > floor + 7 * proof
            sure = min(sure + 1, 10) if speech else max(sure - 1, 0)
            if speech and sure >= 4:
                heard = [*heard, np.mean(block)][-100:]
                if len(heard) > 8 and db(gated(heard[-8:])) > db(gated(heard)) + 5:
                    heard = heard[-8:]
                if len(heard) > 30 and db(gated(heard[-30:])) < db(gated(heard)) - 6:
                    heard = heard[-30:]
                level = db(gated(heard))
                goal = min(max(target - level, least), most)
        if speaking:
            fast = 4 if len(heard) < 20 or abs(goal - gain) > 3 else 1
            gain = min(goal, gain + 0.01 * fast * rise) if goal > gain else max(goal, gain - 0.01 * fast * fall)
        gains.append(gain)
    return np.array(gains)


@pytest.mark.parametrize("channels", [1, 2])
def test_it_equals_the_slow_reference(channels):
    x = at_loudness(conversation(8_000, channels), 8_000, -34.0)[: 30 * 8_000]
    x[15 * 8_000 :] *= 6.0
    x[20 * 8_000 :] *= 0.05
    x += noise(len(x), 8_000, 1.0) * 0.02
    made = LoudnessNormalizer().make(Format(8_000, channels), 80)
    y = x.astype(np.float32)
    got = []
    for start in range(0, len(y), 80):
        made.process(y[start : start + 80])
        got.append(float(made.state["now_db"][0]))
    wanted = reference(x.astype(np.float32).astype(float), 8_000)
    assert np.ptp(wanted) > 15.0  # something happens
    assert np.abs(got - wanted).max() < 1e-4
    # The gain of a tick runs straight from the one to the other.
    edges = 10 ** (np.r_[wanted[0], wanted[0], wanted] / 20)[1:-1]
    straight = np.concatenate([np.linspace(a, b, 81)[1:] for a, b in zip(np.r_[edges[0], edges[:-1]], edges, strict=True)])
    assert np.abs(y - x * straight[:, None]).max() < 1e-4


LEVELS_LUFS = (-40.0, -30.0, -23.0, -16.0, -10.0)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("level_lufs", LEVELS_LUFS)
def test_after_10_s_speech_of_any_level_has_the_target_loudness(rate_hz, level_lufs):
    x = at_loudness(conversation(rate_hz), rate_hz, level_lufs)
    y, _, _ = normalized(x, rate_hz)
    assert loudness(y[10 * rate_hz :], rate_hz).integrated_lufs == pytest.approx(TARGET_LUFS, abs=0.5)


@pytest.mark.parametrize("tilt", [0.0, 1.0, 2.0], ids=["white", "pink", "brown"])
@pytest.mark.parametrize("level_lufs", LEVELS_LUFS)
def test_noise_20_db_below_changes_nothing_about_that(level_lufs, tilt):
    x = at_loudness(conversation(RATE_HZ), RATE_HZ, level_lufs)
    x += at_loudness(noise(len(x), RATE_HZ, tilt), RATE_HZ, level_lufs - 20)
    y, gains, _ = normalized(x)
    assert loudness(y[10 * RATE_HZ :], RATE_HZ).integrated_lufs == pytest.approx(TARGET_LUFS, abs=0.5)
    assert np.ptp(gains[100:]) < 2.0


@pytest.mark.parametrize("level_lufs", LEVELS_LUFS)
def test_it_is_there_after_the_first_two_seconds_of_speech(level_lufs):
    x = at_loudness(conversation(RATE_HZ), RATE_HZ, level_lufs)
    _, gains, _ = normalized(x)
    wanted = TARGET_LUFS - level_lufs
    assert np.abs(gains[24:] - wanted).max() < 2.0  # the speech begins at 0.3 s
    assert gains.max() < max(3.0, wanted) + 2.0


@pytest.mark.parametrize(
    ("first_lufs", "then_lufs", "seconds"), [(-35.0, -20.0, 1.0), (-26.0, -11.0, 1.0), (-20.0, -35.0, 6.0), (-11.0, -26.0, 6.0)]
)
def test_another_caller_15_db_louder_or_quieter_is_brought_to_the_target_too(first_lufs, then_lufs, seconds):
    x = conversation(RATE_HZ)
    x = np.concatenate([at_loudness(x, RATE_HZ, first_lufs)[: 20 * RATE_HZ], at_loudness(x, RATE_HZ, then_lufs)])
    y, gains, _ = normalized(x)
    after = round((20 + 0.3 + seconds) * 10)
    assert np.abs(gains[after:] - (TARGET_LUFS - then_lufs)).max() < 3.0
    assert loudness(y[30 * RATE_HZ :], RATE_HZ).integrated_lufs == pytest.approx(TARGET_LUFS, abs=1.0)
    found = loudness(y, RATE_HZ)
    assert (found.short_term_lufs[after - 30 + 30 :] < TARGET_LUFS + 3.0).all()  # 3 s of the new voice's settled sound


def test_a_minute_of_silence_changes_nothing():
    x = at_loudness(conversation(RATE_HZ), RATE_HZ, -35.0)[: 20 * RATE_HZ]
    _, gains, levels = normalized(np.concatenate([x, np.zeros((60 * RATE_HZ, 1))]))
    assert np.ptp(gains[210:]) == 0.0
    assert np.ptp(levels[210:]) == 0.0


def hum(frames):
    t = np.arange(frames) / RATE_HZ
    return sum(np.sin(2 * np.pi * 50 * k * t + k) / k for k in range(1, 12))[:, None]


def tone(frames, on_s, period_s):
    t = np.arange(frames) / RATE_HZ
    return (np.sin(2 * np.pi * 425 * t) * (t % period_s < on_s))[:, None]


_FRAMES = 30 * RATE_HZ
STEADY = {
    "white noise": lambda: noise(_FRAMES, RATE_HZ),
    "pink noise": lambda: noise(_FRAMES, RATE_HZ, 1.0),
    "brown noise": lambda: noise(_FRAMES, RATE_HZ, 2.0),
    "hum": lambda: hum(_FRAMES),
    "slowly swelling noise": lambda: noise(_FRAMES, RATE_HZ) * (1 + 0.5 * np.sin(np.pi * np.arange(_FRAMES) / RATE_HZ))[:, None],
    "ring-back tone": lambda: tone(_FRAMES, 1.0, 5.0),
    "busy tone": lambda: tone(_FRAMES, 0.25, 0.5),
    "clicks": lambda: noise(_FRAMES, RATE_HZ) * (np.arange(_FRAMES) % 3517 < 100)[:, None],
}


@pytest.mark.parametrize("name", STEADY)
@pytest.mark.parametrize("before", ["nothing", "silence", "speech"])
def test_what_is_no_speech_is_not_raised(name, before):
    x = at_loudness(STEADY[name](), RATE_HZ, -50.0)
    speech = at_loudness(conversation(RATE_HZ), RATE_HZ, -26.0)[: 12 * RATE_HZ]
    first = {"nothing": x[:0], "silence": np.zeros((5 * RATE_HZ, 1)), "speech": speech}[before]
    _, gains, _ = normalized(np.concatenate([first, x]))
    # It begins 3 dB up, and 12 s of this speech leave it between 2.5 and 3.5.
    assert np.abs(gains[len(first) // (RATE_HZ // 10) :] - 3.0).max() < 0.5


def test_the_gain_holds_in_pauses():
    x = at_loudness(conversation(RATE_HZ), RATE_HZ, -40.0)[: 4 * RATE_HZ]
    x = np.concatenate([np.zeros((RATE_HZ, 1)), x[: 2 * RATE_HZ], np.zeros((3 * RATE_HZ, 1)), x])
    x += at_loudness(noise(len(x), RATE_HZ, 1.0), RATE_HZ, -62.0)
    _, gains, _ = normalized(x)
    assert np.ptp(gains[33:60]) == 0.0


def test_clipped_speech_comes_down_to_the_target():
    x = np.clip(at_loudness(conversation(RATE_HZ), RATE_HZ, 3.0), -1.0, 1.0)
    y, _, _ = normalized(x)
    assert loudness(y[10 * RATE_HZ :], RATE_HZ).integrated_lufs == pytest.approx(TARGET_LUFS, abs=0.5)


def test_loud_speech_in_loud_noise_comes_down_too():
    x = at_loudness(conversation(RATE_HZ), RATE_HZ, -10.0)
    x += at_loudness(noise(len(x), RATE_HZ, 1.0), RATE_HZ, -15.0)
    _, gains, _ = normalized(x)
    assert (gains[30:] < -9.0).all()


def test_gain_and_cut_stay_within_their_limits():
    quiet, loud = (at_loudness(conversation(RATE_HZ), RATE_HZ, level) for level in (-45.0, -6.0))
    assert normalized(quiet, max_gain_db=9.0)[1].max() == pytest.approx(9.0)
    assert normalized(loud, max_cut_db=4.0)[1].min() == pytest.approx(-4.0)
    assert np.array_equal(normalized(quiet, max_gain_db=0.0, max_cut_db=0.0)[0], quiet.astype(np.float32))


def test_speech_too_quiet_to_be_meant_is_left_alone():
    _, gains, _ = normalized(at_loudness(conversation(RATE_HZ), RATE_HZ, -67.0))
    assert np.ptp(gains) == 0.0


def test_new_settings_move_the_gain_at_once_but_smoothly_even_in_silence():
    made = LoudnessNormalizer().make(Format(RATE_HZ, 1), 160)
    level = np.full((3 * RATE_HZ, 1), 0.1, np.float32)  # no speech at all
    y = level.copy()
    made.process(y[:RATE_HZ])
    made.update((-30.0, 20.0, 20.0, 6.0, 12.0))
    made.process(y[RATE_HZ:])
    gain_db = 20 * np.log10(y[:, 0] / 0.1)
    assert np.allclose(gain_db[:RATE_HZ], 3.0, atol=1e-4)
    assert np.allclose(gain_db[-RATE_HZ:], -4.0, atol=1e-4)
    assert np.abs(np.diff(gain_db)).max() < 1.1 * 4 * 12.0 / RATE_HZ  # the stated speed, four times, over a straight line
    made.update((np.nan, np.inf, -5.0, 1e9, np.nan))
    made.process(np.zeros((160, 1), np.float32))
    assert np.allclose(made.state["taken"][0, :5], (-40.0, 40.0, 0.0, 60.0, 0.1))


def test_not_finite_samples_become_silence_and_are_counted():
    made = LoudnessNormalizer().make(Format(RATE_HZ, 1), 160)
    x = np.full((160, 1), 0.1, np.float32)
    x[10:13, 0] = np.nan, np.inf, -np.inf
    x[20] = 3e38
    made.process(x)
    assert not x[10:13].any()
    assert np.isfinite(x).all()
    assert made.state["cleaned_total"] == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("target_lufs", -5.0), ("max_gain_db", 41.0), ("max_cut_db", -1.0), ("rise_db_per_s", 0.0), ("fall_db_per_s", float("nan"))],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        LoudnessNormalizer(**{name: value})


def test_a_rate_without_the_weightings_band_is_refused():
    with pytest.raises(ConfigError, match="rate_hz is 6000"):
        LoudnessNormalizer().make(Format(6_000), 60)
