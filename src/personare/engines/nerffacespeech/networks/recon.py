"""Deep3DFaceRecon's network (Deng et al. 2019): a ResNet-50 (He et al. 2016, with its strides
in the 3x3 convolutions) and one layer for each group of coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from personare.weights.loading import load_strictly, unallocated

GROUPS = (80, 64, 80, 3, 27, 2, 1)
"""identity, expression, texture, angles, light, place: across and away"""
STAGES = (3, 4, 6, 3)


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        made: Tensor = self.bn3(self.conv3(y)) + shortcut
        return made.relu()


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for n, count in enumerate(STAGES):
            width, blocks = 64 << n, []
            for index in range(count):
                blocks.append(Bottleneck(inputs, width, 2 if n and not index else 1))
                inputs = 4 * width
            self.add_module(f"layer{n + 1}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for n in range(len(STAGES)):
            x = self.get_submodule(f"layer{n + 1}")(x)
        return x.mean((2, 3), keepdim=True)


class ReconNet(nn.Module):
    """Pictures of faces [B, 3, H, W], 0 to 1, to coefficients [B, 257]."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.final_layers = nn.ModuleList([nn.Conv2d(2048, count, 1) for count in GROUPS])

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.backbone(pictures)
        return torch.cat([layer(features) for layer in self.final_layers], 1)[:, :, 0, 0]


def recon_net(held: Mapping[str, Tensor], device: torch.device | str, source: str) -> ReconNet:
    """Raises WeightsMismatch with the missing and the extra names."""
    with unallocated():
        network = ReconNet()
    load_strictly(network, held, ignore=("num_batches_tracked$",), device=device, source=source)
    return network
