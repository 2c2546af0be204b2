"""Warping a feature map with a flow."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional


@cache
def base_grid(side: int, device: torch.device) -> Tensor:
    """[side, side, 2]: the place (x, y) of each sample in [-1, 1], end points included,
    computed in float64.

    `warped` reads it as if the end points were the outer edges of the border samples
    (align_corners=False). The two do not agree; the weights were trained with both.
    """
    line = torch.linspace(-1, 1, side, dtype=torch.float64).float()
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).to(device)


def warped(features: Tensor, flow: Tensor, mask: Tensor) -> Tensor:
    """Features of one person [1, C, s, s] taken at flow float32 [B, s, s, 2] as (x, y),
    bilinear, zero outside, times mask float32 [B, 1, s, s]: [B, C, s, s].
    """
    if features.device.type == "cpu":
        return gathered(features, flow, mask)
    expanded = features.expand(len(flow), -1, -1, -1)
    return functional.grid_sample(expanded, flow.to(features.dtype), align_corners=False) * mask.to(
        features.dtype
    )


def gathered(features: Tensor, flow: Tensor, mask: Tensor) -> Tensor:
    """`warped` as a weighted sum of four rows of a table [s * s, C]: channels that lie side by
    side are read at once, which on a CPU takes a third of grid_sample's time. The mask goes
    into the four weights.
    """
    batch, (_, channels, height, width) = len(flow), features.shape
    table = features[0].permute(1, 2, 0).reshape(height * width, channels)
    columns = _neighbours(flow[..., 0], width)
    rows = _neighbours(flow[..., 1], height)
    shape = (*flow.shape[:3], 4)
    places = torch.empty(shape, dtype=torch.int32)
    weights = torch.empty(shape, dtype=torch.float32)
    # Plane by plane: inner loops of two numbers would take ten times as long.
    for first, (row, down) in enumerate(rows):
        row, down = row * width, down * mask[:, 0]
        for second, (column, across) in enumerate(columns):
            torch.add(row, column, out=places[..., 2 * first + second])
            torch.mul(down, across, out=weights[..., 2 * first + second])
    bag = functional.embedding_bag(
        places.view(-1, 4), table, per_sample_weights=weights.view(-1, 4).to(table.dtype), mode="sum"
    )
    return bag.view(batch, *flow.shape[1:3], channels).permute(0, 3, 1, 2)


def _neighbours(place: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
    """The two samples of `count` beside each place in [-1, 1]: for each its index int32 [..],
    and its weight [..], zero for those outside.
    """
    position = ((place + 1) * count).sub_(1).div_(2)
    low = position.floor().clamp_(-2, count)
    part = position - low
    return [
        (sample.clamp(0, count - 1).int(), weight * ((sample >= 0) & (sample < count)))
        for sample, weight in ((low, 1 - part), (low + 1, part))
    ]
