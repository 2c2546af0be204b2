"""DWPose on a whole picture: what RTMPose is shown, and what its scores mean in the picture.

As released, the whole picture counts as one person's box, and the network sees it twice, the
second time mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image

if TYPE_CHECKING:
    from personare.perception.whole_body.rtmpose import RTMPose

Floats = NDArray[np.float32]

PIXEL_MEAN_RGB = np.array([123.675, 116.28, 103.53], np.float32)
PIXEL_STD_RGB = np.array([58.395, 57.12, 57.375], np.float32)
FACE = slice(23, 91)
"""The 68 points of the face among the 133, in iBUG order."""
_MARGIN = 1.25


def _mirror() -> NDArray[np.intp]:
    body = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    feet = [20, 21, 22, 17, 18, 19]
    face = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1)]  # jaw, brows, nose
    face += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]  # eyes
    face += [*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]  # lips
    hands = [*range(112, 133), *range(91, 112)]
    return np.array([*body, *feet, *(23 + i for i in face), *hands], np.intp)


MIRROR = _mirror()
"""Point -> the point that it is in the mirror, int [133]."""


@dataclass(frozen=True, slots=True)
class View:
    """What the network sees of a picture: centre and scale in px of the picture (float32 [2]),
    and the map to its input.
    """

    centre: Floats
    scale: Floats
    matrix: Floats
    input_size: tuple[int, int]


def whole_picture(size: tuple[int, int], input_size: tuple[int, int]) -> View:
    """The view of a whole picture of (height, width), widened to the shape of the network's
    input (width, height).
    """
    height, width = size
    aspect = input_size[0] / input_size[1]
    scale = np.array([width, height], np.float32) * np.float32(_MARGIN)
    if scale[0] > scale[1] * aspect:
        scale[1] = scale[0] / aspect
    else:
        scale[0] = scale[1] * aspect
    centre = np.array([width / 2, height / 2], np.float32)
    k = input_size[0] / float(scale[0])
    matrix = np.array(
        [[k, 0, input_size[0] / 2 - k * centre[0]], [0, k, input_size[1] / 2 - k * centre[1]]], np.float32
    )
    return View(centre, scale, matrix, input_size)


def network_input(picture: Image, view: View) -> Floats:
    """float32 [3, height, width]: bilinear, black beyond the picture, normalised."""
    seen = cv2.warpAffine(picture, view.matrix, view.input_size, flags=cv2.INTER_LINEAR)
    return np.ascontiguousarray(
        ((seen - PIXEL_MEAN_RGB) / PIXEL_STD_RGB).transpose(2, 0, 1), dtype=np.float32
    )


def unmirrored(scores: NDArray[Any], along_x: bool) -> NDArray[Any]:
    """Scores [..., 133, bins] of the mirrored picture as those of the picture itself: sides
    change places, x runs backwards.
    """
    swapped = scores[..., MIRROR, :]
    return swapped[..., ::-1] if along_x else swapped


def decoded(
    scores_x: Floats, scores_y: Floats, view: View, bins_per_pixel: float = 2.0
) -> tuple[NDArray[np.float64], Floats]:
    """Points float64 [133, 2] in px of the picture, and their scores float32 [133], from scores
    [133, bins] of x and of y.

    The best bin counts; a score of 0 or less means that the point was not found (bin -1). As
    released, in float64 from scale and centre in float32, from left to right: another order
    moves boxes by a pixel.
    """
    score = np.minimum(scores_x.max(axis=1), scores_y.max(axis=1))
    bins = np.stack([scores_x.argmax(axis=1), scores_y.argmax(axis=1)], axis=1).astype(np.float32)
    bins[score <= 0] = -1
    places = (bins / np.float32(bins_per_pixel)).astype(np.float64)
    scale, centre = view.scale.astype(np.float64), view.centre.astype(np.float64)
    return places / np.array(view.input_size) * scale + centre - 0.5 * scale, score


def find_points(network: RTMPose, pictures: list[Image]) -> NDArray[np.float64]:
    """133 points of each picture (all of one size), float64 [n, 133, 2] in px."""
    import torch

    weight = network.head.cls_x.weight
    view = whole_picture((pictures[0].shape[0], pictures[0].shape[1]), network.config.input_size)
    shown = torch.from_numpy(np.stack([network_input(picture, view) for picture in pictures])).to(
        weight.device, weight.dtype
    )
    with torch.inference_mode():
        straight = [scores.float().cpu().numpy() for scores in network(shown)]
        mirrored = [scores.float().cpu().numpy() for scores in network(shown.flip(3))]
    x, y = (
        (s + unmirrored(m, along_x)) * np.float32(0.5)
        for s, m, along_x in zip(straight, mirrored, (True, False), strict=True)
    )
    return np.stack(
        [decoded(x[i], y[i], view, network.config.bins_per_pixel)[0] for i in range(len(pictures))]
    )
