"""What may change in a frame, and what stays the source's to the byte."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image


class StillBackground:
    """Restores everything outside an avatar's moving region."""

    def __init__(self, picture: Image, outline: NDArray[np.float32]) -> None:
        """picture: uint8 [S, S, 3], the source. outline: float32 [k, 2], polygon around all that ever moves."""
        self._picture = picture
        moving = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(moving, [np.rint(outline - 0.5).astype(np.int32)], 255)
        self._still = np.bitwise_not(moving)

    @property
    def moving(self) -> NDArray[np.bool_]:
        """bool [S, S]: pixels that may differ from the picture."""
        return np.asarray(self._still == 0, np.bool_)

    def restore(self, frame: Image) -> Image:
        """The frame, uint8 [S, S, 3], with the picture outside the moving region, in place."""
        cv2.copyTo(self._picture, self._still, frame)
        return frame
