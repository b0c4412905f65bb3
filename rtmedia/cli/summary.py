"""What a session was like, in seven lines at its end."""

from __future__ import annotations

from rtmedia.cli.terminal import clock
from rtmedia.stats import Stats

#: The terms of the latency in the order of a packet's way; `device` comes after the hand-over and is no part of the total.
TERMS = ("decode", "buffer", "chain", "ring")


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
    """The mean as the sum that it is, and the quantiles, which are no sums."""
    terms, total = stats.latency_ms, stats.latency_ms.get("total")
    if not total:
        return []
    added = " + ".join(f"{name} {terms[name]['mean']:.1f}" for name in TERMS if name in terms)
    rows = [("latency", f"{added} = {total['mean']:.1f} ms from socket to device")]
    tail = f"p50 {total['p50']:.0f}, p95 {total['p95']:.0f}, p99 {total['p99']:.0f}, worst {total['max']:.0f} ms"
    if "device" in terms:
        tail += f"; then {terms['device']['mean']:.1f} ms to the speaker, as the device says"
    rows.append(("", tail))
    return rows


def _chain(stats: Stats) -> list[tuple[str, str]]:
    """Of what the term *chain* consists; an effect that is switched off keeps its delay."""
    late = {name.replace("_", " "): late_ms for name, late_ms in stats.chain_ms.items()}
    off = {name.replace("_", " ") for name in stats.bypassed}
    if not late:
        return []
    parts = [f"{name}{' (off)' if name.rstrip(' 0123456789') in off else ''} {late_ms:.1f}" for name, late_ms in late.items()]
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
