"""Block → payload, in NumPy: what a server, a recorder or a test sends. Never on the audio path.

Full scale is ±1.0, which is 32768 in 16 bit: +1.0 itself does not exist there and becomes 32767.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rtmedia.ports import Block


def to_int16(block: Block) -> npt.NDArray[np.int16]:
    """Round to 16 bit, clipped; NaN becomes silence. The decoders divide by the same 32768."""
    scaled = np.nan_to_num(np.asarray(block, np.float32) * np.float32(32768.0), nan=0.0, posinf=32767.0, neginf=-32768.0)
    clipped: npt.NDArray[np.float32] = np.clip(np.rint(scaled), -32768, 32767)
    return clipped.astype(np.int16)


def encode_s16(block: Block, byte_order: str) -> bytes:
    """16-bit linear PCM; `byte_order` is ``"<"`` or ``">"``."""
    return to_int16(block).astype(f"{byte_order}i2").tobytes()


def encode_f32le(block: Block) -> bytes:
    """32-bit IEEE 754 float, little-endian, as it is."""
    return np.ascontiguousarray(block, "<f4").tobytes()
