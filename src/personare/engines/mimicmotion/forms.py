"""What mimicmotion's features of a picture have to look like if they come from a remote or an
archive (see cache/form.py). Those of guides and clips are never taken from others.
"""

from __future__ import annotations

from personare.cache.form import Array, Form
from personare.cache.recipe import StageInputs
from personare.engines.mimicmotion.names import PICTURE
from personare.engines.mimicmotion.pictures import canvas_size
from personare.media.image import read_image
from personare.perception.whole_body.people import MOST_PEOPLE
from personare.types import Feature

_LARGEST = 1e5


def picture(inputs: StageInputs) -> Form:
    """The picture at the size of the clip."""
    size = canvas_size(read_image(inputs.portrait).shape[:2], int(inputs.parameters["resolution"]))
    return Form({"picture": Array("uint8", (*size, 3), 0, 255)})


def picture_points(inputs: StageInputs) -> Form:
    """Some people in it."""
    height, width = inputs.features[PICTURE].arrays["picture"].shape[:2]
    reach = 4.0 * max(height, width)

    def agrees(feature: Feature) -> bool:
        return int(feature.arrays["counts"][0]) == len(feature.arrays["boxes"])  # at most MOST_PEOPLE

    return Form(
        {
            "counts": Array("int32", (1,), 1, MOST_PEOPLE),
            "boxes": Array("float64", ("people", 4), -reach, reach),
            "bins": Array("int16", ("people", 133, 2), -1, 767),
            "scores": Array("float32", ("people", 133), -_LARGEST, _LARGEST),
        },
        agrees=agrees,
    )


def embedding(_: StageInputs) -> Form:
    """One word."""
    return Form({"embedding": Array("float32", (1, 1, "width"), -_LARGEST, _LARGEST)}, longest=5000)


def latent(inputs: StageInputs) -> Form:
    """An eighth of the picture."""
    height, width = inputs.features[PICTURE].arrays["picture"].shape[:2]
    return Form({"latent": Array("float32", (4, height // 8, width // 8), -_LARGEST, _LARGEST)})
