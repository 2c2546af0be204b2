"""What float's features have to look like if they come from a remote or an archive (see
cache/form.py): a box within the picture, its square, and maps of the checkpoint's own sizes.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from personare.cache.form import Array, Form, Metadata
from personare.cache.recipe import StageInputs
from personare.engines.float.networks.config import FloatConfig
from personare.media.image import read_image
from personare.types import Feature

FACE = "float.face"
LARGEST_MAP = 1e5

Side = Annotated[int, Field(ge=1, le=1_000_000)]
Place = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]


class PictureFacts(Metadata):
    height: Side
    width: Side


class FaceFacts(Metadata):
    faces: Annotated[int, Field(ge=1, le=1000)] = 1


class SquareFacts(PictureFacts):
    x: Place
    y: Place
    side: Side


def face(inputs: StageInputs) -> Form:
    """A box no larger than the picture, its middle inside."""
    height, width = read_image(inputs.portrait).shape[:2]

    def agrees(feature: Feature) -> bool:
        x0, y0, x1, y1 = (int(value) for value in feature.arrays["box"])
        is_box = 0 < x1 - x0 <= 1.2 * width and 0 < y1 - y0 <= 1.2 * height
        return bool(is_box and 0 <= x0 + x1 <= 2 * width and 0 <= y0 + y1 <= 2 * height)

    reach = 2.0 * max(height, width)
    return Form({"box": Array("int32", (4,), -reach, reach)}, FaceFacts, agrees=agrees)


def crop(inputs: StageInputs, square: tuple[int, int, int] | None) -> Form:
    """The picture at the networks' size. square: (x, y, side) of what was cut out, None for the
    whole picture.
    """
    side = int(inputs.parameters["side"])
    height, width = read_image(inputs.portrait).shape[:2]
    facts = {"height": height, "width": width}
    if square is not None:
        facts |= dict(zip(("x", "y", "side"), square, strict=True))
    return Form(
        {"picture": Array("uint8", (side, side, 3), 0, 255)},
        PictureFacts if square is None else SquareFacts,
        agrees=lambda feature: dict(feature.metadata) == facts,
    )


def appearance(sizes: FloatConfig) -> Form:
    """Codes and skip features of the checkpoint's own sizes."""
    arrays = {"appearance": (sizes.width,), "coefficients": (sizes.motions,), "reference": (sizes.width,)}
    maps = {f"feature{level}": (sizes.channels[side], side, side) for level, side in enumerate(sizes.sides)}
    return Form(
        {
            name: Array("float32", shape, -LARGEST_MAP, LARGEST_MAP)
            for name, shape in {**arrays, **maps}.items()
        }
    )


def reach(sizes: FloatConfig) -> Form:
    """The mouth's share of the motion basis, and the basis."""
    return Form(
        {
            "share": Array("float32", (sizes.motions, sizes.motions)),
            "basis": Array("float32", (sizes.width, sizes.motions)),
        }
    )


def voice(frames: int, width: int) -> Form:
    """What each frame hears."""
    return Form({"voice": Array("float32", (frames, width), -LARGEST_MAP, LARGEST_MAP)})


def scores(emotions: int) -> Form:
    """Probabilities."""
    return Form(
        {"scores": Array("float32", (emotions,), 0, 1.001)},
        agrees=lambda feature: abs(float(np.sum(feature.arrays["scores"])) - 1) < 0.01,
    )
