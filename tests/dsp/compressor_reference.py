"""The compressor as its formulas read: one frame after another, one float32 operation after another. Slow and obvious."""

from __future__ import annotations

import math

import numpy as np

F = np.float32
ZONES = np.array([0.09, 0.16, 0.42, 0.98])
MATRIX = np.array(
    [
        [0.9999999999999998, 1.8432219684323923e-16, -1.9373394351676423e-16, 8.824516011816245e-18],
        [-1.5788320352845888, 2.3305837032074286, -0.9141194204840429, 0.1623677525612032],
        [0.5334142869106424, -1.272736789213631, 0.9258856042207512, -0.18656310191776226],
        [0.08783463138207234, -0.1694162967925622, 0.08588057951595272, -0.00429891410546283],
        [-0.042416883008123074, 0.1115693827987602, -0.09764676325265872, 0.028494263462021576],
    ]
)


def db(linear):
    with np.errstate(divide="ignore"):
        return F(20) * np.log10(F(linear))


def linear(level_db):
    with np.errstate(over="ignore"):
        return np.power(F(10), F(0.05) * F(level_db))


class Curve:
    def __init__(self, threshold_db, knee_db, ratio):
        self.threshold = linear(threshold_db)
        self.slope = F(1) / F(ratio)
        self.end_db = F(threshold_db) + F(knee_db)
        self.end = linear(self.end_db)
        low, high, self.k = F(0.1), F(10000), F(5)
        for _ in range(15):
            if self.knee_slope() < self.slope:
                high = self.k
            else:
                low = self.k
            self.k = np.sqrt(low * high)
        self.out_db = db(self.knee(self.end))
        self.makeup = np.power(F(1) / self(F(1)), F(0.6))

    def knee(self, x):
        if x < self.threshold:
            return x
        return self.threshold + (F(1) - F(math.exp(-self.k * (x - self.threshold)))) / self.k

    def knee_slope(self):
        further = F(float(self.end) * 1.001)
        return (db(self.knee(further)) - db(self.knee(self.end))) / (db(further) - db(self.end))

    def __call__(self, x):
        return self.knee(x) if x < self.end else linear(self.out_db + self.slope * (db(x) - self.end_db))


def compress(x, rate_hz, *, threshold_db, knee_db, ratio, attack_s, release_s, delay):
    """Output like `x` (frames, channels), and the meter after every frame."""
    curve = Curve(threshold_db, knee_db, ratio)
    rate_hz = F(rate_hz)
    a = MATRIX.astype(F) * ZONES.astype(F)
    a = [F(F(F(r[0] + r[1]) + r[2]) + r[3]) for r in a]
    detector, gain, greatest, meter = F(0), F(1), F(-1), F(1)
    meter_share = F(1 - math.exp(-1 / (0.325 * float(rate_hz))))
    out, meters = np.zeros_like(x), np.zeros(len(x))
    clean = np.where(np.isfinite(x), x, F(0)).astype(F)
    for n in range(len(x)):
        if n % 32 == 0:
            goal = F(math.asin(detector)) / F(math.pi / 2)
            releasing = goal > gain
            distance = (F(-1) if releasing else F(1)) if goal == 0 else db(gain / goal)
            if releasing:
                greatest = F(-1)
                u = F(0.25) * (min(max(distance if np.isfinite(distance) else F(-1), F(-12)), F(0)) + F(12))
                full = F(release_s) * rate_hz
                frames = full * a[0] + full * a[1] * u + full * a[2] * (u * u) + full * a[3] * (u * u * u) + full * a[4] * (u * u * u * u)
                rate = linear(F(5) / frames) if frames else F(np.inf)
            else:
                greatest = max(greatest, distance if np.isfinite(distance) else F(1))
                rate = F(1) - np.power(F(0.25) / max(F(0.5), greatest), F(1) / (max(F(0.001), F(attack_s)) * rate_hz))
        m = np.abs(clean[n]).max()
        wanted = F(1) if m <= F(0.0001) else curve(m) / m
        share = linear(max(F(2), -db(wanted)) / (F(0.0025) * rate_hz)) - F(1) if wanted > detector else F(1)
        detector = min(F(1), detector + (wanted - detector) * share)
        gain = min(F(1), gain * rate) if releasing else gain + (goal - gain) * rate
        bent = F(math.sin(float(F(math.pi / 2) * gain)))
        level = db(bent)
        meter = level if level < meter else meter + (level - meter) * meter_share
        meters[n] = meter
        if n >= delay:
            out[n] = clean[n - delay] * (curve.makeup * bent)
    return out, meters
