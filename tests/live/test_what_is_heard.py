"""From the socket to the loudspeaker, in real time: the monitor's recording against the conversation that was sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from rtmedia.rooms.ledger import STATIONS, TERMS
from tests.live.alignment import Sound, compare
from tests.live.heard import Source, find_packets, longest_gap_ms
from tests.live.player import Played, on_a_calm_machine, play
from tests.sound_server import RATE_HZ, Recording, SoundServer

SECONDS = 7.0
# Enough for a machine that lets a thread wait for 40 ms: what the network does is at issue here, not the machine.
PATIENT = {"min_delay_ms": 60.0, "start_delay_ms": 60.0}
BAD = "loopback:?loss=0.03&duplicate=0.05&reorder=0.05&reorder_ms=60&stall_every_s=3&stall_ms=300&seed=7"
#: The engine's resampler is flat up to here (its transition band follows).
FLAT_HZ = 6_800


@dataclass(frozen=True)
class Session:
    """One run, and all that is known about it."""

    played: Played
    recording: Recording
    heard: Sound
    source: Source


@pytest.fixture(scope="module")
def perform(
    warm_player: None, sound_server: SoundServer, scaled: Callable[[float], float], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Session]:
    """Play and record."""

    def run(**settings: object) -> Session:
        folder = tmp_path_factory.mktemp("session")
        with sound_server.record(folder / "monitor.f32") as recording:
            played = play(sound_server.env, folder, seconds=SECONDS, timeout_s=scaled(60.0), **settings)  # type: ignore[arg-type]
        # What is still in the buffers at the stop is not heard: a second less.
        return Session(played, recording, recording.samples().astype(np.float64), Source.first(SECONDS - 1.0))

    return run


@pytest.fixture(scope="module")
def perfect(perform: Callable[..., Session]) -> Session:
    return on_a_calm_machine(lambda: perform(effects=[], jitter=PATIENT), lambda session: session.played, even_arrivals=True)


@pytest.fixture(scope="module", params=["without effects", "default effects"])
def bad(request: pytest.FixtureRequest, perform: Callable[..., Session]) -> Session:
    effects = {"effects": []} if request.param == "without effects" else {}
    return on_a_calm_machine(lambda: perform(source=BAD, **effects), lambda session: session.played)


def lowpass(sound: Sound, limit_hz: float) -> Sound:
    spectrum = np.fft.rfft(sound)
    spectrum[np.fft.rfftfreq(len(sound), 1 / RATE_HZ) > limit_hz] = 0.0
    return np.fft.irfft(spectrum, len(sound))


def spread(values: list[float]) -> float:
    return max(values) - min(values)


def test_on_a_perfect_network_nothing_is_made_up_and_the_device_never_waits(perfect: Session) -> None:
    stats = perfect.played.stats
    assert stats["play_path"] == "callback"
    assert stats["underrun_frames_total"] == 0
    assert stats["concealed_ms_total"] == 0.0
    assert stats["accelerated_ms_total"] == stats["decelerated_ms_total"] == 0.0


def test_neither_jitter_buffer_nor_limiter_nor_server_touches_a_sample(perfect: Session) -> None:
    """Against the same resampler: one offset for all, and nothing left but rounding."""
    segments = compare(perfect.heard, perfect.source.resampled, RATE_HZ)
    assert len(segments) > 12
    assert spread([segment.offset_frames for segment in segments]) < 0.001
    assert min(segment.snr_db for segment in segments) > 100.0


def test_on_a_perfect_network_the_recording_is_the_source(perfect: Session) -> None:
    """Against the band-limited signal itself: no gap, no click, no drift, and what the resampler costs."""
    segments = compare(lowpass(perfect.heard, FLAT_HZ), lowpass(perfect.source.exact, FLAT_HZ), RATE_HZ)
    assert len(segments) > 12
    assert spread([segment.offset_frames for segment in segments]) < 0.05
    assert min(segment.snr_db for segment in segments) > 50.0


def test_captions_come_with_their_words(perfect: Session, scaled: Callable[[float], float]) -> None:
    """Measured outside: the release of the event against the moment in which its first word is recorded."""
    offset = compare(perfect.heard, perfect.source.exact, RATE_HZ)[0].offset_frames
    captions = [event for event in perfect.played.events if event["kind"] == "Transcript"]
    assert len(captions) >= 2
    for caption in captions:
        sounds_ns = perfect.recording.time_ns_of(offset + caption["timestamp_ms"] * RATE_HZ / 1000)
        # The monitor has the sound when the server takes it, before the latency that the device reports (about 30 ms).
        assert -scaled(20.0) < (caption["time_ns"] - sounds_ns) / 1e6 < scaled(100.0)


def test_on_a_bad_network_who_comes_in_time_is_heard_once_and_in_order(bad: Session) -> None:
    stats, packets = bad.played.stats, bad.played.packets
    for trouble in ("lost", "duplicate", "reordered"):
        assert stats[f"packets_{trouble}_total"] > 0
    assert stats["underrun_frames_total"] == 0
    assert np.all(np.diff(packets["seq"]) > 0)
    assert np.all(np.diff(packets["media_pos"]) > 0)
    assert np.all(np.diff(packets["sink_pos"]) >= 0)
    in_time = stats["packets_received_total"] - stats["packets_duplicate_total"] - stats["packets_late_total"]
    assert in_time - SECONDS * 50 * 0.1 <= len(packets) <= in_time


def test_on_a_bad_network_each_packet_is_where_the_ledger_says(bad: Session) -> None:
    found = find_packets(bad.played, bad.heard, bad.source)
    assert len(found.likeness) > 100
    # Splices move the middle of a packet, and effects change its sound and shift its phase.
    clean = bad.played.facts["effects"] == 0
    assert np.mean(np.abs(found.deviation_frames) <= 5) > (0.8 if clean else 0.6)
    assert np.median(found.likeness) > (0.99 if clean else 0.9)


def test_on_a_bad_network_speech_has_no_hole(bad: Session) -> None:
    base = find_packets(bad.played, bad.heard, bad.source).base
    assert longest_gap_ms(bad.played, bad.heard, bad.source, base) <= 2.0


def test_the_terms_of_the_latency_make_the_total(perfect: Session, bad: Session) -> None:
    for latency in (perfect.played.stats["latency_ms"], bad.played.stats["latency_ms"]):
        assert tuple(latency) == TERMS
        mean = {name: term["mean"] for name, term in latency.items()}
        assert sum(mean[name] for name in STATIONS) == pytest.approx(mean["total"], abs=0.01)
        assert mean["total"] + mean["device"] == pytest.approx(mean["heard"])
        for term in latency.values():
            assert 0.0 <= term["p50"] <= term["p95"] <= term["p99"] <= term["p99.9"] <= term["max"]
        for name in STATIONS:
            assert name == "chain" or latency[name]["max"] > 0.0, f"{name} was never stamped"


def test_of_every_single_packet_the_stations_make_the_total(perfect: Session, bad: Session) -> None:
    assert perfect.played.stats["latency_residual_ms"] < 1.0
    assert bad.played.stats["latency_residual_ms"] < 1.0
