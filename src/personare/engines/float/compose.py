"""The final picture: the square as it is, or back in the photo that it was cut from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.media.paste import PasteBack, Square
from personare.types import Image


class SquareFraming:
    """The face's square, as published."""

    def __init__(self, side: int) -> None:
        self.size = (side, side)

    def compose(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return frames


class OriginalFraming:
    """The photo at its own size, with the square in its place and a feathered seam; outside it
    not a byte of the photo changes.

    Odd sides lose their last row or column: H.264 has none. Without a crop the square is the
    whole photo.
    """

    def __init__(self, photo: Image, place: Mapping[str, Any]) -> None:
        height, width = photo.shape[0] // 2 * 2, photo.shape[1] // 2 * 2
        self.size = (height, width)
        self._photo = np.ascontiguousarray(photo[:height, :width])
        square = Square(int(place["x"]), int(place["y"]), int(place["side"])) if "side" in place else None
        self._paste = PasteBack(square, self.size) if square else None

    def compose(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [n, S, S, 3] -> [n, H, W, 3]"""
        return np.stack([self._one(frame) for frame in frames])

    def _one(self, frame: Image) -> Image:
        height, width = self.size
        if self._paste is None:
            return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
        return self._paste.paste(self._photo.copy(), frame)
