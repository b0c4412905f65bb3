"""The spectral gate's memory and kernels: frames of two hops through a Fourier transform, `suppress`, and back.

Whole hops come and go through FIFOs inside the state, so the length of a call's block changes no bit. What the control thread
knows of a noise comes in through a page of its own (`offer_noise`), a sequence lock as for settings.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rtmedia.dsp.fft import fft_real, ifft_real
from rtmedia.dsp.high_pass import PAST, high_pass
from rtmedia.dsp.lanes import LANES, abs8, all8, finite_or, load8, load8_even, load8_odd, store8, sum8, where_less
from rtmedia.dsp.state import header_dtype
from rtmedia.dsp.suppress import COUNTERS, GUARD, IM, RE, ROW, ROWS, seed_noise, suppress
from rtmedia.rt.kernel import EFFECT_SIGNATURE, callback, kernel, load_acquire, pointer_void, store_release
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_f4, view_i8
from rtmedia.rt.plugin import TAKEN_FIELDS, WISH_FIELDS, take_wishes

LOW_DB, HIGH_DB = 0.0, 30.0  # of the depth
_STEP_DB = np.float32(2.0)  # of the depth, per hop

HEADER = header_dtype(
    [
        *WISH_FIELDS,
        *TAKEN_FIELDS,
        ("offer_version", "i8"),  # of the noise in `offer`: odd while it is being written, by the control thread alone
        ("offer_taken", "i8"),
        ("hop_frames", "i8"),
        ("overlap_frames", "i8"),
        ("fft_frames", "i8"),
        ("row_frames", "i8"),  # the window's length, rounded up to whole vectors
        ("fill_frames", "i8"),  # of the hop that is being collected
        ("ready_frames", "i8"),  # finished, in the output FIFO
        ("read", "i8"),  # its first
        ("cleaned_total", "i8"),  # samples that were not finite
        ("starved_frames_total", "i8"),  # frames of silence put in because blocks were no whole hops
        ("depth_db", "f4"),
        ("target_db", "f4"),
        ("adapt", "f4"),
        ("wet_frames", "i8"),  # of one hop: the cross-fade between the plain input (0) and the processed sound
    ],
    [
        *("analysis", "synthesis", "plan", "frame", "work", "past", "dry", "sum", "out", "dry_out"),
        *("rows", "counters", "filter", "filtered", "offer"),
    ],
)
_FIELDS: dict[str, Any] = dict(HEADER.fields or {})
_OFFER_OFFSET = _FIELDS["offer_version"][1]


@kernel("void(i8, f4[::1])", keep_gil=True)
def offer_noise(state_address, power):
    """Leave the mean power of a noise, bin by bin, where the audio thread will find it. Thread: control, alone."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    version = view_i8(state_address + _OFFER_OFFSET, 1)
    offer = view_f4(state_address + head.at_offer, head.fft_frames)
    before = version[0]
    store_release(version, 0, before + 1)
    for k in range(min(power.shape[0], head.fft_frames)):
        store_release(offer, k, power[k])
    store_release(version, 0, before + 2)


@kernel("void(i8, i8)")
def take_noise(state_address, channels):
    """If a noise was offered, let it be what was learnt; one that is being written is for the next hop."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    version = view_i8(state_address + _OFFER_OFFSET, 1)
    found = load_acquire(version, 0)
    if found == head.offer_taken or found & 1:
        return
    bins = head.fft_frames // 2 + 1
    offer, taken = view_f4(state_address + head.at_offer, bins), view_f4(state_address + head.at_frame, bins)
    for k in range(bins):
        taken[k] = load_acquire(offer, k)
    if load_acquire(version, 0) != found:
        return
    head.offer_taken = found
    for c in range(channels):
        rows, counters = state_address + head.at_rows + c * ROWS * ROW * 4, state_address + head.at_counters + c * COUNTERS * 8
        seed_noise(rows, counters, bins, state_address + head.at_frame)


@kernel("void(i8, i8)")
def hop(state_address, channel):
    """One channel's hop is complete: filter, transform, suppress, transform back, add, hand a hop to the FIFO."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    size, overlap, fft, row = head.hop_frames, head.overlap_frames, head.fft_frames, head.row_frames
    # Views that begin where they are used: with plain indices from 0, the loops below become vectors.
    past_address = state_address + head.at_past + channel * row * 4
    past, past_new = view_f4(past_address, size), view_f4(past_address + size * 4, size)
    dry_address = state_address + head.at_dry + channel * row * 4
    dry, dry_new = view_f4(dry_address, size), view_f4(dry_address + size * 4, size)
    dry_late = view_f4(dry_address + (size - overlap) * 4, size)
    frame_address = state_address + head.at_frame
    filtered = state_address + head.at_filtered + channel * PAST * 8
    new = size * 4
    high_pass(state_address + head.at_filter, filtered, dry_address + new, state_address + head.at_work, past_address + new, size)

    analysis = state_address + head.at_analysis
    energy = all8(np.float32(0))
    for i in range(0, row * 4, 64):
        first, second = load8(past_address + i) * load8(analysis + i), load8(past_address + i + 32) * load8(analysis + i + 32)
        store8(frame_address + i, first)
        store8(frame_address + i + 32, second)
        energy = energy + (first * first + second * second)
    nothing = view_f4(frame_address + row * 4, fft - row)
    for i in range(fft - row):
        nothing[i] = np.float32(0)

    plan = state_address + head.at_plan
    rows = state_address + head.at_rows + channel * ROWS * ROW * 4
    counters = state_address + head.at_counters + channel * COUNTERS * 8
    re, im = rows + (RE * ROW + GUARD) * 4, rows + (IM * ROW + GUARD) * 4
    # Digital silence tells nothing about the room: learning from it would forget the noise.
    learn = sum8(energy) > np.float32(1.0)
    fft_real(plan, frame_address, re, im)
    suppress(rows, counters, fft // 2 + 1, learn, head.depth_db, head.adapt)
    ifft_real(plan, re, im, frame_address)

    # The frame's last hop and overlap, of which the overlap waits for the next frame.
    done_address, synthesis_address = frame_address + (size - overlap) * 4, state_address + head.at_synthesis
    done, synthesis = view_f4(done_address, size), view_f4(synthesis_address, size)
    later, synthesis_later = view_f4(done_address + size * 4, overlap), view_f4(synthesis_address + size * 4, overlap)
    total = view_f4(state_address + head.at_sum + channel * overlap * 4, overlap)
    place = (2 * size * channel + head.read + head.ready_frames) * 4
    out, dry_out = view_f4(state_address + head.at_out + place, size), view_f4(state_address + head.at_dry_out + place, size)
    for i in range(size):
        out[i] = done[i] * synthesis[i]
        dry_out[i] = dry_late[i]
    for i in range(overlap):
        out[i] += total[i]
        total[i] = later[i] * synthesis_later[i]
    for i in range(size):
        past[i] = past_new[i]
        dry[i] = dry_new[i]


@kernel("i8(i8, i8, i8, i8, i8)")
def collect(block_address, channel, channels, frames, place_address):
    """Copy one channel of a block; what is not finite becomes 0. Returns how many samples were not."""
    zero, one, endless = all8(np.float32(0)), all8(np.float32(1)), all8(np.float32(np.inf))
    broken = zero
    whole = frames & -LANES
    for i in range(0, whole, LANES):
        if channels == 1:
            value = load8(block_address + 4 * i)
        elif channel == 0:
            value = load8_even(block_address + 8 * i)
        else:
            value = load8_odd(block_address + 8 * i)
        broken = broken + where_less(abs8(value), endless, zero, one)
        store8(place_address + 4 * i, finite_or(value, zero))
    cleaned = int(sum8(broken))
    block, place = view_f4(block_address + 4 * channel, frames * channels), view_f4(place_address, frames)
    for i in range(whole, frames):
        value = block[i * channels]
        finite = value - value == np.float32(0)
        place[i] = value if finite else np.float32(0)
        cleaned += 0 if finite else 1
    return cleaned


@kernel("void(i8, i8, i8, i8)")
def hand_out(state_address, block_address, frames, channels):
    """Take `frames` frames out of the FIFO."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    size, wet = head.hop_frames, head.wet_frames
    wet_goal = size if head.target_db > np.float32(0) else 0
    for c in range(channels):
        place = (2 * size * c + head.read) * 4
        out, dry_out = view_f4(state_address + head.at_out + place, frames), view_f4(state_address + head.at_dry_out + place, frames)
        one = view_f4(block_address + 4 * c, (frames - 1) * channels + 1)
        wet = head.wet_frames
        if wet == wet_goal:
            source = out if wet else dry_out
            for i in range(frames):
                one[i * channels] = source[i]
            continue
        for i in range(frames):
            if wet < wet_goal:
                wet += 1
            elif wet > wet_goal:
                wet -= 1
            share = np.float32(wet) / np.float32(size)
            faded = dry_out[i] + share * (out[i] - dry_out[i])
            faded = faded if wet > 0 else dry_out[i]
            one[i * channels] = faded if wet < size else out[i]
    head.read += frames
    head.ready_frames -= frames
    head.wet_frames = wet


@callback(EFFECT_SIGNATURE)
def gate_process(block_address, frames, channels, state_address):
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    size = head.hop_frames
    if take_wishes(state_address):
        wish_db = head.taken[0]
        head.target_db = min(wish_db, np.float32(HIGH_DB)) if wish_db > np.float32(LOW_DB) else np.float32(LOW_DB)
        head.adapt = head.taken[1]
    while frames > 0:
        count = min(frames, size - head.fill_frames)
        place = state_address + head.at_dry + (size + head.fill_frames) * 4
        for c in range(channels):
            head.cleaned_total += collect(block_address, c, channels, count, place + c * head.row_frames * 4)
        head.fill_frames += count
        if head.fill_frames == size:
            head.fill_frames = 0
            for c in range(channels):
                for fifo in (state_address + head.at_out, state_address + head.at_dry_out):
                    front = view_f4(fifo + 2 * size * c * 4, head.ready_frames)
                    waiting = view_f4(fifo + (2 * size * c + head.read) * 4, head.ready_frames)
                    for i in range(head.ready_frames):
                        front[i] = waiting[i]
            head.read = 0
            take_noise(state_address, channels)
            for c in range(channels):
                hop(state_address, c)
            head.ready_frames += size
            head.depth_db += min(max(head.target_db - head.depth_db, -_STEP_DB), _STEP_DB)
        missing = max(0, count - head.ready_frames)
        head.starved_frames_total += missing
        block = view_f4(block_address, missing * channels)
        for i in range(missing * channels):
            block[i] = np.float32(0)
        block_address += missing * channels * 4
        hand_out(state_address, block_address, count - missing, channels)
        block_address += (count - missing) * channels * 4
        frames -= count
