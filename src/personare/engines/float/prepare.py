"""The recipe: what is computed once per portrait.

float.face         where the face is      (the picture; S3FD or our own perception)
float.crop         the square around it, as the networks want it   (the picture, where the face is)
float.appearance   what the person looks like, how the face is held   (the square; float.pth)
float.reach        what moves the mouth and little else   (the appearance; float.pth; only if asked)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.cache.form import Form
from personare.cache.recipe import Recipe, Stage, StageInputs
from personare.engines.float import forms
from personare.engines.float.networks.config import FloatConfig
from personare.engines.float.options import FloatOptions
from personare.engines.portrait import background_parameter, chosen, face_parameter, picture_of
from personare.errors import FaceTooSmall, NoFaceFound
from personare.media.image import read_image
from personare.media.paste import Square
from personare.perception import NETWORK_SHA256, find_face
from personare.perception.face import ALSO_A_FACE
from personare.types import LARGEST, Feature, Image

if TYPE_CHECKING:
    from personare.engines.float.networks.decoder import StyleDecoder
    from personare.engines.float.networks.encoder import AppearanceEncoder
    from personare.perception.s3fd import S3FD
    from personare.weights.resident import Lease

Floats = NDArray[np.float32]

FACE, CROP, APPEARANCE, REACH = "float.face", "float.crop", "float.appearance", "float.reach"
LANDMARK_NETWORKS = ("face_detection_short_range", "face_landmark", "iris_landmark")
DETECTION_HEIGHT = 360
"""Rows of the picture that the detector sees."""
MIN_SCORE = 0.95
MARGIN = 1.6
"""Side of the square, in sides of the face's box."""
MIN_FACE_PX = 24
"""Half of it would be made up by the enlargement."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The networks that see, leased while a stage needs them, and what names them in keys."""

    s3fd: Callable[[], Lease[S3FD]]
    encoder: Callable[[], Lease[AppearanceEncoder]]
    decoder: Callable[[], Lease[StyleDecoder]]
    s3fd_sha256: tuple[str, ...]
    float_sha256: tuple[str, ...]
    sizes: FloatConfig


def recipe(sight: Sight, options: FloatOptions, detector: str) -> Recipe:
    """The stages. detector: "s3fd" or "landmarks", already chosen."""
    needs = () if options.no_crop else (FACE,)
    stages = []
    if not options.no_crop:
        weights = (
            sight.s3fd_sha256
            if detector == "s3fd"
            else tuple(NETWORK_SHA256[name] for name in LANDMARK_NETWORKS)
        )
        stages.append(
            Stage(
                FACE,
                1,
                partial(_face, sight),
                {"detector": detector}
                | face_parameter(options.face)
                | background_parameter(options.background),
                reads=("portrait",),
                weights=weights,
                form=forms.face,
            )
        )
    parameters: dict[str, Any] = {"no_crop": options.no_crop, "side": sight.sizes.side}
    parameters |= background_parameter(options.background)
    stages.append(Stage(CROP, 1, _crop, parameters, needs, reads=("portrait",), form=_crop_form))
    stages.append(
        Stage(
            APPEARANCE,
            1,
            partial(_appearance, sight),
            needs=(CROP,),
            weights=sight.float_sha256,
            form=lambda _: forms.appearance(sight.sizes),
        )
    )
    if options.head_motion < 1 or options.rest_in_silence > 0:
        stages.append(
            Stage(
                REACH,
                1,
                partial(_reach, sight),
                needs=(APPEARANCE,),
                weights=sight.float_sha256,
                form=lambda _: forms.reach(sight.sizes),
            )
        )
    return Recipe(tuple(stages))


# ---------------------------------------------------------------- where the face is


def _face(sight: Sight, inputs: StageInputs) -> Feature:
    picture, name = picture_of(inputs), inputs.portrait.name
    choice = chosen(inputs.parameters)
    if inputs.parameters["detector"] == "s3fd":
        with sight.s3fd() as network:
            found = detected(network, picture)
            box = first_face(found, picture.shape[0], name, choice)
            faces = len(about_as_large(found))
    else:
        # From brows to chin it is the same part of the head as S3FD's box, which begins at the
        # hairline, but for a sixth.
        face = find_face(picture, name, choice=choice)
        landmarks, faces = face.landmarks, face.faces
        low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
        box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    if min(box[2] - box[0], box[3] - box[1]) < MIN_FACE_PX:
        raise FaceTooSmall(
            f"{name}: the face is {box[2] - box[0]}x{box[3] - box[1]} px, at least {MIN_FACE_PX} are needed",
            hint="use a larger picture or a closer crop of the face",
        )
    return Feature({"box": np.array(box, np.int32)}, {"faces": faces} if faces > 1 else {})


def detection_picture(picture: Image) -> Image:
    """The picture at the height that the detector sees; scaled by a factor, so that OpenCV
    rounds the size.
    """
    scale = DETECTION_HEIGHT / picture.shape[0]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how), np.uint8)


def detector_input(picture: Image) -> Floats:
    """uint8 [H, W, 3] RGB -> float32 [3, H, W], blue first, less the detector's mean."""
    from personare.perception.s3fd import PIXEL_MEAN

    return np.ascontiguousarray(
        (picture[:, :, ::-1].astype(np.float32) - np.array(PIXEL_MEAN, np.float32)).transpose(2, 0, 1)
    )


def detected(network: S3FD, picture: Image) -> Floats:
    """S3FD's faces in px of the detection picture, float32 [n, 5] x0 y0 x1 y1 score, by falling
    score.
    """
    import torch

    from personare.perception.s3fd import face_boxes

    tensor = torch.from_numpy(detector_input(detection_picture(picture)))
    return face_boxes(network, tensor.to(next(network.parameters()).device))


def about_as_large(boxes: Floats) -> Floats:
    """Of the sure faces those about as large as the largest, from left to right, [n, 5]."""
    sure = boxes[boxes[:, 4] > MIN_SCORE]
    sizes = (sure[:, 2:4] - sure[:, :2]).max(axis=1, initial=0.0)
    near = sure[sizes >= ALSO_A_FACE * sizes.max(initial=0.0)]
    return np.asarray(near[np.argsort(near[:, 0] + near[:, 2], kind="stable")])


def first_face(
    boxes: Floats, picture_height: int, name: str = "picture", choice: str = LARGEST
) -> tuple[int, int, int, int]:
    """The surest face (not the largest), or the one that is chosen, in whole px of the picture,
    cut off toward zero. Raises NoFaceFound.
    """
    scale = DETECTION_HEIGHT / picture_height
    sure = boxes[boxes[:, 4] > MIN_SCORE]
    if choice != LARGEST and len(sure):
        near = about_as_large(boxes)
        place = {"left": 1, "right": len(near)}.get(choice) or int(choice)
        if place > len(near):
            raise NoFaceFound(
                f"{name}: face={choice} is asked for, and {len(near)} seen",
                hint="largest, left, right, or a number counted from the left",
            )
        sure = near[place - 1 : place]
    if len(sure) == 0:
        raise NoFaceFound(
            f"{name}: no face found",
            hint="use a sharp, well-lit picture of one person, or --set no_crop=true for one that is a face "
            "already",
        )
    x0, y0, x1, y1 = (int(value) for value in sure[0, :4] / np.float32(scale))
    return x0, y0, x1, y1


# ---------------------------------------------------------------- the square


def _crop(inputs: StageInputs) -> Feature:
    picture, side = picture_of(inputs), int(inputs.parameters["side"])
    height, width = picture.shape[:2]
    if inputs.parameters["no_crop"]:
        return Feature({"picture": squeezed(picture, side)}, {"height": height, "width": width})
    x0, y0, x1, y1 = (int(value) for value in inputs.features[FACE].arrays["box"])
    square = face_square((x0, y0, x1, y1), (height, width))
    place = {"x": square.x, "y": square.y, "side": square.side, "height": height, "width": width}
    return Feature({"picture": cropped(picture, square, side)}, place)


def _crop_form(inputs: StageInputs) -> Form:
    if inputs.parameters["no_crop"]:
        return forms.crop(inputs, None)
    x0, y0, x1, y1 = (int(value) for value in inputs.features[FACE].arrays["box"])
    height, width = read_image(inputs.portrait).shape[:2]
    square = face_square((x0, y0, x1, y1), (height, width))
    return forms.crop(inputs, (square.x, square.y, square.side))


def face_square(box: tuple[int, int, int, int], size: tuple[int, int]) -> Square:
    """The square around a face's box in a picture of (height, width), its centre inside the
    picture.

    Whole numbers throughout, cut off toward zero. Where a box's centre lies beyond the left or
    upper border the published program wraps round to the other side; here it is drawn inside.
    """
    x0, y0, x1, y1 = box
    half = int(MARGIN * max(int((y1 - y0) / 2), int((x1 - x0) / 2)))
    x = min(max(int((x0 + x1) / 2), 0), size[1] - 1)
    y = min(max(int((y0 + y1) / 2), 0), size[0] - 1)
    return Square(x - half, y - half, 2 * half)


def cropped(picture: Image, square: Square, side: int) -> Image:
    """The square, black beyond the picture's border, at the networks' size.

    The interpolation depends on the height of the picture, not on whether the square shrinks:
    as published.
    """
    reach = square.side // 2
    bordered = cv2.copyMakeBorder(picture, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    cut = bordered[square.y + reach :, square.x + reach :][: square.side, : square.side]
    how = cv2.INTER_AREA if picture.shape[0] > DETECTION_HEIGHT else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(cut, (side, side), interpolation=how), np.uint8)


def squeezed(picture: Image, side: int) -> Image:
    """The whole picture as a square, whatever its proportions."""
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def as_input(picture: Image) -> Floats:
    """uint8 [S, S, 3] -> float32 [1, 3, S, S] in [-1, 1]."""
    return np.ascontiguousarray(((picture.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None])


# ---------------------------------------------------------------- the person


def _appearance(sight: Sight, inputs: StageInputs) -> Feature:
    with sight.encoder() as encoder, sight.decoder() as decoder:
        return Feature(appearance(encoder, decoder, inputs.features[CROP].arrays["picture"]))


def appearance(encoder: AppearanceEncoder, decoder: StyleDecoder, picture: Image) -> dict[str, Floats]:
    """uint8 [S, S, 3] -> "appearance" [width], "coefficients" [motions], "reference" [width]
    (how the face is held), and the skip features "feature0".. [C, side, side], smallest first.
    """
    import torch

    with torch.inference_mode():
        code, features = encoder(torch.from_numpy(as_input(picture)).to(decoder.input.input.device))
        coefficients = encoder.motion(code)
        reference = decoder.direction(coefficients)
    named = {"appearance": code, "coefficients": coefficients, "reference": reference}
    named |= {f"feature{level}": feature for level, feature in enumerate(features)}
    return {name: np.asarray(tensor[0].cpu().numpy(), np.float32) for name, tensor in named.items()}


def _reach(sight: Sight, inputs: StageInputs) -> Feature:
    from personare.engines.float.reach import mouth_share

    seen = inputs.features[APPEARANCE].arrays
    with sight.decoder() as decoder:
        basis = decoder.direction.basis
        assert basis is not None
        return Feature({"share": mouth_share(decoder, seen), "basis": basis.cpu().numpy().copy()})
