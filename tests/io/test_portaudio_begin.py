"""A sound card that is looked for while something else is done."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import pytest

from rtmedia.errors import SinkError
from rtmedia.io import portaudio
from rtmedia.io.portaudio import DeviceInfo, PortAudioSink

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a device is looked for by whoever opens it")
CARD = DeviceInfo(0, "card", "ALSA", 2, 48_000, 10.0, True)


class World:
    """PortAudio without a sound card."""

    def __init__(self, monkeypatch):
        self.made, self.ended, self.looked_on, self.devices, self.failure = 0, 0, [], [CARD], None
        monkeypatch.setattr(portaudio, "_pyaudio", lambda: SimpleNamespace(PyAudio=self.make, paFloat32=1))
        monkeypatch.setattr(portaudio, "list_devices", self.look)
        monkeypatch.setattr(portaudio, "c_library", lambda: None)

    def make(self):
        self.made += 1
        return SimpleNamespace(terminate=self.end, is_format_supported=lambda *_, **__: True)

    def end(self):
        self.ended += 1

    def look(self, instance):
        self.looked_on.append(threading.current_thread().name)
        if self.failure is not None:
            raise self.failure
        return self.devices


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_what_was_begun_is_opened_and_nothing_is_looked_for_twice(world):
    sink = PortAudioSink()
    sink.begin(1, None, 16_000)
    assert sink.open(1, None, 16_000) == 48_000
    assert sink.device == "card"
    assert world.looked_on == ["rtm-devices"]
    assert sink.stop(5.0)
    assert (world.made, world.ended) == (1, 1)


def test_a_sink_may_be_opened_without_a_beginning(world):
    sink = PortAudioSink()
    sink.open(1, None, 16_000)
    assert world.looked_on == [threading.current_thread().name]
    assert sink.stop(5.0)
    assert (world.made, world.ended) == (1, 1)


@pytest.mark.parametrize("failure", [SinkError("gone", kind="missing"), OSError("the driver")])
def test_what_fails_meanwhile_is_raised_where_it_is_opened(world, failure):
    world.failure = failure
    sink = PortAudioSink()
    sink.begin(1, None, 16_000)
    with pytest.raises(type(failure)):
        sink.open(1, None, 16_000)
    assert sink.stop(5.0)
    assert (world.made, world.ended) == (1, 1)


def test_what_was_begun_and_never_opened_is_given_back(world):
    sink = PortAudioSink()
    sink.begin(1, None, 16_000)
    assert sink.stop(5.0)
    assert sink.stop(5.0)
    assert (world.made, world.ended) == (1, 1)


def test_a_machine_without_a_device_is_told_so_and_keeps_nothing(world):
    world.devices = []
    sink = PortAudioSink()
    sink.begin(1, None, 16_000)
    with pytest.raises(SinkError, match="no sound output device"):
        sink.open(1, None, 16_000)
    assert (world.made, world.ended) == (1, 1)
