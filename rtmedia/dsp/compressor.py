"""Chromium's DynamicsCompressorNode, frame by frame, in its own arithmetic.

The W3C text leaves knee, detector rate and release curve open; the formulas here are Chromium's, and its recorded
output is the test. How to think about it: a *detector* follows, frame by frame, the attenuation that a static
curve asks for; once every 32 frames (a *division*) that average is bent by an arcsine and turned into a *rate*, by which the *gain*
then moves towards it in each frame; the sound itself waits 6 ms in a delay line and is multiplied by the
sine of the gain and by a fixed makeup. Settings are read once every 128 frames (a *quantum*).

Everything is float32, and every literal is wrapped: the arcsine's slope is infinite at 1, so the rounding of
the detector is part of the sound that is compared. A bare ``0.05 * x`` would silently compute in double.

Source: W3C Web Audio API, section *DynamicsCompressorNode*; Chromium's observed behaviour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import carray

from rtmedia.dsp.state import check_range, header_dtype, make_state
from rtmedia.ports import Format
from rtmedia.rt.kernel import EFFECT_SIGNATURE, callback, kernel, pointer_void
from rtmedia.rt.memory import view_block
from rtmedia.rt.plugin import TAKEN_FIELDS, WISH_FIELDS, Instance, take_wishes

DIVISION = 32
QUANTUM = 128
LOOK_AHEAD_S = 0.006
METER_RELEASE_S = 0.325
#: (name, lowest, highest) of the settings, in the order of ``values``.
LIMITS = (("threshold_db", -100.0, 0.0), ("knee_db", 0.0, 40.0), ("ratio", 1.0, 20.0), ("attack_s", 0.0, 1.0), ("release_s", 0.0, 1.0))

_F = np.float32
_0, _1, _2, _10, _20 = _F(0), _F(1), _F(2), _F(10), _F(20)
_HALF, _QUARTER, _DB = _F(0.5), _F(0.25), _F(0.05)
_SILENT = _F(0.0001)  # 80 dB down: no attenuation is derived from it
_PI_HALF = _F(math.pi / 2)
_DENORMAL = _F(1.1754943508222875e-38)
_RELEASE_S, _ATTACK_MIN_S = _F(0.0025), _F(0.001)
_LOW_K, _HIGH_K, _FIRST_K = _F(0.1), _F(10000.0), _F(5.0)
_SPACING_DB, _ZONE_DB = _F(5.0), _F(12.0)


def _release_polynomial() -> tuple[np.float32, ...]:
    """Coefficients of the frames per 5 dB over the distance, through four zones; float32, summed left to right."""
    zones = (0.09, 0.16, 0.42, 0.98)
    matrix = (
        (0.9999999999999998, 1.8432219684323923e-16, -1.9373394351676423e-16, 8.824516011816245e-18),
        (-1.5788320352845888, 2.3305837032074286, -0.9141194204840429, 0.1623677525612032),
        (0.5334142869106424, -1.272736789213631, 0.9258856042207512, -0.18656310191776226),
        (0.08783463138207234, -0.1694162967925622, 0.08588057951595272, -0.00429891410546283),
        (-0.042416883008123074, 0.1115693827987602, -0.09764676325265872, 0.028494263462021576),
    )
    sums = []
    for row in matrix:
        total = _F(0)
        for factor, zone in zip(row, zones, strict=True):
            total = _F(total + _F(factor) * _F(zone))
        sums.append(total)
    return tuple(sums)


_A0, _A1, _A2, _A3, _A4 = _release_polynomial()

HEADER = header_dtype(
    [
        *WISH_FIELDS,
        *TAKEN_FIELDS,
        ("rate_hz", "f4"),
        ("delay_frames", "i8"),
        ("reduction_db", "f4"),  # meter, at most 0 once running; without the makeup
        # the static curve
        ("threshold_db", "f4"),
        ("knee_db", "f4"),
        ("ratio", "f4"),
        ("attack_s", "f4"),
        ("release_s", "f4"),
        ("threshold", "f4"),
        ("slope", "f4"),
        ("knee_end", "f4"),
        ("knee_end_db", "f4"),
        ("knee_out_db", "f4"),
        ("sharpness", "f4"),  # k of the knee's exponential
        ("makeup", "f4"),
        # what moves
        ("meter_share", "f4"),
        ("detector", "f4"),
        ("gain", "f4"),
        ("greatest_db", "f4"),  # largest distance since the attack began; -1: none
        ("goal", "f4"),  # of this division
        ("rate", "f4"),
        ("releasing", "i8"),
        ("in_quantum", "i8"),  # frames of the present quantum already done
        ("place", "i8"),  # in the delay line
    ],
    ("delayed",),
)


@kernel("f4(f4)", inline=True)
def to_db(linear):
    return _20 * math.log10(linear)


@kernel("f4(f4)", inline=True)
def to_linear(level_db):
    return _10 ** (_DB * level_db)


@kernel("f4(f4, f4, f4)", inline=True)
def knee(x, threshold, k):
    if x < threshold:
        return x
    return threshold + (_1 - _F(math.exp(np.float64(-k * (x - threshold))))) / k


@kernel("f4(f4, f4, f4, f4)", inline=True)
def knee_slope(x, threshold, k, x_db):
    """Slope in dB per dB, as a difference over 0.1 %: its rounding decides the last bisections."""
    if x < threshold:
        return _1
    further = _F(np.float64(x) * 1.001)
    return (to_db(knee(further, threshold, k)) - to_db(knee(x, threshold, k))) / (to_db(further) - x_db)


@kernel("void(i8)")
def take_settings(state_address):
    """Take the wishes over; find the knee's sharpness by exactly 15 bisections, as converged as Chromium's."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    wish = head.taken
    head.attack_s = min(max(wish[3], _0), _1)
    head.release_s = min(max(wish[4], _0), _1)
    threshold_db = min(max(wish[0], _F(-100)), _0)
    knee_db = min(max(wish[1], _0), _F(40))
    ratio = min(max(wish[2], _1), _20)
    if threshold_db == head.threshold_db and knee_db == head.knee_db and ratio == head.ratio:
        return
    head.threshold_db, head.knee_db, head.ratio = threshold_db, knee_db, ratio
    threshold = to_linear(threshold_db)
    slope = _1 / ratio
    end_db = threshold_db + knee_db
    end = to_linear(end_db)
    low, high, k = _LOW_K, _HIGH_K, _FIRST_K
    for _ in range(15):
        if knee_slope(end, threshold, k, to_db(end)) < slope:
            high = k
        else:
            low = k
        k = _F(math.sqrt(low * high))
    out_db = to_db(knee(end, threshold, k))
    full = knee(_1, threshold, k) if _1 < end else to_linear(out_db + slope * (to_db(_1) - end_db))
    head.threshold, head.slope, head.knee_end, head.knee_end_db, head.knee_out_db = threshold, slope, end, end_db, out_db
    head.sharpness = k
    head.makeup = (_1 / full) ** _F(0.6)


@kernel("void(i8)")
def begin_division(state_address):
    """How fast the gain moves in the coming 32 frames, and where to."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    gain = head.gain
    goal = math.asin(head.detector) / _PI_HALF
    releasing = goal > gain
    distance_db = (-_1 if releasing else _1) if goal == _0 else to_db(gain / goal)
    if releasing:
        head.greatest_db = -_1
        if not math.isfinite(distance_db):
            distance_db = -_1
        x = _QUARTER * (min(max(distance_db, -_ZONE_DB), _0) + _ZONE_DB)
        x2 = x * x
        # Scaled term by term: the sum's rounding differs from the scaled sum's, and Chromium's is this one.
        full = head.release_s * head.rate_hz
        frames = full * _A0 + full * _A1 * x + full * _A2 * x2 + full * _A3 * (x2 * x) + full * _A4 * (x2 * x2)
        rate = to_linear(_SPACING_DB / frames)  # release 0: infinite, and the gain is 1 at once
    else:
        if not math.isfinite(distance_db):
            distance_db = _1
        if head.greatest_db == -_1 or head.greatest_db < distance_db:
            head.greatest_db = distance_db
        frames = max(_ATTACK_MIN_S, head.attack_s) * head.rate_hz
        rate = _1 - (_QUARTER / max(_HALF, head.greatest_db)) ** (_1 / frames)
    head.goal, head.rate, head.releasing = goal, rate, releasing


@callback(EFFECT_SIGNATURE)
def compressor_process(block_address, frames, channels, state_address):
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    block = view_block(block_address, frames, channels)
    ring_frames = head.delay_frames + 1
    delayed = view_block(state_address + head.at_delayed, ring_frames, channels)
    place, in_quantum = head.place, head.in_quantum
    meter, meter_share = head.reduction_db, head.meter_share
    detector_frames = _RELEASE_S * head.rate_hz
    start = 0
    while start < frames:
        if in_quantum == 0 and take_wishes(state_address):
            take_settings(state_address)
        if in_quantum % DIVISION == 0:
            begin_division(state_address)
        stop = min(frames, start + DIVISION - in_quantum % DIVISION)
        in_quantum = (in_quantum + stop - start) % QUANTUM
        threshold, knee_end, k, makeup = head.threshold, head.knee_end, head.sharpness, head.makeup
        goal, rate, releasing = head.goal, head.rate, head.releasing != 0
        detector, gain = head.detector, head.gain
        for i in range(start, stop):
            loudest = _0
            for c in range(channels):
                value = block[i, c]
                if value - value != _0:  # NaN or infinite: one frame of silence, nothing remembered
                    value = _0
                delayed[place, c] = value
                loudest = max(loudest, abs(value))

            if loudest <= _SILENT:
                wanted = _1
            elif loudest < knee_end:
                wanted = knee(loudest, threshold, k) / loudest
            else:
                wanted = to_linear(head.knee_out_db + head.slope * (to_db(loudest) - head.knee_end_db)) / loudest
            share = to_linear(max(_2, -to_db(wanted)) / detector_frames) - _1 if wanted > detector else _1
            detector = min(_1, detector + (wanted - detector) * share)
            if not math.isfinite(detector):
                detector = _1

            gain = min(_1, gain * rate) if releasing else gain + (goal - gain) * rate
            bent = _F(math.sin(np.float64(_PI_HALF * gain)))
            level_db = to_db(bent)
            if level_db < meter:
                meter = max(level_db, _F(-1000))
            else:
                meter += (level_db - meter) * meter_share

            place = place + 1 if place + 1 < ring_frames else 0  # now at the oldest frame
            total = makeup * bent
            for c in range(channels):
                block[i, c] = delayed[place, c] * total
        start = stop
        head.detector, head.gain = detector, gain
        if in_quantum % DIVISION == 0:
            if abs(detector) < _DENORMAL:
                head.detector = _0
            if abs(gain) < _DENORMAL:
                head.gain = _0
    head.place, head.in_quantum, head.reduction_db = place, in_quantum, meter


@dataclass(frozen=True)
class Compressor:
    """The compressor of a browser's audio graph: soft knee, adaptive release, automatic makeup.

    Parameters
    ----------
    threshold_db, knee_db, ratio, attack_s, release_s : float
        As DynamicsCompressorNode's: -100..0, 0..40, 1..20, 0..1, 0..1.
    lookahead : bool
        Delay the sound by 6 ms, so that the gain has moved when a loud onset arrives (the browser's behaviour).
    warm_start : bool
        Begin settled. False is the browser's behaviour: a 300 ms fade-in.

    Notes
    -----
    Thread: the instance belongs to one.   Real-time: yes.   Latency: 6 ms, or none without look-ahead.
    Quiet sound comes out louder by the makeup: 3.66 dB with the default settings. Channels share one gain.
    New settings take effect at the next multiple of 128 frames. The state's ``reduction_db`` is the node's ``reduction``.
    """

    threshold_db: float = -24.0
    knee_db: float = 30.0
    ratio: float = 12.0
    attack_s: float = 0.003
    release_s: float = 0.25
    lookahead: bool = True
    warm_start: bool = False

    def __post_init__(self) -> None:
        for name, low, high in LIMITS:
            check_range("Compressor", name, getattr(self, name), low, high)

    @property
    def name(self) -> str:
        return "compressor"

    def values(self) -> tuple[float, ...]:
        """What ``update`` takes: ``(threshold_db, knee_db, ratio, attack_s, release_s)``."""
        return (self.threshold_db, self.knee_db, self.ratio, self.attack_s, self.release_s)

    def make(self, format: Format, max_frames: int) -> Instance:
        """An instance for `format`."""
        delay = int(np.float32(LOOK_AHEAD_S) * np.float32(format.rate_hz)) if self.lookahead else 0
        delay = min(delay, 1023)
        state = make_state(HEADER, {"delayed": np.zeros((delay + 1, format.channels), np.float32)})
        state["rate_hz"] = format.rate_hz
        state["delay_frames"] = delay
        state["reduction_db"] = 0.0 if self.warm_start else 1.0
        state["meter_share"] = 1 - math.exp(-1 / (METER_RELEASE_S * format.rate_hz))
        state["detector"] = state["gain"] = 1.0
        if not self.warm_start:
            state["detector"] = 0.0
        state["greatest_db"] = -1.0
        state["seen_version"] = -1  # the curve is drawn at the first frame
        state["ratio"] = -1.0
        state["wish"][0, : len(self.values())] = self.values()
        return Instance(compressor_process, state, format, max_frames, latency_frames=delay)
