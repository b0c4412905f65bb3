"""The embedded conversation is what its transcript says, when it says it."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmedia.errors import ConfigError
from rtmedia.sim.script import conversation, parse_script, read_script


@pytest.fixture(scope="module")
def spoken():
    return conversation()


def rms_dbfs(block):
    return 10 * np.log10(np.mean(block.astype(np.float64) ** 2) + 1e-12)


def between(speech, start_ms, end_ms):
    return speech.block[round(start_ms * speech.rate_hz / 1000) : round(end_ms * speech.rate_hz / 1000), 0]


def test_it_is_a_lively_conversation_of_two_speakers(spoken):
    speech, script = spoken
    assert 40_000 <= speech.duration_ms <= 50_000
    assert (speech.rate_hz, speech.block.shape[1]) == (16_000, 1)
    speakers = [utterance.speaker for utterance in script.utterances]
    assert set(speakers) == {"agent", "customer"}
    assert all(first != second for first, second in pairwise(speakers))
    assert any(len(utterance.words) <= 4 for utterance in script.utterances)


def test_words_make_up_the_text_and_follow_each_other(spoken):
    _, script = spoken
    end_ms = 0.0
    for utterance in script.utterances:
        assert " ".join(word.text for word in utterance.words) == utterance.text
        assert utterance.start_ms == utterance.words[0].start_ms
        assert utterance.end_ms == utterance.words[-1].end_ms
        assert utterance.start_ms >= end_ms + 100
        for word in utterance.words:
            assert word.start_ms >= end_ms
            assert 30 <= word.end_ms - word.start_ms <= 900
            end_ms = word.end_ms
        assert 0.0 <= utterance.confidence <= 1.0


def test_every_word_sounds_from_its_start(spoken):
    speech, script = spoken
    for utterance in script.utterances:
        for word in utterance.words:
            # a stop consonant begins with up to 80 ms of closure
            assert rms_dbfs(between(speech, word.start_ms, word.start_ms + 110)) > -45, word
            assert rms_dbfs(between(speech, word.start_ms, word.end_ms)) > -32, word


def test_turns_are_parted_by_digital_silence(spoken):
    speech, script = spoken
    edges = [0.0]
    for utterance in script.utterances:
        edges += [utterance.start_ms, utterance.end_ms]
    edges.append(speech.duration_ms)
    for quiet_from_ms, quiet_to_ms in zip(edges[::2], edges[1::2], strict=True):
        # 30 ms after the last word, for the end of its last consonant
        assert not between(speech, quiet_from_ms + 30 if quiet_from_ms else 0, quiet_to_ms - 1).any()


def test_pauses_between_clauses_are_not_part_of_words(spoken):
    speech, script = spoken
    pauses = 0
    for utterance in script.utterances:
        for word, following in pairwise(utterance.words):
            if following.start_ms - word.end_ms > 150:
                pauses += 1
                assert rms_dbfs(between(speech, word.end_ms + 60, following.start_ms - 30)) < -50, word
    assert pauses >= 10


def test_the_two_voices_differ_in_pitch(spoken):
    speech, script = spoken

    def pitch_hz(utterance):
        found = []
        for start_ms in range(int(utterance.start_ms), int(utterance.end_ms) - 40, 40):
            piece = between(speech, start_ms, start_ms + 40).astype(np.float64)
            if rms_dbfs(piece) > -22:
                correlation = np.correlate(piece, piece, "full")[piece.size - 1 :]
                lags = slice(speech.rate_hz // 400, speech.rate_hz // 60)
                found.append(speech.rate_hz / (lags.start + np.argmax(correlation[lags])))
        return np.median(found)

    agent = np.median([pitch_hz(u) for u in script.utterances if u.speaker == "agent" and len(u.words) > 4])
    customer = np.median([pitch_hz(u) for u in script.utterances if u.speaker == "customer" and len(u.words) > 4])
    assert agent > 1.4 * customer


def test_its_level_is_that_of_speech(spoken):
    speech, script = spoken
    spoken_only = np.concatenate([between(speech, u.start_ms, u.end_ms) for u in script.utterances])
    window = spoken_only[: spoken_only.size // 320 * 320].reshape(-1, 320).astype(np.float64)
    power = (window**2).mean(axis=1)
    assert -21.5 <= 10 * np.log10(power[power > power.max() * 1e-3].mean()) <= -18.5
    assert 20 * np.log10(np.abs(speech.block).max()) < -3.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"utterances": 3}',
        '{"utterances": [3]}',
        '{"utterances": [{"text": "", "start_ms": 0, "end_ms": 1}]}',
        '{"utterances": [{"text": "a", "start_ms": -1, "end_ms": 1}]}',
        '{"utterances": [{"text": "a", "start_ms": NaN, "end_ms": 1}]}',
        '{"utterances": [{"text": "a", "start_ms": 0, "end_ms": 1, "words": [["a", 0]]}]}',
    ],
)
def test_an_unusable_transcript_is_refused_by_name(text):
    with pytest.raises(ConfigError, match=r"call\.json"):
        parse_script(text, "call.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["text", "start_ms", "end_ms", "words", "x"]), inner),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=3))
def test_no_json_makes_the_reader_fail_otherwise(utterances):
    try:
        script = parse_script(json.dumps({"utterances": utterances}), "x")
    except ConfigError:
        return
    assert all(utterance.text for utterance in script.utterances)


def test_a_missing_transcript_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.json"):
        read_script(tmp_path / "gone.json")
