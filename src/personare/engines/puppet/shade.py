"""Light that follows the expression: the crease below the lower lip deepens as the jaw drops, the folds beside the nose as
the cheeks rise.

A photo's own shading is painted on and cannot know that the face has changed; without a little of this, an open mouth looks cut in.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.state import UNIT
from personare.heads import CHIN
from personare.types import Image

Floats = NDArray[np.float32]

LOWER_LIP = 17
CREASE_PLACE, CREASE_WIDTH, CREASE_HEIGHT = 0.34, 0.150, 0.050
"""From the lower lip's rim to the chin; half sizes in eye distances (one standard deviation)."""
CREASE_SHADE, CREASE_JAW = 0.13, 0.40
"""Share of the light that is lost with the jaw this far open."""
FOLDS = ((129, 61), (358, 291))
"""Wing of the nose and corner of the mouth, image left first."""
FOLD_FROM, FOLD_TO, FOLD_WIDTH = 0.15, 0.85, 0.022
FOLD_SHADE, FOLD_RAISED = 0.13, 0.50
FOLD_UNITS = ("mouthSmile", "mouthStretch", "noseSneer")
LEAST = 0.01
REACH = 2.6
"""Standard deviations beyond which nothing is drawn."""
SIDES = ("Right", "Left")


@dataclass(frozen=True, slots=True)
class SkinShade:
    """Darkens skin in place. unit_px: the rig's eye distance."""

    unit_px: float

    def draw(self, frame: Image, vertices: Floats, curves: Floats) -> None:
        """frame: uint8 [S, S, 3]. vertices: where the rig's points are in it. curves: float32 [52]."""
        jaw = min(max(float(curves[UNIT["jawOpen"]]), 0.0) / CREASE_JAW, 1.0)
        if jaw * CREASE_SHADE > LEAST:
            lip, chin = vertices[LOWER_LIP, :2], vertices[CHIN, :2]
            middle, down = lip + (chin - lip) * CREASE_PLACE, chin - lip
            self._darken(frame, middle, down, CREASE_WIDTH, CREASE_HEIGHT, 0.0, CREASE_SHADE * jaw)
        for (wing, corner), side in zip(FOLDS, SIDES, strict=True):
            raised = min(max(float(curves[UNIT[unit + side]]) for unit in FOLD_UNITS) / FOLD_RAISED, 1.0)
            if raised * FOLD_SHADE > LEAST:
                start, end = vertices[wing, :2], vertices[corner, :2]
                along = end - start
                middle = start + along * np.float32((FOLD_FROM + FOLD_TO) / 2)
                half = float(np.linalg.norm(along)) * (FOLD_TO - FOLD_FROM) / 2 / self.unit_px
                self._darken(frame, middle, along, FOLD_WIDTH, FOLD_WIDTH * 1.5, half, FOLD_SHADE * raised)

    def _darken(
        self, frame: Image, middle: Floats, along: Floats, width: float, height: float, straight: float, shade: float
    ) -> None:
        """A soft stroke across `middle`: `straight` to either side along the direction, then a Gaussian of height; width across."""
        length = max(float(np.linalg.norm(along)), 1e-3)
        dx, dy = float(along[0]) / length, float(along[1]) / length
        reach = REACH * max(width, straight + height) * self.unit_px
        x0, y0 = (max(0, int(v - reach)) for v in middle)
        x1, y1 = (min(size, int(v + reach) + 1) for v, size in zip(middle, frame.shape[1::-1], strict=True))
        if x1 <= x0 or y1 <= y0:
            return
        x = (np.arange(x0, x1, dtype=np.float32) + 0.5 - middle[0])[None, :] / np.float32(self.unit_px)
        y = (np.arange(y0, y1, dtype=np.float32) + 0.5 - middle[1])[:, None] / np.float32(self.unit_px)
        down = np.maximum(np.abs(x * dx + y * dy) - straight, 0) / height
        across = (x * dy - y * dx) / width
        gain = 1 - shade * np.exp(-0.5 * (down * down + across * across))
        window = frame[y0:y1, x0:x1]
        cv2.multiply(window, cv2.merge([gain] * 3), dst=window, dtype=cv2.CV_8U)
