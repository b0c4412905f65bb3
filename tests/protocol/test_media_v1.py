"""The media dialect: what is understood, what is counted, and that nothing a peer sends ever raises."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmedia.errors import ConfigError
from rtmedia.protocol.media_v1 import REJECTIONS, MediaV1
from rtmedia.protocol.messages import MEDIA_TIME_LIMIT_MS, Ack, End, Media, TranscriptMessage

AUDIO = bytes(range(256)) * 2 + bytes(128)  # 640 octets: 20 ms at 16 kHz


def aligned(seq: int, timestamp_ms: int, audio: bytes) -> bytes:
    return struct.pack("<I4xq", seq, timestamp_ms) + audio


def packed(seq: int, timestamp_ms: int, audio: bytes) -> bytes:
    return struct.pack("<Iq", seq, timestamp_ms) + audio


def text(**fields: Any) -> str:
    return json.dumps(fields)


def why(protocol: MediaV1) -> dict[str, int]:
    return {kind: count for kind, count in protocol.rejected.items() if count}


def test_the_subscription_is_the_one_that_the_server_documents():
    asked = json.loads(MediaV1(conversation_id="talk-1", rate_hz=8_000).subscribe())
    assert asked == {"type": "subscribe", "conversationId": "talk-1", "format": "raw", "sampleRate": 8_000}


def test_an_aligned_header_is_read_and_its_audio_is_whole():
    protocol = MediaV1()
    assert protocol.feed(aligned(7, 1234, AUDIO)) == Media(7, 1234, AUDIO)
    assert protocol.accepted["media"] == 1
    assert why(protocol) == {}


def test_reserved_octets_may_hold_anything():
    assert MediaV1().feed(b"\x01\0\0\0\xff\xff\xff\xff" + struct.pack("<q", 5) + AUDIO) == Media(1, 5, AUDIO)


def test_a_packed_header_is_read_and_its_audio_is_whole():
    assert MediaV1("packed").feed(packed(2**32 - 1, -5, AUDIO)) == Media(2**32 - 1, -5, AUDIO)


def test_the_audio_of_a_view_is_a_view_of_the_same_memory():
    octets = bytearray(aligned(7, 20, AUDIO))
    media = MediaV1().feed(memoryview(octets))
    assert media == Media(7, 20, AUDIO)
    octets[16] ^= 0xFF
    assert media.payload[0] == octets[16]


def test_time_zero_and_times_before_it_are_times():
    assert MediaV1().feed(aligned(0, 0, AUDIO)) == Media(0, 0, AUDIO)
    assert MediaV1().feed(aligned(0, -20, AUDIO)) == Media(0, -20, AUDIO)


@pytest.mark.parametrize(("header", "octets"), [("aligned", 16), ("packed", 12)])
def test_a_message_without_room_for_audio_is_short(header: Any, octets: int):
    protocol = MediaV1(header)
    for length in range(octets + 1):
        assert protocol.feed(bytes(length)) is None
    assert why(protocol) == {"short": octets + 1}


def test_audio_that_ends_inside_a_frame_is_odd_unless_the_codec_has_frames_of_one_octet():
    assert why_after(MediaV1(), aligned(0, 0, b"abc")) == {"odd": 1}
    assert why_after(MediaV1(frame_octets=4), aligned(0, 0, b"abcdef")) == {"odd": 1}
    assert MediaV1(frame_octets=1).feed(aligned(0, 0, b"abc")) == Media(0, 0, b"abc")


def test_audio_at_the_limit_is_taken_and_one_frame_more_is_oversized():
    protocol = MediaV1(audio_limit_octets=8)
    assert protocol.feed(aligned(0, 0, bytes(8))) == Media(0, 0, bytes(8))
    assert protocol.feed(aligned(0, 0, bytes(10))) is None
    assert protocol.feed(text(type="media", seq=0, audioData=base64.b64encode(bytes(8)).decode())) == Media(0, None, bytes(8))
    assert protocol.feed(text(type="media", seq=0, audioData=base64.b64encode(bytes(10)).decode())) is None
    assert protocol.feed(text(type="media", seq=0, audioData="A" * 10_000)) is None
    assert why(protocol) == {"oversized": 3}


@pytest.mark.parametrize("timestamp_ms", [MEDIA_TIME_LIMIT_MS, -MEDIA_TIME_LIMIT_MS, 2**63 - 1, -(2**63), 281760746654663040])
def test_a_time_of_another_world_is_implausible(timestamp_ms: int):
    encoded = base64.b64encode(AUDIO).decode()
    assert why_after(MediaV1(), aligned(0, timestamp_ms, AUDIO)) == {"implausible": 1}
    assert why_after(MediaV1(), text(type="media", timestamp=timestamp_ms, audioData=encoded)) == {"implausible": 1}


def test_the_largest_plausible_time_fits_64_bits_of_nanoseconds():
    assert (MEDIA_TIME_LIMIT_MS - 1) * 1_000_000 < 2**63


@pytest.mark.parametrize("key", ["audioData", "audio", "payload"])
def test_audio_may_come_as_base64_in_a_text_frame(key: str):
    message = text(type="media", seq=3, timestamp=60.4, **{key: base64.b64encode(AUDIO).decode()})
    assert MediaV1().feed(message) == Media(3, 60, AUDIO)


def test_sequence_and_time_may_be_missing_from_a_text_frame():
    encoded = base64.b64encode(AUDIO).decode()
    assert MediaV1().feed(text(type="media", audioData=encoded)) == Media(None, None, AUDIO)
    assert MediaV1().feed(text(type="media", audioData=encoded, seq=None, timestamp=None)) == Media(None, None, AUDIO)
    assert MediaV1().feed(text(type="media", audioData=encoded, seq=4.0, timestamp=0)) == Media(4, 0, AUDIO)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "audio"),
        ({"audioData": 5}, "audio"),
        ({"audioData": ""}, "audio"),
        ({"audioData": "%%%="}, "audio"),
        ({"audioData": "QUJ"}, "audio"),
        ({"audioData": "äöü="}, "audio"),
        ({"audioData": "QUJD"}, "odd"),
        ({"audioData": "QUI=", "seq": True}, "seq"),
        ({"audioData": "QUI=", "seq": "1"}, "seq"),
        ({"audioData": "QUI=", "seq": 1.5}, "seq"),
        ({"audioData": "QUI=", "seq": -1}, "seq"),
        ({"audioData": "QUI=", "seq": 2**32}, "seq"),
        ({"audioData": "QUI=", "timestamp": "now"}, "timestamp"),
        ({"audioData": "QUI=", "timestamp": False}, "timestamp"),
    ],
)
def test_a_text_frame_of_audio_is_refused_for_its_first_fault(fields: dict[str, Any], reason: str):
    assert why_after(MediaV1(), text(type="media", **fields)) == {reason: 1}


def test_a_transcript_at_time_zero_is_a_transcript():
    protocol = MediaV1()
    assert protocol.feed(text(type="transcript", text="hello", confidence=0.9, timestamp=0)) == TranscriptMessage("hello", 0.9, 0)
    assert protocol.accepted["transcript"] == 1


def test_confidence_is_kept_between_none_and_certain():
    def confidence(**fields: Any) -> float:
        message = MediaV1().feed(text(type="transcript", text="x", timestamp=1, **fields))
        assert isinstance(message, TranscriptMessage)
        return message.confidence

    assert [confidence(), confidence(confidence=-3), confidence(confidence=95), confidence(confidence=1)] == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"timestamp": 1}, "text"),
        ({"text": 5, "timestamp": 1}, "text"),
        ({"text": "", "timestamp": 1}, "empty"),
        ({"text": " \t", "timestamp": 1}, "empty"),
        ({"text": "x"}, "timestamp"),
        ({"text": "x", "timestamp": True}, "timestamp"),
        ({"text": "x", "timestamp": 1, "confidence": True}, "confidence"),
        ({"text": "x", "timestamp": 1, "confidence": "high"}, "confidence"),
        ({"text": "x", "timestamp": 10**19}, "implausible"),
    ],
)
def test_a_transcript_is_refused_for_its_first_fault(fields: dict[str, Any], reason: str):
    assert why_after(MediaV1(), text(type="transcript", **fields)) == {reason: 1}


def test_half_a_surrogate_pair_cannot_travel_on_to_an_encoder():
    message = MediaV1().feed('{"type":"transcript","text":"a\\ud800b","timestamp":1}')
    assert isinstance(message, TranscriptMessage)
    assert message.text.encode() == b"a?b"


def test_acknowledgement_and_end_are_understood():
    protocol = MediaV1()
    assert protocol.feed(text(type="ack", anything=[1])) == Ack()
    assert protocol.feed(text(type="end")) == End("the server ended the stream")
    assert protocol.feed(text(type="end", reason="agent hung up")) == End("agent hung up")
    assert protocol.accepted == {"media": 0, "transcript": 0, "ack": 1, "end": 2}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("", "not_json"),
        ("{", "not_json"),
        ("hello", "not_json"),
        ('{"type":"ack"} trailing', "not_json"),
        ('{"type":"ack","x":NaN}', "not_json"),
        ('{"type":"ack","x":-Infinity}', "not_json"),
        ('{"type":"ack","x":' + "9" * 500_000 + "}", "not_json"),
        ('{"type":"transcript","text":"x","timestamp":1e999}', "timestamp"),
        ("[" * 100_000, "nested"),
        ('{"a":' * 100_000, "nested"),
        ("null", "not_object"),
        ("[]", "not_object"),
        ('"media"', "not_object"),
        ("{}", "not_object"),
        ('{"type":null}', "not_object"),
        ('{"type":["media"]}', "not_object"),
        ('{"type":"video"}', "unknown_type"),
        ('{"type":"__class__"}', "unknown_type"),
        (" " * (1 << 20) + "{}", "oversized"),
        (None, "foreign"),
        (5, "foreign"),
        (bytearray(100), "foreign"),
    ],
)
def test_every_bad_message_is_counted_under_its_own_reason(message: Any, reason: str):
    assert why_after(MediaV1(), message) == {reason: 1}


def test_the_counters_keep_their_keys_whatever_comes():
    protocol = MediaV1()
    for number in range(100):
        protocol.feed(text(type=f"new-{number}"))
    assert tuple(protocol.rejected) == REJECTIONS
    assert set(protocol.accepted) == {"media", "transcript", "ack", "end"}


def test_an_impossible_setting_is_the_callers_mistake():
    with pytest.raises(ConfigError, match="aligned"):
        MediaV1("loose")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="frame_octets"):
        MediaV1(frame_octets=0)
    with pytest.raises(ConfigError, match="audio_limit_octets"):
        MediaV1(frame_octets=4, audio_limit_octets=3)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
NEAR_MISSES = st.fixed_dictionaries(
    {"type": st.sampled_from(["media", "transcript", "ack", "end", "video"])},
    optional=dict.fromkeys(("seq", "timestamp", "audioData", "audio", "payload", "text", "confidence", "reason"), JSON),
)


@settings(deadline=None)
@given(
    message=st.binary(max_size=100) | st.text() | JSON.map(json.dumps) | NEAR_MISSES.map(json.dumps),
    header=st.sampled_from(["aligned", "packed"]),
)
def test_nothing_a_peer_sends_ever_raises_and_everything_is_counted_once(message: str | bytes, header: Any):
    protocol = MediaV1(header)
    understood = protocol.feed(message)
    accepted, rejected = sum(protocol.accepted.values()), sum(protocol.rejected.values())
    assert (accepted, rejected) == ((0, 1) if understood is None else (1, 0))
    if isinstance(understood, Media):
        assert understood.payload
        assert len(understood.payload) % 2 == 0
        assert understood.seq is None or 0 <= understood.seq < 2**32
        assert understood.timestamp_ms is None or abs(understood.timestamp_ms) < MEDIA_TIME_LIMIT_MS
    if isinstance(understood, TranscriptMessage):
        assert 0.0 <= understood.confidence <= 1.0
        assert understood.text.encode()


@settings(deadline=None)
@given(seq=st.integers(0, 2**32 - 1), time_ms=st.integers(-(2**43) + 1, 2**43 - 1), audio=st.binary(min_size=1, max_size=200))
def test_what_was_packed_is_what_is_read(seq: int, time_ms: int, audio: bytes):
    assert MediaV1(frame_octets=1).feed(aligned(seq, time_ms, audio)) == Media(seq, time_ms, audio)
    assert MediaV1("packed", frame_octets=1).feed(packed(seq, time_ms, audio)) == Media(seq, time_ms, audio)


def why_after(protocol: MediaV1, message: Any) -> dict[str, int]:
    assert protocol.feed(message) is None
    assert sum(protocol.accepted.values()) == 0
    return why(protocol)
