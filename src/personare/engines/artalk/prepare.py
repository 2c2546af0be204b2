"""A tracked person becomes Gaussians, once.

artalk.avatar    "covariances" float32 [n, 6], "opacities" [n], "features" [n, 32], those of the
                 head's vertices first; "sheets" [m, 3], where all others are; "camera" [3, 4]
                 and
                 "shape" [300] of the person                               (GAGAvatar.pt)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from personare.cache.form import Array, Form
from personare.cache.recipe import Recipe, Stage, StageInputs
from personare.engines.artalk.tracked import Tracked, read_tracked
from personare.heads.flame import SHAPES, VERTICES
from personare.types import Feature

if TYPE_CHECKING:
    from personare.engines.artalk.networks.gaussians import AvatarNetworks
    from personare.weights.resident import Lease

AVATAR = "artalk.avatar"
CHANNELS = 32


def recipe(
    lease: Callable[[], Lease[AvatarNetworks]], weights: tuple[str, ...], person: str | None
) -> Recipe:
    """The one stage. lease: of the networks, when they are needed."""

    def avatar(inputs: StageInputs) -> Feature:
        tracked = read_tracked(inputs.portrait, person)
        with lease() as networks:
            return made_avatar(networks, tracked)

    form = Form(
        {
            "covariances": Array("float32", ("n", 6)),
            "opacities": Array("float32", ("n",), 0, 1),
            "features": Array("float32", ("n", CHANNELS)),
            "sheets": Array("float32", ("m", 3)),
            "camera": Array("float32", (3, 4)),
            "shape": Array("float32", (SHAPES,)),
        },
        agrees=lambda feature: len(feature.arrays["opacities"]) == VERTICES + len(feature.arrays["sheets"]),
    )
    parameters = {"person": person}
    return Recipe(
        (Stage(AVATAR, 1, avatar, parameters, reads=("portrait",), weights=weights, form=lambda _: form),)
    )


def made_avatar(networks: AvatarNetworks, person: Tracked) -> Feature:
    """The Gaussians of a person, all that does not move."""
    import torch

    from personare.heads.splat import covariances

    with torch.inference_mode():
        device = networks.head_base.device
        picture = torch.from_numpy(person.picture)[None].to(device)
        sheet, places = networks.gaussians(picture, torch.from_numpy(person.camera).to(device))
        extents = covariances(sheet.scales[0], sheet.rotations[0])
    arrays = {
        "covariances": extents,
        "opacities": sheet.opacities[0, :, 0],
        "features": sheet.colours[0],
        "sheets": places,
    }
    made = {name: np.array(values.cpu().numpy(), np.float32) for name, values in arrays.items()}
    return Feature({**made, "camera": person.camera, "shape": person.shape})
