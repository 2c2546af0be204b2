"""A person becomes Gaussians, once.

artalk.tracked   "picture" float32 [3, S, S] of the person on black, the "camera" [3, 4] that saw
                 it, "shape" [300]               (a tracked.pt, or our tracker on a photo)
artalk.avatar    "covariances" float32 [n, 6], "opacities" [n], "features" [n, 32], those of the
                 head's vertices first; "sheets" [m, 3], where all others are; "camera" and
                 "shape" of the person                               (GAGAvatar.pt)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from personare.cache.form import Array, Form
from personare.cache.recipe import Recipe, Stage, StageInputs
from personare.engines.artalk.options import ArTalkOptions
from personare.engines.artalk.tracked import Tracked, is_tracked, read_tracked
from personare.engines.portrait import chosen, face_parameter
from personare.errors import InvalidOption
from personare.heads.flame import SHAPES, VERTICES, Flame, flame_file
from personare.media.local import shown
from personare.types import Feature
from personare.weights.finder import Weights

if TYPE_CHECKING:
    from personare.engines.artalk.networks.gaussians import AvatarNetworks
    from personare.weights.resident import Lease

TRACKED, AVATAR = "artalk.tracked", "artalk.avatar"
CHANNELS = 32


def recipe(
    lease: Callable[[], Lease[AvatarNetworks]], digest: str, options: ArTalkOptions, weights: Weights
) -> Recipe:
    """Both stages. lease: of the networks, when they are needed. digest: of their file.

    Raises LicenceNotAccepted where there is no FLAME head.
    """
    return Recipe((_tracked_stage(options, weights), _avatar_stage(lease, digest)))


def _tracked_stage(options: ArTalkOptions, weights: Weights) -> Stage:
    from personare.engines.artalk.track import NETWORKS, track_photo

    head = flame_file(weights)

    def tracked(inputs: StageInputs) -> Feature:
        if is_tracked(inputs.portrait):
            person = read_tracked(inputs.portrait, inputs.parameters["person"])
        elif inputs.parameters["person"] is not None:
            raise InvalidOption(
                f"{shown(inputs.portrait)} is a photo, which holds no person {inputs.parameters['person']!r}",
                hint="person chooses from a tracked.pt; leave it out, or choose a face with face=left",
            )
        else:
            person, _ = track_photo(inputs.portrait, Flame.read(head), chosen(inputs.parameters))
        return Feature({"picture": person.picture, "camera": person.camera, "shape": person.shape})

    form = Form(
        {
            "picture": Array("float32", (3, "side", "side"), 0, 1),
            "camera": Array("float32", (3, 4)),
            "shape": Array("float32", (SHAPES,)),
        }
    )
    return Stage(
        TRACKED,
        1,
        tracked,
        {"person": options.person, **face_parameter(options.face)},
        reads=("portrait",),
        weights=(weights.sha256("flame"), *NETWORKS),
        form=lambda _: form,
    )


def _avatar_stage(lease: Callable[[], Lease[AvatarNetworks]], digest: str) -> Stage:
    def avatar(inputs: StageInputs) -> Feature:
        arrays = inputs.features[TRACKED].arrays
        person = Tracked(*(np.array(arrays[name], np.float32) for name in ("picture", "camera", "shape")))
        with lease() as networks:
            return made_avatar(networks, person)

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
    return Stage(AVATAR, 1, avatar, needs=(TRACKED,), weights=(digest,), form=lambda _: form)


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
