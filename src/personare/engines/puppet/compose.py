"""What may change in a frame, and what stays the source's to the byte."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.draw.warp import Window
from personare.types import Image

FEATHER_PX = 8
"""Width of the blend to what is around a moving region that is put back into its picture."""


class StillBackground:
    """Restores everything outside an avatar's moving region."""

    def __init__(self, picture: Image, outline: NDArray[np.float32]) -> None:
        """picture: uint8 [S, S, 3], the source. outline: float32 [k, 2], polygon around all
        that ever moves.

        `reach`, uint8 [S, S], is 255 inside it and 0 outside.
        """
        self._picture = picture
        moving = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(moving, [np.rint(outline - 0.5).astype(np.int32)], 255)
        self.reach = moving

    @property
    def moving(self) -> NDArray[np.bool_]:
        """bool [S, S]: pixels that may differ from the picture."""
        return np.asarray(self.reach == 255, np.bool_)

    def feathered(self) -> NDArray[np.float32]:
        """float32 [S, S]: 1 where the picture moves, falling to 0 at the edge of that and
        beyond.
        """
        inside = cv2.distanceTransform(self.reach, cv2.DIST_L2, 3)
        return np.asarray(np.clip(inside / FEATHER_PX, 0, 1), np.float32)

    def restore(self, frame: Image) -> Image:
        """The frame, uint8 [S, S, 3], with the picture outside the moving region, in place."""
        cv2.copyTo(self._picture, np.bitwise_not(self.reach), frame)
        return frame


def lay(frame: Image, behind: Image, share: NDArray[np.uint8], windows: Sequence[Window]) -> None:
    """Mix what is behind into the frame, in place: all of it where the frame's share, uint8 [S,
    S], is 0, none where it is 255.

    windows: outside them the share is 0 or 255.
    """
    for window in windows:
        above = share[window] * np.float32(1 / 255)
        frame[window] = cv2.blendLinear(frame[window], behind[window], above, 1 - above)
    cv2.copyTo(behind, (share == 0).view(np.uint8), frame)
