"""decode: validate the sequence, extend the counters, turn payloads into blocks. Compiled, one thread.

How to think about it. The wire carries a 32-bit number that wraps and a media time that may lie. The
room keeps an *extended* sequence number (RFC 3550 appendix A.1) and, of the newest packet, where its
audio ended; each packet is placed where its number says, and its timestamp only corrects that:

* number and timestamp agree to less than a packet (senders round, or stamp late) → the number's place, exactly;
* the next number, but a later timestamp → the sender was silent in between (`FLAG_PAUSE_BEFORE`);
* the next number, but an earlier timestamp → the number's place; the timestamps are shifted from now on;
* a jump of more than `MAX_DROPOUT` numbers, or of `MAX_TIME_JUMP_S` in time, is believed only when the
  *next* packet goes on from there (then a new stream begins with the first of the two, and nothing is
  lost); alone it is a stray, counted and dropped.

A first packet of a connection defines the origin of everything.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rtmedia.jitter.state import FLAG_END, FLAG_PAUSE_BEFORE
from rtmedia.ports import EPOCH_SHIFT, FLAG_END_OF_STREAM, FLAG_NEW_EPOCH, NO_MEDIA_TIME, CodecInstance
from rtmedia.rooms.doorways import DECODED_DTYPE, PACKET_DTYPE, WIRE_DTYPE
from rtmedia.rt.builtin import API_DTYPE, BUFFER_DTYPE, builtin, call_0, call_1, call_3, memory_of, python_api
from rtmedia.rt.clock import now_ns as clock_ns
from rtmedia.rt.kernel import call_codec, kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros, reserved_zeros, view_i8
from rtmedia.rt.ring import (
    READY_OCTETS,
    FrameRing,
    OctetRing,
    RecordRing,
    ring_claim,
    ring_commit,
    ring_front,
    ring_peek,
    ring_read,
    ring_release,
    ring_skip,
    ring_writable,
    ring_write,
)
from rtmedia.rt.wake import call_room

MAX_DROPOUT = 3_000  # RFC 3550 appendix A.1
MAX_MISORDER = 512  # packets
MAX_TIME_JUMP_S = 5
TOLERANCE_MS = 10  # timestamps in whole ms, and senders that stamp at send time
RESTART_BITS = 20  # an epoch is a connection's number, then how often its stream began anew
WINDOW = 1_024  # duplicates: one bit a packet

DECODE_DTYPE = np.dtype(
    [
        ("ready", "i8"),  # where the room is told that something has come, and its thread's bell; 0: it looks by itself
        ("bell", "i8"),
        # doorways and codec
        ("wire_records", "i8"),
        ("wire_octets", "i8"),
        ("packet_records", "i8"),
        ("packet_frames", "i8"),
        ("codec", "i8"),
        ("codec_state", "i8"),
        ("payload", "i8"),
        ("payload_size", "i8"),
        ("samples", "i8"),
        ("max_frames", "i8"),
        ("decoded_ring", "i8"),  # 0: no capture
        ("taken", "i8"),  # messages, while a capture runs
        ("seen", "i8"),  # bit window, WINDOW / 64 words
        ("rate_hz", "i8"),
        ("tolerance", "i8"),  # frames
        ("clocked", "i8"),  # stamps inside a step are the machine's clock; 0: they are the step's own time
        # sequence
        ("started", "i8"),
        ("epoch", "i8"),
        ("base", "i8"),  # first extended number of this epoch
        ("highest", "i8"),
        ("highest_pos", "i8"),  # of the newest packet
        ("highest_end", "i8"),
        ("highest_frames", "i8"),
        ("highest_time_ns", "i8"),
        ("shift", "i8"),  # frames added to timestamps that once stepped back
        # RFC 3550 jitter
        ("transit", "f8"),
        ("has_transit", "i8"),
        ("jitter_ns", "f8"),
        # totals
        ("received", "i8"),
        ("expected_before", "i8"),  # of past epochs
        ("received_before", "i8"),
        ("epoch_received", "i8"),
        ("duplicate", "i8"),
        ("reordered", "i8"),
        ("undecodable", "i8"),
        ("implausible", "i8"),
        ("restarts", "i8"),
        ("too_old", "i8"),
    ]
)


#: A `rtmedia.ports.WireWriter` that only looks; what it keeps of the payload it must copy.
WireTap = Callable[[int, int, int, int, "bytes | bytearray | memoryview"], None]


class Decode:
    """The memory of the room.

    Parameters
    ----------
    codec
        Made for the stream's format.
    rate_hz, channels
        Of the source.
    """

    def __init__(self, codec: CodecInstance, rate_hz: int, channels: int, wire_ms: float = 32_000.0) -> None:
        self.codec = codec
        self.max_frames = rate_hz // 4  # packets up to 250 ms
        octets = 1 << int(np.ceil(np.log2(wire_ms / 1000 * rate_hz * channels * 2)))
        self.wire_records = RecordRing(2_048, WIRE_DTYPE)
        self.wire_octets = OctetRing(octets)
        self.packet_records = RecordRing(512, PACKET_DTYPE)
        self.packet_frames = FrameRing(1 << int(np.ceil(np.log2(rate_hz * 2))), channels)
        self.payload = reserved_zeros(max(65_536, self.max_frames * channels * 4), np.uint8, READY_OCTETS)
        self.samples = reserved_zeros((self.max_frames, channels), np.float32, READY_OCTETS)
        self.seen = aligned_zeros(WINDOW // 64, np.int64)
        self.tap: WireTap | None = None  # told of everything that was written
        self.state = aligned_zeros(1, DECODE_DTYPE)
        state = self.state[0]
        for name in ("wire_records", "wire_octets", "packet_records", "packet_frames"):
            state[name] = getattr(self, name).address
        state["codec"], state["codec_state"] = codec.address, codec.state_address
        state["payload"], state["payload_size"] = self.payload.ctypes.data, self.payload.size
        state["samples"], state["max_frames"] = self.samples.ctypes.data, self.max_frames
        state["seen"] = self.seen.ctypes.data
        state["rate_hz"] = rate_hz
        state["tolerance"] = rate_hz * TOLERANCE_MS // 1000
        state["epoch"] = 0
        self.address = int(self.state.ctypes.data)
        self._bell_memory: object = None
        put = np.zeros(1, _PUT_DTYPE)
        python_api(put)
        put["decode"] = self.address
        self._put = builtin(put_payload, put)

    def answer_to(self, ready: int, bell: int, memory: object) -> None:
        """Tell whoever listens at these addresses of each message; `memory` holds both. Before the first message only."""
        self.state["ready"], self.state["bell"] = ready, bell
        self._bell_memory = memory

    def stamp_by_clock(self) -> None:
        """From now on the ledger's stamps are the machine's clock. Before the threads start only."""
        self.state["clocked"] = 1

    def write(self, arrival_ns: int, seq: int, media_time_ns: int, flags: int, payload: bytes | bytearray | memoryview) -> bool:
        """Put one payload on the wire ring (`rtmedia.ports.WireWriter`): anything that lies in memory in one piece.

        Notes
        -----
        Thread: receive.   Real-time: wait-free; the call itself is Python's.
        """
        written: bool = self._put(arrival_ns, seq, media_time_ns, flags, payload)
        if written and self.tap is not None:
            self.tap(arrival_ns, seq, media_time_ns, flags, payload)
        return written


@kernel("i8(i8, i8, i8, i8, i8, i8, i8)")
def wire_write(decode, arrival_ns, seq, media_time_ns, flags, payload, length):
    """One payload onto the wire ring, whole or not at all; returns 1 when it fitted.

    `decode` is the room's address; of its record only what never changes is read: the rings, and whether there is a clock.
    """
    d = carray(pointer_void(decode), 1, DECODE_DTYPE)[0]
    slot = ring_claim(d.wire_records)
    if slot == 0 or ring_writable(d.wire_octets) < length:
        return 0
    if length > 0:
        ring_write(d.wire_octets, payload, length)
    record = carray(pointer_void(slot), 1, WIRE_DTYPE)[0]
    record.arrival_ns = arrival_ns
    record.seq = seq
    record.media_time_ns = media_time_ns
    record.flags = flags
    record.length = length
    record.written_ns = clock_ns() if d.clocked else arrival_ns
    ring_commit(d.wire_records)  # the octets were released before
    call_room(d.ready, d.bell)
    return 1


#: The memory of `put_payload`.
_PUT_DTYPE = np.dtype([*API_DTYPE.descr, *BUFFER_DTYPE.descr, ("decode", "i8")])
_BUFFER_AT = API_DTYPE.itemsize


@kernel("i8(i8, i8, i8)")
def put_payload(me, arguments, count):
    """put_payload(arrival_ns, seq, media_time_ns, flags, payload) -> whether it fitted; see `rtmedia.rt.builtin`."""
    p = carray(pointer_void(memory_of(me)), 1, _PUT_DTYPE)[0]
    if count != 5:
        call_0(p.bad_argument)
        return 0
    given = view_i8(arguments, 5)
    arrival_ns = call_1(p.as_int64, given[0])
    seq = call_1(p.as_int64, given[1])
    media_time_ns = call_1(p.as_int64, given[2])
    flags = call_1(p.as_int64, given[3])
    if (arrival_ns == -1 or seq == -1 or media_time_ns == -1 or flags == -1) and call_0(p.error) != 0:
        return 0
    buffer = memory_of(me) + _BUFFER_AT
    if call_3(p.get_buffer, given[4], buffer, 0) & 0xFFFFFFFF != 0:
        return 0
    fitted = wire_write(p.decode, arrival_ns, seq, media_time_ns, flags, p.address, p.length)
    call_1(p.release_buffer, buffer)
    return call_1(p.from_bool, fitted)


@kernel("i8(i8, i8)")
def frames_of_ns(time_ns, rate_hz):
    """Media position in frames, rounded to nearest, without overflow for times since 1970."""
    seconds = time_ns // 1_000_000_000
    rest = time_ns - seconds * 1_000_000_000
    return seconds * rate_hz + (rest * rate_hz + 500_000_000) // 1_000_000_000


@kernel("i8(i8, i8)")
def extend(highest, seq):
    """The extended number nearest to `highest` whose low 32 bits are `seq` (RFC 3550 A.1)."""
    delta = (seq - highest) & 0xFFFFFFFF
    if delta >= 0x80000000:
        delta -= 0x100000000
    return highest + delta


@kernel("i8(i8, i8)")
def first_epoch(epoch, flags):
    """The epoch that a connection's first packet opens: the connection's number, and no restart yet."""
    connection = flags >> EPOCH_SHIFT
    if connection == 0:  # the writer does not count connections
        connection = (epoch >> RESTART_BITS) + 1
    return connection << RESTART_BITS


@kernel("void(i8, i8, i8, i8)")
def _begin(address, seq, media_time_ns, epoch):
    """A new stream: this packet is its origin."""
    d = carray(pointer_void(address), 1, DECODE_DTYPE)[0]
    if d.started:
        d.expected_before += d.highest - d.base + 1
        d.received_before += d.epoch_received
    d.epoch_received = 0
    d.started = 1
    d.epoch = epoch
    extended = seq + 0x100000000  # room below the origin for what was overtaken
    d.base = extended
    d.highest = extended - 1
    position = frames_of_ns(media_time_ns, d.rate_hz) if media_time_ns != NO_MEDIA_TIME else 0
    d.highest_pos = position
    d.highest_end = position
    d.highest_frames = 0
    d.highest_time_ns = NO_MEDIA_TIME
    d.shift = 0
    d.has_transit = 0
    seen = view_i8(d.seen, WINDOW // 64)
    for i in range(WINDOW // 64):
        seen[i] = 0


@kernel("b1(i8, i8, i8, i8)")
def _plausible(address, extended, media_time_ns, arrival_ns):
    """Whether a packet belongs to the stream that we follow."""
    d = carray(pointer_void(address), 1, DECODE_DTYPE)[0]
    step = extended - d.highest
    if step > MAX_DROPOUT or step < -MAX_MISORDER:
        return False
    if media_time_ns == NO_MEDIA_TIME or d.highest_time_ns == NO_MEDIA_TIME:
        return True
    predicted = d.highest_pos + step * d.highest_frames
    off = frames_of_ns(media_time_ns, d.rate_hz) + d.shift - predicted
    if abs(off) <= MAX_TIME_JUMP_S * d.rate_hz or media_time_ns == d.highest_time_ns:
        return True
    # A sender that was silent for long: its clock went on, and so did ours.
    stamped = predicted + off
    transit = float(arrival_ns - (stamped // d.rate_hz) * 1_000_000_000)
    return step == 1 and off > 0 and d.has_transit != 0 and abs(transit - d.transit) <= MAX_TIME_JUMP_S * 1e9


@kernel("i8(i8, i8, i8)")
def _position(address, extended, media_time_ns):
    """Where a packet's audio lies, in frames of the sender's clock; the lowest bit says what was found.

    Returns the position times 2, plus 1 when the sender was silent before it.
    """
    d = carray(pointer_void(address), 1, DECODE_DTYPE)[0]
    step = extended - d.highest
    if d.highest_frames == 0:  # the first packet that can be heard
        return (d.highest_pos if media_time_ns == NO_MEDIA_TIME else frames_of_ns(media_time_ns, d.rate_hz)) * 2
    if step > 0:
        predicted = d.highest_end + (step - 1) * d.highest_frames
    else:
        predicted = d.highest_pos + step * d.highest_frames
    if media_time_ns == NO_MEDIA_TIME or media_time_ns == d.highest_time_ns:
        return predicted * 2
    stamped = frames_of_ns(media_time_ns, d.rate_hz) + d.shift
    off = stamped - predicted
    # A silent sender skips whole packets; less than one is a sender that stamps when it gets round to it.
    if abs(off) < max(d.tolerance, min(d.highest_frames, 4 * d.tolerance)):
        return predicted * 2
    if step == 1 and off > 0:
        return stamped * 2 + 1
    if step > 0 and stamped < d.highest_end:
        d.shift -= off  # timestamps stepped back: sound goes on, later stamps count from here
        return predicted * 2
    return (stamped if step > 1 or off < 0 else predicted) * 2


@kernel("i8(i8, i8)")
def _check_window(address, extended):
    """Record a number; 0 new, 1 duplicate, 2 older than the window."""
    d = carray(pointer_void(address), 1, DECODE_DTYPE)[0]
    seen = view_i8(d.seen, WINDOW // 64)
    if extended > d.highest:
        gone = min(extended - d.highest, WINDOW)
        for i in range(gone):
            bit = (d.highest + 1 + i) & (WINDOW - 1)
            seen[bit >> 6] &= ~(np.int64(1) << (bit & 63))
    elif d.highest - extended >= WINDOW:
        return 2
    bit = extended & (WINDOW - 1)
    mask = np.int64(1) << (bit & 63)
    if seen[bit >> 6] & mask:
        return 1
    seen[bit >> 6] |= mask
    return 0


@kernel("void(i8, i8, i8)")
def _measure_jitter(address, arrival_ns, position):
    """RFC 3550 section 6.4.1 and A.8: J += (|D| - J) / 16.

    D is taken against where the audio lies, not against the timestamp as sent: the two are the same for a sender that
    does as it should, and a stamp that is missing, constant or stepping back says nothing about the network.
    """
    d = carray(pointer_void(address), 1, DECODE_DTYPE)[0]
    transit = float(arrival_ns - (position // d.rate_hz) * 1_000_000_000) - (position % d.rate_hz) * 1e9 / d.rate_hz
    if d.has_transit:
        d.jitter_ns += (abs(transit - d.transit) - d.jitter_ns) / 16.0
    d.transit = transit
    d.has_transit = 1


@kernel("i8(i8, i8)")
def _decode(address, now_ns):
    """Move one payload through; 1 when there was one and room for it."""
    d = carray(pointer_void(address), 1, DECODE_DTYPE)[0]
    front = ring_front(d.wire_records)
    if front == 0:
        return 0
    slot = ring_claim(d.packet_records)
    if slot == 0 or ring_writable(d.packet_frames) < d.max_frames:
        return 0  # render is behind: what waits, waits on the wire ring
    taken_ns = clock_ns() if d.clocked else now_ns
    wire = carray(pointer_void(front), 1, WIRE_DTYPE)[0]
    packet = carray(pointer_void(slot), 1, PACKET_DTYPE)[0]

    if wire.flags & FLAG_END_OF_STREAM:
        ring_skip(d.wire_octets, wire.length)
        packet.seq = d.highest
        packet.media_pos = d.highest_end
        packet.arrival_ns = wire.arrival_ns
        packet.written_ns = wire.written_ns
        packet.taken_ns = taken_ns
        packet.decoded_ns = taken_ns
        packet.frames = 0
        packet.flags = FLAG_END
        packet.epoch = d.epoch
        ring_release(d.wire_records)
        ring_commit(d.packet_records)  # also where nothing came before it: the end of an empty stream is an end
        return 1

    if d.started == 0 or wire.flags & FLAG_NEW_EPOCH:
        _begin(address, wire.seq, wire.media_time_ns, first_epoch(d.epoch, wire.flags))
    extended = extend(d.highest, wire.seq)
    if not _plausible(address, extended, wire.media_time_ns, wire.arrival_ns):
        # believed only if the next packet goes on from here: wait for it
        following = ring_peek(d.wire_records, 1)
        if following == 0:
            return 0
        witness = carray(pointer_void(following), 1, WIRE_DTYPE)[0]
        agrees = ((witness.seq - wire.seq) & 0xFFFFFFFF) == 1 and witness.flags & (FLAG_NEW_EPOCH | FLAG_END_OF_STREAM) == 0
        if agrees and wire.media_time_ns != NO_MEDIA_TIME and witness.media_time_ns != NO_MEDIA_TIME:
            agrees = abs(witness.media_time_ns - wire.media_time_ns) < 1_000_000_000
        if not agrees:
            d.implausible += 1
            ring_skip(d.wire_octets, wire.length)
            ring_release(d.wire_records)
            return 1
        d.restarts += 1
        _begin(address, wire.seq, wire.media_time_ns, d.epoch + 1)
        extended = extend(d.highest, wire.seq)

    d.received += 1
    d.epoch_received += 1
    length = wire.length
    fits = length <= d.payload_size
    if fits:
        ring_read(d.wire_octets, d.payload, length)
    else:
        ring_skip(d.wire_octets, length)
    verdict = _check_window(address, extended)
    if verdict == 1:
        d.duplicate += 1
        d.epoch_received -= 1
    elif verdict == 2:
        d.too_old += 1
    else:
        frames = call_codec(d.codec, d.payload, length, d.samples, d.max_frames, d.codec_state) if fits else np.int64(-1)
        if frames <= 0:
            d.undecodable += 1
            if d.highest_frames == 0:  # the stream begins with what can be heard
                d.epoch_received -= 1
                d.highest = max(d.highest, extended)
                d.base = d.highest + 1
            elif extended > d.highest:  # it takes its time like any other
                d.highest_pos = _position(address, extended, wire.media_time_ns) >> 1
                d.highest_end = d.highest_pos + d.highest_frames
                d.highest = extended
                d.highest_time_ns = wire.media_time_ns
            else:
                d.base = min(d.base, extended)
        else:
            place = _position(address, extended, wire.media_time_ns)
            if d.base > extended:
                d.base = extended  # the first packet had been overtaken
            if extended > d.highest:
                _measure_jitter(address, wire.arrival_ns, place >> 1)
                d.highest = extended
                d.highest_pos = place >> 1
                d.highest_end = (place >> 1) + frames
                d.highest_frames = frames
                d.highest_time_ns = wire.media_time_ns
            else:
                d.reordered += 1
                if d.highest_frames == 0:  # what overtook it could not be decoded: this one says where that lay
                    d.highest_frames = frames
                    d.highest_pos = (place >> 1) + (d.highest - extended) * frames
                    d.highest_end = d.highest_pos + frames
            ring_write(d.packet_frames, d.samples, frames)
            packet.seq = extended
            packet.media_pos = place >> 1
            packet.arrival_ns = wire.arrival_ns
            packet.written_ns = wire.written_ns
            packet.taken_ns = taken_ns
            packet.frames = frames
            packet.flags = FLAG_PAUSE_BEFORE if place & 1 else 0
            packet.epoch = d.epoch
            packet.decoded_ns = clock_ns() if d.clocked else now_ns
            ring_commit(d.packet_records)  # the samples were released before
    ring_release(d.wire_records)
    return 1


@kernel("i8(i8, i8)")
def decode_step(address, now_ns):
    """Take one message from the wire ring; 1 when there was one and room for what it holds.

    What becomes of the messages depends on nothing but the messages; when, is the caller's to say.

    Thread: decode.   Real-time: yes.
    """
    worked = _decode(address, now_ns)
    d = carray(pointer_void(address), 1, DECODE_DTYPE)[0]
    if worked != 0 and d.decoded_ring != 0:
        slot = ring_claim(d.decoded_ring)
        if slot != 0:
            record = carray(pointer_void(slot), 1, DECODED_DTYPE)[0]
            record.number = d.taken
            record.time_ns = now_ns
            ring_commit(d.decoded_ring)
        d.taken += 1
    return worked
