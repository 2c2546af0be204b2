"""How a head is turned, from its landmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RIGID_POINTS = {
    1: (0.000, -0.471, 0.354),
    4: (0.000, -0.397, 0.376),
    5: (0.000, -0.300, 0.327),
    6: (0.000, -0.060, 0.195),
    8: (0.000, 0.106, 0.185),
    9: (0.000, 0.203, 0.200),
    10: (0.000, 0.614, 0.147),
    21: (-0.740, 0.280, -0.408),
    33: (-0.500, 0.000, 0.000),
    50: (-0.534, -0.383, -0.009),
    70: (-0.634, 0.163, -0.136),
    98: (-0.169, -0.509, 0.169),
    116: (-0.703, -0.191, -0.233),
    127: (-0.786, -0.031, -0.608),
    133: (-0.194, -0.031, 0.044),
    151: (0.000, 0.414, 0.203),
    168: (0.000, 0.026, 0.180),
    195: (0.000, -0.220, 0.270),
    197: (0.000, -0.146, 0.231),
    234: (-0.774, -0.197, -0.525),
    251: (0.740, 0.280, -0.408),
    263: (0.500, 0.000, 0.000),
    280: (0.534, -0.383, -0.009),
    300: (0.634, 0.163, -0.136),
    327: (0.169, -0.509, 0.169),
    345: (0.703, -0.191, -0.233),
    356: (0.786, -0.031, -0.608),
    362: (0.194, -0.031, 0.044),
    454: (0.774, -0.197, -0.525),
}
"""Landmarks that hardly move with expression, at their places on a neutral frontal head: the
same as in `heads.head468()`.

In eye distances; x to image right, y up, z to the viewer.
"""
_INDICES = list(_RIGID_POINTS)
_SHAPE = np.array(list(_RIGID_POINTS.values()))


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Angles in degrees, all 0 when the face looks into the camera.

    yaw > 0: the nose points to image right. pitch > 0: the nose points up. roll > 0: the head
    leans clockwise in the picture. Applied to a frontal head in the order pitch, yaw, roll
    about its own middle. eye_distance_px: distance of the outer eye corners as it would be seen
    from the front.
    """

    yaw: float
    pitch: float
    roll: float
    eye_distance_px: float


def head_pose(landmarks: NDArray[np.float32]) -> HeadPose:
    """The pose of landmarks [468, 3] in pixels (z smaller is nearer): the rotation of the best
    similarity (Umeyama 1991).
    """
    rotation, eye_distance_px = head_orientation(landmarks)
    roll = math.atan2(-rotation[1, 0], rotation[0, 0])
    cosine, sine = math.cos(roll), math.sin(roll)
    nose = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ rotation[:, 2]
    return HeadPose(
        yaw=math.degrees(math.atan2(nose[0], nose[2])),
        pitch=math.degrees(math.asin(np.clip(nose[1], -1.0, 1.0))),
        roll=math.degrees(roll),
        eye_distance_px=eye_distance_px,
    )


def head_orientation(landmarks: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """(rotation [3, 3] of a frontal head into that of these landmarks [468, 3], pixels per eye
    distance). Axes: x to image right, y up, z to the viewer.
    """
    seen = landmarks[_INDICES].astype(np.float64) * [1, -1, -1]
    seen -= seen.mean(axis=0)
    shape = _SHAPE - _SHAPE.mean(axis=0)
    left, strengths, right = np.linalg.svd(seen.T @ shape)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return left * signs @ right, float((strengths * signs).sum() / (shape**2).sum())
