"""The schedule of a connection, in program time: no clock, no socket."""

from __future__ import annotations

import base64
import itertools
import json
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmedia.codec import codec_named
from rtmedia.errors import ConfigError
from rtmedia.ports import Format
from rtmedia.sim.network import NetworkOptions
from rtmedia.sim.options import ServerOptions
from rtmedia.sim.script import Script, Utterance
from rtmedia.sim.speech import Speech
from rtmedia.sim.stream import Material, Program, deliveries
from rtmedia.sim.trace import read_bundle

MS = 1_000_000
BUNDLE = Path(__file__).parent.parent / "data" / "traces" / "traces.npz"
RNG = np.random.default_rng(5)
#: 1.01 s: the last packet is not full.
SPEECH = Speech((RNG.uniform(-0.9, 0.9, (16_160, 1))).astype(np.float32), 16_000)
SCRIPT = Script((Utterance("agent", "one", 0.9, 100, 200), Utterance("customer", "two", 0.8, 650, 900)))


def program(network=None, rate_hz=16_000, trace=None, **options):
    described = ServerOptions(network=NetworkOptions(**(network or {})), **options)
    return Program(described, Material(SPEECH, SCRIPT, trace), rate_hz)


def audio(found):
    return [delivery for delivery in found if delivery.seq is not None]


def texts(found):
    parsed = [json.loads(delivery.data) for delivery in found if delivery.seq is None]
    return [message for message in parsed if message["type"] == "transcript"]


def unpacked(data, header="aligned"):
    layout = struct.Struct("<I4xq" if header == "aligned" else "<Iq")
    return *layout.unpack_from(data), data[layout.size :]


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s16be", "pcm_f32le", "pcmu", "pcma"])
@pytest.mark.parametrize("header", ["aligned", "packed"])
@pytest.mark.parametrize("packet_ms", [10, 20, 120])
def test_the_packets_put_together_are_the_source(codec, header, packet_ms):
    found = audio(deliveries(program(codec=codec, header=header, packet_ms=packet_ms)))
    parts = [unpacked(delivery.data, header) for delivery in found]
    assert [part[0] for part in parts] == list(range(len(parts)))
    assert [part[1] for part in parts] == [index * packet_ms for index in range(len(parts))]
    assert [delivery.due_ns for delivery in found] == [index * packet_ms * MS for index in range(len(parts))]
    whole = b"".join(part[2] for part in parts)
    missing = -16_160 % (16 * packet_ms)
    padded = np.concatenate([SPEECH.block, np.zeros((missing, 1), np.float32)])
    assert whole == codec_named(codec).encode(padded)


def test_stereo_and_other_rates_have_packets_of_whole_frames():
    pytest.importorskip("soxr")
    for rate_hz in (8_000, 44_100):
        found = audio(deliveries(program(rate_hz=rate_hz, channels=2)))
        assert {len(delivery.data) for delivery in found} == {16 + 4 * rate_hz // 50}
        block = codec_named("pcm_s16le").make(Format(rate_hz, 2), 1000).decode(found[3].data[16:], 1000)
        assert np.array_equal(block[:, 0], block[:, 1])


def test_audio_may_come_as_base64_in_json():
    found = audio(deliveries(program(json_audio=True)))
    binary = audio(deliveries(program()))
    for text, plain in zip(found, binary, strict=True):
        message = json.loads(text.data)
        assert message["type"] == "media"
        assert (message["seq"], message["timestamp"], base64.b64decode(message["audioData"])) == unpacked(plain.data)


def test_sequence_numbers_wrap_and_timestamps_start_where_they_are_told():
    found = audio(deliveries(program(start_seq=2**32 - 2, start_timestamp_ms=1_750_000_000_000)))
    numbers = [unpacked(delivery.data)[:2] for delivery in found[:4]]
    first_ms = 1_750_000_000_000
    assert numbers == [(2**32 - 2, first_ms), (2**32 - 1, first_ms + 20), (0, first_ms + 40), (1, first_ms + 60)]


def test_transcripts_are_sent_at_their_start_with_its_timestamp():
    found = list(deliveries(program(start_timestamp_ms=5000)))
    sent = [(delivery.due_ns, json.loads(delivery.data)) for delivery in found if delivery.seq is None]
    assert [due_ns for due_ns, _ in sent] == [100 * MS, 650 * MS]
    assert sent[0][1] == {"type": "transcript", "text": "one", "confidence": 0.9, "timestamp": 5100, "speaker": "agent"}
    assert not texts(deliveries(program(transcripts=False)))


@pytest.mark.parametrize(("lead_ms", "due_ms"), [(50, [50, 600]), (300, [0, 350]), (-400, [500, 1050])])
def test_transcripts_may_lead_or_trail(lead_ms, due_ms):
    found = list(deliveries(program(transcript_lead_ms=lead_ms)))
    assert [delivery.due_ns / MS for delivery in found if delivery.seq is None] == due_ms
    assert [message["timestamp"] for message in texts(found)] == [100, 650]


def test_a_later_connection_hears_the_live_position_with_an_origin_of_its_own():
    made = program(start_seq=7)
    found = list(deliveries(made, connection=1, position_ns=611 * MS))
    assert unpacked(found[0].data)[1] == 620
    assert found[0].due_ns == 620 * MS
    first_seq = unpacked(found[0].data)[0]
    assert first_seq == made.first_seq(1) != made.first_seq(2)
    assert [unpacked(delivery.data)[0] for delivery in audio(found)] == [(first_seq + n) % 2**32 for n in range(20)]
    assert [message["text"] for message in texts(found)] == ["two"]
    assert not list(deliveries(made, connection=2, position_ns=5000 * MS))
    assert made.ended_at(1010 * MS)
    assert not made.ended_at(990 * MS)


def test_a_loop_has_no_end_and_repeats_sound_and_text():
    found = list(itertools.islice(deliveries(program(loop=True)), 200))
    parts = [unpacked(delivery.data) for delivery in audio(found)]
    assert parts[51][2] == parts[0][2]
    assert parts[51][1] == 1020
    assert [message["timestamp"] for message in texts(found)][:4] == [100, 650, 1120, 1670]


def test_the_fate_of_a_seed_is_always_the_same():
    network = {"loss": 0.1, "jitter_ms": 40, "duplicate": 0.1, "reorder": 0.1, "seed": 3}
    first, again = (list(deliveries(program(network, junk=0.2))) for _ in range(2))
    assert first == again
    assert list(deliveries(program({**network, "seed": 4}, junk=0.2))) != first


def test_loss_duplicates_and_reordering_show_on_the_line():
    found = [d.seq for d in audio(deliveries(program({"loss": 0.2, "duplicate": 0.2, "reorder": 0.2, "seed": 1})))]
    assert set(found) < set(range(51))
    assert len(found) > len(set(found))
    assert found != sorted(found)


@settings(max_examples=60)
@given(
    network=st.fixed_dictionaries(
        {
            "delay_ms": st.floats(0, 300),
            "jitter_ms": st.floats(0, 100),
            "in_order": st.booleans(),
            "loss": st.floats(0, 0.5),
            "duplicate": st.floats(0, 0.5),
            "reorder": st.floats(0, 0.5),
            "drift_ppm": st.floats(-5000, 5000),
            "seed": st.integers(0, 1000),
        }
    ),
    position_ms=st.integers(0, 1200),
    lead_ms=st.integers(-500, 2000),
    junk=st.floats(0, 1),
)
def test_messages_come_in_the_order_of_their_due_times(network, position_ms, lead_ms, junk):
    made = program(network, transcript_lead_ms=lead_ms, junk=junk, packet_ms=20)
    found = list(deliveries(made, 1 if position_ms else 0, position_ms * MS))
    assert all(first.due_ns <= second.due_ns for first, second in pairwise(found))
    assert all(delivery.due_ns >= position_ms * MS for delivery in found)


def test_every_reference_trace_is_replayed_as_it_was():
    for trace in read_bundle(BUNDLE).values():
        found = list(deliveries(program(trace=trace)))
        expected = sorted(
            (round(arrival_ms * MS), seq)
            for seq, arrival_ms in zip(trace.seq.tolist(), trace.arrival_ms.tolist(), strict=True)
            if not np.isnan(arrival_ms)
        )
        assert [(delivery.due_ns, delivery.seq) for delivery in audio(found)] == expected
        assert all(first.due_ns <= second.due_ns for first, second in pairwise(found))
        # the speech is shorter than the trace and repeats, its text too
        assert len(texts(found)) >= 2 * int(trace.duration_ms // 1020)


def test_a_trace_is_found_in_its_bundle():
    material = Material.of(ServerOptions(trace=f"{BUNDLE}:wifi_spikes"))
    assert material.trace.name == "wifi_spikes"
    with pytest.raises(ConfigError, match=r"no 'wifi'; it has 5g_.*wifi_spikes"):
        Material.of(ServerOptions(trace=f"{BUNDLE}:wifi"))


def test_noise_has_the_level_asked_for():
    quiet = Material(Speech(np.zeros((16_000, 1), np.float32), 16_000), Script(()), None)
    made = Program(ServerOptions(noise_dbfs=-40, codec="pcm_f32le"), quiet, 16_000)
    block = np.frombuffer(b"".join(made.payload(index) for index in range(50)), "<f4")
    assert 20 * np.log10(block.std()) == pytest.approx(-40, abs=0.2)


def test_junk_is_mixed_in_and_leaves_the_stream_alone():
    found = list(deliveries(program(junk=1.0)))
    assert [delivery.seq for delivery in audio(found)] == list(range(51))
    assert len(found) >= 102
