"""Where sound can be shortened or lengthened without anybody noticing, and how.

Two neighbouring pieces of equal length that look alike are cross-faded into one (*accelerate*) or one
is played twice (*decelerate*): the time changes by one piece, the pitch does not. Voiced speech looks
alike after one pitch period; silence looks like silence after any time.

For lag ``L`` and splice point ``q`` (an index of the window)::

    accelerate   x[..q)  crossfade(x[q, q+L) -> x[q+L, q+2L))  x[q+2L..)     L frames fewer
    decelerate   x[..q)  crossfade(x[q, q+L) -> x[q-L, q))     x[q..)        L frames more

Both compare the piece that starts at ``s`` with the one that starts at ``s + L`` (``s`` is ``q`` or
``q - L``), so one search serves both. It looks at *every* position of the window, not at one fixed
point: sums that roll along the position make that cheap (`rtmedia.dsp.lag_scan`). Silence comes first: where both
pieces are silence, nothing is heard whatever is cut. Nothing is spliced across an onset: what begins, begins once.
All kernels work in memory passed in.

Source: W. Verhelst, M. Roelands, "An overlap-add technique based on waveform similarity (WSOLA)",
ICASSP 1993; normalised correlation gate and lags as in WebRTC's NetEQ.
"""

from __future__ import annotations

import math

import numpy as np

from rtmedia.dsp.lag_scan import LANES, PADDING, dot, likeness, scan_lags, total_of
from rtmedia.dsp.lanes import lane_types, shuffled, store8
from rtmedia.rt.kernel import copy_octets, kernel
from rtmedia.rt.later import intrinsic, ir, types
from rtmedia.rt.memory import view_f4, view_f8, view_i8

#: Mean square under which anything is silence: -60 dBFS.
SILENCE_MEAN_SQUARE = 1e-6
#: A block counts as background while its mean square is at most this times the floor (NetEQ: 8).
QUIET_OVER_FLOOR = 8.0
#: Rise of the noise floor per 10 ms block: x4 in 4 s.
FLOOR_RISE = 4.0 ** (1.0 / 400.0)
#: Highest first guess of the floor, -41.5 dBFS: a stream that starts with speech must not call it noise.
FLOOR_START = 7e-5
#: Digital silence says nothing about the room behind it.
FLOOR_LEAST = 1e-9
#: The coarse search runs near this rate; it sees every lag and every start.
COARSE_HZ = 4000
#: The close search runs at this rate or above; it sees every start, and the lags near the coarse search's peaks.
FINE_HZ = 16000
#: Longest piece of silence that is taken in one splice.
QUIET_LAG_S = 0.010
#: A millisecond 12 dB above all of the 12 ms before it begins something (a pitch period is shorter than that).
ONSET_RATIO = 16.0
ONSET_LOOK = 13
#: Blocks that must lie before one, before it can be called an onset: a pulse after half a pitch period is none.
ONSET_CONTEXT = 6
#: Correlation that a longer lag may lack and still be taken: fewer splices for the same time.
LONGER_LAG_BONUS = 0.003
#: Correlation peaks of the coarse search that are looked at closely.
PEAKS = 3
#: With this correlation, no shorter lag is looked at any more.
GOOD_ENOUGH = 0.985
#: Mean square above which a window is no sound.
ABSURD = 1e8


def splice_scratch_size(frames: int) -> int:
    """Values of float64 scratch that `find_splice` needs for a window of `frames` (times channels)."""
    return 3 * frames + 1024


@kernel("f8(f8[::1], f8)")
def noise_floor_update(state, mean_square):
    """Follow the background: falls at once, rises x4 in 4 s.

    Parameters
    ----------
    state : float64 array, at least 1 value
        ``state[0]`` is the floor; 0 before the first block.
    mean_square : float
        Of one 10 ms block. Digital silence and NaN leave the floor as it is.

    Returns
    -------
    float
        The floor, a mean square.

    Notes
    -----
    Thread: render.   Real-time: yes.
    Source: R. Martin, "Noise power spectral density estimation based on optimal smoothing and minimum
    statistics", IEEE Trans. SAP 9, 2001, in its simplest form.
    """
    floor = state[0]
    if not floor > 0.0:
        floor = FLOOR_START
    elif mean_square >= FLOOR_LEAST:
        floor = min(floor * FLOOR_RISE, 1.0)
    if FLOOR_LEAST <= mean_square < floor:
        floor = mean_square
    state[0] = floor
    return floor


@kernel("f8(f8)")
def quiet_limit(floor):
    """The mean square up to which a block is silence, given the noise floor.

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    return max(QUIET_OVER_FLOOR * floor, SILENCE_MEAN_SQUARE)


@kernel("void(f4[:, ::1], f4[:, ::1], f4[:, ::1])")
def crossfade(a, b, out):
    """Raised cosine from `a` to `b`; all three hold the same frames and channels; `out` may be `a` or `b`.

    Notes
    -----
    Thread: render.   Real-time: yes.
    The two gains add up to one: right for pieces that look alike, and equal pieces come out to the bit.
    Pieces that do not look alike dip by 3 dB in the middle; they are spliced only in near silence.
    """
    frames = out.shape[0]
    if frames == 0:
        return
    # A turning pointer instead of a cosine for each frame: a fifth of the time, equal to 1e-13.
    turn_x = math.cos(math.pi / frames)
    turn_y = math.sin(math.pi / frames)
    x = math.cos(0.5 * math.pi / frames)
    y = math.sin(0.5 * math.pi / frames)
    for i in range(frames):
        weight = 0.5 - 0.5 * x
        for c in range(out.shape[1]):
            start = a[i, c]
            out[i, c] = start + weight * (b[i, c] - start)
        x, y = x * turn_x - y * turn_y, x * turn_y + y * turn_x


@kernel("void(f4[:, ::1], i8, i8, f4[::1])")
def splice_window(store, position, frames, window):
    """Lay a stretch of a circular store out for `find_splice`: one channel after the other.

    Parameters
    ----------
    store : float32 array, (capacity, channels)
        The capacity is a power of two; frame `p` lies at ``p & (capacity - 1)``.
    position, frames : int
        The stretch.
    window : float32 array, at least frames x channels values
        Receives it.

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    capacity = store.shape[0]
    channels = store.shape[1]
    at = position & (capacity - 1)
    unbroken = min(frames, capacity - at)
    source = store.ctypes.data
    target = window.ctypes.data
    if channels == 1:
        copy_octets(target, source + 4 * at, 4 * unbroken)
        copy_octets(target + 4 * unbroken, source, 4 * (frames - unbroken))
        return
    for c in range(channels):
        # Views from the first value on, so that every index is a plain count from zero.
        old = view_f4(source + 4 * (at * channels + c), capacity * channels)
        new = view_f4(source + 4 * c, capacity * channels)
        out = view_f4(target + 4 * c * frames, frames)
        for i in range(unbroken):
            out[i] = old[i * channels]
        rest = view_f4(target + 4 * (c * frames + unbroken), frames)
        for i in range(frames - unbroken):
            rest[i] = new[i * channels]


@kernel("void(i8, i8, i8, i8, i8, i8, f8[::1])")
def _block_energies(x, pitch, channels, block, count, blocks, energy):
    """The energy of each block of the window, over all channels; behind its last frame lie zeros."""
    for k in range(blocks):
        total = 0.0
        for c in range(channels):
            at = x + 4 * (c * pitch + k * block)
            total += dot(at, at, block)
        energy[k] = total


@kernel("UniTuple(i8, 2)(f8[::1], i8, i8, i8, i8, i8, i8, i8, i8, f8)")
def _quietest(energy, blocks, block, count, shortest, longest, first, last, direction, quiet):
    """Start and lag of the longest pair of pieces, all of whose blocks are silence; the quietest of equally long ones."""
    best = -1
    best_lag = 0
    least = 0.0
    begin = 0
    while begin < blocks:
        if not energy[begin] <= quiet:
            begin += 1
            continue
        end = begin + 1
        while end < blocks and energy[end] <= quiet:
            end += 1
        run_end = min(end * block, count)
        for k in range(begin, end):
            start = k * block
            lag = min((run_end - start) // 2, longest)
            if direction > 0:
                if start < first:
                    continue
                if start > last:
                    break
            else:
                lag = min(lag, last - start)
                if start + lag < first:
                    continue
            if lag < shortest or lag < best_lag:
                break
            total = 0.0
            for i in range(k, min(end, k + (2 * lag + block - 1) // block)):
                total += energy[i]
            if lag > best_lag or total < least:
                best = start
                best_lag = lag
                least = total
        begin = end
    return best, best_lag


@kernel("i8(f8[::1], i8, i8, i8, f8, i8[::1])")
def _segments(energy, blocks, block, count, quiet, bounds):
    """Cut the window where something begins: pairs of first frame and end of each part between onsets. Returns their number."""
    parts = 0
    begin = 0
    for k in range(ONSET_CONTEXT, blocks + 1):
        onset = k < blocks and energy[k] > ONSET_RATIO * quiet
        i = k - 2  # not the one before: an onset may need two
        while onset and i >= max(0, k - ONSET_LOOK):  # most blocks have one as loud close by
            onset = energy[k] > ONSET_RATIO * energy[i]
            i -= 1
        if onset or k == blocks:
            if k > begin:
                bounds[2 * parts] = begin * block
                bounds[2 * parts + 1] = min(k * block, count)
                parts += 1
            begin = k + 1
    return parts


@intrinsic
def _fours(typingctx, address):  # type: ignore[no-untyped-def]
    """Eight sums of four neighbours each, of the 32 float32 at an address; each from the first to the last."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        wide = ir.VectorType(ir.FloatType(), 4 * LANES)
        sound = builder.load(builder.inttoptr(args[0], wide.as_pointer()), align=4)
        parts = [shuffled(builder, sound, ir.Constant(wide, ir.Undefined), list(range(first, 4 * LANES, 4))) for first in range(4)]
        # As from 0: the sum of four times -0 is 0.
        total = builder.fadd(ir.Constant(lane_types.VECTOR, [0.0] * LANES), parts[0])
        for part in parts[1:]:
            total = builder.fadd(total, part)
        return total

    return lane_types.float8(types.int64), codegen


@kernel("void(i8, i8, i8, i8, i8, i8, i8)")
def _decimate(x, pitch, channels, step, out, out_pitch, out_count):
    """The mean over two steps, once per step; zeros behind each channel."""
    for c in range(channels):
        source = view_f4(x + 4 * c * pitch, (out_count + 1) * step)
        target = view_f4(out + 4 * c * out_pitch, out_pitch)
        scale = np.float32(0.5 / step)
        whole = 0
        if step == 4:  # 16 kHz and all its multiples, by far the most: eight sums of four side by side, in the order of the others
            whole = out_count & -LANES
            place = x + 4 * c * pitch
            for j in range(0, whole, LANES):
                store8(out + 4 * (c * out_pitch + j), (_fours(place + 16 * j) + _fours(place + 16 * (j + 1))) * scale)
        before = np.float32(0.0)
        for i in range(whole * step, (whole + 1) * step):
            before += source[i]
        for j in range(whole, out_count):
            total = np.float32(0.0)
            for i in range((j + 1) * step, (j + 2) * step):
                total += source[i]
            target[j] = scale * (before + total)
            before = total
        for j in range(out_count, out_pitch):
            target[j] = np.float32(0.0)


@kernel("f8(i8, i8, i8, i8, i8)")
def _mean_square(source, pitch, channels, start, frames):
    total = 0.0
    for c in range(channels):
        at = source + 4 * (c * pitch + start)
        total += dot(at, at, frames)
    return total / (frames * channels)


@kernel("i8(f8[::1], i8, i8, i8)")
def _take_peak(rho_of, low, high, step):
    """Take the highest hill out of the coarse correlations: its lag at the close search's rate, -1 when none is left."""
    peak = -1
    peak_height = 0.0
    peak_bend = 0.0
    for lag in range(low, high + 1):
        left = rho_of[lag - 1] if lag > low else -1.0
        right = rho_of[lag + 1] if lag < high else -1.0
        if rho_of[lag] <= 0.0 or rho_of[lag] < left or rho_of[lag] < right:
            continue
        # The top of the parabola through three lags: short periods fall between the coarse ones.
        curve = left - 2.0 * rho_of[lag] + right
        bend = 0.5 * (left - right) / curve if left > 0.0 and right > 0.0 and curve < 0.0 else 0.0
        height = rho_of[lag] - 0.25 * (left - right) * bend
        if height > peak_height:
            peak = lag
            peak_height = height
            peak_bend = bend
    if peak < 0:
        return -1
    # The whole hill goes, so that its slopes are not taken for peaks next time.
    foot = peak
    while foot > low and 0.0 < rho_of[foot - 1] <= rho_of[foot]:
        foot -= 1
    end = peak
    while end < high and 0.0 < rho_of[end + 1] <= rho_of[end]:
        end += 1
    for lag in range(foot, end + 1):
        rho_of[lag] = -1.0
    return int((peak + peak_bend) * step + 0.5)


@kernel("void(i8, i8, i8, i8, i8, i8, i8, i8, i8, i8[::1], i8, i8, i8, i8)")
def _scan_parts(x, pitch, channels, lag, first, last, low, high, direction, bounds, parts, step, stride, best):
    """`scan_lags` over each part between onsets, at a rate `step` times lower; the points to judge lie in ``[low, high]`` too."""
    found = view_f4(best, 16)
    for i in range(LANES):
        found[i] = np.float32(-1.0)
        found[LANES + i] = np.float32(-1.0)
    low = max(low, (first + step - 1) // step)
    high = min(high, last // step)
    for part in range(parts):
        begin = (bounds[2 * part] + step - 1) // step
        end = bounds[2 * part + 1] // step
        if end - begin >= 2 * lag:
            scan_lags(x, pitch, channels, lag, low, high, begin, end, direction, stride, best)


@kernel("i8(i8, i8, i8, i8)")
def _best_lane(best, lag, low, high):
    """The lane of the highest correlation whose lag lies in ``[low, high]``, or -1."""
    found = view_f4(best, 16)
    lane = -1
    for i in range(LANES):
        if low <= lag + i <= high and found[i] > 0 and (lane < 0 or found[i] > found[lane]):
            lane = i
    return lane


@kernel("i8(f4[::1], i8, i8, i8, i8, i8, i8, i8, i8, f8, f8[::1], f8[::1])")
def find_splice(window, history, future, min_lag, max_lag, first, last, direction, rate_hz, quiet, scratch, result):
    """Find the place and the lag where a splice is heard least.

    Parameters
    ----------
    window : float32 array, channels x (history + future) values
        One channel after the other (`splice_window`): frames already played, then frames not yet played.
    history, future : int
        Frames of either kind. Index `history` is the next frame to play; no splice starts before it.
    min_lag, max_lag : int
        Limits of the lag in frames, both included (2.5 and 15 ms suit speech).
    first, last : int
        Limits of the splice point (window index), both included.
    direction : int
        +1 removes one lag, -1 inserts one.
    rate_hz : int
        Rate of the window.
    quiet : float
        Mean square up to which a piece is silence (`quiet_limit`); never less than -60 dBFS.
    scratch : float64 array
        At least `splice_scratch_size` values for the window's size; overwritten.
    result : float64 array, 4 values
        Splice point, lag, correlation of the two pieces, mean square of both together.

    Returns
    -------
    int
        1 when `result` holds a splice, 0 when no two pieces go together. Whether the correlation is good
        enough is the caller's decision.

    Notes
    -----
    Thread: render.   Real-time: yes.
    A place where both pieces are silence (every millisecond of them) wins over every other, with the longest lag up
    to 10 ms. Otherwise the highest correlation wins; a longer lag that is as good (within 0.003) wins over a shorter
    one. The correlation is that of all channels together, at full rate; the mean of each channel over the window
    is taken out before, else a constant offset would make everything look alike. No piece holds a millisecond in
    which something begins (`ONSET_RATIO`). NaN, Inf and absurd levels have no splice.
    """
    count = history + future
    if history < 0 or future < 0 or count < 8:
        return 0
    channels = window.shape[0] // count
    low_lag = max(min_lag, 2)
    high_lag = min(max_lag, count // 2)
    first = max(first, history)
    last = min(last, count)
    if channels < 1 or rate_hz < 1 or high_lag < low_lag or last < first:
        return 0
    step = max(1, rate_hz // FINE_HZ)
    fine_hz = rate_hz // step
    coarse_step = max(1, (fine_hz + COARSE_HZ // 2) // COARSE_HZ)
    block = max(8, rate_hz // 8000 * 8)
    blocks = (count + block - 1) // block
    pitch = count + PADDING + block
    fine_count = count // step
    fine_pitch = fine_count + PADDING
    coarse_count = fine_count // coarse_step
    coarse_pitch = coarse_count + PADDING
    lags = coarse_count // 2 + 16
    words = 3 * blocks + lags + 16
    if scratch.shape[0] < words + (channels * (pitch + fine_pitch + coarse_pitch) + 1) // 2:
        return 0
    memory = scratch.ctypes.data
    energy = view_f8(memory, blocks)
    rho_of = view_f8(memory + 8 * blocks, lags)
    bounds = view_i8(memory + 8 * (blocks + lags), 2 * blocks + 2)
    best = memory + 8 * (3 * blocks + lags + 4)
    found = view_f4(best, 16)
    x = memory + 8 * words
    fine = x + 4 * channels * pitch
    coarse = fine + 4 * channels * fine_pitch
    if step == 1:
        fine = x
        fine_pitch = pitch

    source = window.ctypes.data
    power = 0.0
    spread = 0.0
    for c in range(channels):
        of_channel = dot(source + 4 * c * count, source + 4 * c * count, count)
        offset = total_of(source + 4 * c * count, count) / count
        power += of_channel
        spread += of_channel - offset * offset * count
        here = view_f4(x + 4 * c * pitch, pitch)
        there = view_f4(source + 4 * c * count, count)
        for i in range(count):
            here[i] = there[i]
        for i in range(count, pitch):
            here[i] = np.float32(0.0)
    size = count * channels
    if not power <= ABSURD * size:  # NaN too
        return 0
    silence = max(quiet, SILENCE_MEAN_SQUARE) * block * channels
    constant = spread <= 1e-5 * power or spread <= 1e-12 * size  # what does not move makes no sound
    _block_energies(x, pitch, channels, block, count, blocks, energy)
    start, lag = _quietest(
        energy,
        blocks,
        block,
        count,
        low_lag,
        min(high_lag, int(QUIET_LAG_S * rate_hz)),
        first,
        last,
        direction,
        ABSURD * ABSURD if constant else silence,
    )
    if start >= 0:
        rho = likeness(x, pitch, channels, start, lag)
        result[0] = start if direction > 0 else start + lag
        result[1] = lag
        result[2] = rho
        result[3] = _mean_square(source, count, channels, start, 2 * lag)
        return 1
    if constant:
        return 0

    scale = np.float32(1.0 / math.sqrt(spread / size))
    for c in range(channels):
        here = view_f4(x + 4 * c * pitch, count)
        offset = np.float32(total_of(source + 4 * c * count, count) / count)
        for i in range(count):
            here[i] = (here[i] - offset) * scale
    _block_energies(x, pitch, channels, block, count, blocks, energy)
    parts = _segments(energy, blocks, block, count, silence * scale * scale, bounds)

    if step > 1:
        _decimate(x, pitch, channels, step, fine, fine_pitch, fine_count)
    _decimate(fine, fine_pitch, channels, coarse_step, coarse, coarse_pitch, coarse_count)
    both = step * coarse_step
    low_coarse = max(2, low_lag // both)
    high_coarse = min((high_lag + both - 1) // both, coarse_count // 2)
    lag = low_coarse
    while lag <= high_coarse:
        _scan_parts(coarse, coarse_pitch, channels, lag, first, last, 0, coarse_count, direction, bounds, parts, both, 1, best)
        for i in range(LANES):
            rho_of[lag + i] = math.sqrt(found[i]) if found[i] > 0 else -1.0
        lag += LANES

    # Around each of the highest peaks: eight lags, and starts a quarter of a millisecond apart; then at full rate.
    best_rho = -1.0
    best_lag = 0
    best_start = -1
    low_fine = (low_lag + step - 1) // step
    high_fine = high_lag // step
    for _ in range(PEAKS):
        guess = _take_peak(rho_of, low_coarse, high_coarse, coarse_step)
        if guess < 0:
            break
        if best_rho >= GOOD_ENOUGH and guess * step < best_lag:
            continue
        base = max(1, min(guess, high_fine) - 3)
        _scan_parts(fine, fine_pitch, channels, base, first, last, 0, fine_count, direction, bounds, parts, step, coarse_step, best)
        lane = _best_lane(best, base, low_fine, high_fine)
        if lane < 0:
            continue
        lag = base + lane
        start = int(found[LANES + lane])
        if step > 1:
            point = (start if direction > 0 else start + lag) * step
            reach = rate_hz // 1000
            base = max(1, lag * step - 3)
            _scan_parts(x, pitch, channels, base, first, last, point - reach, point + reach, direction, bounds, parts, 1, step, best)
            lane = _best_lane(best, base, low_lag, high_lag)
            if lane < 0:
                continue
            lag = base + lane
            start = int(found[LANES + lane])
        rho = likeness(x, pitch, channels, start, lag)
        margin = 0.0
        if lag > best_lag + both:
            margin = -LONGER_LAG_BONUS
        elif lag < best_lag - both:
            margin = LONGER_LAG_BONUS
        if rho > best_rho + margin:
            best_rho = rho
            best_lag = lag
            best_start = start
    if best_start < 0:
        return 0
    result[0] = best_start if direction > 0 else best_start + best_lag
    result[1] = best_lag
    result[2] = best_rho
    result[3] = _mean_square(source, count, channels, best_start, 2 * best_lag)
    return 1
