"""A switch around any effect: off and on while playing, without a click and without a jump in time.

How to think about it. The switch remembers the sound that goes into its effect for as long as the effect delays it, so
that at any moment it has both, in line to the frame: the *dry* sound and the effect's own, *wet*. To switch is to cross-fade
from one to the other; the delay is the same in both positions. The effect keeps running while it is off: an
estimate of the noise or of the loudness is still right when it comes on again. At rest the output is one of the two to the bit.

The shares add up to 1 in amplitude. Cross-fades between strangers keep the power constant instead, because sounds that have
nothing to do with each other add up in power. Dry and wet are the same sound at the same time: they add up in
amplitude, and shares of equal power would make the middle of each fade 3 dB louder. Both ends of the fade are flat (3t² - 2t³): a
tone of 20 Hz or more never makes a larger step from sample to sample than it makes on the louder of the two sides.

New settings pass through the switch as well. Most effects take them over in a way of their own that is not heard. One that cannot
(``fade_settings``: the compressor's makeup jumps, as the browser's does) is copied at that moment, state and all. The copy goes
on with the old settings: it alone is heard for the length of one fade, while the original finds its place under the new ones; then
the sound passes over from the copy to the original in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.state import header_dtype, make_state
from rtmedia.errors import ConfigError
from rtmedia.ports import Block, Effect, EffectInstance, Format
from rtmedia.rt.kernel import EFFECT_SIGNATURE, call_effect, callback, copy_octets, kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros, view_f4
from rtmedia.rt.plugin import MAX_WISHES, TAKEN_FIELDS, WISH_FIELDS, Instance, take_wishes, wishes_take, wishes_write
from rtmedia.units import frames_of_ms

#: Shorter, and switching something that changes the sound's character is heard as a blip; longer, and a listener who compares waits.
FADE_MS = 20.0

HEADER = header_dtype(
    [
        *WISH_FIELDS,
        *TAKEN_FIELDS,
        ("function", "i8"),  # of the effect
        ("inner", "i8"),  # its state
        ("latency_frames", "i8"),
        ("ring_frames", "i8"),
        ("place_frames", "i8"),  # in the ring, of the next frame
        ("fade_frames", "i8"),
        ("wet_frames", "i8"),  # of the fade: 0 is off, all of them is on
        ("goal_frames", "i8"),
        ("mail", "i8"),  # page of new settings
        ("mail_seen", "i8"),  # version of what was taken out of it
        ("old_octets", "i8"),  # of the copy with the old settings; 0: the effect needs none
        ("old_frames", "i8"),  # of the fade from the copy, still to come
        ("values", "f4", (MAX_WISHES,)),
    ],
    ("past", "work", "old"),
)
_VALUES_OFFSET = int(HEADER.fields["values"][1])  # type: ignore[index]


@kernel("f4(i8, i8)", inline=True)
def share_of(done, whole):
    """How far a fade has come after `done` of its `whole` frames: 3t² - 2t³."""
    t = np.float32(done) / np.float32(whole)
    return t * t * (np.float32(3) - t - t)


@kernel("void(i8, i8, i8)")
def _keep(source, target, count):
    """Copy samples; what is not finite becomes silence."""
    given, kept = view_f4(source, count), view_f4(target, count)
    for i in range(count):
        value = given[i]
        kept[i] = value if value - value == np.float32(0) else np.float32(0)


@callback(EFFECT_SIGNATURE)
def switch_process(block_address, frames, channels, state_address):
    head = carray(pointer_void(state_address), 1, HEADER)[0]
    count, ring = frames * channels, head.ring_frames * channels
    block = view_f4(block_address, count)
    past = view_f4(state_address + head.at_past, ring)
    place = head.place_frames * channels
    first = min(count, ring - place)
    _keep(block_address, state_address + head.at_past + 4 * place, first)
    _keep(block_address + 4 * first, state_address + head.at_past, count - first)
    at = place - head.latency_frames * channels
    at = at + ring if at < 0 else at
    head.place_frames = (head.place_frames + frames) % head.ring_frames

    if take_wishes(state_address):
        head.goal_frames = 0 if head.taken[0] == np.float32(0) else head.fade_frames
    old, fade = state_address + head.at_old, head.fade_frames
    if head.old_frames == 0:  # one change after the other; the newest waits in its page
        version = wishes_take(head.mail, head.mail_seen, state_address + _VALUES_OFFSET, MAX_WISHES)
        if version != head.mail_seen:
            head.mail_seen = version
            if head.old_octets > 0:
                copy_octets(old, head.inner, head.old_octets)
                head.old_frames = 2 * fade  # in the first half the old sound alone, while the new one finds its place unheard
            wishes_write(head.inner, view_f4(state_address + _VALUES_OFFSET, MAX_WISHES))
    one = np.float32(1)
    left = head.old_frames
    if left == 0:
        call_effect(head.function, block_address, frames, channels, head.inner)
    else:
        work = view_f4(state_address + head.at_work, count)
        for i in range(count):
            work[i] = block[i]
        call_effect(head.function, block_address, frames, channels, head.inner)
        call_effect(head.function, state_address + head.at_work, frames, channels, old)
        for i in range(min(frames, left)):
            left -= 1
            share = share_of(min(left, fade), fade)
            for c in range(i * channels, (i + 1) * channels):
                block[c] = block[c] * (one - share) + work[c] * share
        head.old_frames = left
    wet, goal = head.wet_frames, head.goal_frames
    if wet == goal:
        if wet == 0:
            first = min(count, ring - at)
            for i in range(first):
                block[i] = past[at + i]
            for i in range(first, count):
                block[i] = past[i - first]
        return
    for i in range(frames):
        if wet < goal:
            wet += 1
        elif wet > goal:
            wet -= 1
        share = share_of(wet, fade)
        for c in range(channels):
            dry = past[at + c]
            if wet == 0:
                block[i * channels + c] = dry
            elif wet < fade:
                block[i * channels + c] = dry * (one - share) + block[i * channels + c] * share
        at = at + channels if at + channels < ring else 0
    head.wet_frames = wet


class SettingsPage(Instance):
    """Where new settings of a switched effect wait until the switch hands them on; its ``update`` writes them."""

    def process(self, block: Block) -> None:
        """There is nothing to process."""
        raise ConfigError("a page of settings changes no sound; call process of the switch that it belongs to")


class SwitchInstance(Instance):
    """A `Switch` at work.

    Attributes
    ----------
    inner : EffectInstance
        The effect's own.
    settings : EffectInstance
        To whose ``update`` new settings of the effect go.

    Notes
    -----
    Thread: as for `Instance`.   Real-time: the C function, yes.
    """

    def __init__(self, inner: EffectInstance, format: Format, max_frames: int, on: bool = True, fade_settings: bool = False) -> None:
        late = inner.latency_frames
        if not inner.address:
            raise ConfigError(
                f"{inner!r} has no C function to call (address 0), so it cannot be switched; see rtmedia.ports.EffectInstance"
            )
        octets = inner.state.nbytes if fade_settings else 0
        arrays: dict[str, npt.NDArray[Any]] = {
            "past": np.zeros((late + max_frames, format.channels), np.float32),
            "work": np.zeros((max_frames if fade_settings else 0, format.channels), np.float32),
            "old": np.zeros(octets, np.uint8),
        }
        state = make_state(HEADER, arrays)
        fade = frames_of_ms(FADE_MS, format.rate_hz)
        # Whoever changes settings in a way of his own knows nothing of the page.
        by_page = getattr(type(inner), "update", None) is Instance.update
        mail = aligned_zeros(1, np.dtype(WISH_FIELDS))
        if by_page:  # the page is handed on whole: what an update leaves out is as it was
            mail["wish"] = inner.state["wish"]
        self.inner = inner
        page = SettingsPage(switch_process, mail, format, max_frames)
        self.settings = page if by_page else inner
        self._page = page
        state["function"], state["inner"], state["mail"] = inner.address, inner.state_address, page.state_address
        state["latency_frames"], state["ring_frames"], state["fade_frames"] = late, late + max_frames, fade
        state["wet_frames"] = state["goal_frames"] = fade if on else 0
        state["old_octets"] = octets
        state["wish"][0, 0] = on
        super().__init__(switch_process, state, format, max_frames, latency_frames=late)

    def reset(self) -> None:
        """Return to the state after ``make``, the effect's included. Not while a room is running."""
        super().reset()
        self._page.reset()
        self.inner.reset()


@dataclass(frozen=True)
class Switch:
    """Any effect, to be switched off and on while it runs.

    Parameters
    ----------
    effect : Effect
        What is switched; it goes on working while it is off.
    on : bool
        How it begins.

    Notes
    -----
    Thread: the instance belongs to one.   Real-time: yes, where the effect is.   Latency: the effect's, on and off.
    A switch takes 20 ms; turned back on the way, it goes back from where it is. Off, samples that are not finite become 0. An engine
    puts one around each of its effects (``Config(bypass=…)``, ``engine.update(bypass=…)``). The settings of the effect go to
    ``instance.settings.update``, not to ``instance.inner``: there the switch writes, on its own thread.

    Examples
    --------
    >>> import numpy as np
    >>> from rtmedia.dsp.gain import Gain
    >>> made = Switch(Gain(-20.0)).make(Format(16_000), 640)
    >>> made.update((0.0,))     # off
    >>> block = np.ones((640, 1), np.float32)
    >>> made.process(block)
    >>> round(float(block[0, 0]), 3), float(block[-1, 0])
    (0.1, 1.0)
    """

    effect: Effect
    on: bool = True

    @property
    def name(self) -> str:
        return "switch"

    def values(self) -> tuple[float, ...]:
        """What ``update`` takes: ``(on,)``, 0 for off."""
        return (float(self.on),)

    def make(self, format: Format, max_frames: int) -> SwitchInstance:
        """An instance for `format`, with one of the effect's inside."""
        fades = bool(getattr(self.effect, "fade_settings", False))
        return SwitchInstance(self.effect.make(format, max_frames), format, max_frames, self.on, fades)
