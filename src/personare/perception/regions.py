"""A rotated square of a picture, and the way between it and the square picture that a network
reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image


@dataclass(frozen=True, slots=True)
class Region:
    """A square of `side` px around (x, y), turned clockwise by `angle` radians."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    def crop(self, image: Image, size_px: int, border: int) -> NDArray[np.float32]:
        """The region as float32 [size_px, size_px, 3] with values 0..255, bilinear; `border` is
        an OpenCV border type.

        Pixel centres are at halves on both sides. MediaPipe leaves the half pixels out, which
        shifts what it finds by up to half a pixel of the network's picture, to the other side
        when the picture is mirrored.
        """
        corners = self.to_image(np.array([[0, 0], [1, 0], [0, 1]], np.float32))
        square = np.array([[0, 0], [size_px, 0], [0, size_px]], np.float32)
        matrix = np.asarray(cv2.getAffineTransform(corners, square), np.float64)
        matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV counts from pixel centres
        cropped = cv2.warpAffine(image, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=border)
        return np.asarray(cropped, np.float32)

    def to_image(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points in the region's own frame (0..1 across and down), float32 [..., 2], as pixels
        of the picture.
        """
        turned = (points - 0.5) * self.side @ _rotation(self.angle).T
        return np.asarray(turned + np.array([self.x, self.y]), np.float32)


def region_around(points: NDArray[np.float32], angle: float, scale: float) -> Region:
    """The smallest region at `angle` around points [n, 2] px, enlarged `scale` times."""
    upright = points @ _rotation(angle)  # the transpose of the inverse: turns by -angle
    low, high = upright.min(axis=0), upright.max(axis=0)
    x, y = (low + high) / 2 @ _rotation(angle).T
    return Region(float(x), float(y), float((high - low).max()) * scale, angle)


def line_angle(start: NDArray[np.float32], end: NDArray[np.float32]) -> float:
    """Direction of start -> end in radians; 0 is to the right, positive is clockwise in the
    picture.
    """
    return math.atan2(float(end[1] - start[1]), float(end[0] - start[0]))


def _rotation(angle: float) -> NDArray[np.float64]:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])
