"""Others' noise suppressors beside our gate, each called as its documentation shows, with its delay known.

All hear the same sound at 16 kHz, full scale ±1.0. A *stream* takes 10 ms at a time; *bulk* takes a whole recording. What
is not installed is left out and named by `suppressors`. None of them is part of rtmedia; licences: webrtc-noise-gain MIT
(WebRTC itself BSD-3), libspeexdsp BSD-3, pyrnnoise Apache-2.0 (RNNoise itself BSD-3), noisereduce MIT, PyAV BSD-3 with FFmpeg
under the LGPL.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from _dsp_mixtures import Clip, make, tiny_specs

from rtmedia.dsp.gate import SpectralGate
from rtmedia.ports import Format

Sound = npt.NDArray[np.float32]
RATE_HZ = 16_000
FRAME = RATE_HZ // 100
OURS, OURS_SHORT = "rtmedia gate, 10 ms", "rtmedia gate, 6 ms"
WEBRTC, SPEEX, RNNOISE = "WebRTC NS, level 2", "speexdsp, -30 dB", "RNNoise"
NOISEREDUCE, AFFTDN = "noisereduce, stationary", "FFmpeg afftdn"
_FLUSH_S = 0.2  # of silence behind a recording: longer than any delay here


@dataclass(frozen=True)
class Stream:
    """One at work on frames of 10 ms.

    Attributes
    ----------
    give : callable
        Makes of a frame what the peer takes; not part of its time.
    call : callable
        The documented call. Its result, or what it changed in place, is made a frame by `take`.
    rate_hz : int
        The only rate it works at.
    """

    give: Callable[[Sound], Any]
    call: Callable[[Any], Any]
    take: Callable[[Any], Sound]
    rate_hz: int = RATE_HZ


@dataclass(frozen=True)
class Suppressor:
    """A peer: `open` starts a stream, or `bulk` treats a recording; `offline` ones need all of it before they begin."""

    name: str
    open: Callable[[], Stream] | None = None
    bulk: Callable[[Sound], Sound] | None = None
    offline: bool = False

    def raw(self, sound: Sound) -> Sound:
        """The whole recording, as late as it comes, at 16 kHz and at least as long."""
        if self.open is None:
            assert self.bulk is not None
            return self.bulk(sound)
        stream = self.open()
        at_its_rate = resampled(sound, RATE_HZ, stream.rate_hz)
        done = np.concatenate([stream.take(stream.call(stream.give(frame))) for frame in frames(at_its_rate, stream.rate_hz // 100)])
        return resampled(done, stream.rate_hz, RATE_HZ)

    def process(self, sound: Sound) -> Sound:
        """The recording, its delay taken out: in line with the input, and as long."""
        late = delay_frames(self)
        padded = np.concatenate([sound, np.zeros(round(_FLUSH_S * RATE_HZ), np.float32)])
        return np.ascontiguousarray(self.raw(padded)[late : late + len(sound)], np.float32)


@lru_cache(maxsize=32)
def delay_frames(peer: Suppressor) -> int:
    """By how many frames the output is late: where it correlates best with a voice that hardly has any noise on it."""
    if peer.offline:
        return 0
    clip = probe()
    late = peer.raw(clip.noisy).astype(np.float64)
    size = 1 << (len(late) + len(clip.clean)).bit_length()
    found = np.fft.irfft(np.fft.rfft(late, size) * np.conj(np.fft.rfft(clip.clean, size)), size)
    return int(np.argmax(found[: RATE_HZ // 10]))


@lru_cache(maxsize=1)
def probe() -> Clip:
    """A synthetic voice 40 dB above white noise."""
    spec = tiny_specs()[0]
    return make(type(spec)(spec.split, spec.voice, spec.half, spec.number, "white", 40.0, synthetic=True))


def frames(sound: Sound, size: int) -> Iterator[Sound]:
    """Whole frames; what is left over at the end is cut."""
    for start in range(0, len(sound) - size + 1, size):
        yield sound[start : start + size]


def resampled(sound: Sound, from_hz: int, to_hz: int) -> Sound:
    """Without delay, by soxr at its best setting."""
    if from_hz == to_hz:
        return sound
    soxr = importlib.import_module("soxr")
    return np.asarray(soxr.resample(sound, from_hz, to_hz, "VHQ"), np.float32)


def int16(sound: Sound) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(sound * 32768), -32768, 32767).astype(np.int16)


def _float32(samples: Any) -> Sound:
    return np.asarray(samples, np.float32) / np.float32(32768)


# Ours


def _gate(latency: Any) -> Callable[[], Stream]:
    def open() -> Stream:
        made = SpectralGate(latency=latency, any_block=False).make(Format(RATE_HZ, 1), FRAME)

        def call(block: Sound) -> Sound:
            made.process(block)
            return block

        return Stream(lambda frame: frame[:, None].copy(), call, lambda block: block[:, 0])

    return open


def _gate_bulk(sound: Sound) -> Sound:
    made = SpectralGate(any_block=False).make(Format(RATE_HZ, 1), FRAME)
    block = sound[: len(sound) // FRAME * FRAME, None].copy()
    made.process(block)
    return block[:, 0]


# Theirs


def _webrtc() -> Callable[[], Stream]:
    processor = importlib.import_module("webrtc_noise_gain").AudioProcessor

    def open() -> Stream:
        at_work = processor(0, 2)  # no automatic gain, suppression at level 2 of 4: "high" would be 3

        return Stream(
            lambda frame: int16(frame).tobytes(),
            lambda octets: at_work.Process10ms(octets).audio,
            lambda octets: _float32(np.frombuffer(octets, np.int16)),
        )

    return open


_SET_DENOISE, _SET_SUPPRESS = 0, 18  # speex/speex_preprocess.h


def _speexdsp() -> Callable[[], Stream]:
    library = None
    for name in ("libspeexdsp.so.1", ctypes.util.find_library("speexdsp")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is not None:
            break
    if library is None:
        raise ImportError("libspeexdsp")
    library.speex_preprocess_state_init.restype = ctypes.c_void_p
    library.speex_preprocess_state_init.argtypes = [ctypes.c_int, ctypes.c_int]
    library.speex_preprocess_ctl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    library.speex_preprocess_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.speex_preprocess_state_destroy.argtypes = [ctypes.c_void_p]
    run = library.speex_preprocess_run

    class State:
        """The library's state, freed with this object."""

        def __init__(self) -> None:
            self.address = library.speex_preprocess_state_init(FRAME, RATE_HZ)
            for request, value in ((_SET_DENOISE, 1), (_SET_SUPPRESS, -30)):
                library.speex_preprocess_ctl(self.address, request, ctypes.byref(ctypes.c_int32(value)))

        def __del__(self) -> None:
            library.speex_preprocess_state_destroy(self.address)

    def open() -> Stream:
        state = State()

        def call(buffer: Any) -> Any:
            run(state.address, buffer)
            return buffer

        return Stream(
            lambda frame: (ctypes.c_int16 * FRAME).from_buffer_copy(int16(frame)),
            call,
            lambda buffer: _float32(np.frombuffer(buffer, np.int16)),
        )

    return open


def _rnnoise() -> Callable[[], Stream]:
    module = importlib.import_module("pyrnnoise.rnnoise")
    importlib.import_module("soxr")

    class State:
        """The library's state, freed with this object."""

        def __init__(self) -> None:
            self.address = module.create()

        def __del__(self) -> None:
            module.destroy(self.address)

    def open() -> Stream:
        state = State()
        return Stream(int16, lambda frame: module.process_mono_frame(state.address, frame)[0], _float32, rate_hz=48_000)

    return open


def _noisereduce() -> Callable[[Sound], Sound]:
    reduce_noise = importlib.import_module("noisereduce").reduce_noise
    return lambda sound: np.asarray(reduce_noise(y=sound, sr=RATE_HZ, stationary=True), np.float32)


def _afftdn() -> Callable[[Sound], Sound]:
    av = importlib.import_module("av")

    def bulk(sound: Sound) -> Sound:
        graph = av.filter.Graph()
        source = graph.add_abuffer(sample_rate=RATE_HZ, format="fltp", layout="mono", time_base=Fraction(1, RATE_HZ))
        effect, sink = graph.add("afftdn", AFFTDN_SETTINGS), graph.add("abuffersink")
        source.link_to(effect)
        effect.link_to(sink)
        graph.configure()
        pieces = []

        def pull() -> None:
            with suppress(av.BlockingIOError, av.EOFError):  # until it has no more
                while True:
                    pieces.append(graph.pull().to_ndarray()[0])

        for start in range(0, len(sound), RATE_HZ):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None, start : start + RATE_HZ]), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
            graph.push(frame)
            pull()
        graph.push(None)
        pull()
        return np.asarray(np.concatenate(pieces), np.float32)

    return bulk


#: It expects a noise floor at -50 dB unless told otherwise, and then hardly touches noise as loud as this: with -25 dB to start
#: from, up to 30 dB of reduction and the floor followed it did best on clips of the dev split.
AFFTDN_SETTINGS = "nr=30:nf=-25:tn=1:ad=0.9"


def suppressors() -> tuple[list[Suppressor], list[str]]:
    """All that can be had here, ours first, and the names of those that are missing."""
    theirs: dict[str, Callable[[], Suppressor]] = {
        WEBRTC: lambda: Suppressor(WEBRTC, open=_webrtc()),
        SPEEX: lambda: Suppressor(SPEEX, open=_speexdsp()),
        RNNOISE: lambda: Suppressor(RNNOISE, open=_rnnoise()),
        NOISEREDUCE: lambda: Suppressor(NOISEREDUCE, bulk=_noisereduce(), offline=True),
        AFFTDN: lambda: Suppressor(AFFTDN, bulk=_afftdn()),
    }
    found = [Suppressor(OURS, open=_gate("10ms"), bulk=_gate_bulk), Suppressor(OURS_SHORT, open=_gate("6ms"))]
    missing = []
    for name, load in theirs.items():
        try:
            found.append(load())
        except (ImportError, OSError):  # noqa: PERF203 - each may be missing
            missing.append(name)
    return found, missing
