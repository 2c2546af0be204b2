"""StyleNeRF's layers (arXiv 2110.08985). Weights are stored unscaled ("equalised learning
rate") and stay so, because the whole generator is tuned for a person; what follows from them is
computed where it is used.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from personare.networks.stylegan2 import GAIN, LEAK, blurred, doubled


def leaky(x: Tensor) -> Tensor:
    """sqrt(2) leaky_relu(x, 0.2)"""
    return functional.leaky_relu(x, LEAK) * GAIN


class Linear(nn.Module):
    """[.., in] -> [.., out]: y = x (g W)^T + rate b, with g = rate / sqrt(in)."""

    def __init__(self, inputs: int, outputs: int, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        gain = self.rate / math.sqrt(self.weight.shape[1])
        return functional.linear(x, self.weight * gain, self.bias * self.rate)


class PlainLinear(nn.Module):
    """A layer without a style and without any scaling: [.., in] -> [.., out]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


class Pointwise(nn.Module):
    """A 1x1 convolution whose weight is divided by sqrt(in)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.empty(outputs))

    @property
    def matrix(self) -> Tensor:
        """[out, in]"""
        return self.weight[:, :, 0, 0] / math.sqrt(self.weight.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, out, H, W]"""
        matrix, bias = self.matrix.to(x.dtype), self.bias.to(x.dtype)
        return functional.conv2d(x, matrix[:, :, None, None], bias)


class Modulated(nn.Module):
    """A 1x1 convolution whose input channels are scaled by a style.

    demodulate: output channels are scaled back to unit length of the weights; without it the
        style is divided by sqrt(in).
    """

    def __init__(self, inputs: int, outputs: int, width: int, *, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.affine = Linear(width, inputs)
        self.demodulate = demodulate

    def style(self, w: Tensor) -> Tensor:
        """Scale of each input channel: [B, width] -> [B, in]."""
        scale: Tensor = self.affine(w)
        return scale if self.demodulate else scale / math.sqrt(scale.shape[1])

    def matrix(self, w: Tensor) -> Tensor:
        """The weights under a style: [B, width] -> [B, out, in]."""
        scaled = self.weight[None, :, :, 0, 0] * self.style(w)[:, None]
        if self.demodulate:
            scaled = scaled * torch.rsqrt(scaled.square().sum(2, keepdim=True) + 1e-8)
        return scaled

    def points(self, x: Tensor, w: Tensor) -> Tensor:
        """[B, N, in] -> [B, N, out]"""
        return torch.baddbmm(self.bias[None, None], x, self.matrix(w).transpose(1, 2))

    def over_map(self, x: Tensor, w: Tensor, factor: Tensor | None = None) -> Tensor:
        """[B, in, H, W] -> [B, out, H, W], without the bias. factor: of x."""
        batch, inputs, height, width = x.shape
        matrix = self.matrix(w) if factor is None else self.matrix(w) * factor
        made = torch.bmm(matrix.to(x.dtype), x.reshape(batch, inputs, height * width))
        return made.view(batch, -1, height, width)


class Enlargement(nn.ModuleList):
    """How a block doubles its map, before the filter: a learnt part beside the nearest samples."""

    def __init__(self, channels: int, how: str) -> None:
        entering, leaving = (2 * channels, channels) if how == "nn_cat" else (channels, 4 * channels)
        super().__init__([Pointwise(entering, channels // 4), Pointwise(channels // 4, leaving)])
        self.how = how

    @property
    def first(self) -> Pointwise:
        layer = self[0]
        assert isinstance(layer, Pointwise)
        return layer

    @property
    def second(self) -> Pointwise:
        layer = self[1]
        assert isinstance(layer, Pointwise)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, 2H, 2W]"""
        near = functional.interpolate(x, scale_factor=2, mode="nearest")
        if self.how == "pixelshuffle":
            return near + functional.pixel_shuffle(self[1](leaky(self[0](x))), 2)
        return near + self[1](leaky(self[0](torch.cat([near, neighbours(x)], 1))))


def neighbours(x: Tensor) -> Tensor:
    """Between-samples of a map [B, C, H, W]: [B, C, 2H, 2W], where each quarter of a sample is
    the mean of the two neighbours that it is nearest to, zero beyond the border.
    """
    padded = functional.pad(x, (1, 1, 1, 1))
    up, down = padded[:, :, :-2, 1:-1], padded[:, :, 2:, 1:-1]
    left, right = padded[:, :, 1:-1, :-2], padded[:, :, 1:-1, 2:]
    quarters = torch.stack([left + up, up + right, left + down, right + down], 2) / 2  # (B, C, 4, H, W)
    return functional.pixel_shuffle(quarters.flatten(1, 2), 2)


class StyledLayer(Modulated):
    """x / sqrt(w_avg) -> modulated convolution -> [enlargement, filter] -> bias, leaky ReLU.

    w_avg: mean square of what enters, as training left it.
    """

    w_avg: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        clamp: float,
        enlarge: str = "",
        blur: bool = True,
    ) -> None:
        super().__init__(inputs, outputs, width)
        self.register_buffer("w_avg", torch.empty(()))
        self.adapter = Enlargement(outputs, enlarge) if enlarge else None
        self.blur, self.clamp = blur, clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [B, in, H, W], w [B, width] -> [B, out, H, W], or twice the size if it enlarges."""
        x = self.over_map(x, w, torch.rsqrt(self.w_avg))
        if self.adapter is not None:
            x = self.adapter(x)
            x = blurred(x, 2, 1) if self.blur else x
        return leaky(x + self.bias.to(x.dtype)[:, None, None]).clamp(-self.clamp, self.clamp)


class ToRGB(Modulated):
    """A map's colours: [B, in, H, W] -> [B, 3, H, W]."""

    def __init__(self, inputs: int, width: int, clamp: float) -> None:
        super().__init__(inputs, 3, width, demodulate=False)
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        colours = self.over_map(x, w).float() + self.bias[:, None, None]
        return colours.clamp(-self.clamp, self.clamp)


class Block(nn.Module):
    """Doubles the map and the picture, and adds what the map says to the picture."""

    def __init__(
        self, inputs: int, channels: int, width: int, clamp: float, enlarge: str, blur: bool
    ) -> None:
        super().__init__()
        self.conv0 = StyledLayer(inputs, channels, width, clamp, enlarge, blur)
        self.conv1 = StyledLayer(channels, channels, width, clamp)
        self.torgb = ToRGB(channels, width, clamp)

    def forward(self, x: Tensor, picture: Tensor, ws: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, in, H, W], picture float32 [B, 3, H, W], ws [B, 3, width] -> both at twice the
        size.
        """
        x = self.conv1(self.conv0(x, ws[:, 0]), ws[:, 1])
        return x, doubled(picture) + self.torgb(x, ws[:, 2])
