"""The line's totals under the names that NetEQ and WebRTC's getStats use, with the meanings that NetEQ gives them.

Whoever knows those figures from a browser can compare. Counts are in frames of the source (WebRTC says samples, per
channel), times in seconds, and where NetEQ counts ticks of 10 ms these are exact. Nothing counts before the first sound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtmedia.rooms.line import Line


def neteq_statistics(line: Line, *, outages: int, interrupted: int) -> dict[str, float]:
    """All totals by their foreign names.

    Parameters
    ----------
    line
        Whose memory is read.
    outages
        Times that playback waited and what it waited for came: NetEQ's *delayed packet outage* events.
    interrupted
        Frames of all concealments of 150 ms and more that are over.

    Returns
    -------
    dict
        ``totalSamplesReceived`` all frames played, made-up ones too; ``concealedSamples``; ``silentConcealedSamples``
        those after the first 150 ms of a concealment, when only background is left; ``concealmentEvents``;
        ``insertedSamplesForDeceleration``, ``removedSamplesForAcceleration`` by splices; ``jitterBufferDelay`` and
        ``jitterBufferTargetDelay`` (s x frames: divide by ``jitterBufferEmittedCount``) from the socket to the tick that
        first plays of a packet, and the delay wanted at that tick; ``jitterBufferEmittedCount`` frames of those packets;
        ``packetsReceived``; ``packetsDiscarded`` late or twice; ``interruptionCount``, ``totalInterruptionDuration`` (s)
        of concealment of 150 ms and more; ``delayedPacketOutageSamples``, ``delayedPacketOutageEvents`` of concealment
        because nothing newer was there; ``generatedNoiseSamples`` of senders' own pauses.

    Notes
    -----
    Thread: any; single words that only grow.   Real-time: no.
    Sources: WebRTC, ``statistics_calculator.cc``; W3C, "Identifiers for WebRTC's Statistics API", RTCInboundRtpStreamStats.
    """
    b = line.buffer.state[0]
    d = line.decode.state[0]
    r = line.render.state[0]
    return {
        "totalSamplesReceived": int(b["total"]),
        "concealedSamples": int(b["concealed"]),
        "silentConcealedSamples": int(b["silent_concealed"]),
        "concealmentEvents": int(b["conceal_events"]),
        "insertedSamplesForDeceleration": int(b["decelerated"]),
        "removedSamplesForAcceleration": int(b["accelerated"]),
        "jitterBufferDelay": float(r["waited_s"]),
        "jitterBufferTargetDelay": float(r["wanted_s"]),
        "jitterBufferEmittedCount": int(r["emitted"]),
        "packetsReceived": int(d["received"]),
        "packetsDiscarded": int(b["late"] + b["duplicate"] + d["duplicate"] + d["too_old"]),
        "interruptionCount": int(b["stalls"]),
        "totalInterruptionDuration": interrupted / line.rate_hz,
        "delayedPacketOutageSamples": int(b["held"]),
        "delayedPacketOutageEvents": outages,
        "generatedNoiseSamples": int(b["paused"]),
    }
