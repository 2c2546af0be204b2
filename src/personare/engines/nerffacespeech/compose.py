"""The final picture: the generator's square, or that square back in the photo that it was cut
from.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.nerffacespeech.align import Corners
from personare.media.paste import blend, feather
from personare.types import Image

SEAM = 0.08
"""Width of the seam as a share of the square's side, towards the inside."""


class SquareFraming:
    """The generator's picture, as published."""

    def __init__(self, side: int, *, text: bool = False) -> None:
        self.size = (side, side)
        self._text = text

    def compose(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [n, S, S, 3] -> the same."""
        return np.stack([written(frame) for frame in frames]) if self._text else frames


class OriginalFraming:
    """The photo at its own size, with the square turned back into its place and a feathered
    seam. Odd sides lose their last row or column: H.264 has none.
    """

    def __init__(self, photo: Image, corners: Corners, *, text: bool = False) -> None:
        height, width = photo.shape[0] // 2 * 2, photo.shape[1] // 2 * 2
        self.size = (height, width)
        self._photo = np.ascontiguousarray(photo[:height, :width])
        self._corners, self._text = corners, text
        self._side = max(1, math.ceil(math.dist(corners[0], corners[3])))
        low = np.floor(corners.min(axis=0)).astype(int).clip(0, [width - 1, height - 1])
        high = np.ceil(corners.max(axis=0)).astype(int).clip(1, [width, height])
        self._x, self._y = int(low[0]), int(low[1])
        self._window = (max(1, int(high[0]) - self._x), max(1, int(high[1]) - self._y))
        seam = feather(self._side, self._side, max(1.0, SEAM * self._side))
        self._alpha = np.asarray(self._placed(seam, cv2.INTER_LINEAR), np.float32)

    def compose(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [n, S, S, 3] -> [n, H, W, 3]"""
        return np.stack([self._one(frame) for frame in frames])

    def _one(self, frame: Image) -> Image:
        picture = self._photo.copy()
        how = cv2.INTER_AREA if len(frame) > self._side else cv2.INTER_CUBIC
        fitting = cv2.resize(frame, (self._side, self._side), interpolation=how)
        patch = np.asarray(self._placed(fitting, cv2.INTER_LINEAR), np.uint8)
        blend(picture, patch, (self._x, self._y), self._alpha)
        return written(picture) if self._text else picture

    def _placed(self, square: NDArray[Any], how: int) -> NDArray[Any]:
        """What lies in the square, where it lies in the window of the photo."""
        x = (self._corners[3] - self._corners[0]) / self._side
        y = (self._corners[1] - self._corners[0]) / self._side
        origin = self._corners[0] - [self._x, self._y] + 0.5 * (x + y) - 0.5
        matrix = np.column_stack([x, y, origin])
        placed: NDArray[Any] = cv2.warpAffine(
            square, matrix, self._window, flags=how, borderMode=cv2.BORDER_CONSTANT
        )
        return placed


def written(frame: Image) -> Image:
    """The published program's words on a frame."""
    made = frame.copy()
    cv2.putText(made, "fake video", (50, 70), cv2.FONT_HERSHEY_SIMPLEX, 3, (255, 255, 255), 2)
    return made
