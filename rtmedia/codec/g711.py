"""G.711: µ-law and A-law, one octet a sample (ITU-T G.711; RTP's PCMU and PCMA, RFC 3551)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rtmedia.codec.encode import to_int16
from rtmedia.codec.tables import codes, values
from rtmedia.ports import Block, CodecInstance, Format


def _make(law: str, format: Format) -> CodecInstance:
    from rtmedia.codec import kernels

    return kernels.make_companded(values(law).astype(np.float32) / np.float32(32768.0), format)


def _encode(law: str, block: Block) -> bytes:
    return codes(law)[to_int16(block).astype(np.int32) + 32768].tobytes()


@dataclass(frozen=True, slots=True)
class Pcmu:
    """µ-law: North America, Japan. Peak ±32124/32768 of full scale."""

    name: ClassVar[str] = "pcmu"

    def make(self, format: Format, max_frames: int) -> CodecInstance:
        """A decoder for `format`; compiles or loads it. Thread: control. Real-time: no."""
        return _make("ulaw", format)

    def encode(self, block: Block) -> bytes:
        """The payload of one block, in NumPy. Real-time: no."""
        return _encode("ulaw", block)


@dataclass(frozen=True, slots=True)
class Pcma:
    """A-law: everywhere else. It has no zero: silence is ±8/32768 (-72 dBFS)."""

    name: ClassVar[str] = "pcma"

    def make(self, format: Format, max_frames: int) -> CodecInstance:
        """A decoder for `format`; compiles or loads it. Thread: control. Real-time: no."""
        return _make("alaw", format)

    def encode(self, block: Block) -> bytes:
        """The payload of one block, in NumPy. Real-time: no."""
        return _encode("alaw", block)
