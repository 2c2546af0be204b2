"""What a picture holds: DINOv2 (Oquab et al. 2023) and a dense head over its last blocks
(Ranftl et al. 2021, "DPT").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LEVELS = 4
DINO = "dino_model."


@dataclass(frozen=True, slots=True)
class FeatureSizes:
    """patch: px. grid: patches on a side of the picture. width, depth, heads: of DINOv2.
    levels: channels of the four levels. channels: of the dense map.
    """

    patch: int
    grid: int
    width: int
    depth: int
    heads: int
    levels: tuple[int, ...]
    channels: int

    @classmethod
    def of(cls, state: Mapping[str, Tensor], heads: int) -> FeatureSizes:
        """From the tensors of a checkpoint. Raises KeyError if there are none such."""
        width = state[f"{DINO}cls_token"].shape[-1]
        blocks = {name.split(".")[2] for name in state if name.startswith(f"{DINO}blocks.")}
        return cls(
            patch=state[f"{DINO}patch_embed.proj.weight"].shape[-1],
            grid=round((state[f"{DINO}pos_embed"].shape[1] - 1) ** 0.5),
            width=width,
            depth=len(blocks),
            heads=heads,
            levels=tuple(state[f"projects.{level}.weight"].shape[0] for level in range(_LEVELS)),
            channels=state["output_conv.weight"].shape[0],
        )


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        q, k, v = self.qkv(x).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(attended.transpose(1, 2).reshape(batch, count, width))


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, eps=1e-6), _Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, eps=1e-6), _FeedForward(width)
        self.ls1, self.ls2 = _Scale(width), _Scale(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1.gamma * self.attn(self.norm1(x))
        return x + self.ls2.gamma * self.mlp(self.norm2(x))


class _Patches(nn.Module):
    def __init__(self, sizes: FeatureSizes) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, sizes.width, sizes.patch, sizes.patch)


class _DinoV2(nn.Module):
    """Under the released names, which no two versions of the library share."""

    def __init__(self, sizes: FeatureSizes) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, sizes.width))
        self.pos_embed = nn.Parameter(torch.empty(1, sizes.grid**2 + 1, sizes.width))
        self.patch_embed = _Patches(sizes)
        self.blocks = nn.ModuleList(_Block(sizes.width, sizes.heads) for _ in range(sizes.depth))
        self.norm = nn.LayerNorm(sizes.width, eps=1e-6)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Every block's tokens [1, 1 + grid^2, width], the class first."""
        patches = self.patch_embed.proj(picture).flatten(2).transpose(1, 2)
        x, states = torch.cat([self.cls_token, patches], 1) + self.pos_embed, []
        for block in self.blocks:
            x = block(x)
            states.append(x)
        return states


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(functional.relu(self.conv1(functional.relu(x))))


class _Fusion(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resConfUnit1, self.resConfUnit2 = _Residual(channels), _Residual(channels)
        self.out_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, finer: Tensor | None, size: int) -> Tensor:
        x = self.resConfUnit2(x if finer is None else x + self.resConfUnit1(finer))
        return self.out_conv(
            functional.interpolate(x, size=(size, size), mode="bilinear", align_corners=True)
        )


class PictureFeatures(nn.Module):
    """`base_model` of GAGAvatar.pt."""

    def __init__(self, sizes: FeatureSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.dino_model = _DinoV2(sizes)
        channels = sizes.channels
        self.projects = nn.ModuleList(nn.Conv2d(sizes.width, made, 1) for made in sizes.levels)
        first, second, _, last = sizes.levels
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(first, first, 4, 4),
                nn.ConvTranspose2d(second, second, 2, 2),
                nn.Identity(),
                nn.Conv2d(last, last, 3, 2, 1),
            ]
        )
        self.layer_rn = nn.ModuleList(
            nn.Conv2d(made + 3, channels, 3, padding=1, bias=False) for made in sizes.levels
        )
        self.refinenet = nn.ModuleList(_Fusion(channels) for _ in sizes.levels)
        self.output_conv = nn.Conv2d(channels, channels, 3, padding=1)

    def normalised(self, picture: Tensor) -> Tensor:
        """[1, 3, S, S] in [0, 1], at the network's side -> the same with ImageNet's mean and
        deviation.
        """
        mean, deviation = (picture.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
        return (picture - mean) / deviation

    def tokens(self, picture: Tensor) -> list[Tensor]:
        """Of a normalised picture: the last four blocks' patches through the final norm, [1,
        grid^2, width] each.
        """
        return [self.dino_model.norm(state)[:, 1:] for state in self.dino_model(picture)[-_LEVELS:]]

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """(dense map [1, channels, 8 grid, 8 grid], feature of the whole [1, width]) of a
        picture [1, 3, S, S] in [0, 1].
        """
        side = self.sizes.patch * self.sizes.grid
        picture = self.normalised(resized(picture, side))
        tokens, grid = self.tokens(picture), self.sizes.grid
        levels = []
        for level, patches in enumerate(tokens):
            x = patches.transpose(1, 2).reshape(1, -1, grid, grid)
            x = self.resize_layers[level](self.projects[level](x))
            levels.append(self.layer_rn[level](torch.cat([resized(picture, x.shape[-1]), x], 1)))
        x = self.refinenet[0](levels[3], None, levels[2].shape[-1])
        x = self.refinenet[1](x, levels[2], levels[1].shape[-1])
        x = self.refinenet[2](x, levels[1], levels[0].shape[-1])
        x = self.refinenet[3](x, levels[0], 2 * levels[0].shape[-1])
        # As released: the feature of the whole is that of the first patch.
        return self.output_conv(x), tokens[-1][:, 0]


def resized(picture: Tensor, side: int) -> Tensor:
    """Bilinear; averaging where it shrinks."""
    return functional.interpolate(
        picture, size=(side, side), mode="bilinear", align_corners=False, antialias=True
    )
