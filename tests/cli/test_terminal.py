"""What strangers send is shown without obeying it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmedia.cli.captions import Speakers, notice, speaker_and_text
from rtmedia.cli.terminal import ASCII, Glyphs, clean, clock, glyphs_for
from rtmedia.events import Connected, Disconnected, Problem, Transcript


@given(st.text())
def test_cleaned_text_holds_no_control_character_and_stays_on_one_line(text):
    cleaned = clean(text, 40)
    assert len(cleaned) <= 40
    assert not any(unicodedata.category(c) in ("Cc", "Cs") or c in "\u2028\u2029\u202e\u2066" for c in cleaned)


def test_an_escape_sequence_becomes_harmless_text():
    assert clean("hello\x1b[2J\x1b]0;title\x07 you\r\nthere") == "hello[2J]0;title you there"


def test_letters_of_other_scripts_and_joined_emoji_survive():
    assert clean("Grüße, 你好 👩‍👧") == "Grüße, 你好 👩‍👧"


def test_a_text_that_is_too_long_says_so():
    assert clean("x" * 50, 10) == "xxxxxxxxx…"


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (7.9, "0:07"), (754, "12:34"), (3723, "1:02:03"), (-1, "0:00")])
def test_a_clock_is_read_at_a_glance(seconds, shown):
    assert clock(seconds) == shown


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "no-such-encoding", None])
def test_a_poor_encoding_gets_poor_glyphs(encoding):
    assert glyphs_for(encoding) == ASCII
    assert glyphs_for("utf-8") == Glyphs()
    "".join(getattr(ASCII, name) for name in Glyphs.__slots__).encode("ascii")


def transcript(text, speaker=""):
    return Transcript(0, text, 0.9, 300, speaker=speaker)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (transcript("Hello", "agent"), ("agent", "Hello")),
        (transcript("agent: Hello"), ("agent", "Hello")),
        (transcript("Claire O'Neil: Hi: there"), ("Claire O'Neil", "Hi: there")),
        (transcript("at 12:30: lunch"), ("", "at 12:30: lunch")),
        (transcript("http://example"), ("", "http://example")),
        (transcript("and this is the end of it, is it not: yes"), ("", "and this is the end of it, is it not: yes")),
        (transcript("a: b", "agent"), ("agent", "a: b")),
    ],
)
def test_a_speaker_is_told_by_the_event_or_by_a_prefix(event, expected):
    assert speaker_and_text(event) == expected


def test_speakers_keep_their_colours_and_any_number_of_them_is_survived():
    speakers = Speakers()
    first = speakers.colour("agent")
    assert speakers.colour("customer") != first
    for number in range(1000):
        speakers.colour(f"invented {number}")
    assert speakers.colour("agent") == first


def test_notices_tell_what_befell_the_line_without_escapes():
    assert notice(Connected(0, "wss://h/p", 1, 1))[0] == "connected to wss://h/p"
    assert notice(Connected(0, "wss://h/p", 1, 2))[0] == "connected again to wss://h/p"
    assert notice(Disconnected(0, "bad\x1b[31m", 1011, 1.25))[0] == "connection lost (code 1011): bad[31m; next attempt in 1.2 s"
    assert notice(Disconnected(0, "stopped", None, None))[0] == ""
    assert notice(Problem(0, "junk", "odd\x07"))[0] == "junk: odd"
