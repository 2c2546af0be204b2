"""The painted face back into the picture, so that nothing outside the mask changes.

As released: resized to the face box (bilinear), pasted hard, and the square around it blended
by the mask in whole numbers as Pillow does. Where face and mask do not reach, that leaves every
byte as it was, so only the rest is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image


@dataclass(frozen=True, slots=True)
class BlendMask:
    """What is blended: uint8 [h, w], and the place of its first pixel in the picture (which may
    lie outside).
    """

    alpha: NDArray[np.uint8]
    x: int
    y: int


def face_in_box(face: Image, box: Sequence[int]) -> Image:
    """The painted square at the size of the face box."""
    return np.asarray(
        cv2.resize(face, (int(box[2] - box[0]), int(box[3] - box[1])), interpolation=cv2.INTER_LINEAR),
        np.uint8,
    )


def paste(picture: Image, face: Image, box: Sequence[int], mask: BlendMask) -> Image:
    """Blend a face of the box's size [y1 - y0, x1 - x0, 3] into the picture [H, W, 3], in
    place; returns the picture.
    """
    height, width = picture.shape[:2]
    mask_height, mask_width = mask.alpha.shape
    x0, y0 = max(0, int(box[0]), mask.x), max(0, int(box[1]), mask.y)
    x1, y1 = min(width, int(box[2]), mask.x + mask_width), min(height, int(box[3]), mask.y + mask_height)
    if x1 > x0 and y1 > y0:
        below = picture[y0:y1, x0:x1]
        above = face[y0 - int(box[1]) : y1 - int(box[1]), x0 - int(box[0]) : x1 - int(box[0])]
        below[:] = blended(below, above, mask.alpha[y0 - mask.y : y1 - mask.y, x0 - mask.x : x1 - mask.x])
    return picture


def blended(below: Image, above: Image, alpha: NDArray[np.uint8]) -> Image:
    """alpha of 255 parts of `above`, the rest of `below`, rounded as Pillow does: (t + t/256) /
    256 with t = sum + 128.
    """
    share = alpha[:, :, None].astype(np.uint32)
    t = below * (255 - share) + above * share + 128
    mixed: Image = (((t >> 8) + t) >> 8).astype(np.uint8)
    return mixed
