"""Captions: released when their words are heard, whatever order they come in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtmedia.rooms.captions import MAX_PENDING, PATIENCE_NS, Captions
from rtmedia.units import NS_PER_MS, NS_PER_S

MS = NS_PER_MS


def add(captions, timestamp_ms, text="word", epoch=1, arrival_ms=0.0):
    captions.add(text=text, confidence=0.5, timestamp_ms=timestamp_ms, epoch=epoch, arrival_ns=int(arrival_ms * MS))


def later(delay_ms):
    """Every moment of the stream is heard `delay_ms` after its timestamp."""
    return lambda epoch, timestamp_ms: (timestamp_ms + delay_ms) * MS


def never(epoch, timestamp_ms):
    return None


def texts(events):
    return [event.text for event in events]


def test_a_caption_is_shown_exactly_when_its_words_are_heard():
    captions = Captions()
    add(captions, 1_000)
    events, due_ns = captions.due(1_199 * MS, later(200))
    assert events == []
    assert due_ns == 1_200 * MS
    events, due_ns = captions.due(1_200 * MS, later(200))
    assert texts(events) == ["word"]
    assert events[0].skew_ms == 0.0
    assert not events[0].late
    assert due_ns is None


def test_timestamp_zero_is_a_time_like_any_other():
    captions = Captions()
    add(captions, 0)
    assert captions.due(99 * MS, later(100))[0] == []
    assert texts(captions.due(100 * MS, later(100))[0]) == ["word"]


def test_a_caption_whose_words_were_heard_before_it_came_is_shown_at_once_and_marked():
    captions = Captions()
    add(captions, 1_000, arrival_ms=5_000.0)
    (event,), _ = captions.due(5_001 * MS, later(200))
    assert event.late
    assert event.skew_ms == 5_001 - 1_200
    assert captions.late == 1
    assert captions.skew_ms == 0.0  # the mean is of those that came in time


def test_the_same_words_at_the_same_time_are_shown_once():
    captions = Captions()
    for text, epoch in (("a", 1), ("a", 1), ("b", 1), ("a", 2)):
        add(captions, 7, text, epoch)
    assert captions.duplicates == 1
    assert texts(captions.due(10**18, later(0))[0]) == ["a", "b", "a"]
    add(captions, 7, "a")
    assert captions.waiting == 0


@given(st.lists(st.integers(0, 10_000), max_size=40, unique=True))
def test_captions_come_in_the_order_of_their_times(timestamps):
    captions = Captions()
    for timestamp_ms in timestamps:
        add(captions, timestamp_ms, str(timestamp_ms))
    shown = []
    for now in range(0, 11_000, 50):
        shown += captions.due(now * MS, later(0))[0]
    assert [event.timestamp_ms for event in shown] == sorted(timestamps)
    assert all(0 <= event.skew_ms < 50 for event in shown)
    assert captions.released == len(timestamps)


def test_those_of_a_new_connection_come_after_those_of_the_old_one():
    captions = Captions()
    add(captions, 50, "new", epoch=2)
    add(captions, 9_000, "old", epoch=1)
    assert texts(captions.due(10**18, later(0))[0]) == ["old", "new"]


def test_patience_ends_for_audio_that_does_not_come():
    captions = Captions()
    add(captions, 1_000, arrival_ms=100.0)
    assert captions.due(100 * MS + PATIENCE_NS - 1, never) == ([], None)
    (event,), _ = captions.due(100 * MS + PATIENCE_NS, never)
    assert event.late


def test_at_the_end_nothing_waits_any_longer():
    captions = Captions()
    for timestamp_ms in (1_000, 2_000):
        add(captions, timestamp_ms, str(timestamp_ms))
    assert texts(captions.due(1, never, patience_ns=0)[0]) == ["1000", "2000"]


def test_a_flood_is_bounded_and_the_furthest_goes():
    captions = Captions()
    for i in range(MAX_PENDING + 5):
        add(captions, i, str(i))
    assert captions.waiting == MAX_PENDING
    assert texts(captions.due(10 * NS_PER_S, later(0))[0])[-1] == str(MAX_PENDING - 1)
    assert len(captions._seen) <= MAX_PENDING


def test_the_skew_is_the_mean_of_those_in_time():
    captions = Captions()
    for i, late_ms in enumerate((2, 4, 12)):
        add(captions, i * 1_000, str(i))
        captions.due((i * 1_000 + late_ms) * MS, later(0))
    assert captions.skew_ms == 6.0
