"""The compiled decoders: ``int64 decode(payload, length, out, max_frames, state)``, one for each layout.

A payload is octets at any address: samples are put together octet by octet, so neither the machine's
alignment nor its byte order matters. A payload of no frames, of a broken frame, or of more than
``max_frames`` frames is refused whole (see the ``WRONG_*`` results); nothing is read past its length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.ports import CodecInstance, Format
from rtmedia.rt.kernel import CODEC_SIGNATURE, callback, kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros, view_f4, view_u1
from rtmedia.rt.plugin import DecoderInstance

#: Results that say why a payload is undecodable.
WRONG_LENGTH = -1  # empty, or no whole number of frames
TOO_LONG = -2  # more frames than the caller has room for

LINEAR_STATE = np.dtype([("channels", "i8")], align=True)
COMPANDED_STATE = np.dtype([("channels", "i8"), ("table", "f4", (256,))], align=True)

_S16_SCALE = np.float32(1.0 / 32768.0)  # a power of two: exact
_F32_LIMIT = np.float32(8.0)


@kernel("i8(i8, i8, i8, i8)")
def frames_of(length, octets, channels, max_frames):
    """Whole frames in a payload, or the reason why it cannot be used."""
    if channels <= 0 or length <= 0:
        return WRONG_LENGTH
    frame = octets * channels
    if length % frame != 0:
        return WRONG_LENGTH
    frames = length // frame
    if frames > max_frames:
        return TOO_LONG
    return frames


@callback(CODEC_SIGNATURE)
def decode_s16le(payload, length, out, max_frames, state):
    channels = carray(pointer_void(state), 1, LINEAR_STATE)[0].channels
    frames = frames_of(length, 2, channels, max_frames)
    if frames < 0:
        return frames
    octets = view_u1(payload, length)
    samples = view_f4(out, frames * channels)
    for i in range(frames * channels):
        word = np.int32(octets[2 * i]) | (np.int32(octets[2 * i + 1]) << 8)
        samples[i] = np.float32(word - ((word & 0x8000) << 1)) * _S16_SCALE
    return frames


@callback(CODEC_SIGNATURE)
def decode_s16be(payload, length, out, max_frames, state):
    channels = carray(pointer_void(state), 1, LINEAR_STATE)[0].channels
    frames = frames_of(length, 2, channels, max_frames)
    if frames < 0:
        return frames
    octets = view_u1(payload, length)
    samples = view_f4(out, frames * channels)
    for i in range(frames * channels):
        word = np.int32(octets[2 * i + 1]) | (np.int32(octets[2 * i]) << 8)
        samples[i] = np.float32(word - ((word & 0x8000) << 1)) * _S16_SCALE
    return frames


@callback(CODEC_SIGNATURE)
def decode_f32le(payload, length, out, max_frames, state):
    channels = carray(pointer_void(state), 1, LINEAR_STATE)[0].channels
    frames = frames_of(length, 4, channels, max_frames)
    if frames < 0:
        return frames
    octets = view_u1(payload, length)
    samples = view_f4(out, frames * channels)
    for i in range(frames * channels):
        word = np.uint32(
            np.uint32(octets[4 * i])
            | (np.uint32(octets[4 * i + 1]) << np.uint32(8))
            | (np.uint32(octets[4 * i + 2]) << np.uint32(16))
            | (np.uint32(octets[4 * i + 3]) << np.uint32(24))
        )
        # All exponent bits set: NaN or infinity. They must not reach a filter's memory, which would never recover.
        if word & np.uint32(0x7F800000) == np.uint32(0x7F800000):
            samples[i] = np.float32(0.0)
        else:
            samples[i] = min(max(word.view(np.float32), -_F32_LIMIT), _F32_LIMIT)
    return frames


@callback(CODEC_SIGNATURE)
def decode_companded(payload, length, out, max_frames, state):
    record = carray(pointer_void(state), 1, COMPANDED_STATE)[0]
    frames = frames_of(length, 1, record.channels, max_frames)
    if frames < 0:
        return frames
    octets = view_u1(payload, length)
    samples = view_f4(out, frames * record.channels)
    for i in range(frames * record.channels):
        samples[i] = record.table[octets[i]]
    return frames


def make(function: Any, format: Format) -> CodecInstance:
    """A linear decoder at work on streams of `format`."""
    state = aligned_zeros((1,), LINEAR_STATE)
    state["channels"] = format.channels
    return DecoderInstance(function, state, format)


def make_companded(table: npt.NDArray[np.float32], format: Format) -> CodecInstance:
    """A decoder that looks each octet up in `table` (256 float32)."""
    state = aligned_zeros((1,), COMPANDED_STATE)
    state["channels"] = format.channels
    state["table"] = table
    return DecoderInstance(decode_companded, state, format)
