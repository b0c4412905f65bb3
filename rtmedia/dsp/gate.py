"""A spectral gate: what stays at the noise floor is turned down, bin by bin.

Frames of 20 ms every 10 ms pass through a Fourier transform, `rtmedia.dsp.suppress` and back. The synthesis window covers only
the last hop and an *overlap* before it, and is divided by the analysis window: with all gains at 1 the
frames add up to the input exactly, and the delay is the overlap, not the frame. The kernels are in `rtmedia.dsp.gate_frames`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.fft import make_plan
from rtmedia.dsp.gate_frames import HEADER, HIGH_DB, LOW_DB, gate_process, offer_noise, take_noise
from rtmedia.dsp.high_pass import PAST, coefficients
from rtmedia.dsp.noise_profile import GRID_HZ, NoiseProfile, learn_noise
from rtmedia.dsp.state import check_range, make_state
from rtmedia.dsp.suppress import ADAPT_MOST, COUNTERS, GUARD, NOISE, NOISE_BIAS, fresh_rows
from rtmedia.errors import ConfigError
from rtmedia.ports import Block, Format
from rtmedia.rt.plugin import Instance
from rtmedia.units import frames_of_ms

HOP_MS = 10.0
#: Overlap in ms by the name of the latency.
OVERLAP_MS = {"10ms": 10.0, "6ms": 6.0}
#: Transform lengths: the frame padded to about 30 Hz a bin, in factors of 2 and 3.
FFT_LENGTH = {8_000: 256, 16_000: 512, 24_000: 768, 32_000: 1024, 44_100: 1536, 48_000: 1536}
HIGH_PASS_HZ = 80.0

_FULL_SCALE = 32768.0


class GateInstance(Instance):
    """A gate at work, which can be told what is noise. Built by `SpectralGate.make`.

    Notes
    -----
    Thread: `process` belongs to one thread; `learn_noise`, `hold`, `resume` and `update` to one other.   Real-time: `process`, yes.
    """

    def learn_noise(self, noise: NoiseProfile | Block) -> None:
        """Take a noise for what was learnt so far; it counts from the next hop (10 ms) on, and is followed from there unless held.

        Parameters
        ----------
        noise
            A profile, or a recording of noise alone at this instance's rate (see `rtmedia.dsp.noise_profile.learn_noise`).

        Notes
        -----
        Thread: the one of `update`.   Real-time: no; the audio thread copies one spectrum, whenever it finds it.
        """
        profile = noise if isinstance(noise, NoiseProfile) else learn_noise(noise, self.format.rate_hz)
        offer_noise(self.state_address, noise_power(profile, self.state, self.format.rate_hz))

    def hold(self) -> None:
        """Keep the noise as it is now known, whatever comes. Thread: the one of `update`."""
        self.update((float(self.state["wish"][0, 0]), 0.0))

    def resume(self, adapt: float = 1.0) -> None:
        """Follow the noise again. Thread: the one of `update`."""
        check_range("SpectralGate", "adapt", adapt, 0.0, ADAPT_MOST)
        self.update((float(self.state["wish"][0, 0]), adapt))

    def noise_profile(self) -> NoiseProfile:
        """What is taken for noise now, the channels' mean: to be kept and given to another gate.

        Notes
        -----
        Thread: any; beside a running room it may mix two neighbouring frames.   Real-time: no.
        """
        rate_hz, length = self.format.rate_hz, int(self.state["fft_frames"][0])
        bins = length // 2 + 1
        power = NOISE_BIAS * np.mean(self.state["rows"][0, :, NOISE, GUARD : GUARD + bins], axis=0, dtype=np.float64)
        density_db = 10 * np.log10(power / _window_power(self.state, rate_hz))
        grid_hz = np.arange(int(rate_hz / 2 / GRID_HZ) + 1) * GRID_HZ
        on_grid_db = np.interp(grid_hz, np.arange(bins) * rate_hz / length, density_db)
        return NoiseProfile(tuple(round(float(value), 1) for value in on_grid_db))


def _window_power(state: npt.NDArray[Any], rate_hz: int) -> float:
    """What a bin's mean power is for noise of density 1."""
    return float(rate_hz / 2 * np.sum(np.square(state["analysis"][0], dtype=np.float64)))


def noise_power(profile: NoiseProfile, state: npt.NDArray[Any], rate_hz: int) -> npt.NDArray[np.float32]:
    """Mean power of each bin of the gate with `state` when it hears the noise of `profile`, behind its high-pass."""
    length = int(state["fft_frames"][0])
    frequency_hz = np.arange(length // 2 + 1) * rate_hz / length
    passed = frequency_hz**4 / (frequency_hz**4 + HIGH_PASS_HZ**4)
    return np.asarray(profile.density(frequency_hz) * passed * _window_power(state, rate_hz), np.float32)


@dataclass(frozen=True)
class SpectralGate:
    """Turn down steady noise, in and between words.

    Parameters
    ----------
    depth_db : float
        How far noise is turned down, 0 to 30. 0 passes the sound on unchanged.
    latency : str
        ``"10ms"``, or ``"6ms"`` for a little less sound quality.
    any_block : bool
        True: blocks of any length. False: every block is a whole number of hops (10 ms), as the engine's are, which saves waiting for
        a hop to fill up.
    adapt : float
        How quickly the noise is followed, 0 to 2: at 1 it is known from the last half second, at 0.5 from the last second; 0 holds
        what is known. Slower mistakes less of long vowels, and of steady voices, for noise.
    noise : NoiseProfile, str or None
        What to take for noise from the first frame on (see `learn_noise`), or such a profile's `text`. With ``adapt=0`` it
        is all that is ever taken for noise. None: the first 80 ms tell.

    Notes
    -----
    Thread: the instance belongs to one.   Real-time: yes.
    Latency: the overlap (10 or 6 ms), and one hop less a frame where `any_block`. Below 80 Hz is cut.
    The noise is known after 80 ms. A broad noise that rises by 12 dB is followed within about 1 s, one of few bins within 1.5 s.
    Channels are treated apart: linked, the voice on one of two lines would let through the noise of the other. A voice in the middle
    between two unlike noises stays there: its level differs by 0.6 dB (RMS) at a ratio of 10 dB, by 0.2 dB at 20 dB.
    `depth_db` and `adapt` may change while playing: the depth goes by 2 dB a hop, `adapt` changes nothing that is heard at once.
    With ``any_block=False`` a block of another length costs a gap once (``starved_frames_total``), then all goes on, later.
    """

    depth_db: float = 26.0
    latency: Literal["10ms", "6ms"] = "10ms"
    any_block: bool = True
    adapt: float = 1.0
    noise: NoiseProfile | str | None = None

    def __post_init__(self) -> None:
        check_range("SpectralGate", "depth_db", self.depth_db, LOW_DB, HIGH_DB)
        check_range("SpectralGate", "adapt", self.adapt, 0.0, ADAPT_MOST)
        if isinstance(self.noise, str):
            object.__setattr__(self, "noise", NoiseProfile.from_text(self.noise) if self.noise else None)
        elif not isinstance(self.noise, NoiseProfile | None):
            raise ConfigError(f"SpectralGate: noise is a {type(self.noise).__name__}; give a profile: learn_noise(audio, rate_hz)")
        if self.latency not in OVERLAP_MS:
            raise ConfigError(f"SpectralGate: latency is {self.latency!r}; choose one of {sorted(OVERLAP_MS)}")

    @property
    def name(self) -> str:
        return "spectral_gate"

    def values(self) -> tuple[float, ...]:
        """What ``update`` takes: ``(depth_db, adapt)``."""
        return (self.depth_db, self.adapt)

    def steady(self) -> SpectralGate:
        """The same gate for a caller whose every block is exactly 10 ms, as an engine's: one hop less of latency."""
        return replace(self, any_block=False)

    def make(self, format: Format, max_frames: int) -> GateInstance:
        """An instance for `format`, whose rate must be one of `FFT_LENGTH`."""
        rate, channels = format.rate_hz, format.channels
        if rate not in FFT_LENGTH:
            raise ConfigError(f"SpectralGate: rate_hz is {rate}; it is built for {sorted(FFT_LENGTH)}: resample before it")
        size, overlap = frames_of_ms(HOP_MS, rate), frames_of_ms(OVERLAP_MS[self.latency], rate)
        row = -(-2 * size // 16) * 16
        analysis, synthesis = windows(size, overlap)
        plan = make_plan(FFT_LENGTH[rate])
        arrays: dict[str, npt.NDArray[Any]] = {
            "analysis": np.pad(analysis * _FULL_SCALE, (0, row - 2 * size)).astype(np.float32),
            "synthesis": (synthesis / _FULL_SCALE).astype(np.float32),
            "plan": np.frombuffer(plan.tobytes(), np.uint8),
            "frame": np.zeros(FFT_LENGTH[rate], np.float32),
            "work": np.zeros(size, np.float64),
            "past": np.zeros((channels, row), np.float32),
            "dry": np.zeros((channels, row), np.float32),
            "sum": np.zeros((channels, overlap), np.float32),
            "out": np.zeros((channels, 2 * size), np.float32),
            "dry_out": np.zeros((channels, 2 * size), np.float32),
            "rows": fresh_rows(channels, FFT_LENGTH[rate] // 2 + 1),
            "counters": np.zeros((channels, COUNTERS), np.int64),
            "filter": coefficients(HIGH_PASS_HZ, rate),
            "filtered": np.zeros((channels, PAST), np.float64),
            "offer": np.zeros(FFT_LENGTH[rate], np.float32),
        }
        state = make_state(HEADER, arrays)
        waiting = size - 1 if self.any_block else 0
        lengths = {"hop": size, "overlap": overlap, "fft": FFT_LENGTH[rate], "row": row, "ready": waiting}
        for name, frames in lengths.items():
            state[f"{name}_frames"] = frames
        state["depth_db"] = state["target_db"] = self.depth_db
        state["adapt"] = self.adapt
        state["wet_frames"] = size if self.depth_db > 0 else 0
        state["wish"][0, : len(self.values())] = self.values()
        if isinstance(self.noise, NoiseProfile):
            offer_noise(int(state.ctypes.data), noise_power(self.noise, state, rate))
            take_noise(int(state.ctypes.data), channels)
            state["frame"] = 0
        return GateInstance(gate_process, state, format, max_frames, latency_frames=overlap + waiting)


def windows(size: int, overlap: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Analysis window over two hops, synthesis window over the last hop and the overlap; their product overlaps to 1."""
    fall = np.cos(np.pi / 2 * (np.arange(overlap) + 0.5) / overlap)
    analysis = np.concatenate([np.sin(np.pi / 2 * (np.arange(size) + 0.5) / size), np.ones(size - overlap), fall])
    product = np.concatenate([fall[::-1] ** 2, np.ones(size - overlap), fall**2])
    return analysis, product / analysis[-len(product) :]
