"""Loudness against the recommendation's test signals, against pyloudnorm, and live against offline."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.dsp.loudness import HISTOGRAM, histogram_add, histogram_integrated, integrated_lufs, lufs_of
from rtmedia.dsp.meters import Meter, loudness
from rtmedia.errors import ConfigError
from rtmedia.ports import RATES_HZ, Format
from tests.dsp.programmes import conversation, noise, tones


def metered(x, rate_hz, largest=4096):
    made = Meter().make(Format(rate_hz, x.shape[1]), largest)
    y = x.astype(np.float32)
    before = y.copy()
    made.process(y)
    assert np.array_equal(y, before, equal_nan=True)
    return made.state[0]


@pytest.mark.parametrize("rate_hz", [*RATES_HZ, 96_000])
def test_a_stereo_sine_of_997_hz_at_minus_23_dbfs_has_minus_23_lufs(rate_hz):
    x = tones(rate_hz, (-23.0, 3.0), frequency_hz=997.0)
    found = loudness(x, rate_hz)
    # At 8 kHz the shelf begins a little lower: k_weighting states by how much.
    assert found.integrated_lufs == pytest.approx(-23.0, abs=0.25 if rate_hz == 8_000 else 0.1)
    assert found.peak_db == pytest.approx(-23.0, abs=0.01)
    assert found.rms_db == pytest.approx(-26.01, abs=0.01)
    assert loudness(x[:, :1], rate_hz).integrated_lufs == pytest.approx(found.integrated_lufs - 3.01, abs=0.01)


#: EBU Tech 3341, table 1: the cases of two channels that can be made from their description; I in LUFS, ±0.1.
TECH_3341 = {
    1: [(-23, 20)],
    2: [(-33, 20)],
    3: [(-36, 10), (-23, 60), (-36, 10)],
    4: [(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)],
    5: [(-26, 20), (-20, 20.1), (-26, 20)],
}


@pytest.mark.parametrize("case", TECH_3341)
def test_the_integrated_loudness_of_ebu_tech_3341_is_right_live_and_offline(case):
    x = tones(48_000, *TECH_3341[case])
    wanted = -33.0 if case == 2 else -23.0
    found, live = loudness(x, 48_000), metered(x, 48_000)
    assert found.integrated_lufs == pytest.approx(wanted, abs=0.1)
    assert live["integrated_lufs"] == pytest.approx(wanted, abs=0.1)
    if case < 3:
        assert live["momentary_lufs"] == pytest.approx(wanted, abs=0.1)
        assert live["short_term_lufs"] == pytest.approx(wanted, abs=0.1)


def test_short_term_and_momentary_loudness_of_ebu_tech_3341_are_right():
    case_9 = loudness(tones(48_000, *[(-20, 1.34), (-30, 1.66)] * 5), 48_000)
    assert np.allclose(case_9.short_term_lufs, -23.0, atol=0.1)
    case_12 = loudness(tones(48_000, *[(-20, 0.18), (-30, 0.22)] * 25), 48_000)
    assert np.allclose(case_12.momentary_lufs[6:], -23.0, atol=0.1)


@pytest.mark.parametrize(("levels", "wanted_lu"), [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)])
def test_the_loudness_range_of_ebu_tech_3342_is_right(levels, wanted_lu):
    x = tones(48_000, *[(level, 20) for level in levels])
    assert loudness(x, 48_000).range_lu == pytest.approx(wanted_lu, abs=1.0)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("channels", [1, 2])
def test_speech_is_as_loud_as_pyloudnorm_says(rate_hz, channels):
    pyloudnorm = pytest.importorskip("pyloudnorm")
    x = conversation(rate_hz, channels)
    x = np.concatenate([x, x])[: 60 * rate_hz]
    found, live = loudness(x, rate_hz).integrated_lufs, metered(x, rate_hz)["integrated_lufs"]
    assert found == pytest.approx(pyloudnorm.Meter(rate_hz, filter_class="DeMan").integrated_loudness(x), abs=0.01)
    assert found == pytest.approx(pyloudnorm.Meter(rate_hz).integrated_loudness(x), abs=0.3)
    assert live == pytest.approx(found, abs=0.1)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_live_readings_are_the_recordings_last(rate_hz):
    x = conversation(rate_hz)[: 10 * rate_hz]
    x[-4000:] = 0.3
    for largest in (441, 4096):
        live, found = metered(x, rate_hz, largest), loudness(x, rate_hz)
        assert live["momentary_lufs"] == pytest.approx(found.momentary_lufs[-1], abs=1e-4)
        assert live["max_momentary_lufs"] == pytest.approx(found.momentary_lufs.max(), abs=1e-4)
        assert live["short_term_lufs"] == pytest.approx(found.short_term_lufs[-1], abs=1e-4)
        assert live["max_peak_db"] == pytest.approx(found.peak_db, abs=1e-4)
        last = x[-rate_hz // 10 :]
        assert live["peak_db"] == pytest.approx(20 * np.log10(np.abs(last).max()), abs=1e-4)
        assert live["rms_db"] == pytest.approx(10 * np.log10(np.mean(last**2)), abs=1e-4)
        assert live["hops_total"] == 100


def test_a_histogram_gates_as_the_recommendation_does(rng):
    histogram = np.zeros(HISTOGRAM)
    levels = rng.normal(-35, 12, 5000)
    power = 10 ** ((levels + 0.691) / 10)
    for value in power:
        histogram_add(histogram.ctypes.data, value)
    assert histogram_integrated(histogram.ctypes.data) == pytest.approx(integrated_lufs(power), abs=0.02)
    loud = power[levels >= -70]
    slow = lufs_of(np.mean(loud[loud > 0.1 * np.mean(loud)]))
    assert integrated_lufs(power) == pytest.approx(float(slow), abs=1e-9)


@pytest.mark.parametrize("level_db", [-300.0, 24.0])
def test_a_histogram_takes_whatever_comes(level_db):
    histogram = np.zeros(HISTOGRAM)
    histogram_add(histogram.ctypes.data, 10 ** (level_db / 10))
    assert histogram_integrated(histogram.ctypes.data) == pytest.approx(max(level_db - 0.691, -120.0), abs=1e-9)


def test_silence_and_what_is_too_short_have_no_loudness():
    for x in (np.zeros((48_000, 1)), tones(48_000, (-20, 0.3)), np.zeros((0, 2))):
        found = loudness(x, 48_000)
        assert (found.integrated_lufs, found.range_lu) == (-120.0, 0.0)
    live = metered(np.zeros((48_000, 1)), 48_000)
    names = ("peak_db", "rms_db", "max_peak_db", "momentary_lufs", "short_term_lufs", "max_momentary_lufs", "integrated_lufs")
    assert all(live[name] == -120.0 for name in names)


def test_what_is_not_finite_is_counted_and_passed_on():
    x = noise(16_000, 16_000)
    clean = metered(x, 16_000)["integrated_lufs"]
    x[8000:8003] = np.nan
    x[8003] = np.inf
    live = metered(x, 16_000)
    assert live["broken_total"] == 4
    assert live["integrated_lufs"] == pytest.approx(clean, abs=0.05)


def test_the_readings_do_not_depend_on_the_blocks():
    x = conversation(16_000)[: 5 * 16_000]
    readings = [metered(x, 16_000, largest) for largest in (1, 37, 160, 4096)]
    for name in ("peak_db", "max_peak_db", "momentary_lufs", "short_term_lufs", "integrated_lufs", "max_momentary_lufs"):
        assert len({float(each[name]) for each in readings}) == 1
    assert np.ptp([each["rms_db"] for each in readings]) < 1e-4


def test_an_array_that_is_no_sound_is_refused():
    with pytest.raises(ConfigError, match="int16"):
        loudness(np.zeros(100, np.int16), 48_000)
    with pytest.raises(ConfigError, match=r"\(2, 100\)"):
        loudness(np.zeros((2, 100)), 48_000)
    with pytest.raises(ConfigError, match="rate_hz is 4000"):
        loudness(np.zeros(100), 4_000)
    with pytest.raises(ConfigError, match="rate_hz is 4000"):
        Meter().make(Format(4_000), 100)
