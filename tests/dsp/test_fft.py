"""The kernel's transform against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.dsp.fft import fft_real, ifft_real, make_plan
from rtmedia.errors import ConfigError


@pytest.mark.parametrize("length", [128, 256, 384, 512, 768, 1024, 1152, 1536, 4096])
def test_forward_and_back_equal_numpys(length):
    x = np.random.default_rng(length).uniform(-1, 1, length).astype(np.float32)
    plan = make_plan(length)
    re, im = np.zeros((2, length // 2 + 1), np.float32)
    fft_real(plan.ctypes.data, x.ctypes.data, re.ctypes.data, im.ctypes.data)
    wanted = np.fft.rfft(x.astype(float))
    assert np.abs(re + 1j * im - wanted).max() < 3e-7 * length
    back = np.zeros_like(x)
    ifft_real(plan.ctypes.data, re.ctypes.data, im.ctypes.data, back.ctypes.data)
    assert np.abs(back - x).max() < 1e-6


@pytest.mark.parametrize("length", [0, 64, 192, 640, 882])
def test_a_length_with_other_prime_factors_is_refused(length):
    with pytest.raises(ConfigError, match="256 or 768"):
        make_plan(length)
