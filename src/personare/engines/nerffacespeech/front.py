"""The person from the front: what is seen there, the face model that fits it, and which of its
vertices is nearest to each sample of the field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.cache.recipe import StageInputs
from personare.engines.nerffacespeech import align
from personare.engines.nerffacespeech.persons import latents
from personare.engines.nerffacespeech.photo import POSE_PX
from personare.engines.nerffacespeech.stages import (
    ALIGNED,
    FIT,
    FRONT,
    TUNING,
    Wanted,
)
from personare.errors import InputError, NoFaceFound
from personare.perception import find_face
from personare.types import Feature, Image

if TYPE_CHECKING:
    from torch import Tensor

    from personare.engines.nerffacespeech.networks.generator import Generator, Seen

Floats = NDArray[np.float32]


def own_generator(generator: Generator, tuned: Feature | None) -> Generator:
    """The generator, tuned to the person where there is one."""
    from personare.engines.nerffacespeech.inversion import with_tensors

    return generator if tuned is None else with_tensors(generator, tuned.arrays)


def front_view(generator: Generator, w: Tensor, z: Tensor) -> Seen:
    """The person as the camera in front sees him."""
    import torch

    from personare.engines.nerffacespeech.networks.rays import cameras

    camera = cameras(torch.zeros(1, 3)).to(w)
    return generator.synthesis.see(w, generator.synthesis.behind(z), camera)


def front_stage(wanted: Wanted, inputs: StageInputs) -> Feature:
    import torch
    from torch.nn.functional import interpolate

    from personare.engines.nerffacespeech.face_model import torso_points
    from personare.engines.nerffacespeech.render import parsed, to_bytes

    w, z = latents(wanted, inputs)
    with wanted.networks.generator() as released, torch.inference_mode():
        generator = own_generator(released, inputs.features.get(TUNING))
        seen = front_view(generator, w, z)
        picture = generator.synthesis.picture(seen.map, w)
        small = interpolate(picture, size=(POSE_PX, POSE_PX), mode="bicubic", align_corners=False)
    arrays: dict[str, NDArray[Any]] = {
        "picture": to_bytes(picture)[0],
        "small": to_bytes(small)[0],
        "fine": seen.fine[0].cpu().numpy().copy(),
    }
    if inputs.parameters["torso"]:
        with wanted.networks.parser() as parser, torch.inference_mode():
            arrays["torso"] = torso_points(parsed(parser, picture)[0].cpu().numpy())
    return Feature(arrays)


def fit_stage(wanted: Wanted, inputs: StageInputs) -> Feature:
    from personare.engines.nerffacespeech.fit import fit

    front = inputs.features[FRONT].arrays
    landmarks, by = _front_landmarks(inputs)
    scale = np.float32(POSE_PX / len(front["picture"]))
    with wanted.networks.face_model() as model:
        fitted = fit(
            model,
            np.array(front["small"]),
            landmarks * scale,
            pose_steps=int(inputs.parameters["pose_steps"]),
            steps=int(inputs.parameters["steps"]),
            workspace=inputs.workspace,
            device=wanted.networks.device,
        )
    inputs.show("fit", fit_overlay(front["small"], landmarks * scale, fitted.landmarks))
    return Feature({"coefficients": fitted.coefficients, "landmarks": fitted.landmarks}, {"by": by})


def _front_landmarks(inputs: StageInputs) -> tuple[Floats, str]:
    """68 points in px of the picture from the front; the photo's own where no face is found in
    that.
    """
    try:
        found = find_face(inputs.features[FRONT].arrays["picture"], "the front view")
        return align.points_68(found.landmarks), "front"
    except InputError:
        if ALIGNED in inputs.features and inputs.features[ALIGNED].arrays["landmarks"].any():
            return np.array(inputs.features[ALIGNED].arrays["landmarks"]), "photo"
        raise NoFaceFound(
            "no face is found in the generator's picture of the person, so no face model can be fitted",
            hint="--set mode=latent needs none; more steps may help",
        ) from None


def fit_overlay(small: Image, wanted: Floats, found: Floats) -> Image:
    """The picture with where landmarks are (green) and where the face model has them (red)."""
    shown = cv2.resize(small, (448, 448), interpolation=cv2.INTER_CUBIC)
    for points, colour in ((wanted, (0, 255, 0)), (found, (255, 0, 0))):
        for x, y in points * 2:
            cv2.circle(shown, (round(float(x)), round(float(y))), 2, colour, -1, cv2.LINE_AA)
    return np.asarray(shown, np.uint8)


def anchor_stage(wanted: Wanted, inputs: StageInputs) -> Feature:
    import torch

    from personare.engines.nerffacespeech.face_model import nearest
    from personare.engines.nerffacespeech.networks import rays

    front, coefficients = inputs.features[FRONT].arrays, inputs.features[FIT].arrays["coefficients"]
    with wanted.networks.generator() as generator, wanted.networks.face_model() as model:
        config = generator.config
        references = np.concatenate([model.references(coefficients[None])[0], front["torso"]])
        place, ahead = rays.rays(config, rays.cameras(torch.zeros(1, 3)))
        indices = []
        for samples in (rays.even_samples(config).numpy(), front["fine"]):
            depth = rays.depths(config, torch.from_numpy(np.array(samples)).expand(len(ahead[0]), -1))
            points = (place[:, :, None] + depth[None, ..., None] * ahead[:, :, None]).flatten(1, 2)
            indices.append(nearest(points[0, :, 1:].numpy(), references))
    arrays = {"references": references.astype(np.float32), "coarse": indices[0], "fine": indices[1]}
    return Feature(arrays)
