"""Any sound file comes in as float32, or is refused in words."""

from __future__ import annotations

import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmedia.codec import codec_named
from rtmedia.errors import ConfigError
from rtmedia.sim.speech import Speech, read_speech
from rtmedia.sim.wav import decode_wav


def tone(rate_hz, frames=4000, channels=1):
    phase = 2 * np.pi * 440 * np.arange(frames) / rate_hz
    return np.stack([0.5 * np.sin(phase + channel) for channel in range(channels)], axis=1).astype(np.float32)


def riff(tag, bits, rate_hz, channels, data, *, extensible=False, extra=b""):
    head = struct.pack(
        "<HHIIHH", 0xFFFE if extensible else tag, channels, rate_hz, rate_hz * channels * bits // 8, channels * bits // 8, bits
    )
    if extensible:
        head += struct.pack("<HHIH", 22, bits, 0, tag) + b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + extra + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def coded(block, tag, bits):
    if tag == 3:
        return block.astype(f"<f{bits // 8}").tobytes()
    if tag in (6, 7):
        return codec_named("pcma" if tag == 6 else "pcmu").encode(block)
    if bits == 8:
        return (np.rint(block * 127) + 128).astype(np.uint8).tobytes()
    whole = np.rint(block.astype(np.float64) * 2 ** (bits - 1)).astype("<i4")
    return whole.view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("tag", "bits", "tolerance"),
    [(1, 8, 0.01), (1, 16, 2e-5), (1, 24, 1e-6), (1, 32, 1e-6), (3, 32, 0), (3, 64, 0), (6, 8, 0.02), (7, 8, 0.02)],
)
def test_every_kind_of_wav_is_read(tag, bits, tolerance, channels, extensible):
    block = tone(22_050, channels=channels)
    extra = b"LIST" + struct.pack("<I", 3) + b"abc\0"  # an odd chunk, padded
    read, rate_hz = decode_wav(riff(tag, bits, 22_050, channels, coded(block, tag, bits), extensible=extensible, extra=extra), "x")
    assert rate_hz == 22_050
    assert read.dtype == np.float32
    assert read.shape == block.shape
    assert np.abs(read - block).max() <= tolerance


def test_a_file_of_the_standard_library_is_read(tmp_path):
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(codec_named("pcm_s16le").encode(tone(8000)))
    speech = read_speech(path)
    assert speech.rate_hz == 8000
    assert speech.duration_ms == 500.0


def test_a_file_cut_off_or_written_to_a_pipe_is_read_as_far_as_it_goes():
    whole = riff(1, 16, 8000, 1, coded(tone(8000), 1, 16))
    assert decode_wav(whole[:-1001], "x")[0].shape == (3499, 1)
    piped = bytearray(whole)
    piped[40:44] = b"\xff\xff\xff\xff"
    assert decode_wav(bytes(piped), "x")[0].shape == (4000, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"OggS" * 20,
        riff(1, 16, 8000, 1, b""),
        riff(1, 16, 8000, 0, b"1234"),
        riff(1, 16, 0, 1, b"1234"),
        riff(1, 12, 8000, 1, b"1234"),
        riff(85, 16, 8000, 1, b"1234"),
        riff(1, 0, 8000, 1, b"1234"),
        riff(1, 16, 8000, 1, b"1234")[:30],
        riff(1, 16, 8000, 1, b"1234")[:36],
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(data):
    with pytest.raises(ConfigError, match=r"call\.wav"):
        decode_wav(data, "call.wav")


@given(st.data())
def test_no_damage_makes_the_reader_fail_otherwise(data):
    whole = bytearray(riff(1, 16, 8000, 1, bytes(64)))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        block, rate_hz = decode_wav(bytes(whole[: data.draw(st.integers(0, len(whole)))]), "x")
    except ConfigError:
        return
    assert block.shape[0] > 0
    assert 1000 <= rate_hz <= 384_000
    assert np.isfinite(block).all()


def test_missing_and_foreign_files_are_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.wav"):
        read_speech(tmp_path / "gone.wav")
    with pytest.raises(ConfigError, match="speech file"):
        read_speech(tmp_path)
    noise = tmp_path / "noise.bin"
    noise.write_bytes(b"no sound at all" * 9)
    with pytest.raises(ConfigError, match=r"noise\.bin"):
        read_speech(noise)


def test_flac_is_read_where_soundfile_is_installed(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "tone.flac"
    soundfile.write(path, tone(16_000, channels=2), 16_000)
    speech = read_speech(path)
    assert speech.block.shape == (4000, 2)
    assert np.abs(speech.block - tone(16_000, channels=2)).max() < 1e-4


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_resampling_keeps_a_tone_and_its_length(rate_hz):
    pytest.importorskip("soxr")
    moved = Speech(tone(16_000, 16_000), 16_000).at(rate_hz)
    assert moved.block.shape == (rate_hz, 1)
    middle = slice(rate_hz // 4, rate_hz // 2)
    assert np.abs(moved.block[middle] - tone(rate_hz, rate_hz)[middle]).max() < 1e-3


def test_channels_are_doubled_averaged_or_refused():
    mono = Speech(tone(16_000), 16_000)
    stereo = mono.at(16_000, 2)
    assert stereo.block.shape == (4000, 2)
    assert np.array_equal(stereo.at(16_000, 1).block, mono.block)
    assert Speech(tone(16_000, channels=4), 16_000).at(16_000, 2).block.shape == (4000, 2)
    with pytest.raises(ConfigError, match="channels is 3"):
        mono.at(16_000, 3)
