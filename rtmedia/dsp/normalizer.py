"""Every caller equally loud: a slow gain towards a loudness, which moves only while somebody speaks.

How to think about it: a *listener* and a *hand*. The listener hears the input, K-weighted, in *steps* of 50 ms and
*blocks* of 400 ms, and decides every 100 ms whether the last block was speech:

* it is louder than `LEAST_LUFS`,
* it stands out from the *floor*, the quietest step of the last 3 s: steady noise and hum are their own floor,
* its level moves up and down as syllables do: what begins or ends but once is no speech, so that noise which sets in after
  silence, a ring-back tone and a busy tone are not either,
* its energy lasts: a click or a key's stroke is over in a hundredth of a second,
* and it is not alone: of late, more blocks were speech than were not.

The last 10 s of speech, be they of now or from before a long pause, are gated as ITU-R BS.1770 gates a programme; their
mean is the level. Where the latest speech disagrees with it by far, a new voice speaks, and what came before is forgotten:
after 0.8 s when it is louder, after 3 s when it is quieter, for that may be a sentence that trails off.
The hand turns the gain towards ``target - level``, fast while little is known or the way is long, then slowly, and rests
as soon as 100 ms sink towards the floor: a gain that rises in a pause is heard as noise that rises. The first gain
belongs to `EXPECTED_LUFS`, the level that telephony is built for.

Sources: ITU-R BS.1770-4 (weighting, gates); ITU-T P.56 (nominal active speech level, -26 dBov); minimum over a window as
noise floor: R. Martin, *Spectral Subtraction Based on Minimum Statistics*, 1994; syllables move the level some 4 times
a second: T. Houtgast and H. Steeneken, J. Acoust. Soc. Am. 77, 1985.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rtmedia.dsp.k_weighting import k_weight, make_k_weighting, take_energy
from rtmedia.dsp.loudness import BLOCK_HOPS, SILENT_LUFS, TICK_MS, lufs, ring_gated, ring_mean
from rtmedia.dsp.state import check_range, header_dtype, make_state
from rtmedia.ports import Format
from rtmedia.rt.kernel import EFFECT_SIGNATURE, callback, kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import view_f4, view_f8
from rtmedia.rt.plugin import TAKEN_FIELDS, WISH_FIELDS, Instance, take_wishes
from rtmedia.units import frames_of_ms, gain_of_db

#: (name, lowest, highest) of the settings, in the order of ``values``.
LIMITS = (
    ("target_lufs", -40.0, -10.0),
    ("max_gain_db", 0.0, 40.0),
    ("max_cut_db", 0.0, 40.0),
    ("rise_db_per_s", 0.1, 60.0),
    ("fall_db_per_s", 0.1, 60.0),
)
_LOWS, _HIGHS = (tuple(np.float32(limit[i]) for limit in LIMITS) for i in (1, 2))
_HIGHEST = np.float32(3e38)
EXPECTED_LUFS = -26.0
LEAST_LUFS = -60.0  # 20 LU below the quietest caller that is to be understood

# The listener. Measured on human telephone prompts of four voices, clean and in noise, and on noises alone.
STEP_TICKS = 5  # 50 ms: short enough for syllables, long enough for the level of low-frequency noise to stand still
HOP_STEPS = 2
BLOCK_STEPS = HOP_STEPS * BLOCK_HOPS
FLOOR_STEPS = 60  # 3 s: nobody speaks longer without a closed mouth or a breath
SYLLABLE_STEPS = 20  # 1 s
FEW_STEPS = 8  # less is no basis for any judgement
STANDS_OUT_DB = 7.0  # half of all blocks do at 6 dB of signal to noise; a rumbling fan's one in a hundred reach 4
MOVES_DB = 1.7  # mean change from step to step: speech 2.5 to 2.8, a fan's rumble 1.1 (rarely 1.65), a busy tone 1.2, white noise 0.3
_MOST_MOVE_DB = 4.0  # counted: no single jump makes a second lively
LEAST_TICKS = 5.0  # (sum of power)² / (sum of its squares): 10 to 30 ticks make a block of speech, 1 to 4 one of clicks
SURE, MOST_SURE = 4, 10  # surplus of blocks of speech; a few lucky blocks of babble do not make one
TOO_LOUD_LU, LENIENT = 3.0, 0.5  # what comes out so far above the target is turned down on half the evidence

# What it remembers.
HEARD_BLOCKS = 100  # 10 s of speech: sentences differ by 5 LU, ten seconds by 1
LEARNT_BLOCKS = 20
LOUDER_BLOCKS, LOUDER_LU = 8, 5.0
QUIETER_BLOCKS, QUIETER_LU = 30, 6.0

# The hand.
HASTE = 4.0  # times the stated speed, while less than `LEARNT_BLOCKS` are known, on a long way, and after new settings
FAR_DB = 3.0  # of the goal: only a new voice brings it there

HEADER = header_dtype(
    [
        *WISH_FIELDS,
        *TAKEN_FIELDS,
        # the meters
        ("gain_db", "f4"),
        ("level_lufs", "f4"),  # of the speech so far; `EXPECTED_LUFS` before the first
        ("floor_lufs", "f4"),
        ("speaking", "i8"),
        ("cleaned_total", "i8"),  # samples that were not finite
        # what moves
        ("tick_frames", "i8"),
        ("fill_frames", "i8"),  # of the present tick
        ("ticks", "i8"),  # of the present step
        ("steps_total", "i8"),
        ("step_place", "i8"),
        ("heard_place", "i8"),
        ("heard_blocks", "i8"),
        ("sureness", "i8"),
        ("free", "i8"),  # new settings: the gain may move until it is there
        ("power", "f8"),  # of the present step: mean over its ticks, and of its squares
        ("square", "f8"),
        ("now_db", "f8"),  # at the end of this tick
        ("gain", "f8"),  # at the beginning of this tick
        ("slope", "f8"),  # per frame of this tick
    ],
    ("weighting", "steps", "squares", "steps_lufs", "heard"),
)


@kernel("void(i8)")
def learn(state_address):
    """The block was speech: what is the level now?"""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    heard, place, count = state_address + head.at_heard, head.heard_place, head.heard_blocks
    level = ring_gated(heard, HEARD_BLOCKS, place, count)
    if count > LOUDER_BLOCKS:
        latest = ring_gated(heard, HEARD_BLOCKS, place, LOUDER_BLOCKS)
        if lufs(latest) > lufs(level) + LOUDER_LU:
            head.heard_blocks, level = LOUDER_BLOCKS, latest
    if head.heard_blocks > QUIETER_BLOCKS:
        latest = ring_gated(heard, HEARD_BLOCKS, place, QUIETER_BLOCKS)
        if lufs(latest) < lufs(level) - QUIETER_LU:
            head.heard_blocks, level = QUIETER_BLOCKS, latest
    head.level_lufs = lufs(level)


@kernel("void(i8)")
def listen(state_address):
    """100 ms more are known: was the last block speech?"""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    at_steps = state_address + head.at_steps
    levels = view_f8(state_address + head.at_steps_lufs, FLOOR_STEPS)
    known = min(head.steps_total, FLOOR_STEPS)
    floor = levels[0]
    for i in range(1, known):
        floor = min(floor, levels[i])
    head.floor_lufs = floor
    moved = 0.0
    pairs = min(known, SYLLABLE_STEPS) - 1
    place = head.step_place
    later = levels[place - 1 if place > 0 else FLOOR_STEPS - 1]
    for i in range(2, pairs + 2):
        earlier = levels[place - i if place >= i else place - i + FLOOR_STEPS]
        moved += min(abs(later - earlier), _MOST_MOVE_DB)
        later = earlier
    power = ring_mean(at_steps, FLOOR_STEPS, place, BLOCK_STEPS)
    level = lufs(power)
    proof = LENIENT if level + head.now_db > head.taken[0] + TOO_LOUD_LU else 1.0
    stands_out = level > LEAST_LUFS and level > floor + proof * STANDS_OUT_DB
    moves = known >= FEW_STEPS and moved > proof * MOVES_DB * pairs
    squares = ring_mean(state_address + head.at_squares, FLOOR_STEPS, place, BLOCK_STEPS)
    lasts = power * power * STEP_TICKS * BLOCK_STEPS > LEAST_TICKS * squares
    speech = stands_out and moves and lasts
    hop = lufs(ring_mean(at_steps, FLOOR_STEPS, place, HOP_STEPS))
    head.speaking = 1 if speech and hop > floor + proof * STANDS_OUT_DB else 0
    head.sureness = min(head.sureness + 1, MOST_SURE) if speech else max(head.sureness - 1, 0)
    if speech and head.sureness >= SURE:
        view_f8(state_address + head.at_heard, HEARD_BLOCKS)[head.heard_place] = power
        head.heard_place = head.heard_place + 1 if head.heard_place + 1 < HEARD_BLOCKS else 0
        head.heard_blocks = min(head.heard_blocks + 1, HEARD_BLOCKS)
        learn(state_address)


@kernel("void(i8, i8)")
def tick(state_address, channels):
    """10 ms are complete: remember their energy, and decide how the gain moves in the coming 10."""
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    power = take_energy(state_address + head.at_weighting, channels) / head.tick_frames
    head.power += power / STEP_TICKS
    head.square += power * power / STEP_TICKS
    head.ticks += 1
    if head.ticks == STEP_TICKS:
        view_f8(state_address + head.at_steps, FLOOR_STEPS)[head.step_place] = head.power
        view_f8(state_address + head.at_squares, FLOOR_STEPS)[head.step_place] = head.square
        view_f8(state_address + head.at_steps_lufs, FLOOR_STEPS)[head.step_place] = lufs(head.power)
        head.step_place = head.step_place + 1 if head.step_place + 1 < FLOOR_STEPS else 0
        head.steps_total += 1
        head.power, head.square, head.ticks = 0.0, 0.0, 0
        if head.steps_total % HOP_STEPS == 0:
            listen(state_address)

    head.gain = 10.0 ** (head.now_db / 20.0)
    head.slope = 0.0
    head.gain_db = head.now_db
    wish = head.taken
    goal_db = max(-np.float64(wish[2]), min(np.float64(wish[1]), np.float64(wish[0]) - head.level_lufs))
    if head.now_db == goal_db:
        head.free = 0
    elif head.free != 0 or head.speaking != 0:
        way = goal_db - head.now_db
        fast = head.free != 0 or head.heard_blocks < LEARNT_BLOCKS or abs(way) > FAR_DB
        step = 0.001 * TICK_MS * (HASTE if fast else 1.0) * (wish[3] if way > 0.0 else wish[4])
        head.now_db = goal_db if abs(way) <= step else head.now_db + math.copysign(step, way)
        head.slope = (10.0 ** (head.now_db / 20.0) - head.gain) / head.tick_frames


@kernel("f4(f4, f4)", inline=True)
def amplified(value, gain):
    value = value if value - value == np.float32(0) else np.float32(0)  # NaN or infinite
    return min(max(value * gain, -_HIGHEST), _HIGHEST)


@callback(EFFECT_SIGNATURE)
def normalizer_process(block_address, frames, channels, state_address):
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    if take_wishes(state_address):
        wish = head.taken
        for i in range(len(_LOWS)):
            wish[i] = min(wish[i], _HIGHS[i]) if wish[i] > _LOWS[i] else _LOWS[i]
        head.free = 1
    weighting = state_address + head.at_weighting
    start = 0
    while start < frames:
        count = min(frames - start, head.tick_frames - head.fill_frames)
        here = block_address + start * channels * 4
        head.cleaned_total += k_weight(weighting, here, count, channels)
        # Copies: for all the compiler knows, the block lies upon the head.
        first, gain_before, slope = head.fill_frames + 1, head.gain, head.slope
        samples = view_f4(here, count * channels)
        if slope == 0.0:  # nearly always, and eight samples at a time
            gain = np.float32(gain_before)
            for i in range(count * channels):
                samples[i] = amplified(samples[i], gain)
        else:
            for i in range(count):
                gain = np.float32(gain_before + slope * (first + i))
                for c in range(channels):
                    samples[i * channels + c] = amplified(samples[i * channels + c], gain)
        head.fill_frames += count
        start += count
        if head.fill_frames == head.tick_frames:
            head.fill_frames = 0
            tick(state_address, channels)


@dataclass(frozen=True)
class LoudnessNormalizer:
    """Bring speech to one loudness, whoever calls.

    Parameters
    ----------
    target_lufs : float
        -40 to -10. Of the signal: from two loudspeakers it is 3 LU louder than from one. -23 is the broadcasters' (EBU R 128), and
        suits the default `Compressor` behind: with makeup and knee it makes -20 of it with peaks around -5 dB, while it takes 1 to
        1.5 dB off on average and the limiter still rests.
    max_gain_db, max_cut_db : float
        How far the gain goes up and down, 0 to 40. The defaults reach the default target from -43 to -3 LUFS.
    rise_db_per_s, fall_db_per_s : float
        How fast it moves while somebody speaks, 0.1 to 60; four times as fast in the first 2 s of speech, of a new voice, and after new
        settings. Down is faster than up: too loud is worse than too quiet.

    Notes
    -----
    Thread: the instance belongs to one.   Real-time: yes.   Latency: none: what comes suddenly is the limiter's.
    Channels share one gain. It is a straight line within each 10 ms, of at most 2.4 dB (at 60 dB a second), and constant at rest.
    In silence and noise it holds; what sounds like speech without being speech (a few voices in the background, one singing voice, a rumble
    that comes and goes) is brought to the target too. Music without pauses keeps its level, unless that lies above the target. Readings in
    the state: ``gain_db``, ``level_lufs`` (of the speech, before the gain), ``floor_lufs``, ``speaking``. Not finite samples become 0.
    """

    target_lufs: float = -23.0
    max_gain_db: float = 20.0
    max_cut_db: float = 20.0
    rise_db_per_s: float = 3.0
    fall_db_per_s: float = 6.0

    def __post_init__(self) -> None:
        for name, low, high in LIMITS:
            check_range("LoudnessNormalizer", name, getattr(self, name), low, high)

    @property
    def name(self) -> str:
        return "loudness_normalizer"

    def values(self) -> tuple[float, ...]:
        """What ``update`` takes: ``(target_lufs, max_gain_db, max_cut_db, rise_db_per_s, fall_db_per_s)``."""
        return (self.target_lufs, self.max_gain_db, self.max_cut_db, self.rise_db_per_s, self.fall_db_per_s)

    def make(self, format: Format, max_frames: int) -> Instance:
        """An instance for `format`, whose rate must be at least 8 kHz."""
        state = make_state(
            HEADER,
            {
                "weighting": make_k_weighting(format.rate_hz, format.channels),
                "steps": np.zeros(FLOOR_STEPS),
                "squares": np.zeros(FLOOR_STEPS),
                "steps_lufs": np.full(FLOOR_STEPS, SILENT_LUFS),
                "heard": np.zeros(HEARD_BLOCKS),
            },
        )
        settings = self.values()
        first_db = max(-self.max_cut_db, min(self.max_gain_db, self.target_lufs - EXPECTED_LUFS))
        state["tick_frames"] = frames_of_ms(TICK_MS, format.rate_hz)
        state["level_lufs"] = EXPECTED_LUFS
        state["floor_lufs"] = SILENT_LUFS
        state["now_db"] = state["gain_db"] = first_db
        state["gain"] = gain_of_db(first_db)
        state["wish"][0, : len(settings)] = state["taken"][0, : len(settings)] = settings
        return Instance(normalizer_process, state, format, max_frames)
