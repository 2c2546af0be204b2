"""RTMPose (Jiang et al. 2023) on a CSPNeXt backbone, as the released dw-ll_ucoco_384.pth has
it: 133 points of a whole body.

Coordinates are classified, not regressed (SimCC, Li et al. 2022): for each point one score per
half pixel of x and of y.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, silu

from personare.errors import WeightsMismatch
from personare.weights.loading import load_strictly, unallocated


@dataclass(frozen=True, slots=True)
class RTMPoseConfig:
    """Sizes, by default of the released network. stages: (channels, blocks) of the four.
    input_size: (width, height) in px.
    """

    stem: int = 64
    stages: tuple[tuple[int, int], ...] = ((128, 3), (256, 6), (512, 6), (1024, 3))
    points: int = 133
    input_size: tuple[int, int] = (288, 384)
    bins_per_pixel: float = 2.0
    width: int = 256
    key_width: int = 128
    expansion: int = 2

    @property
    def grid(self) -> tuple[int, int]:
        """(width, height) of the last feature map."""
        return self.input_size[0] // 32, self.input_size[1] // 32

    @property
    def bins(self) -> tuple[int, int]:
        """Classes of x and of y."""
        return int(self.input_size[0] * self.bins_per_pixel), int(self.input_size[1] * self.bins_per_pixel)


class ConvUnit(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(self, entering: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(entering, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        return silu(self.bn(self.conv(x)))


class DepthwiseUnit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise_conv = ConvUnit(channels, channels, 5, groups=channels)
        self.pointwise_conv = ConvUnit(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return y


class CSPBlock(nn.Module):
    def __init__(self, channels: int, residual: bool) -> None:
        super().__init__()
        self.conv1 = ConvUnit(channels, channels, 3)
        self.conv2 = DepthwiseUnit(channels)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.conv1(x))
        return x + y if self.residual else y


class ChannelAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = nn.functional.hardsigmoid(self.fc(x.mean(dim=(2, 3), keepdim=True)))  # [B, C, 1, 1]
        return x * gate


class CSPLayer(nn.Module):
    """Half of the channels through the blocks, half past them."""

    def __init__(self, channels: int, blocks: int, residual: bool) -> None:
        super().__init__()
        half = channels // 2
        self.main_conv = ConvUnit(channels, half, 1)
        self.short_conv = ConvUnit(channels, half, 1)
        self.blocks = nn.Sequential(*(CSPBlock(half, residual) for _ in range(blocks)))
        self.attention = ChannelAttention(channels)
        self.final_conv = ConvUnit(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], dim=1)
        y: Tensor = self.final_conv(self.attention(both))
        return y


class PyramidPooling(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvUnit(channels, channels // 2, 1)
        self.conv2 = ConvUnit(channels // 2 * 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        y: Tensor = self.conv2(torch.cat([x, *(max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13))], dim=1))
        return y


class CSPNeXt(nn.Module):
    """[B, 3, H, W] to [B, channels, H/32, W/32]; attribute names are the released file's."""

    def __init__(self, config: RTMPoseConfig) -> None:
        super().__init__()
        half = config.stem // 2
        self.stem = nn.Sequential(
            ConvUnit(3, half, 3, 2), ConvUnit(half, half, 3), ConvUnit(half, config.stem, 3)
        )
        entering = config.stem
        for i, (channels, blocks) in enumerate(config.stages, start=1):
            last = i == len(config.stages)
            pooling = [PyramidPooling(channels)] if last else []
            stage = [
                ConvUnit(entering, channels, 3, 2),
                *pooling,
                CSPLayer(channels, blocks, residual=not last),
            ]
            self.add_module(f"stage{i}", nn.Sequential(*stage))
            entering = channels

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for name, stage in self.named_children():
            if name != "stem":
                x = stage(x)
        return x


class ScaleNorm(nn.Module):
    """x / (|x| / sqrt(width)), times one learned number."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1))
        self.scale = width**-0.5

    def forward(self, x: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True) * self.scale
        return x / length.clamp(min=1e-5) * self.g


class Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class GatedAttention(nn.Module):
    """Gated attention unit (Hua et al. 2022), squared-ReLU attention between the points of one
    person.
    """

    def __init__(self, config: RTMPoseConfig) -> None:
        super().__init__()
        self.hidden, self.key_width = config.width * config.expansion, config.key_width
        self.ln = ScaleNorm(config.width)
        self.uv = nn.Linear(config.width, 2 * self.hidden + self.key_width, bias=False)
        self.gamma = nn.Parameter(torch.rand(2, self.key_width))
        self.beta = nn.Parameter(torch.rand(2, self.key_width))
        self.o = nn.Linear(self.hidden, config.width, bias=False)
        self.res_scale = Scale(config.width)

    def forward(self, x: Tensor) -> Tensor:
        u, v, base = torch.split(
            silu(self.uv(self.ln(x))), [self.hidden, self.hidden, self.key_width], dim=-1
        )  # [B, points, ..]
        q, k = base * self.gamma[0] + self.beta[0], base * self.gamma[1] + self.beta[1]
        attention: Tensor = (q @ k.transpose(1, 2) / self.key_width**0.5).relu() ** 2  # [B, points, points]
        attended: Tensor = self.o(u * (attention @ v))
        kept: Tensor = self.res_scale(x)
        return attended + kept


class SimCCHead(nn.Module):
    """Features [B, C, h, w] to scores of x [B, points, bins] and y [B, points, bins]."""

    def __init__(self, config: RTMPoseConfig) -> None:
        super().__init__()
        cells = config.grid[0] * config.grid[1]
        self.final_layer = nn.Conv2d(config.stages[-1][0], config.points, 7, padding=3)
        self.mlp = nn.Sequential(ScaleNorm(cells), nn.Linear(cells, config.width, bias=False))
        self.gau = GatedAttention(config)
        self.cls_x = nn.Linear(config.width, config.bins[0], bias=False)
        self.cls_y = nn.Linear(config.width, config.bins[1], bias=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        points = self.gau(self.mlp(self.final_layer(features).flatten(2)))  # [B, points, width]
        return self.cls_x(points), self.cls_y(points)


class RTMPose(nn.Module):
    """Normalised pictures [B, 3, height, width] to scores of x [B, points, 2 width] and y [B,
    points, 2 height].
    """

    def __init__(self, config: RTMPoseConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = CSPNeXt(config)
        self.head = SimCCHead(config)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores: tuple[Tensor, Tensor] = self.head(self.backbone(x))
        return scores


def rtmpose_from_state(
    state: Mapping[str, Tensor],
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> RTMPose:
    """The network with a released file's tensors; its sizes are read off them. Raises
    WeightsMismatch.
    """
    with unallocated():
        network = RTMPose(sizes_of(state, source))
    load_strictly(network, state, device=device, dtype=dtype, source=source)
    return network


def sizes_of(state: Mapping[str, Any], source: str) -> RTMPoseConfig:
    """The configuration that a checkpoint's shapes tell (of all four stages; the picture's size
    follows from the classes).
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    try:
        stages = []
        for i in range(1, 5):
            block = re.compile(rf"backbone\.stage{i}\.\d\.blocks\.(\d+)\.conv1\.conv\.weight")
            blocks = [int(match[1]) for name in shapes if (match := block.fullmatch(name))]
            stages.append((shapes[f"backbone.stage{i}.0.conv.weight"][0], 1 + max(blocks)))
        width = shapes["head.cls_x.weight"][1]
        hidden = shapes["head.gau.o.weight"][1]
        return RTMPoseConfig(
            stem=shapes["backbone.stem.2.conv.weight"][0],
            stages=tuple(stages),
            points=shapes["head.final_layer.weight"][0],
            input_size=(shapes["head.cls_x.weight"][0] // 2, shapes["head.cls_y.weight"][0] // 2),
            width=width,
            key_width=shapes["head.gau.gamma"][1],
            expansion=hidden // width,
        )
    except (KeyError, ValueError) as error:
        raise WeightsMismatch(f"{source} is not an RTMPose checkpoint: it lacks {error}") from None
