"""The recipe: what is computed once per picture, once per guide and once per pair.

mimicmotion.picture        the picture at the size of the clip   (the portrait; resolution)
mimicmotion.picture_points    the people in it                      (the picture; detector, pose)
mimicmotion.embedding      CLIP's word for it                    (the picture; image encoder)
mimicmotion.latent         its latent                            (the picture; autoencoder)
mimicmotion.guide_points   the people in the guide               (the guide; detector, pose)
mimicmotion.poses          the guide's skeletons on the picture  (all points; alignment)
mimicmotion.sampled        the latents of the clip               (all; UNet and PoseNet)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.cache.recipe import Recipe, Stage, StageInputs
from personare.engines.mimicmotion import drive, forms
from personare.engines.mimicmotion.motion import picture_noise
from personare.engines.mimicmotion.names import EMBEDDING, LATENT, PICTURE, PICTURE_POINTS
from personare.engines.mimicmotion.options import MimicMotionOptions
from personare.engines.mimicmotion.pictures import (
    as_input,
    clip_normalised,
    clip_picture,
    cropped,
    published_levels,
)
from personare.engines.mimicmotion.pose.records import packed
from personare.engines.portrait import background_parameter, picture_of
from personare.errors import NoPersonFound
from personare.perception.whole_body.people import People, see_people
from personare.types import Feature, Image

if TYPE_CHECKING:
    from personare.engines.mimicmotion.drive import Watcher
    from personare.engines.mimicmotion.sampling import Dream

Floats = NDArray[np.float32]

KEPT_FORMAT = "float32"
"""What features of the picture are computed in, whatever samples: once per picture, and every
frame hangs on them.
"""


@dataclass(frozen=True, slots=True)
class Sight:
    """The networks that look, leased while a stage needs them, and what names them in keys.

    encoder: CLIP's. vae: the whole autoencoder.
    """

    watcher: Callable[[], AbstractContextManager[Watcher]]
    encoder: Callable[[], AbstractContextManager[Any]]
    vae: Callable[[], AbstractContextManager[Any]]
    watcher_sha256: tuple[str, ...]
    encoder_sha256: tuple[str, ...]
    vae_sha256: tuple[str, ...]


def recipe(sight: Sight, dream: Dream, options: MimicMotionOptions) -> Recipe:
    """All stages of a run, of the portrait, the guide and both."""
    background = background_parameter(options.background)
    rounding = {"published_rounding": True} if options.published_rounding else {}
    noise: dict[str, Any] = {}
    if options.noise_aug_strength > 0:
        noise = {"noise_aug_strength": options.noise_aug_strength, "seed": options.seed}
    size = {"resolution": options.resolution}
    return Recipe(
        (
            Stage(PICTURE, 1, _picture, size | background, reads=("portrait",), form=forms.picture),
            Stage(
                PICTURE_POINTS,
                1,
                partial(_picture_points, sight),
                needs=(PICTURE,),
                weights=sight.watcher_sha256,
                form=forms.picture_points,
            ),
            Stage(
                EMBEDDING,
                1,
                partial(_embedding, sight),
                rounding,
                needs=(PICTURE,),
                weights=sight.encoder_sha256,
                form=forms.embedding,
                numeric_format=KEPT_FORMAT,
            ),
            Stage(
                LATENT,
                1,
                partial(_latent, sight),
                rounding | noise,
                needs=(PICTURE,),
                weights=sight.vae_sha256,
                form=forms.latent,
                numeric_format=KEPT_FORMAT,
            ),
            drive.guide_stage(sight.watcher, sight.watcher_sha256, options),
            drive.poses_stage(options),
            dream.stage(options),
        )
    )


def _picture(inputs: StageInputs) -> Feature:
    return Feature({"picture": cropped(picture_of(inputs), int(inputs.parameters["resolution"]))})


def _picture_points(sight: Sight, inputs: StageInputs) -> Feature:
    with sight.watcher() as watcher:
        people = see_people(inputs.features[PICTURE].arrays["picture"], watcher.detector, watcher.pose)
    if not len(people):
        raise NoPersonFound(
            "no person was found in the picture",
            hint="use a sharp, well-lit picture of one person, at least from the waist up",
        )
    return packed([people], {})


def _embedding(sight: Sight, inputs: StageInputs) -> Feature:
    with sight.encoder() as encoder:
        return Feature({"embedding": embedding(encoder, _levels(inputs))})


def _latent(sight: Sight, inputs: StageInputs) -> Feature:
    strength = float(inputs.parameters.get("noise_aug_strength", 0.0))
    seed = int(inputs.parameters.get("seed", 0))
    with sight.vae() as vae:
        return Feature({"latent": latent(vae, _levels(inputs), strength, seed)})


def _levels(inputs: StageInputs) -> Image:
    """The picture as the networks are to see it."""
    picture: Image = inputs.features[PICTURE].arrays["picture"]
    if not inputs.parameters.get("published_rounding"):
        return picture
    import torch

    return published_levels(torch.float16)[picture]


def embedding(encoder: Any, picture: Image) -> Floats:
    """What CLIP says of a picture uint8 [H, W, 3]: float32 [1, 1, D]."""
    import torch

    weight = next(encoder.parameters(), torch.zeros(1))
    with torch.inference_mode():
        shown = clip_normalised(clip_picture(picture)).to(weight.device, weight.dtype)
        made = encoder(shown).image_embeds
    return np.asarray(made[:, None].float().cpu().numpy(), np.float32)


def latent(vae: Any, picture: Image, strength: float = 0.0, seed: int = 0) -> Floats:
    """A picture uint8 [H, W, 3] as a latent float32 [4, H/8, W/8], not scaled. strength: of the
    noise that is laid over it, drawn with the seed.
    """
    import torch

    weight = next(vae.parameters(), torch.zeros(1))
    shown = as_input(picture)
    if strength > 0:
        noise = picture_noise(torch.Generator().manual_seed(seed), (shown.shape[2], shown.shape[3]))
        shown = shown + strength * noise
    with torch.inference_mode():
        made = vae.encode(shown.to(weight.device, weight.dtype)).latent_dist.mode()
    return np.asarray(made[0].float().cpu().numpy(), np.float32)


def people_in(feature: Feature) -> People:
    """The people of the picture."""
    from personare.engines.mimicmotion.pose.records import unpacked

    return unpacked(feature)[0]
