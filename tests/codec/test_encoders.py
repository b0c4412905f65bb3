"""What is encoded decodes to the same sound, as near as the codec allows."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rtmedia.codec import codec_named
from rtmedia.codec.tables import codes, values
from rtmedia.ports import Format

ALL_INT16 = np.arange(-32768, 32768)


@pytest.mark.parametrize(("name", "tolerance"), [("pcm_s16le", 0.0), ("pcm_s16be", 0.0), ("pcm_f32le", 0.0)])
def test_every_16_bit_value_makes_the_round_trip(name, tolerance):
    codec = codec_named(name)
    block = (ALL_INT16 / 32768).astype(np.float32).reshape(-1, 2)
    back = codec.make(Format(16_000, 2), 32768).decode(codec.encode(block), 32768)
    assert np.abs(back - block).max() <= tolerance


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_a_companded_code_is_the_nearest_there_is(law):
    chosen = values(law)[codes(law)].astype(int)
    levels = np.unique(values(law)).astype(int)
    nearest = np.abs(ALL_INT16[:, None] - levels[None, :]).min(axis=1)
    assert np.array_equal(np.abs(chosen - ALL_INT16), nearest)


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_every_companded_octet_is_its_own_code(law):
    again = codes(law)[values(law).astype(int) + 32768]
    expected = np.arange(256)
    if law == "ulaw":
        expected[0x7F] = 0xFF  # the negative zero is never sent
    assert again.tolist() == expected.tolist()


def test_the_laws_have_the_values_of_the_standard():
    # G.711 tables 1a and 2a, first and last decoder outputs, at 16-bit scale
    assert values("ulaw")[[0x80, 0x00, 0xFF, 0xFE, 0x7E]].tolist() == [32124, -32124, 0, 8, -8]
    assert values("alaw")[[0xAA, 0x2A, 0xD5, 0x55]].tolist() == [32256, -32256, 8, -8]


def test_encoders_clip_and_make_silence_of_what_is_no_number():
    block = np.array([[2.0], [-2.0], [np.nan], [1.0]], np.float32)
    assert np.frombuffer(codec_named("pcm_s16le").encode(block), "<i2").tolist() == [32767, -32768, 0, 32767]


def test_naming_and_encoding_load_no_compiler():
    code = "import sys, numpy as np; from rtmedia.codec import codec_named; codec_named('pcmu').encode(np.zeros((4, 1), 'f4'))"
    subprocess.run([sys.executable, "-c", code + "; assert 'numba' not in sys.modules"], check=True, timeout=60)
