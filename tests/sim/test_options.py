"""A server's settings fit in a query and come back from it, and nothing else does."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmedia.errors import ConfigError
from rtmedia.sim.network import NetworkOptions
from rtmedia.sim.options import ServerOptions


def test_the_query_of_a_source_is_understood():
    options = ServerOptions.from_query("loopback:?loss=0.02&jitter_ms=30&stall_ms=300&stall_every_s=4&seed=1&json_audio=1&codec=pcmu")
    assert options.network == NetworkOptions(loss=0.02, jitter_ms=30.0, stall_ms=300.0, stall_every_s=4.0, seed=1)
    assert options == ServerOptions(network=options.network, json_audio=True, codec="pcmu")


@pytest.mark.parametrize("text", ["", "?", "loopback:", "loopback:?", "loopback://?", "loopback://"])
def test_an_empty_query_is_a_good_server(text):
    assert ServerOptions.from_query(text) == ServerOptions()


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'lost' is no setting.*jitter_ms.*loss.*packet_ms"):
        ServerOptions.from_query("lost=0.1")


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("loss=2", "loss is 2"),
        ("loss=nan", "loss is nan"),
        ("loss=much", "loss is 'much'; give a number"),
        ("seed=1.5", r"seed is '1\.5'; give a whole number"),
        ("loop=maybe", "loop is 'maybe'; give 1 or 0"),
        ("loss=0.1&loss=0.2", "loss is given twice"),
        ("packet_ms=25", "packet_ms is 25; it must be a multiple of 10"),
        ("packet_ms=130", "packet_ms is 130"),
        ("codec=opsu", r"codec is 'opsu'.*pcm_s16le"),
        ("header=loose", "header is 'loose'"),
        ("start_seq=4294967296", "start_seq is 4294967296"),
        ("disconnect_code=1006", "disconnect_code is 1006"),
        ("media_status=200", "media_status is 200"),
        ("transcript=a.json", "transcript is 'a.json' without speech"),
        ("retry_after=1%0d%0aX:1", "retry_after is no header's text"),
        ("client_secret=x", "'client_secret' is no setting"),
    ],
)
def test_a_wrong_value_is_refused_by_name(query, complaint):
    with pytest.raises(ConfigError, match=complaint):
        ServerOptions.from_query(query)


def test_no_setting_has_two_meanings():
    own = {item.name for item in fields(ServerOptions)}
    assert not own & {item.name for item in fields(NetworkOptions)}


@given(
    network=st.builds(
        NetworkOptions,
        loss=st.floats(0, 1),
        jitter_ms=st.floats(0, 10_000),
        jitter_shape=st.sampled_from(["half-normal", "normal", "exponential"]),
        in_order=st.booleans(),
        drift_ppm=st.floats(-10_000, 10_000),
        seed=st.integers(-(2**70), 2**70),
    ),
    packet_ms=st.sampled_from(range(10, 121, 10)),
    start_seq=st.integers(0, 2**32 - 1),
    json_audio=st.booleans(),
    transcripts=st.booleans(),
    log_sends=st.text(max_size=20),
)
def test_to_query_and_back_changes_nothing(network, **given_options):
    options = ServerOptions(network=network, **given_options)
    assert ServerOptions.from_query(options.to_query()) == options


@given(st.text(max_size=60))
def test_no_query_makes_the_parser_fail_otherwise(text):
    with suppress(ConfigError):
        ServerOptions.from_query(text)
