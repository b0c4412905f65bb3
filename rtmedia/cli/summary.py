"""What a session was like, in some lines at its end."""

from __future__ import annotations

import re

from rtmedia.cli.terminal import clock
from rtmedia.stats import Stats

#: The latency by station in the order of a packet's way, and what each begins with; `device` comes after the hand-over.
STATIONS = {
    "socket": "read, until it is on the wire ring",
    "wire": "until decode takes it",
    "decode": "checked and decoded",
    "buffer": "jitter buffer",
    "render": "its block is made",
    "chain": "held by effects, resampler, limiter",
    "ring": "until the device's call",
    "total": "socket to device",
    "device": "to the speaker, as the device says",
    "heard": "socket to speaker",
}
QUANTILES = ("p50", "p95", "p99", "p99.9", "max")


def summary_rows(stats: Stats) -> list[tuple[str, str]]:
    """Name and text of each line; lines about what did not happen are left out."""
    heard_s = stats.frames_played_total / stats.device_rate_hz if stats.device_rate_hz else 0.0
    source = "the loopback server" if stats.source.startswith("loopback:") else stats.source
    rows = [("heard", f"{clock(heard_s)} from {source} on {stats.device or stats.sink} ({_sound(stats)})")]
    if not stats.packets_received_total:
        rows[0] = ("heard", f"nothing from {source}")
    else:
        rows += [("packets", _packets(stats)), ("concealed", _concealed(stats))]
    if stats.stalls_total:
        rows.append(("stalls", f"{stats.stalls_total}, the longest {stats.longest_stall_ms / 1000:.1f} s"))
    rows += _latency(stats)
    rows += _chain(stats)
    rows.append(("underruns", _underruns(stats)))
    if stats.captions_total:
        late = f", {stats.captions_late_total} late" if stats.captions_late_total else ""
        skew = abs(stats.caption_skew_ms)
        side = "after" if stats.caption_skew_ms >= 0 else "before"
        rows.append(("captions", f"{stats.captions_total}{late}; shown {skew:.1f} ms {side} their first word was heard"))
    rows.append(("connection", _connection(stats)))
    return rows


def _sound(stats: Stats) -> str:
    channels = {1: "mono", 2: "stereo"}.get(stats.channels, f"{stats.channels} channels")
    rates = (
        f"{stats.rate_hz / 1000:g} kHz"
        if stats.rate_hz == stats.device_rate_hz
        else f"{stats.rate_hz / 1000:g} to {stats.device_rate_hz / 1000:g} kHz"
    )
    return f"{rates}, {channels}, {stats.play_path}"


def _packets(stats: Stats) -> str:
    share = 100.0 * stats.packets_lost_total / max(1, stats.packets_expected_total)
    text = f"{stats.packets_received_total} received, {stats.packets_lost_total} lost ({share:.2f} %), {stats.packets_late_total} late"
    extra = {
        "duplicate": stats.packets_duplicate_total,
        "reordered": stats.packets_reordered_total,
        "undecodable": stats.packets_undecodable_total,
        "implausible": stats.packets_implausible_total,
        "overflowed": stats.wire_overflow_total + stats.packet_overflow_total,
        "rejected": sum(stats.rejected_total.values()),
    }
    return text + "".join(f", {count} {name}" for name, count in extra.items() if count) + f"; jitter {stats.jitter_ms:.1f} ms"


def _concealed(stats: Stats) -> str:
    text = f"{stats.concealed_pct:.2f} % ({stats.concealed_ms_total:.0f} ms in {stats.concealment_events_total} places)"
    if stats.accelerated_ms_total or stats.decelerated_ms_total:
        text += f"; sped up by {stats.accelerated_ms_total:.0f} ms, slowed down by {stats.decelerated_ms_total:.0f} ms"
    return text


def _latency(stats: Stats) -> list[tuple[str, str]]:
    """A table: the means, which make up that of the total, and the quantiles, which are no sums."""
    terms = {name: stats.latency_ms[name] for name in STATIONS if stats.latency_ms.get(name)}
    if "total" not in terms:
        return []
    rows = [("latency", f"{'in ms':7}{'mean':>9}" + "".join(f"{name:>9}" for name in QUANTILES))]
    for name, term in terms.items():
        figures = (term["mean"], *(term[quantile] for quantile in QUANTILES))
        rows.append(("", f"{name:7}" + "".join(f"{_short(value):>9}" for value in figures) + f"  {STATIONS[name]}"))
    return rows


def _short(value_ms: float) -> str:
    """Three digits, down to the microsecond."""
    return f"{value_ms:.3f}" if value_ms < 1.0 else f"{value_ms:.2f}" if value_ms < 10.0 else f"{value_ms:.1f}"


def _chain(stats: Stats) -> list[tuple[str, str]]:
    """Of what the term *chain* consists; an effect that is switched off keeps its delay."""
    late = {name.replace("_", " "): late_ms for name, late_ms in stats.chain_ms.items()}
    off = {name.replace("_", " ") for name in stats.bypassed}
    if not late:
        return []
    # Of two effects with one name the second is called "name 2".
    parts = [f"{name}{' (off)' if {name, re.sub(r' [0-9]+$', '', name)} & off else ''} {late_ms:.1f}" for name, late_ms in late.items()]
    return [("chain", f"{' + '.join(parts)} = {sum(late.values()):.1f} ms")]


def _underruns(stats: Stats) -> str:
    if not (stats.underruns_total or stats.device_xruns_total):
        return "none"
    milliseconds = 1000.0 * stats.underrun_frames_total / max(1, stats.device_rate_hz)
    device = f"; {stats.device_xruns_total} reported by the device" if stats.device_xruns_total else ""
    return f"{stats.underruns_total} ({milliseconds:.0f} ms){device}"


def _connection(stats: Stats) -> str:
    rtt = f", round trip {stats.rtt_ms:.1f} ms" if stats.rtt_ms is not None else ""
    close = f", closed with {stats.last_close_code}" if stats.last_close_code is not None else ""
    again = f"{stats.connections_total} made"
    if stats.reconnects_total:
        again += f", {stats.reconnects_total} after a loss"
    return f"{again}{rtt}{close}"
