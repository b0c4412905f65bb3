"""render: one block, whenever the device has room for one. Compiled, one thread, owner of the jitter buffer.

The way of a block: jitter buffer → effects at the source's rate → resampler → gain → limiter → audio
ring. Around it the room keeps the clocks together: arrivals are translated to the device's clock
(`rtmedia.rooms.device_clock`). So a sound card that runs slow looks like slowly changing network delay and is dealt
with by the same splices.

Where a drift controller is given (`rtmedia.jitter.drift`), the resampler's ratio changes from block to block instead: 10 ms of
the source become a frame more or less at the device. Everything is counted in frames made, so `sink_pos`, and with
it the media's clock, runs that much slower or faster by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.level import measure
from rtmedia.dsp.resample import RateInstance, resample
from rtmedia.dsp.switch import SwitchInstance
from rtmedia.dsp.varispeed import varispeed, varispeed_ahead, varispeed_set
from rtmedia.jitter.buffer import buffer_hold, buffer_tick
from rtmedia.jitter.delay import DELAY_DTYPE, delay_spike, delay_target
from rtmedia.jitter.drift import DRIFT_DTYPE, drift_ratio
from rtmedia.jitter.state import ACCELERATE, ADVANCE, BUFFER_DTYPE, DECELERATE, ENTRY_DTYPE, HOLD, NO_ROOM, NORMAL, PAUSE, PLAYING, Buffer
from rtmedia.jitter.timeline import buffer_insert, buffer_retire
from rtmedia.ports import EffectInstance
from rtmedia.rooms.device_clock import DeviceClock, device_ms, follow_device
from rtmedia.rooms.doorways import CHANGE_DTYPE, LEDGER_DTYPE, PACKET_DTYPE, STEP_DTYPE, TICK_DTYPE
from rtmedia.rooms.lead import Lead, keep_lead
from rtmedia.rooms.play import CELL_WORDS, LARGEST, SINK_POS, TIME_NS, UNDERRUNS, Play
from rtmedia.rt.cell import cell_read
from rtmedia.rt.clock import now_ns
from rtmedia.rt.kernel import call_effect, kernel, load_acquire, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros, reserved_zeros, view_block, view_f4, view_i8
from rtmedia.rt.plugin import wishes_write
from rtmedia.rt.ring import (
    CAPACITY,
    READY_OCTETS,
    WORDS,
    FrameRing,
    RecordRing,
    ring_claim,
    ring_commit,
    ring_front,
    ring_read,
    ring_release,
    ring_writable,
    ring_write,
)

MAX_EFFECTS = 16
MOST_BLOCKS = 16  # in one step
MORE = 2  # what a step says that has made so many: there may be room for more
#: A resampled block may be longer than the nominal one by less than this.
SPARE_FRAMES = 64

# Words of the wishes page, written by the engine.
PAUSED, HOLD_ON_PAUSE = 0, 1

# Places of a change (`CHANGE_DTYPE`) behind those of the effects.
GAIN_PLACE, LIMITER_PLACE = MAX_EFFECTS, MAX_EFFECTS + 1
SWITCH_PLACE = MAX_EFFECTS + 2  # of the first effect; the other switches follow
_VALUES_AT = int(CHANGE_DTYPE.fields["values"][1])  # type: ignore[index]
#: No limit to what one step takes.
ALL = 1 << 62

RENDER_DTYPE = np.dtype(
    [
        # doorways
        ("packet_records", "i8"),
        ("packet_frames", "i8"),
        ("buffer", "i8"),
        ("audio", "i8"),
        ("play_cell", "i8"),
        ("ticks_ring", "i8"),
        ("ledger_ring", "i8"),
        ("wishes", "i8"),
        ("steps_ring", "i8"),  # 0: no capture
        ("changes_ring", "i8"),  # 0: settings are written where they are used
        # format
        ("channels", "i8"),
        ("rate_hz", "i8"),
        ("device_rate_hz", "i8"),
        ("block", "i8"),  # source frames
        ("out_block", "i8"),  # device frames
        ("hold_limit", "i8"),
        # memory
        ("work", "i8"),
        ("out", "i8"),
        ("samples", "i8"),
        ("cell_words", "i8"),
        ("level", "i8"),
        ("step", "i8"),  # the step captured last
        ("clock", "i8"),  # rtmedia.rooms.device_clock
        ("lead", "i8"),  # rtmedia.rooms.lead
        # chain
        ("resampler", "i8"),
        ("drift", "i8"),  # 0: the resampler is a fixed one
        ("effects", "i8"),
        ("functions", "i8", (MAX_EFFECTS,)),
        ("states", "i8", (MAX_EFFECTS,)),  # of the switches around them
        ("settings", "i8", (MAX_EFFECTS,)),  # their pages of new settings
        ("gain_function", "i8"),
        ("gain_state", "i8"),
        ("limiter_function", "i8"),
        ("limiter_state", "i8"),
        # where we are
        ("tick", "i8"),
        ("sink_pos", "i8"),
        ("waiting_packet", "i8"),  # its samples are read, the buffer had no room yet
        ("paused", "i8"),  # as this step found it
        ("steps", "i8"),  # captured
        ("clocked", "i8"),  # stamps inside a step are the machine's clock; 0: they are the step's own time
        ("mute", "i8"),  # nobody listens: blocks are decided upon, but hold silence
        ("pause_gain", "f8"),
        ("ticks_lost", "i8"),
        ("ledger_lost", "i8"),
        # of packets whose first frame has been rendered: their frames, and times those the wait since the socket and the control delay
        ("emitted", "i8"),
        ("waited_s", "f8"),
        ("wanted_s", "f8"),
    ]
)


class Render:
    """The memory of the room.

    Parameters
    ----------
    buffer
        The jitter buffer, for the source's rate and channels.
    packet_records, packet_frames
        Doorway from decode.
    effects
        Switches around instances made for the source's format and `Buffer.block_frames`.
    resampler
        From the source's rate to the device's; one of changing ratio where `drift` is given.
    drift
        The controller of its ratio, from `rtmedia.jitter.drift.make_drift`.
    gain, limiter
        Instances made for the device's format.
    play
        The room behind the audio ring.
    lead_frames
        Device frames that shall wait in the audio ring; less than two blocks are one, if the device's calls allow it.
    """

    def __init__(
        self,
        buffer: Buffer,
        packet_records: RecordRing,
        packet_frames: FrameRing,
        effects: Sequence[SwitchInstance],
        resampler: RateInstance,
        gain: EffectInstance,
        limiter: EffectInstance,
        play: Play,
        *,
        rate_hz: int,
        device_rate_hz: int,
        lead_frames: int,
        max_packet_frames: int,
        hold_limit_ms: float,
        drift: npt.NDArray[np.void] | None = None,
    ) -> None:
        channels = play.ring.channels
        self.buffer, self.play, self.effects = buffer, play, tuple(effects)
        self.resampler, self.gain, self.limiter = resampler, gain, limiter
        self.drift = drift
        self.packet_records, self.packet_frames = packet_records, packet_frames
        self.ticks = RecordRing(8_192, TICK_DTYPE)  # 80 s of a control thread that cannot run
        self.ledger = RecordRing(8_192, LEDGER_DTYPE)
        self.wishes = aligned_zeros(16, np.int64)
        out_block = device_rate_hz // 100
        self.work = aligned_zeros((buffer.block_frames, channels), np.float32)
        self.out = aligned_zeros((out_block + SPARE_FRAMES, channels), np.float32)
        self.samples = reserved_zeros((max_packet_frames, channels), np.float32, READY_OCTETS)
        self.cell_words = aligned_zeros(CELL_WORDS, np.int64)
        self.level = aligned_zeros(4, np.float32)
        self.step = aligned_zeros(1, STEP_DTYPE)
        self.clock = DeviceClock(device_rate_hz)
        self.lead = Lead(lead_frames, out_block, device_rate_hz, even=drift is None)
        self.state = aligned_zeros(1, RENDER_DTYPE)
        r = self.state[0]
        r["packet_records"], r["packet_frames"] = packet_records.address, packet_frames.address
        r["buffer"], r["audio"], r["play_cell"] = buffer.address, play.ring.address, play.cell.address
        r["ticks_ring"], r["ledger_ring"] = self.ticks.address, self.ledger.address
        for name in ("work", "out", "samples", "cell_words", "level", "step", "wishes"):
            r[name] = getattr(self, name).ctypes.data
        r["clock"], r["lead"] = self.clock.address, self.lead.address
        r["channels"], r["rate_hz"], r["device_rate_hz"] = channels, rate_hz, device_rate_hz
        r["block"], r["out_block"] = buffer.block_frames, out_block
        r["hold_limit"] = int(hold_limit_ms * rate_hz / 1000)
        r["resampler"] = resampler.state_address
        r["drift"] = drift.ctypes.data if drift is not None else 0
        r["effects"] = len(self.effects)
        for i, effect in enumerate(self.effects):
            r["functions"][i], r["states"][i] = effect.address, effect.state_address
            r["settings"][i] = effect.settings.state_address
        r["gain_function"], r["gain_state"] = gain.address, gain.state_address
        r["limiter_function"], r["limiter_state"] = limiter.address, limiter.state_address
        r["pause_gain"] = 1.0
        self.address = int(self.state.ctypes.data)


@kernel("i8(i8, i8)")
def take_changes(address, most):
    """Up to `most` settings that wait in the ring of changes go to their effects; returns how many did."""
    r = carray(pointer_void(address), 1, RENDER_DTYPE)[0]
    for taken in range(most):
        front = ring_front(r.changes_ring)
        if front == 0:
            return taken
        change = carray(pointer_void(front), 1, CHANGE_DTYPE)[0]
        if change.place < MAX_EFFECTS:
            state = r.settings[change.place]
        elif change.place >= SWITCH_PLACE:
            state = r.states[change.place - SWITCH_PLACE]
        else:
            state = r.gain_state if change.place == GAIN_PLACE else r.limiter_state
        wishes_write(state, view_f4(front + _VALUES_AT, change.count))
        ring_release(r.changes_ring)
    return most


@kernel("i8(i8, i8)")
def take_packets(address, most):
    """What waits in the packet ring is offered to the jitter buffer, `most` packets of it; returns how many were.

    The last of them has found no room where ``waiting_packet`` is set: it will be offered again.
    """
    r = carray(pointer_void(address), 1, RENDER_DTYPE)[0]
    tries = 0
    while tries < most:
        front = ring_front(r.packet_records)
        if front == 0:
            break
        tries += 1
        packet = carray(pointer_void(front), 1, PACKET_DTYPE)[0]
        if r.waiting_packet == 0:
            ring_read(r.packet_frames, r.samples, packet.frames)
        verdict = buffer_insert(
            r.buffer,
            r.samples,
            packet.frames,
            packet.media_pos,
            packet.seq,
            packet.epoch,
            packet.flags,
            packet.arrival_ns,
            packet.written_ns,
            packet.taken_ns,
            packet.decoded_ns,
            device_ms(r.clock, packet.arrival_ns),
        )
        if verdict == NO_ROOM:
            r.waiting_packet = 1
            break
        r.waiting_packet = 0
        ring_release(r.packet_records)
    return tries


@kernel("void(i8, i8, i8, i8)")
def _write_ledger(address, time_ns, began_ns, m_before):
    """One record for each packet whose first frame lies in the block just made, and its part in the totals."""
    r = carray(pointer_void(address), 1, RENDER_DTYPE)[0]
    b = carray(pointer_void(r.buffer), 1, BUFFER_DTYPE)[0]
    entries = carray(pointer_void(b.entries), b.entries_capacity, ENTRY_DTYPE)
    for i in range(b.entries_count):
        entry = entries[(b.first_entry + i) & (b.entries_capacity - 1)]
        if entry.position >= b.m:
            return
        if entry.heard:
            continue
        entry.heard = 1
        r.emitted += entry.frames
        r.waited_s += entry.frames * (time_ns - entry.arrival_ns) * 1e-9
        r.wanted_s += entry.frames * b.control_ms * 1e-3
        slot = ring_claim(r.ledger_ring)
        if slot == 0:
            r.ledger_lost += 1
            continue
        record = carray(pointer_void(slot), 1, LEDGER_DTYPE)[0]
        record.seq = entry.seq
        record.arrival_ns = entry.arrival_ns
        record.written_ns = entry.written_ns
        record.taken_ns = entry.taken_ns
        record.decoded_ns = entry.decoded_ns
        record.rendered_ns = began_ns
        ahead = min(max(0, entry.position - m_before), r.block - 1)  # a splice may have brought it forward into this block
        record.sink_pos = r.sink_pos + ahead * r.device_rate_hz // r.rate_hz
        record.epoch = entry.epoch
        record.media_pos = entry.media_pos
        ring_commit(r.ledger_ring)


@kernel("i8(i8, i8)")
def _resample(address, op):
    """Take the block to the device's rate, by the drift controller's ratio where there is one; returns its frames."""
    r = carray(pointer_void(address), 1, RENDER_DTYPE)[0]
    if r.drift == 0:
        return resample(r.resampler, r.work, r.block, r.out)
    b = carray(pointer_void(r.buffer), 1, BUFFER_DTYPE)[0]
    # While nothing comes (hold, drain, wait) the delay grows for a reason of its own.
    steering = b.phase == PLAYING and op in (NORMAL, ACCELERATE, DECELERATE, ADVANCE, PAUSE)
    # d counts in whole frames made; a steady tone would be modulated by what is missing to them.
    delay_ms = b.d_ms - varispeed_ahead(r.resampler) / b.frames_per_ms
    varispeed_set(r.resampler, drift_ratio(r.drift, delay_ms, b.control_ms, r.block / b.frames_per_ms, steering))
    return varispeed(r.resampler, r.work, r.block, r.out)


@kernel("i8(i8, b1, i8)")
def _finish(address, paused, op):
    """The way of a block from the jitter buffer to the audio ring; returns its frames at the device's rate."""
    r = carray(pointer_void(address), 1, RENDER_DTYPE)[0]
    for i in range(r.effects):
        call_effect(r.functions[i], r.work, r.block, r.channels, r.states[i])
    frames = _resample(address, op)
    call_effect(r.gain_function, r.out, frames, r.channels, r.gain_state)

    goal = 0.0 if paused else 1.0
    if r.pause_gain != goal:
        out = view_block(r.out, frames, r.channels)
        start = r.pause_gain
        for i in range(frames):
            gain = np.float32(start + (goal - start) * (i + 1) / frames)
            for c in range(r.channels):
                out[i, c] *= gain
        r.pause_gain = goal
    elif paused:
        silence = view_f4(r.out, frames * r.channels)
        for i in range(frames * r.channels):
            silence[i] *= np.float32(0)
    call_effect(r.limiter_function, r.out, frames, r.channels, r.limiter_state)
    ring_write(r.audio, r.out, frames)
    return frames


@kernel("void(i8, i8, i8)")
def _render_block(address, time_ns, lead):
    """Make one block and put it on the audio ring."""
    r = carray(pointer_void(address), 1, RENDER_DTYPE)[0]
    b = carray(pointer_void(r.buffer), 1, BUFFER_DTYPE)[0]
    delay = carray(pointer_void(b.delay), 1, DELAY_DTYPE)[0]
    wishes = view_i8(r.wishes, 16)
    paused = r.paused != 0
    began_ns = now_ns() if r.clocked else time_ns
    # The tick's own time: what the device had taken when it last asked. It asks for several blocks at once
    # (`burst`), all of which are then made in one go: the last of them is the one that must be in time.
    burst = max(0, view_i8(r.cell_words, CELL_WORDS)[LARGEST] - r.out_block)
    now_ms = (r.sink_pos - lead - burst) * 1000.0 / r.device_rate_hz
    buffer_retire(r.buffer)
    m_before = b.m
    epoch = b.heard_epoch
    media_pos = b.heard_media_pos
    if paused and r.pause_gain == 0.0 and load_acquire(wishes, HOLD_ON_PAUSE) != 0:
        buffer_hold(r.buffer, now_ms, r.hold_limit)
        op = b.op
        steered_by = HOLD
        b.tick_concealed = 0
        work = view_f4(r.work, r.block * r.channels)
        for i in range(r.block * r.channels):
            work[i] = np.float32(0.0)
    else:
        op = buffer_tick(r.buffer, now_ms, r.work)
        steered_by = op
        _write_ledger(address, time_ns, began_ns, m_before)

    if r.mute:  # silence of the right length
        # Blocks of whole 10 ms are resampled to whole 10 ms, unless drift is worked off by speed.
        frames = r.out_block if r.drift == 0 else _resample(address, steered_by)
        r.pause_gain = 0.0 if paused else 1.0
        ring_write(r.audio, r.out, frames)
    else:
        frames = _finish(address, paused, steered_by)
    made_ns = now_ns() if r.clocked else time_ns

    slot = ring_claim(r.ticks_ring)
    if slot == 0:
        r.ticks_lost += 1
    else:
        level = view_f4(r.level, 4)
        if not r.mute:
            measure(r.out, frames, r.channels, r.level)
        tick = carray(pointer_void(slot), 1, TICK_DTYPE)[0]
        tick.tick = r.tick
        tick.time_ns = time_ns
        tick.sink_pos = r.sink_pos
        tick.frames = frames
        tick.epoch = epoch
        tick.media_pos = media_pos
        tick.op = op
        tick.concealed = b.tick_concealed
        tick.delay_ms = b.d_ms
        tick.control_ms = b.control_ms
        tick.target_ms = delay_target(b.delay, now_ms)
        tick.spike_ms = delay_spike(b.delay, now_ms)
        tick.relative_ms = delay.relative_ms
        tick.buffered_ms = b.buffered_ms
        tick.resample_ratio = 1.0 - carray(pointer_void(r.drift), 1, DRIFT_DTYPE)[0].speed if r.drift != 0 else 1.0
        tick.media_ms = m_before / b.frames_per_ms if b.phase == PLAYING else math.nan
        tick.peak = level[0]
        tick.mean_square = level[1]
        tick.made_ns = made_ns
        ring_commit(r.ticks_ring)
    r.tick += 1
    r.sink_pos += frames


@kernel("i8(i8, i8, i8)")
def make_blocks(address, time_ns, exactly):
    """Make blocks while the audio ring has room, or `exactly` so many where that is not below 0; returns how many."""
    r = carray(pointer_void(address), 1, RENDER_DTYPE)[0]
    words = view_i8(r.cell_words, CELL_WORDS)
    capacity = view_i8(r.audio, WORDS)[CAPACITY]
    lead = keep_lead(r.lead, r.tick, words[LARGEST], words[UNDERRUNS], capacity - r.out_block)
    for made in range(MOST_BLOCKS):
        if made == exactly or (exactly < 0 and capacity - ring_writable(r.audio) + r.out_block > lead):
            return made
        _render_block(address, time_ns, lead)
    return MOST_BLOCKS


@kernel("void(i8, i8, i8, i8, i8, i8)")
def _capture_step(address, time_ns, fresh, changes, tries, blocks):
    """Leave a record of what this step took from outside, if that was anything that the last record does not hold."""
    r = carray(pointer_void(address), 1, RENDER_DTYPE)[0]
    words = view_i8(r.cell_words, CELL_WORDS)
    step = carray(pointer_void(r.step), 1, STEP_DTYPE)[0]
    worked = changes > 0 or tries > 0 or blocks > 0 or r.steps == 0
    # A cell that was being written may have given some of its words before it was read whole.
    seen = words[TIME_NS] != step.device_ns or words[SINK_POS] != step.sink_pos or fresh != step.fresh
    if not (worked or seen or words[LARGEST] != step.largest or words[UNDERRUNS] != step.underruns):
        return
    step.number = r.steps
    step.time_ns = time_ns
    step.fresh = fresh
    step.sink_pos = words[SINK_POS]
    step.device_ns = words[TIME_NS]
    step.largest = words[LARGEST]
    step.underruns = words[UNDERRUNS]
    step.paused = r.paused
    step.changes = changes
    step.tries = tries
    step.blocks = blocks
    ring_write(r.steps_ring, r.step, 1)
    r.steps += 1


@kernel("i8(i8, i8)")
def render_step(address, time_ns):
    """Take what has arrived; make blocks while the audio ring has room. 1 when anything was done, `MORE` when it may not be all.

    All that a step takes from outside it takes through the calls below: with the same from each, it does the same
    (`rtmedia.rooms.replay`).

    Thread: render.   Real-time: yes.
    """
    r = carray(pointer_void(address), 1, RENDER_DTYPE)[0]
    changes = take_changes(address, ALL) if r.changes_ring != 0 else 0
    r.paused = load_acquire(view_i8(r.wishes, 16), PAUSED)
    words = view_i8(r.cell_words, CELL_WORDS)
    fresh = cell_read(r.play_cell, words, 4)
    follow_device(r.clock, time_ns, fresh, words[SINK_POS], words[TIME_NS])
    tries = take_packets(address, ALL)
    blocks = make_blocks(address, time_ns, -1)
    if r.steps_ring != 0:
        _capture_step(address, time_ns, fresh, changes, tries, blocks)
    if blocks == MOST_BLOCKS:
        return MORE
    return 1 if tries > r.waiting_packet or blocks > 0 else 0
