"""What musetalk's features have to look like if they come from a remote or an archive (see
cache/form.py): a row for every frame of the template, boxes within its pictures, masks within
their squares.
"""

from __future__ import annotations

import zlib
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from personare.cache.form import Array, Form, Metadata
from personare.cache.recipe import StageInputs
from personare.engines.musetalk.template.masks import PARSED_PX, square_around
from personare.media.template import Template
from personare.types import Feature

POINTS, TRACK, BOXES, LABELS = "musetalk.points", "musetalk.track", "musetalk.boxes", "musetalk.labels"
LATENT_PX = 32
LARGEST_LATENT = 1e4
MOST_PACKED_BYTES = 1 << 31

Count = Annotated[int, Field(ge=1, le=10_000_000)]
Shift = Annotated[int, Field(ge=-100_000, le=100_000)]


class TemplateFacts(Metadata):
    height: Count
    width: Count
    fps: str
    frames: Count
    faces: Annotated[int, Field(ge=1, le=1000)] = 1


class BoxFacts(TemplateFacts):
    bbox_shift_from: Shift
    bbox_shift_to: Shift


class LabelFacts(Metadata):
    expand: Annotated[float, Field(ge=1, le=4)]


def about(template: Template) -> dict[str, Any]:
    """What features of a template say of it."""
    return {
        "height": template.size[0],
        "width": template.size[1],
        "fps": str(template.fps),
        "frames": template.frames,
    }


def points(inputs: StageInputs) -> Form:
    """68 points and the detector's box of every frame."""
    template = Template(inputs.portrait)
    n, reach = template.frames, 4.0 * max(template.size)
    return Form(
        {
            "points": Array("float64", (n, 68, 2), -reach, reach),
            "detected": Array("int32", (n, 4), -reach, reach),
            "found": Array("bool", (n,)),
        },
        TemplateFacts,
        agrees=lambda feature: about(template).items() <= dict(feature.metadata).items(),
    )


def track(inputs: StageInputs) -> Form:
    """468 points of every frame."""
    template = Template(inputs.portrait)
    n, reach = template.frames, 4.0 * max(template.size)
    return Form(
        {"landmarks": Array("float32", (n, 468, 3), -reach, reach), "present": Array("bool", (n,))},
        TemplateFacts,
        agrees=lambda feature: about(template).items() <= dict(feature.metadata).items(),
    )


def boxes(inputs: StageInputs) -> Form:
    """A box within the picture for every frame that has one."""
    seen = next(iter(inputs.features.values()))
    height, width, n = (int(seen.metadata[name]) for name in ("height", "width", "frames"))

    def agrees(feature: Feature) -> bool:
        present = feature.arrays["present"]
        x0, y0, x1, y1 = feature.arrays["boxes"][present].T
        is_same = all(feature.metadata[name] == value for name, value in seen.metadata.items())
        is_inside = (x0 >= 0) & (x0 < x1) & (x1 <= width) & (y0 >= 0) & (y0 < y1) & (y1 <= height)
        return is_same and bool(present.any()) and bool(is_inside.all())

    return Form({"boxes": Array("int32", (n, 4)), "present": Array("bool", (n,))}, BoxFacts, agrees=agrees)


def latents(inputs: StageInputs) -> Form:
    """Latents of every frame."""
    n = len(inputs.features[BOXES].arrays["present"])
    shape = (n, 8, LATENT_PX, LATENT_PX)
    return Form({"latents": Array("float32", shape, -LARGEST_LATENT, LARGEST_LATENT)})


def labels(inputs: StageInputs) -> Form:
    """Labels of PARSED_PX squares, packed, a row for each face."""
    faces = int(inputs.features[BOXES].arrays["present"].sum())
    expand = inputs.parameters["expand"]
    return Form(
        _packed(faces),
        LabelFacts,
        longest=MOST_PACKED_BYTES,
        agrees=lambda feature: (
            feature.metadata["expand"] == expand
            and bool((feature.arrays["sizes"] == PARSED_PX).all())
            and _unpacks(feature.arrays)
        ),
    )


def masks(inputs: StageInputs) -> Form:
    """Masks, packed, a row for each face, each within the square around its box."""
    around = inputs.features[BOXES].arrays
    expand = float(inputs.features[LABELS].metadata["expand"])
    squares = np.array(
        [square_around(box.tolist(), expand) for box in around["boxes"][around["present"]]], np.int64
    ).reshape(-1, 4)

    def agrees(feature: Feature) -> bool:
        corners, sizes = feature.arrays["corners"], feature.arrays["sizes"]
        ends = corners + sizes[:, ::-1]
        is_inside = (corners >= squares[:, :2]).all() and (ends <= squares[:, 2:]).all()
        return bool(is_inside) and _unpacks(feature.arrays)

    return Form(
        {**_packed(len(squares)), "corners": Array("int32", (len(squares), 2))},
        longest=MOST_PACKED_BYTES,
        agrees=agrees,
    )


def _packed(rows: int) -> dict[str, Array]:
    """What `packing.packed` makes of so many pictures."""
    return {
        "bytes": Array("uint8", ("bytes",), 0, 255),
        "ends": Array("int64", (rows,), 0, MOST_PACKED_BYTES),
        "sizes": Array("int32", (rows, 2), 1, 100_000),
    }


def _unpacks(arrays: Any) -> bool:
    """Whether each row unpacks to as many bytes as its size says, and never to more."""
    ends, data = arrays["ends"], arrays["bytes"]
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    if not len(ends) or (ends < starts).any() or ends[-1] != len(data):
        return not len(ends) and not len(data)
    return all(
        _bytes_of(data[start:end], height * width)
        for start, end, (height, width) in zip(
            starts.tolist(), ends.tolist(), arrays["sizes"].tolist(), strict=True
        )
    )


def _bytes_of(packed: NDArray[np.uint8], expected: int) -> bool:
    stream = zlib.decompressobj()
    try:
        found = len(stream.decompress(packed.tobytes(), expected + 1))
    except zlib.error:
        return False
    return found == expected and stream.eof and not stream.unused_data
