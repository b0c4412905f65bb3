"""Drives a whole line on one thread, compiled: packets in by their arrival, a device that asks every 10 ms (`rtmedia.rooms.walk`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from rtmedia.codec import codec_named
from rtmedia.ports import EPOCH_SHIFT, FLAG_NEW_EPOCH
from rtmedia.rooms.doorways import MESSAGE_DTYPE
from rtmedia.rooms.line import Line
from rtmedia.rooms.walk import walk

EPOCH_NS = 1_000_000_000_000


class Bench:
    """A line, a stream of 16-bit packets, and a clock."""

    def __init__(self, rate_hz=16_000, channels=1, device_rate_hz=None, effects=(), **settings):
        self.rate_hz, self.channels = rate_hz, channels
        self.device_rate_hz = device_rate_hz or rate_hz
        self.line = Line(
            rate_hz=rate_hz,
            channels=channels,
            device_rate_hz=self.device_rate_hz,
            codec=codec_named("pcm_s16le"),
            effects=effects,
            **({"start_ms": 20.0} | settings),
        )
        self.now_ns = EPOCH_NS
        self.tick_ns = 10_000_000  # of the machine's clock: other numbers are a device that runs fast or slow
        self.packets: Any = np.zeros(0, MESSAGE_DTYPE)
        self.payloads: Any = np.zeros((1, 1), np.uint8)
        self.next = 0
        self.line.step(self.now_ns)

    def load(self, samples, transit_ms=15.0, packet_ms=20, arrivals_ms=None, lost=(), start_ms=0):
        """Send int16 ``(frames, channels)`` in packets from now on."""
        frames = packet_ms * self.rate_hz // 1000
        count = len(samples) // frames
        arrivals = np.arange(count) * packet_ms + transit_ms if arrivals_ms is None else np.asarray(arrivals_ms[:count])
        order = np.argsort(arrivals, kind="stable")
        order = order[~np.isin(order, list(lost))]
        payloads = np.ascontiguousarray(samples[: count * frames].astype("<i2")).view(np.uint8).reshape(count, -1)
        self.payloads = np.ascontiguousarray(payloads[order])
        self.packets = np.zeros(len(order), MESSAGE_DTYPE)
        self.packets["arrival_ns"] = self.now_ns + (arrivals[order] * 1e6).astype(np.int64)
        self.packets["seq"] = order
        self.packets["media_time_ns"] = (start_ms + order * packet_ms) * 1_000_000
        self.packets["flags"][0] = FLAG_NEW_EPOCH | 1 << EPOCH_SHIFT
        self.packets["length"] = payloads.shape[1]
        self.next = 0
        return self

    def run(self, calls, out=None):
        """The device asks `calls` times; returns what it got."""
        frames = self.device_rate_hz // 100
        out = np.zeros((calls * frames, self.channels), np.float32) if out is None else out
        line = self.line
        played = 0
        while played < calls:  # a walk ends soon after the stream does; a device goes on asking
            more = walk(
                line.decode.address,
                line.render.address,
                line.play.address,
                self.packets.ctypes.data + self.next * MESSAGE_DTYPE.itemsize,
                len(self.packets) - self.next,
                self.payloads.ctypes.data + self.next * self.payloads.shape[1],
                out.ctypes.data + played * frames * out.strides[0],
                frames,
                calls - played,
                self.now_ns,
                self.tick_ns,
                0,
                0,
            )
            assert more > 0
            assert (self.packets["length"] >= 0).all()
            played += more
            self.now_ns += more * self.tick_ns
            self.next = int(np.searchsorted(self.packets["arrival_ns"], self.now_ns, "right"))
        return out
