"""Every decoder against a slow and obvious reference, and against payloads nobody should send."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmedia.codec import codec_named, codec_names
from rtmedia.errors import ConfigError
from rtmedia.ports import Codec, Format

OCTETS = {"pcm_s16le": 2, "pcm_s16be": 2, "pcm_f32le": 4, "pcmu": 1, "pcma": 1}
NAMES = sorted(OCTETS)


def ulaw_reference(code):
    """The classic decoder, by shifting a biased 16-bit word (not how the table is made)."""
    code = ~code & 0xFF
    value = ((code & 0x0F) << 3) + 0x84
    value <<= (code & 0x70) >> 4
    return (0x84 - value) if code & 0x80 else (value - 0x84)


def alaw_reference(code):
    code ^= 0x55
    value = (code & 0x0F) << 4
    segment = (code & 0x70) >> 4
    value += 8 if segment == 0 else 0x108
    if segment > 1:
        value <<= segment - 1
    return value if code & 0x80 else -value


def float_reference(word):
    (value,) = struct.unpack("<f", word)
    return min(max(value, -8.0), 8.0) if math.isfinite(value) else 0.0


def reference(name, payload):
    if name == "pcm_s16le":
        return [value / 32768 for (value,) in struct.iter_unpack("<h", payload)]
    if name == "pcm_s16be":
        return [value / 32768 for (value,) in struct.iter_unpack(">h", payload)]
    if name == "pcm_f32le":
        return [float_reference(payload[i : i + 4]) for i in range(0, len(payload), 4)]
    law = ulaw_reference if name == "pcmu" else alaw_reference
    return [law(code) / 32768 for code in payload]


@pytest.fixture(scope="module")
def instances():
    return {(name, channels): codec_named(name).make(Format(16_000, channels), 1920) for name in NAMES for channels in (1, 2)}


@given(name=st.sampled_from(NAMES), channels=st.sampled_from([1, 2]), payload=st.binary(max_size=600), room=st.integers(0, 200))
def test_any_payload_decodes_like_the_reference_or_is_refused(instances, name, channels, payload, room):
    frame = OCTETS[name] * channels
    block = instances[name, channels].decode(payload, room)
    if not payload or len(payload) % frame or len(payload) // frame > room:
        assert block is None
    else:
        assert block.shape == (len(payload) // frame, channels)
        assert block.reshape(-1).tolist() == np.float32(reference(name, payload)).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_a_payload_may_lie_at_any_address(instances, name):
    from rtmedia.rt.plugin import run_codec

    instance = instances[name, 1]
    payload = bytes(range(256)) * 2
    expected = instance.decode(payload, 512)
    for shift in range(1, 8):
        source = np.frombuffer(b"\xee" * shift + payload + b"\xee" * 8, np.uint8)
        out = np.full(520, 7.0, np.float32)
        frames = run_codec(instance.address, source.ctypes.data + shift, len(payload), out.ctypes.data, 512, instance.state_address)
        assert np.array_equal(out[:frames], expected[:, 0])
        assert (out[frames:] == 7.0).all()  # nothing is written past the frames


def test_all_finite_floats_survive_and_the_others_become_silence(instances):
    values = np.array([0.0, -0.0, 1e-42, 0.5, 7.99, 8.0, 9.0, -3e38, np.nan, np.inf, -np.inf], "<f4")
    block = instances["pcm_f32le", 1].decode(values.tobytes(), 100)
    assert block[:, 0].tolist() == np.float32([0.0, -0.0, 1e-42, 0.5, 7.99, 8.0, 8.0, -8.0, 0.0, 0.0, 0.0]).tolist()
    signalling = bytes.fromhex("0100807f")
    assert instances["pcm_f32le", 1].decode(signalling, 1)[0, 0] == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_a_codec_is_a_frozen_description_with_its_own_name(name):
    codec = codec_named(name)
    assert isinstance(codec, Codec)
    assert codec.name == name
    assert codec == codec_named(name)
    assert hash(codec) == hash(codec_named(name))


def test_an_unknown_codec_is_refused_with_the_names_of_the_known():
    with pytest.raises(ConfigError, match=r"'opsu'.*pcm_s16le.*pcma"):
        codec_named("opsu")
    assert set(NAMES) <= set(codec_names())
