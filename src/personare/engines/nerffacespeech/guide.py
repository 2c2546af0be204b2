"""Guides: how the head of a video, or of pictures in a folder, is held, and what its face does.
Watched once for all portraits.

    nerffacespeech.watched    "angles" float32 [n, 3], "expression" [n, 64], "seen" bool [n]
                                                   (the guide; Deep3DFaceRecon, our detector)
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personare.cache.form import Array, Form, Metadata
from personare.cache.recipe import Recipe, Stage, StageInputs
from personare.engines.nerffacespeech.checkpoints import RECON, Networks
from personare.engines.nerffacespeech.networks.config import ANGLES, EXPRESSION, EXPRESSIONS
from personare.engines.nerffacespeech.photo import recon_input
from personare.errors import NoFaceFound
from personare.perception import NETWORK_SHA256
from personare.perception.face import find_faces
from personare.types import SAMPLE_RATE, Feature, Guide, frame_count

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]
WATCHED = "nerffacespeech.watched"
NETWORKS = ("face_detection_short_range", "face_landmark")


class WatchedFacts(Metadata):
    fps: str
    unseen: int


def recipe(networks: Networks) -> Recipe:
    weights = (*networks.sha256(RECON), *(NETWORK_SHA256[name] for name in NETWORKS))
    stage = Stage(WATCHED, 1, partial(_watched, networks), reads=("guide",), weights=weights, form=_form)
    return Recipe((stage,))


def _form(inputs: StageInputs) -> Form:
    frames = inputs.guide.frames
    arrays = {
        "angles": Array("float32", (frames, 3), -10, 10),
        "expression": Array("float32", (frames, EXPRESSIONS), -1e4, 1e4),
        "seen": Array("bool", (frames,)),
    }
    return Form(arrays, WatchedFacts)


def _watched(networks: Networks, inputs: StageInputs) -> Feature:
    """A picture without a face is held as the one before it; those before the first face as
    that. Raises NoFaceFound if there is none at all.
    """
    import torch

    guide = inputs.guide
    rows, seen = [], []
    with networks.recon() as network, torch.inference_mode():
        for done, picture in enumerate(guide.pictures()):
            inputs.progress("watching the guide", done, guide.frames)
            seen.append(bool(find_faces(picture)))
            if seen[-1]:
                given = torch.from_numpy(recon_input(picture))[None].to(networks.device)
                rows.append(network(given)[0].cpu().numpy())
    if not rows:
        raise NoFaceFound(
            f"{guide.name}: no face in any picture of the guide",
            hint="give a guide that shows one person who looks towards the camera",
        )
    last = np.maximum(np.cumsum(seen) - 1, 0)
    held = np.stack(rows)[last].astype(np.float32)
    arrays = {
        "angles": np.ascontiguousarray(held[:, ANGLES]),
        "expression": np.ascontiguousarray(held[:, EXPRESSION]),
        "seen": np.array(seen, np.bool_),
    }
    return Feature(arrays, {"fps": str(guide.fps), "unseen": len(seen) - sum(seen)})


class GuideMotion:
    """What a guide shows, at a clip's rate: frame i shows the picture at its time, and the last
    one when there are no more.
    """

    def __init__(self, watched: Feature, fps: Fraction) -> None:
        self._angles = np.asarray(watched.arrays["angles"], np.float32)
        self._expressions = np.asarray(watched.arrays["expression"], np.float32)
        self._step = Fraction(watched.metadata["fps"]) / fps
        seconds = len(self._angles) / Fraction(watched.metadata["fps"])
        self.frames = max(1, frame_count(int(seconds * SAMPLE_RATE), fps))  # as long as its sound

    def cameras(self, first: int, count: int) -> Tensor:
        """[count, 4, 4]"""
        import torch

        from personare.engines.nerffacespeech.networks.rays import cameras

        return cameras(torch.from_numpy(self._angles[self._rows(first, count)]))

    def expressions(self, size: int) -> Iterator[Floats]:
        """All of them [64], `size` at a time: not exaggerated, as published."""
        for first in range(0, self.frames, size):
            yield self._expressions[self._rows(first, min(size, self.frames - first))]

    def _rows(self, first: int, count: int) -> NDArray[np.intp]:
        places = [int(frame * self._step) for frame in range(first, first + count)]
        return np.minimum(np.array(places, np.intp), len(self._angles) - 1)


def watched_digest(guide: Guide) -> str:
    """Names a guide's content, for the names of finished clips."""
    from personare.cache.keys import guide_digest
    from personare.weights.digests import remembered_sha256

    return guide_digest(guide, lambda path: remembered_sha256(Path(path)))
