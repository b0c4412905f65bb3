"""A frozen snapshot of everything the engine counts. Totals only grow; rates are the reader's business."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Stats:
    """One consistent look at an engine. Names follow RFC 3550/3611 and NetEQ's getStats.

    Notes
    -----
    Counters ending in ``_total`` grow for the engine's life. ``*_ms`` are milliseconds, ``*_pct`` are 0..100 of
    all samples played since the start.
    """

    # life
    state: str = "idle"
    uptime_s: float = 0.0
    source: str = ""
    sink: str = ""
    device: str = ""
    play_path: str = ""  # "callback" | "blocking write" | "paced": how the sink takes its samples
    rate_hz: int = 0
    device_rate_hz: int = 0
    channels: int = 0

    # connection
    connected: bool = False
    connections_total: int = 0
    reconnects_total: int = 0
    last_close_code: int | None = None
    rtt_ms: float | None = None
    token_refreshes_total: int = 0
    bytes_received_total: int = 0
    messages_total: dict[str, int] = field(default_factory=dict)  # by kind
    rejected_total: dict[str, int] = field(default_factory=dict)  # malformed messages, by kind

    # packets (decode)
    packets_received_total: int = 0
    packets_expected_total: int = 0
    packets_lost_total: int = 0
    packets_late_total: int = 0
    packets_duplicate_total: int = 0
    packets_reordered_total: int = 0
    packets_undecodable_total: int = 0
    packets_implausible_total: int = 0
    stream_restarts_total: int = 0
    wire_overflow_total: int = 0
    packet_overflow_total: int = 0
    jitter_ms: float = 0.0  # RFC 3550 6.4.1
    fraction_lost: float = 0.0  # over the last interval, 0..1

    # jitter buffer (render)
    delay_ms: float = 0.0
    target_delay_ms: float = 0.0
    buffered_ms: float = 0.0
    concealed_pct: float = 0.0
    concealment_events_total: int = 0
    concealed_ms_total: float = 0.0
    silent_concealed_ms_total: float = 0.0
    accelerated_ms_total: float = 0.0
    decelerated_ms_total: float = 0.0
    resync_ms_total: float = 0.0
    stalls_total: int = 0
    longest_stall_ms: float = 0.0
    resample_ratio: float = 1.0  # frames for the device as a share of what the rates say; 1 with ``drift="splice"``
    drift_ppm: float = 0.0  # by which the sender's clock is faster than the device's, as far as the resampler's controller knows
    neteq: dict[str, float] = field(default_factory=dict)  # totals by WebRTC's names: frames, and seconds times frames

    # sound (play)
    frames_played_total: int = 0
    underruns_total: int = 0
    underrun_frames_total: int = 0
    device_xruns_total: int = 0
    peak_dbfs: float = -120.0
    rms_dbfs: float = -120.0
    limiter_reduction_db: float = 0.0

    # the chain behind the jitter buffer
    chain_ms: dict[str, float] = field(default_factory=dict)  # delay of each effect, of resampler and limiter, on or off
    bypassed: tuple[str, ...] = ()  # effects that are switched off

    # latency by station (`rtmedia.rooms.ledger`): socket wire decode buffer render chain ring, their sum total (packet read from
    # the socket to sample handed to the device), device (from there to the speaker), heard (both); each with mean, p50 p95 p99 p99.9
    # and max
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    latency_residual_ms: float = 0.0  # largest difference between a packet's total and the sum of its stations

    # captions
    captions_total: int = 0
    captions_late_total: int = 0
    caption_skew_ms: float = 0.0

    # real-time settings: what was asked for, and "granted …", "refused: …" or "lost: …"
    realtime: dict[str, str] = field(default_factory=dict)

    telemetry_lost_total: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain types, ready for ``json.dumps``."""
        return asdict(self)
