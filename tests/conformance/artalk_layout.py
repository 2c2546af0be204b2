"""artalk: the files of its released checkpoints, as its users have them on disk."""

from __future__ import annotations

from functools import cache

import numpy as np

from tests.conformance.case import HERE, Arrays, read_golden
from tests.conformance.flame_faces import write_face
from tests.conformance.seeded_checkpoint import Released

CONSTANTS = HERE / "artalk" / "released" / "constants.npz"


@cache
def constants() -> Arrays:
    """What a checkpoint holds beside its weights: how motion is normalised."""
    values = read_golden(CONSTANTS)
    return {
        f"{part}.{name}": np.asarray(values[name], np.float32)
        for part in ("basic_vae", "style_encoder")
        for name in ("motion_mean", "motion_std")
    }


LAYOUT = (
    Released(
        "artalk",
        "artalk",
        "artalk/ARTalk_wav2vec.pt",
        config="artalk/config.json",
        constants=constants,
    ),
    Released(
        "gagavatar",
        "gagavatar",
        "gagavatar/GAGAvatar.pt",
        config="gagavatar/GAGAvatar.json",
        wrapped_in="model",
    ),
    Released("flame", "", "flame/FLAME_with_eye.pt", writer=write_face),
)
