"""What is remembered about files holds until one of them is touched, however carefully."""

from __future__ import annotations

import os
import time

import pytest

from rtmedia.rt import stamp
from rtmedia.rt.stamp import Remembering, recall


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Two files, and a folder for notes; nothing counts as young."""
    monkeypatch.setattr(stamp, "_YOUNG_NS", 0)
    (tmp_path / "code").mkdir()
    for name in ("one.py", "two.py"):
        (tmp_path / "code" / name).write_text("ONE = 1\n")
    _wait_for_the_clock(tmp_path)
    return tmp_path


def _wait_for_the_clock(folder):
    """A file system's clock has steps of some milliseconds: two changes within one cannot be told apart."""
    probe = folder / "probe"
    probe.write_text("")
    before = probe.stat().st_mtime_ns
    while probe.stat().st_mtime_ns == before:
        time.sleep(0.001)
        probe.write_text("")


def remembered(tree):
    Remembering(tree / "notes", "me", sorted((tree / "code").glob("*.py"))).keep("answer")
    _wait_for_the_clock(tree)
    return recall(tree / "notes", "me")


def test_an_answer_is_remembered_while_nothing_is_touched(tree):
    assert recall(tree / "notes", "me") is None
    assert remembered(tree) == "answer"
    assert recall(tree / "notes", "somebody else") is None


def test_another_content_of_the_same_size_and_date_is_noticed(tree):
    assert remembered(tree)
    path = tree / "code" / "one.py"
    status = path.stat()
    path.write_text("ONE = 2\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert recall(tree / "notes", "me") is None


def test_a_file_put_in_the_place_of_another_is_noticed(tree):
    assert remembered(tree)
    status = (tree / "code" / "one.py").stat()
    other = tree / "other"
    other.write_text("ONE = 3\n")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(tree / "code" / "one.py")
    assert recall(tree / "notes", "me") is None


@pytest.mark.parametrize("change", [lambda folder: (folder / "three.py").write_text(""), lambda folder: (folder / "two.py").unlink()])
def test_a_file_that_comes_or_goes_is_noticed(tree, change):
    assert remembered(tree)
    change(tree / "code")
    assert recall(tree / "notes", "me") is None


def test_nothing_is_remembered_of_files_that_have_just_been_written(tree, monkeypatch):
    monkeypatch.setattr(stamp, "_YOUNG_NS", 3_600_000_000_000)
    assert remembered(tree) is None
    assert not list((tree / "notes").iterdir())


@pytest.mark.parametrize("octets", [b"", b"{}", b"[1]", b'{"subject": "me", "stamp": null, "paths": ["/nowhere"]}'])
def test_a_broken_note_is_no_note(tree, octets):
    assert remembered(tree)
    (note,) = (tree / "notes").iterdir()
    note.write_bytes(octets)
    assert recall(tree / "notes", "me") is None


def test_a_place_that_cannot_be_written_remembers_nothing(tree):
    (tree / "notes").write_text("not a folder")
    assert remembered(tree) is None


def test_who_looks_once_looks_again_when_it_was_forgotten_and_afterwards(tree):
    path = tree / "seen.py"
    path.write_bytes(b"1")
    with stamp.looking_once():
        first = stamp._status(str(path))
        path.write_bytes(b"12")
        assert stamp._status(str(path)) == first
        stamp.forget()
        assert stamp._status(str(path))[0] == 2
        path.write_bytes(b"123")
    assert stamp._status(str(path))[0] == 3
