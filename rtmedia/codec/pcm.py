"""Linear PCM, interleaved: 16 bit in both byte orders, and 32-bit float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rtmedia.codec.encode import encode_f32le, encode_s16
from rtmedia.ports import Block, CodecInstance, Format


@dataclass(frozen=True, slots=True)
class PcmS16le:
    """16-bit little-endian PCM: the media API's ``format: "raw"``."""

    name: ClassVar[str] = "pcm_s16le"

    def make(self, format: Format, max_frames: int) -> CodecInstance:
        """A decoder for `format`; compiles or loads it. Thread: control. Real-time: no."""
        from rtmedia.codec import kernels

        return kernels.make(kernels.decode_s16le, format)

    def encode(self, block: Block) -> bytes:
        """The payload of one block, in NumPy. Real-time: no."""
        return encode_s16(block, "<")


@dataclass(frozen=True, slots=True)
class PcmS16be:
    """16-bit big-endian PCM: RTP's L16 (RFC 3551 section 4.5.11)."""

    name: ClassVar[str] = "pcm_s16be"

    def make(self, format: Format, max_frames: int) -> CodecInstance:
        """A decoder for `format`; compiles or loads it. Thread: control. Real-time: no."""
        from rtmedia.codec import kernels

        return kernels.make(kernels.decode_s16be, format)

    def encode(self, block: Block) -> bytes:
        """The payload of one block, in NumPy. Real-time: no."""
        return encode_s16(block, ">")


@dataclass(frozen=True, slots=True)
class PcmF32le:
    """32-bit little-endian float. NaN and infinities decode to 0, the rest is clipped to ±8 (+18 dBFS)."""

    name: ClassVar[str] = "pcm_f32le"

    def make(self, format: Format, max_frames: int) -> CodecInstance:
        """A decoder for `format`; compiles or loads it. Thread: control. Real-time: no."""
        from rtmedia.codec import kernels

        return kernels.make(kernels.decode_f32le, format)

    def encode(self, block: Block) -> bytes:
        """The payload of one block, in NumPy. Real-time: no."""
        return encode_f32le(block)
