"""The recipe: what is computed once per portrait and kept.

lamp.picture    the photo at the size of the clip    (the portrait; size)
"""

from __future__ import annotations

import cv2

from personare.cache.recipe import Recipe, Stage, StageInputs
from personare.media.image import read_image
from personare.types import Feature
from personare_lamp.options import LampOptions

PICTURE = "lamp.picture"


def recipe(options: LampOptions) -> Recipe:
    """A stage declares what it reads: that, and nothing else, is in the key of its feature."""
    return Recipe((Stage(PICTURE, 1, _picture, {"size": options.size}, reads=("portrait",)),))


def _picture(inputs: StageInputs) -> Feature:
    picture = read_image(inputs.portrait)
    scale = inputs.parameters["size"] / max(picture.shape[:2])
    height, width = (2 * max(1, round(side * scale / 2)) for side in picture.shape[:2])  # H.264 wants even
    return Feature({"picture": cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)})
