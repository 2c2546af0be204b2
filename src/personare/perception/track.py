"""One face through a video: where it is in every frame, without jitter and without lag.

A frame's landmarks are looked for where the frame before had them; the detector runs only when
they are lost. What the network sees in single frames trembles by a fraction of a pixel; it is
smoothed afterwards with knowledge of what comes before and after, so that nothing is late.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from personare.perception.detector import detections_in
from personare.perception.face import (
    MAX_LANDMARKS_OUTSIDE,
    MAX_PITCH_DEGREES,
    MAX_ROLL_DEGREES,
    MAX_YAW_DEGREES,
    MIN_EYE_DISTANCE_PX,
    SeenFace,
    chosen_face,
    confirmed,
    confirmed_faces,
    faces_of_all_sizes,
    to_choose_from,
)
from personare.perception.head_pose import HeadPose, head_pose
from personare.perception.landmarks import face_region, landmarks_in
from personare.perception.regions import Region
from personare.perception.smooth import smoothed
from personare.types import LARGEST, Image, Progress, no_progress

Floats = NDArray[np.float32]

KEEP_PROBABILITY = 0.5
"""A face that is followed counts as seen from here on; a new one must look better."""
LOOK_AGAIN, LOOKS = 0.04, 6
"""If the face has moved by more than this in its region, in sides of it, the network looks
again where it is, up to so often (after a cut it may be at the region's edge, where the network
sees it only roughly).
"""
STRETCH_LIMIT = 1.5
"""No head comes nearer or goes away by this factor from one frame to the next."""
CUT_EYE_DISTANCES = 0.6
"""A head that moves further than this from one frame to the next is after a cut."""
SEARCH_SECONDS = Fraction(1, 2)
"""While the face is lost, small faces are looked for this often; large ones, and where it was,
in every frame.
"""
NEARBY_SIDES = 3.0
"""The detector looks for a lost face in a square of this many face heights around where it was."""
SAME_PERSON_EYE_DISTANCES = 3.0
"""A face found further from where the person was lost is another person, unless the person does
not come back in time.
"""
GIVE_UP_SECONDS = Fraction(1)


@dataclass(frozen=True, slots=True)
class Track:
    """A face over n frames, in pixels of the pictures.

    landmarks: float32 [n, 468, 3], smooth, z smaller is nearer; 0 where there is none.
    present: bool [n], False where there is no face that can be used (none, too small, turned
        away, cut by the border).
    begins: bool [n], True where the face is there but not continuous with the frame before.
    raw: float32 [n, 468, 3], as the network saw them.
    faces: how many there were to choose from.
    """

    landmarks: Floats
    present: NDArray[np.bool_]
    begins: NDArray[np.bool_]
    raw: Floats
    faces: int = 1


def track_face(
    frames: Iterable[Image],
    fps: Fraction,
    total: int | None = None,
    progress: Progress = no_progress,
    min_eye_distance_px: float = MIN_EYE_DISTANCE_PX,
    choice: str = LARGEST,
) -> Track:
    """Follow the face that is meant (see `face.chosen_face`) of the first frame that has it.

    frames: uint8 [H, W, 3] RGB at a constant rate, each looked at once. total: how many, for
    progress. No face in any frame is no error: `present` is False everywhere.
    """
    follower = FaceFollower(fps, min_eye_distance_px, choice)
    landmarks: list[Floats] = []
    present: list[bool] = []
    faces = 1
    for done, image in enumerate(frames, 1):
        waits = not follower.has_begun
        points, usable = follower.look(image)
        if waits and follower.has_begun:
            faces = len(to_choose_from(faces_of_all_sizes(image)[1]))
        landmarks.append(points)
        present.append(usable)
        progress("tracking the face", done, total)
    raw = np.stack(landmarks) if landmarks else np.zeros((0, 468, 3), np.float32)
    seen = np.array(present, np.bool_)
    begins = _beginnings(raw, seen)
    smooth = np.zeros_like(raw)
    starts = np.flatnonzero(begins)
    for start in starts:
        after = np.flatnonzero((~seen | begins)[start + 1 :])
        end = start + 1 + int(after[0]) if len(after) else len(raw)
        smooth[start:end] = smoothed(raw[start:end], fps)
    return Track(smooth, seen, begins, raw, faces)


class FaceFollower:
    """Looks at frame after frame for one person.

    faces: the most that were there at once where it had to look for one.
    """

    def __init__(self, fps: Fraction, min_eye_distance_px: float, choice: str = LARGEST) -> None:
        self._choice = choice
        self._min_eye_distance_px = min_eye_distance_px
        self._search_every = max(1, round(SEARCH_SECONDS * fps))
        self._give_up_after = round(GIVE_UP_SECONDS * fps)
        self._last: Floats | None = None
        self._size_px = 0.0
        self._lost_for = 0
        self.faces = 0

    @property
    def has_begun(self) -> bool:
        """Whether the person was seen yet."""
        return self._last is not None

    def look(self, image: Image) -> tuple[Floats, bool]:
        """Landmarks [468, 3] of the person (zeros if there is none) and whether they can be
        used.
        """
        found = self._followed(image)
        if found is None:
            found = self._found(image)
        if found is None:
            self._lost_for += 1
            return np.zeros((468, 3), np.float32), False
        points, pose = found
        self._last, self._size_px, self._lost_for = points, pose.eye_distance_px, 0
        if not self._usable(points, pose, image):
            return np.zeros((468, 3), np.float32), False
        return points, True

    def _followed(self, image: Image) -> tuple[Floats, HeadPose] | None:
        if self._last is None or self._lost_for:
            return None
        region = face_region(self._last)
        for _ in range(LOOKS):
            points, probability = landmarks_in(image, region)
            if probability < KEEP_PROBABILITY:
                return None
            before, region = region, face_region(points)
            if np.hypot(region.x - before.x, region.y - before.y) < LOOK_AGAIN * region.side:
                break
        pose = head_pose(points)
        stretch = pose.eye_distance_px / max(self._size_px, 1e-3)
        if not 1 / STRETCH_LIMIT < stretch < STRETCH_LIMIT:
            return None
        return points, pose

    def _found(self, image: Image) -> tuple[Floats, HeadPose] | None:
        seen = self._searched(image)
        self.faces = max(self.faces, len(seen))
        if not seen:
            return None
        if self._last is None:
            chosen = chosen_face(seen, image, self._choice)
            if chosen is None:
                return None
            best = chosen
        else:
            best = min(seen, key=self._distance)
            if (
                self._distance(best) > SAME_PERSON_EYE_DISTANCES
                and len(seen) == 1
                and self._lost_for < self._give_up_after
            ):
                return None
        return best.landmarks, best.pose

    def _searched(self, image: Image) -> list[SeenFace]:
        if self._last is None and self._choice != LARGEST:
            return faces_of_all_sizes(image)[1]
        if self._lost_for % self._search_every == 0:
            return confirmed_faces(image)
        height, width = image.shape[:2]
        regions = [Region(width / 2, height / 2, max(height, width))]
        if self._last is not None:
            x, y = self._last[:, :2].mean(axis=0)
            face_height = float(np.ptp(self._last[:, 1]))
            regions.insert(0, Region(float(x), float(y), NEARBY_SIDES * face_height))
        for region in regions:
            if seen := list(confirmed(image, detections_in(image, region))):
                return seen
        return []

    def _distance(self, face: SeenFace) -> float:
        """From where the person was last, in eye distances."""
        if self._last is None:
            return 0.0
        away = face.landmarks[:, :2].mean(axis=0) - self._last[:, :2].mean(axis=0)
        return float(np.linalg.norm(away)) / max(self._size_px, 1e-3)

    def _usable(self, points: Floats, pose: HeadPose, image: Image) -> bool:
        size = [image.shape[1], image.shape[0]]
        outside = ((points[:, :2] < 0) | (points[:, :2] > size)).any(axis=1).mean()
        return bool(
            pose.eye_distance_px >= self._min_eye_distance_px
            and abs(pose.yaw) <= MAX_YAW_DEGREES
            and abs(pose.pitch) <= MAX_PITCH_DEGREES
            and abs(pose.roll) <= MAX_ROLL_DEGREES
            and outside <= MAX_LANDMARKS_OUTSIDE
        )


def is_cut(here: Floats, before: Floats) -> bool:
    """Whether landmarks [468, 3] are not where those of the frame before can have moved to."""
    return bool(_moved(here[None], before[None])[0])


def _moved(here: Floats, before: Floats) -> NDArray[np.bool_]:
    size = np.linalg.norm(here[:, 33] - here[:, 263], axis=1)
    moved = np.linalg.norm((here - before)[..., :2].mean(axis=1), axis=1)
    return np.asarray(moved > CUT_EYE_DISTANCES * size, np.bool_)


def _beginnings(landmarks: Floats, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a face is there that was not, or not there, in the frame before: bool [n]."""
    begins = present.copy()
    if len(landmarks) > 1:
        begins[1:] &= ~present[:-1] | _moved(landmarks[1:], landmarks[:-1])
    return begins
