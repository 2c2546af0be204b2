"""The face of a portrait: found, measured, and refused if it cannot be animated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from personare.errors import FaceTooSmall, FaceTurnedAway, NoFaceFound
from personare.perception.detector import Detection, best_score, detections_by_scale
from personare.perception.head_pose import HeadPose, head_pose
from personare.perception.iris import eyes
from personare.perception.landmarks import face_landmarks
from personare.perception.regions import Region
from personare.types import LARGEST, Image

MAX_YAW_DEGREES = 35.0
MAX_PITCH_DEGREES = 25.0
"""As measured by `pose.head_pose`, which sees a head that looks 30 degrees up or down as one at
21.
"""
MIN_EYE_DISTANCE_PX = 32.0
"""Enlarged further, a face shows its blocks."""
MAX_ROLL_DEGREES = 60.0
MIN_FACE_PROBABILITY = 0.9
_SURE_PART = 0.12
"""The detector misses no face wider than this part of what it is shown."""
MAX_LANDMARKS_OUTSIDE = 0.15
_UPSIDE_DOWN_MARGIN = 0.1
DOUBTFUL_PROBABILITY, DOUBTFUL_SCORE = 0.998, 0.80
"""A face below both may be no person's. Animals and puppets that pass for faces lie below them
(11 of 11 cases in 900 views of six pictures), and so do a few per cent of people who are
blurred, dark and tilted at once; a person who looks at the camera has a probability of 1.000.
"""
ALSO_A_FACE = 0.5
"""Share of the largest face's size from which on another one may be the one that is meant."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face in a picture, in pixels of the picture (the middle of the top-left pixel is at
    0.5, 0.5).

    box: float32 [4] x0 y0 x1 y1, brows to chin.
    score: of the detector, in [0, 1].
    landmarks: float32 [468, 3], z in pixels, smaller is nearer to the camera.
    eye_contours: float32 [2, 71, 2] and irises: float32 [2, 5, 2], the subject's right eye
        (image left) first; see `iris.eyes`. yaw, pitch, roll in degrees: yaw > 0 nose to image
        right, pitch > 0 nose up, roll > 0 clockwise in the picture.
    eye_distance_px: between the outer eye corners (33, 263), as seen from the front.
    faces: how many there were to choose from.
    probability: that it is a face, of the landmark network.
    """

    box: NDArray[np.float32]
    score: float
    landmarks: NDArray[np.float32]
    eye_contours: NDArray[np.float32]
    irises: NDArray[np.float32]
    yaw: float
    pitch: float
    roll: float
    eye_distance_px: float
    faces: int = 1
    probability: float = 1.0

    @property
    def is_doubtful(self) -> bool:
        """Whether it may be no person's: an animal's, or a doll's."""
        return self.probability < DOUBTFUL_PROBABILITY and self.score < DOUBTFUL_SCORE


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A detection that the landmark network confirms. landmarks: float32 [468, 3] as in Face.
    probability: that it is a face.
    """

    detection: Detection
    landmarks: NDArray[np.float32]
    pose: HeadPose
    probability: float = 1.0


def find_faces(image: Image) -> list[Detection]:
    """The faces of a picture, largest first, each confirmed by the landmark network. image:
    uint8 [H, W, 3] RGB.

    Where there is a large face, others may be missed that are so much smaller that one would
    have to look closer.
    """
    return [seen.detection for seen in confirmed_faces(image)]


def find_face(
    image: Image,
    name: str = "picture",
    max_yaw: float = MAX_YAW_DEGREES,
    max_pitch: float = MAX_PITCH_DEGREES,
    min_eye_distance_px: float = MIN_EYE_DISTANCE_PX,
    choice: str = LARGEST,
) -> Face:
    """The face to animate: as `chosen_face` says.

    image: uint8 [H, W, 3] RGB. `name` is for messages. choice: see `types.face_choice`. Raises
    NoFaceFound (also where the picture's edge cuts the face, or has too few of them for the
    choice), FaceTooSmall or FaceTurnedAway (to the side, up, down, or the whole picture), with
    what was measured and the limit.
    """
    seen, every = faces_of_all_sizes(image)
    if not seen:
        raise NoFaceFound(
            f"{name}: no face found",
            hint="use a sharp, well-lit picture of one person who looks towards the camera; both eyes must "
            "be visible",
        )
    best = chosen_face(seen if choice == LARGEST else every, image, choice)
    faces = len(to_choose_from(every))
    if best is None:
        raise NoFaceFound(
            f"{name}: face={choice} is asked for, and {faces} {'is' if faces == 1 else 'are'} seen",
            hint="largest, left, right, or a number counted from the left",
        )
    _check_pose(best.pose, name, max_yaw, max_pitch, min_eye_distance_px)
    _check_upright(image, best, name)
    _check_whole(image, best, name)
    contours, irises = eyes(image, best.landmarks)
    return Face(
        box=best.detection.box,
        score=best.detection.score,
        landmarks=best.landmarks,
        eye_contours=contours,
        irises=irises,
        yaw=best.pose.yaw,
        pitch=best.pose.pitch,
        roll=best.pose.roll,
        eye_distance_px=best.pose.eye_distance_px,
        faces=faces,
        probability=best.probability,
    )


def to_choose_from(seen: Sequence[SeenFace]) -> list[SeenFace]:
    """The faces about as large as the largest, from left to right as one looks at the picture."""
    largest = max((face.pose.eye_distance_px for face in seen), default=0.0)
    near = [face for face in seen if face.pose.eye_distance_px >= ALSO_A_FACE * largest]
    return sorted(near, key=lambda face: float(face.detection.box[0] + face.detection.box[2]))


def chosen_face(seen: Sequence[SeenFace], image: Image, choice: str = LARGEST) -> SeenFace | None:
    """The face that is meant, at least one being given; None if there are not so many.

    largest: where a face at the picture's corner counts half as large as one in its middle.
    left, right, or a number counted from the left: of those about as large as the largest.
    """
    if choice == LARGEST:
        return max(seen, key=lambda face: face.pose.eye_distance_px * _centrality(face.detection, image))
    near = to_choose_from(seen)
    place = {"left": 1, "right": len(near)}.get(choice) or int(choice)
    return near[place - 1] if place <= len(near) else None


def _check_pose(
    pose: HeadPose, name: str, max_yaw: float, max_pitch: float, min_eye_distance_px: float
) -> None:
    if pose.eye_distance_px < min_eye_distance_px:
        raise FaceTooSmall(
            f"{name}: the face is too small: {pose.eye_distance_px:.0f} px between the outer eye corners, "
            f"at least {min_eye_distance_px:.0f} are needed",
            hint="use a larger picture or a closer crop of the face",
        )
    for angle, limit, direction in (
        (pose.yaw, max_yaw, "to the side"),
        (pose.pitch, max_pitch, "up or down"),
    ):
        if abs(angle) > limit:
            raise FaceTurnedAway(
                f"{name}: the face is turned {abs(angle):.0f} degrees {direction}, at most {limit:.0f} can "
                f"be animated",
                hint="use a picture in which the person looks towards the camera",
            )


def _check_upright(image: Image, face: SeenFace, name: str) -> None:
    """The landmark network fits an upright face even into one that stands on its head; the
    detector knows better.
    """
    centre_x, centre_y = (face.detection.box[:2] + face.detection.box[2:]) / 2
    region = Region(float(centre_x), float(centre_y), face.detection.size_px * 3)
    turned = best_score(image, replace(region, angle=math.pi))
    upside_down = turned > best_score(image, region) + _UPSIDE_DOWN_MARGIN
    if upside_down or abs(face.pose.roll) > MAX_ROLL_DEGREES:
        raise FaceTurnedAway(
            f"{name}: the face is {'upside down' if upside_down else 'on its side'}",
            hint="turn the picture so that the face is upright",
        )


def _check_whole(image: Image, face: SeenFace, name: str) -> None:
    size = [image.shape[1], image.shape[0]]
    outside = ((face.landmarks[:, :2] < 0) | (face.landmarks[:, :2] > size)).any(axis=1).mean()
    if outside > MAX_LANDMARKS_OUTSIDE:
        raise NoFaceFound(
            f"{name}: the picture's edge cuts off {outside:.0%} of the face",
            hint="use a picture that shows the whole face",
        )


def confirmed_faces(image: Image) -> list[SeenFace]:
    """Faces, largest first, each once. Looks closer and closer until no larger face can have
    been missed.
    """
    faces: list[SeenFace] = []
    for side, faces in _by_scale(image):
        if _none_missed(faces, side):
            break
    return faces


def faces_of_all_sizes(image: Image) -> tuple[list[SeenFace], list[SeenFace]]:
    """`confirmed_faces`, and the same with all that are about as large as the largest: for them
    one has to look closer.
    """
    first: list[SeenFace] | None = None
    faces: list[SeenFace] = []
    for side, faces in _by_scale(image):
        if first is None and _none_missed(faces, side):
            first = faces
        if _none_missed(faces, side / ALSO_A_FACE):
            break
    return faces if first is None else first, faces


def _by_scale(image: Image) -> Iterator[tuple[float, list[SeenFace]]]:
    """(side in px of what the detector was shown, all faces seen until then, largest first)."""
    faces: list[SeenFace] = []
    for side, detections in detections_by_scale(image):
        for seen in confirmed(image, detections):
            if not any(_same(seen, other) for other in faces):
                faces.append(seen)
        yield side, sorted(faces, key=lambda face: -face.pose.eye_distance_px)


def _none_missed(faces: list[SeenFace], side: float) -> bool:
    return any(face.detection.size_px >= _SURE_PART * side for face in faces)


def confirmed(image: Image, detections: Sequence[Detection]) -> Iterator[SeenFace]:
    """Those of the detections that the landmark network takes for faces."""
    for detection in detections:
        landmarks, probability = face_landmarks(image, detection)
        if probability >= MIN_FACE_PROBABILITY:
            yield SeenFace(detection, landmarks, head_pose(landmarks), float(probability))


def _same(a: SeenFace, b: SeenFace) -> bool:
    """Whether two are one face: their landmarks' middles are closer than half an eye distance
    of the larger.
    """
    apart = np.linalg.norm(a.landmarks[:, :2].mean(axis=0) - b.landmarks[:, :2].mean(axis=0))
    return bool(apart < 0.5 * max(a.pose.eye_distance_px, b.pose.eye_distance_px))


def _centrality(detection: Detection, image: Image) -> float:
    """1 in the middle of the picture, 0.5 in its corners."""
    half_size = np.array([image.shape[1], image.shape[0]]) / 2
    centre = (detection.box[:2] + detection.box[2:]) / 2
    return float(1 - 0.5 * np.linalg.norm(centre - half_size) / np.linalg.norm(half_size))
