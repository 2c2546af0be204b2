"""A face watched picture by picture: its landmarks and eyes, and how its head has moved.

Every picture is seen once, alone with what was seen before it; so a file and a live camera give
the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from personare.perception.face import MIN_EYE_DISTANCE_PX
from personare.perception.head_motion import BROWS, RIGID, HeadMotion, angles
from personare.perception.iris import eyes
from personare.perception.track import FaceFollower, is_cut
from personare.types import Image

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Observation:
    """A face in one picture, as the networks see it, not smoothed.

    landmarks: float32 [468, 3] px, z smaller is nearer.
    eye_contours: float32 [2, 71, 2] px and irises: float32 [2, 5, 2] px, the eye at image left
        first; see `iris.eyes`.
    begins: not continuous with the picture before (the first, after a gap, after a cut).
    head: (yaw, pitch, roll) in degrees since the first picture with a face; signs as in
        FaceState.
    away: (x, y) of the middle of the face since it began, in eye distances, image right and
        down.
    unit_px: eye distance, as seen from the front.
    face, lids, iris, brows: landmarks, eye_contours, irises and the edges of the brows
        (head_motion.BROWS) in the head's own axes: x to image right, y up, in eye distances
        from the middle of the face; float32 [468, 2], [2, 71, 2], [2, 5, 2], [20, 2].
    """

    landmarks: Floats
    eye_contours: Floats
    irises: Floats
    begins: bool
    head: tuple[float, float, float]
    away: tuple[float, float]
    unit_px: float
    face: Floats
    lids: Floats
    iris: Floats
    brows: Floats


class FaceWatcher:
    """Follows one face, the largest of the first picture that has one, from picture to picture.

    faces: the most faces that were there at once where it had to look for one.
    """

    def __init__(self, fps: Fraction, min_eye_distance_px: float = MIN_EYE_DISTANCE_PX) -> None:
        """fps: pictures per second, about; it says how long a lost face is waited for."""
        self._follower = FaceFollower(fps, min_eye_distance_px)
        self._motion = HeadMotion()
        self._before: Floats | None = None

    @property
    def faces(self) -> int:
        return self._follower.faces

    def see(self, image: Image) -> Observation | None:
        """The face in the next picture, uint8 [H, W, 3] RGB; None if there is none that can be
        used (none, too small, turned away, cut by the border).
        """
        landmarks, usable = self._follower.look(image)
        before, self._before = self._before, landmarks if usable else None
        if not usable:
            return None
        begins = before is None or is_cut(landmarks, before)
        contours, irises = eyes(image, landmarks)
        view = self._motion.see(image, landmarks, begins)
        level = landmarks - [0, 0, landmarks[list(RIGID), 2].mean()]
        depth = level[[[33, 133], [362, 263]], 2].mean(axis=1)  # of either eye

        def flat(points: Floats, z: Floats) -> Floats:
            return view.in_head(
                np.concatenate([points, np.broadcast_to(z, (*points.shape[:-1], 1))], axis=-1)
            )

        return Observation(
            landmarks=landmarks,
            eye_contours=contours,
            irises=irises,
            begins=begins,
            head=angles(view.rotation),
            away=(float(view.away[0]), float(view.away[1])),
            unit_px=view.unit_px,
            face=view.in_head(level),
            lids=flat(contours, depth[:, None, None]),
            iris=flat(irises, depth[:, None, None]),
            brows=flat(view.brows, level[list(BROWS), 2:]),
        )
