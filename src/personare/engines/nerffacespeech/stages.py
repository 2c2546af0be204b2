"""The names of the wing's stages, and what a recipe is made for."""

from __future__ import annotations

from dataclasses import dataclass

from personare.engines.nerffacespeech.checkpoints import Mode, Networks
from personare.engines.nerffacespeech.options import NerfOptions

ALIGNED, POSE = "nerffacespeech.aligned", "nerffacespeech.pose"
PROJECTION, TUNING = "nerffacespeech.projection", "nerffacespeech.tuning"
FRONT, FIT, ANCHOR = "nerffacespeech.front", "nerffacespeech.fit", "nerffacespeech.anchor"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options, with what "auto" means here, and the networks."""

    options: NerfOptions
    mode: Mode
    networks: Networks
