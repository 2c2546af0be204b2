"""BiSeNet (Yu et al. 2018) for face parsing, as the released 79999_iter.pth has it: 19 classes
for every pixel of a face.

The context path is a ResNet-18; attribute names are the file's. The two auxiliary heads are in
the file and in the network, but run only on request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from personare.weights.loading import load_strictly, unallocated

SKIN, NOSE, INNER_MOUTH, UPPER_LIP, LOWER_LIP, NECK = 1, 10, 11, 12, 13, 14
"""Classes that masks are made of, in the order of CelebAMask-HQ."""


@dataclass(frozen=True, slots=True)
class BiSeNetConfig:
    """Its sizes are fixed but for the number of classes."""

    classes: int = 19


class ConvBNReLU(nn.Module):
    def __init__(self, entering: int, channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(entering, channels, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x))
        return y.relu()


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, entering: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(entering, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or entering != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(entering, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + shortcut
        return y.relu()


class ResNet18(nn.Module):
    """[B, 3, H, W] to features at 1/8 [B, 128, ..], 1/16 [B, 256, ..] and 1/32 [B, 512, ..]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        eighth = self.layer2(self.layer1(x))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


class AttentionRefinement(nn.Module):
    """Features, and a gate for each of their channels from their mean."""

    def __init__(self, entering: int, channels: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(entering, channels)
        self.conv_atten = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.conv(x)
        gate: Tensor = self.bn_atten(
            self.conv_atten(adaptive_avg_pool2d(features, 1))
        ).sigmoid()  # [B, C, 1, 1]
        return features * gate


class ContextPath(nn.Module):
    """What each place is part of: features at 1/8 of the backbone, and context [B, 128, ..] at
    1/8 and at 1/16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.resnet = ResNet18()
        self.arm16 = AttentionRefinement(256, 128)
        self.arm32 = AttentionRefinement(512, 128)
        self.conv_head32 = ConvBNReLU(128, 128)
        self.conv_head16 = ConvBNReLU(128, 128)
        self.conv_avg = ConvBNReLU(512, 128, kernel=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        eighth, sixteenth, thirtysecond = self.resnet(x)  # [B, 128 | 256 | 512, ..]
        everywhere = self.conv_avg(
            adaptive_avg_pool2d(thirtysecond, 1)
        )  # [B, 128, 1, 1], the same at every place
        deep = interpolate(self.arm32(thirtysecond) + everywhere, size=sixteenth.shape[2:], mode="nearest")
        context16 = self.conv_head32(deep)
        middle = interpolate(self.arm16(sixteenth) + context16, size=eighth.shape[2:], mode="nearest")
        return eighth, self.conv_head16(middle), context16


class FeatureFusion(nn.Module):
    """Detail and context together, with a gate for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.convblk = ConvBNReLU(256, 256, kernel=1)
        self.conv1 = nn.Conv2d(256, 64, 1, bias=False)
        self.conv2 = nn.Conv2d(64, 256, 1, bias=False)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        features: Tensor = self.convblk(torch.cat([detail, context], dim=1))  # [B, 256, H/8, W/8]
        gate: Tensor = self.conv2(self.conv1(adaptive_avg_pool2d(features, 1)).relu()).sigmoid()
        return features * gate + features


class ScoreHead(nn.Module):
    def __init__(self, entering: int, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(entering, channels)
        self.conv_out = nn.Conv2d(channels, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.conv_out(self.conv(x))
        return scores


class BiSeNet(nn.Module):
    """Normalised pictures [B, 3, H, W] to class scores [B, classes, H, W]."""

    def __init__(self, config: BiSeNetConfig | None = None) -> None:
        super().__init__()
        classes = (config or BiSeNetConfig()).classes
        self.cp = ContextPath()
        self.ffm = FeatureFusion()
        self.conv_out = ScoreHead(256, 256, classes)
        self.conv_out16 = ScoreHead(128, 64, classes)
        self.conv_out32 = ScoreHead(128, 64, classes)

    def forward(self, x: Tensor) -> Tensor:
        eighth, context8, _ = self.cp(x)
        return _enlarged(self.conv_out(self.ffm(eighth, context8)), x)

    def all_heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same, and the scores of the two heads that only training needs."""
        eighth, context8, context16 = self.cp(x)
        fused = self.ffm(eighth, context8)
        heads = (self.conv_out(fused), self.conv_out16(context8), self.conv_out32(context16))
        return _enlarged(heads[0], x), _enlarged(heads[1], x), _enlarged(heads[2], x)


def _enlarged(scores: Tensor, like: Tensor) -> Tensor:
    return interpolate(scores, size=like.shape[2:], mode="bilinear", align_corners=True)


def bisenet_from_state(
    state: Mapping[str, Tensor],
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    classes: int = 19,
) -> BiSeNet:
    """The network with the released file's tensors. Raises WeightsMismatch with the missing and
    the extra names.
    """
    with unallocated():
        network = BiSeNet(BiSeNetConfig(classes))
    load_strictly(network, state, device=device, dtype=dtype, source=source)
    return network
