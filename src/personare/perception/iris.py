"""Irises and eyelid contours: MediaPipe Iris (Ablavatski et al. 2020)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.perception.landmarks import LEFT_EYE_INNER, LEFT_EYE_OUTER, RIGHT_EYE_INNER, RIGHT_EYE_OUTER
from personare.perception.networks import network
from personare.perception.regions import Region, line_angle
from personare.types import Image

NETWORK = "iris_landmark"
_MARGIN = 2.3  # side of the region the network expects, in widths of the eye


def eyes(image: Image, landmarks: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(contours float32 [2, 71, 2], irises float32 [2, 5, 2]) in pixels, the subject's right
    eye (image left) first.

    landmarks: [468, 3]. A contour begins with the 16 points of the lids (the lower lid's nine
    from the outer to the inner corner, then the upper lid's seven); then come rings around the
    eye and the brow. An iris is its centre and four points of its edge.
    """
    corners = landmarks[:, :2]
    right = _read(image, corners[RIGHT_EYE_OUTER], corners[RIGHT_EYE_INNER], mirrored=False)
    # The network knows right eyes only; the left one is shown to it in the mirror.
    left = _read(image, corners[LEFT_EYE_INNER], corners[LEFT_EYE_OUTER], mirrored=True)
    return np.stack([right[0], left[0]]), np.stack([right[1], left[1]])


def _read(
    image: Image, image_left: NDArray[np.float32], image_right: NDArray[np.float32], *, mirrored: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    centre = (image_left + image_right) / 2
    side = float(np.linalg.norm(image_right - image_left)) * _MARGIN
    region = Region(float(centre[0]), float(centre[1]), side, line_angle(image_left, image_right))
    reader = network(NETWORK)
    picture = region.crop(image, reader.side_px, cv2.BORDER_REPLICATE) / 255.0
    contour, iris = (
        output.reshape(-1, 3)[:, :2] / np.float32(reader.side_px)
        for output in reader(picture[:, ::-1] if mirrored else picture)
    )
    if mirrored:
        contour, iris = contour * [-1, 1] + [1, 0], iris * [-1, 1] + [1, 0]
    return region.to_image(contour), region.to_image(iris)
