"""When the packets of a simulation came: read from its trace, or asked of an equal network."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rtmedia.cli.runs import Task
from rtmedia.sim.network import NetworkModel
from rtmedia.sim.options import ServerOptions
from rtmedia.sim.stream import Material
from rtmedia.units import NS_PER_MS


class Arrivals(NamedTuple):
    """One entry for each packet sent.

    Attributes
    ----------
    arrival_ms
        Since the stream began; NaN for a packet that never came.
    transit_ms
        How much longer it took than the fastest.
    expected_ms
        When it would have come on the fastest way.
    """

    arrival_ms: npt.NDArray[np.float64]
    transit_ms: npt.NDArray[np.float64]
    expected_ms: npt.NDArray[np.float64]


def packet_arrivals(task: Task, packets: int) -> Arrivals:
    """The first arrival of each of the `packets` that `task`'s stream has."""
    options = ServerOptions.from_query(task.config.source)
    trace_name = task.run.trace or options.trace
    network = options.network if task.seed is None else replace(options.network, seed=task.seed)
    if trace_name:
        trace = Material.of(ServerOptions(network=network, trace=trace_name)).trace
        assert trace is not None
        send_ms = trace.timeline()[0].astype(np.float64)
        arrival_ms = np.full(packets, np.nan)
        arrival_ms[trace.seq - trace.seq[0]] = trace.arrival_ms - trace.send_ms[0]
    else:
        model = NetworkModel(network)
        send_ms = np.arange(packets, dtype=np.float64) * options.packet_ms
        came = [model.arrivals(index, round(at_ms * NS_PER_MS)) for index, at_ms in enumerate(send_ms)]
        arrival_ms = np.array([min(each) / NS_PER_MS if each else np.nan for each in came])
    transit_ms = arrival_ms - send_ms
    fastest_ms = float(np.nanmin(transit_ms))
    return Arrivals(arrival_ms, transit_ms - fastest_ms, send_ms + fastest_ms)
