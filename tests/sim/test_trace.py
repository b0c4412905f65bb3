"""Traces come back as they were written, and broken ones are refused line by line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmedia.errors import ConfigError
from rtmedia.sim.trace import Trace, format_trace, parse_trace, read_bundle, read_trace, write_bundle, write_trace

DATA = Path(__file__).parent.parent / "data" / "traces"

EXAMPLE = """# trace example
# two packets and a lost one
seq,send_ms,arrival_ms

0,0,40.5
1,20,
# in between
2 , 40 , 81.25
"""


def same(first, second):
    return (
        first.seq.tolist() == second.seq.tolist()
        and first.send_ms.tolist() == second.send_ms.tolist()
        and np.array_equal(first.arrival_ms, second.arrival_ms, equal_nan=True)
    )


def test_a_trace_is_read_with_its_comments_and_its_lost_packets():
    trace = parse_trace(EXAMPLE, "other")
    assert trace.name == "example"
    assert trace.seq.tolist() == [0, 1, 2]
    assert trace.send_ms.tolist() == [0, 20, 40]
    assert np.isnan(trace.arrival_ms[1])
    assert trace.arrival_ms[[0, 2]].tolist() == [40.5, 81.25]
    assert (trace.lost, trace.packet_ms, trace.duration_ms, len(trace)) == (1, 20.0, 60.0, 3)


def test_line_ends_and_a_missing_header_do_not_matter():
    assert same(parse_trace("0,0,1\r\n1,20,21\r\n", "x"), parse_trace("\ufeffseq,send_ms,arrival_ms\n0,0,1\n1,20,21", "x"))


def test_a_packet_without_a_row_is_lost():
    trace = parse_trace("5,100,120\n8,160,170\n", "x")
    assert trace.lost == 2
    assert trace.packet_ms == 20.0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no packets"),
        ("# nothing\n", "holds no packets"),
        ("0,0\n", "line 1 has 2 columns"),
        ("0,0,1\n1;20;21\n", "line 2 has 1 columns"),
        ("a,0,1\n", "seq is 'a'"),
        ("-1,0,1\n", "seq is -1"),
        ("0,,1\n", "send_ms is ''"),
        ("0,0,nan\n", "arrival_ms is 'nan'"),
        ("0,0,inf\n", "arrival_ms is 'inf'"),
        ("0,1e99,\n", "send_ms is '1e99'"),
        ("0,0,1\n0,20,21\n", "seq is 0 after 0"),
        ("1,0,1\n0,20,21\n", "seq is 0 after 1"),
        ("0,20,21\n1,20,22\n", r"send_ms is 20\.0 after 20\.0"),
        ("0,0,1\n99999999,20,21\n", "spans 100000000 packets"),
        ("0,5,9\n1,25,30000000.5\n2,90000000,\n", r"line 3: send_ms is 90000000\.0, more than 24 h from the first send_ms, 5\.0"),
        ("0,0,1\n1,20,86400001\n", r"line 2: arrival_ms is 86400001\.0, more than 24 h"),
    ],
)
def test_a_broken_trace_is_refused_with_its_line(text, complaint):
    with pytest.raises(ConfigError, match=complaint):
        parse_trace(text, "broken")


@given(st.text(alphabet="0123456789,.-+einfa_#\n\r\x00 ", max_size=80) | st.text(max_size=60))
def test_no_text_makes_the_parser_fail_otherwise(text):
    try:
        trace = parse_trace(text, "fuzz")
    except ConfigError:
        return
    assert len(trace) > 0
    assert same(parse_trace(format_trace(trace), "again"), trace) or trace.send_ms.size > 0


@st.composite
def traces(draw):
    gaps = draw(st.lists(st.integers(1, 5), min_size=1, max_size=30))
    seq = np.cumsum(gaps)
    arrivals = draw(st.lists(st.none() | st.integers(-(10**9), 10**9), min_size=len(gaps), max_size=len(gaps)))
    arrival_ms = np.array([np.nan if value is None else value / 1000 for value in arrivals])
    return Trace("made", seq.astype(np.int64), seq * 20.0, arrival_ms)


@given(traces())
def test_what_is_written_is_read_again(trace):
    assert same(parse_trace(format_trace(trace, ["seeded"]), "x"), trace)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "T.CSV.GZ"])
def test_files_may_be_compressed(tmp_path, name):
    trace = parse_trace(EXAMPLE, "x")
    write_trace(trace, tmp_path / name)
    assert same(read_trace(tmp_path / name), trace)
    first = (tmp_path / name).read_bytes()
    write_trace(trace, tmp_path / name)
    assert (tmp_path / name).read_bytes() == first


@pytest.mark.parametrize("data", [None, b"\xff\xfe\x00", b"\x1f\x8b broken"])
def test_an_unreadable_file_is_named(tmp_path, data):
    path = tmp_path / ("gone.csv" if data is None else "gone.csv.gz")
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"gone\.csv"):
        read_trace(path)


def test_a_bundle_keeps_traces_to_a_hundredth_of_a_millisecond(tmp_path):
    arrival_ms = np.round(np.arange(50) * 20.0 + 40.37, 2)
    arrival_ms[7] = np.nan
    trace = Trace("made", np.arange(50), np.arange(50) * 20.0, arrival_ms)
    write_bundle([trace], tmp_path / "b.npz")
    assert same(read_bundle(tmp_path / "b.npz")["made"], trace)


def test_what_does_not_fit_a_bundle_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not regular"):
        write_bundle([parse_trace("5,100,120\n8,160,170\n", "odd")], tmp_path / "b.npz")
    with pytest.raises(ConfigError, match="one length"):
        write_bundle([], tmp_path / "b.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK no archive")
    with pytest.raises(ConfigError, match=r"bad\.npz"):
        read_bundle(tmp_path / "bad.npz")


def test_every_reference_trace_has_its_reference_figures():
    bundle = read_bundle(DATA / "traces.npz")
    figures = json.loads((DATA / "neteq.json").read_text())
    assert set(bundle) == set(figures)
    assert len(bundle) == 20
    for name, trace in bundle.items():
        assert trace.packet_ms == 20.0
        assert 35_000 < trace.duration_ms <= 120_000
        assert np.nanmin(trace.arrival_ms - trace.send_ms) > 0
        concealed_pct = figures[name]["concealed_pct"]
        assert 100 * trace.lost / len(trace) <= concealed_pct + 0.2


def test_traces_without_reference_figures_lie_in_a_bundle_of_their_own():
    more = read_bundle(DATA / "more.npz")
    assert not set(more) & set(json.loads((DATA / "neteq.json").read_text()))
    assert all(trace.packet_ms == 20.0 and np.nanmin(trace.arrival_ms - trace.send_ms) > 0 for trace in more.values())


def test_a_fourth_column_says_how_long_each_packet_is():
    text = "seq,send_ms,arrival_ms,length_ms\n0,0,40,20\n1,20,60.5,20\n4,500,,60\n5,560,600,60\n"
    trace = parse_trace(text, "x")
    assert trace.length_ms.tolist() == [20, 20, 60, 60]
    assert not trace.regular
    assert trace.duration_ms == 620.0
    begin_ms, length_ms = trace.timeline()
    assert begin_ms.tolist() == [0, 20, 40, 60, 500, 560]
    assert length_ms.tolist() == [20, 20, 20, 20, 60, 60]
    again = parse_trace(format_trace(trace), "x")
    assert same(again, trace)
    assert again.length_ms.tolist() == trace.length_ms.tolist()
    assert parse_trace(text.partition("\n")[2], "x").length_ms.tolist() == trace.length_ms.tolist()
    with pytest.raises(ConfigError, match=r"line 2 has 3 columns; it needs 4"):
        parse_trace("0,0,40,20\n1,20,60", "x")
    with pytest.raises(ConfigError, match=r"length_ms is 0\.0"):
        parse_trace("0,0,40,0\n", "x")
    with pytest.raises(ConfigError, match="not regular"):
        write_bundle([trace], "nowhere.npz")


def test_without_a_fourth_column_a_jump_of_time_is_a_pause_and_a_short_step_a_short_packet():
    trace = parse_trace("0,0,40\n1,20,60\n2,40,80\n3,400,440\n4,410,450\n5,430,470\n", "x")
    begin_ms, length_ms = trace.timeline()
    assert begin_ms.tolist() == [0, 20, 40, 400, 410, 430]
    assert length_ms.tolist() == [20, 20, 20, 10, 20, 20]


def test_senders_that_stamp_carelessly_are_regular():
    trace = parse_trace("7,3,40\n8,22,60\n9,44,80\n11,83,120\n", "x")
    assert trace.regular
    assert trace.timeline()[0].tolist() == [0, 20, 40, 60, 80] or trace.packet_ms != 20.0
