"""468 points on a face: MediaPipe Face Mesh (Kartynnik et al. 2019), in two passes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.perception.detector import Detection
from personare.perception.networks import network
from personare.perception.regions import Region, line_angle, region_around
from personare.types import Image

NETWORK = "face_landmark"
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
    # A black border would pull the landmarks of faces at the picture's edge inwards, by several
    # pixels.
    landmarks, logit = reader(region.crop(image, reader.side_px, cv2.BORDER_REPLICATE) / 255.0)
    points = landmarks.reshape(468, 3) / np.float32(reader.side_px)
    placed = np.concatenate([region.to_image(points[:, :2]), points[:, 2:] * np.float32(region.side)], axis=1)
    return placed, float(1.0 / (1.0 + np.exp(-np.clip(logit.item(), -80.0, 80.0))))
