"""Landmarks over time without tremble: local polynomials, as long as the motion allows.

Every point is fitted with a parabola over the frames around each frame (Savitzky and Golay
1964, with tricube weights as in Cleveland 1979). The fit looks to both sides alike, so it is
not late, and it follows any motion that is a parabola for its length. Where a part of the face
moves faster than that (lids, lips), shorter fits take over, by how much they differ compared
with what the tremble alone would make them differ (after Lepski 1991).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

HALF_SPANS_SECONDS = (0.24, 0.12, 0.08)
"""Half lengths of the fits, longest first; at 25 frames per second 13, 7 and 5 frames. Last
comes the measurement itself.
"""
DEGREE = 2
PIECE = 1500
"""Frames that are smoothed at once: a minute of a video; the working memory of more would be
large.
"""
TRUSTED, REFUSED = 1.3, 2.2
"""A shorter fit begins to take over where it differs from the longer one by TRUSTED times what
tremble explains, and has done so at REFUSED times.
"""
ANCHORS = (10, 168, 4, 13, 14, 61, 291, 152, 234, 454, 159, 145, 386, 374, 105, 334, 172, 397)
"""Parts of the face that are judged together: forehead, nose, lips, corners, chin, cheeks,
lids, brows, jaw.
"""
PART_REACH = 0.12
"""How far a part reaches, in eye distances."""
QUIET_QUANTILE, NORMAL_QUANTILE = 0.30, 0.3853
"""Tremble is measured on the quieter frames: that quantile of |x|, and of a standard normal's."""


def smoothed(landmarks: Floats, fps: Fraction) -> Floats:
    """Landmarks [n, 468, 3] of consecutive frames without tremble, the same shape. Long runs
    are taken in pieces.
    """
    overlap = 2 * max(2, round(HALF_SPANS_SECONDS[0] * float(fps)))
    result = np.empty_like(landmarks)
    for start in range(0, len(landmarks), PIECE):
        first, end = max(0, start - overlap), min(len(landmarks), start + PIECE)
        piece = _smoothed(landmarks[first : min(len(landmarks), end + overlap)], fps)
        result[start:end] = piece[start - first : end - first]
    return result


def _smoothed(landmarks: Floats, fps: Fraction) -> Floats:
    count = len(landmarks)
    if count < 2 * DEGREE + 1:
        return landmarks.copy()
    values = landmarks.astype(np.float64)
    membership = _membership(values)
    halves = [max(2, round(span * float(fps))) for span in HALF_SPANS_SECONDS]
    tremble = _tremble(values, membership)
    result = longer = local_polynomial(values, halves[0])
    for shorter_half, longer_half in zip([*halves[1:], 0], halves, strict=True):
        shorter = local_polynomial(values, shorter_half) if shorter_half else values
        explained = (
            np.sqrt(max(_gain(shorter_half) ** 2 - _gain(longer_half) ** 2, 1e-6)) * tremble
        )  # [parts]
        differs = ((shorter - longer)[..., :2] ** 2).mean(axis=2) @ membership  # [n, parts]
        share = _smoothstep((np.sqrt(differs) / explained - TRUSTED) / (REFUSED - TRUSTED))
        weight = share @ (membership / membership.sum(axis=1, keepdims=True)).T  # [n, points]
        result = result + (shorter - result) * weight[..., None]
        longer = shorter
    return result.astype(np.float32)


def local_polynomial(values: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """Values [n, ...] at each place of the parabola fitted to the 2 * half + 1 around it; near
    the ends, to fewer.
    """
    count = len(values)
    result = np.empty_like(values)
    inner = _weights(np.arange(-half, half + 1), half)
    if count > 2 * half:
        result[half : count - half] = sum(
            weight * values[i : count - 2 * half + i] for i, weight in enumerate(inner)
        )
    for place in [*range(min(half, count)), *range(max(half, count - half), count)]:
        first, last = max(0, place - half), min(count, place + half + 1)
        weights = _weights(np.arange(first, last) - place, half)
        result[place] = np.tensordot(weights, values[first:last], axes=1)
    return result


def _weights(offsets: NDArray[np.int_], half: int) -> NDArray[np.float64]:
    """What each value at these offsets adds to the fit's value at offset 0."""
    tricube = (1 - np.abs(offsets / (half + 1.0)) ** 3) ** 3
    powers = (offsets / half)[:, None] ** np.arange(min(DEGREE, len(offsets) - 1) + 1)
    weighted = powers * tricube[:, None]
    return np.asarray(np.linalg.solve(powers.T @ weighted, weighted.T)[0], np.float64)


def _gain(half: int) -> float:
    """Standard deviation that is left of white noise; a half of 0 leaves all of it."""
    return 1.0 if not half else float(np.linalg.norm(_weights(np.arange(-half, half + 1), half)))


def _membership(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much each point counts for each part, [points, parts]; over the points, a part's sum
    is 1.
    """
    shape = values[:, :, :2].mean(axis=0)
    unit = max(float(np.linalg.norm(shape[33] - shape[263])), 1e-3)
    away = np.linalg.norm(shape[:, None] - shape[list(ANCHORS)], axis=2) / (unit * PART_REACH)
    nearness = np.exp(-0.5 * (away - away.min(axis=1, keepdims=True))) * np.exp(-0.1 * away)
    return np.asarray(nearness / nearness.sum(axis=0), np.float64)


def _tremble(values: NDArray[np.float64], membership: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of the tremble of each part in pixels, [parts], at most twice that of
    a usual part.
    """
    bends = np.abs(values[2:] - 2 * values[1:-1] + values[:-2])[..., :2]
    quiet = np.quantile(bends, QUIET_QUANTILE, axis=0).mean(axis=1) / NORMAL_QUANTILE / np.sqrt(6)  # [points]
    parts = quiet @ membership
    return np.asarray(np.clip(parts, 1e-4, 2 * max(float(np.median(parts)), 1e-4)), np.float64)


def _smoothstep(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def smoothed_signals(values: Floats, fps: Fraction, parts: NDArray[np.int_]) -> Floats:
    """Measures [n, k] of consecutive frames without tremble, the same shape, not late; as
    `smoothed` does it for points.

    parts: [k], measures of one number are judged together.
    """
    if len(values) < 2 * DEGREE + 1:
        return values.copy()
    wide = values.astype(np.float64)
    membership = (parts[:, None] == np.unique(parts)).astype(np.float64)
    membership /= membership.sum(axis=0)
    halves = [max(2, round(span * float(fps))) for span in HALF_SPANS_SECONDS]
    bends = np.abs(wide[2:] - 2 * wide[1:-1] + wide[:-2])
    quiet = np.quantile(bends, QUIET_QUANTILE, axis=0) / NORMAL_QUANTILE / np.sqrt(6)
    tremble = np.maximum(np.sqrt(quiet**2 @ membership), 1e-6)
    result = longer = local_polynomial(wide, halves[0])
    for shorter_half, longer_half in zip([*halves[1:], 0], halves, strict=True):
        shorter = local_polynomial(wide, shorter_half) if shorter_half else wide
        explained = np.sqrt(max(_gain(shorter_half) ** 2 - _gain(longer_half) ** 2, 1e-6)) * tremble
        differs = np.sqrt((shorter - longer) ** 2 @ membership)
        share = _smoothstep((differs / explained - TRUSTED) / (REFUSED - TRUSTED))
        weight = share @ (membership > 0).T
        result = result + (shorter - result) * weight
        longer = shorter
    return result.astype(np.float32)


class CausalSmoother:
    """The same for a camera, where nothing is known of what comes: the 1-euro filter (Casiez,
    Roussel and Vogel 2012). What hardly moves is smoothed over a third of a second; what moves
    fast passes at once.
    """

    def __init__(self, slow_hz: float = 1.5, per_speed: float = 12.0) -> None:
        """slow_hz: cutoff at rest. per_speed: how much it rises, Hz per unit per second."""
        self._slow_hz, self._per_speed = slow_hz, per_speed
        self._value: Floats | None = None
        self._speed = np.float32(0) * np.zeros(1, np.float32)

    def next(self, values: Floats, seconds: float, begins: bool = False) -> Floats:
        """values: [k]; seconds: since those before, > 0. begins: forget what was before."""
        if self._value is None or begins:
            self._value, self._speed = values.astype(np.float32), np.zeros_like(values, np.float32)
            return self._value
        speed = (values - self._value) / seconds
        self._speed = self._speed + (speed - self._speed) * _share(SPEED_HZ, seconds)
        share = _share(self._slow_hz + self._per_speed * np.abs(self._speed), seconds)
        self._value = (self._value + (values - self._value) * share).astype(np.float32)
        return self._value


SPEED_HZ = 3.0


def _share(hertz: NDArray[np.floating] | float, seconds: float) -> NDArray[np.floating]:
    return np.asarray(1 - np.exp(-2 * np.pi * np.asarray(hertz) * seconds))
