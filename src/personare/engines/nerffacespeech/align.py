"""A photo is cut as the pictures were that the generator knows: square, upright, the eyes where
those of FFHQ are (Karras et al. 2019). And back.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image

# iBUG's 68 points among MediaPipe's 468, in iBUG's order.
POINTS_68 = (
    *(127, 234, 93, 132, 58, 136, 149, 148, 152, 377, 378, 365, 288, 361, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)

Corners = NDArray[np.float64]
"""[4, 2] of a square in a photo: top left, bottom left, bottom right, top right, in px."""


def points_68(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """iBUG's points [68, 2] of landmarks [468, 3]."""
    return np.ascontiguousarray(landmarks[list(POINTS_68), :2], np.float32)


def ffhq_corners(points: NDArray[np.floating]) -> tuple[Corners, float]:
    """The square around a face with these 68 points, and its side in px."""
    right, left = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    eyes, mouth = (right + left) / 2, (points[48] + points[54]) / 2
    across, down = left - right, mouth - eyes
    x = across - down[::-1] * [-1, 1]
    x = x / math.hypot(*x) * max(2.0 * math.hypot(*across), 1.8 * math.hypot(*down))
    y = x[::-1] * [-1, 1]
    middle = eyes + 0.1 * down
    corners = np.stack([middle - x - y, middle - x + y, middle + x + y, middle + x - y])
    return corners.astype(np.float64), 2 * math.hypot(*x)


def cut(photo: Image, corners: Corners, side: int) -> Image:
    """The square at side x side px; what lies beyond the photo's border mirrors it."""
    length = math.dist(corners[0], corners[3])
    shrink = max(1, math.floor(length / side * 0.5))
    if shrink > 1:
        height, width = (max(1, round(n / shrink)) for n in photo.shape[:2])
        scale = np.array([width / photo.shape[1], height / photo.shape[0]])
        photo = np.asarray(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        corners = corners * scale
    matrix = np.linalg.inv(_from_square(corners, side))[:2]
    made = cv2.warpAffine(
        photo, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(made, np.uint8)


def whole(photo: Image, side: int) -> tuple[Image, Corners]:
    """A photo that is aligned already, at the generator's size, and where it was: all of it."""
    height, width = photo.shape[:2]
    corners = np.array([[0, 0], [0, height], [width, height], [width, 0]], np.float64)
    if (height, width) == (side, side):
        return photo, corners
    how = cv2.INTER_AREA if max(height, width) > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(photo, (side, side), interpolation=how), np.uint8), corners


def into_square(points: NDArray[np.float32], corners: Corners, side: int) -> NDArray[np.float32]:
    """Points [n, 2] of the photo in px of its square."""
    inverse = np.linalg.inv(_from_square(corners, side, centres=False))
    return np.asarray(points @ inverse[:2, :2].T + inverse[:2, 2], np.float32)


def _from_square(corners: Corners, side: int, *, centres: bool = True) -> NDArray[np.float64]:
    """[3, 3]: from px of the square to px of the photo. centres: whole numbers are the middles
    of pixels, as OpenCV has them, and not their corners.
    """
    matrix = np.eye(3)
    matrix[:2, 0] = (corners[3] - corners[0]) / side
    matrix[:2, 1] = (corners[1] - corners[0]) / side
    matrix[:2, 2] = corners[0]
    if not centres:
        return matrix
    half = np.eye(3)
    half[:2, 2] = 0.5
    return np.asarray(np.linalg.inv(half) @ matrix @ half)
