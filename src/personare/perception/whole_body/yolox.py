"""YOLOX (Ge et al. 2021) as the released yolox_l.onnx has it: where people are in a picture.

The network sees 640 x 640 pixels, in the order red, green, blue and in 0 .. 255, and answers
with 8400 rows of 85: a box, whether anything is there, and 80 classes, of which people are the
first.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image

Doubles = NDArray[np.float64]

SIDE = 640
STRIDES = (8, 16, 32)
MIN_SCORE = 0.3
"""Of a person that counts."""
_CANDIDATE_SCORE = 0.1
_OVERLAP = 0.45
_FIELD = 114
"""Grey beside the picture."""


def letterbox(picture: Image) -> tuple[NDArray[np.float32], float]:
    """The network's input float32 [3, 640, 640], and how much smaller it shows the picture."""
    height, width = picture.shape[:2]
    ratio = min(SIDE / height, SIDE / width)
    small = (int(width * ratio), int(height * ratio))
    field = np.full((SIDE, SIDE, 3), _FIELD, np.uint8)
    field[: small[1], : small[0]] = cv2.resize(picture, small, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(field.transpose(2, 0, 1), dtype=np.float32), ratio


def people_of(head: NDArray[np.float32], ratio: float) -> Doubles:
    """Boxes of people float64 [p, 4] x0 y0 x1 y1 in px of the picture, the surest first; [0, 4]
    if there are none.

    head: [8400, 85] as the network gives it.
    """
    grid, stride = _grid()
    centres = (head[:, :2] + grid) * stride
    sizes = np.exp(head[:, 2:4]) * stride
    corners = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1).astype(np.float64) / ratio
    scores = head[:, 4] * head[:, 5]
    chosen = scores > _CANDIDATE_SCORE
    boxes, sure = corners[chosen], scores[chosen]
    kept = surviving(boxes, sure)
    return boxes[[i for i in kept if sure[i] > MIN_SCORE]]


def surviving(boxes: Doubles, scores: NDArray[Any]) -> list[int]:
    """Indices of boxes that no better one covers, the best first. A pixel's border counts as
    one more, as published.
    """
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    left = scores.argsort()[::-1]
    kept = []
    while len(left):
        best, rest = left[0], left[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.maximum(0.0, high - low + 1).prod(axis=1)
        left = rest[shared / (areas[best] + areas[rest] - shared) <= _OVERLAP]
    return kept


def find_people(session: Any, picture: Image) -> Doubles:
    """Boxes of people in a picture, see `people_of`. session: of the ONNX file."""
    shown, ratio = letterbox(picture)
    (head,) = session.run(None, {session.get_inputs()[0].name: shown[None]})
    return people_of(np.asarray(head[0], np.float32), ratio)


def _grid() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Places [8400, 2] and strides [8400, 1] of the rows, x fastest."""
    places, strides = [], []
    for stride in STRIDES:
        cells = SIDE // stride
        y, x = np.mgrid[:cells, :cells]
        places.append(np.stack([x, y], axis=-1).reshape(-1, 2))
        strides.append(np.full((cells * cells, 1), stride))
    return np.concatenate(places).astype(np.float32), np.concatenate(strides).astype(np.float32)
