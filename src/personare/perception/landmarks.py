"""468 points on a face: MediaPipe Face Mesh (Kartynnik et al. 2019), in two passes; and those
of its lips seen closer (Grishchenko et al. 2020, "Attention Mesh").
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.perception.detector import Detection
from personare.perception.networks import Network, network
from personare.perception.regions import Region, line_angle, region_around
from personare.types import Image

NETWORK = "face_landmark"
LIPS_NETWORK = "face_lips"
LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408),
    *(62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407),
)
"""The landmarks that LIPS_NETWORK sees closer, in its order: rows from the outer edge inwards."""
RIGHT_EYE_OUTER, RIGHT_EYE_INNER, LEFT_EYE_INNER, LEFT_EYE_OUTER = 33, 133, 362, 263
_MARGIN = 1.5  # side of the region the network expects, in sides of the box around the face


def face_landmarks(image: Image, detection: Detection) -> tuple[NDArray[np.float32], float]:
    """Landmarks float32 [468, 3] of a detected face and the network's own probability that it
    sees a face.

    x and y in pixels of the picture, z in pixels, smaller is nearer to the camera. The second
    pass looks at a region found from the first pass's landmarks, which straightens and centres
    a tilted face.
    """
    right_eye, left_eye = detection.keypoints[:2]
    centre = (detection.box[:2] + detection.box[2:]) / 2
    side = detection.size_px * _MARGIN
    first, _ = landmarks_in(
        image, Region(float(centre[0]), float(centre[1]), side, line_angle(right_eye, left_eye))
    )
    return landmarks_in(image, face_region(first))


def face_region(landmarks: NDArray[np.float32]) -> Region:
    """The region in which the network looks best for a face whose landmarks [468, 3] are known,
    if only roughly.
    """
    angle = line_angle(landmarks[RIGHT_EYE_OUTER], landmarks[LEFT_EYE_OUTER])
    return region_around(landmarks[:, :2], angle, _MARGIN)


def landmarks_in(image: Image, region: Region) -> tuple[NDArray[np.float32], float]:
    """Landmarks float32 [468, 3] in pixels of the picture, and the probability that the region
    holds a face: one pass.
    """
    reader = network(NETWORK)
    landmarks, logit = _read(reader, image, region)
    return _placed(landmarks.reshape(468, 3), reader.side_px, region), _probability(logit)


def landmarks_with_lips_in(image: Image, region: Region) -> tuple[NDArray[np.float32], float]:
    """As `landmarks_in`, by the network that sees lips closer: it tells shut lips from parted
    ones. It costs a sixth more, and its other landmarks tremble a little more.
    """
    reader = network(LIPS_NETWORK)
    landmarks, logit, lips = _read(reader, image, region)
    points = landmarks.reshape(468, 3).copy()
    points[list(LIPS), :2] = lips.reshape(len(LIPS), 2)
    return _placed(points, reader.side_px, region), _probability(logit)


def _read(reader: Network, image: Image, region: Region) -> list[NDArray[np.float32]]:
    # A black border would pull the landmarks of faces at the picture's edge inwards, by several
    # pixels.
    return reader(region.crop(image, reader.side_px, cv2.BORDER_REPLICATE) / 255.0)


def _placed(points: NDArray[np.float32], side_px: int, region: Region) -> NDArray[np.float32]:
    points = points / np.float32(side_px)
    return np.concatenate([region.to_image(points[:, :2]), points[:, 2:] * np.float32(region.side)], axis=1)


def _probability(logit: NDArray[np.float32]) -> float:
    return float(1.0 / (1.0 + np.exp(-np.clip(logit.item(), -80.0, 80.0))))
