"""The recipe: what is computed once per portrait, the cheapest first.

nerffacespeech.aligned      the square around the face            (the picture)
nerffacespeech.pose         how the head is held                  (the square; Deep3DFaceRecon)
nerffacespeech.projection   the styles most like it               (square, pose; generator, VGG-16)
nerffacespeech.tuning       the generator, tuned to it            (the same; AlexNet)
nerffacespeech.front        what is seen from the front           (the two before)
nerffacespeech.fit          the face model's coefficients         (front; BFM; mode=deform)
nerffacespeech.anchor       the nearest vertex of every sample    (front, fit; mode=deform)

Projection, tuning and fit are stages of minutes: killed, they go on where they were.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.cache.recipe import Recipe, Stage, StageInputs
from personare.engines.nerffacespeech import forms, front, persons, photo, taken_over
from personare.engines.nerffacespeech.checkpoints import (
    FACE_MODEL,
    GENERATOR,
    LIKENESS,
    PARSER,
    RECON,
)
from personare.engines.nerffacespeech.photo import LANDMARK_NETWORKS
from personare.engines.nerffacespeech.stages import (
    ALIGNED,
    ANCHOR,
    FIT,
    FRONT,
    POSE,
    PROJECTION,
    TUNING,
    Wanted,
)
from personare.engines.portrait import background_parameter, face_parameter
from personare.perception import NETWORK_SHA256
from personare.types import Feature

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float32]


def recipe(wanted: Wanted) -> Recipe:
    """The stages for these options. Raises UnreadableMedia for a folder to take over that is
    not whole.
    """
    options, sha256 = wanted.options, wanted.networks.sha256
    made_up = options.look == "seed"
    folder = None if made_up else options.take_over
    before = _made_up(wanted) if made_up else _of_the_photo(wanted, folder)
    kept = (PROJECTION,) if made_up else (PROJECTION, TUNING)
    deform = wanted.mode == "deform"
    seen = Stage(
        FRONT,
        1,
        partial(front.front_stage, wanted),
        {"torso": deform},
        kept,
        weights=sha256(GENERATOR, *([PARSER] if deform else [])),
        form=lambda _: forms.front(wanted.networks, deform),
        pictures=lambda feature: {"front": feature.arrays["picture"]},
    )
    # Of a person that is made up, how he looks from the front says what his expression is.
    pose = [] if not made_up else [_pose_stage(wanted, (PROJECTION, FRONT), photo.pose_of_the_made_up)]
    return Recipe((*before, seen, *pose, *(_fitted(wanted, folder) if deform else ())))


def _of_the_photo(wanted: Wanted, folder: Path | None) -> list[Stage]:
    options, sha256 = wanted.options, wanted.networks.sha256
    aligned = Stage(
        ALIGNED,
        1,
        partial(photo.aligned, wanted),
        {"aligned": options.aligned}
        | face_parameter(options.face)
        | background_parameter(options.background),
        reads=("portrait",),
        weights=(*sha256(GENERATOR), *(NETWORK_SHA256[name] for name in LANDMARK_NETWORKS)),
        form=lambda _: forms.aligned(wanted.networks),
        pictures=lambda feature: {"aligned": feature.arrays["picture"]},
    )
    stages = [aligned, _pose_stage(wanted, (ALIGNED,), photo.pose)]
    if folder is not None:
        taken = {"take_over": taken_over.digest(folder)}
        return [
            *stages,
            Stage(
                PROJECTION,
                1,
                partial(persons.taken_styles, wanted, folder),
                taken,
                weights=sha256(GENERATOR),
                form=lambda _: forms.projection(wanted.networks),
            ),
            Stage(
                TUNING,
                1,
                partial(persons.taken_generator, wanted, folder),
                taken,
                weights=sha256(GENERATOR),
                form=lambda _: forms.tuning(wanted.networks),
            ),
        ]
    return [
        *stages,
        Stage(
            PROJECTION,
            1,
            partial(persons.projection, wanted),
            {"steps": options.projection_steps, "seed": options.seed},
            (ALIGNED, POSE),
            weights=sha256(GENERATOR, *LIKENESS["vgg"]),
            form=lambda _: forms.projection(wanted.networks),
            cost="minutes",
        ),
        Stage(
            TUNING,
            1,
            partial(persons.tuning, wanted),
            {"steps": options.tuning_steps},
            (ALIGNED, POSE, PROJECTION),
            weights=sha256(GENERATOR, *LIKENESS["alex"]),
            form=lambda _: forms.tuning(wanted.networks),
            cost="minutes",
        ),
    ]


def _made_up(wanted: Wanted) -> list[Stage]:
    return [
        Stage(
            PROJECTION,
            1,
            partial(persons.drawn_styles, wanted),
            {"look": "seed", "seed": wanted.options.seed},
            weights=wanted.networks.sha256(GENERATOR),
            form=lambda _: forms.projection(wanted.networks, camera=True),
        )
    ]


def _pose_stage(
    wanted: Wanted, needs: tuple[str, ...], compute: Callable[[Wanted, StageInputs], Feature]
) -> Stage:
    weights, said = wanted.networks.sha256(RECON), wanted.mode == "latent" and wanted.options.mode == "auto"
    return Stage(
        POSE,
        1,
        partial(compute, wanted),
        {"told": True} if said else {},
        needs,
        weights=weights,
        form=lambda _: forms.pose(),
    )


def _fitted(wanted: Wanted, folder: Path | None) -> list[Stage]:
    options, sha256 = wanted.options, wanted.networks.sha256
    if folder is not None:
        parameters: dict[str, Any] = {"take_over": taken_over.digest(folder)}
        fit = Stage(
            FIT,
            1,
            partial(persons.taken_fit, wanted, folder),
            parameters,
            weights=sha256(GENERATOR),
            form=lambda _: forms.fit(),
        )
    else:
        parameters = {"pose_steps": options.pose_steps, "steps": options.fit_steps}
        needs = (FRONT,) if options.look == "seed" else (ALIGNED, FRONT)
        fit = Stage(
            FIT,
            1,
            partial(front.fit_stage, wanted),
            parameters,
            needs,
            weights=(*sha256(FACE_MODEL), *(NETWORK_SHA256[name] for name in LANDMARK_NETWORKS)),
            form=lambda _: forms.fit(),
            cost="minutes",
        )
    anchor = Stage(
        ANCHOR,
        1,
        partial(front.anchor_stage, wanted),
        needs=(FRONT, FIT),
        weights=sha256(GENERATOR, FACE_MODEL),
        form=lambda _: forms.anchor(wanted.networks),
    )
    return [fit, anchor]
