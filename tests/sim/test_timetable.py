"""The timetable against the messages that a server sends: the same arrivals."""

from __future__ import annotations

import numpy as np
import pytest

from rtmedia.errors import ConfigError
from rtmedia.protocol.media_v1 import MediaV1
from rtmedia.protocol.messages import Media
from rtmedia.sim.stream import deliveries
from rtmedia.sim.timetable import timetable
from rtmedia.sim.trace import read_bundle
from tests.sim.test_stream import BUNDLE, program

NETWORKS = {
    "perfect": {},
    "lossy": {"loss": 0.1, "burst_packets": 3, "jitter_ms": 30, "seed": 4},
    "unordered": {"jitter_ms": 40, "in_order": False, "reorder": 0.1, "duplicate": 0.2, "seed": 9},
    "stalling": {"stall_every_s": 0.4, "stall_ms": 150, "delay_ms": 25, "drift_ppm": 400},
}


def compared(made):
    protocol = MediaV1()
    found = [(delivery.due_ns, delivery, protocol.feed(delivery.data)) for delivery in deliveries(made)]
    media = [(due_ns, item) for due_ns, _, item in found if isinstance(item, Media)]
    table = timetable(made)
    lengths, octets = made.payloads(table.packet)
    assert table.due_ns.tolist() == [due_ns for due_ns, _ in media]
    assert table.timestamp_ms.tolist() == [item.timestamp_ms for _, item in media]
    assert ((made.first_seq(0) + table.packet) & 0xFFFFFFFF).tolist() == [item.seq for _, item in media]
    assert lengths.tolist() == [len(item.payload) for _, item in media]
    assert octets.tobytes() == b"".join(item.payload for _, item in media)
    assert list(table.texts) == [(due_ns, delivery.data) for due_ns, delivery, item in found if delivery.seq is None and item is not None]
    assert table.last_ns == max(due_ns for due_ns, _, _ in found)
    return table


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("lead_ms", [0, 300, -200])
def test_a_model_brings_what_the_server_sends(name, lead_ms):
    table = compared(program(NETWORKS[name], transcript_lead_ms=lead_ms, start_seq=2**32 - 5, junk=0.1))
    assert len(table.arrivals) - table.arrivals.lost + table.duplicates == len(table.packet)


@pytest.mark.parametrize("name", ["ge_loss3", "gamma_reorder", "ws_stall"])
def test_a_trace_brings_what_the_server_sends(name):
    trace = read_bundle(BUNDLE, name)[name]
    assert compared(program(trace=trace)).arrivals.lost == trace.lost


def test_a_bundle_gives_the_one_trace_that_is_asked_for():
    assert list(read_bundle(BUNDLE, "perfect")) == ["perfect"]
    assert read_bundle(BUNDLE, "none such") == {}
    assert np.array_equal(read_bundle(BUNDLE, "ws_stall")["ws_stall"].arrival_ms, read_bundle(BUNDLE)["ws_stall"].arrival_ms)


def test_a_stream_without_end_has_no_timetable():
    with pytest.raises(ConfigError, match="never ends"):
        timetable(program(loop=True))
