"""What a captured session says about its network: a trace that simulations of other settings can use."""

from __future__ import annotations

from typing import Any

import numpy as np

from rtmedia.capture.reading import Session
from rtmedia.capture.settings import config_of
from rtmedia.codec import codec_named
from rtmedia.errors import ConfigError
from rtmedia.ports import Format
from rtmedia.rooms.decode import Decode, decode_step
from rtmedia.sim.trace import Trace
from rtmedia.units import NS_PER_MS


def trace_of(session: Session, name: str = "captured") -> Trace:
    """The arrivals of a captured session's longest connection.

    The sender's clock and ours have no common origin, and nobody knows how long the fastest packet was on its way: it
    gets a delay of 0. Of a packet that came twice, the first counts; what did not come is lost.

    Raises
    ------
    ConfigError
        No packet arrived.
    """
    config = config_of(session.settings)
    codec = codec_named(config.codec).make(Format(config.rate_hz, config.channels), config.rate_hz // 4)
    packets = _packets(Decode(codec, config.rate_hz, config.channels), session)
    epochs, counts = np.unique(packets["epoch"], return_counts=True)
    if not len(epochs):
        raise ConfigError("no packet of the capture can be decoded; there is no trace in it")
    packets = packets[packets["epoch"] == epochs[np.argmax(counts)]]
    packets = packets[np.argsort(packets["seq"], kind="stable")]
    # A sender whose time stands still cannot be told from one that repeats itself: the trace takes what goes forward.
    ahead = packets["media_pos"] > np.maximum.accumulate(np.append(np.iinfo(np.int64).min, packets["media_pos"][:-1]))
    packets = packets[ahead]
    send_ms = (packets["media_pos"] - packets["media_pos"][0]) * 1000.0 / config.rate_hz
    arrival_ms = (packets["arrival_ns"] - packets["arrival_ns"][0]) / NS_PER_MS
    arrival_ms -= np.min(arrival_ms - send_ms)
    seq = packets["seq"] - packets["seq"][0]
    trace = Trace(name, seq, send_ms, arrival_ms)
    length_ms = packets["frames"] * 1000.0 / config.rate_hz
    if trace.regular and np.all(length_ms == trace.packet_ms):
        return trace
    return Trace(name, seq, send_ms, arrival_ms, length_ms)  # pauses, or packets of several lengths: both must be told


def _packets(decode: Decode, session: Session) -> Any:
    """What decode makes of all messages: `rtmedia.rooms.doorways.PACKET_DTYPE`, without their samples."""
    found = [decode.packet_records.read(0)]
    samples = np.empty((decode.max_frames, decode.packet_frames.channels), np.float32)

    def take() -> None:
        while decode_step(decode.address, 0):
            packet = decode.packet_records.read(decode.packet_records.readable)
            decode.packet_frames.read(samples)
            found.append(packet[packet["frames"] > 0])

    at = 0
    for message in session.wire:
        payload = session.payloads[at : at + int(message["length"])]
        at += len(payload)
        fields = (int(message[field]) for field in ("arrival_ns", "seq", "media_time_ns", "flags"))
        arguments = (*fields, payload.tobytes())
        if not decode.write(*arguments):  # type: ignore[arg-type]
            take()
            decode.write(*arguments)  # type: ignore[arg-type]
    take()
    return np.concatenate(found)
