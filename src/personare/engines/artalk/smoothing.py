"""Savitzky and Golay's smoothing of motion (1964), as published: of all numbers over 5 frames
with parabolas, of the head's turn over 9 with cubics. At both ends the curve through the first
or last window goes on.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

TURN = slice(100, 103)
"""The head's turn, among the numbers of a frame."""
JAW_ASIDE = slice(104, 106)
WINDOW, ORDER = 5, 2
TURN_WINDOW, TURN_ORDER = 9, 3
DELAY = TURN_WINDOW // 2
"""Frames after a frame that are needed to smooth it."""


def smoothed(motion: Floats) -> Floats:
    """float32 [n, 106] -> the same; of fewer frames than a window needs nothing is changed."""
    if len(motion) < TURN_WINDOW:
        return motion.copy()
    made = _filtered(motion, WINDOW, ORDER)
    made[:, TURN] = _filtered(motion[:, TURN], TURN_WINDOW, TURN_ORDER)
    return made


def finished(motion: Floats, fix_pose: bool) -> Floats:
    """Smoothed motion [n, 106] as it is shown: the jaw opens and shuts and does nothing else;
    fix_pose: the head stays straight.
    """
    made = np.array(motion, np.float32)
    made[:, JAW_ASIDE] = 0
    if fix_pose:
        made[:, TURN] = 0
    return made


class StreamSmoother:
    """The same, frame after frame, DELAY frames later: not a bit differs, however the frames
    are cut.
    """

    def __init__(self) -> None:
        self._recent: Floats | None = None
        self._begun = False

    def push(self, motion: Floats) -> Floats:
        """Takes float32 [n, 106], gives the frames that are settled by now."""
        known = motion if self._recent is None else np.concatenate([self._recent, motion])
        if len(known) < TURN_WINDOW:
            self._recent = known
            return known[:0]
        # Of those that are kept from before, all but the last DELAY have been given.
        first = TURN_WINDOW - DELAY if self._begun else 0
        self._begun, self._recent = True, known[-TURN_WINDOW:]
        return smoothed(known)[first : len(known) - DELAY]

    def finish(self) -> Floats:
        """The remaining frames; then it is as new."""
        recent, begun = self._recent, self._begun
        self._recent, self._begun = None, False
        if recent is None:
            return np.zeros((0, 0), np.float32)
        return smoothed(recent)[-DELAY:] if begun else recent


def _filtered(motion: Floats, window: int, order: int) -> Floats:
    """Sums are taken tap by tap, so that no frame's depends on how many there are."""
    rows, half = _fits(window, order), window // 2
    count = len(motion) - window + 1
    inner = _weighted(rows[half], [motion[tap : tap + count] for tap in range(window)])
    before = [_weighted(row, motion[:window]) for row in rows[:half]]
    after = [_weighted(row, motion[-window:]) for row in rows[half + 1 :]]
    return np.concatenate([np.stack(before), inner, np.stack(after)]).astype(np.float32)


def _weighted(weights: Doubles, values: Floats | list[Floats]) -> Doubles:
    total = np.zeros(values[0].shape)
    for weight, value in zip(weights, values, strict=True):
        total += weight * value.astype(np.float64)
    return total


@cache
def _fits(window: int, order: int) -> Doubles:
    """[window, window]: row i times the values gives the fitted polynomial at place i."""
    places = np.vander(np.arange(window) - window // 2, order + 1).astype(np.float64)
    return np.asarray(places @ np.linalg.pinv(places), np.float64)
