"""Chromium's DynamicsCompressorNode, frame by frame, in its own arithmetic.

The W3C text leaves knee, detector rate and release curve open; the formulas here are Chromium's, and its recorded
output is the test. How to think about it: a *detector* follows, frame by frame, the attenuation that a static
curve asks for; once every 32 frames (a *division*) that average is bent by an arcsine and turned into a *rate*, by which the *gain*
then moves towards it in each frame; the sound itself waits 6 ms in a delay line and is multiplied by the
sine of the gain and by a fixed makeup. Settings are read once every 128 frames (a *quantum*).

Everything is float32, and every literal is wrapped: the arcsine's slope is infinite at 1, so the rounding of
the detector is part of the sound that is compared. A bare ``0.05 * x`` would silently compute in double.

What waits for nothing (curve, the detector's speed, sine, level) is done for eight frames at a time, a quantum ahead of the three
chains in which each frame waits for the one before: detector, gain, meter. All of it lies in the state by the frame's place in
its quantum, so that a call may end anywhere.

Source: W3C Web Audio API, section *DynamicsCompressorNode*; Chromium's observed behaviour.
"""

from __future__ import annotations

import math

import numpy as np

from rtmedia.dsp.compressor_curve import (
    copy_clean,
    draw_curve,
    draw_shares,
    find_sharpness,
    knee,
    loudest_channel,
    to_db,
    to_linear,
)
from rtmedia.dsp.lanes import all8, load8, store8, store8_twice
from rtmedia.dsp.simd import log2_8
from rtmedia.dsp.simd_f8 import sine8
from rtmedia.dsp.state import header_dtype
from rtmedia.rt.kernel import EFFECT_SIGNATURE, callback, copy_octets, kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_f4
from rtmedia.rt.plugin import TAKEN_FIELDS, WISH_FIELDS, take_wishes

DIVISION = 32
QUANTUM = 128
#: (name, lowest, highest) of the settings, in the order of ``values``.
LIMITS = (("threshold_db", -100.0, 0.0), ("knee_db", 0.0, 40.0), ("ratio", 1.0, 20.0), ("attack_s", 0.0, 1.0), ("release_s", 0.0, 1.0))

_F = np.float32
_LOW, _HIGH = (tuple(_F(limit[i]) for limit in LIMITS) for i in (1, 2))
_SLOWEST_DB = _F(2)  # the detector recovers as if it were turned down by no less
_0, _1 = _F(0), _F(1)
_HALF, _QUARTER = _F(0.5), _F(0.25)
_PI_HALF = _F(math.pi / 2)
_DB_OF_2 = _F(20 * math.log10(2))
_DENORMAL = _F(1.1754943508222875e-38)
_RELEASE_S, _ATTACK_MIN_S = _F(0.0025), _F(0.001)
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
        ("channels", "i8"),
        ("delay_frames", "i8"),
        ("reduction_db", "f4"),  # the meter after the last call: 0 or less, without the makeup
        # the static curve
        ("threshold_db", "f4"),
        ("knee_db", "f4"),
        ("ratio", "f4"),
        ("attack_s", "f4"),
        ("attack_power", "f4"),  # one over its frames
        ("release_s", "f4"),
        ("threshold", "f4"),
        ("slope", "f4"),
        ("knee_end", "f4"),
        ("knee_end_db", "f4"),
        ("knee_out_db", "f4"),
        ("sharpness", "f4"),  # k of the knee's exponential
        ("makeup", "f4"),
        # the detector's recovery: frames of 2.5 ms, and the part of the way at its slowest
        ("detector_frames", "f4"),
        ("slowest_share", "f4"),
        # what moves
        ("meter_share", "f4"),
        ("meter_db", "f4"),  # a division behind; begins above 0, where the browser's does
        ("detector", "f4"),
        ("gain", "f4"),
        ("greatest_db", "f4"),  # largest distance since the attack began; -1: none
        ("goal", "f4"),  # of this division
        ("rate", "f4"),
        ("releasing", "i8"),
        ("in_quantum", "i8"),  # frames of the present quantum already done
        ("place", "i8"),  # in the delay line, in numbers
    ],
    # A quantum of each, by the frame's place in it, except for the delay line.
    ("delayed", "sound", "loud", "wanted", "share", "gains", "total", "level"),
)


@kernel("void(i8)")
def take_settings(state_address):
    """Take the wishes over; draw the static curve's constants if they changed."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    wish = head.taken
    for i in range(len(LIMITS)):  # what is not a number fails both comparisons and becomes the lower limit
        low, high = _LOW[i], _HIGH[i]
        wish[i] = (wish[i] if wish[i] < high else high) if wish[i] > low else low
    threshold_db, knee_db, ratio = wish[0], wish[1], wish[2]
    head.attack_s, head.release_s = wish[3], wish[4]
    head.attack_power = _1 / (max(_ATTACK_MIN_S, head.attack_s) * head.rate_hz)
    head.detector_frames = _RELEASE_S * head.rate_hz
    head.slowest_share = to_linear(_SLOWEST_DB / head.detector_frames) - _1
    if threshold_db == head.threshold_db and knee_db == head.knee_db and ratio == head.ratio:
        return
    head.threshold_db, head.knee_db, head.ratio = threshold_db, knee_db, ratio
    threshold = to_linear(threshold_db)
    slope = _1 / ratio
    end_db = threshold_db + knee_db
    end = to_linear(end_db)
    k = find_sharpness(threshold, end, slope)
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
        rate = _1 - (_QUARTER / max(_HALF, head.greatest_db)) ** head.attack_power
    head.goal, head.rate, head.releasing = goal, rate, releasing


@kernel("b1(i8, i8, i8, b1)")
def move(state_address, start, stop, quiet):
    """Detector, gain and meter over frames of one division; whether the gain stood still. Nothing else waits for the frame before.

    Three chains, none of which needs another within a division: side by side they take the time of one. The meter is
    therefore a division behind (`publish_meter` makes up for it). `quiet`: no frame asks for any attenuation.
    """
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    wanted, shares = view_f4(state_address + head.at_wanted, QUANTUM), view_f4(state_address + head.at_share, QUANTUM)
    gains = view_f4(state_address + head.at_gains, QUANTUM)
    levels = view_f4(state_address + head.at_level, QUANTUM)
    back = QUANTUM - DIVISION if start < DIVISION else -DIVISION
    detector, gain, goal, rate = head.detector, head.gain, head.goal, head.rate
    meter, meter_share = head.meter_db, head.meter_share
    releasing = head.releasing != 0
    # Where a step is lost in rounding, or held by the limit, all the following ones are too.
    still = gain == _1 if releasing else gain + (goal - gain) * rate == gain
    if still and quiet and detector + (_1 - detector) * head.slowest_share == detector:
        for i in range(start, stop):
            gains[i] = gain
        # Levels go one way within a division: where the ends are alike, so is all between.
        level = levels[start + back]
        if level != levels[stop - 1 + back] or min(level, meter + (level - meter) * meter_share) != meter:
            for i in range(start, stop):
                meter = min(levels[i + back], meter + (levels[i + back] - meter) * meter_share)
            head.meter_db = meter
        return True
    # The comparisons of detector and gain let what is not a number become 1.
    if releasing:
        for i in range(start, stop):
            a, share, level = wanted[i], shares[i], levels[i + back]
            detector += (a - detector) * (share if a > detector else _1)
            detector = detector if detector < _1 else _1
            meter = min(level, meter + (level - meter) * meter_share)
            gain *= rate
            gain = gain if gain < _1 else _1
            gains[i] = gain
    else:
        for i in range(start, stop):
            a, share, level = wanted[i], shares[i], levels[i + back]
            detector += (a - detector) * (share if a > detector else _1)
            detector = detector if detector < _1 else _1
            meter = min(level, meter + (level - meter) * meter_share)
            gain += (goal - gain) * rate
            gains[i] = gain
    head.detector, head.gain, head.meter_db = detector, gain, meter
    return still


@kernel("void(i8)")
def publish_meter(state_address):
    """The meter after the last frame: `move` leaves it 32 frames behind."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    levels = view_f4(state_address + head.at_level, QUANTUM)
    meter, meter_share = head.meter_db, head.meter_share
    for i in range(head.in_quantum - DIVISION, head.in_quantum):
        level = levels[i & (QUANTUM - 1)]
        meter = min(level, meter + (level - meter) * meter_share)
    head.reduction_db = meter


@kernel("void(i8, i8, i8, b1)")
def draw_totals(state_address, start, stop, still):
    """What the sound is multiplied by, and its level for the meter; `still`: the gain is the same from `start` on."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    gains, totals, levels = state_address + head.at_gains, state_address + head.at_total, state_address + head.at_level
    makeup = all8(head.makeup)
    stereo = head.channels == 2
    first = start & ~7
    bent, level = makeup, makeup
    for at in range(first, stop, 8):
        # The first group may hold frames from before `start`; from the second on nothing changes.
        if not still or at <= first + 8:
            bent = sine8(all8(_PI_HALF) * load8(gains + 4 * at))
            level = all8(_DB_OF_2) * log2_8(bent)
            bent = makeup * bent
        store8(levels + 4 * at, level)
        if stereo:
            store8_twice(totals + 8 * at, bent)
        else:
            store8(totals + 4 * at, bent)


@kernel("void(i8, i8, i8, i8, i8)")
def delay_and_scale(state_address, sound, totals, block, count):
    """``block = delayed sound * totals``, `count` numbers; `sound` takes the place of what leaves the delay line."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    size = head.delay_frames * head.channels
    while count > 0:
        line, run = sound, count
        if size > 0:
            line, run = state_address + head.at_delayed + 4 * head.place, min(count, size - head.place)
        whole = run & ~7
        for i in range(0, 4 * whole, 32):
            store8(block + i, load8(line + i) * load8(totals + i))
        x, total, out = view_f4(line, run), view_f4(totals, run), view_f4(block, run)
        for i in range(whole, run):
            out[i] = x[i] * total[i]
        if size > 0:
            copy_octets(line, sound, 4 * run)
            head.place = 0 if head.place + run == size else head.place + run
        sound, totals, block, count = sound + 4 * run, totals + 4 * run, block + 4 * run, count - run


@callback(EFFECT_SIGNATURE)
def compressor_process(block_address, frames, channels, state_address):
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    sound, loud = state_address + head.at_sound, state_address + head.at_loud
    wanted, share = state_address + head.at_wanted, state_address + head.at_share
    done = 0
    while done < frames:
        start = head.in_quantum
        if start == 0 and take_wishes(state_address):
            take_settings(state_address)
        stop = min(start + frames - done, QUANTUM)
        place = 4 * channels * start
        # Groups of eight: those at the edges may hold frames of the call before (the same again) or of no call yet (ignored).
        first = start & ~7
        groups = (stop - first + 7) >> 3
        copy_clean(block_address, sound + place, channels * (stop - start))
        loudest = loudest_channel(sound + 4 * channels * first, loud + 4 * first, groups, channels)
        least = draw_curve(
            loud + 4 * first,
            wanted + 4 * first,
            groups,
            loudest,
            head.threshold,
            head.sharpness,
            head.knee_end,
            head.knee_end_db,
            head.knee_out_db,
            head.slope,
        )
        draw_shares(wanted + 4 * first, share + 4 * first, groups, least, head.detector_frames, head.slowest_share)
        at = start
        while at < stop:
            if at % DIVISION == 0:
                begin_division(state_address)
            end = min(stop, (at // DIVISION + 1) * DIVISION)
            still = move(state_address, at, end, least == _1)
            draw_totals(state_address, at, end, still)
            if end % DIVISION == 0:
                if abs(head.detector) < _DENORMAL:
                    head.detector = _0
                if abs(head.gain) < _DENORMAL:
                    head.gain = _0
            at = end
        delay_and_scale(state_address, sound + place, state_address + head.at_total + place, block_address, channels * (stop - start))
        head.in_quantum = stop % QUANTUM
        block_address += 4 * channels * (stop - start)
        done += stop - start
    publish_meter(state_address)
