"""What is computed of the photo itself: the square around the face, and how the head is held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.cache.recipe import StageInputs
from personare.engines.nerffacespeech import align
from personare.engines.nerffacespeech.networks.config import ANGLES
from personare.engines.nerffacespeech.stages import (
    ALIGNED,
    FRONT,
    PROJECTION,
    Wanted,
)
from personare.engines.portrait import chosen, picture_of
from personare.errors import InputError
from personare.perception import find_face
from personare.types import Feature, Image

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float32]

LANDMARK_NETWORKS = ("face_detection_short_range", "face_landmark", "iris_landmark")
POSE_PX = 224
NO_FACE_MODEL = (
    "there is no face model (BFM_model_front.mat, by registration), so only the mouth's styles move the "
    "face: mode=latent"
)


def aligned(wanted: Wanted, inputs: StageInputs) -> Feature:
    photo, name = picture_of(inputs), inputs.portrait.name
    with wanted.networks.generator() as generator:
        side = generator.config.side
    if inputs.parameters["aligned"]:
        picture, corners = align.whole(photo, side)
        try:
            found = align.points_68(find_face(picture, name, choice=chosen(inputs.parameters)).landmarks)
        except InputError:
            found = np.zeros((68, 2), np.float32)
        facts: dict[str, Any] = {"faces": 1, "doubtful": False}
    else:
        face = find_face(photo, name, choice=chosen(inputs.parameters))
        points = align.points_68(face.landmarks)
        corners, _ = align.ffhq_corners(points.astype(np.float64))
        picture, found = align.cut(photo, corners, side), align.into_square(points, corners, side)
        facts = {"faces": face.faces, "doubtful": face.is_doubtful}
    return Feature({"picture": picture, "corners": corners, "landmarks": found}, facts)


def pose(wanted: Wanted, inputs: StageInputs) -> Feature:
    """The network was trained on faces cut closely; it is given the whole picture, as
    published.
    """
    import torch

    from personare.engines.nerffacespeech.networks.rays import cameras

    picture = recon_input(inputs.features[ALIGNED].arrays["picture"])
    with wanted.networks.recon() as network, torch.inference_mode():
        coefficients = network(torch.from_numpy(picture)[None].to(wanted.networks.device)).cpu()
        camera = cameras(coefficients[:, ANGLES])[0]
    return _posed(coefficients[0].numpy(), camera.numpy(), inputs)


def _posed(coefficients: Floats, camera: Floats, inputs: StageInputs) -> Feature:
    remark = {"remark": NO_FACE_MODEL} if inputs.parameters.get("told") else {}
    return Feature({"coefficients": coefficients.copy(), "camera": camera.copy()}, remark)


def recon_input(picture: Image) -> Floats:
    """uint8 [H, W, 3] of any size -> float32 [3, 224, 224], 0 to 1, resized as PIL does."""
    from PIL import Image as Pictures

    small = Pictures.fromarray(picture).resize((POSE_PX, POSE_PX), Pictures.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(small, np.float32).transpose(2, 0, 1) / np.float32(255))


def pose_of_the_made_up(wanted: Wanted, inputs: StageInputs) -> Feature:
    import torch

    picture = recon_input(inputs.features[FRONT].arrays["picture"])
    with wanted.networks.recon() as network, torch.inference_mode():
        coefficients = network(torch.from_numpy(picture)[None].to(wanted.networks.device))[0].cpu().numpy()
    return _posed(coefficients, inputs.features[PROJECTION].arrays["camera"], inputs)
