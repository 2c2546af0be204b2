"""Where the face is that is to speak: from 68 points (iBUG order) to whole-pixel boxes (x0, y0,
x1, y1), half open.

The point in the middle of the nose (29) lies halfway down the box, so that the lower half,
which the network paints, begins there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image

if TYPE_CHECKING:
    from personare.perception.s3fd import S3FD

Box = tuple[int, int, int, int]

SIDE = 256
"""px of the square that the autoencoder sees of a face."""
_S3FD_MEAN = np.array([104.0, 117.0, 123.0], np.float32)
_BRIDGE, _MIDDLE, _TIP = 28, 29, 30

IBUG_ON_MESH = (
    # jaw, from the left of the picture
    127, 234, 93, 132, 58, 172, 150, 148, 152, 377, 379, 397, 288, 361, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    168, 197, 5, 4, 75, 97, 2, 326, 305,  # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,  # lips
)  # fmt: skip
"""Vertex of the 468-point mesh at each of the 68 points."""


def points_of_mesh(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """68 points float64 [68, 2] of a face of 468; those of the nose's bridge at even distances,
    as people annotate them.
    """
    points = landmarks[list(IBUG_ON_MESH), :2].astype(np.float64)
    top, tip = points[27], points[_TIP]
    points[_BRIDGE], points[_MIDDLE] = top + (tip - top) / 3, top + (tip - top) * 2 / 3
    return points


def released_box(points: NDArray[Any], detected: Sequence[int] | None, bbox_shift: int) -> Box | None:
    """The face's box by the released rule, from 68 points and the detector's box; None without
    a detected face.

    Points are cut to whole pixels towards zero. bbox_shift moves the split between the halves,
    down if positive; where that leaves no box, or one that begins left of the picture, the
    detector's counts. Not limited to the picture's right and bottom.
    """
    if detected is None:
        return None
    places = points.astype(np.int32)
    places[_MIDDLE, 1] += bbox_shift
    x0, x1 = int(places[:, 0].min()), int(places[:, 0].max())
    bottom = int(places[:, 1].max())
    split = int(places[_MIDDLE, 1])
    y0 = max(0, split - (bottom - split))
    if bottom - y0 <= 0 or x1 - x0 <= 0 or x0 < 0:
        return int(detected[0]), int(detected[1]), int(detected[2]), int(detected[3])
    return x0, y0, x1, bottom


def smooth_box(points: NDArray[np.float64], bbox_shift: int) -> NDArray[np.float64]:
    """The same rule without rounding, for points that are exact to parts of a pixel: float64
    [4].
    """
    split = points[_MIDDLE, 1] + bbox_shift
    bottom = max(float(points[:, 1].max()), split + 1)
    return np.array([points[:, 0].min(), split - (bottom - split), points[:, 0].max(), bottom])


def shift_range(points: NDArray[Any]) -> tuple[int, int]:
    """How far bbox_shift may go up and down, in px: means over the faces [n, 68, 2] that were
    found; (0, 0) without any.
    """
    if not len(points):
        return 0, 0
    y = points.astype(np.int32)[:, :, 1]
    up, down = y[:, _TIP] - y[:, _MIDDLE], y[:, _MIDDLE] - y[:, _BRIDGE]
    return int(up.mean()), int(down.mean())


def steadied(boxes: NDArray[np.float64], present: NDArray[np.bool_], frames: float) -> NDArray[np.float64]:
    """Boxes [n, 4] averaged over time with a Gaussian of so many frames, within each run of
    frames that have one.
    """
    if frames <= 0:
        return boxes
    result = boxes.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    offsets = np.arange(-math.ceil(3 * frames), math.ceil(3 * frames) + 1)
    weights = np.exp(-0.5 * (offsets / frames) ** 2)
    for start, end in edges.reshape(-1, 2):
        # Mirrored through its end points, a run that drifts keeps its ends and its slope.
        run = (
            np.pad(boxes[start:end], ((len(offsets) // 2,) * 2, (0, 0)), mode="reflect", reflect_type="odd")
            if end - start > 1
            else None
        )
        if run is not None:
            for column in range(4):
                result[start:end, column] = np.convolve(run[:, column], weights / weights.sum(), mode="valid")
    return result


def within(box: Sequence[float], size: tuple[int, int], extra_margin: int) -> Box | None:
    """A box in whole pixels, longer by `extra_margin` below, limited to a picture of (height,
    width); None if nothing is left.
    """
    height, width = size
    x0, y0, x1, y1 = (round(value) for value in box)
    x0, y0, x1, y1 = max(0, x0), max(0, y0), min(x1, width), min(y1 + extra_margin, height)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def face_crop(picture: Image, box: Sequence[int]) -> Image:
    """uint8 [256, 256, 3]: the box's part of the picture, by Lanczos' filter over 8 x 8 pixels."""
    x0, y0, x1, y1 = box
    cut = np.ascontiguousarray(picture[y0:y1, x0:x1])
    return np.asarray(cv2.resize(cut, (SIDE, SIDE), interpolation=cv2.INTER_LANCZOS4), np.uint8)


def s3fd_input(picture: Image) -> NDArray[np.float32]:
    """float32 [3, H, W]: red, green, blue minus the means of blue, green, red. A slip of the
    released program, kept: its boxes come of it.
    """
    return np.ascontiguousarray((picture.astype(np.float32) - _S3FD_MEAN).transpose(2, 0, 1))


def first_face(faces: NDArray[np.float32]) -> Box | None:
    """The best of the detector's faces [n, 5] in whole pixels, not above or left of the
    picture; None without any.
    """
    if not len(faces):
        return None
    x0, y0, x1, y1 = np.maximum(faces[0, :4], 0).astype(np.int64).tolist()
    return x0, y0, x1, y1


def detected_face(network: S3FD, picture: Image) -> Box | None:
    """The face that the detector is surest of, or None."""
    import torch

    from personare.perception.s3fd import face_boxes

    weight = network.fc6.weight
    return first_face(
        face_boxes(network, torch.from_numpy(s3fd_input(picture)).to(weight.device, weight.dtype))
    )
