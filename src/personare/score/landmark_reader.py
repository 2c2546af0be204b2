"""Following one face through a clip: the landmarks of each picture as the network sees them,
nothing smoothed.

Smoothing would hide the jitter that a score has to find. Only the square that the network looks
at is steadied: its own jumps would otherwise show up as movement of the face.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personare.perception.detector import Detection, detections_by_scale
from personare.perception.head_pose import head_pose
from personare.perception.landmarks import face_landmarks, face_region, landmarks_with_lips_in
from personare.perception.regions import Region
from personare.types import Image

MIN_PROBABILITY = 0.5
"""Below it the network does not see a face; looking for one anew asks for more than keeping
one.
"""
MIN_PROBABILITY_ANEW = 0.9
_STEADINESS = 0.85
"""Share of the region's last place in the next one, while the face moves little."""
_LARGE_MOVE = 0.12
"""A face that moved by more than this share of the region is followed at once."""

Landmarks = NDArray[np.float32]


class LandmarkReader:
    """The landmarks of the same face in one picture after the other; picture by picture,
    holding one region only.
    """

    def __init__(self) -> None:
        self._region: Region | None = None

    def landmarks(self, image: Image) -> Landmarks | None:
        """float32 [468, 3] in pixels of the picture (z smaller is nearer), None where there is
        no face.

        image: uint8 [H, W, 3] RGB. The first face is the largest of the picture; a lost face is
        looked for again.
        """
        if self._region is not None:
            found, probability = landmarks_with_lips_in(image, self._region)
            if probability >= MIN_PROBABILITY:
                self._region = _steadied(self._region, face_region(found))
                return found
            self._region = None
        return self._look_anew(image)

    def _look_anew(self, image: Image) -> Landmarks | None:
        for _, detections in detections_by_scale(image):
            confirmed = [
                found for found in (_confirmed(image, seen) for seen in detections) if found is not None
            ]
            if confirmed:
                largest = max(confirmed, key=lambda found: head_pose(found).eye_distance_px)
                self._region = face_region(largest)
                return landmarks_with_lips_in(image, self._region)[0]
        return None


def _confirmed(image: Image, detection: Detection) -> Landmarks | None:
    found, probability = face_landmarks(image, detection)
    return found if probability >= MIN_PROBABILITY_ANEW else None


def _steadied(last: Region, seen: Region) -> Region:
    moved = max(abs(seen.x - last.x), abs(seen.y - last.y), abs(seen.side - last.side)) / last.side
    if moved > _LARGE_MOVE:
        return seen
    keep, take = _STEADINESS, 1 - _STEADINESS
    return Region(
        last.x * keep + seen.x * take,
        last.y * keep + seen.y * take,
        last.side * keep + seen.side * take,
        last.angle * keep + seen.angle * take,
    )
