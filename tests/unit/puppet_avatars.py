"""Avatars and face states for the tests of the puppet's picture."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np

from personare.cache.recipe import StageInputs
from personare.engines.puppet.options import PuppetOptions
from personare.engines.puppet.prepare import recipe
from personare.motion import UNIT, FaceState
from personare.types import Feature

PORTRAIT = Path(str(files("personare") / "assets" / "portrait.jpg"))
"""A smiling woman, teeth showing."""


def prepare(portrait: Path = PORTRAIT, **options: object) -> dict[str, Feature]:
    """The features of an avatar. Those of the bundled portrait are computed once for all tests."""
    if portrait == PORTRAIT:
        return dict(_prepared_once(**options))
    return prepare_anew(portrait, **options)


@cache
def _prepared_once(**options: object) -> dict[str, Feature]:
    return prepare_anew(**options)


def prepare_anew(portrait: Path = PORTRAIT, **options: object) -> dict[str, Feature]:
    features: dict[str, Feature] = {}
    for stage in recipe(PuppetOptions(**options)).stages:
        needed = {name: features[name] for name in stage.needs}
        features[stage.name] = stage.compute(StageInputs(stage.parameters, needed, {"portrait": portrait}))
    return features


def write_picture(path: Path, picture: np.ndarray) -> Path:
    quality = [
        cv2.IMWRITE_JPEG_QUALITY,
        97,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    assert cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
    return path


def face_state(
    units: Mapping[str, float] | None = None,
    head: tuple[float, float, float] = (0.0, 0.0, 0.0),
    shift: tuple[float, float] = (0.0, 0.0),
    gaze: tuple[float, float] = (0.0, 0.0),
    tongue: float = 0.0,
) -> FaceState:
    """A state from unit names; a name without its side sets both sides."""
    curves = np.zeros(len(UNIT), np.float32)
    for name, value in (units or {}).items():
        for full_name in [name] if name in UNIT else [name + "Left", name + "Right"]:
            curves[UNIT[full_name]] = value
    return FaceState(curves, tongue, head, shift, gaze)


PP = {"mouthPress": 0.25, "mouthRollLower": 0.15, "mouthRollUpper": 0.10}
AA = {"jawOpen": 0.42, "mouthLowerDown": 0.15, "mouthUpperUp": 0.12}
BLINK = {"eyeBlink": 1.0}
