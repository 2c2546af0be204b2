"""Motion of a model that moves at one rate, for clips of another."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class MotionResampler:
    """Motion at a model's rate -> motion at any rate: pushed chunk by chunk, Catmull-Rom
    splines between its frames.

    Frame i of the clip takes the motion at its exact time i / fps; where that is a frame of the
    model's, its very numbers. Beyond the last frame they are held.
    """

    def __init__(self, fps: Fraction, model_fps: int = 25) -> None:
        self._step = model_fps / fps
        self._frame = 0
        self._kept: Floats | None = None
        self._kept_from = 0

    def push(self, motion: Floats) -> Floats:
        """float32 [n, width] of the model's next frames -> [m, width] of those frames of the
        clip that are settled.
        """
        self._kept = motion if self._kept is None else np.concatenate([self._kept, motion])
        end = self._kept_from + len(self._kept)
        last = self._frame
        while math.floor(last * self._step) + 2 < end or (self._step == 1 and last < end):
            last += 1
        made = self._made(last, end)
        forget = min(len(self._kept) - 4, math.floor(self._frame * self._step) - 1 - self._kept_from)
        if forget > 0:
            self._kept, self._kept_from = self._kept[forget:].copy(), self._kept_from + forget
        return made

    def finish(self, frames: int) -> Floats:
        """The frames up to `frames` that are left."""
        assert self._kept is not None
        return self._made(frames, self._kept_from + len(self._kept))

    def _made(self, until: int, end: int) -> Floats:
        assert self._kept is not None
        places = [frame * self._step for frame in range(self._frame, until)]
        self._frame = max(self._frame, until)
        if not places:
            return self._kept[:0]
        low = np.array([math.floor(place) for place in places])
        part = np.array([float(place) for place in places], np.float64) - low
        weights = np.stack(
            [
                -part + 2 * part**2 - part**3,
                2 - 5 * part**2 + 3 * part**3,
                part + 4 * part**2 - 3 * part**3,
                part**3 - part**2,
            ]
        )
        made = np.zeros((len(places), self._kept.shape[1]), np.float32)
        for offset, weight in zip((-1, 0, 1, 2), weights / 2, strict=True):
            made += (
                weight[:, None].astype(np.float32)
                * self._kept[np.clip(low + offset, self._kept_from, end - 1) - self._kept_from]
            )
        return made
