"""What may change in a frame, and what stays the source's to the byte."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.warp import COARSE
from personare.types import Image

FEATHER_PX = 8
"""Width of the blend to what is around a moving region that is put back into its picture."""


class KeptBackground:
    """Holds still what is behind the person: where the person has moved to, the frame; elsewhere the plate."""

    def __init__(self, plate: Image, cut: NDArray[np.uint8]) -> None:
        """plate: uint8 [S, S, 3], the picture without the person's edge. cut: uint8 [S, S], 255 on the person and near it."""
        self._plate = plate
        self.cut = np.asarray(cv2.resize(cut, None, fx=1 / COARSE, fy=1 / COARSE, interpolation=cv2.INTER_AREA), np.uint8)

    def lay(self, frame: Image, carried: NDArray[np.uint8]) -> Image:
        """carried: the cut where the head has taken it, at its own size. A new frame."""
        share = cv2.resize(carried, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32)
        share *= np.float32(1 / 255)
        return np.asarray(cv2.blendLinear(frame, self._plate, share, 1 - share), np.uint8)


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

    def feathered(self) -> NDArray[np.float32]:
        """float32 [S, S]: 1 where the picture moves, falling to 0 at the edge of that and beyond."""
        inside = cv2.distanceTransform(255 - self._still, cv2.DIST_L2, 3)
        return np.asarray(np.clip(inside / FEATHER_PX, 0, 1), np.float32)

    def restore(self, frame: Image) -> Image:
        """The frame, uint8 [S, S, 3], with the picture outside the moving region, in place."""
        cv2.copyTo(self._picture, self._still, frame)
        return frame
