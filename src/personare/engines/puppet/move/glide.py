"""Moves as muscles make them: minimum jerk (Flash and Hogan 1985), also from the middle of
another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SOLVE = np.array([[10.0, -4.0, 0.5], [-15.0, 7.0, -1.0], [6.0, -3.0, 0.5]])
"""Coefficients of t^3, t^4 and t^5 of the quintic that ends at rest, from what place, speed and
acceleration lack at its end.
"""


class Glide:
    """Values that go from target to target, a list of strokes ahead of them at most.

    A stroke starts with the place, speed and acceleration that the one before had, and ends at
    rest: however they follow one another, nothing jerks. Times are seconds and never go back,
    so any frame rate sees the same path.
    """

    def __init__(self, size: int) -> None:
        self._start, self._seconds = 0.0, 1.0
        self._coefficients = np.zeros((6, size))
        self._target = np.zeros(size)
        self._ahead: deque[tuple[Floats, float]] = deque()

    def go(self, time: float, *strokes: tuple[Sequence[float] | Floats, float]) -> None:
        """From where the values are at this time through targets, each with its seconds; what
        was ahead is forgotten.
        """
        self.at(time)
        self._ahead = deque((np.asarray(target, np.float64), seconds) for target, seconds in strokes)
        self._begin(time)

    def at(self, time: float) -> Floats:
        """The values [size] at a time."""
        while self._ahead and time >= self._start + self._seconds:
            self._begin(self._start + self._seconds)
        part = (time - self._start) / self._seconds
        if part >= 1:
            return self._target.copy()
        return np.asarray(part ** np.arange(6) @ self._coefficients)

    def _begin(self, time: float) -> None:
        """The next stroke, from where the last one is now."""
        target, seconds = self._ahead.popleft()
        part = (time - self._start) / self._seconds
        place, speed, bend = self._target, np.zeros_like(target), np.zeros_like(target)
        if part < 1:
            powers, longer = part ** np.arange(6), seconds / self._seconds
            place = powers @ self._coefficients
            speed = longer * (np.arange(1, 6) * powers[:5]) @ self._coefficients[1:]
            bend = longer**2 * (np.array([1, 3, 6, 10]) * powers[:4]) @ self._coefficients[2:]
        lacks = np.stack([target - place - speed - bend, -speed - 2 * bend, -2 * bend])
        self._coefficients = np.concatenate([[place, speed, bend], _SOLVE @ lacks])
        self._target, self._start, self._seconds = target, time, seconds
