"""What puppet's features have to look like if they come from a remote or an archive (see
cache/form.py).

What is drawn later trusts its feature: shapes alone would let a face pass whose chin is a mile
away. So a face has to be one, near the shape that all faces share; what was cut from something
has to be that; and what moves may move by no more than faces do.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from personare.cache.form import Array, Form, Metadata
from personare.cache.recipe import StageInputs
from personare.engines.puppet.fit import rings
from personare.heads import head468, similarity
from personare.media.image import is_picture, read_image
from personare.media.template import Template
from personare.motion import ARKIT_UNITS
from personare.types import Feature

FACE, CROP, RIG, PLATE = "puppet.face", "puppet.crop", "puppet.rig", "puppet.plate"
"""The features of a portrait, by stage name."""
POINTS = 468
VERTICES = POINTS + len(rings.RADII) * len(rings.OVAL)
UNLIKE = 0.5
"""How far a point may lie from where an average face has it, in eye distances."""
ROOM = 4.0
"""Where a square around a face may reach to, in sides of the picture."""
CUT_PX = 0.05
"""Rounding of float32 between a place in the picture and in its crop."""

Floats = NDArray[np.float32]
Degrees = Annotated[float, Field(ge=-180, le=180)]
Side = Annotated[int, Field(ge=8, le=100_000)]
Faces = Annotated[int, Field(ge=1, le=1000)]
Place = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]


class PhotoFace(Metadata):
    yaw: Degrees
    pitch: Degrees
    roll: Degrees
    eye_distance_px: Annotated[float, Field(gt=1, le=1e5)]
    width: Side
    height: Side
    glasses: bool
    dark_lenses: bool
    faces: Faces = 1
    doubtful: bool = False


class VideoFace(Metadata):
    moving: bool
    frames: Annotated[int, Field(ge=1)]
    fps: Annotated[str, Field(pattern=r"^\d{1,9}(/\d{1,9})?$")]
    reference: Annotated[int, Field(ge=0)]
    width: Side
    height: Side
    faces: Faces = 1


class CropPlace(Metadata):
    x: Place
    y: Place
    side: Side


class RigFacts(Metadata):
    photo_teeth_corner: tuple[Place, Place]
    lip_patch_corner: tuple[Place, Place]
    teeth_drop: Annotated[float, Field(ge=-1, le=1)]
    softness_px: Annotated[float, Field(ge=0, le=100)]
    eye_distance_px: Annotated[float, Field(gt=1, le=1e5)]
    glasses: bool
    gaze_still: bool
    blinks: bool


def face(inputs: StageInputs) -> Form:
    """Of a photo or a video, whichever the portrait is."""
    if not is_picture(inputs.portrait):
        return _video_face(Template(inputs.portrait))
    height, width = read_image(inputs.portrait).shape[:2]
    reach = 2.0 * max(height, width)

    def agrees(feature: Feature) -> bool:
        size = feature.metadata["height"], feature.metadata["width"]
        return size == (height, width) and _is_seen(feature.arrays["landmarks"], (height, width))

    return Form(
        {
            "landmarks": Array("float32", (POINTS, 3), -reach, reach),
            "eye_contours": Array("float32", (2, 71, 2), -reach, reach),
            "irises": Array("float32", (2, 5, 2), -reach, reach),
        },
        PhotoFace,
        agrees=lambda feature: agrees(feature) and _has_eyes(feature),
    )


def _video_face(template: Template) -> Form:
    reach = 2.0 * max(template.size)

    def agrees(feature: Feature) -> bool:
        facts = feature.metadata
        own = {
            "moving": True, "frames": template.frames, "fps": str(template.fps),
            "width": template.size[1], "height": template.size[0],
        }  # fmt: skip
        strength, landmarks = feature.arrays["strength"], feature.arrays["landmarks"]
        reference = facts["reference"]
        return (
            all(facts[name] == value for name, value in own.items())
            and reference < template.frames
            and strength[reference] > 0
            and all(_is_seen(landmarks[i], template.size) for i in np.flatnonzero(strength > 0))
        )

    return Form(
        {
            "landmarks": Array("float32", (template.frames, POINTS, 3), -reach, reach),
            "strength": Array("float32", (template.frames,), 0, 1),
            "eye_contours": Array("float32", (2, 71, 2), -reach, reach),
            "irises": Array("float32", (2, 5, 2), -reach, reach),
        },
        VideoFace,
        agrees=agrees,
    )


def crop(inputs: StageInputs) -> Form:
    """Cut out of the portrait around its face."""
    face, size = inputs.features[FACE], inputs.parameters.get("size")
    picture = max(int(face.metadata["height"]), int(face.metadata["width"]))
    landmarks = face.arrays["landmarks"]
    if face.metadata.get("moving"):
        landmarks, size = landmarks[int(face.metadata["reference"])], None

    def agrees(feature: Feature) -> bool:
        x, y, side = (int(feature.metadata[name]) for name in ("x", "y", "side"))
        shown = feature.arrays["picture"].shape[0]
        if max(abs(x), abs(y), side) > ROOM * picture or shown > max(side, int(size or 0)):
            return False
        scale, place = shown / side, np.array([x, y], np.float32)
        cut = {
            "landmarks": np.concatenate([landmarks[:, :2] - place, landmarks[:, 2:]], axis=1),
            "eye_contours": face.arrays["eye_contours"] - place,
            "irises": face.arrays["irises"] - place,
        }
        return all(
            np.allclose(feature.arrays[name], points * scale, rtol=1e-4, atol=CUT_PX)
            for name, points in cut.items()
        ) and _is_seen(feature.arrays["landmarks"], (shown, shown))

    length: int | str = "s" if size is None else int(size)
    return Form(
        {
            "picture": Array("uint8", (length, length, 3), 0, 255),
            "matte": Array("uint8", (length, length), 0, 255),
            "landmarks": Array("float32", (POINTS, 3)),
            "eye_contours": Array("float32", (2, 71, 2)),
            "irises": Array("float32", (2, 5, 2)),
        },
        CropPlace,
        longest=20_000,
        agrees=agrees,
    )


def rig(inputs: StageInputs) -> Form:
    """Fitted to the face of the crop; lengths of motions in eye distances of that face."""
    crop = inputs.features[CROP].arrays
    side = crop["picture"].shape[0]
    _, unit = _residual(crop["landmarks"])
    triangles = _triangles()

    def moved(*shape: int | str, by: float = 1.5) -> Array:
        return Array("float32", shape, -by * unit, by * unit)

    def agrees(feature: Feature) -> bool:
        arrays, facts = feature.arrays, feature.metadata
        x, y = facts["lip_patch_corner"]
        height, width = arrays["lip_patch"].shape[:2]
        teeth = np.array(facts["photo_teeth_corner"])
        seen = arrays["points"][:POINTS, :2]
        return (
            np.array_equal(arrays["triangles"], triangles)
            and 0 <= x <= side - width
            and 0 <= y <= side - height
            and bool((abs(teeth) <= 2 * side).all())
            and 0.5 * unit < facts["eye_distance_px"] < 2 * unit
            and bool((abs(seen - crop["landmarks"][:, :2]) <= UNLIKE * unit).all())
            and bool((abs(np.linalg.norm(arrays["mouth_axes"][1:], axis=1) - 1) < 0.05).all())
        )

    far = side + 8 * unit
    return Form(
        {
            "points": Array("float32", (VERTICES, 3), -far, far),
            "relief": Array("float32", (VERTICES,), -far, far),
            "triangles": Array("int32", triangles.shape, 0, VERTICES - 1),
            "deltas": moved(len(ARKIT_UNITS), VERTICES, 3),
            "head_weight": Array("float32", (VERTICES,), -0.5, 1.5),
            "closure": moved(VERTICES, 3),
            "lip_roll": moved(VERTICES, 2),
            "lid_slide": moved(2, VERTICES, 2),
            "eyeballs": Array("float32", (2, 33, 3), -far, far),
            "pivot": Array("float32", (3,), -far, far),
            "mouth_axes": Array("float32", (3, 3), -far, far),
            "photo_teeth": Array("uint8", ("h", "w", 4), 0, 255),
            "lip_patch": Array("uint8", ("p", "q", 3), 0, 255),
            "mouth_light": Array("float32", (3,), 0, 10),
            "mouth_colours": Array("float32", (3, 3), -10, 10),
            "lid_colours": Array("float32", (2, 3), 0, 256),
            "lash_colour": Array("float32", (3,), 0, 256),
            "long_lashes": Array("float32", (2,), 0, 1),
        },
        RigFacts,
        longest=20_000,
        agrees=agrees,
    )


def plate(inputs: StageInputs) -> Form:
    """As large as the crop."""
    side = inputs.features[CROP].arrays["picture"].shape[0]
    return Form(
        {"plate": Array("uint8", (side, side, 3), 0, 255), "cut": Array("uint8", (side, side), 0, 255)}
    )


@cache
def _triangles() -> NDArray[np.int32]:
    """The mesh of every rig."""
    return np.concatenate([head468().triangles, rings.triangles(POINTS)]).astype(np.int32)


def _residual(landmarks: Floats) -> tuple[float, float]:
    """How far the farthest point is from the average face's, in eye distances, and an eye
    distance in pixels. landmarks: float32 [468, 3], z smaller is nearer.
    """
    neutral = head468().neutral
    points = landmarks * np.array([1, -1, -1], np.float32)
    scale, rotation, translation = similarity(neutral, points)
    unit = float(scale)
    if not unit > 1:
        return np.inf, unit
    there = unit * neutral @ rotation.T + translation
    return float(np.linalg.norm(points - there, axis=1).max()) / unit, unit


def _is_seen(landmarks: Floats, size: tuple[int, int]) -> bool:
    """Whether these points are a face, the middle of which lies in a picture of (height,
    width).
    """
    residual, unit = _residual(landmarks)
    x, y = landmarks[:, :2].mean(axis=0)
    return residual <= UNLIKE and unit <= max(size) and 0 <= x <= size[1] and 0 <= y <= size[0]


def _has_eyes(feature: Feature) -> bool:
    """Whether contours and irises lie about the face."""
    landmarks = feature.arrays["landmarks"][:, :2]
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    around = np.concatenate([feature.arrays[name].reshape(-1, 2) for name in ("eye_contours", "irises")])
    return bool(((around >= low - (high - low)) & (around <= high + (high - low))).all())
