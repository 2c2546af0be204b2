"""The picture of the person on its way to the networks (SPEC c.1, c.3, c.8, c.9)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personare.types import Image

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Floats = NDArray[np.float32]

SHAPE = 9 / 16
MULTIPLE = 64
"""px: the networks halve a picture six times."""
CLIP_SIDE = 224
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def canvas_size(picture: tuple[int, int], resolution: int) -> tuple[int, int]:
    """(height, width) of the clip for a picture of (height, width): `resolution` is the short
    side, upright pictures give upright clips, square ones lie.
    """
    long = math.floor(resolution / SHAPE / MULTIPLE) * MULTIPLE
    return (long, resolution) if picture[0] > picture[1] else (resolution, long)


def cropped(picture: Image, resolution: int) -> Image:
    """The middle of a picture at the size of the clip, uint8 [H, W, 3]: bilinear without
    smoothing, as published.
    """
    height, width = picture.shape[:2]
    target = canvas_size((height, width), resolution)
    shape = height / width
    if shape < target[0] / target[1]:
        size = (target[0], math.ceil(target[0] / shape))
    else:
        size = (math.ceil(target[1] * shape), target[1])
    resized = picture if size == (height, width) else _resized(picture, size)
    top, left = (round((has - wanted) / 2) for has, wanted in zip(size, target, strict=True))
    return np.ascontiguousarray(resized[top : top + target[0], left : left + target[1]])


def _resized(picture: Image, size: tuple[int, int]) -> Image:
    import torch
    from torch.nn.functional import interpolate

    levels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    made = interpolate(levels, size=size, mode="bilinear", align_corners=False)
    return np.asarray(made.round_().clamp_(0, 255).to(torch.uint8)[0].permute(1, 2, 0).numpy())


def published_levels(dtype: torch.dtype) -> NDArray[np.uint8]:
    """What the published program makes of each of the 256 levels: it normalises the picture in
    this format and cuts off on the way back, which loses a level here and there.
    """
    import torch

    normalised = torch.arange(256).to(dtype) / 127.5 - 1
    return ((normalised + 1) * 127.5).to(torch.uint8).numpy()


def as_input(picture: Image) -> Tensor:
    """uint8 [H, W, 3] -> float32 [1, 3, H, W] in [-1, 1]."""
    import torch

    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255 * 2 - 1


def pose_input(pictures: NDArray[np.uint8]) -> Tensor:
    """Pose pictures uint8 [n, H, W, 3] -> float32 [n, 3, H, W] in [-1, 1]."""
    import torch

    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def clip_picture(picture: Image) -> Tensor:
    """uint8 [H, W, 3] -> float32 [1, 3, 224, 224] in [0, 1]: blurred as far as it shrinks, then
    bicubic through the corners; its proportions are not kept.
    """
    from torch.nn.functional import interpolate

    levels = as_input(picture)
    blurred = _blurred(levels, (picture.shape[0] / CLIP_SIDE, picture.shape[1] / CLIP_SIDE))
    small = interpolate(blurred, size=(CLIP_SIDE, CLIP_SIDE), mode="bicubic", align_corners=True)
    return (small + 1) / 2


def clip_normalised(picture: Tensor) -> Tensor:
    """[.., 3, 224, 224] in [0, 1] -> CLIP's own normalisation."""
    import torch

    mean, std = (torch.tensor(values)[:, None, None] for values in (_CLIP_MEAN, _CLIP_STD))
    return (picture - mean) / std


def _blurred(levels: Tensor, factors: tuple[float, float]) -> Tensor:
    """Gaussian over y and x, mirrored at the borders. factors: (y, x) that it shrinks by."""
    from torch.nn.functional import conv2d, pad

    kernels = []
    for factor in factors:
        sigma = max((factor - 1) / 2, 0.001)
        size = int(max(4 * sigma, 3))
        kernels.append(_gaussian(size + 1 - size % 2, sigma).to(levels.dtype))
    tall, wide = (len(kernel) // 2 for kernel in kernels)
    channels = levels.shape[1]
    padded = pad(levels, (wide, wide, tall, tall), mode="reflect")
    across = conv2d(padded, kernels[1].expand(channels, 1, 1, -1), groups=channels)
    return conv2d(across, kernels[0][:, None].expand(channels, 1, -1, 1), groups=channels)


def _gaussian(size: int, sigma: float) -> Tensor:
    import torch

    x = torch.arange(size, dtype=torch.float32) - size // 2
    weights = torch.exp(-(x**2) / (2 * sigma**2))
    return weights / weights.sum()
