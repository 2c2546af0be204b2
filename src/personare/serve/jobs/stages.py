"""Stages of a job in words that people read: "puppet.face" is "finding the face"."""

from __future__ import annotations

import re
from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "finding the face": "face points picture_points boxes pose",
    "cutting out the picture": "crop picture aligned",
    "painting what is behind": "plate",
    "building the face": "rig avatar front fit anchor projection tuning style",
    "following the face": "track tracked",
    "reading the looks": "appearance embedding latent latents labels masks reach",
    "watching the guide": "watched guide_points poses",
    "hearing the voice": "voice hear emotion",
    "making the motion": "motion sampled",
}
"""What is done -> the last names of the stages that do it."""
OTHERS = "being prepared"
"""What is done by a stage of somebody's own engine."""
_OF = {stage: words for words, stages in WORDS.items() for stage in stages.split()}


def doing(stage: str) -> str:
    """What is done at a stage; work that is no stage is words already, and stays."""
    name = re.match(r"\w+\.(\w+)", stage)
    return stage if name is None else _OF.get(name[1], OTHERS)
