"""The recipe: what is computed once per portrait.

    puppet.face    the face in the full picture          (the picture)
    puppet.crop    a square picture around it            (the picture, size, face_height)
    puppet.rig     the face fitted, ready to be moved    (the crop)
    puppet.plate   what is behind the person             (the crop), if the background is to be kept

Of a video, see following.py: the face in every picture, and the lower face of one of them.

Only what a stage reads is in its key: another frame rate or seed prepares nothing again,
another size leaves the face.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.cache.recipe import Recipe, Stage, StageInputs
from personare.engines.portrait import (
    background_parameter,
    chosen,
    face_parameter,
    picture_of,
    template_of,
)
from personare.engines.puppet import forms
from personare.engines.puppet.fit import following, plate, rig
from personare.engines.puppet.forms import CROP, FACE, PLATE, RIG
from personare.engines.puppet.options import PuppetOptions
from personare.errors import PictureTooLarge
from personare.media.image import is_picture
from personare.media.paste import Square, resized
from personare.perception import NETWORK_SHA256, find_face, person_matte
from personare.perception.glasses import look_for_glasses
from personare.types import Feature, Image

Floats = NDArray[np.float32]

FACE_NETWORKS = ("face_detection_short_range", "face_landmark", "iris_landmark")
MATTE_NETWORK = "selfie_segmentation"

FACE_FROM_TOP = 0.46
"""Where the middle of the face is in the crop, from the top: a little above the middle, as
portraits are framed.
"""
TIGHTEST = 1.02
"""A square that would be tighter than this, in sides of what the picture has of the face, is
continued beyond the border.
"""
MATTE_CONTEXT = 1.5
"""The matting network sees this much more than the crop, where the picture has it: it was
trained on people, not faces.
"""
ORIGINAL_FACE_HEIGHT = 0.25
"""With framing "original" the square holds all that moves: the face is this share of it."""
MAX_SIDE = 1024
"""Larger squares are drawn at this size and enlarged."""
MAX_ORIGINAL_PIXELS = 16_000_000
"""Larger pictures are no videos."""
ENLARGED_BLUR = 0.35
"""Standard deviation of the blur of an enlarged picture, in its own pixels."""


def recipe(options: PuppetOptions) -> Recipe:
    """The stages that turn a portrait into the features that `render.FaceRenderer` needs; none
    for the bundled head.
    """
    if options.look == "mesh":
        return Recipe(())
    behind = Stage(name=PLATE, version=3, compute=_plate, needs=(CROP,), form=forms.plate)
    return Recipe(
        (
            Stage(
                name=FACE,
                version=4,
                compute=_face,
                parameters=face_parameter(options.face) | background_parameter(options.background),
                reads=("portrait",),
                weights=tuple(NETWORK_SHA256[name] for name in FACE_NETWORKS),
                form=forms.face,
            ),
            Stage(
                name=CROP,
                version=3,
                compute=_crop,
                parameters=_framing(options) | background_parameter(options.background),
                needs=(FACE,),
                reads=("portrait",),
                weights=(NETWORK_SHA256[MATTE_NETWORK],),
                form=forms.crop,
            ),
            Stage(name=RIG, version=17, compute=_rig, needs=(FACE, CROP), form=forms.rig),
            *([behind] if options.background != "stretch" else []),
        )
    )


def _framing(options: PuppetOptions) -> dict[str, Any]:
    if options.framing == "original":
        return {"framing": "original"}
    return {"size": options.size, "face_height": options.face_height}


def _face(inputs: StageInputs) -> Feature:
    if not is_picture(inputs.portrait):
        return following.face(template_of(inputs), inputs.progress, chosen(inputs.parameters))
    picture = picture_of(inputs)
    face = find_face(picture, inputs.portrait.name, choice=chosen(inputs.parameters))
    height, width = picture.shape[:2]
    glasses = look_for_glasses(picture, face)
    return Feature(
        {"landmarks": face.landmarks, "eye_contours": face.eye_contours, "irises": face.irises},
        {
            "yaw": face.yaw,
            "pitch": face.pitch,
            "roll": face.roll,
            "eye_distance_px": face.eye_distance_px,
            "width": width,
            "height": height,
            "glasses": glasses.worn,
            "dark_lenses": glasses.dark,
            **({"faces": face.faces} if face.faces > 1 else {}),
            **({"doubtful": True} if face.is_doubtful else {}),
        },
    )


def _crop(inputs: StageInputs) -> Feature:
    if not is_picture(inputs.portrait):
        return following.crop(template_of(inputs), inputs.features[FACE])
    face = inputs.features[FACE].arrays
    picture = picture_of(inputs)
    if inputs.parameters.get("framing") == "original":
        square = _whole_surroundings(face["landmarks"], picture, inputs.portrait.name)
        size = min(square.side, MAX_SIDE)
    else:
        square = _square_around(face["landmarks"], picture, float(inputs.parameters["face_height"]))
        size = int(inputs.parameters["size"])
    scale = size / square.side
    place = np.array([square.x, square.y], np.float32)
    landmarks = np.concatenate(
        [face["landmarks"][:, :2] - place, face["landmarks"][:, 2:]], axis=1
    ) * np.float32(scale)
    return Feature(
        {
            "picture": resized(square.cut(picture), size),
            "matte": _matte(picture, square, size),
            "landmarks": landmarks.astype(np.float32),
            "eye_contours": ((face["eye_contours"] - place) * np.float32(scale)).astype(np.float32),
            "irises": ((face["irises"] - place) * np.float32(scale)).astype(np.float32),
        },
        {"x": square.x, "y": square.y, "side": square.side},
    )


def _rig(inputs: StageInputs) -> Feature:
    crop = inputs.features[CROP]
    picture = crop.arrays["picture"]
    enlarged = len(picture) / float(crop.metadata["side"])
    fitted = rig.fit(
        picture,
        crop.arrays["matte"],
        crop.arrays["landmarks"],
        crop.arrays["eye_contours"],
        crop.arrays["irises"],
        softness_px=ENLARGED_BLUR * max(0.0, enlarged - 1),
        glasses=bool(inputs.features[FACE].metadata.get("glasses")),
        dark_lenses=bool(inputs.features[FACE].metadata.get("dark_lenses")),
    )
    return fitted.to_feature()


def _plate(inputs: StageInputs) -> Feature:
    crop = inputs.features[CROP].arrays
    return plate.behind(crop["picture"], crop["matte"], crop["landmarks"])


def _whole_surroundings(landmarks: Floats, picture: Image, name: str) -> Square:
    """A square that holds all that moves, with an even side; it may reach beyond the picture's
    border.
    """
    height, width = picture.shape[:2]
    if height * width > MAX_ORIGINAL_PIXELS:
        raise PictureTooLarge(
            f"{name} has {height * width / 1e6:.0f} megapixels; for framing=original the limit is "
            f"{MAX_ORIGINAL_PIXELS / 1e6:g}",
            hint="scale it down, or use framing=square",
        )
    low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
    side = 2 * round(float(high[1] - low[1]) / ORIGINAL_FACE_HEIGHT / 2)
    x, y = (low + high) / 2 - (side / 2, side * FACE_FROM_TOP)
    return Square(round(float(x)), round(float(y)), side)


def _square_around(landmarks: Floats, picture: Image, face_height: float) -> Square:
    """Where to crop. Rather a tighter crop or a face off the middle than a picture continued
    beyond its border.
    """
    height, width = picture.shape[:2]
    low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
    shown = np.minimum(high, (width, height)) - np.maximum(low, 0)
    side = round(
        max(min(float(high[1] - low[1]) / face_height, height, width), TIGHTEST * float(shown.max()))
    )
    x, y = (low + high) / 2 - (side / 2, side * FACE_FROM_TOP)
    return Square(_within(x, side, width), _within(y, side, height), side)


def _within(start: float, side: int, available: int) -> int:
    room = available - side
    return round(min(max(start, 0), room)) if room >= 0 else round(max(min(start, 0), room))


def _matte(picture: Image, square: Square, size: int) -> NDArray[np.uint8]:
    """uint8 [size, size], 255 where the person is."""
    height, width = picture.shape[:2]
    margin = round((MATTE_CONTEXT - 1) / 2 * square.side)
    x0, y0 = max(0, square.x - margin), max(0, square.y - margin)
    x1, y1 = min(width, square.x + square.side + margin), min(height, square.y + square.side + margin)
    wider = np.zeros((height, width), np.uint8)
    wider[y0:y1, x0:x1] = np.rint(person_matte(picture[y0:y1, x0:x1]) * 255)
    return resized(square.cut(wider), size)
