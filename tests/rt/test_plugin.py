"""Effects and codecs through their addresses, and settings that change while audio runs."""

from __future__ import annotations

import copy
import gc
import sys
import threading
import weakref

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from rtmedia.errors import ConfigError
from rtmedia.ports import Format
from rtmedia.rt.clock import now_ns
from rtmedia.rt.kernel import CODEC_SIGNATURE, EFFECT_SIGNATURE, call_effect, callback, kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros, view_block, view_f4, view_u1
from rtmedia.rt.plugin import MAX_WISHES, WISH_FIELDS, DecoderInstance, Instance, wishes_take, wishes_write
from tests.rt.test_soak import side_by_side

GAIN = np.dtype([*WISH_FIELDS, ("seen", "i8"), ("gain", "f4"), ("longest", "i8"), ("at_scratch", "i8"), ("scratch", "f4", (MAX_WISHES,))])
SCRATCH = GAIN.fields["scratch"][1]


@callback(EFFECT_SIGNATURE)
def gain_process(block, frames, channels, state):
    own = carray(pointer_void(state), 1, GAIN)[0]
    version = wishes_take(state, own.seen, state + SCRATCH, 1)
    if version != own.seen:
        own.seen = version
        own.gain = view_f4(state + SCRATCH, 1)[0]
    own.longest = max(own.longest, frames)
    samples = view_block(block, frames, channels)
    for i in range(frames):
        for channel in range(channels):
            samples[i, channel] *= own.gain


@callback(CODEC_SIGNATURE)
def octets_decode(payload, length, out, max_frames, state):
    if length > max_frames:
        return -1
    octets, frames = view_u1(payload, length), view_f4(out, max_frames)
    for i in range(length):
        frames[i] = octets[i]
    return length


@kernel("void(i8, i8, i8, i8, i8, i8)")
def effect_loop(times, function, block, frames, channels, state):
    for _ in range(times):
        call_effect(function, block, frames, channels, state)


def make_gain(gain=2.0, channels=1, max_frames=160):
    state = aligned_zeros(1, GAIN)
    state["gain"] = gain
    return Instance(gain_process, state, Format(16_000, channels), max_frames)


@pytest.mark.parametrize("frames", [0, 1, 160, 161, 500])
def test_an_effect_works_in_place_in_pieces_that_it_can_take(frames):
    effect = make_gain(channels=2)
    block = np.arange(frames * 2, dtype=np.float32).reshape(frames, 2)
    expected = block * 2
    effect.process(block)
    assert_array_equal(block, expected)
    assert effect.state["longest"] == min(frames, 160)


def test_a_compiled_loop_calls_an_effect_by_its_address():
    effect = make_gain()
    block = np.ones((4, 1), np.float32)
    effect_loop(3, effect.address, block.ctypes.data, 4, 1, effect.state_address)
    assert_array_equal(block, np.full((4, 1), 8, np.float32))


def test_new_settings_are_taken_at_the_next_call():
    effect = make_gain()
    effect.update((3.0,))
    block = np.ones((1, 1), np.float32)
    effect.process(block)
    effect.process(block)
    assert block[0, 0] == 9
    assert effect.state["seen"] == effect.state["wish_version"] == 2


def test_reset_is_the_state_after_make_settings_included():
    effect = make_gain()
    effect.update((5.0,))
    effect.process(np.ones((1, 1), np.float32))
    effect.reset()
    assert effect.state.tobytes() == make_gain().state.tobytes()


def test_too_many_settings_are_refused():
    with pytest.raises(ConfigError, match="at most 14"):
        make_gain().update((0.0,) * 15)


def test_settings_that_are_being_written_wait_for_the_next_call():
    state = aligned_zeros(1, GAIN)
    at, scratch = state.ctypes.data, aligned_zeros(2, np.float32)
    wishes_write(at, np.array([1, 2], np.float32))
    assert wishes_take(at, 0, scratch.ctypes.data, 2) == 2
    assert scratch.tolist() == [1, 2]
    assert wishes_take(at, 2, scratch.ctypes.data, 2) == 2  # nothing new
    state["wish_version"] = 3  # the control thread is inside
    assert wishes_take(at, 2, scratch.ctypes.data, 2) == 2


@kernel("i8(i8, f4[::1], i8)")
def write_wishes(state, values, total):
    for number in range(1, total + 1):
        for i in range(values.shape[0]):
            values[i] = number + i
        wishes_write(state, values)
    return total


@kernel("i8(i8, f4[::1], i8, i8)")
def take_wishes(state, scratch, total, deadline_ns):
    seen, met = np.int64(0), 0
    while seen < 2 * total:
        version = wishes_take(state, seen, scratch.ctypes.data, scratch.shape[0])
        if version != seen:
            seen = version
            met += 1
            for i in range(scratch.shape[0]):
                if scratch[i] != np.float32(version // 2 + i):
                    return -2
        elif now_ns() > deadline_ns:
            return -1
    return met


def test_an_effect_never_plays_a_mixture_of_two_settings():
    state = aligned_zeros(1, GAIN)
    values = np.zeros((2, MAX_WISHES), np.float32)
    side_by_side(
        (write_wishes, (state.ctypes.data, values[0], 1_000_000)),
        (take_wishes, (state.ctypes.data, values[1], 1_000_000, now_ns() + 120 * 10**9)),
    )


@pytest.mark.parametrize(
    "dtype",
    [
        np.dtype([("gain", "f4")]),
        np.dtype([("gain", "f4"), *WISH_FIELDS]),
        np.dtype([("wish_version", "i8"), ("wish", "f4", (3,))]),
        np.dtype({"names": ["wish_version", "wish"], "formats": ["i8", ("f4", (14,))], "offsets": [0, 16]}),
        np.dtype(np.int64),
    ],
    ids=["no wishes", "not first", "too few", "elsewhere", "no record"],
)
def test_a_state_without_the_common_head_is_refused(dtype):
    with pytest.raises(ConfigError, match="WISH_FIELDS"):
        Instance(gain_process, aligned_zeros(1, dtype), Format(16_000), 160)


def test_a_state_of_two_records_or_off_its_alignment_is_refused():
    crooked = np.zeros(GAIN.itemsize + 12, np.uint8)
    start = 4 + -crooked.ctypes.data % 8
    for state in (aligned_zeros(2, GAIN), crooked[start : start + GAIN.itemsize].view(GAIN)):
        with pytest.raises(ConfigError, match="WISH_FIELDS"):
            Instance(gain_process, state, Format(16_000), 160)


def frozen():
    block = np.zeros((4, 1), np.float32)
    block.flags.writeable = False
    return block


@pytest.mark.parametrize(
    "block",
    [np.zeros((4, 2), np.float32), np.zeros((4, 1)), np.zeros(4, np.float32), np.zeros((8, 1), np.float32)[::2], frozen()],
    ids=["channels", "float64", "flat", "strided", "read-only"],
)
def test_a_block_that_cannot_be_changed_in_place_is_refused(block):
    with pytest.raises(ConfigError, match="in place"):
        make_gain().process(block)


def test_blocks_have_at_least_one_frame():
    with pytest.raises(ConfigError, match="max_frames is 0"):
        Instance(gain_process, aligned_zeros(1, GAIN), Format(16_000), 0)


def test_an_instance_at_work_is_not_copied():
    with pytest.raises(TypeError, match="make another"):
        copy.deepcopy(make_gain())


def test_a_codec_decodes_what_it_can_and_says_so_when_it_cannot():
    codec = DecoderInstance(octets_decode, aligned_zeros(1, np.int64), Format(8_000))
    assert_array_equal(codec.decode(b"\x01\x02\xff", 10), np.array([[1], [2], [255]], np.float32))
    assert codec.decode(b"", 10).shape == (0, 1)
    assert codec.decode(bytes(11), 10) is None


def test_an_address_alone_will_do():
    effect = Instance(gain_process.address, aligned_zeros(1, GAIN), Format(16_000), 160)
    block = np.ones((2, 1), np.float32)
    effect.process(block)
    assert not block.any()


class _Named(np.ndarray):
    """An array of another class."""


@pytest.mark.parametrize(
    "block",
    [
        None,
        [[0.0]],
        3,
        object(),
        np.float32(0),
        np.zeros((4, 1)),
        np.zeros(4, np.float32),
        np.zeros((4, 2), np.float32),
        np.zeros((8, 1), np.float32)[::2],
        np.zeros((4, 1), ">f4"),
        np.frombuffer(bytes(16), np.float32).reshape(4, 1),
        np.zeros(17, np.uint8)[1:].view(np.float32).reshape(4, 1),
        np.zeros((4, 2), np.float32).view(_Named),
    ],
    ids=[
        "None",
        "list",
        "number",
        "object",
        "scalar",
        "float64",
        "flat",
        "channels",
        "strided",
        "swapped",
        "read-only",
        "unaligned",
        "subclass",
    ],
)
def test_what_cannot_be_changed_in_place_is_refused_and_no_effect_is_called(block):
    instance = make_gain()
    with pytest.raises(ConfigError, match="in place"):
        instance.process(block)
    assert instance.state["longest"][0] == 0


def test_an_array_of_another_class_is_changed_in_place():
    block = np.ones((300, 1), np.float32).view(_Named)
    make_gain(3.0).process(block)
    assert (block == 3.0).all()


def test_an_effects_call_keeps_its_memory_and_no_block():
    instance = make_gain(2.0)
    block = np.ones((10, 1), np.float32)
    before = sys.getrefcount(block)
    call, state = instance._process, weakref.ref(instance.state)
    del instance
    gc.collect()
    assert call(block)
    assert (block == 2.0).all()
    assert sys.getrefcount(block) == before
    assert state() is not None
    del call
    assert state() is None


def test_an_effect_runs_while_another_thread_has_the_interpreter():
    """It gives the interpreter's lock away: two threads' effects and a busy third one all get on."""
    made = [make_gain(1.0, max_frames=16) for _ in range(2)]
    blocks = [np.ones((50_000, 1), np.float32) for _ in made]

    def work(instance, block):
        for _ in range(50):
            instance.process(block)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(made, blocks, strict=True)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        sum(range(100))
    assert all((block == 1.0).all() for block in blocks)
    assert [one.state["longest"][0] for one in made] == [16, 16]
