"""What may change in a frame, and what stays the source's to the byte."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image

FEATHER_PX = 8
"""Width of the blend to what is around a moving region that is put back into its picture."""
_PIXEL = np.dtype("V3")


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


def lay(frame: Image, behind: Image, share: NDArray[np.uint8]) -> None:
    """Mix what is behind into the frame, both uint8 [H, W, 3] of contiguous rows, in place: all
    of it where the frame's share, uint8 [H, W], is 0, none where it is 255.

    Pixels between the two are few, along the person's edge, and mixed one by one.
    """
    between = np.flatnonzero(share - np.uint8(1) < 254)  # 0 becomes 255
    if len(between):
        pixels, behinds = (picture.reshape(-1).view(_PIXEL) for picture in (frame, behind))
        above = share.reshape(-1).take(between)[None] * np.float32(1 / 255)
        own, others = (part.take(between).view(np.uint8).reshape(1, -1, 3) for part in (pixels, behinds))
        mixed = np.asarray(cv2.blendLinear(own, others, above, 1 - above))
        pixels[between] = mixed.reshape(-1).view(_PIXEL)
    cv2.copyTo(behind, (share == 0).view(np.uint8), frame)
