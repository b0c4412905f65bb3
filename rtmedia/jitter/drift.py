"""Drift worked off by speed instead of splices: how fast the sound must be played for the delay to become right.

How to think about it. With ``d`` the playout delay and ``C`` the delay aimed at (`rtmedia.jitter.buffer`), ``e = d - C``
says how much too late we play. Playing by a share ``u`` faster takes ``1000 u`` ms of delay away each second, and a
sender that is fast by a share ``w`` adds as much: ``e' = 1000 (w - u)``. A proportional-integral controller
``u = kp e + I`` closes the loop; in the end ``e = 0`` and ``I = w``: the drift between the two clocks, measured by the way.

With ``kp = 2 z omega / 1000`` and ``I' = omega^2 e / 1000`` the loop is one of second order with natural frequency `omega`
and damping `z`. ``omega / 2 pi`` = `BANDWIDTH_HZ` is fast against clocks: at 500 ppm e never exceeds
``500e-6 * 1000 / (2.72 omega)`` = 1.5 ms. C however jumps with every late packet and falls back within seconds, and
speed that followed it would be heard. So the controller aims at C as it was over the last `SMOOTH_MS`; a filter
before the loop, not in it, costs no stability.
Source: K. J. Astrom, R. M. Murray, *Feedback Systems*, chapter on PID control (the controller, and why its integral must rest while its
output is at a limit); F. Adriaensen, *Controlling adaptive resampling*, LAC 2012 (the use).

Whether it is heard. Pitch changes with speed. A glide is noticed when it has moved by about 0.3 %, 5 Hz at 1500 Hz,
however slowly it gets there (J. Sergeant, J. D. Harris, *Sensitivity to unidirectional frequency modulation*, JASA 34, 1962).
Clocks differ by 0.05 % at most, so following them is not heard. `MOST` = 0.5 % (9 cents) is reached only while
a change of delay of `MOST` / `kp` = 20 ms and more is worked off, and with `SLEW_PER_S` it takes 2.5 s to get there.

Beyond `SPLICE_ABOVE_MS` the buffer splices too: 0.5 % would need more than 8 s.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rtmedia.rt.kernel import kernel, pointer_void
from rtmedia.rt.later import carray
from rtmedia.rt.memory import aligned_zeros

#: The largest share by which the sound is played faster or slower.
MOST = 0.005
#: How fast that share may change, in shares a second; slower than `kp * 1000 * MOST` would overshoot.
SLEW_PER_S = 0.002
BANDWIDTH_HZ = 0.02
DAMPING = 1.0
#: A larger error is worked off by splices beside the speed, and says nothing about clocks.
SPLICE_ABOVE_MS = 40.0

#: Time constant of the delay aimed at.
SMOOTH_MS = 10_000.0

#: Time constant of the speed: arrivals come in steps, and a tone must not be modulated by them.
CALM_MS = 500.0

_OMEGA = 2.0 * math.pi * BANDWIDTH_HZ
_PER_MS = 2.0 * DAMPING * _OMEGA / 1000.0
_PER_MS_S = _OMEGA * _OMEGA / 1000.0

DRIFT_DTYPE = np.dtype(
    [
        ("speed", "f8"),  # u: the share by which we play faster now
        ("drift", "f8"),  # I: the share by which the sender's clock is faster than the device's, as far as is known
        ("aim_ms", "f8"),  # C, smoothed
        ("aiming", "i8"),
    ]
)


def make_drift() -> npt.NDArray[np.void]:
    """The controller's memory, one `DRIFT_DTYPE` record."""
    return aligned_zeros(1, DRIFT_DTYPE)


@kernel("f8(i8, f8, f8, f8, b1)")
def drift_ratio(address, delay_ms, control_ms, elapsed_ms, steering):
    """Output frames for each source frame, as a share of what the rates say, until the next call.

    Parameters
    ----------
    delay_ms, control_ms
        d and C.
    elapsed_ms
        Since the last call.
    steering
        Whether d means anything now; if not, the known drift is followed.

    Notes
    -----
    Thread: render.   Real-time: yes.
    """
    s = carray(pointer_void(address), 1, DRIFT_DTYPE)[0]
    elapsed_s = elapsed_ms / 1000.0
    wanted = s.drift
    if steering:
        spliced = abs(delay_ms - control_ms) > SPLICE_ABOVE_MS
        if spliced or s.aiming == 0:  # splices go for C as it is: do not pull the other way
            s.aim_ms = control_ms
            s.aiming = 1
        s.aim_ms += (control_ms - s.aim_ms) * min(1.0, elapsed_ms / SMOOTH_MS)
        error_ms = delay_ms - s.aim_ms
        if error_ms * (delay_ms - control_ms) < 0.0:  # the network has just changed: nothing away from where C is now
            error_ms = 0.0
        wanted = _PER_MS * error_ms + s.drift
        # At a limit the integral rests: what it would gather there has nothing to do with the clocks.
        if not spliced and abs(wanted) <= MOST:
            s.drift = min(max(s.drift + _PER_MS_S * error_ms * elapsed_s, -MOST), MOST)
        wanted = min(max(wanted, -MOST), MOST)
    change = SLEW_PER_S * elapsed_s
    s.speed += min(max((wanted - s.speed) * min(1.0, elapsed_ms / CALM_MS), -change), change)
    return 1.0 - s.speed
