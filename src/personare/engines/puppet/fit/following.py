"""Preparation of a template video: the face in every picture, and one picture of it to fit the
rig to.

The features have the names of a photo's. puppet.face holds the landmarks of every picture,
smooth over time; puppet.crop the surroundings of the mouth in the picture that shows the face
best, at the video's own scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.fit import lips
from personare.errors import NoFaceFound
from personare.heads import CHIN, LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from personare.media.paste import Square
from personare.media.template import Template
from personare.perception import eyes, head_pose, track_face
from personare.types import LARGEST, Feature, Image, Progress

Floats = NDArray[np.float32]

WINDOW_ABOVE, WINDOW_BELOW, WINDOW_ASIDE = 0.75, 2.05, 1.75
"""How far the window around the mouth reaches, in eye distances: to mid-eye, below the chin,
and past the cheeks.
"""
TURNED_COSTS, SMALL_COSTS, TEETH_PAY, TEETH_GAP = 0.1, 2.0, 4.0, 0.12
"""The picture that the rig is fitted to: frontal (cost per degree), large (per share of the
largest), and with the mouth open, as that may show its teeth (gain per eye distance of opening,
up to TEETH_GAP).
"""
FADE_FRAMES = 4
"""Where the face comes or goes, the mouth passes from the video's own to ours over this many
pictures.
"""


def face(template: Template, progress: Progress, choice: str = LARGEST) -> Feature:
    """Landmarks of every picture [n, 468, 3] px, how far each may be changed [n] 0..1, and the
    picture for the rig.

    Raises NoFaceFound if no picture has a face that can be animated.
    """
    track = track_face(template, template.fps, template.frames, progress, choice=choice)
    if not track.present.any():
        raise NoFaceFound(
            f"{template.path.name}: none of its {template.frames} pictures has a face that can be animated",
            hint="use a video of one person who looks towards the camera, at least 32 px between the outer "
            "eye corners",
        )
    reference = _reference(track.landmarks, track.present)
    contours, irises = eyes(_picture(template, reference), track.landmarks[reference])
    return Feature(
        {
            "landmarks": track.landmarks,
            "strength": _strength(track.present),
            "eye_contours": contours,
            "irises": irises,
        },
        {
            "moving": True,
            "frames": template.frames,
            "fps": str(template.fps),
            "reference": reference,
            "width": template.size[1],
            "height": template.size[0],
            **({"faces": track.faces} if track.faces > 1 else {}),
        },
    )


def crop(template: Template, face: Feature) -> Feature:
    """The window around the mouth in the reference picture, at full scale, with the points of
    that picture in it.
    """
    reference = int(face.metadata["reference"])
    landmarks = face.arrays["landmarks"]
    here = landmarks[reference]
    side = window_side(landmarks[face.arrays["strength"] > 0])
    square = window(here, side)
    place = np.array([square.x, square.y], np.float32)
    return Feature(
        {
            "picture": square.cut(_picture(template, reference)),
            "matte": np.full((side, side), 255, np.uint8),
            "landmarks": np.concatenate([here[:, :2] - place, here[:, 2:]], axis=1).astype(np.float32),
            "eye_contours": (face.arrays["eye_contours"] - place).astype(np.float32),
            "irises": (face.arrays["irises"] - place).astype(np.float32),
        },
        {"x": square.x, "y": square.y, "side": side},
    )


def window(landmarks: Floats, side: int) -> Square:
    """Where the window lies in a picture with these landmarks [468, 3]."""
    unit_px = _eye_distances(landmarks[None])[0]
    middle = landmarks[[*lips.CORNERS, CHIN], :2].mean(axis=0)
    x, y = middle - (side / 2, (WINDOW_ABOVE + (side / unit_px - WINDOW_ABOVE - WINDOW_BELOW) / 2) * unit_px)
    return Square(round(float(x)), round(float(y)), side)


def window_side(landmarks: Floats) -> int:
    """Side in pixels that is enough for every picture, even; landmarks: [n, 468, 3]."""
    largest = float(_eye_distances(landmarks).max())
    return 2 * int(np.ceil(max(WINDOW_ABOVE + WINDOW_BELOW, 2 * WINDOW_ASIDE) * largest / 2))


def _eye_distances(landmarks: Floats) -> Floats:
    """Distance of the outer eye corners in three dimensions, [n]."""
    return np.asarray(
        np.linalg.norm(landmarks[:, RIGHT_EYE_OUTER] - landmarks[:, LEFT_EYE_OUTER], axis=1), np.float32
    )


def _reference(landmarks: Floats, present: NDArray[np.bool_]) -> int:
    """Index of the picture to which the rig is fitted."""
    places = np.flatnonzero(present)
    sizes = _eye_distances(landmarks[places])
    poses = [head_pose(landmarks[place]) for place in places]
    turned = np.array([abs(pose.yaw) + abs(pose.pitch) for pose in poses])
    gaps = np.array([np.abs(lips.gaps(landmarks[place])).max() for place in places]) / sizes
    cost = (
        TURNED_COSTS * turned
        + SMALL_COSTS * (1 - sizes / sizes.max())
        - TEETH_PAY * np.minimum(gaps, TEETH_GAP)
    )
    return int(places[cost.argmin()])


def _strength(present: NDArray[np.bool_]) -> Floats:
    """1 where there is a face, falling to 0 towards pictures without one: float32 [n]."""
    places = np.arange(len(present))
    absent = np.flatnonzero(~present)
    if not len(absent):
        return np.ones(len(present), np.float32)
    after = np.searchsorted(absent, places)
    nearest = np.minimum(
        np.abs(places - absent[np.minimum(after, len(absent) - 1)]),
        np.abs(places - absent[np.maximum(after - 1, 0)]),
    )
    return np.asarray(np.minimum(1, nearest / (FADE_FRAMES + 1)), np.float32)


def _picture(template: Template, index: int) -> Image:
    _, picture = next(template.cycle(index))
    return picture
