"""The style decoder: an appearance, its skip features and a motion become a picture, by warping
the features with a flow.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from personare.engines.float.networks.config import FloatConfig
from personare.engines.float.networks.warp import base_grid, warped
from personare.networks.stylegan2 import LEAK, ConvLayer, ModulatedConv, StyledConv, doubled, memory_format

FLOW_SIDE = 64
"""px: side of the flow that the decoder hands out beside its picture."""


class Direction(nn.Module):
    """The motion basis: the orthogonal matrix Q [width, motions] of the reduced QR of (weight +
    1e-8).

    The sign of Q's columns is Householder's (LAPACK geqrf and orgqr, as torch.linalg.qr has
    it): the weights were trained with it.
    """

    def __init__(self, width: int, motions: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, motions))
        self.register_buffer("basis", None, persistent=False)

    def fold(self) -> None:
        # On the CPU, and in float32: MPS has no QR, and other libraries may choose other signs.
        weight = self.weight.detach().to("cpu", torch.float32)
        self.basis = torch.linalg.qr(weight + 1e-8).Q.to(self.weight.device)

    def forward(self, coefficients: Tensor) -> Tensor:
        """[B, motions] -> [B, width]"""
        assert self.basis is not None
        made: Tensor = coefficients @ self.basis.T
        return made


def multiplied(x: Tensor, weights: Tensor) -> Tensor:
    """Three numbers of each place: x [B, C, s, s] by weights [B or 1, 3, C] -> [B, 3, s, s].
    The places are rows, as they lie in memory with channels last.
    """
    made = x.permute(0, 2, 3, 1).flatten(1, 2) @ weights.transpose(1, 2)
    return made.transpose(1, 2).contiguous().view(len(x), 3, *x.shape[2:])


class ToFlow(nn.Module):
    """Where each place of a feature map comes from, and how much of it is taken: the warp of
    one level.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(1, 3, 1, 1))
        self.conv = ModulatedConv(channels, 3, 1, width, demodulate=False)

    def fold(self) -> None:
        self.conv.fold()

    def raw(self, x: Tensor, latent: Tensor, previous: Tensor | None) -> Tensor:
        """x [B, C, s, s] -> float32 [B, 3, s, s]: flow and mask before their non-linearities,
        on top of the level below.
        """
        style = self.conv.style(latent)
        weights = self.conv.weight[None, :, :, 0, 0] * style[:, None, :]  # (B, 3, C)
        # In float32: a flow rounded to bfloat16 is off by half a pixel where it moves by half
        # the picture.
        raw = multiplied(x.float(), weights).add_(self.bias)
        return raw if previous is None else raw.add_(doubled(previous))

    def forward(
        self, x: Tensor, features: Tensor, latent: Tensor, previous: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Warped features [B, C, s, s], x mixed with them, the raw flow for the next level, and
        the flow [B, s, s, 2] as (x, y).
        """
        raw = self.raw(x, latent, previous)
        flow = torch.tanh(raw[:, :2]).permute(0, 2, 3, 1) + base_grid(x.shape[-1], x.device)
        mask = torch.sigmoid(raw[:, 2:3])
        warp = warped(features, flow, mask)
        return warp, torch.addcmul(warp, x, (1 - mask).to(x.dtype)), raw, flow


class ToRGB(nn.Module):
    """Colours from warped features, added to those of the level below."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(1, 3, 1, 1))
        self.conv = ConvLayer(channels, 3, 1)

    def fold(self) -> None:
        self.conv.fold()

    def forward(self, warp: Tensor, previous: Tensor | None) -> Tensor:
        """[B, C, s, s] -> float32 [B, 3, s, s]"""
        weight, bias = self.conv.weight, self.conv.bias
        assert bias is not None
        colours = multiplied(warp, weight[None, :, :, 0, 0].to(warp.dtype)).float()
        colours = functional.leaky_relu_(colours.add_(bias[:, None, None]), LEAK).add_(self.bias)
        return colours if previous is None else colours.add_(doubled(previous))


class Constant(nn.Module):
    """The 4 x 4 map from which every picture grows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.empty(1, channels, 4, 4))


class StyleDecoder(nn.Module):
    """`motion_autoencoder.dec` of float.pth.

    Each level computes in the format of its skip features. Styles and demodulations are float32
    whatever that is; flow and colours are summed in float32.
    """

    def __init__(self, config: FloatConfig) -> None:
        super().__init__()
        channels = [config.channels[side] for side in config.sides]
        before = [config.channels[4], *channels]
        self.direction = Direction(config.width, config.motions)
        self.input = Constant(config.channels[4])
        self.conv1 = StyledConv(config.channels[4], config.channels[4], config.width)
        self.convs = nn.ModuleList()
        for inputs, outputs in zip(before, channels, strict=False):
            self.convs.append(StyledConv(inputs, outputs, config.width, up=True))
            self.convs.append(StyledConv(outputs, outputs, config.width))
        self.to_flows = nn.ModuleList(ToFlow(count, config.width) for count in channels)
        self.to_rgbs = nn.ModuleList(ToRGB(count) for count in channels)

    def fold(self) -> None:
        for part in (self.direction, self.conv1, *self.convs, *self.to_flows, *self.to_rgbs):
            part.fold()

    def forward(self, latent: Tensor, features: Sequence[Tensor]) -> Tensor:
        """latent float32 [B, width], features of one person [1, C, side, side], smallest first
        -> float32 [B, 3, S, S].
        """
        colours: Tensor | None = None
        for warp, _, to_rgb in self._levels(latent, features):
            colours = to_rgb(warp, colours)
        assert colours is not None
        return colours

    def flow(self, latent: Tensor, features: Sequence[Tensor]) -> Tensor:
        """The flow of the level of 64 px: float32 [B, 64, 64, 2], (x, y) in [-1, 1] of the
        picture. Larger levels are not made.
        """
        for _, flow, _ in self._levels(latent, features):
            if flow.shape[1] == FLOW_SIDE:
                made: Tensor = flow
                return made
        raise ValueError(f"a decoder of pictures below {FLOW_SIDE} px has no such flow")

    def _levels(self, latent: Tensor, features: Sequence[Tensor]):  # type: ignore[no-untyped-def]
        x = self.input.input.to(features[0]).expand(len(latent), -1, -1, -1)
        x = self.conv1(x.contiguous(memory_format=memory_format(x)), latent)
        raw: Tensor | None = None
        for level, (to_flow, to_rgb) in enumerate(zip(self.to_flows, self.to_rgbs, strict=True)):
            x = self.convs[2 * level](x.to(features[level].dtype), latent)
            x = self.convs[2 * level + 1](x, latent)
            warp, x, raw, flow = to_flow(x, features[level], latent, raw)
            yield warp, flow, to_rgb
