"""Warping a feature map with a flow."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


@cache
def _line(side: int) -> Tensor:
    """float32 [side] from -1 to 1, both included, computed in float64."""
    return torch.linspace(-1, 1, side, dtype=torch.float64).float()


@cache
def base_grid(side: int, device: torch.device) -> Tensor:
    """[side, side, 2]: the place (x, y) of each sample in [-1, 1], end points included.

    `warped` reads it as if the end points were the outer edges of the border samples (align_corners=False). The two do not
    agree; the weights were trained with both.
    """
    line = _line(side)
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).to(device)


def warped(features: Tensor, flow: Tensor, mask: Tensor) -> Tensor:
    """features [1, C, s, s] or [B, ..] taken at flow float32 [B, s, s, 2], bilinear, zero outside, times mask [B, 1, s, s]."""
    batch = len(flow)
    features = features.expand(batch, -1, -1, -1)
    return F.grid_sample(features, flow.to(features.dtype), align_corners=False) * mask.to(features.dtype)
