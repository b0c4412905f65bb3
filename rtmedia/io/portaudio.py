"""The sound card, through PortAudio as PyAudio brings it.

PyAudio's own callback runs Python, and a busy interpreter is heard. Its extension module, though, links
libportaudio, so the C functions can be reached through it: the stream is opened here with a *compiled*
callback (`rtmedia.rooms.play.portaudio_callback`), on the very library instance that PyAudio initialised.
Where those functions are not exported (PyAudio's Windows wheel links PortAudio statically), a thread of
blocking writes takes over; `PortAudioSink.play_path` says which one it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtmedia.errors import SinkError
from rtmedia.ports import RATES_HZ, Block, PlayRoom
from rtmedia.rt.kernel import callback, load_acquire
from rtmedia.rt.later import intrinsic, ir, types
from rtmedia.rt.memory import aligned_zeros, view_block, view_i8
from rtmedia.rt.words import store_word

_FLOAT32 = 0x1  # paFloat32
_NO_ERROR = 0
_INSTALL_HINT = (
    "install it with `pip install rtmedia[audio]` (on Debian first `apt-get install portaudio19-dev`), or choose --sink wav:FILE"
)


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One output device.

    Attributes
    ----------
    index, name, host_api
        As PortAudio numbers and names it.
    channels : int
        Most output channels.
    rate_hz : int
        Its default rate.
    low_latency_ms : float
        What it suggests for interactive use.
    default : bool
    """

    index: int
    name: str
    host_api: str
    channels: int
    rate_hz: int
    low_latency_ms: float
    default: bool


class _StreamParameters(ctypes.Structure):
    _fields_ = (
        ("device", ctypes.c_int),
        ("channelCount", ctypes.c_int),
        ("sampleFormat", ctypes.c_ulong),
        ("suggestedLatency", ctypes.c_double),
        ("hostApiSpecificStreamInfo", ctypes.c_void_p),
    )


@callback("void(i8, i8, i8, i8, i8)")
def _say_nothing(a, b, c, d, e):  # type: ignore[no-untyped-def]
    """Takes ALSA's and JACK's chatter about devices that are not there. Compiled: they may call it on any thread."""


# Words of a sink's page.
_PLAY, _FUNCTION, _CHANNELS = range(3)


@intrinsic
def _call_callback(typingctx, function, unused_input, output, frame_count, time_info, status, user_data):  # type: ignore[no-untyped-def]
    """Call the ``PaStreamCallback`` at address `function`."""
    signature = types.int32(types.int64, types.int64, types.int64, types.uint64, types.int64, types.uint64, types.int64)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        called = ir.FunctionType(ir.IntType(32), [ir.IntType(64)] * 6)
        return builder.call(builder.inttoptr(args[0], called.as_pointer()), args[1:])

    return signature, codegen


@callback("i4(i8, i8, u8, i8, u8, i8)")
def _silence_or_sound(unused_input, output, frame_count, time_info, status, user_data):  # type: ignore[no-untyped-def]
    """``PaStreamCallback``: silence until the page at `user_data` names a room, from then on what the room says."""
    page = view_i8(user_data, 3)
    play = load_acquire(page, _PLAY)
    if play != 0:
        return _call_callback(page[_FUNCTION], unused_input, output, frame_count, time_info, status, play)
    count = np.int64(frame_count) * page[_CHANNELS]
    block = view_block(output, count, 1)
    for i in range(count):
        block[i, 0] = 0.0
    return 0


def _quiet_the_libraries() -> None:
    """ALSA and JACK print to stderr what PortAudio reports properly anyway."""
    if not sys.platform.startswith("linux"):
        return
    for library, names in (
        ("libasound.so.2", ("snd_lib_error_set_handler",)),
        ("libjack.so.0", ("jack_set_error_function", "jack_set_info_function")),
    ):
        with contextlib.suppress(OSError, AttributeError):
            loaded = ctypes.CDLL(library)
            for name in names:
                getattr(loaded, name)(ctypes.c_void_p(_say_nothing.address))


def _pyaudio() -> Any:
    try:
        import pyaudio
    except ImportError as exc:
        raise SinkError("PyAudio is not installed, so there is no sound card", kind="unavailable", hint=_INSTALL_HINT) from exc
    return pyaudio


def c_library() -> ctypes.CDLL | None:
    """PortAudio's C functions inside PyAudio's extension; None where they are not exported."""
    module = _pyaudio()
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(module._portaudio.__file__)
        for name in ("Pa_OpenStream", "Pa_StartStream", "Pa_AbortStream", "Pa_CloseStream", "Pa_GetErrorText"):
            getattr(library, name)
        library.Pa_GetErrorText.restype = ctypes.c_char_p
        library.Pa_OpenStream.argtypes = (
            ctypes.POINTER(ctypes.c_void_p),
            ctypes.c_void_p,
            ctypes.POINTER(_StreamParameters),
            ctypes.c_double,
            ctypes.c_ulong,
            ctypes.c_ulong,
            ctypes.c_void_p,
            ctypes.c_void_p,
        )
        for name in ("Pa_StartStream", "Pa_AbortStream", "Pa_CloseStream"):
            getattr(library, name).argtypes = (ctypes.c_void_p,)
        return library
    return None


@contextlib.contextmanager
def session() -> Iterator[Any]:
    """An initialised PyAudio; PortAudio itself counts how often it was initialised."""
    _quiet_the_libraries()
    instance = _pyaudio().PyAudio()
    try:
        yield instance
    finally:
        instance.terminate()


def list_devices(instance: Any | None = None) -> list[DeviceInfo]:
    """All output devices, the default one marked.

    Raises
    ------
    SinkError
        PyAudio is not installed.
    """
    if instance is None:
        with session() as own:
            return list_devices(own)
    try:
        default = int(instance.get_default_output_device_info()["index"])
    except OSError:
        default = -1
    found = []
    for index in range(instance.get_device_count()):
        info = instance.get_device_info_by_index(index)
        if info["maxOutputChannels"] > 0:
            host = instance.get_host_api_info_by_index(info["hostApi"])["name"]
            found.append(
                DeviceInfo(
                    index=index,
                    name=str(info["name"]),
                    host_api=str(host),
                    channels=int(info["maxOutputChannels"]),
                    rate_hz=int(info["defaultSampleRate"]),
                    low_latency_ms=1000.0 * float(info["defaultLowOutputLatency"]),
                    default=index == default,
                )
            )
    return found


def choose_device(devices: list[DeviceInfo], wanted: str | None) -> DeviceInfo:
    """The device whose name holds `wanted` (case does not matter), or the default one.

    By name, never by number: numbers change when something is plugged in.
    """
    if not devices:
        raise SinkError(
            "this machine has no sound output device",
            kind="missing",
            device=wanted or "default",
            hint="connect one or start a sound server, see `rtmedia doctor`, or choose --sink wav:FILE",
        )
    if wanted is None:
        return next((device for device in devices if device.default), devices[0])
    matching = [device for device in devices if wanted.lower() in device.name.lower()]
    if not matching:
        raise SinkError(
            f"no sound output device has {wanted!r} in its name",
            kind="missing",
            device=wanted,
            hint=f"there are {', '.join(device.name for device in devices[:6])}; see `rtmedia devices`",
        )
    return next((device for device in matching if device.name == wanted), matching[0])


class PortAudioSink:
    """A sound card.

    Parameters
    ----------
    target
        Unused; the scheme has no argument.
    device
        Part of the device's name; None is the default device.

    Notes
    -----
    Thread: PortAudio's own calls the compiled callback.   Real-time: yes on the callback path; the blocking path needs
    the GIL once a block and is heard when the host process keeps it.
    """

    def __init__(self, target: str = "", device: str | None = None) -> None:
        self.device = device or "default"
        self.play_path = ""
        self.failure: SinkError | None = None
        self._wanted = device
        self._instance: Any = None
        self._library: ctypes.CDLL | None = None
        self._info: DeviceInfo | None = None
        self._stream: Any = None
        self._channels = 1
        self._rate_hz = 0
        self._stopping = threading.Event()
        self._writer: threading.Thread | None = None
        self._beginning: threading.Thread | None = None
        self._begun: BaseException | None = None
        self._page = aligned_zeros(3, np.int64)  # what `_silence_or_sound` is told
        self._play: PlayRoom | None = None  # the callback reads its memory: keep it until the stream is closed

    def begin(self, channels: int, rate_hz: int | None, source_rate_hz: int) -> None:
        """Find the device and have it play silence, on a thread that `open` waits for.

        Looking for devices takes 50 ms, and a sound server asks for the first time 70 ms after a stream was started.
        """
        if sys.platform == "linux":  # elsewhere the system may tie a device to the thread that found it
            self._beginning = threading.Thread(target=self._begin, args=(channels, rate_hz), name="rtm-devices", daemon=True)
            self._beginning.start()

    def _begin(self, channels: int, rate_hz: int | None) -> None:
        try:
            self._find(channels, rate_hz)
            if self._library is not None and not self._stopping.is_set():
                self._start_stream(self._library)
        except BaseException as exc:  # `open` raises it
            self._begun = exc
        if self._stopping.is_set() and self._instance is not None:  # `stop` may not have waited for so long
            instance, self._instance = self._instance, None
            self._close(instance)

    def open(self, channels: int, rate_hz: int | None, source_rate_hz: int) -> int:
        """Find the device, which will be opened at its own rate, or at `rate_hz`."""
        if self._beginning is None:
            self._find(channels, rate_hz)
        else:
            self._beginning.join()
            self._beginning = None
            if self._begun is not None:
                raise self._begun
        return self._rate_hz

    def _find(self, channels: int, rate_hz: int | None) -> None:
        _quiet_the_libraries()
        self._instance = _pyaudio().PyAudio()
        try:
            self._info = choose_device(list_devices(self._instance), self._wanted)
            self.device = self._info.name
            if self._info.channels < channels:
                raise SinkError(
                    f"{self.device!r} has {self._info.channels} output channels, the stream {channels}",
                    kind="format",
                    device=self.device,
                    hint="choose another device, see `rtmedia devices`",
                )
            self._rate_hz = rate_hz or self._best_rate(channels)
            self._channels = channels
            self._library = c_library()
            self.play_path = "callback" if self._library is not None else "blocking write"
        except BaseException:
            self._instance.terminate()
            self._instance = None
            raise

    def _best_rate(self, channels: int) -> int:
        """48 kHz where the device takes it, else its own.

        ALSA's plug-ins (a sound server behind ``default``) take any rate, and PortAudio then reports 44.1 kHz; nearly all
        cards and servers run at 48 kHz, to which the usual rates of speech are in a ratio of small whole numbers.
        """
        assert self._info is not None
        for rate_hz in (48_000, self._info.rate_hz):
            try:
                self._instance.is_format_supported(
                    rate_hz, output_device=self._info.index, output_channels=channels, output_format=_pyaudio().paFloat32
                )
            except ValueError:
                continue
            if rate_hz in (*RATES_HZ, 96_000):
                return rate_hz
        raise SinkError(
            f"{self.device!r} takes neither 48000 Hz nor its own {self._info.rate_hz} Hz with {channels} channels of float32",
            kind="format",
            device=self.device,
            hint="give device_rate_hz, or choose another device, see `rtmedia devices`",
        )

    def start(self, play: PlayRoom) -> None:
        """Let the device ask `play`; open it if that is not done yet."""
        self._play = play
        if self._library is None:
            self._start_writer(play)
            return
        self._page[_FUNCTION] = play.callback_address
        store_word(self._page, _PLAY, play.address)
        if self._stream is None:
            self._start_stream(self._library)

    def _start_stream(self, library: ctypes.CDLL) -> None:
        assert self._info is not None
        self._page[_CHANNELS] = self._channels
        parameters = _StreamParameters(self._info.index, self._channels, _FLOAT32, self._info.low_latency_ms / 1000.0, None)
        stream = ctypes.c_void_p()
        self._check(
            library.Pa_OpenStream(
                ctypes.byref(stream),
                None,
                ctypes.byref(parameters),
                float(self._rate_hz),
                self._rate_hz // 100,
                0,
                _silence_or_sound.address,
                self._page.ctypes.data,
            ),
            "opened",
        )
        self._stream = stream
        self._check(library.Pa_StartStream(stream), "started")

    def _check(self, code: int, doing: str) -> None:
        if code == _NO_ERROR:
            return
        assert self._library is not None
        text = self._library.Pa_GetErrorText(code).decode("utf-8", "replace")
        kind = "busy" if code == -9985 else "format" if code in (-9997, -9998, -9994) else "unavailable"
        raise SinkError(
            f"{self.device!r} cannot be {doing} at {self._rate_hz} Hz: {text}",
            kind=kind,
            device=self.device,
            hint="see `rtmedia devices` and `rtmedia doctor`",
        )

    def _start_writer(self, play: PlayRoom) -> None:
        frames = self._rate_hz // 100
        assert self._info is not None
        try:
            self._stream = self._instance.open(
                format=_pyaudio().paFloat32,
                channels=self._channels,
                rate=self._rate_hz,
                output=True,
                output_device_index=self._info.index,
                frames_per_buffer=frames,
            )
        except OSError as exc:
            raise SinkError(
                f"{self.device!r} cannot be opened at {self._rate_hz} Hz: {exc}",
                kind="unavailable",
                device=self.device,
                hint="see `rtmedia devices`",
            ) from exc
        block = aligned_zeros((frames, self._channels), np.float32)
        latency_ns = int(1e9 * self._stream.get_output_latency())
        self._writer = threading.Thread(target=self._write, args=(play, block, latency_ns), name="rtm-write", daemon=True)
        self._writer.start()

    def _write(self, play: PlayRoom, block: Block, latency_ns: int) -> None:
        while not self._stopping.is_set():
            now = time.monotonic_ns()
            play.pull(block, now, now + latency_ns)
            try:
                self._stream.write(block.tobytes(), exception_on_underflow=False)
            except OSError as exc:
                self.failure = SinkError(
                    f"{self.device!r} takes no more sound: {exc}",
                    kind="lost",
                    device=self.device,
                    hint="see whether it is still connected, `rtmedia devices`",
                )
                return

    def stop(self, timeout_s: float) -> bool:
        """Close the stream, on a thread of its own: a device that is gone may keep the call for ever."""
        self._stopping.set()
        if self._beginning is not None:  # begun, and never opened
            self._beginning.join(timeout_s)
            if self._beginning.is_alive():
                return False
            self._beginning = None
        if self._instance is None:
            return True
        instance, self._instance = self._instance, None
        closer = threading.Thread(target=self._close, args=(instance,), name="rtm-close", daemon=True)
        closer.start()
        closer.join(timeout_s)
        return not closer.is_alive()

    def _close(self, instance: Any) -> None:
        if self._library is not None and self._stream is not None:
            self._library.Pa_AbortStream(self._stream)
            self._library.Pa_CloseStream(self._stream)
        elif self._writer is not None:
            self._writer.join()
        instance.terminate()
        self._play = None
