"""A capture's file: what was written is read, and whatever is done to it is either told or survived."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmedia.errors import ConfigError
from rtmedia.io import capture
from rtmedia.io.capture import KINDS, MAGIC, CaptureFile, read_capture

HEADER = {"format": 1, "settings": {"rate_hz": 16_000}}
CLOSE_S = 10.0


def written(path, pieces, end=None):
    waiting = [pieces]
    file = CaptureFile(path, HEADER, lambda: waiting.pop() if waiting else [], lambda: end or {})
    assert file.close(CLOSE_S)
    assert file.close(CLOSE_S)
    assert file.problem == ""
    return path.read_bytes()


@pytest.fixture(scope="module")
def octets(tmp_path_factory):
    path = tmp_path_factory.mktemp("capture") / "c"
    return written(path, [("payloads", bytes(range(200))), ("wire", b"w" * 90), ("steps", b"s" * 40), ("wire", b"W" * 9)], {"quiet_ns": 5})


def read_octets(folder, octets):
    path = folder / "read"
    path.write_bytes(octets)
    return read_capture(path)


def chunk(kind, octets, **wrong):
    stored = zlib.compress(octets)
    frame = {"stored": len(stored), "raw": len(octets), "crc": zlib.crc32(stored)} | wrong
    return struct.pack("<4sIII", kind, frame["stored"], frame["raw"], frame["crc"]) + stored


def test_what_was_written_is_read(tmp_path, octets):
    contents = read_octets(tmp_path, octets)
    assert contents.header == HEADER
    assert contents.tables["payloads"] == bytes(range(200))
    assert contents.tables["wire"] == b"w" * 90 + b"W" * 9
    assert contents.end == {"quiet_ns": 5}
    assert contents.cut == ""


def test_a_piece_longer_than_a_chunk_becomes_several(tmp_path, monkeypatch):
    monkeypatch.setattr(capture, "LONGEST", 1_000)
    written(tmp_path / "c", [("payloads", bytes(range(250)) * 10)])
    assert read_capture(tmp_path / "c").tables["payloads"] == bytes(range(250)) * 10


@pytest.mark.parametrize("keep", [*range(12), *range(12, 400, 7)])
def test_a_file_cut_anywhere_is_whole_up_to_its_last_whole_chunk(tmp_path, octets, keep):
    keep = min(keep, len(octets) - 1)
    head = len(MAGIC) + 16 + struct.unpack_from("<I", octets, len(MAGIC) + 4)[0]
    if keep < head:
        with pytest.raises(ConfigError):
            read_octets(tmp_path, octets[:keep])
        return
    contents = read_octets(tmp_path, octets[:keep])
    assert contents.end is None
    assert contents.tables["wire"] in (b"", b"w" * 90, b"w" * 90 + b"W" * 9)


@given(data=st.data())
def test_no_damage_makes_the_reader_fall(tmp_path_factory, octets, data):
    damaged = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        contents = read_octets(tmp_path_factory.getbasetemp(), bytes(damaged))
    except ConfigError:
        return
    assert set(contents.tables) == set(KINDS)


@given(octets=st.binary(max_size=400))
def test_any_octets_are_read_or_refused(tmp_path_factory, octets):
    folder = tmp_path_factory.getbasetemp()
    assert read_octets(folder, MAGIC + chunk(b"HEAD", b'{"format": 1}') + octets).header == {"format": 1}
    for start in (b"", MAGIC):
        with pytest.raises(ConfigError, match="capture"):
            read_octets(folder, start + octets)


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"RIFF....WAVE", "is no capture"),
        (MAGIC, "has no header"),
        (MAGIC + chunk(b"WIRE", b"x"), "another chunk comes first"),
        (MAGIC + chunk(b"HEAD", b"[1]"), "has no header"),
        (MAGIC + chunk(b"HEAD", b"[" * 100_000), "has no header"),
        (MAGIC + chunk(b"HEAD", b'{"format": 2}'), "has format 2"),
    ],
)
def test_what_is_no_capture_is_refused_in_words(tmp_path, octets, message):
    with pytest.raises(ConfigError, match=message):
        read_octets(tmp_path, octets)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (chunk(b"WIRE", b"x" * 50, crc=1), "checksum"),
        (chunk(b"WIRE", b"x" * 50, raw=49), "another length"),
        (chunk(b"WIRE", b"x" * 50, raw=51), "another length"),
        (chunk(b"WIRE", b"x" * 50, raw=2**32 - 1), "too long"),
        (chunk(b"WIRE", b"x" * 50, stored=2**32 - 1), "too long"),
    ],
)
def test_a_bad_chunk_ends_the_reading_and_is_named(tmp_path, bad, why):
    start = MAGIC + chunk(b"HEAD", b'{"format": 1}') + chunk(b"WIRE", b"good")
    contents = read_octets(tmp_path, start + bad + chunk(b"WIRE", b"never read"))
    assert why in contents.cut
    assert contents.cut.endswith(str(len(start)))
    assert contents.tables["wire"] == b"good"


@pytest.mark.parametrize("missing", [1, 13, 20])
def test_a_cut_chunk_is_named(tmp_path, missing):
    start = MAGIC + chunk(b"HEAD", b'{"format": 1}')
    contents = read_octets(tmp_path, start + chunk(b"WIRE", b"x" * 50)[:-missing])
    assert contents.cut == f"a chunk is cut at octet {len(start)}"


def test_chunks_of_a_later_version_are_passed_over(tmp_path):
    start = MAGIC + chunk(b"HEAD", b'{"format": 1}')
    contents = read_octets(tmp_path, start + chunk(b"NEW!", b"?") + chunk(b"WIRE", b"good"))
    assert contents.tables["wire"] == b"good"
    assert contents.cut == ""


def test_a_path_that_cannot_be_written_or_read_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written"):
        CaptureFile(tmp_path / "no" / "c", HEADER, list, dict)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_capture(tmp_path / "none")


@pytest.mark.skipif(not __import__("os").path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_ends_the_capture_and_nothing_else():
    collected = []
    file = CaptureFile("/dev/full", HEADER, lambda: collected.append(1) or [("wire", b"x" * 100_000)], dict)
    assert file.close(CLOSE_S)
    assert "No space left" in file.problem
    assert collected, "what waits must be thrown away, or it fills the memory"
